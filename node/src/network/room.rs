//! Room for what peers send before it is checked: so many messages of a peer, and so many bytes.
//!
//! Breaks if: a message is read before there is room for all of it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Class;

/// Room that one incoming message takes; free again when dropped.
#[derive(Debug)]
pub struct Slot {
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Room for what one peer sends in one way.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// A longer message takes it all.
    most: u32,
}

impl Room {
    fn new(messages: usize, bytes: u32) -> Self {
        Room {
            places: Arc::new(Semaphore::new(messages)),
            bytes: Arc::new(Semaphore::new(bytes as usize)),
            most: bytes,
        }
    }

    /// For the stream of a class. When it is used up the stream is not read further.
    pub(super) fn of_class(class: Class) -> Self {
        match class {
            Class::Consensus => Room::new(256, 16 << 20),
            Class::Data => Room::new(64, 32 << 20),
            Class::Sync => Room::new(8, 16 << 20),
        }
    }

    /// For gossip. When it is used up messages are dropped; who needs one fetches it.
    pub(super) fn of_gossip() -> Self {
        Room::new(64, 32 << 20)
    }

    /// Waits until there is room for a message of so many bytes.
    pub(super) async fn wait(&self, length: usize) -> Slot {
        let open = "the semaphores are never closed";
        let place = Arc::clone(&self.places).acquire_owned().await.expect(open);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(self.charge(length));
        Slot {
            _place: place,
            _bytes: bytes.await.expect(open),
        }
    }

    /// Takes room for a message, if there is some.
    pub(super) fn try_take(&self, length: usize) -> Option<Slot> {
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(self.charge(length));
        Some(Slot {
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
            _bytes: bytes.ok()?,
        })
    }

    fn charge(&self, length: usize) -> u32 {
        u32::try_from(length).map_or(self.most, |length| length.min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_bytes_are_counted() {
        let room = Room::new(3, 10);
        let first = room.try_take(6).unwrap();
        assert!(room.try_take(5).is_none(), "too many bytes");
        let others = [room.try_take(2).unwrap(), room.try_take(1).unwrap()];
        assert!(room.try_take(1).is_none(), "too many messages");
        drop(first);
        let _third = room.try_take(7).unwrap();
        assert!(room.try_take(1).is_none(), "too many of either");
        drop(others);
    }

    #[test]
    fn a_message_longer_than_the_room_waits_for_all_of_it() {
        let room = Room::new(3, 10);
        let small = room.try_take(1).unwrap();
        assert!(room.try_take(1_000).is_none());
        drop(small);
        let _all = room.try_take(1_000).unwrap();
        assert!(room.try_take(1).is_none());
    }
}
