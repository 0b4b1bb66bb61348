//! What a shard's member lacks and asks others for: whom, and when the next one. A body that a block
//! lists is asked of that block's proposer first: a liar may have given it to that one alone.
//!
//! Breaks if: an answer that does not help is followed by the next question at once; with every
//! duplicate there would be more of both.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use lockstep_genesis::Genesis;
use lockstep_types::{BatchDigest, CommitteeId, Digest, MemberIndex, ShardId, Time, WindowNumber};

use crate::message::{Destination, MAX_BATCHES_REQUESTED, Message, Outbound, Peer, Request};
use crate::ready::Ready;

/// A body that a block lacks may still be on its way by gossip; then nobody needs to be asked.
const FETCH_GRACE: Duration = Duration::from_millis(10);

/// How long the first who was asked may take before the next one is. Everyone after gets this much
/// more than the one before, up to the limit: an answer may be late because of what was asked for
/// already, and asking again then makes it later.
const FETCH_RETRY: Duration = Duration::from_millis(150);
const MAX_FETCH_RETRY: Duration = Duration::from_millis(1_200);

/// Questions of one step that a block's proposer is asked before the next member is: nobody answers
/// a peer more at a time.
const ASKED_OF_PROPOSER: u64 = 8;

/// Something to ask others for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    Batch(BatchDigest),
    Bundle(Digest),
    Record(WindowNumber),
    Entries(ShardId, u64),
}

#[derive(Clone, Debug)]
struct Asked {
    next: Time,
    times: u64,
    turn: Turn,
    /// Who was asked first at some time. Each once: liars may list the same in turns.
    proposers: BTreeSet<MemberIndex>,
}

/// Whose turn it is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// The proposer it began with; else it begins after our own position.
    first: Option<MemberIndex>,
    /// How many were asked since.
    after: u64,
}

/// The open questions of one member.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    asked: BTreeMap<Want, Asked>,
}

impl Questions {
    /// Is this wanted, and maybe asked for already?
    pub(crate) fn contains(&self, want: &Want) -> bool {
        self.asked.contains_key(want)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.asked.len()
    }

    /// When somebody is asked next.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.asked.values().map(|asked| asked.next).min()
    }

    /// The clock was set back to `now`: nothing waits longer than it would from here on.
    pub(crate) fn on_clock_set_back(&mut self, now: Time) {
        for asked in self.asked.values_mut() {
            asked.next = asked.next.min(now.after(MAX_FETCH_RETRY));
        }
    }

    /// Asks for what is due of `wants`, which are all there are; what is not among them is forgotten.
    /// With each stands who has just listed it in a block.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        wants: Vec<(Want, Option<MemberIndex>)>,
        genesis: &Genesis,
        me: Peer,
        ready: &mut Ready,
    ) {
        let all: BTreeSet<Want> = wants.iter().map(|(want, _)| *want).collect();
        self.asked.retain(|want, _| all.contains(want));
        // Requests of one step go to one member after the other: each answers a few at a time.
        let mut sent = 0;
        let mut send = |committee, turn: Turn, request| {
            let beside = match turn {
                Turn {
                    first: Some(_),
                    after: 0,
                } => sent / ASKED_OF_PROPOSER,
                _ => sent,
            };
            let others = others_from(genesis, me, committee, turn.first);
            ready
                .prompt
                .extend(question(&others, turn.after + beside, request));
            sent += 1;
        };
        let mut batches: BTreeMap<Turn, Vec<BatchDigest>> = BTreeMap::new();
        for (want, proposer) in wants {
            let proposer = proposer.filter(|proposer| *proposer != me.member);
            let Some(turn) = self.turn_if_due(now, want, proposer) else {
                continue;
            };
            match want {
                Want::Batch(digest) => batches.entry(turn).or_default().push(digest),
                Want::Bundle(digest) => send(me.committee, turn, Request::Bundle(digest)),
                Want::Record(number) => {
                    let of_beacon = turn.after.is_multiple_of(2);
                    let committee = match of_beacon {
                        true => CommitteeId::Beacon,
                        false => me.committee,
                    };
                    send(committee, turn, Request::Record(number));
                }
                Want::Entries(source, from) => {
                    let destination = me.committee.shard().expect("a shard's member asks");
                    let request = Request::Entries { destination, from };
                    send(CommitteeId::Shard(source), turn, request);
                }
            }
        }
        for (turn, digests) in batches {
            for some in digests.chunks(MAX_BATCHES_REQUESTED) {
                send(me.committee, turn, Request::Batches(some.to_vec()));
            }
        }
    }

    /// Whose turn it is, when it is time to ask. A new proposer is asked without waiting for those
    /// who were asked before.
    fn turn_if_due(
        &mut self,
        now: Time,
        want: Want,
        proposer: Option<MemberIndex>,
    ) -> Option<Turn> {
        let first = match want {
            Want::Batch(_) | Want::Bundle(_) => now.after(FETCH_GRACE),
            Want::Record(_) | Want::Entries(..) => now,
        };
        let asked = self.asked.entry(want).or_insert_with(|| Asked {
            next: first,
            times: 0,
            turn: Turn::default(),
            proposers: BTreeSet::new(),
        });
        let new = proposer.filter(|proposer| !asked.proposers.contains(proposer));
        if now < asked.next && (new.is_none() || asked.times == 0) {
            return None;
        }
        if let Some(first) = new {
            asked.proposers.insert(first);
            asked.turn = Turn {
                first: new,
                after: 0,
            };
        }
        let turn = asked.turn;
        asked.turn.after += 1;
        asked.next = now.after(retry_after(asked.times));
        asked.times += 1;
        Some(turn)
    }
}

