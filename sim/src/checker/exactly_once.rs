//! Validity (I2), exactly once (I8) and conservation (I7): what executes was submitted, executes in
//! one block of the chain and no other, every credit has its debit and an applied record that
//! certifies it, nothing executes between a seal and its record, and the value of all shards and of
//! everything in flight is genesis'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::{Ledger, ReceiptResult, Subject, Supply};
use lockstep_shard::{ExecutedBlock, Peer};
use lockstep_types::{Height, ShardId, TransactionId};

use super::Broken;

/// What all shards together have done.
pub struct ExactlyOnce {
    genesis: Arc<Genesis>,
    submitted: BTreeSet<TransactionId>,
    executed: BTreeMap<(ShardId, TransactionId), (Height, bool)>,
    credited: BTreeMap<(ShardId, ShardId, u64), Height>,
    checked: BTreeMap<ShardId, Height>,
    /// Entries from one shard to another: how many records have certified at the destination.
    certified: BTreeMap<(ShardId, ShardId), u64>,
    /// And how many the source has sent.
    sent: BTreeMap<(ShardId, ShardId), u64>,
}

/// Every so many heights everything is counted anew.
const RECOUNT_EVERY: u64 = 64;

impl ExactlyOnce {
    pub(super) fn new(genesis: Arc<Genesis>) -> Self {
        ExactlyOnce {
            genesis,
            submitted: BTreeSet::new(),
            executed: BTreeMap::new(),
            credited: BTreeMap::new(),
            checked: BTreeMap::new(),
            certified: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Transactions given to some member.
    pub fn submitted(&self) -> usize {
        self.submitted.len()
    }

    /// Transactions executed, failed ones included.
    pub fn executed(&self) -> usize {
        self.executed.len()
    }

    /// Transactions executed that did what they say.
    pub fn applied(&self) -> usize {
        self.executed
            .values()
            .filter(|(_, applied)| *applied)
            .count()
    }

    /// Was this transaction executed, failed or not?
    pub fn is_executed(&self, shard: ShardId, id: TransactionId) -> bool {
        self.executed.contains_key(&(shard, id))
    }

    /// The height at which a transaction was executed.
    pub fn executed_at(&self, shard: ShardId, id: TransactionId) -> Option<Height> {
        self.executed.get(&(shard, id)).map(|(height, _)| *height)
    }

    /// Credits from other shards.
    pub fn credited(&self) -> usize {
        self.credited.len()
    }

    pub(super) fn on_submitted(&mut self, id: TransactionId) {
        self.submitted.insert(id);
    }

    pub(super) fn on_executed(&mut self, peer: &Peer, block: &ExecutedBlock) -> Result<(), Broken> {
        let shard = peer.committee.shard().expect("shards execute");
        if self
            .checked
            .get(&shard)
            .is_some_and(|height| *height >= block.height)
        {
            return Ok(()); // agreement compares repetitions by their digests
        }
        self.on_record(shard, block);
        let waits = block.place.window.sealed && block.place.seal.is_none();
        if waits && !block.receipts.is_empty() {
            let detail = format!("{} of {shard} executes something", block.height);
            return Err(Broken::new("no payload between seal and record", detail));
        }
        for receipt in block.receipts.iter() {
            let (seen, detail) = match receipt.subject {
                Subject::Transaction(id) => {
                    if !self.submitted.contains(&id) {
                        let detail = format!("{id:?} at {} of {shard}", block.height);
                        return Err(Broken::new("only what was submitted", detail));
                    }
                    let applied = matches!(receipt.result, ReceiptResult::Applied);
                    let value = (block.height, applied);
                    let before = self.executed.insert((shard, id), value);
                    (before.map(|(height, _)| height), format!("{id:?}"))
                }
                Subject::Credit {
                    source, sequence, ..
                } => {
                    let certified = self.certified.get(&(source, shard)).copied();
                    if certified.is_none_or(|count| sequence >= count) {
                        let detail = format!(
                            "{shard} credited entry {sequence} of {source}, certified: {certified:?}"
                        );
                        return Err(Broken::new("credits come after their record", detail));
                    }
                    let key = (shard, source, sequence);
                    let before = self.credited.insert(key, block.height);
                    (before, format!("credit {sequence} from {source}"))
                }
            };
            if let Some(before) = seen {
                let detail = format!("{detail} at {before} and at {} of {shard}", block.height);
                return Err(Broken::new("exactly once", detail));
            }
        }
        Ok(())
    }

    /// What the records that a shard has applied certify for it.
    fn on_record(&mut self, shard: ShardId, block: &ExecutedBlock) {
        let Some(record) = &block.record else { return };
        for outbox in record.record.outboxes_for(shard) {
            let count = outbox.flow.map_or(0, |flow| flow.sent_count);
            let certified = self.certified.entry((outbox.source, shard)).or_default();
            *certified = count.max(*certified);
        }
    }

    pub(super) fn on_ledger(&mut self, peer: &Peer, ledger: &Ledger) -> Result<(), Broken> {
        let shard = peer.committee.shard().expect("shards execute");
        let checked = self.checked.entry(shard).or_default();
        if ledger.height() <= *checked {
            return Ok(());
        }
        *checked = ledger.height();
        let height = ledger.height();
        for other in (0..self.genesis.shard_count()).map(ShardId::new) {
            self.sent.insert((shard, other), ledger.sent_count(other));
            let (consumed, key) = (ledger.consumed(other), (other, shard));
            let sent = self.sent.get(&key).copied().unwrap_or(0);
            if consumed > sent {
                let detail = format!("{shard} consumed {consumed} entries of {other}, sent {sent}");
                return Err(Broken::new("nothing is consumed that was not sent", detail));
            }
        }
        if height.get().is_multiple_of(RECOUNT_EVERY)
            && let Err(broken) = ledger.recount()
        {
            let detail = format!("{shard} at {height}: {broken}");
            return Err(Broken::new("conservation", detail));
        }
        for supply in ledger.supply() {
            if let Err(broken) = supply.check() {
                let detail = format!("{shard} at {}: {broken}", ledger.height());
                return Err(Broken::new("conservation", detail));
            }
        }
        Ok(())
    }

    /// Is nothing on its way between `ledgers`, one of each shard?
    pub fn is_settled<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> bool {
        let mut on_the_way: BTreeMap<_, u128> = BTreeMap::new();
        for supply in ledgers.flat_map(Ledger::supply) {
            let amount = on_the_way.entry(supply.asset).or_default();
            *amount = amount
                .wrapping_add(supply.sent)
                .wrapping_sub(supply.received);
        }
        on_the_way.values().all(|amount| *amount == 0)
    }

    /// Do all shards and what is on its way between them hold what genesis gave?
    ///
    /// # Errors
    /// The asset and both totals.
    pub fn check_total<'a>(&self, ledgers: impl Iterator<Item = &'a Ledger>) -> Result<(), Broken> {
        let mut held: BTreeMap<_, u128> = BTreeMap::new();
        for supply in ledgers.flat_map(Ledger::supply) {
            let Supply {
                asset,
                balances,
                escrow,
                sent,
                received,
                ..
            } = supply;
            let total = held.entry(asset).or_default();
            *total = total
                .wrapping_add(balances + escrow)
                .wrapping_add(sent)
                .wrapping_sub(received);
        }
        let mut given: BTreeMap<_, u128> = BTreeMap::new();
        for (_, asset, amount) in self.genesis.allocations() {
            *given.entry(asset).or_default() += amount;
        }
        if held == given {
            return Ok(());
        }
        let detail = format!("genesis gave {given:?}, shards and flight hold {held:?}");
        Err(Broken::new("global conservation", detail))
    }
}
