//! Who leads a view, and what a leader does.
//!
//! The leader of a view that was entered by a quorum certificate is the first member from v mod n
//! on that the certified chain does not pass over ([`SkipTable`](crate::SkipTable)); the leader of
//! a view entered by a timeout certificate is member v mod n. Both follow from what a proposal
//! carries. One view may so have two lawful leaders, of whom each member votes for one at most.
//!
//! Breaks if: two replicas that accept the same proposal can disagree about its leader.

use std::sync::Arc;

use lockstep_types::{Block, Header, MemberIndex, QuorumCertificate, Time, View};

use crate::message::MAX_PAYLOAD_BYTES;
use crate::ready::{Outbound, Ready, To};
use crate::{Application, Check, Content, Message, Refusal, Replica, Turn};

/// Whose turn a view is. Every member of a committee has the same rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeaderRule {
    /// By turns, passing over who failed lately. Every chain runs by this rule.
    #[default]
    Rotation,
    /// The members named lead view 1 and the views after it; then it is by rotation. For worlds
    /// that try every order of leaders.
    Listed(Arc<[MemberIndex]>),
}

impl LeaderRule {
    /// The leader of a view, if the rule lists one.
    fn listed(&self, view: View) -> Option<MemberIndex> {
        match self {
            LeaderRule::Rotation => None,
            LeaderRule::Listed(members) => {
                let position = usize::try_from(view.get().checked_sub(1)?).ok()?;
                members.get(position).copied()
            }
        }
    }
}

impl<A: Application> Replica<A> {
    /// Who may propose in `view` on the block that `justify` certifies. None while that block is
    /// not here and its chain would decide.
    pub(crate) fn leader_on(&self, view: View, justify: &QuorumCertificate) -> Option<MemberIndex> {
        if let Some(listed) = self.leaders.listed(view) {
            return Some(listed);
        }
        let committee = &self.context().committee;
        if !view.follows(justify.view) {
            return Some(committee.by_turn(view.get()));
        }
        let ancestry = self.tree.ancestry(&justify.block)?;
        Some(ancestry.skips.leader(committee, view))
    }

    /// The leader of the current view, as far as is known here.
    pub fn leader(&self) -> MemberIndex {
        let view = self.view();
        self.leader_on(view, self.high_qc())
            .unwrap_or_else(|| self.context().committee.by_turn(view.get()))
    }

    /// Did the leader of the current view fail when it was last asked? Only of a view whose leader
    /// the chain chose: after a failed view time is what is needed, whoever leads.
    pub(crate) fn leader_is_on_trial(&self) -> bool {
        let (view, justify) = (self.view(), self.high_qc());
        let Some(ancestry) = self.tree.ancestry(&justify.block) else {
            return false;
        };
        let is_chosen = view.follows(justify.view) && self.leaders.listed(view).is_none();
        let leader = self.leader_on(view, justify);
        is_chosen && leader.is_some_and(|leader| ancestry.skips.has_failed(leader))
    }

    /// Does this replica lead the current view?
    pub(crate) fn leads_now(&self) -> bool {
        self.leader() == self.me()
    }

    /// Proposes as soon as this replica leads, has the parent, and there is something to propose.
    /// True if it did.
    pub(crate) fn try_propose(&mut self, now: Time, out: &mut Ready) -> bool {
        let view = self.view();
        if !self.may_sign() || !self.leads_now() || self.proposal_of(view, self.me()).is_some() {
            return false;
        }
        if self.safety.may_propose(view).is_err() {
            return false; // given up on, or perhaps proposed in before a restart
        }
        let justify = self.high_qc().clone();
        let (Some(parent), Some(ancestry)) = (
            self.tree.get(&justify.block).cloned(),
            self.tree.ancestry(&justify.block),
        ) else {
            return false;
        };
        let commit_needed = self.commit_needed();
        if !commit_needed && !self.application.has_work(now, &parent.block) {
            return false;
        }
        let may_fill = self.tree.allows_payload(&justify.block);
        let turn = Turn {
            view,
            parent: &parent.block,
            commits: ancestry.commits,
            may_fill,
            commit_needed: commit_needed || !may_fill,
        };
        let Some(content) = self.application.propose(now, &turn) else {
            return false;
        };
        if content.time > now {
            // The parent was made by a clock ahead of ours; ours gets there.
            self.wake(content.time);
            return false;
        }
        let block = self.build(&parent.block, content);
        if let Err(refusal) = self.check_own(now, &block) {
            let refusal = Refusal::OwnProposal(Box::new(refusal));
            out.refused.push((self.me(), refusal));
            return false;
        }
        self.send_proposal(now, block, out);
        true
    }

    fn build(&self, parent: &Block, content: Content) -> Block {
        let justify = self.high_qc();
        assert_eq!(parent.id(), justify.block);
        let header = Header {
            epoch: self.context().epoch,
            view: self.view(),
            height: parent.header().height.next(),
            parent: parent.id(),
            parent_view: justify.view,
            time: content.time,
            proposer: self.me(),
            executed: content.executed,
            payload: Default::default(), // filled in from the payload
        };
        Block::new(header, content.payload)
    }

    /// The path every voter takes, before anybody else sees the block: a leader whose application
    /// offers what nobody accepts must not waste its view.
    fn check_own(&mut self, now: Time, block: &Block) -> Result<(), Refusal> {
        let link = lockstep_types::LinkedBlock {
            block: block.clone(),
            justify: self.high_qc().clone(),
        };
        if block.payload().len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::Application("more payload than a block may have"));
        }
        self.tree.check(&link)?;
        self.tree.check_executed(&link)?;
        self.tree.check_payload(&link)?;
        assert!(block.header().time <= now, "waited for before");
        match self.application.check(now, block) {
            Check::Accept => Ok(()),
            Check::Hold => Err(Refusal::Application("own content is not held in full")),
            Check::Refuse(reason) => Err(Refusal::Application(reason)),
        }
    }

    fn send_proposal(&mut self, now: Time, block: Block, out: &mut Ready) {
        let justify = self.high_qc().clone();
        let entered_by = if self.view().follows(justify.view) {
            None
        } else {
            self.high_tc().cloned()
        };
        let (proposal, prompt) = self.safety.sign_proposal(block, justify, entered_by);
        let id = proposal.block.id();
        if let Err(refusal) = self.insert(now, proposal.linked().into(), false, out) {
            let refusal = Refusal::OwnProposal(Box::new(refusal));
            out.refused.push((self.me(), refusal));
            return;
        }
        assert!(self.tree.contains(&id));
        let outbound = Outbound {
            to: To::All,
            message: Message::Proposal(Box::new(proposal.clone())),
        };
        if prompt {
            out.prompt.push(outbound);
        } else {
            self.held.push(outbound);
        }
        let proposal = Arc::new(proposal);
        self.keep_proposal(proposal.clone());
        // The vote is in the same step, so a held proposal has a record to wait for.
        self.cast_vote(&proposal, out);
        assert!(self.safety.has_unrecorded());
    }
}
