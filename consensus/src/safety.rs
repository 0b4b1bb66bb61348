//! Voting rules: the only place that signs. A replica signs at most one vote, one timeout and one
//! proposal per view, and every vote and timeout is in the [`SafetyRecord`] that must be durable
//! before it is sent (rules R1 to R8 in PROTOCOL.md).
//!
//! Why two members never commit rivals: let B be committed in view v by its certified child of
//! view v + 1. The q voters for the child hold a lock of at least v. Any certificate of a later
//! view w > v for a block that does not extend B needs a first one; its block extends a
//! certificate of a view below v, so its view was entered by a timeout certificate, whose signers
//! share a correct member with the child's voters. That member signed its timeout after its vote
//! (a vote in a view is barred after a timeout for it), so with a highest view of at least v, and
//! the block's certificate must reach that: a contradiction. [`Safety::vote`] upholds the lock and
//! the bar, [`Safety::time_out`] the signed highest view, `Proposal::check_entry` and
//! [`Safety::may_vote`] the comparison.
//!
//! Breaks if: a second place signs, a vote follows a timeout in one view, a timeout names less than
//! the lock, or a record is sent to disk that misses a statement made before it.

use std::collections::VecDeque;
use std::sync::Arc;

use lockstep_types::{
    Block, Domain, Durable, EpochContext, Hasher, LogPosition, MemberIndex, QuorumCertificate,
    Signer, Timeout, TimeoutCertificate, View, Vote,
};

use crate::fingerprint::{of_qc, of_tc};
use crate::{Proposal, Refusal, SafetyRecord, Testimony};

/// Owns the key and the durable facts.
#[derive(Clone)]
pub(crate) struct Safety {
    domain: Domain,
    me: MemberIndex,
    signer: Arc<dyn Signer>,
    record: SafetyRecord,
    /// Something was signed that no record given out so far contains.
    unrecorded: bool,
    /// This replica may have proposed in views up to here before it was restarted.
    proposed_before: View,
    /// A restart after this moment would not propose in views up to here: see `sign_proposal`.
    reserved: View,
    /// Records on their way to disk, and what each would reserve.
    reserving: VecDeque<(LogPosition, View)>,
}

impl Safety {
    /// A replica that has never signed.
    pub(crate) fn fresh(
        domain: Domain,
        me: MemberIndex,
        signer: Arc<dyn Signer>,
        record: SafetyRecord,
    ) -> Self {
        assert_eq!(record.last_signed_view(), View::ZERO, "nothing signed yet");
        Safety {
            domain,
            me,
            signer,
            record,
            unrecorded: false,
            proposed_before: View::ZERO,
            reserved: View::ZERO,
            reserving: VecDeque::new(),
        }
    }

    /// A replica that comes back with its record.
    pub(crate) fn restarted(
        domain: Domain,
        me: MemberIndex,
        signer: Arc<dyn Signer>,
        mut record: SafetyRecord,
    ) -> Self {
        if lockstep_types::planted!(ForgetTcAtRestart) {
            record.high_tc = None;
        }
        let reserved = reserved_by(&record);
        Safety {
            domain,
            me,
            signer,
            record,
            unrecorded: false,
            proposed_before: if lockstep_types::planted!(ProposeAgainAfterRestart) {
                View::ZERO
            } else {
                reserved
            },
            reserved,
            reserving: VecDeque::new(),
        }
    }

    pub(crate) fn record(&self) -> &SafetyRecord {
        &self.record
    }

    /// R1: every certificate seen raises the high QC. True if it did.
    pub(crate) fn observe_qc(&mut self, qc: &QuorumCertificate) -> bool {
        let raised = qc.view > self.record.high_qc.view;
        if raised {
            self.record.high_qc = qc.clone();
        }
        assert!(
            self.record.high_qc.view >= self.record.lock,
            "the lock is a certificate seen"
        );
        raised
    }

    /// R1: the same for timeout certificates.
    pub(crate) fn observe_tc(&mut self, tc: &TimeoutCertificate) -> bool {
        let raised = tc.view > self.record.high_tc_view();
        if raised {
            self.record.high_tc = Some(tc.clone());
        }
        raised
    }

    fn may_sign_at_all(&self) -> Result<(), Refusal> {
        if self.record.is_silent {
            let floor = self.record.floor;
            return Err(Refusal::Silent { floor });
        }
        Ok(())
    }

