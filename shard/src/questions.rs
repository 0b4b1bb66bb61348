//! What a shard's member lacks and asks others for: whom, and when the next one.
//!
//! Breaks if: an answer that does not help is followed by the next question at once; with every
//! duplicate there would be more of both.

use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_genesis::Genesis;
use lockstep_types::{BatchDigest, CommitteeId, Digest, ShardId, Time, WindowNumber};

use crate::message::{Destination, MAX_BATCHES_REQUESTED, Message, Outbound, Peer, Request};
use crate::ready::Ready;

/// A body that a block lacks may still be on its way by gossip; then nobody needs to be asked.
const FETCH_GRACE: Duration = Duration::from_millis(10);

/// How long the first who was asked may take before the next one is. Everyone after gets this much
/// more than the one before, up to the limit: an answer may be late because of what was asked for
/// already, and asking again then makes it later.
const FETCH_RETRY: Duration = Duration::from_millis(150);
const MAX_FETCH_RETRY: Duration = Duration::from_millis(1_200);

/// Something to ask others for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    Batch(BatchDigest),
    Bundle(Digest),
    Record(WindowNumber),
    Entries(ShardId, u64),
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    next: Time,
    times: u64,
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
    pub(crate) fn ask(
        &mut self,
        now: Time,
        wants: Vec<Want>,
        genesis: &Genesis,
        me: Peer,
        ready: &mut Ready,
    ) {
        self.asked.retain(|want, _| wants.contains(want));
        // Requests of one step go to one member after the other: each answers a few at a time.
        let mut turn = 0;
        let mut send = |committee, times, request| {
            ready
                .prompt
                .push(question(genesis, me, committee, times + turn, request));
            turn += 1;
        };
        let mut batches: BTreeMap<u64, Vec<BatchDigest>> = BTreeMap::new();
        for want in wants {
            let Some(times) = self.times_if_due(now, want) else {
                continue;
            };
            match want {
                Want::Batch(digest) => batches.entry(times).or_default().push(digest),
                Want::Bundle(digest) => send(me.committee, times, Request::Bundle(digest)),
                Want::Record(number) => {
                    let of_beacon = times.is_multiple_of(2);
                    let committee = match of_beacon {
                        true => CommitteeId::Beacon,
                        false => me.committee,
                    };
                    send(committee, times, Request::Record(number));
                }
                Want::Entries(source, from) => {
                    let destination = me.committee.shard().expect("a shard's member asks");
                    let request = Request::Entries { destination, from };
                    send(CommitteeId::Shard(source), times, request);
                }
            }
        }
        for (times, digests) in batches {
            for some in digests.chunks(MAX_BATCHES_REQUESTED) {
                send(me.committee, times, Request::Batches(some.to_vec()));
            }
        }
    }

    /// How many were asked before, when it is time to ask the next one.
    fn times_if_due(&mut self, now: Time, want: Want) -> Option<u64> {
        let first = match want {
            Want::Batch(_) | Want::Bundle(_) => now.after(FETCH_GRACE),
            Want::Record(_) | Want::Entries(..) => now,
        };
        let asked = self.asked.entry(want).or_insert(Asked {
            next: first,
            times: 0,
        });
        if now < asked.next {
            return None;
        }
        let times = asked.times;
        *asked = Asked {
            next: now.after(retry_after(times)),
            times: times + 1,
        };
        Some(times)
    }
}

/// A request to the `times`-th member after our own position, never to ourselves.
fn question(
    genesis: &Genesis,
    me: Peer,
    committee: CommitteeId,
    times: u64,
    request: Request,
) -> Outbound {
    let members = genesis.committee(committee);
    let own = u64::from(committee == me.committee);
    let others = members.size() as u64 - own;
    let member = members.by_turn(me.member.get() as u64 + own + times % others.max(1));
    Outbound {
        to: Destination::Member(Peer { committee, member }),
        message: Message::Request(request),
    }
}

/// How long the member that was asked after `times` others may take.
fn retry_after(times: u64) -> Duration {
    let steps = u32::try_from(times).unwrap_or(u32::MAX).saturating_add(1);
    FETCH_RETRY.saturating_mul(steps).min(MAX_FETCH_RETRY)
}
