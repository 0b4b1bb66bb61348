//! Proposals, votes and timeouts as they come and go. What may be signed is decided in `safety`;
//! here is when.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::{MemberIndex, Time, Timeout, View, Vote};

use crate::ready::{Outbound, Ready, To};
use crate::replica::Own;
use crate::tally::{Counted, MAX_VIEWS_AHEAD};
use crate::{Application, Check, Evidence, Fatal, Message, Proposal, Refusal, Replica};

/// A block may be this far ahead of a voter's clock; the voter waits for it. What is further ahead
/// is not voted for.
pub const MAX_CLOCK_LEAD: Duration = Duration::from_secs(1);

/// Views of which proposals are kept: the current one, late ones whose blocks may still be
/// certified, and earlier ones to recognise a second of the same member.
pub const MAX_PROPOSAL_VIEWS: usize = 16;

/// Blocks remembered that do not fit where they were proposed, so that they are not tried again.
pub(crate) const MAX_MISFITS: usize = 64;

impl<A: Application> Replica<A> {
    /// A proposal came.
    pub(crate) fn on_proposal(
        &mut self,
        now: Time,
        from: MemberIndex,
        proposal: Proposal,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        let view = proposal.view();
        let proposer = proposal.proposer();
        self.check_leader(&proposal)?;
        self.on_qc(now, &proposal.justify, out);
        if let Some(tc) = &proposal.entered_by {
            self.on_tc(now, tc, out);
        }
        assert!(
            self.view() >= view,
            "a proposal shows how its view was entered"
        );
        if view <= self.committed().header().view {
            return Err(Refusal::Old { got: view });
        }
        if let Some(first) = self.proposal_of(view, proposer) {
            if first.block.id() == proposal.block.id() {
                return Ok(());
            }
            if proposer == self.me() {
                let shown = Box::new(Message::Proposal(Box::new(proposal.clone())));
                out.stop = Some(Fatal::SecondCopy { view, shown });
            }
            let first = first.clone();
            if lockstep_types::planted!(VoteTwice) {
                self.keep_proposal(proposal.clone().into());
            }
            let pair = Box::new([(*first).clone(), proposal]);
            out.evidence.push(Evidence::Proposals(pair));
            return Err(Refusal::SecondProposal { view });
        }
        if !self.tree.contains(&proposal.justify.block) {
            self.fetch.hint(from);
        }
        self.keep_proposal(proposal.into());
        Ok(())
    }

