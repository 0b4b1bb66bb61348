//! A client's connection: it holds its [`Seat`] for as long as it lives, also as a WebSocket, counts
//! what is sent over that, and does not let the client ask on while it does not read its answers.
//!
//! Breaks if: bytes are read past a stalled write. The WebSocket server starts a task for every
//! message it reads, and each would keep its answer until the client reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::calls::{Allowance, CALL_EVERY, MAX_WEB_SOCKET_ANSWER};
use super::frames::Frames;
use super::guests::Seat;

/// A client that was waited for so long is cut off.
const MAX_STALL: Duration = Duration::from_secs(10);
/// Taking so many bytes makes up for a second: no answer is held for longer than its size is worth,
/// however the client cuts it. More than a WebSocket may ask for in a second.
const BYTES_PER_SECOND: u32 = 128 << 10;
const _: () = assert!(
    BYTES_PER_SECOND as u128 * CALL_EVERY.as_millis() > 1_000 * MAX_WEB_SOCKET_ANSWER as u128,
    "what is not yet sent to a WebSocket must not grow for ever"
);

/// Bytes of a WebSocket that are read at a time: no more frames than that pass uncounted.
const WEB_SOCKET_READ: usize = 1 << 10;

/// How long a client was waited for, less what it made up for.
#[derive(Debug, Default)]
struct Patience {
    waited: Duration,
    /// It is being waited for.
    since: Option<Instant>,
}

impl Patience {
    /// Nothing more is taken now. How long that may last.
    fn stall(&mut self, now: Instant) -> Duration {
        self.since.get_or_insert(now);
        MAX_STALL.saturating_sub(self.waited)
    }

    /// So many bytes were taken.
    fn taken(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let made_up = Duration::from_secs(1) * bytes / BYTES_PER_SECOND;
        self.waited = self.waited.saturating_sub(made_up);
    }
}

/// The connection.
pub(super) struct Line {
    stream: TcpStream,
    frames: Frames,
    patience: Patience,
    /// Ends when the client has not read for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Who wanted to read meanwhile.
    reader: Option<Waker>,
    allowance: Arc<Allowance>,
    seat: Arc<Seat>,
}

impl Line {
    pub(super) fn new(stream: TcpStream, allowance: Arc<Allowance>, seat: Arc<Seat>) -> Self {
        Line {
            stream,
            frames: Frames::default(),
            patience: Patience::default(),
            stalled: None,
            reader: None,
            allowance,
            seat,
        }
    }

    /// It has asked for more than it may.
    fn cut_off(&self) -> Poll<io::Result<()>> {
        self.seat.cut_off(Instant::now());
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = result {
            let bytes = result.as_ref().map_or(0, |bytes| *bytes);
            self.patience.taken(Instant::now(), bytes);
            self.stalled = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return Poll::Ready(result);
        }
        let stalled = self.stalled.get_or_insert_with(|| {
            let most = self.patience.stall(Instant::now());
            Box::pin(tokio::time::sleep(most))
        });
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowance.is_used_up() {
            return self.cut_off();
        }
        if self.stalled.is_some() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !self.frames.may_come() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut bytes = [0; WEB_SOCKET_READ];
        let most = buffer.remaining().min(WEB_SOCKET_READ);
        let mut part = ReadBuf::new(&mut bytes[..most]);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut part);
        let frames = self.frames.read(part.filled());
        let followed = self.frames.are_followed();
        self.allowance.sent(Instant::now(), frames, followed);
        if self.allowance.is_used_up() {
            return self.cut_off();
        }
        buffer.put_slice(part.filled());
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_pause_or_be_slow_and_not_pause_for_ever() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        // As fast as asked, in steps of a second.
        let (mut patience, mut now) = (Patience::default(), start);
        for _ in 0..1_000 {
            assert_eq!(patience.stall(now), MAX_STALL);
            now += second;
            patience.taken(now, BYTES_PER_SECOND as usize);
        }
        // A little every nine seconds: each time it has less.
        assert_eq!(patience.stall(now), MAX_STALL);
        patience.taken(now + 9 * second, 1);
        let left = patience.stall(now + 9 * second);
        assert!(left > second && left < second + second / 100, "{left:?}");
        patience.taken(now + 18 * second, 1);
        assert_eq!(patience.stall(now + 18 * second), Duration::ZERO);
        // What is taken later, without a pause, counts as well.
        let later = now + 30 * second;
        patience.taken(later, 0);
        patience.taken(later, 1 << 30);
        assert_eq!(patience.stall(later), MAX_STALL);
    }
}
