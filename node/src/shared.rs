//! What a replica's threads leave for those who ask: the newest status, recent barriers, executed
//! blocks as they come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lockstep_client::rpc::BlockSummary;
use lockstep_shard::{
    MAX_TRANSACTIONS, Message, Peer, Request, Shelf, Snapshot, Status, answer_part,
};
use lockstep_types::{Height, Time, WindowNumber};
use tokio::sync::broadcast;

use crate::barriers::Barriers;
use crate::metrics::Metrics;
use crate::pending::Pending;

/// Blocks that wait for a slow subscriber; then it is told how many it missed.
const BLOCKS_WAITING: usize = 256;
/// Answers that may be in the making: each may hold a full message of several megabytes. Who gets
/// none asks again, or somebody else.
const MAX_SERVING: usize = 256;
/// Of those, for one peer: two waves of what an honest one asks of us at a time.
const MAX_SERVING_PER_PEER: usize = 8;
/// Windows whose first height is remembered. Older ones are found through their records.
const MAX_WINDOWS: usize = 4_096;

/// The blackboard of one replica.
pub(crate) struct Shared {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) barriers: Barriers,
    pub(crate) pending: Pending,
    pub(crate) blocks: broadcast::Sender<Arc<BlockSummary>>,
    pub(crate) started: Instant,
    status: Mutex<Status>,
    newest: Mutex<(Height, Time)>,
    windows: Mutex<BTreeMap<Height, WindowNumber>>,
    serving: Mutex<BTreeMap<Peer, usize>>,
    shelf: Mutex<Shelf>,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>, status: Status) -> Self {
        Shared {
            metrics,
            barriers: Barriers::default(),
            pending: Pending::default(),
            blocks: broadcast::Sender::new(BLOCKS_WAITING),
            started: Instant::now(),
            status: Mutex::new(status),
            newest: Mutex::default(),
            windows: Mutex::default(),
            serving: Mutex::default(),
            shelf: Mutex::default(),
        }
    }

    pub(crate) fn status(&self) -> Status {
        let status = self.status.lock().expect("no holder of this lock panics");
        status.clone()
    }

    /// Is there no room for another transaction? The replica's pool keeps also what came before its
    /// predecessor, and was passed over.
    pub(crate) fn pool_is_full(&self) -> bool {
        self.pending.len().max(self.status().pending) >= MAX_TRANSACTIONS
    }

    pub(crate) fn set_status(&self, status: Status) {
        let level = |height: u64| i64::try_from(height).unwrap_or(i64::MAX);
        self.metrics.height.set(level(status.committed.get()));
        self.metrics.executed.set(level(status.executed.get()));
        self.metrics.view.set(level(status.view.get()));
        self.metrics.record.set(level(status.record.get()));
        self.metrics.pool.set(level(status.pending as u64));
        *self.status.lock().expect("no holder of this lock panics") = status;
    }

    /// Time of the newest executed block.
    pub(crate) fn newest(&self) -> (Height, Time) {
        *self.newest.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn set_newest(&self, height: Height, time: Time, window: WindowNumber) {
        *self.newest.lock().expect("no holder of this lock panics") = (height, time);
        let mut windows = self.windows.lock().expect("no holder of this lock panics");
        if windows.last_key_value().map(|(_, newest)| *newest) != Some(window) {
            windows.insert(height, window);
            while windows.len() > MAX_WINDOWS {
                windows.pop_first();
            }
        }
    }

    /// The window a height fell into, if it was executed since the start.
    pub(crate) fn window_of(&self, height: Height) -> Option<WindowNumber> {
        let windows = self.windows.lock().expect("no holder of this lock panics");
        let found = windows.range(..=height).next_back();
        found.map(|(_, window)| *window)
    }

    /// There is a newer state to give to others.
    pub(crate) fn put_snapshot(&self, now: Time, snapshot: Arc<Snapshot>) {
        let mut shelf = self.shelf.lock().expect("no holder of this lock panics");
        shelf.put(now, snapshot);
    }

    /// The answer to a question for a state, if it is one. Runs where there is time: a part takes
    /// some milliseconds.
    pub(crate) fn answer_for_state(&self, now: Time, request: &Request) -> Option<Message> {
        let shelf = || self.shelf.lock().expect("no holder of this lock panics");
        match request {
            Request::Manifest => Some(shelf().manifest()),
            Request::Part { record, name } => {
                let held = shelf().find(now, *record);
                Some(answer_part(held.as_deref(), *record, name.clone()))
            }
            _ => None,
        }
    }

    /// Takes a place among the answers being made, unless `peer` has all of its own or all are
    /// taken.
    pub(crate) fn serve(self: &Arc<Self>, peer: Peer) -> Option<Serving> {
        let mut serving = self.serving.lock().expect("no holder of this lock panics");
        let all: usize = serving.values().sum();
        let own = serving.get(&peer).copied().unwrap_or(0);
        if own >= MAX_SERVING_PER_PEER || all >= MAX_SERVING {
            return None;
        }
        serving.insert(peer, own + 1);
        Some(Serving {
            shared: Arc::clone(self),
            peer,
        })
    }
}

/// A place among the answers being made.
pub(crate) struct Serving {
    shared: Arc<Shared>,
    peer: Peer,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let serving = self.shared.serving.lock();
        let mut serving = serving.expect("no holder of this lock panics");
        match serving.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                serving.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{CommitteeId, MemberIndex, View};

    use super::*;

    #[test]
    fn one_peer_cannot_take_the_places_of_another() {
        let status = Status {
            view: View::ZERO,
            leader: MemberIndex::new(0),
            signs: true,
            committed: Height::ZERO,
            executed: Height::ZERO,
            window: WindowNumber::ZERO,
            record: WindowNumber::ZERO,
            sealed: false,
            pending: 0,
        };
        let shared = Arc::new(Shared::new(Arc::new(Metrics::new()), status));
        let peer = |member| Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(member),
        };
        let (greedy, modest) = (peer(0), peer(1));
        let mut places: Vec<_> = std::iter::from_fn(|| shared.serve(greedy)).collect();
        assert_eq!(places.len(), MAX_SERVING_PER_PEER);
        assert!(shared.serve(modest).is_some());
        places.pop();
        assert!(shared.serve(greedy).is_some());
        // One peer more than all places together serve in full.
        for member in 0..=(MAX_SERVING / MAX_SERVING_PER_PEER) as u8 {
            places.extend(std::iter::from_fn(|| shared.serve(peer(member))));
        }
        assert_eq!(places.len(), MAX_SERVING);
        drop(places);
        assert!(shared.serving.lock().unwrap().is_empty());
    }
}
