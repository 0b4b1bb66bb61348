//! What a leader puts into a block.

use lockstep_consensus::Turn;
use lockstep_types::{Block, Executed, Height, Time, WindowNumber};

use super::{MAX_EXECUTION_LAG, PACE_STEPS_PER_SECOND, Place, ShardChain};
use crate::Batch;
use crate::payload::{BatchRef, BundleRef, RecordRef};
use crate::window::Window;

impl ShardChain {
    /// The next record, if it is held and this branch can apply it.
    pub(super) fn next_record(&self, parent: &Place) -> Option<RecordRef> {
        let mut held = self.bundles.record(parent.window.record.next());
        if lockstep_types::planted!(SkipRecord) {
            let later = parent.window.record.plus(2);
            held = self.bundles.record(later).or(held);
        }
        let held = held?;
        let reference = RecordRef {
            number: held.record.number,
            hash: held.record.hash(),
        };
        self.applied(parent, &reference).map(|_| reference)
    }

    /// Bundles that continue the watermarks, source by source.
    pub(super) fn choose_bundles(&self, parent: &Place, applied: WindowNumber) -> Vec<BundleRef> {
        let mut chosen = Vec::new();
        for (source, mut from) in self.bundles.owing(&parent.consumed, applied) {
            while let Some((digest, bundle)) = self.bundles.next(source, from, applied) {
                if chosen.len() >= self.limits.block_bundles as usize {
                    return chosen;
                }
                chosen.push(BundleRef {
                    source,
                    from,
                    to: bundle.to(),
                    digest,
                });
                from = bundle.to();
            }
        }
        chosen
    }

    pub(super) fn may_list(batch: &Batch, open: WindowNumber) -> bool {
        batch.header.window == open || open.follows(batch.header.window)
    }

    pub(super) fn choose_batches(
        &self,
        parent: &Block,
        place: &Place,
        window: &Window,
        time: Time,
    ) -> Vec<BatchRef> {
        let on_branch = self.listed_on_branch(&parent.id());
        let mut room = u64::from(self.limits.block_transactions);
        if self.limits.pace.is_some() {
            room = room.min(self.pace_credit(place, window, time) / 1_000_000);
        }
        let mut chosen = Vec::new();
        for batch in self.batches.waiting() {
            if chosen.len() >= self.limits.block_batches as usize {
                break;
            }
            let count = batch.transactions.len() as u64;
            if count > room || !Self::may_list(batch, window.number) {
                continue;
            }
            if on_branch.contains(&batch.digest()) {
                continue;
            }
            room -= count;
            let transactions = u32::try_from(count).expect("within the block's room");
            chosen.push(BatchRef {
                digest: batch.digest(),
                transactions,
            });
        }
        chosen
    }

    /// Is a listed batch missing from `branch` and allowed in `window`? Whether it must wait for
    /// the pace is asked as well, so that a paced shard does not run its view timer for nothing.
    pub(super) fn has_batch(&self, parent: &Block, place: &Place, now: Time) -> bool {
        if let Some(pace) = self.limits.pace {
            let credit = self.pace_credit(place, &place.window, now);
            if credit < (u64::from(pace) / PACE_STEPS_PER_SECOND).max(1) * 1_000_000 {
                return false;
            }
        }
        let on_branch = self.listed_on_branch(&parent.id());
        self.batches.waiting().any(|batch| {
            Self::may_list(batch, place.window.number) && !on_branch.contains(&batch.digest())
        })
    }

    /// What a leader's block says about execution: one below what its ancestry commits, since
    /// others surely have executed that.
    pub(super) fn executed_for(&self, turn: &Turn<'_>) -> Option<Executed> {
        let least = turn.parent.header().executed.height;
        let sure = turn.commits.previous().unwrap_or(Height::ZERO);
        let height = sure.min(self.executed_height()).max(least);
        if turn.commits.since(height) > MAX_EXECUTION_LAG {
            return None;
        }
        self.executed.get(&height).map(|digest| Executed {
            height,
            digest: *digest,
        })
    }
}
