//! Executing a block: the record it names, then the bundles it lists, then its transactions, then
//! the seal. The result is a function of the ledger and the block alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lockstep_types::{
    AccountId, Digest, EffectsDigest, Height, MerkleRoot, ShardId, TransactionId, WindowNumber,
};
use parity_scale_codec::Encode;

use crate::accounts::Slot;
use crate::effects::Journal;
use crate::outbox::OutboxEntry;
use crate::overlay::{Changed, Changes, Overlay};
use crate::store::schema;
use crate::{
    Account, Broken, Bundle, BundleError, CertifiedOutbox, Column, Failure, Ledger, PendingSeal,
    Receipt, ReceiptResult, Refusal, Subject, Transaction, Write,
};

/// A committed block, as execution sees it.
pub struct BlockInput<'a> {
    /// Its height: the ledger's plus one.
    pub height: Height,
    /// The window that is open in it, after the record it names.
    pub window: WindowNumber,
    /// The record it names: every shard's newest certified outbox, in shard order.
    pub record: Option<&'a [CertifiedOutbox]>,
    /// The bundles it lists, in order.
    pub bundles: &'a [&'a Bundle],
    /// The transactions of its batches, in order.
    pub transactions: &'a mut dyn Iterator<Item = &'a Transaction>,
    /// The window it seals, if it is a seal.
    pub seal: Option<WindowNumber>,
}

/// What executing a block has done.
#[derive(Debug)]
#[must_use = "the writes of every block must reach the store"]
pub struct Outcome {
    /// The chained digest at this height.
    pub digest: EffectsDigest,
    /// Credits and transactions, in order.
    pub receipts: Vec<Receipt>,
    /// Root over the receipts.
    pub receipts_root: MerkleRoot,
    /// Hash of the effects of this block alone.
    pub effects: Digest,
    /// Everything that has changed, for the state part of the store.
    pub writes: Vec<Write>,
    /// The jobs for the state root, if the block is a seal.
    pub seal: Option<PendingSeal>,
    /// Transactions without effect.
    pub skipped: Vec<(TransactionId, Refusal)>,
    /// Bundles without effect, by their position in the block.
    pub refused: Vec<(usize, BundleRefusal)>,
    /// An invariant that does not hold: the replica must stop, and write nothing of this.
    pub broken: Option<Broken>,
}

/// Why a bundle that a block lists has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleRefusal {
    /// It is for or from a shard that cannot be.
    #[error("a bundle from {source_shard} to {destination} is not for us")]
    NotForUs {
        /// Whose outbox.
        source_shard: ShardId,
        /// To whom.
        destination: ShardId,
    },
    /// Its source's root of that window is not certified, or no longer kept.
    #[error("no certified root of {source_shard} for window {window}")]
    UnknownRoot {
        /// Whose outbox.
        source_shard: ShardId,
        /// Of which window.
        window: WindowNumber,
    },
    /// It does not start at the watermark: a repetition, or one before it is missing.
    #[error("it starts at {got}, next is {expected}")]
    OutOfOrder {
        /// The watermark.
        expected: u64,
        /// Where it starts.
        got: u64,
    },
    /// An entry is for an account of another shard.
    #[error("an entry is for an account of another shard")]
    ForeignAccount,
    /// Its proof does not hold.
    #[error(transparent)]
    Proof(#[from] BundleError),
}

impl Ledger {
    /// Executes the next block.
    ///
    /// # Panics
    /// When the block is not the next, or seals while the last seal is not finished.
    pub fn execute(&mut self, block: BlockInput<'_>) -> Outcome {
        assert!(
            block.height.follows(self.height),
            "blocks execute one after the other"
        );
        let mut journal = Journal::default();
        for certified in block.record.unwrap_or_default() {
            self.apply_certified(certified, &mut journal);
        }
        for (position, bundle) in block.bundles.iter().enumerate() {
            if let Err(refusal) = self.apply_bundle(bundle, &mut journal) {
                journal.refused.push((position, refusal));
            }
        }
        for transaction in block.transactions {
            self.apply_transaction(transaction, block.window, &mut journal);
        }
        self.finish_block(
            block.height,
            block.window,
            block.record,
            block.seal,
            journal,
        )
    }

