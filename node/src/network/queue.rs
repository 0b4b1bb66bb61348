//! Outgoing messages of one class to one peer: bounded by count and bytes, oldest dropped first.
//!
//! Breaks if: `push` waits. The caller is a consensus thread.

use std::collections::VecDeque;
use std::sync::Mutex;

use libp2p::bytes::Bytes;
use tokio::sync::Notify;

use super::Class;

/// How much may wait for one peer in one class.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimit {
    messages: usize,
    bytes: usize,
}

impl QueueLimit {
    /// Consensus messages are small and superseded within a view; 1,024 cover every view a slow
    /// peer could still use. Data holds a few blocks' worth of batches. Sync answers are long and
    /// asked for again.
    pub(super) const fn of(class: Class) -> Self {
        match class {
            Class::Consensus => QueueLimit {
                messages: 1_024,
                bytes: 16 << 20,
            },
            Class::Data => QueueLimit {
                messages: 1_024,
                bytes: 32 << 20,
            },
            Class::Sync => QueueLimit {
                messages: 64,
                bytes: 32 << 20,
            },
        }
    }
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

/// The queue.
pub(super) struct OutQueue {
    limit: QueueLimit,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

impl OutQueue {
    pub(super) fn new(limit: QueueLimit) -> Self {
        OutQueue {
            limit,
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Adds a message; returns how many old ones had to go.
    pub(super) fn push(&self, message: Bytes) -> usize {
        let mut dropped = 0;
        {
            let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
            waiting.bytes += message.len();
            waiting.messages.push_back(message);
            while waiting.messages.len() > self.limit.messages
                || (waiting.bytes > self.limit.bytes && waiting.messages.len() > 1)
            {
                let oldest = waiting.messages.pop_front().expect("longer than its bound");
                waiting.bytes -= oldest.len();
                dropped += 1;
            }
        }
        self.filled.notify_one();
        dropped
    }

    /// Takes what waits, up to about `bytes`, into `into`; false when nothing waited.
    pub(super) fn take(&self, bytes: usize, into: &mut Vec<Bytes>) -> bool {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        let mut taken = 0;
        while taken < bytes {
            let Some(message) = waiting.messages.pop_front() else {
                break;
            };
            waiting.bytes -= message.len();
            taken += message.len();
            into.push(message);
        }
        !into.is_empty()
    }

    /// Waits until something has been pushed since the last call.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Messages waiting.
    pub(super) fn len(&self) -> usize {
        self.waiting
            .lock()
            .expect("no holder of this lock panics")
            .messages
            .len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let queue = OutQueue::new(QueueLimit {
            messages: 2,
            bytes: 100,
        });
        assert_eq!(queue.push(Bytes::from_static(b"a")), 0);
        assert_eq!(queue.push(Bytes::from_static(b"b")), 0);
        assert_eq!(queue.push(Bytes::from_static(b"c")), 1);
        assert_eq!(queue.len(), 2);
        // 99 more bytes leave room for one other byte.
        assert_eq!(queue.push(Bytes::from(vec![0; 99])), 1);
        // A message larger than the whole bound is still carried, alone.
        assert_eq!(queue.push(Bytes::from(vec![0; 200])), 2);
        let mut taken = Vec::new();
        assert!(queue.take(10, &mut taken));
        assert_eq!(taken.len(), 1);
        taken.clear();
        assert!(!queue.take(10, &mut taken));
    }
}
