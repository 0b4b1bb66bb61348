//! The correct members' own states, each kept once, and what each letter does to each of them.

use std::collections::BTreeMap;

use lockstep_consensus::{Certificates, CommittedBlock, LeaderRule, Message, Outbound, To};
use lockstep_types::{
    BlockId, Digest, LinkedBlock, MemberIndex, QuorumCertificate, TimeoutCertificate, View,
};

use super::letter::Letter;
use super::statement::{BlockNumber, Blocks, Ended, Statement};
use crate::Broken;
use crate::checker::CommitRule;
use crate::committee::{BareCommittee, Said, Seat, TIMERS};

/// Correct members.
pub(super) const CORRECT: usize = 3;

/// The member that lies.
pub(super) const LIAR: MemberIndex = MemberIndex::new(3);

/// The number of a member's state.
pub(super) type StateNumber = u32;

/// A state of one correct member: its replica, and all that it has ever said.
pub(super) struct MemberState {
    seat: Seat,
    pub(super) view: View,
    pub(super) has_given_up: bool,
    /// Ascending.
    pub(super) said: Vec<Statement>,
    /// Its committed blocks from height 1 on. The last one's id decides all of them.
    pub(super) chain: Vec<BlockId>,
}

/// What a letter does to a member in some state.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) state: StateNumber,
    pub(super) broken: Option<Broken>,
}

/// All states of all correct members, and all blocks and certificates that were ever made.
pub(super) struct Members {
    committee: BareCommittee,
    pub(super) blocks: Blocks,
    pub(super) states: Vec<MemberState>,
    numbers: BTreeMap<(Digest, Vec<Statement>), StateNumber>,
    effects: BTreeMap<(StateNumber, Letter), Effect>,
    certificates: BTreeMap<BlockNumber, QuorumCertificate>,
    ends: BTreeMap<Ended, TimeoutCertificate>,
}

impl Members {
    /// Nobody yet, in a committee of four.
    pub(super) fn new() -> Self {
        let committee = BareCommittee::new(CORRECT + 1);
        let mut blocks = Blocks::default();
        let root = committee.root().clone();
        let root_qc = QuorumCertificate::root(root.header().epoch, root.id());
        let root = blocks.add(root, 0);
        Members {
            committee,
            blocks,
            states: Vec::new(),
            numbers: BTreeMap::new(),
            effects: BTreeMap::new(),
            certificates: BTreeMap::from([(root, root_qc)]),
            ends: BTreeMap::new(),
        }
    }

    /// A member that has never run, where the liar leads so many views.
    pub(super) fn start(&mut self, member: MemberIndex, views: u64) -> StateNumber {
        // One view more, so that no correct member leads where the search ends.
        let count = usize::try_from(views + 1).expect("a few views");
        let leaders = LeaderRule::Listed(vec![LIAR; count].into());
        let mark = u8::try_from(member.get()).expect("one of three");
        let mut seat = self.committee.seat(member, mark, leaders);
        let said = seat.wait(core::time::Duration::ZERO);
        assert!(said.sent.is_empty(), "nobody leads, nobody has waited");
        self.keep(seat, Vec::new(), Vec::new())
    }

    /// What `letter` does to the member whose state this is.
    pub(super) fn effect(&mut self, state: StateNumber, letter: Letter) -> Effect {
        if let Some(effect) = self.effects.get(&(state, letter)) {
            return effect.clone();
        }
        let effect = self.try_letter(state, letter);
        self.effects.insert((state, letter), effect.clone());
        effect
    }

    /// The liar's block of `view` on another, one of several.
    pub(super) fn liars_block(&mut self, view: View, parent: BlockNumber, mark: u8) -> BlockNumber {
        let above = self.blocks.get(parent).block.clone();
        let block = self.committee.forge_block(LIAR, view, &above, mark);
        self.blocks.add(block, parent)
    }

