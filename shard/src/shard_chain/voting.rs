//! What a voter checks of a block's payload.

use lockstep_consensus::Check;
use lockstep_types::{Executed, Header, MemberIndex};

use super::{Place, ShardChain};
use crate::payload::{BatchRef, BundleRef, RecordRef};
use crate::window::Window;

impl ShardChain {
    pub(super) fn check_record(&mut self, parent: &Place, reference: &RecordRef) -> Check {
        let skips = lockstep_types::planted!(SkipRecord);
        if !reference.number.follows(parent.window.record) && !skips {
            return Check::Refuse("names a record out of order");
        }
        match self.bundles.record(reference.number) {
            None => {
                self.wanted.record = Some(reference.number);
                Check::Hold
            }
            Some(_) if self.applied(parent, reference).is_some() => Check::Accept,
            Some(_) => Check::Refuse("names another record than the beacon committed"),
        }
    }

    pub(super) fn check_bundles(
        &mut self,
        parent: &Place,
        window: &Window,
        proposer: MemberIndex,
        listed: &[BundleRef],
    ) -> Check {
        if listed.len() > self.limits.block_bundles as usize {
            return Check::Refuse("lists too many bundles");
        }
        let mut consumed = (*parent.consumed).clone();
        let mut answer = Check::Accept;
        for reference in listed {
            let watermark = consumed.entry(reference.source).or_insert(0);
            if reference.from != *watermark || reference.to <= reference.from {
                return Check::Refuse("lists a bundle that does not continue the watermark");
            }
            if reference.to - reference.from > u64::from(self.limits.bundle_entries) {
                return Check::Refuse("lists a bundle with too many entries");
            }
            *watermark = reference.to;
            match self.bundles.by_digest(&reference.digest) {
                None => {
                    self.wanted.bundles.insert(reference.digest, Some(proposer));
                    answer = Check::Hold;
                }
                Some(bundle) => {
                    let named = bundle.source == reference.source
                        && bundle.from == reference.from
                        && bundle.to() == reference.to;
                    if !named {
                        return Check::Refuse("lists a bundle under another range");
                    }
                    if !self.bundles.is_certified(bundle, window.record) {
                        return Check::Refuse("lists a bundle that no applied record certifies");
                    }
                }
            }
        }
        answer
    }

    pub(super) fn check_batches(
        &mut self,
        parent: &Place,
        window: &Window,
        header: &Header,
        listed: &[BatchRef],
    ) -> Check {
        if listed.len() > self.limits.block_batches as usize {
            return Check::Refuse("lists too many batches");
        }
        let mut seen = self.listed_on_branch(&header.parent);
        let mut answer = Check::Accept;
        for BatchRef {
            digest,
            transactions,
        } in listed
        {
            if !seen.insert(*digest) || self.batches.is_listed(digest) {
                return Check::Refuse("lists a batch twice");
            }
            match self.batches.get(digest) {
                None => {
                    self.wanted.batches.insert(*digest, Some(header.proposer));
                    answer = Check::Hold;
                }
                Some(batch) if batch.transactions.len() != *transactions as usize => {
                    return Check::Refuse("miscounts a batch");
                }
                Some(batch) if !Self::may_list(batch, window.number) => {
                    return Check::Refuse("lists a batch of another window");
                }
                Some(_) => {}
            }
        }
        if answer != Check::Accept {
            return answer;
        }
        let count = Self::transactions_in(listed);
        if count > u64::from(self.limits.block_transactions) {
            return Check::Refuse("orders too many transactions");
        }
        let paced = self.limits.pace.is_some();
        if paced && count.saturating_mul(1_000_000) > self.pace_credit(parent, window, header.time)
        {
            return Check::Refuse("orders faster than the pace");
        }
        answer
    }

    pub(super) fn check_executed(&self, executed: &Executed) -> Check {
        if executed.height > self.executed_height() {
            return Check::Hold;
        }
        match self.executed.get(&executed.height) {
            Some(own) if *own == executed.digest => Check::Accept,
            Some(_) if lockstep_types::planted!(ExecutedUnchecked) => Check::Accept,
            Some(_) => Check::Refuse("names another effects digest than ours"),
            None => Check::Refuse("names a height executed long ago"),
        }
    }
}

/// The first answer that is not yes.
pub(super) fn all(answers: [Check; 4]) -> Check {
    let refused = answers
        .iter()
        .find(|answer| matches!(answer, Check::Refuse(_)));
    let held = || answers.iter().find(|answer| matches!(answer, Check::Hold));
    refused.or_else(held).copied().unwrap_or(Check::Accept)
}
