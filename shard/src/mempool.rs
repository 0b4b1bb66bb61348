//! Transactions submitted to this validator: waiting to be packed, or packed and not yet executed.
//!
//! Breaks if: a transaction leaves `flying` before the chain has executed it, since a batch that
//! misses its windows is packed again from there.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lockstep_ledger::{Refusal, Transaction};
use lockstep_types::{Gauge, GenesisHash, Time, TransactionId, Verified, WindowNumber};

/// Transactions one validator takes in before it says busy: about 25 MB.
pub const MAX_TRANSACTIONS: usize = 131_072;

/// How long the oldest transaction waits for company. Short beside a block, long enough that a
/// loaded validator fills its batches.
pub const PACK_DELAY: Duration = Duration::from_millis(4);

/// How long a transaction whose predecessor is missing is kept, however often it is submitted: a place
/// is held at the sender's wish no longer. The predecessor may be in a batch that only its author
/// holds, and reach the chain views later.
const GAP_PATIENCE: Duration = Duration::from_secs(60);

/// The wait before such a transaction is packed again: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Flying {
    transaction: Verified<Transaction>,
    since: Time,
    retry: Duration,
    /// Its place in `later`, of which it has one at most: anybody may list it in many batches, and
    /// each of them is passed over.
    later: Option<Time>,
}

/// Transactions on their way into blocks.
#[derive(Debug)]
pub struct Mempool {
    genesis: GenesisHash,
    waiting: VecDeque<TransactionId>,
    /// What stands in `waiting`. An id may leave `flying` before its turn and come again: it keeps
    /// its one place, so that no batch holds it twice.
    queued: BTreeSet<TransactionId>,
    /// Everything taken in and not yet executed, waiting or packed.
    flying: BTreeMap<TransactionId, Flying>,
    waiting_since: Option<Time>,
    /// What came before its predecessor, and when it is packed again.
    later: BTreeSet<(Time, TransactionId)>,
}

/// A transaction was not taken in, since there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TRANSACTIONS} transactions are waiting already")]
pub struct Busy(pub TransactionId);

impl Mempool {
    /// An empty one.
    pub fn new(genesis: GenesisHash) -> Self {
        Mempool {
            genesis,
            waiting: VecDeque::new(),
            queued: BTreeSet::new(),
            flying: BTreeMap::new(),
            waiting_since: None,
            later: BTreeSet::new(),
        }
    }

    /// Takes a checked transaction in. A repeat is no error and changes nothing.
    ///
    /// # Errors
    /// [`Busy`] when there is no room.
    pub fn submit(
        &mut self,
        now: Time,
        transaction: Verified<Transaction>,
    ) -> Result<TransactionId, Busy> {
        let id = transaction.id(&self.genesis);
        if self.flying.contains_key(&id) {
            return Ok(id);
        }
        if self.flying.len().max(self.waiting.len()) >= MAX_TRANSACTIONS {
            return Err(Busy(id));
        }
        self.flying.insert(
            id,
            Flying {
                transaction,
                since: now,
                retry: FIRST_RETRY,
                later: None,
            },
        );
        self.wait(now, id);
        Ok(id)
    }

    fn wait(&mut self, now: Time, id: TransactionId) {
        if self.queued.insert(id) {
            self.waiting.push_back(id);
        }
        self.waiting_since.get_or_insert(now);
    }

