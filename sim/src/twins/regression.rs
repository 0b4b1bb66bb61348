//! Schedules and conversations that once broke a protocol of this family. Each ends with two
//! members committing rivals if the rule that it is about is taken out.

use lockstep_consensus::{Certificates, LeaderRule, Message};
use lockstep_shard::Peer;
use lockstep_types::{Block, MemberIndex, QuorumCertificate, Timeout, TimeoutCertificate, View};

use super::{Schedule, Shape, TwinsWorld};
use crate::Broken;
use crate::checker::CommitteeChecker;
use crate::committee::{BareCommittee, Said, Seat, TIMERS};

/// One of them.
pub struct Regression {
    /// What it is called.
    pub name: &'static str,
    /// Runs it. Says what did not hold.
    pub run: fn() -> Option<Broken>,
}

/// All of them.
pub fn regressions() -> [Regression; 2] {
    [
        Regression {
            name: "a commit needs consecutive views",
            run: skipped_view,
        },
        Regression {
            name: "a block reaches what a quorum knew",
            run: hidden_certificate,
        },
    ]
}

/// Two branches grow in turn, each with a hole where the other has a block. A commit by two
/// certified blocks whose views do not follow each other takes a block from each (relab/hotstuff,
/// issue 249). Found by searching schedules with that rule taken out.
fn skipped_view() -> Option<Broken> {
    let text = "narrow 0:013|24 3:0124|3 3:023|14 3:014|23 0:024|13";
    let schedule = Schedule::parse(Shape::FOUR, text).expect("well formed");
    let committee = BareCommittee::new(Shape::FOUR.members);
    TwinsWorld::new(&committee, &schedule, None).run().broken
}

/// The leader who proposes on less than its timeout certificate's highest, as in the flaw that
/// Twins found in Fast-HotStuff: one member has committed the first block, a quorum has seen its
/// certificate, and the leader of the third view proposes beside it.
fn hidden_certificate() -> Option<Broken> {
    let mut talk = Conversation::new();
    let root = talk.committee.root().clone();
    let root_qc = QuorumCertificate::root(root.header().epoch, root.id());
    let (first, first_qc) = talk.propose(1, &root, &root_qc, None);
    let (_, second_qc) = talk.propose(2, &first, &first_qc.clone()?, None);
    talk.show(0, second_qc?);
    let mut timeouts: Vec<Timeout> = [1, 2].into_iter().filter_map(|s| talk.give_up(s)).collect();
    let ours = talk
        .committee
        .forge_timeout(LIAR, View::new(2), first_qc?, None);
    timeouts.push(ours);
    let entered_by = talk.committee.certify_timeouts(timeouts);
    let (rival, rival_qc) = talk.propose(3, &root, &root_qc, Some(entered_by));
    if let Some(rival_qc) = rival_qc {
        let (_, child_qc) = talk.propose(4, &rival, &rival_qc, None);
        talk.show(1, child_qc?);
    }
    talk.broken
}

/// The member that lies. It leads every view and hears everything.
const LIAR: MemberIndex = MemberIndex::new(3);

/// Three correct members that hear a liar and not each other.
struct Conversation {
    committee: BareCommittee,
    seats: Vec<Seat>,
    checker: CommitteeChecker,
    broken: Option<Broken>,
}

impl Conversation {
    fn new() -> Self {
        let committee = BareCommittee::new(4);
        let leaders = LeaderRule::Listed([LIAR; 8].into());
        let seat = |index| committee.seat(MemberIndex::new(index), index, leaders.clone());
        Conversation {
            seats: (0..3).map(seat).collect(),
            committee,
            checker: CommitteeChecker::new(3),
            broken: None,
        }
    }

    /// The liar shows a block to everybody. Its certificate, if a quorum votes for it.
    fn propose(
        &mut self,
        view: u64,
        parent: &Block,
        justify: &QuorumCertificate,
        entered_by: Option<TimeoutCertificate>,
    ) -> (Block, Option<QuorumCertificate>) {
        let committee = &self.committee;
        let block = committee.forge_block(LIAR, View::new(view), parent, 0);
        let proposal = committee.forge_proposal(block.clone(), justify.clone(), entered_by);
        let mut votes = vec![committee.forge_vote(LIAR, &block)];
        for seat in 0..self.seats.len() {
            for said in self.tell(seat, Message::Proposal(Box::new(proposal.clone()))) {
                if let Message::Vote(vote) = said
                    && vote.block == block.id()
                {
                    votes.push(vote);
                }
            }
        }
        let quorum = self.committee.context().committee.quorum();
        votes.truncate(quorum);
        let certified = votes.len() == quorum;
        let qc = certified.then(|| self.committee.certify(votes));
        (block, qc)
    }

    /// The liar shows a certificate to one member.
    fn show(&mut self, seat: usize, high_qc: QuorumCertificate) {
        let certificates = Certificates {
            high_qc,
            high_tc: None,
        };
        self.tell(seat, Message::Certificates(Box::new(certificates)));
    }

    fn give_up(&mut self, seat: usize) -> Option<Timeout> {
        let said = self.seats[seat].wait(TIMERS.base);
        self.take(seat, said)
            .into_iter()
            .find_map(|message| match message {
                Message::Timeout(timeout) => Some(*timeout),
                _ => None,
            })
    }

    /// What the member says to that; nothing when the message does not pass its checks.
    fn tell(&mut self, seat: usize, message: Message) -> Vec<Message> {
        let peer = Peer {
            committee: self.committee.context().domain.committee,
            member: LIAR,
        };
        let context = self.committee.context();
        let seen = self.checker.on_sent(&peer, false, &message, context);
        assert_eq!(seen, Ok(()), "a liar is not judged");
        let Ok(message) = self.committee.check(message) else {
            return Vec::new();
        };
        let said = self.seats[seat].receive(LIAR, message);
        self.take(seat, said)
    }

    fn take(&mut self, seat: usize, said: Said) -> Vec<Message> {
        let replica = self.seats[seat].replica();
        if let Err(broken) = self.checker.on_step(seat, true, replica, &said) {
            self.broken.get_or_insert(broken);
        }
        said.sent
            .into_iter()
            .map(|outbound| outbound.message)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_hold() {
        for regression in regressions() {
            assert_eq!((regression.run)(), None, "{}", regression.name);
        }
    }

    /// With the rule of each taken out, it does not.
    #[cfg(feature = "mutants")]
    #[test]
    fn each_notices_its_bug() {
        use lockstep_types::planted::{Bug, plant};
        let bugs = [
            Bug::CommitWithoutConsecutiveViews,
            Bug::ExtendBelowTimeoutCertificate,
        ];
        for (regression, bug) in regressions().into_iter().zip(bugs) {
            plant(Some(bug));
            let found = (regression.run)();
            plant(None);
            assert!(found.is_some(), "{} does not see {bug:?}", regression.name);
        }
    }
}