    /// Refuses who is known not to lead. While the parent is missing nobody can tell.
    fn check_leader(&self, proposal: &Proposal) -> Result<(), Refusal> {
        let (view, got) = (proposal.view(), proposal.proposer());
        match self.leader_on(view, &proposal.justify) {
            Some(expected) if expected != got => Err(Refusal::NotLeader {
                view,
                got,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// What a member proposed in a view.
    pub(crate) fn proposal_of(&self, view: View, member: MemberIndex) -> Option<&Arc<Proposal>> {
        self.proposals.get(&view)?.get(&member)
    }

    /// The proposals of a view: of its leader, and of others while it is not known who that is.
    pub(crate) fn proposals_of(&self, view: View) -> impl Iterator<Item = &Arc<Proposal>> {
        self.proposals
            .get(&view)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// One per member and view is kept. A proposal shows how its view was entered, so nobody can
    /// name views that the committee has not reached.
    pub(crate) fn keep_proposal(&mut self, proposal: Arc<Proposal>) {
        let of_view = self.proposals.entry(proposal.view()).or_default();
        of_view.insert(proposal.proposer(), proposal);
        if self.proposals.len() > MAX_PROPOSAL_VIEWS {
            self.proposals.pop_first();
        }
        assert!(self.proposals.len() <= MAX_PROPOSAL_VIEWS);
    }

    /// Puts proposed blocks into the tree whose parents have come. True if any went in.
    pub(crate) fn insert_proposed(&mut self, now: Time, out: &mut Ready) -> bool {
        if self.application.is_full() {
            return false;
        }
        let ready: Vec<Arc<Proposal>> = self
            .proposals
            .values()
            .flat_map(BTreeMap::values)
            .filter(|p| self.tree.contains(&p.justify.block) && !self.tree.contains(&p.block.id()))
            .filter(|p| !self.misfits.contains(&p.block.id()))
            .cloned()
            .collect();
        let mut any = false;
        for proposal in ready {
            let taken = match self.check_leader(&proposal) {
                Ok(()) => self.insert(now, proposal.linked().into(), false, out),
                Err(refusal) => Err(refusal),
            };
            match taken {
                Ok(inserted) => any |= inserted,
                Err(refusal) => {
                    self.misfits.insert(proposal.block.id());
                    while self.misfits.len() > MAX_MISFITS {
                        self.misfits.pop_first();
                    }
                    out.refused.push((proposal.proposer(), refusal));
                }
            }
        }
        any
    }

    /// Votes for the current view's block if it is here and may be voted for. True if it did.
    pub(crate) fn try_vote(&mut self, now: Time, out: &mut Ready) -> bool {
        if !self.may_sign() {
            return false;
        }
        let view = self.view();
        let here: Vec<Arc<Proposal>> = self
            .proposals_of(view)
            .filter(|p| self.tree.contains(&p.block.id()))
            .filter(|p| !self.misfits.contains(&p.block.id()))
            .filter(|p| !self.turned_down.contains(&p.block.id()))
            .filter(|p| self.safety.may_vote(view, p).is_ok())
            .cloned()
            .collect();
        for proposal in here {
            match self.judge(now, &proposal) {
                Ok(true) => {
                    self.cast_vote(&proposal, out);
                    return true;
                }
                Ok(false) => {}
                Err(refusal) => {
                    self.turned_down.insert(proposal.block.id());
                    out.refused.push((proposal.proposer(), refusal));
                }
            }
        }
        false
    }

    /// Vote for it now (true), perhaps later (false), or never (the reason).
    fn judge(&mut self, now: Time, proposal: &Proposal) -> Result<bool, Refusal> {
        let time = proposal.block.header().time;
        if time > now.after(MAX_CLOCK_LEAD) {
            return Err(Refusal::TimeTooFarAhead);
        }
        let link = self
            .tree
            .get(&proposal.block.id())
            .expect("asked only for blocks in the tree");
        self.tree.check_executed(link)?;
        self.tree.check_payload(link)?;
        if time > now && !lockstep_types::planted!(VoteAheadOfClock) {
            self.wake(time);
            return Ok(false);
        }
        match self.application.check(now, &proposal.block) {
            Check::Accept => Ok(true),
            Check::Hold => Ok(false),
            Check::Refuse(reason) => Err(Refusal::Application(reason)),
        }
    }

    /// Signs the vote and logs the block with all its ancestors, so that what is certified can be
    /// rebuilt from the disks of its voters alone.
    pub(crate) fn cast_vote(&mut self, proposal: &Proposal, out: &mut Ready) {
        let view = self.view();
        let vote = self
            .safety
            .vote(view, proposal)
            .expect("asked may_vote or may_propose in this very step");
        if !lockstep_types::planted!(VoteWithoutBlock) {
            self.write_path(&proposal.block.id(), out);
        }
        if lockstep_types::planted!(CountBeforeSync) {
            let _counted = self.count(Own::Vote(vote.clone()), out);
        }
        self.held.push(Outbound {
            to: To::All,
            message: Message::Vote(vote.clone()),
        });
        self.signed.push(Own::Vote(vote));
    }

    /// A vote came.
    pub(crate) fn on_vote(&mut self, vote: Vote, out: &mut Ready) -> Result<(), Refusal> {
        if vote.author == self.me() {
            self.check_own_vote(&vote, out);
            return Ok(());
        }
        let current = self.view();
        let unbounded = lockstep_types::planted!(UnboundedVotes);
        if vote.view > current.plus(MAX_VIEWS_AHEAD) && !unbounded {
            return Err(Refusal::TooFarAhead {
                got: vote.view,
                current,
            });
        }
        self.count(Own::Vote(vote), out)
    }

    /// Gives up on the current view, once; says it to everybody.
    pub(crate) fn give_up(&mut self) {
        let view = self.view();
        if !self.may_sign() || self.safety.record().last_timed_out_view() == view {
            return;
        }
        // A vote of a later view than the current one cannot exist, and the other conditions
        // follow from how views are entered; so the rule refuses nothing here.
        let timeout = self
            .safety
            .time_out(view)
            .expect("the current view may always be given up once");
        self.held.push(Outbound {
            to: To::All,
            message: Message::Timeout(Box::new(timeout.clone())),
        });
        self.signed.push(Own::Timeout(timeout));
    }

    /// A timeout came. It carries what its author knows, which is taken first.
    pub(crate) fn on_timeout(
        &mut self,
        now: Time,
        from: MemberIndex,
        timeout: Timeout,
        out: &mut Ready,
    ) -> Result<(), Refusal> {
        if timeout.author == self.me() {
            self.check_own_timeout(&timeout, out);
            return Ok(());
        }
        self.on_qc(now, &timeout.high_qc, out);
        if let Some(tc) = &timeout.entered_by {
            self.on_tc(now, tc, out);
        }
        assert!(
            self.view() >= timeout.view,
            "a timeout shows how its view was entered"
        );
        let view = timeout.view;
        let known = self.tally.has_timeout(&timeout);
        self.count(Own::Timeout(timeout), out)?;
        if view < self.view() {
            // The last of a quorum's timeouts come after the view is left; one that is repeated, or
            // older still, shows that its sender was left behind.
            if known || !self.view().follows(view) {
                self.help(now, from, out);
            }
            return Err(Refusal::Old { got: view });
        }
        Ok(())
    }

    /// Joins when so many have given up that one of them is correct.
    pub(crate) fn join_timeouts(&mut self) {
        let view = self.view();
        if self.tally.timeouts_for(view) >= self.context().committee.join_threshold() {
            self.give_up();
        }
    }

    /// Puts a statement into the tally.
    pub(crate) fn count(&mut self, statement: Own, out: &mut Ready) -> Result<(), Refusal> {
        let counted = match statement {
            Own::Vote(vote) => self.tally.add_vote(vote),
            Own::Timeout(timeout) => self.tally.add_timeout(timeout),
        };
        match counted {
            Counted::New | Counted::Repeat => Ok(()),
            Counted::Conflict(evidence, refusal) => {
                out.evidence.push(evidence);
                Err(refusal)
            }
        }
    }
}