    fn apply_certified(&mut self, certified: &CertifiedOutbox, journal: &mut Journal) {
        let source = certified.source;
        if source == self.config().shard {
            return self.apply_own(certified, journal);
        }
        let me = self.config().shard;
        let peer = self.peers.entry(source).or_default();
        peer.inbox.certify(certified.window, certified.outbox_root);
        journal.peers.insert(source);
        let flow = certified.flow.as_ref().filter(|flow| flow.peer == me);
        if let Some(flow) = flow {
            for sequence in peer.outbox.acknowledge(flow.received_count) {
                let key = schema::entry_key(source, sequence);
                journal.writes.push(Write::delete(Column::Meta, key));
            }
        }
    }

    /// A record names a seal of ours: bundles are made against it from now on.
    fn apply_own(&mut self, certified: &CertifiedOutbox, journal: &mut Journal) {
        let window = certified.window;
        if self.recorded.is_some_and(|recorded| recorded >= window) {
            return;
        }
        if let Some(sealed) = self.sealed_outboxes.get(&window) {
            let computed = sealed.root();
            if computed != certified.outbox_root {
                journal.broke(Broken::Diverged {
                    window,
                    recorded: certified.outbox_root,
                    computed,
                });
            }
        }
        self.recorded = Some(window);
        self.forget_seals_before(window, &mut journal.writes);
    }

    fn apply_bundle(
        &mut self,
        bundle: &Bundle,
        journal: &mut Journal,
    ) -> Result<(), BundleRefusal> {
        let config = *self.config();
        let source = bundle.source;
        if bundle.destination != config.shard || source == config.shard {
            return Err(BundleRefusal::NotForUs {
                source_shard: source,
                destination: bundle.destination,
            });
        }
        let mut root = self.certified_root(source, bundle.window).copied();
        if lockstep_types::planted!(CreditBeforeRecord) {
            root = root.or_else(|| bundle.root());
        }
        let root = root.ok_or(BundleRefusal::UnknownRoot {
            source_shard: source,
            window: bundle.window,
        })?;
        let expected = self.consumed(source);
        if bundle.from != expected && !lockstep_types::planted!(CreditTwice) {
            return Err(BundleRefusal::OutOfOrder {
                expected,
                got: bundle.from,
            });
        }
        bundle.verify(&root)?;
        let ours = |entry: &OutboxEntry| entry.to.shard(config.shards) == config.shard;
        if !bundle.entries.iter().all(ours) {
            return Err(BundleRefusal::ForeignAccount);
        }
        for (sequence, entry) in (bundle.from..).zip(&bundle.entries) {
            if self.credit(source, sequence, entry, journal).is_none() {
                journal.broke(Broken::Credit {
                    source_shard: source,
                });
            }
        }
        if !lockstep_types::planted!(WatermarkNotWritten) {
            journal.peers.insert(source);
        }
        Ok(())
    }

    /// Credits one entry. `None` when a sum does not fit.
    fn credit(
        &mut self,
        source: ShardId,
        sequence: u64,
        entry: &OutboxEntry,
        journal: &mut Journal,
    ) -> Option<()> {
        let (asset, amount) = (entry.asset, entry.amount);
        let slot = self.accounts.find_or_create(entry.to);
        let mut account = Account::clone(&self.accounts.get(slot).account);
        account.balances.add(asset, amount).ok()?;
        let supply = self.supply_mut(asset);
        supply.received = supply.received.checked_add(amount)?;
        let inbox = &mut self.peers.get_mut(&source)?.inbox;
        assert!(
            inbox.consumed == sequence || lockstep_types::planted!(CreditTwice),
            "credits are in sequence"
        );
        inbox.consumed = sequence.checked_add(1)?;
        inbox.received.add(asset, amount).ok()?;
        self.put(slot, account, journal);
        journal.receipts.push(Receipt {
            subject: Subject::Credit {
                source,
                sequence,
                transaction: entry.transaction,
                action: entry.action,
            },
            result: ReceiptResult::Applied,
        });
        Some(())
    }

