//! Executes committed blocks, one after the other, beside consensus: a pure machine of its own, so
//! that running a block never delays a vote.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::{
    BlockInput, Bundle, Ledger, LedgerConfig, LedgerError, ReceiptStep, Store, TrieDone, TrieJob,
    Write,
};
use lockstep_types::{CommitteeId, Gauge, ShardId, WindowNumber};

use crate::log::{
    read_anchor, write_anchor, write_block, write_bundle, write_checkpoint, write_committed,
    write_proof, write_record,
};
use crate::past::Past;
use crate::ready::{ExecuteBlock, ExecutedBlock, Fatal};
use crate::shard_chain::{Place, ShardChain};
use crate::{Checkpoint, Snapshot};

/// What the ledger of a shard must know of genesis.
pub fn ledger_config(genesis: &Genesis, shard: ShardId) -> LedgerConfig {
    LedgerConfig {
        genesis: genesis.hash(),
        shard,
        shards: genesis.shard_count(),
        minimum_balance: genesis.limits.minimum_balance,
        account_window_limit: genesis.limits.account_window_limit,
        pair_cap: genesis.limits.pair_cap,
    }
}

/// Runs the jobs of a state root, in any order or in parallel, and returns their results.
pub type RunJobs<'a> = dyn FnMut(Vec<TrieJob>) -> Vec<TrieDone> + 'a;

/// Runs the jobs one after the other.
pub fn run_in_order(jobs: Vec<TrieJob>) -> Vec<TrieDone> {
    jobs.into_iter().map(TrieJob::run).collect()
}

/// What executing a block asks its host to do.
#[derive(Debug)]
pub struct Execution {
    /// For the member, and for whoever follows the chain.
    pub executed: ExecutedBlock,
    /// The state part of the store, in one atomic write; it need not be synced.
    pub writes: Vec<Write>,
    /// The state that a record has just made the newest one to give to others.
    pub snapshot: Option<Arc<Snapshot>>,
}

/// The execution of one shard's chain.
#[derive(Debug)]
pub struct Executor {
    genesis: Arc<Genesis>,
    shard: ShardId,
    ledger: Ledger,
    window: WindowNumber,
    /// Up to where entries were sent ahead to each shard since the start.
    pushed: BTreeMap<ShardId, u64>,
    past: Past,
}

impl From<LedgerError> for Fatal {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(_) | LedgerError::Damaged(_) | LedgerError::Format { .. } => {
                Fatal::Store(error.to_string())
            }
            _ => Fatal::Ledger(error.to_string()),
        }
    }
}

impl Executor {
    /// Loads the state that the store has reached.
    ///
    /// # Errors
    /// When the store fails, is damaged, or holds a state that breaks an invariant.
    pub fn load(genesis: Arc<Genesis>, shard: ShardId, store: &dyn Store) -> Result<Self, Fatal> {
        let config = ledger_config(&genesis, shard);
        assert!(
            genesis.has(CommitteeId::Shard(shard)),
            "the chain has this shard"
        );
        let ledger = Ledger::load(config, &genesis.allocations(), store)?;
        let place = match read_anchor::<Place>(store)? {
            Some((_, _, place)) => place,
            None => ShardChain::first_place(&genesis),
        };
        Ok(Executor {
            genesis,
            shard,
            ledger,
            window: place.window.number,
            pushed: BTreeMap::new(),
            past: Past::load(store)?,
        })
    }

    /// How full everything is that grows with what others say.
    pub fn measure(&self, gauge: &mut dyn Gauge) {
        self.ledger.measure(gauge);
        self.past.measure(gauge);
    }

    /// The ledger, for reading.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The window that is open in the executed state: the first in which a transaction that was not
    /// executed yet can be.
    pub fn window(&self) -> WindowNumber {
        self.window
    }