    fn keep(&mut self, seat: Seat, said: Vec<Statement>, chain: Vec<BlockId>) -> StateNumber {
        let key = (seat.replica().fingerprint(), said.clone());
        let next = StateNumber::try_from(self.states.len()).expect("they fit into memory");
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            let record = seat.replica().record();
            self.states.push(MemberState {
                view: seat.replica().view(),
                has_given_up: record.last_timed_out_view() == seat.replica().view(),
                seat,
                said,
                chain,
            });
        }
        number
    }

    fn try_letter(&mut self, state: StateNumber, letter: Letter) -> Effect {
        let from = match letter {
            Letter::Vote { author, .. } | Letter::Timeout { author, .. } => author,
            _ => LIAR,
        };
        let message = self.message(letter);
        let before = &self.states[state as usize];
        let mut seat = before.seat.clone();
        let first = match message {
            None => seat.wait(TIMERS.base),
            Some(message) => match self.committee.check(message) {
                Ok(message) => seat.receive(from, message),
                Err(_) => {
                    return Effect {
                        state,
                        broken: None, // a validator drops it
                    };
                }
            },
        };
        let (mut said, mut chain) = (before.said.clone(), before.chain.clone());
        let broken = self.take(&mut seat, first, &mut said, &mut chain).err();
        Effect {
            state: self.keep(seat, said, chain),
            broken,
        }
    }

    /// Notes what a step came to, and answers what it asks for.
    fn take(
        &mut self,
        seat: &mut Seat,
        first: Said,
        said: &mut Vec<Statement>,
        chain: &mut Vec<BlockId>,
    ) -> Result<(), Broken> {
        let mut next = Some(first);
        while let Some(step) = next.take() {
            for block in &step.committed {
                chain.push(block.block().id());
                self.check_commit(block, chain.len())?;
            }
            if let Some(fatal) = step.stop {
                let detail = format!("{} stopped: {fatal}", seat.replica().me());
                return Err(Broken::new("correct members do not stop", detail));
            }
            for Outbound { to, message } in step.sent {
                if let Some(statement) = self.statement(&message) {
                    statement.check(said)?;
                    if let Err(place) = said.binary_search(&statement) {
                        said.insert(place, statement);
                    }
                }
                if let (To::Member(peer), Message::BlockRequest { from, tip }) = (to, message) {
                    let links = self.range(from.get(), &tip);
                    if links.is_empty() {
                        continue; // who has nothing to say says nothing
                    }
                    let answer = self.committee.check(Message::Blocks(links));
                    next = Some(seat.receive(peer, answer.expect("certified blocks")));
                }
            }
        }
        Ok(())
    }

    fn check_commit(&self, block: &CommittedBlock, height: usize) -> Result<(), Broken> {
        let header = block.block().header();
        if header.height.get() != height as u64 {
            let detail = format!("{} as number {height}", header.height);
            return Err(Broken::new("commits in order, without gaps, once", detail));
        }
        let committee = self.committee.context().domain.committee;
        CommitRule::shape(committee, &block.proof)
    }

    /// A vote or timeout that was said, and the certificates in it, which others may show from
    /// now on. Certificates and repeats are nothing that the liar has not.
    fn statement(&mut self, message: &Message) -> Option<Statement> {
        match message {
            Message::Vote(vote) => Some(Statement::Vote {
                view: vote.view,
                block: self.blocks.number_of(&vote.block),
            }),
            Message::Timeout(timeout) => {
                let high = self.blocks.number_of(&timeout.high_qc.block);
                let high_qc = &timeout.high_qc;
                let known = self.certificates.entry(high);
                known.or_insert_with(|| high_qc.clone());
                let entered_by = timeout.entered_by.as_ref().map(|tc| {
                    let ended = Ended {
                        view: tc.view,
                        high: self.blocks.number_of(&tc.high_qc.block),
                    };
                    self.ends.entry(ended).or_insert_with(|| tc.clone());
                    ended
                });
                Some(Statement::Timeout {
                    view: timeout.view,
                    high,
                    entered_by,
                })
            }
            _ => None,
        }
    }

    /// Blocks from a height up to a tip, parents first.
    fn range(&self, from: u64, tip: &BlockId) -> Vec<LinkedBlock> {
        let mut links = Vec::new();
        let mut known = self.blocks.get(self.blocks.number_of(tip));
        while known.block.header().height.get() >= from.max(1) {
            links.push(LinkedBlock {
                block: known.block.clone(),
                justify: self.certificates[&known.parent].clone(),
            });
            known = self.blocks.get(known.parent);
        }
        links.reverse();
        links
    }

    /// The message; none when the letter is no message.
    fn message(&mut self, letter: Letter) -> Option<Message> {
        Some(match letter {
            Letter::Expires => return None,
            Letter::Proposal { block, entered_by } => {
                let known = self.blocks.get(block);
                let (inner, parent) = (known.block.clone(), known.parent);
                let justify = self.certificate(parent);
                let entered_by = entered_by.map(|ended| self.end(ended));
                let proposal = self.committee.forge_proposal(inner, justify, entered_by);
                Message::Proposal(Box::new(proposal))
            }
            Letter::Certificate { block } => Message::Certificates(Box::new(Certificates {
                high_qc: self.certificate(block),
                high_tc: None,
            })),
            Letter::Ended(ended) => Message::Certificates(Box::new(Certificates {
                high_qc: self.certificate(ended.high),
                high_tc: Some(self.end(ended)),
            })),
            Letter::Vote { author, block } => {
                let inner = &self.blocks.get(block).block;
                Message::Vote(self.committee.forge_vote(author, inner))
            }
            Letter::Timeout {
                author,
                view,
                high,
                entered_by,
            } => {
                let high_qc = self.certificate(high);
                let entered_by = entered_by.map(|ended| self.end(ended));
                let timeout = self
                    .committee
                    .forge_timeout(author, view, high_qc, entered_by);
                Message::Timeout(Box::new(timeout))
            }
        })
    }

    /// The certificate of a block, by the first two members and the liar. It stands for that of any
    /// two members, since nothing depends on who signed it; that two have, the caller has seen.
    fn certificate(&mut self, block: BlockNumber) -> QuorumCertificate {
        if let Some(made) = self.certificates.get(&block) {
            return made.clone();
        }
        let inner = &self.blocks.get(block).block;
        let voters = [MemberIndex::new(0), MemberIndex::new(1), LIAR];
        let votes = voters.map(|author| self.committee.forge_vote(author, inner));
        let made = self.committee.certify(votes.into());
        self.certificates.insert(block, made.clone());
        made
    }

    /// The same for a timeout certificate in which nobody knew more than `ended.high`.
    fn end(&mut self, ended: Ended) -> TimeoutCertificate {
        if let Some(made) = self.ends.get(&ended) {
            return made.clone();
        }
        let high_qc = self.certificate(ended.high);
        let authors = [MemberIndex::new(0), MemberIndex::new(1), LIAR];
        let timeouts = authors.map(|author| {
            let high_qc = high_qc.clone();
            self.committee
                .forge_timeout(author, ended.view, high_qc, None)
        });
        let made = self.committee.certify_timeouts(timeouts.into());
        self.ends.insert(ended, made.clone());
        made
    }
}