    /// R34: a replica whose record was lost starts from what a quorum of others knows.
    pub(crate) fn start_above(&mut self, floor: View) {
        assert_eq!(
            self.record.last_signed_view(),
            View::ZERO,
            "the record is lost"
        );
        assert!(
            floor > self.record.view(),
            "above what may have been signed"
        );
        self.record.lock = self.record.high_qc.view;
        self.record.floor = floor;
        self.record.is_silent = true;
        self.proposed_before = floor;
        self.unrecorded = true;
    }

    /// R9: the record on disk may still be lost, and reserves nothing.
    pub(crate) fn record_again(&mut self) {
        self.unrecorded = true;
        self.reserved = View::ZERO;
    }

    /// R34: the committee is past everything this replica may have signed.
    pub(crate) fn lift_floor(&mut self) {
        self.record.is_silent = false;
        self.unrecorded = true;
    }

    /// Signs what this replica knows, for one that has just started. Promises nothing, so it is
    /// not recorded.
    pub(crate) fn sign_testimony(&self, testimony: Testimony, context: &EpochContext) -> Testimony {
        testimony.signed(&*self.signer, &context.domain, context.epoch)
    }

    /// R2, R3, R4: may this replica vote for `block` in `current`?
    pub(crate) fn may_vote(&self, current: View, proposal: &Proposal) -> Result<(), Refusal> {
        self.may_sign_at_all()?;
        let block = proposal.view();
        let parent = proposal.justify.view;
        let last_voted = self.record.last_voted_view();
        let last_timed_out = self.record.last_timed_out_view();
        if block != current {
            return Err(Refusal::NotCurrent {
                got: block,
                current,
            });
        }
        let voted_for = || self.record.last_voted.as_ref().map(|vote| vote.block);
        let rival = || voted_for() != Some(proposal.block.id());
        if block <= last_voted && !(lockstep_types::planted!(VoteTwice) && rival()) {
            return Err(Refusal::AlreadyVoted { block, last_voted });
        }
        if block <= last_timed_out && !lockstep_types::planted!(VoteAfterTimeout) {
            return Err(Refusal::TimedOut {
                block,
                last_timed_out,
            });
        }
        if lockstep_types::planted!(ExtendBelowTimeoutCertificate) {
            return Ok(());
        }
        if block.follows(parent) {
            return Ok(()); // the parent was certified in the view just before
        }
        match &proposal.entered_by {
            Some(tc) if block.follows(tc.view) && parent >= tc.high_qc_view() => Ok(()),
            _ => Err(Refusal::ParentNotJustified { block, parent }),
        }
    }

    /// Votes. A repeat for the same block is the vote given before.
    pub(crate) fn vote(&mut self, current: View, proposal: &Proposal) -> Result<Vote, Refusal> {
        if let Some(vote) = &self.record.last_voted
            && vote.view == proposal.view()
            && vote.block == proposal.block.id()
        {
            return Ok(vote.clone());
        }
        self.may_vote(current, proposal)?;
        let parent = proposal.justify.view;
        self.observe_qc(&proposal.justify);
        let vote = Vote::sign(
            &*self.signer,
            &self.domain,
            self.me,
            self.record.epoch,
            current,
            proposal.block.id(),
        );
        self.record.lock = self.record.lock.max(parent);
        self.record.last_voted = Some(vote.clone());
        self.unrecorded = true;
        assert!(
            self.record.last_voted_view() > self.record.last_timed_out_view()
                || lockstep_types::planted!(VoteAfterTimeout)
        );
        assert!(self.record.high_qc.view >= self.record.lock);
        Ok(vote)
    }

    /// R5, R6: may this replica give up on `view`?
    pub(crate) fn may_time_out(&self, current: View) -> Result<(), Refusal> {
        self.may_sign_at_all()?;
        let record = &self.record;
        if current < record.last_voted_view() {
            return Err(Refusal::VotedLater {
                view: current,
                last_voted: record.last_voted_view(),
            });
        }
        if current < record.last_timed_out_view() {
            return Err(Refusal::Old { got: current });
        }
        if record.high_qc.view < record.lock {
            return Err(Refusal::BelowLock {
                high_qc: record.high_qc.view,
                lock: record.lock,
            });
        }
        if !current.follows(record.high_qc.view) && !current.follows(record.high_tc_view()) {
            return Err(Refusal::NotCurrent {
                got: current,
                current: record.view(),
            });
        }
        Ok(())
    }