    fn apply_transaction(
        &mut self,
        transaction: &Transaction,
        window: WindowNumber,
        journal: &mut Journal,
    ) {
        let id = transaction.id(&self.config().genesis);
        let sender = transaction.sender();
        let slot = match self.executes(&sender, transaction, window) {
            Ok(slot) => slot,
            Err(Refusal::StaleNonce { .. }) if lockstep_types::planted!(StaleNonceExecutes) => {
                self.accounts.find(&sender).expect("it has a nonce")
            }
            Err(refusal) => return journal.skipped.push((id, refusal)),
        };
        let executed = self.accounts.get(slot).executed_in(window);
        let result = if executed < self.config().account_window_limit {
            self.try_transaction(&id, sender, slot, transaction)
        } else {
            Err(Failure::WindowLimit)
        };
        let result = match result {
            Ok(changes) => {
                self.apply_changes(changes, journal);
                ReceiptResult::Applied
            }
            Err(failure) => ReceiptResult::Failed(failure),
        };
        let failed = matches!(result, ReceiptResult::Failed(_));
        if !(failed && lockstep_types::planted!(NonceStaysAfterFailure)) {
            self.count_transaction(slot, window, executed);
        }
        journal.receipts.push(Receipt {
            subject: Subject::Transaction(id),
            result,
        });
    }

