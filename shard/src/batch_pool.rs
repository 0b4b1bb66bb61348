//! Batches this replica holds: waiting to be listed, listed in an undecided block, or committed and
//! not yet executed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_types::{BatchDigest, Gauge, MemberIndex, WindowNumber};

use crate::Batch;

/// Batches of one author that wait to be listed. At 512 transactions each this is more than a
/// second of work; an author that is further ahead has to wait.
pub const MAX_WAITING_PER_AUTHOR: usize = 256;

/// Bodies kept beyond those waiting: listed ones that execution has not reached.
pub const MAX_BODIES: usize = 8_192;

/// How far ahead of ours a batch's window may be. A replica that is further behind fetches bodies
/// as blocks ask for them; a window that never comes would be kept for ever.
pub const MAX_WINDOWS_AHEAD: u64 = 64;

/// The batches of one replica.
#[derive(Debug)]
pub struct BatchPool {
    bodies: BTreeMap<BatchDigest, Arc<Batch>>,
    /// Per author, in the order it packed them.
    waiting: BTreeMap<MemberIndex, BTreeMap<u64, BatchDigest>>,
    /// Digests in committed blocks of the open window and the one before.
    listed: BTreeMap<WindowNumber, BTreeSet<BatchDigest>>,
    /// Those of them that execution still needs.
    unexecuted: BTreeSet<BatchDigest>,
    /// The window open on the committed chain.
    open: WindowNumber,
}

/// Why a batch is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// It is here already.
    #[error("the batch is here already")]
    Known,
    /// Its author has too many waiting.
    #[error("{MAX_WAITING_PER_AUTHOR} batches of its author are waiting")]
    TooMany,
    /// Its author used the sequence number for another batch.
    #[error("a second batch with sequence number {0}")]
    Sequence(u64),
    /// It is for a window too far ahead.
    #[error("window {got} is more than {MAX_WINDOWS_AHEAD} ahead of {open}")]
    TooFarAhead {
        /// Its window.
        got: WindowNumber,
        /// The open one.
        open: WindowNumber,
    },
}

impl BatchPool {
    /// An empty pool of a chain on which window `open` is open.
    pub fn new(open: WindowNumber) -> Self {
        BatchPool {
            bodies: BTreeMap::new(),
            waiting: BTreeMap::new(),
            listed: BTreeMap::new(),
            unexecuted: BTreeSet::new(),
            open,
        }
    }

    /// The window open on the committed chain.
    pub fn open_window(&self) -> WindowNumber {
        self.open
    }

    /// Keeps a checked batch.
    ///
    /// # Errors
    /// Why not. A batch that a block is waiting for is `wanted` and always kept.
    pub fn insert(&mut self, batch: Arc<Batch>, wanted: bool) -> Result<(), NotKept> {
        let digest = batch.digest();
        if self.bodies.contains_key(&digest) {
            return Err(NotKept::Known);
        }
        if self.unexecuted.contains(&digest) {
            // Committed; its body is only missing for execution.
            self.bodies.insert(digest, batch);
            return Ok(());
        }
        if self.is_listed(&digest) {
            return Err(NotKept::Known); // executed
        }
        let (got, open) = (batch.header.window, self.open);
        if got.since(open) > MAX_WINDOWS_AHEAD {
            return Err(NotKept::TooFarAhead { got, open });
        }
        if self.bodies.len() >= 2 * MAX_BODIES {
            return Err(NotKept::TooMany);
        }
        let (author, sequence) = (batch.header.author, batch.header.sequence);
        let queue = self.waiting.entry(author).or_default();
        if !wanted && (queue.len() >= MAX_WAITING_PER_AUTHOR || self.bodies.len() >= MAX_BODIES) {
            return Err(NotKept::TooMany);
        }
        if !wanted && queue.contains_key(&sequence) {
            return Err(NotKept::Sequence(sequence));
        }
        queue.entry(sequence).or_insert(digest);
        self.bodies.insert(digest, batch);
        Ok(())
    }