    /// Gives up on the current view. A repeat is the statement given before.
    pub(crate) fn time_out(&mut self, current: View) -> Result<Timeout, Refusal> {
        if let Some(timeout) = &self.record.last_timed_out
            && timeout.view == current
        {
            return Ok(timeout.clone());
        }
        self.may_time_out(current)?;
        let mut high_qc = self.record.high_qc.clone();
        let entered_by = if current.follows(high_qc.view) {
            None
        } else {
            self.record.high_tc.clone()
        };
        if let Some(before) = &self.record.last_timed_out
            && entered_by.is_some()
            && lockstep_types::planted!(TimeoutBelowLock)
        {
            high_qc = before.high_qc.clone();
        }
        let timeout = Timeout::sign(
            &*self.signer,
            &self.domain,
            self.me,
            current,
            high_qc,
            entered_by,
        );
        self.record.last_timed_out = Some(timeout.clone());
        self.unrecorded = true;
        assert!(
            timeout.high_qc.view >= self.record.lock || lockstep_types::planted!(TimeoutBelowLock)
        );
        assert!(self.record.last_timed_out_view() >= self.record.last_voted_view());
        Ok(timeout)
    }

    /// R7: may this replica propose in `view` at all?
    pub(crate) fn may_propose(&self, view: View) -> Result<(), Refusal> {
        self.may_sign_at_all()?;
        if view <= self.record.last_timed_out_view() {
            return Err(Refusal::TimedOut {
                block: view,
                last_timed_out: self.record.last_timed_out_view(),
            });
        }
        if view <= self.record.last_voted_view() {
            return Err(Refusal::AlreadyVoted {
                block: view,
                last_voted: self.record.last_voted_view(),
            });
        }
        if view <= self.proposed_before {
            return Err(Refusal::MayHaveProposed {
                view,
                limit: self.proposed_before,
            });
        }
        Ok(())
    }

    /// R7: signs a proposal, and says whether it may leave at once.
    ///
    /// A proposal that waited for a sync would delay every block by one, so it does not wait when
    /// the durable record reserves its view: a restart with that record would not propose there,
    /// hence nobody ever sees two proposals of ours. A record reserves the view after the last it
    /// has a statement for.
    pub(crate) fn sign_proposal(
        &mut self,
        block: Block,
        justify: QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> (Proposal, bool) {
        let view = block.header().view;
        assert!(view > self.proposed_before, "asked may_propose first");
        assert_eq!(block.header().proposer, self.me);
        let proposal = Proposal::sign(&*self.signer, &self.domain, block, justify, entered_by);
        (proposal, view <= self.reserved)
    }

    /// The record to write, if something was signed since the last one.
    pub(crate) fn take_record(&mut self, position: LogPosition) -> Option<SafetyRecord> {
        if !core::mem::take(&mut self.unrecorded) {
            return None;
        }
        self.reserving
            .push_back((position, reserved_by(&self.record)));
        let mut record = self.record.clone();
        if lockstep_types::planted!(SkipVotePersist) {
            record.last_voted = None;
        }
        Some(record)
    }

    /// See `fingerprint.rs`.
    pub(crate) fn fingerprint(&self, hasher: Hasher) -> Hasher {
        let Safety {
            domain: _,
            me: _,
            signer: _,
            record,
            unrecorded,
            proposed_before,
            reserved,
            reserving,
        } = self;
        let SafetyRecord {
            epoch: _,
            last_voted,
            last_timed_out,
            lock,
            high_qc,
            high_tc,
            floor,
            is_silent,
            log_end,
        } = record;
        let voted = last_voted.as_ref().map(|vote| (vote.view, vote.block));
        let timed_out = last_timed_out.as_ref();
        let timed_out = timed_out.map(|timeout| (timeout.view, timeout.high_qc.view));
        let reserving: Vec<View> = reserving.iter().map(|(_, view)| *view).collect();
        hasher
            .value(&(voted, timed_out, lock, of_qc(high_qc)))
            .value(&(high_tc.as_ref().map(of_tc), log_end.height, log_end.block))
            .value(&(unrecorded, proposed_before, reserved, reserving))
            .value(&(floor, is_silent))
    }

    pub(crate) fn has_unrecorded(&self) -> bool {
        self.unrecorded
    }

    /// The log was written up to here.
    pub(crate) fn logged(&mut self, end: crate::LogEnd) {
        assert!(end.position >= self.record.log_end.position);
        self.record.log_end = end;
    }

    pub(crate) fn on_synced(&mut self, synced: &Durable) {
        while let Some((position, view)) = self.reserving.front()
            && synced.covers(*position)
        {
            self.reserved = self.reserved.max(*view);
            self.reserving.pop_front();
        }
    }
}

fn reserved_by(record: &SafetyRecord) -> View {
    record.last_signed_view().max(record.floor).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogEnd, record::SafetyRecord};
    use lockstep_types::{
        BlockId, CommitteeId, Epoch, GenesisHash, KeyedHashEngine, Signers, Time,
    };