    /// Runs a transaction on an overlay. A panic is a result like any other: every replica runs
    /// the same code on the same state, and the overlay is thrown away.
    fn try_transaction(
        &self,
        id: &TransactionId,
        sender: AccountId,
        slot: Slot,
        transaction: &Transaction,
    ) -> Result<Changes, Failure> {
        catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            assert_ne!(self.panic_at_nonce, Some(transaction.nonce), "asked to");
            Overlay::new(self, sender, slot).run(id, &sender, &transaction.actions)
        }))
        .unwrap_or(Err(Failure::Internal))
    }

    fn apply_changes(&mut self, changes: Changes, journal: &mut Journal) {
        for Changed { id, slot, account } in changes.accounts {
            let slot = slot.unwrap_or_else(|| self.accounts.find_or_create(id));
            self.put(slot, account, journal);
        }
        for (destination, entry) in changes.sent {
            let supply = self.supply_mut(entry.asset);
            supply.sent = supply
                .sent
                .checked_add(entry.amount)
                .expect("the overlay has checked");
            let outbox = &mut self.peers.entry(destination).or_default().outbox;
            let added = outbox.sent.add(entry.asset, entry.amount);
            added.expect("bounded by the shard's total");
            let sequence = outbox.push(entry);
            journal.peers.insert(destination);
            let key = schema::entry_key(destination, sequence);
            let write = Write::put(Column::Meta, key, entry.encode());
            journal.writes.push(write);
        }
    }

    /// The nonce advances whatever the outcome.
    fn count_transaction(&mut self, slot: Slot, window: WindowNumber, executed: u32) {
        let holding = self.accounts.write(slot);
        let account = Arc::make_mut(&mut holding.account);
        account.nonce = account
            .nonce
            .checked_add(1)
            .expect("never 2^64 transactions");
        holding.window = window;
        holding.executed = executed.saturating_add(1);
    }

    /// Writes an account and lets the supply follow.
    fn put(&mut self, slot: Slot, account: Account, journal: &mut Journal) {
        let holding = self.accounts.write(slot);
        let old = core::mem::replace(&mut holding.account, Arc::new(account));
        let new = holding.account.clone();
        if !self.follow(&old, &new) {
            journal.broke(Broken::Recount {
                what: "balances",
                kept: 0,
                counted: u128::MAX,
            });
        }
    }

    fn follow(&mut self, old: &Account, new: &Account) -> bool {
        // Additions first, so that no balance in between is negative.
        let added = new.balances.iter().all(|(asset, amount)| {
            let supply = self.supply_mut(asset);
            let sum = supply.balances.checked_add(amount);
            sum.map(|sum| supply.balances = sum).is_some()
        });
        let taken = old.balances.iter().all(|(asset, amount)| {
            let supply = self.supply_mut(asset);
            let rest = supply.balances.checked_sub(amount);
            rest.map(|rest| supply.balances = rest).is_some()
        });
        added && taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, LedgerConfig, RECOUNT_EVERY};
    use lockstep_types::{AssetId, GenesisHash, PublicKey, Signature};

    const CONFIG: LedgerConfig = LedgerConfig {
        genesis: GenesisHash::ZERO,
        shard: ShardId::new(0),
        shards: 1,
        minimum_balance: 1,
        account_window_limit: 9,
        pair_cap: 9,
    };

    #[test]
    fn a_panic_is_a_result_and_leaves_no_trace() {
        let key = PublicKey::new([2; 33]);
        let sender = AccountId::of(&key);
        let mut ledger = Ledger::genesis(CONFIG, &[(sender, AssetId::NATIVE, 100)]);
        ledger.panic_at_nonce = Some(1);
        let transactions: Vec<_> = (0..3)
            .map(|nonce| Transaction {
                key,
                nonce,
                expiry: WindowNumber::new(9),
                actions: vec![Action::Transfer {
                    to: AccountId::new([nonce as u8; 20]),
                    asset: AssetId::NATIVE,
                    amount: 10,
                }],
                signature: Signature::new([0; 64]),
            })
            .collect();
        let outcome = ledger.execute(BlockInput {
            height: Height::new(1),
            window: WindowNumber::new(1),
            record: None,
            bundles: &[],
            transactions: &mut transactions.iter(),
            seal: None,
        });
        let results: Vec<_> = outcome.receipts.iter().map(|r| r.result).collect();
        let internal = ReceiptResult::Failed(Failure::Internal);
        assert_eq!(
            results,
            [ReceiptResult::Applied, internal, ReceiptResult::Applied]
        );
        assert_eq!(ledger.account(&sender).map(Account::native), Some(80));
        assert_eq!(ledger.account(&sender).map(|a| a.nonce), Some(3));
        assert_eq!(outcome.broken, None);
        assert_eq!(ledger.recount(), Ok(()));
    }

    #[test]
    fn value_from_nowhere_is_noticed_in_the_same_block() {
        let id = AccountId::new([1; 20]);
        let mut ledger = Ledger::genesis(CONFIG, &[(id, AssetId::NATIVE, 100)]);
        let mut richer = ledger.account(&id).cloned().unwrap();
        richer.balances.add(AssetId::NATIVE, 1).unwrap();
        let mut journal = Journal::default();
        let slot = ledger.accounts.find(&id).unwrap();
        ledger.put(slot, richer, &mut journal);
        let (height, window) = (Height::new(1), WindowNumber::new(1));
        let outcome = ledger.finish_block(height, window, None, None, journal);
        assert!(matches!(outcome.broken, Some(Broken::Conservation { .. })));
    }

    #[test]
    fn totals_that_are_wrong_together_are_noticed_at_the_next_count() {
        let id = AccountId::new([1; 20]);
        let sealed = |window| {
            let mut ledger = Ledger::genesis(CONFIG, &[(id, AssetId::NATIVE, 100)]);
            let supply = ledger.supply_mut(AssetId::NATIVE);
            supply.balances += 1;
            supply.received += 1;
            let (height, window) = (Height::new(1), WindowNumber::new(window));
            let journal = Journal::default();
            let outcome = ledger.finish_block(height, window, None, Some(window), journal);
            outcome.broken
        };
        assert_eq!(sealed(RECOUNT_EVERY + 1), None);
        let broken = sealed(RECOUNT_EVERY);
        assert!(matches!(broken, Some(Broken::Recount { .. })));
    }
}