    /// How full it is. What was executed or has expired before its turn keeps its place in the queue.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        gauge.note("transactions", self.flying.len(), MAX_TRANSACTIONS);
        let later = self.later.len();
        gauge.note("transactions for later", later, MAX_TRANSACTIONS);
        let queued = self.waiting.len();
        gauge.note("transactions queued", queued, 2 * MAX_TRANSACTIONS);
    }

    /// How many wait to be packed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many were taken in and are not executed.
    pub fn pending(&self) -> usize {
        self.flying.len()
    }

    /// When the next batch is due, if any is.
    pub fn pack_at(&self) -> Option<Time> {
        let waiting = self.waiting_since.map(|since| since.after(PACK_DELAY));
        let later = self.later.first().map(|(due, _)| *due);
        waiting.into_iter().chain(later).min()
    }

    /// Puts what has waited for its predecessor long enough among the others.
    fn try_again(&mut self, now: Time) {
        while let Some((due, id)) = self.later.first().copied()
            && due <= now
        {
            self.later.pop_first();
            if let Some(flying) = self.flying.get_mut(&id) {
                flying.later = None;
            }
            self.wait(due, id);
        }
    }

    /// The clock was set back to `now`: nothing waits longer than it would from here on.
    pub fn on_clock_set_back(&mut self, now: Time) {
        self.waiting_since = self.waiting_since.map(|since| since.min(now));
        let latest = now.after(LAST_RETRY);
        for (due, id) in core::mem::take(&mut self.later) {
            let due = due.min(latest);
            self.later.insert((due, id));
            if let Some(flying) = self.flying.get_mut(&id) {
                flying.later = Some(due);
            }
        }
    }

    /// The transactions for a batch, when it is full or its oldest has waited long enough.
    pub fn pack(
        &mut self,
        now: Time,
        most: usize,
        most_bytes: usize,
    ) -> Option<Vec<Verified<Transaction>>> {
        self.try_again(now);
        let due = self.waiting_since.map(|since| since.after(PACK_DELAY));
        if self.waiting.len() < most && due.is_none_or(|due| now < due) {
            return None;
        }
        let mut taken: Vec<Verified<Transaction>> = Vec::new();
        let mut bytes = 0;
        while taken.len() < most {
            let Some(id) = self.waiting.pop_front() else {
                break;
            };
            let Some(flying) = self.flying.get(&id) else {
                self.queued.remove(&id);
                continue;
            };
            bytes += parity_scale_codec::Encode::encoded_size(&*flying.transaction);
            if bytes > most_bytes && !taken.is_empty() {
                self.waiting.push_front(id);
                break;
            }
            self.queued.remove(&id);
            taken.push(flying.transaction.clone());
        }
        self.waiting_since = (!self.waiting.is_empty()).then_some(now);
        // A sender's transactions may have come over several connections: put them in order.
        taken.sort_by_key(|transaction| (transaction.key, transaction.nonce));
        (!taken.is_empty()).then_some(taken)
    }

    /// Packs these again: their batch can no longer be listed.
    pub fn pack_again(&mut self, now: Time, ids: impl IntoIterator<Item = TransactionId>) {
        for id in ids {
            if self.flying.contains_key(&id) {
                self.wait(now, id);
            }
        }
    }

    /// A block has executed these.
    pub fn on_executed(&mut self, ids: impl IntoIterator<Item = TransactionId>) {
        for id in ids {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: TransactionId) {
        let flying = self.flying.remove(&id);
        if let Some(due) = flying.and_then(|flying| flying.later) {
            self.later.remove(&(due, id));
        }
    }

    /// A block has passed over these. One that only came too early gets another chance.
    pub fn on_skipped(&mut self, now: Time, skipped: &[(TransactionId, Refusal)]) {
        for (id, refusal) in skipped {
            let Some(flying) = self.flying.get_mut(id) else {
                continue;
            };
            let early = matches!(refusal, Refusal::NonceAhead { .. });
            if !early || now.since(flying.since) >= GAP_PATIENCE {
                self.forget(*id);
            } else if flying.later.is_none() {
                let due = now.after(flying.retry);
                flying.later = Some(due);
                flying.retry = (2 * flying.retry).min(LAST_RETRY);
                self.later.insert((due, *id));
            }
        }
    }

    /// Forgets what can no longer execute.
    pub fn expire(&mut self, open: WindowNumber) {
        let later = &mut self.later;
        self.flying.retain(|id, flying| {
            let stays = flying.transaction.expiry >= open;
            if let Some(due) = flying.later.filter(|_| !stays) {
                later.remove(&(due, *id));
            }
            stays
        });
        if self.flying.is_empty() {
            self.waiting.clear();
            self.queued.clear();
            self.later.clear();
            self.waiting_since = None;
        }
    }
}