    fn domain() -> Domain {
        Domain {
            genesis: GenesisHash::ZERO,
            committee: CommitteeId::Beacon,
        }
    }

    fn safety() -> Safety {
        let root = Block::genesis(&domain(), Time::ZERO);
        let log_end = LogEnd {
            position: LogPosition::START,
            height: root.header().height,
            block: root.id(),
        };
        let root = QuorumCertificate::root(Epoch::ZERO, root.id());
        let record = SafetyRecord::fresh(Epoch::ZERO, root, log_end);
        let signer = Arc::new(KeyedHashEngine::new([0; 32]).signer("me"));
        Safety::fresh(domain(), MemberIndex::new(0), signer, record)
    }

    fn qc(view: u64) -> QuorumCertificate {
        QuorumCertificate {
            view: View::new(view),
            ..QuorumCertificate::root(Epoch::ZERO, BlockId::ZERO)
        }
    }

    fn tc(view: u64, high: u64) -> TimeoutCertificate {
        TimeoutCertificate {
            epoch: Epoch::ZERO,
            view: View::new(view),
            signers: Signers::NONE,
            high_qc_views: Vec::new(),
            signatures: Vec::new(),
            high_qc: qc(high),
        }
    }

    fn proposal(view: u64, parent: u64, entered_by: Option<TimeoutCertificate>) -> Proposal {
        let mut header = Block::genesis(&domain(), Time::ZERO).header().clone();
        header.view = View::new(view);
        header.parent_view = View::new(parent);
        let block = Block::new(header, Vec::new());
        let signer = KeyedHashEngine::new([0; 32]).signer("me");
        Proposal::sign(&signer, &domain(), block, qc(parent), entered_by)
    }

    /// R3 at the signature, whatever was checked before.
    #[test]
    fn a_block_must_extend_what_its_view_requires() {
        let safety = safety();
        let may = |p: Proposal| safety.may_vote(p.view(), &p);
        assert_eq!(may(proposal(5, 4, None)), Ok(()));
        assert_eq!(may(proposal(5, 2, Some(tc(4, 2)))), Ok(()));
        assert_eq!(may(proposal(5, 3, Some(tc(4, 2)))), Ok(()));
        for refused in [
            proposal(5, 3, None),
            proposal(5, 1, Some(tc(4, 2))),
            proposal(5, 2, Some(tc(3, 2))),
        ] {
            assert!(matches!(
                may(refused),
                Err(Refusal::ParentNotJustified { .. })
            ));
        }
    }

    #[test]
    fn a_repeated_vote_is_the_same_and_a_second_is_refused() {
        let mut safety = safety();
        let block = proposal(1, 0, None);
        let vote = safety.vote(View::new(1), &block).unwrap();
        assert_eq!(safety.vote(View::new(1), &block), Ok(vote));
        let mut rival = proposal(1, 0, None);
        rival.block = Block::new(rival.block.header().clone(), vec![1]);
        assert!(matches!(
            safety.vote(View::new(1), &rival),
            Err(Refusal::AlreadyVoted { .. })
        ));
    }

    #[test]
    fn timeouts_are_for_the_current_view_and_shown_how_it_was_entered() {
        let mut safety = safety();
        assert!(matches!(
            safety.may_time_out(View::new(3)),
            Err(Refusal::NotCurrent { .. })
        ));
        safety.observe_tc(&tc(2, 0));
        let timeout = safety.time_out(View::new(3)).unwrap();
        assert_eq!(timeout.entered_by, Some(tc(2, 0)));
        safety.observe_qc(&qc(1));
        assert_eq!(
            safety.time_out(View::new(3)),
            Ok(timeout),
            "stored, not made anew"
        );
    }

    #[test]
    fn a_record_is_taken_once_for_everything_signed_since() {
        let mut safety = safety();
        assert_eq!(safety.take_record(LogPosition::START), None);
        safety.vote(View::new(1), &proposal(1, 0, None)).unwrap();
        let record = safety.take_record(LogPosition::START).unwrap();
        assert_eq!(record.last_voted_view(), View::new(1));
        assert_eq!(safety.take_record(LogPosition::START), None);
    }
}
