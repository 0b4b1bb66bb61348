//! What can happen in a world, and the order in which it does: by time, and among equal times in the
//! order in which it was scheduled.

use core::time::Duration;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use lockstep_shard::{ExecutedBlock, Message, Peer};
use lockstep_types::{Time, Verified};

/// One thing that happens to one node.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message arrives, if the connection on which it was sent is still up.
    Deliver {
        from: Peer,
        connection: u64,
        message: Rc<Verified<Message>>,
    },
    /// A connection is up again.
    Connect { peer: Peer },
    /// A moment the member asked to be woken at.
    Wake { life: u64 },
    /// Its disk has finished a sync.
    Synced { life: u64 },
    /// Its executor has finished a block.
    Executed {
        life: u64,
        block: Box<ExecutedBlock>,
    },
    /// Its process is killed, and comes back after `down`.
    Crash { down: Duration },
    /// Its process starts again.
    Restart,
    /// Its process goes on, if it stands still.
    Resume,
    /// There is space on its disk again.
    Freed,
}

#[derive(Debug)]
struct Scheduled {
    at: Time,
    sequence: u64,
    node: usize,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// The earliest is the greatest, since the heap gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// Everything that is going to happen.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Scheduled>,
    sequence: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Time, node: usize, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.heap.push(Scheduled {
            at,
            sequence,
            node,
            event,
        });
    }

    /// The next event, if it happens no later than `end`.
    pub(crate) fn next(&mut self, end: Time) -> Option<(Time, usize, Event)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        let next = self.heap.pop().expect("just seen");
        Some((next.at, next.node, next.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_and_then_in_order() {
        let mut agenda = Agenda::default();
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3), (9, 4)] {
            agenda.add(Time::from_micros(at), node, Event::Restart);
        }
        let mut order = Vec::new();
        while let Some((_, node, _)) = agenda.next(Time::from_micros(5)) {
            order.push(node);
        }
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
