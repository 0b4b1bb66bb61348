//! Faults that happen now and then: which one is next, and whom it hits.

use core::time::Duration;
use std::collections::BTreeSet;

use lockstep_shard::Peer;

use super::{Fault, Faults, ms};
use crate::disk::Harm;
use crate::network::Cut;
use crate::replay::Tape;
use crate::{Random, World};

/// Mean time between two faults of one kind, where the kind is on.
const BETWEEN: Duration = ms(2_500);

/// The longest that a process ever stands still.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Most messages that are said again at a time.
const MOST_REPLAYED: u64 = 20;

impl Faults {
    /// Lets the next fault happen, of a kind drawn among those that are on. Returns how long it is
    /// until the one after that.
    pub(crate) fn strike(&self, random: &mut Random, world: &mut World, tape: &Tape) -> Duration {
        let kinds: Vec<Fault> = self.on.iter().filter(|fault| fault.strikes()).collect();
        let peers: Vec<Peer> = world.peers().collect();
        let kind = *random.pick(&kinds);
        if kind.takes_a_member() {
            self.strike_member(random, world, kind);
        } else {
            self.strike_anybody(random, world, kind, &peers, tape);
        }
        random.around(BETWEEN / u32::try_from(kinds.len()).expect("a few"))
    }

    fn strike_anybody(
        &self,
        random: &mut Random,
        world: &mut World,
        kind: Fault,
        peers: &[Peer],
        tape: &Tape,
    ) {
        let peer = random.pick(peers);
        match kind {
            Fault::Partitions => {
                let cut = partition(random, world, peers);
                world.network_mut().cut(cut);
            }
            Fault::OneWay => {
                let cut = one_way(random, peers);
                world.network_mut().cut(cut);
            }
            Fault::Resets => {
                let other = random.pick(peers);
                if other != peer {
                    world.reset(peer, other, random.duration(ms(1), ms(500)));
                }
            }
            Fault::Replay => {
                for _ in 0..=random.below(MOST_REPLAYED) {
                    world.replay(random);
                }
            }
            Fault::OtherChain => {
                for _ in 0..=random.below(MOST_REPLAYED) {
                    world.replay_from(random, tape);
                }
            }
            Fault::Crashes => world.crash(peer, random.duration(ms(10), ms(3_000))),
            Fault::CrashLoops => {
                let times = u32::try_from(1 + random.below(6)).expect("small");
                world.crash_often(peer, random.duration(ms(10), ms(500)), times);
            }
            Fault::Blackouts => blackout(random, world, peers),
            Fault::Pauses => {
                let most = if random.chance(30) {
                    LONGEST_PAUSE
                } else {
                    ms(4_000)
                };
                world.pause(peer, random.duration(ms(10), most));
            }
            Fault::FullDisks => fill_disks(random, world, peers),
            Fault::FailedSyncs => world.fail_sync(peer),
            Fault::Skew | Fault::Drift => self.set_clock(random, world, peer),
            _ => unreachable!("{kind} does not strike just anybody"),
        }
    }

    /// Something happens to a member that has this frailty, if there is one.
    fn strike_member(&self, random: &mut Random, world: &mut World, kind: Fault) {
        let members = self.frail.iter().filter(|(_, frailty)| **frailty == kind);
        let members: Vec<Peer> = members.map(|(peer, _)| *peer).collect();
        if members.is_empty() {
            return;
        }
        let peer = random.pick(&members);
        let harm = match kind {
            Fault::BadClocks => return self.set_clock(random, world, peer),
            Fault::LostTails | Fault::OldCopies if random.chance(500) => {
                return world.keep_copy(peer);
            }
            Fault::LostTails => Harm::LoseTail,
            Fault::OldCopies => Harm::RestoreCopy,
            Fault::Wipes if random.chance(500) => Harm::LoseRecord,
            Fault::Wipes => Harm::Wipe,
            _ => match random.below(6) {
                0 => Harm::FlipBothSlots,
                1 => Harm::FlipOlderSlot,
                _ => Harm::FlipValue,
            },
        };
        world.harm(peer, harm, random.duration(ms(10), ms(3_000)));
    }
}

/// Half of the time nothing is cut, so that something happens between the cuts.
fn partition(random: &mut Random, world: &World, peers: &[Peer]) -> Cut {
    let one = *random.pick(peers);
    let committee = |peer: &&Peer| peer.committee == one.committee;
    match random.below(14) {
        0 => Cut::Apart([one].into()),
        1 => Cut::Apart(some(random, peers)),
        2 => Cut::Apart(peers.iter().filter(committee).copied().collect()),
        3 => Cut::Mute([one].into()),
        4 => Cut::Deaf([one].into()),
        5 => {
            let leader = world.member(&one).map(|member| member.status().leader);
            let leader = leader.unwrap_or(one.member);
            let member = Peer {
                member: leader,
                ..one
            };
            Cut::Apart([member].into())
        }
        6 => Cut::ring(&shuffled(random, peers)),
        _ => Cut::Nothing,
    }
}

/// Some links of some committee, or of all, in one direction.
fn one_way(random: &mut Random, peers: &[Peer]) -> Cut {
    if random.chance(400) {
        return Cut::Nothing;
    }
    let (per_mille, whole) = (50 + random.below(400), random.chance(500));
    let committee = random.pick(peers).committee;
    let mut cut = BTreeSet::new();
    for from in peers {
        for to in peers {
            let inside = from.committee == committee && to.committee == committee;
            if (whole || inside) && random.chance(per_mille) {
                cut.insert((*from, *to));
            }
        }
    }
    Cut::Links(cut)
}

fn some(random: &mut Random, peers: &[Peer]) -> BTreeSet<Peer> {
    let some = peers.iter().filter(|_| random.chance(500));
    some.copied().collect()
}

fn shuffled(random: &mut Random, peers: &[Peer]) -> Vec<Peer> {
    let mut left = peers.to_vec();
    let mut order = Vec::new();
    while !left.is_empty() {
        let place = random.below(left.len() as u64);
        order.push(left.swap_remove(usize::try_from(place).expect("an index")));
    }
    order
}

/// All at once, all in the same instant for one moment, or one after the other in some order; seldom
/// enough that something happens in between.
fn blackout(random: &mut Random, world: &mut World, peers: &[Peer]) {
    match random.below(6) {
        0 | 1 => {
            for peer in peers {
                world.crash(peer, random.duration(ms(10), ms(1_000)));
            }
        }
        2 => {
            let between = random.duration(ms(10), ms(400));
            let down = random.duration(ms(10), ms(800));
            let order = shuffled(random, peers);
            for (place, peer) in order.iter().enumerate() {
                let place = u32::try_from(place).expect("some dozens");
                world.crash_later(peer, between * place, down);
            }
        }
        _ => {}
    }
}

/// One disk, or those of a whole committee.
fn fill_disks(random: &mut Random, world: &mut World, peers: &[Peer]) {
    let (one, all) = (*random.pick(peers), random.chance(150));
    let span = random.duration(ms(100), ms(5_000));
    for peer in peers {
        if *peer == one || (all && peer.committee == one.committee) {
            world.fill_disk(peer, span);
        }
    }
}