/// The members of `committee` but ourselves, in the order in which they are asked.
fn others_from(
    genesis: &Genesis,
    me: Peer,
    committee: CommitteeId,
    first: Option<MemberIndex>,
) -> Vec<Peer> {
    let members = genesis.committee(committee);
    let first = first.unwrap_or(me.member).get() as u64;
    (0..members.size() as u64)
        .map(|after| members.by_turn(first + after))
        .map(|member| Peer { committee, member })
        .filter(|peer| *peer != me)
        .collect()
}

/// A request to the one of `others` whose turn it is; there may be none.
fn question(others: &[Peer], turn: u64, request: Request) -> Option<Outbound> {
    let place = turn.checked_rem(others.len() as u64)?;
    Some(Outbound {
        to: Destination::Member(others[place as usize]),
        message: Message::Request(request),
    })
}

/// How long the member that was asked after `times` others may take.
fn retry_after(times: u64) -> Duration {
    let steps = u32::try_from(times).unwrap_or(u32::MAX).saturating_add(1);
    FETCH_RETRY.saturating_mul(steps).min(MAX_FETCH_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_genesis::DevelopmentSpec;
    use lockstep_types::hash;

    const NOBODY: [usize; 0] = [];

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn member(index: u8) -> MemberIndex {
        MemberIndex::new(index)
    }

    /// Whom member 3 asks at `millis` for a batch that `proposer` has listed.
    fn asks(questions: &mut Questions, millis: u64, proposer: u8) -> Vec<usize> {
        let (genesis, _) = Genesis::development(&DevelopmentSpec::default()).unwrap();
        let want = Want::Batch(BatchDigest::new(hash("test", &1u8)));
        let me = Peer {
            committee: CommitteeId::Shard(ShardId::new(0)),
            member: member(3),
        };
        let mut ready = Ready::default();
        let wants = vec![(want, Some(member(proposer)))];
        questions.ask(at(millis), wants, &genesis, me, &mut ready);
        let to = |outbound: &Outbound| match outbound.to {
            Destination::Member(peer) => peer.member.get(),
            _ => panic!("a question goes to one member"),
        };
        ready.prompt.iter().map(to).collect()
    }

    #[test]
    fn each_proposer_is_asked_at_once_and_no_more_often() {
        let mut questions = Questions::default();
        assert_eq!(asks(&mut questions, 0, 1), NOBODY, "it may come by gossip");
        assert_eq!(asks(&mut questions, 10, 1), [1]);
        assert_eq!(asks(&mut questions, 11, 1), NOBODY);
        assert_eq!(asks(&mut questions, 12, 2), [2]);
        assert_eq!(
            asks(&mut questions, 13, 1),
            NOBODY,
            "however often it changes"
        );
        assert_eq!(asks(&mut questions, 14, 2), NOBODY);
        assert_eq!(asks(&mut questions, 15, 3), NOBODY, "we do not have it");
        assert_eq!(asks(&mut questions, 1_000, 2), [0], "the next after it");
        assert_eq!(asks(&mut questions, 3_000, 2), [1]);
        assert_eq!(asks(&mut questions, 5_000, 2), [2]);
    }
}
