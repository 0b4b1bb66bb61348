//! What an executor remembers of its chain's past besides the ledger, so that others can go on from
//! one of its seals: the batches listed lately and what the last blocks came to.
//!
//! Breaks if: two members remember different things at the same seal. Everything here is a function
//! of the chain, also after a restart and for a member whose state came from others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lockstep_ledger::{History, Ledger, MAX_UNRECORDED_SEALS, ReceiptStep, SealChoice, Store};
use lockstep_types::{
    BatchDigest, Digest, EffectsDigest, Gauge, Height, ShardId, Time, WindowNumber,
};

use crate::ready::{ExecuteBlock, Fatal};
use crate::snapshot::{MAX_STEPS, Manifest, Snapshot, rest_digest};
use crate::{CertifiedRecord, Place, log};

/// The end of a chain, as far as a snapshot shows it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Batches by the time of the block that lists them, since the window before the open one.
    listed: VecDeque<(Time, Vec<BatchDigest>)>,
    /// What the last blocks came to, and the digest before them.
    steps: VecDeque<ReceiptStep>,
    before: EffectsDigest,
    /// Seals that no record holds so far.
    sealed: BTreeMap<WindowNumber, Sealed>,
}

#[derive(Debug)]
struct Sealed {
    block: ExecuteBlock,
    listed: Vec<BatchDigest>,
    steps: Vec<ReceiptStep>,
    before: EffectsDigest,
}

impl Past {
    /// As it was when the block was executed whose effects are stored last.
    pub(crate) fn load(store: &dyn Store) -> Result<Self, Fatal> {
        let Some((anchor, _, place)) = log::read_anchor::<Place>(store)? else {
            return Ok(Past::default());
        };
        if lockstep_types::planted!(PastForgottenAtRestart) {
            return Ok(Past::default());
        }
        let since = place.window.previous_opened;
        let mut listed = log::listed_since(store, &anchor, since)?;
        listed.reverse();
        let mut past = Past {
            listed: listed.into(),
            ..Past::default()
        };
        past.load_steps(store, place.height)?;
        Ok(past)
    }

    fn load_steps(&mut self, store: &dyn Store, mut height: Height) -> Result<(), Fatal> {
        let history = History::new(store);
        while (self.steps.len() as u64) < MAX_STEPS
            && let Some(below) = height.previous()
            && let Some(block) = history.block(height)?
        {
            self.before = block.previous;
            self.steps.push_front(ReceiptStep {
                receipts_root: block.root(),
                effects: block.effects,
            });
            height = below;
        }
        if self.steps.is_empty() {
            self.before = history.reached()?.unwrap_or_default().1;
        }
        Ok(())
    }

    pub(crate) fn measure(&self, gauge: &mut dyn Gauge) {
        let steps = usize::try_from(MAX_STEPS).unwrap_or(usize::MAX);
        gauge.note("steps remembered", self.steps.len(), steps);
        gauge.note("seals remembered", self.sealed.len(), MAX_UNRECORDED_SEALS);
    }

    /// A block is executed.
    pub(crate) fn add(&mut self, block: &ExecuteBlock, step: ReceiptStep) {
        self.steps.push_back(step);
        if self.steps.len() as u64 > MAX_STEPS
            && let Some(oldest) = self.steps.pop_front()
        {
            self.before = oldest.after(&self.before);
        }
        let digests = block.batches.iter().map(|batch| batch.digest());
        self.listed.push_back((block.place.time, digests.collect()));
        let since = block.place.window.previous_opened;
        while self.listed.front().is_some_and(|(time, _)| *time < since) {
            self.listed.pop_front();
        }
    }

    /// The block that was added last is the seal of `window`. Returns what its checkpoint says of
    /// the past.
    pub(crate) fn seal(&mut self, window: WindowNumber, block: &ExecuteBlock) -> Digest {
        let place = &block.place;
        let opened = if place.window.number == window {
            place.window.opened
        } else {
            place.window.previous_opened
        };
        let inside = self.listed.iter().filter(|(time, _)| *time >= opened);
        let listed: Vec<_> = inside.flat_map(|(_, digests)| digests).copied().collect();
        let rest = rest_digest(place, &block.ancestry, &listed);
        let sealed = Sealed {
            block: ExecuteBlock {
                bundles: Vec::new(),
                batches: Vec::new(),
                ..block.clone()
            },
            listed,
            steps: self.steps.iter().copied().collect(),
            before: self.before,
        };
        self.sealed.insert(window, sealed);
        if self.sealed.len() > MAX_UNRECORDED_SEALS {
            self.sealed.pop_first();
        }
        rest
    }

    /// The state that `record` holds of this shard, if it is one of those remembered.
    pub(crate) fn snapshot(
        &mut self,
        shard: ShardId,
        record: &Arc<CertifiedRecord>,
        ledger: &Ledger,
    ) -> Option<Snapshot> {
        let window = record
            .record
            .entry(shard)?
            .checkpoint()?
            .checkpoint
            .window();
        let sealed = self.sealed.remove(&window);
        self.sealed = self.sealed.split_off(&window);
        let sealed = sealed?;
        let ledger = ledger.snapshot(SealChoice::Window(window))?;
        let manifest = Manifest {
            record: record.clone(),
            link: (*sealed.block.link).clone(),
            proof: sealed.block.proof,
            place: (*sealed.block.place).clone(),
            ancestry: sealed.block.ancestry,
            listed: sealed.listed,
            before: sealed.before,
            steps: sealed.steps,
            ledger: ledger.frame.clone(),
        };
        Snapshot::new(manifest, ledger)
    }
}
