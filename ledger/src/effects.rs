//! What a block leaves behind: the hash of its effects, the next digest in the chain, and the
//! writes for the store.
//!
//! Breaks if: something that later execution depends on changes without being in the writes; a
//! restart would then go another way.

use std::collections::BTreeSet;

use lockstep_types::{
    Digest, EffectsDigest, Hasher, Height, MerkleRoot, ShardId, TransactionId, WindowNumber, hash,
};
use parity_scale_codec::{Compact, Encode};

use crate::execution::{BundleRefusal, Outcome};
use crate::history::BlockReceipts;
use crate::receipt::RECEIPTS;
use crate::store::schema::{self, Head, PeerRecord};
use crate::{Broken, CertifiedOutbox, Column, Ledger, Receipt, Refusal, Write};

/// Windows between two full counts of everything. The equation is checked at every block from
/// totals; a count of a million accounts takes some tens of milliseconds.
pub const RECOUNT_EVERY: u64 = 100;

/// What a block does, while it does it.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) peers: BTreeSet<ShardId>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) writes: Vec<Write>,
    pub(crate) skipped: Vec<(TransactionId, Refusal)>,
    pub(crate) refused: Vec<(usize, BundleRefusal)>,
    pub(crate) broken: Option<Broken>,
}

impl Journal {
    pub(crate) fn broke(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }
}

impl Ledger {
    /// Ends a block that has done everything it does.
    pub(crate) fn finish_block(
        &mut self,
        height: Height,
        window: WindowNumber,
        record: Option<&[CertifiedOutbox]>,
        seal: Option<WindowNumber>,
        mut journal: Journal,
    ) -> Outcome {
        let receipts_root = RECEIPTS.root_of(&journal.receipts);
        let mut hasher = Hasher::new("lockstep/effects").value(&(height, window, record, seal));
        let touched = self.accounts.take_touched();
        Compact(touched.len() as u64).encode_to(&mut hasher);
        for (id, slot) in touched {
            let record = self.accounts.get(slot).record(window);
            hasher = hasher.bytes(id.as_bytes()).bytes(&record);
            let write = Write::put(Column::Accounts, *id.as_bytes(), record);
            journal.writes.push(write);
        }
        Compact(journal.peers.len() as u64).encode_to(&mut hasher);
        for peer in &journal.peers {
            let state = &self.peers[peer];
            hasher = hasher.value(&(state.outbox.leaf(*peer), state.inbox.consumed));
            let record = PeerRecord::of(&state.outbox, &state.inbox).encode();
            let write = Write::put(Column::Meta, schema::peer_key(*peer), record);
            journal.writes.push(write);
        }
        for supply in self.supplies.values() {
            hasher = hasher.value(supply);
            if let Err(broken) = supply.check() {
                journal.broken.get_or_insert(broken);
            }
        }
        let effects = hasher.finish();
        let previous = self.digest;
        self.height = height;
        self.digest = chain(&previous, &receipts_root, &effects);
        let pending = seal.map(|window| self.begin_seal(window, &mut journal.writes));
        if seal.is_some_and(|window| window.get() % RECOUNT_EVERY == 0)
            && let Err(broken) = self.recount()
        {
            journal.broke(broken);
        }
        self.write_block(previous, effects, &mut journal);
        Outcome {
            digest: self.digest,
            receipts: journal.receipts,
            receipts_root,
            effects,
            writes: journal.writes,
            seal: pending,
            skipped: journal.skipped,
            refused: journal.refused,
            broken: journal.broken,
        }
    }

    /// The head, the receipts and where to find them.
    fn write_block(&self, previous: EffectsDigest, effects: Digest, journal: &mut Journal) {
        for (position, receipt) in (0u32..).zip(&journal.receipts) {
            let key = schema::subject_key(&receipt.subject);
            let place = (self.height, position).encode();
            journal.writes.push(Write::put(Column::Index, key, place));
        }
        let receipts = BlockReceipts {
            previous,
            effects,
            receipts: journal.receipts.clone(),
        };
        let key = schema::receipts_key(self.height);
        journal.writes.extend([
            Write::put(Column::Receipts, key, receipts.encode()),
            self.write_head(),
        ]);
    }

    /// Where the state stands.
    pub(crate) fn write_head(&self) -> Write {
        let head = Head {
            format: schema::FORMAT,
            height: self.height,
            digest: self.digest,
            recorded: self.recorded,
            supply: self.supply(),
        };
        Write::put(Column::Meta, schema::HEAD, head.encode())
    }
}

/// The digest at a height from the one before it.
pub(crate) fn chain(
    previous: &EffectsDigest,
    receipts_root: &MerkleRoot,
    effects: &Digest,
) -> EffectsDigest {
    EffectsDigest::new(hash(
        "lockstep/executed",
        &(previous, receipts_root, effects),
    ))
}