    /// A body.
    pub fn get(&self, digest: &BatchDigest) -> Option<&Arc<Batch>> {
        self.bodies.get(digest)
    }

    /// Is the batch in a committed block of the last two windows?
    pub fn is_listed(&self, digest: &BatchDigest) -> bool {
        self.listed.values().any(|listed| listed.contains(digest))
    }

    /// Batches that wait to be listed, one author after the other in turn, so that a block's room
    /// is shared evenly.
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Batch>> {
        let mut turns: Vec<_> = self.waiting.values().map(|queue| queue.values()).collect();
        let mut next = 0;
        core::iter::from_fn(move || {
            while !turns.is_empty() {
                next %= turns.len();
                if let Some(digest) = turns[next].next() {
                    next += 1;
                    return Some(self.bodies.get(digest).expect("what waits has a body"));
                }
                drop(turns.remove(next));
            }
            None
        })
    }

    /// How full it is, when committed blocks may list `most_listed` that execution has not reached.
    pub(crate) fn measure(&self, most_listed: usize, gauge: &mut dyn Gauge) {
        let of_one = self.waiting.values().map(BTreeMap::len).max();
        let most = MAX_BODIES + MAX_WAITING_PER_AUTHOR;
        gauge.note("batches of one author", of_one.unwrap_or(0), most);
        let unexecuted = self.unexecuted.len();
        gauge.note("batches to be executed", unexecuted, most_listed);
        let bodies = self.bodies.len();
        gauge.note("batch bodies", bodies, 2 * MAX_BODIES + unexecuted);
    }

    /// Would one more batch of this author be kept that no block asks for?
    pub fn has_room(&self, author: MemberIndex) -> bool {
        self.waiting_of(author) < MAX_WAITING_PER_AUTHOR && self.bodies.len() < MAX_BODIES
    }

    /// How many of an author's batches wait.
    pub fn waiting_of(&self, author: MemberIndex) -> usize {
        self.waiting.get(&author).map_or(0, BTreeMap::len)
    }

    /// A committed block of window `window` lists `digest`.
    pub fn on_listed(&mut self, window: WindowNumber, digest: BatchDigest) {
        self.listed.entry(window).or_default().insert(digest);
        self.unexecuted.insert(digest);
        let Some(batch) = self.bodies.get(&digest) else {
            return;
        };
        if let Some(queue) = self.waiting.get_mut(&batch.header.author) {
            queue.retain(|_, waiting| *waiting != digest);
        }
    }

    /// Execution has a hold of the body. A replica that is windows behind may meanwhile have taken
    /// the batch for a new one.
    pub fn on_executing(&mut self, digest: &BatchDigest) {
        self.unexecuted.remove(digest);
        let Some(batch) = self.bodies.remove(digest) else {
            return;
        };
        if let Some(queue) = self.waiting.get_mut(&batch.header.author)
            && queue.get(&batch.header.sequence) == Some(digest)
        {
            queue.remove(&batch.header.sequence);
        }
    }

    /// Window `open` has opened on the committed chain: forgets batches that can no longer be
    /// listed, and returns those of `author`.
    pub fn on_window(&mut self, open: WindowNumber, author: MemberIndex) -> Vec<Arc<Batch>> {
        let oldest = open.previous().unwrap_or(WindowNumber::ZERO);
        self.open = open;
        self.listed = self.listed.split_off(&oldest);
        let mut returned = Vec::new();
        let bodies = &mut self.bodies;
        for (member, queue) in &mut self.waiting {
            queue.retain(|_, digest| {
                let batch = bodies.get(digest).expect("what waits has a body");
                if batch.header.window >= oldest {
                    return true;
                }
                let batch = bodies.remove(digest).expect("looked up above");
                if *member == author {
                    returned.push(batch);
                }
                false
            });
        }
        // Bodies that blocks asked for and that stand in no queue: rivals under one sequence number.
        let unexecuted = &self.unexecuted;
        self.bodies
            .retain(|digest, batch| batch.header.window >= oldest || unexecuted.contains(digest));
        returned
    }
}
