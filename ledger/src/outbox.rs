//! Outbox: value on its way to other shards. Debit and entry are one effect. There is one
//! append-only log per destination; the outbox root is over (destination, count, top of its log),
//! ascending. An entry's sequence number is its position in its log. Entries stay until a record
//! shows that the destination has credited them.

use std::collections::VecDeque;

use lockstep_types::{
    AccountId, AssetId, Digest, MerkleRoot, ShardId, TransactionId, WindowNumber,
};
use parity_scale_codec::{Decode, Encode};

use crate::Amounts;
use crate::merkle::{Log, RootKind};

/// The outbox tree: a list of [`OutboxLeaf`].
pub(crate) const OUTBOX: RootKind = RootKind::new("lockstep/outbox", "lockstep/outbox-leaf");

/// A destination's log: a list of [`OutboxEntry`]. Its top stands in an [`OutboxLeaf`] that binds
/// the count, so the root domain is not used.
pub(crate) const ENTRIES: RootKind = RootKind::new("lockstep/entries", "lockstep/outbox-entry");

/// A message to another shard: "credit this".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OutboxEntry {
    /// The transaction that sent it.
    pub transaction: TransactionId,
    /// Which of its actions.
    pub action: u8,
    /// Who receives.
    pub to: AccountId,
    /// What kind of value.
    #[codec(compact)]
    pub asset: AssetId,
    /// How much.
    #[codec(compact)]
    pub amount: u128,
}

/// What the outbox root says about one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OutboxLeaf {
    /// The destination.
    pub destination: ShardId,
    /// Entries ever sent to it.
    #[codec(compact)]
    pub count: u64,
    /// The top hash of their log.
    pub top: Digest,
}

/// The entries to one destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    log: Log,
    /// Those not acknowledged; the first has the sequence number `log.dropped()`.
    entries: VecDeque<OutboxEntry>,
    /// Amounts ever sent.
    pub(crate) sent: Amounts,
}

impl Outbox {
    /// An outbox with `acknowledged` entries forgotten, as it stands on disk.
    pub(crate) fn restore(acknowledged: u64, peaks: &[Digest], sent: Amounts) -> Self {
        Outbox {
            log: Log::from_peaks(acknowledged, peaks),
            entries: VecDeque::new(),
            sent,
        }
    }

    /// Entries that are not acknowledged.
    pub(crate) fn held(&self) -> usize {
        self.entries.len()
    }

    /// Entries ever sent.
    pub(crate) fn count(&self) -> u64 {
        self.log.count()
    }

    /// Entries the destination is known to have credited.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.log.dropped()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Appends an entry; returns its sequence number.
    pub(crate) fn push(&mut self, entry: OutboxEntry) -> u64 {
        let sequence = self.log.count();
        self.log.push(ENTRIES.leaf(&entry));
        self.entries.push_back(entry);
        sequence
    }

    /// The entries before `upto` have been credited. Returns the sequence numbers forgotten.
    pub(crate) fn acknowledge(&mut self, upto: u64) -> core::ops::Range<u64> {
        let before = self.acknowledged();
        if upto <= before || upto > self.count() {
            // Nothing new, or more than was ever sent: not an acknowledgement of ours.
            return before..before;
        }
        for _ in before..upto {
            self.entries.pop_front().expect("as many as in the log");
        }
        self.log.drop_before(upto);
        before..upto
    }

    /// The entries `from..to`, which must still be held.
    pub(crate) fn range(&self, from: u64, to: u64) -> Option<Vec<OutboxEntry>> {
        let low = usize::try_from(from.checked_sub(self.acknowledged())?).ok()?;
        let high = usize::try_from(to.checked_sub(self.acknowledged())?).ok()?;
        (high <= self.entries.len()).then(|| self.entries.range(low..high).copied().collect())
    }

    pub(crate) fn leaf(&self, destination: ShardId) -> OutboxLeaf {
        OutboxLeaf {
            destination,
            count: self.count(),
            top: self.log.top(self.count()),
        }
    }
}

/// The outbox as a seal committed it: what bundles are proven against once the seal is recorded.
#[derive(Clone, Debug)]
pub(crate) struct SealedOutbox {
    pub(crate) window: WindowNumber,
    pub(crate) leaves: Vec<OutboxLeaf>,
    pub(crate) tree: Log,
}

impl SealedOutbox {
    pub(crate) fn new(window: WindowNumber, leaves: Vec<OutboxLeaf>) -> Self {
        let tree = OUTBOX.log_of(&leaves);
        SealedOutbox {
            window,
            leaves,
            tree,
        }
    }

    pub(crate) fn root(&self) -> MerkleRoot {
        OUTBOX.root(self.tree.count(), &self.tree.top(self.tree.count()))
    }

    /// The leaf of a destination and its position.
    pub(crate) fn leaf(&self, destination: ShardId) -> Option<(usize, &OutboxLeaf)> {
        let at = self
            .leaves
            .binary_search_by_key(&destination, |leaf| leaf.destination)
            .ok()?;
        Some((at, &self.leaves[at]))
    }
}