    /// Executes the next block.
    ///
    /// # Errors
    /// When an invariant of the ledger breaks. The member must stop.
    pub fn step(&mut self, block: ExecuteBlock, run: &mut RunJobs<'_>) -> Result<Execution, Fatal> {
        let header = block.link.block.header();
        let height = header.height;
        assert!(height.follows(self.ledger.height()), "blocks come in order");
        let outboxes = block
            .record
            .as_ref()
            .map(|record| record.record.outboxes_for(self.shard));
        let bundles: Vec<&Bundle> = block.bundles.iter().map(|bundle| &**bundle).collect();
        let mut transactions = block.batches.iter().flat_map(|batch| &batch.transactions);
        let outcome = self.ledger.execute(BlockInput {
            height,
            // A seal at depth ≥ 1 opens the next window, but still belongs to the one it ends.
            window: block.place.seal.unwrap_or(block.place.window.number),
            record: outboxes.as_deref(),
            bundles: &bundles,
            transactions: &mut transactions,
            seal: block.place.seal,
        });
        if let Some(broken) = outcome.broken {
            return Err(Fatal::Ledger(broken.to_string()));
        }
        self.window = block.place.window.number;
        let mut writes = outcome.writes;
        let step = ReceiptStep {
            receipts_root: outcome.receipts_root,
            effects: outcome.effects,
        };
        self.past.add(&block, step);
        let checkpoint = outcome.seal.map(|pending| {
            let (seal, seal_writes) = self.ledger.finish_seal(run(pending.jobs));
            writes.extend(seal_writes);
            let checkpoint = Checkpoint {
                shard: self.shard,
                epoch: header.epoch,
                block: block.link.block.id(),
                record: block.place.window.record,
                rest: self.past.seal(seal.window, &block),
                seal,
            };
            writes.push(write_checkpoint(&checkpoint));
            // A restart says the checkpoint again, which needs its seal's proof on disk.
            writes.push(write_proof(&block.proof));
            checkpoint
        });
        // The log has these as well, but its write may still be under way: a crash must not leave a
        // state whose past can be neither shown nor built upon.
        writes.push(write_block(&block.link));
        writes.extend(block.record.iter().map(|record| write_record(record)));
        writes.extend(block.bundles.iter().map(|bundle| write_bundle(bundle)));
        writes.extend(write_committed(&block.link, &block.proof));
        writes.push(write_anchor(&block.link, &block.ancestry, &*block.place));
        let bundles = if block.record.is_some() {
            self.entries_to_push()
        } else {
            Vec::new()
        };
        let executed = ExecutedBlock {
            height,
            digest: outcome.digest,
            receipts: Arc::new(outcome.receipts),
            skipped: outcome.skipped,
            checkpoint,
            bundles,
            record: block.record,
            proof: block.proof,
            place: block.place,
            link: block.link,
        };
        let snapshot = executed.record.as_ref().and_then(|record| {
            let snapshot = self.past.snapshot(self.shard, record, &self.ledger);
            snapshot.map(Arc::new)
        });
        Ok(Execution {
            executed,
            writes,
            snapshot,
        })
    }

    /// Bundles of the entries that have just been certified, for every destination.
    fn entries_to_push(&mut self) -> Vec<Arc<Bundle>> {
        let most = self.genesis.limits.bundle_entries as usize;
        let mut bundles = Vec::new();
        for destination in self.ledger.destinations() {
            let provable = self.ledger.provable(destination);
            let pushed = self.pushed.entry(destination).or_insert(0);
            let mut from = provable.start.max(*pushed);
            while let Some(bundle) = self.ledger.bundle(destination, from, most) {
                if bundle.entries.is_empty() {
                    break;
                }
                from = bundle.to();
                bundles.push(Arc::new(bundle));
            }
            *pushed = from.max(*pushed);
        }
        bundles
    }

    /// The next entries for a shard that asks, from its watermark on.
    pub fn entries(&self, destination: ShardId, from: u64) -> Option<Bundle> {
        self.ledger.bundle(
            destination,
            from,
            self.genesis.limits.bundle_entries as usize,
        )
    }
}
