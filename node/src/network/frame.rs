//! Messages on a stream: a four-byte length, then the message. Length 0 is a sign of life.
//!
//! Breaks if: a length from the peer is trusted before its bytes have come.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libp2p::bytes::Bytes;
use libp2p::futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use libp2p::{PeerId, Stream};
use tokio::time::timeout;

use super::queue::OutQueue;
use super::room::Room;
use super::{Class, EventSink, NetworkEvent, Traffic};

/// Small messages are gathered into one write of about this size.
const GATHER_BYTES: usize = 64 << 10;
/// A silent consensus stream says that it is alive this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// A peer that shows no sign of life for this long is disconnected and dialled again; long enough
/// for a machine that swaps or a process that is paused briefly.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// A write that makes no progress for this long means the peer has stopped reading.
const MAX_WRITE_STALL: Duration = Duration::from_secs(20);
/// First allocation for an incoming message; grows with the bytes that really come.
const FIRST_ALLOCATION: usize = 64 << 10;

/// Writes what the queue holds until the stream fails.
pub(super) async fn write_loop(
    mut stream: Stream,
    class: Class,
    queue: Arc<OutQueue>,
    traffic: Arc<Traffic>,
) -> io::Error {
    let mut messages = Vec::new();
    let mut gathered = Vec::with_capacity(GATHER_BYTES);
    loop {
        gathered.clear();
        if queue.take(GATHER_BYTES, &mut messages) {
            let index = class.index();
            traffic.sent[index].fetch_add(messages.len() as u64, Ordering::Relaxed);
            for message in messages.drain(..) {
                let length = u32::try_from(message.len()).expect("bounded by the frame limit");
                traffic.sent_bytes[index].fetch_add(u64::from(length), Ordering::Relaxed);
                gathered.extend_from_slice(&length.to_le_bytes());
                gathered.extend_from_slice(&message);
            }
        } else if class == Class::Consensus {
            if timeout(SIGN_OF_LIFE, queue.filled()).await.is_ok() {
                continue;
            }
            gathered.extend_from_slice(&0u32.to_le_bytes());
        } else {
            queue.filled().await;
            continue;
        }
        match timeout(MAX_WRITE_STALL, write_out(&mut stream, &gathered)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return io::Error::new(io::ErrorKind::TimedOut, "the peer does not read"),
        }
        if gathered.capacity() > 4 * GATHER_BYTES {
            gathered = Vec::with_capacity(GATHER_BYTES);
        }
    }
}

async fn write_out(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads messages until the stream fails or the peer breaks the framing.
pub(super) async fn read_loop(
    stream: Stream,
    from: PeerId,
    class: Class,
    max_message: usize,
    sink: EventSink,
    traffic: Arc<Traffic>,
) -> io::Error {
    let room = Room::of_class(class);
    let mut stream = BufReader::with_capacity(GATHER_BYTES, stream);
    loop {
        let length = match read_length(&mut stream, class, max_message).await {
            Ok(0) => continue,
            Ok(length) => length,
            Err(error) => return error,
        };
        let slot = room.wait(length).await;
        let bytes = match read_body(&mut stream, length).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        let index = class.index();
        traffic.received[index].fetch_add(1, Ordering::Relaxed);
        traffic.received_bytes[index].fetch_add(length as u64, Ordering::Relaxed);
        sink(NetworkEvent::Message {
            from,
            class,
            bytes,
            slot,
        });
    }
}

/// The length of the next message, or 0 for a sign of life.
async fn read_length(
    stream: &mut (impl AsyncRead + Unpin),
    class: Class,
    max_message: usize,
) -> io::Result<usize> {
    let mut length = [0; 4];
    let head = stream.read_exact(&mut length);
    if class == Class::Consensus {
        timeout(MAX_SILENCE, head)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no sign of life"))??;
    } else {
        head.await?;
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > max_message {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes where {max_message} are allowed"),
        ));
    }
    Ok(length)
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    use libp2p::futures::executor::block_on;
    use libp2p::futures::io::Cursor;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Bytes> {
        let mut stream = Cursor::new(bytes);
        block_on(async {
            let length = read_length(&mut stream, Class::Data, 8).await?;
            read_body(&mut stream, length).await
        })
    }

    #[test]
    fn frames_are_bounded_and_whole() {
        assert_eq!(read(&[3, 0, 0, 0, 1, 2, 3]).unwrap().as_ref(), &[1, 2, 3]);
        assert!(read(&[0, 0, 0, 0]).unwrap().is_empty());
        assert_eq!(
            read(&[9, 0, 0, 0]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            read(&[8, 0, 0, 0, 1]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
