//! How much memory answers take together until they are sent. A client that reads slowly, or not at
//! all, keeps its answer here: small ones always have room, larger ones get it out of one number of
//! bytes. What may be large has room for the largest before it is put together.
//!
//! Breaks if: an answer leaves what is [`Taken`] for it before its last byte has left, or a method
//! whose answers grow with the chain is not among the [`LARGE`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use jsonrpsee::server::{HttpBody, HttpResponse};
use lockstep_client::rpc::{MAX_ANSWER_BYTES, method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guests::is_local;

/// Answers that are not bounded by what was asked.
const LARGE: [&str; 5] = [
    method::RECEIPT,
    method::CREDIT_RECEIPT,
    method::RECORD,
    method::BARRIERS,
    method::EVIDENCE,
];
/// An answer of so many bytes always has room, as that to [`lockstep_client::rpc::MAX_SUBMITTED`]
/// transactions has: 32 MiB if every connection holds one.
const SMALL_ANSWER: usize = 128 << 10;
/// Bytes of all others on their way to programs of this machine, and as many to everybody else: the
/// longest page of barriers for each connection, and one more answer of any size.
const MAX_HELD_BYTES: usize = 48 << 20;
/// After that a client is told to come again.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// May the answer of this method be large?
pub(super) fn is_large(method: &str) -> bool {
    LARGE.contains(&method)
}

/// What there is for programs of this machine, which nobody else can take, and for everybody else.
#[derive(Default)]
pub(super) struct Rooms {
    local: Room,
    remote: Room,
}

impl Rooms {
    pub(super) fn of(&self, address: IpAddr) -> Room {
        let local = is_local(address.to_canonical());
        let room = if local { &self.local } else { &self.remote };
        room.clone()
    }
}

/// What one of the two has.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Room(Arc::new(Semaphore::new(MAX_HELD_BYTES)))
    }
}

/// What is kept for an answer while it is put together.
pub(super) struct Reserved(OwnedSemaphorePermit);

/// What an answer takes, until the last copy of this is dropped.
#[derive(Clone, Debug)]
pub(super) struct Taken(Option<Arc<OwnedSemaphorePermit>>);

impl Room {
    /// Waits for room for an answer of any size. None if there is none in time.
    pub(super) async fn reserve(&self) -> Option<Reserved> {
        let most = Arc::clone(&self.0).acquire_many_owned(MAX_ANSWER_BYTES);
        let most = tokio::time::timeout(MAX_WAIT, most).await;
        most.ok()?.ok().map(Reserved)
    }

    /// Room for an answer of so many bytes: what it needs of what was reserved for it, else what
    /// there is.
    pub(super) fn take(&self, reserved: Option<Reserved>, bytes: usize) -> Option<Taken> {
        if bytes <= SMALL_ANSWER {
            return Some(Taken(None));
        }
        let taken = match reserved {
            Some(Reserved(mut most)) => most.split(bytes),
            None => {
                let bytes = u32::try_from(bytes).ok()?;
                Arc::clone(&self.0).try_acquire_many_owned(bytes).ok()
            }
        };
        taken.map(|taken| Taken(Some(Arc::new(taken))))
    }
}

/// Bytes, and the room they take.
struct Held {
    bytes: Bytes,
    _taken: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Ties what is taken for an answer to its bytes: the body is dropped when it is handed on to be
/// sent, the bytes when they are.
pub(super) async fn hold(
    mut response: HttpResponse,
) -> Result<HttpResponse, jsonrpsee::core::BoxError> {
    let Some(taken @ Taken(Some(_))) = response.extensions_mut().remove() else {
        return Ok(response);
    };
    let (head, body) = response.into_parts();
    let held = Held {
        bytes: body.collect().await?.to_bytes(),
        _taken: taken,
    };
    let body = HttpBody::new(Full::new(Bytes::from_owner(held)));
    Ok(HttpResponse::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn answers_together_are_bounded_and_small_ones_always_have_room() {
        let (rooms, large) = (Rooms::default(), SMALL_ANSWER + 1);
        let room = rooms.of(Ipv4Addr::new(10, 0, 0, 1).into());
        let held: Vec<Taken> = std::iter::from_fn(|| room.take(None, large)).collect();
        assert_eq!(held.len(), MAX_HELD_BYTES / large);
        assert!((0..1_000).all(|_| room.take(None, SMALL_ANSWER).is_some()));
        let same = rooms.of(Ipv4Addr::new(127, 0, 0, 2).into());
        assert!(same.take(None, large).is_none(), "they have one room");
        let here = rooms.of("::ffff:127.0.0.1".parse().unwrap());
        assert!(here.take(None, large).is_some());
        drop(held);
        assert!(room.take(None, MAX_HELD_BYTES).is_some());
        assert!(room.take(None, MAX_HELD_BYTES + 1).is_none());
    }

    #[tokio::test]
    async fn few_large_answers_are_put_together_at_a_time_and_keep_what_they_need() {
        let room = Room::default();
        let soon = || tokio::time::timeout(Duration::from_millis(50), room.reserve());
        let mut reserved = Vec::new();
        while let Ok(most) = soon().await {
            reserved.push(most.unwrap());
        }
        assert_eq!(reserved.len(), MAX_HELD_BYTES / MAX_ANSWER_BYTES as usize);
        assert!(room.take(reserved.pop(), 1).is_some());
        let most = MAX_ANSWER_BYTES as usize;
        let half = room.take(Some(soon().await.unwrap().unwrap()), most / 2);
        let other = room.take(None, most / 2);
        assert!(half.is_some() && other.is_some());
        assert!(room.take(None, SMALL_ANSWER + 1).is_none());
        assert!(room.take(reserved.pop(), most + 1).is_none());
    }

    #[tokio::test]
    async fn room_is_held_by_the_bytes_and_not_by_their_body() {
        let room = Room::default();
        let mut response = HttpResponse::new(HttpBody::from(vec![7; MAX_HELD_BYTES]));
        let taken = room.take(None, MAX_HELD_BYTES).unwrap();
        response.extensions_mut().insert(taken);
        let body = hold(response).await.unwrap().into_body();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len(), MAX_HELD_BYTES);
        assert!(room.take(None, SMALL_ANSWER + 1).is_none());
        drop(bytes);
        assert!(room.take(None, MAX_HELD_BYTES).is_some());
    }
}
