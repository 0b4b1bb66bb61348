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

use super::calls::Allowance;
use super::frames::Frames;
use super::guests::Seat;

/// A client that takes nothing of its answer for this long is cut off.
const MAX_WRITE_STALL: Duration = Duration::from_secs(10);

/// Bytes of a WebSocket that are read at a time: no more frames than that pass uncounted.
const WEB_SOCKET_READ: usize = 1 << 10;

/// The connection.
pub(super) struct Line {
    stream: TcpStream,
    frames: Frames,
    /// Ends when the client has not read for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Who wanted to read meanwhile.
    reader: Option<Waker>,
    allowance: Arc<Allowance>,
    _seat: Arc<Seat>,
}

impl Line {
    pub(super) fn new(stream: TcpStream, allowance: Arc<Allowance>, seat: Arc<Seat>) -> Self {
        Line {
            stream,
            frames: Frames::default(),
            stalled: None,
            reader: None,
            allowance,
            _seat: seat,
        }
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return result;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(MAX_WRITE_STALL)));
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
        let aborted = || Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        if self.allowance.is_used_up() {
            return aborted();
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
            return aborted();
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
