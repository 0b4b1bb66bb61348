//! What waits for a replica's thread: in order of urgency, without ever blocking who brings it.
//!
//! Its length is bounded by those who fill it: a message holds its sender's [`Slot`], a client's
//! transaction the room the RPC gave it, and executed blocks follow those handed out. News from
//! the disk is one value, because a later one covers an earlier one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use lockstep_shard::Input;
use lockstep_types::Durable;
use tokio::sync::OwnedSemaphorePermit;

use crate::network::Slot;

/// The room an input takes, free again when the replica has dealt with it.
#[derive(Debug)]
pub(crate) enum Room {
    /// A peer's.
    Peer {
        /// Freed by dropping.
        _slot: Slot,
    },
    /// A client's.
    Client {
        /// Freed by dropping.
        _permit: std::sync::Arc<OwnedSemaphorePermit>,
    },
    /// The node's own.
    Own,
}

/// How soon an input is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Consensus, executed blocks, connections.
    Urgent,
    /// Batches, bundles and the like.
    Data,
    /// Clients' transactions.
    Client,
}

#[derive(Default)]
struct Waiting {
    synced: Option<Durable>,
    queues: [VecDeque<(Input, Room)>; 3],
    closed: bool,
}

/// The inbox.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

/// What the replica's thread wakes up for.
pub(crate) enum Next {
    /// An input, and the room it took.
    Input(Input, Room),
    /// Nothing came in time.
    Nothing,
    /// The validator stops.
    Closed,
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn push(&self, urgency: Urgency, input: Input, room: Room) {
        let mut waiting = self.lock();
        if !waiting.closed {
            waiting.queues[urgency as usize].push_back((input, room));
            drop(waiting);
            self.filled.notify_one();
        }
    }

    pub(crate) fn synced(&self, durable: Durable) {
        let mut waiting = self.lock();
        waiting.synced = waiting.synced.max(Some(durable));
        drop(waiting);
        self.filled.notify_one();
    }

    /// A replica that starts anew counts its writes anew.
    pub(crate) fn forget_synced(&self) {
        self.lock().synced = None;
    }

    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        // What waits is dropped with the rooms it holds.
        waiting.queues = Default::default();
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits at most `patience`, for ever if there is none.
    pub(crate) fn next(&self, patience: Option<Duration>) -> Next {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return Next::Closed;
            }
            if let Some(durable) = waiting.synced.take() {
                return Next::Input(Input::Synced(durable), Room::Own);
            }
            let next = waiting.queues.iter_mut().find_map(VecDeque::pop_front);
            if let Some((input, room)) = next {
                return Next::Input(input, room);
            }
            let broken = "no holder of this lock panics";
            waiting = match deadline {
                None => self.filled.wait(waiting).expect(broken),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Next::Nothing;
                    }
                    self.filled.wait_timeout(waiting, left).expect(broken).0
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::LogPosition;

    use super::*;

    #[test]
    fn the_disk_first_then_by_urgency() {
        let inbox = Inbox::default();
        let first = LogPosition::START.next();
        inbox.push(Urgency::Client, Input::Tick, Room::Own);
        inbox.synced(Durable::synced(first.next()));
        inbox.synced(Durable::synced(first));
        let Next::Input(Input::Synced(durable), _) = inbox.next(None) else {
            panic!("the disk goes first");
        };
        // An older report does not hide a newer one.
        assert_eq!(durable.position(), first.next());
        assert!(matches!(inbox.next(None), Next::Input(Input::Tick, _)));
        let short = Some(Duration::from_millis(1));
        assert!(matches!(inbox.next(short), Next::Nothing));
        inbox.close();
        inbox.push(Urgency::Urgent, Input::Tick, Room::Own);
        assert!(matches!(inbox.next(None), Next::Closed));
    }
}
