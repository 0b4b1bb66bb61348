//! Simulated links: delay, loss, duplication, reordering, cuts and resets between any two members.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use lockstep_shard::Peer;
use lockstep_types::Time;

use crate::Random;

/// The longest that any message takes.
pub const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// How links behave in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// Shortest time a message takes.
    pub delay_min: Duration,
    /// Longest time a message takes. Above the shortest, messages overtake each other.
    pub delay_max: Duration,
    /// Messages that take up to ten times the longest time, in a thousand.
    pub straggler_per_mille: u64,
    /// Messages of the heavy tail, in a thousand: they take twice the longest time with a chance of
    /// one half, four times with a chance of a quarter, and so on up to [`LONGEST_DELAY`].
    pub tail_per_mille: u64,
    /// Messages lost, in a thousand.
    pub loss_per_mille: u64,
    /// Messages delivered twice, in a thousand.
    pub duplicate_per_mille: u64,
}

impl Links {
    /// Every message takes exactly `delay`, and none is lost.
    pub const fn exact(delay: Duration) -> Self {
        Links {
            delay_min: delay,
            delay_max: delay,
            straggler_per_mille: 0,
            tail_per_mille: 0,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
        }
    }
}

/// Which links are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// None.
    #[default]
    Nothing,
    /// Every link between these members and all others, in both directions.
    Apart(BTreeSet<Peer>),
    /// What these members send is lost; what is sent to them arrives.
    Mute(BTreeSet<Peer>),
    /// What is sent to these members is lost; what they send arrives.
    Deaf(BTreeSet<Peer>),
    /// These links, each from a sender to a receiver.
    Links(BTreeSet<(Peer, Peer)>),
}

impl Cut {
    /// Of the members of each committee only neighbours in a ring hear each other: those that
    /// follow each other in `order`, where the last one comes before the first.
    pub fn ring(order: &[Peer]) -> Self {
        let mut cut = BTreeSet::new();
        for from in order {
            let committee: Vec<&Peer> = order
                .iter()
                .filter(|peer| peer.committee == from.committee)
                .collect();
            let place = committee.iter().position(|peer| *peer == from);
            let place = place.expect("it is in its committee");
            for (other, to) in committee.iter().enumerate() {
                let apart = place.abs_diff(other);
                if apart > 1 && apart + 1 < committee.len() {
                    cut.insert((*from, **to));
                }
            }
        }
        Cut::Links(cut)
    }

    fn separates(&self, from: &Peer, to: &Peer) -> bool {
        match self {
            Cut::Nothing => false,
            Cut::Apart(side) => side.contains(from) != side.contains(to),
            Cut::Mute(members) => members.contains(from),
            Cut::Deaf(members) => members.contains(to),
            Cut::Links(links) => links.contains(&(*from, *to)),
        }
    }
}

/// All links.
#[derive(Debug)]
pub struct Network {
    links: Links,
    cut: Cut,
    /// What single links add to every message's time.
    slow: BTreeMap<(Peer, Peer), Duration>,
    /// How often the connection of a pair was reset, by the lesser peer first.
    resets: BTreeMap<(Peer, Peer), u64>,
    random: Random,
}

impl Network {
    /// Links that all behave alike.
    pub fn new(links: Links, random: Random) -> Self {
        Network {
            links,
            cut: Cut::Nothing,
            slow: BTreeMap::new(),
            resets: BTreeMap::new(),
            random,
        }
    }

    /// Changes how links behave from now on.
    pub fn set_links(&mut self, links: Links) {
        self.links = links;
    }

    /// How links behave.
    pub fn links(&self) -> Links {
        self.links
    }

    /// Cuts links, in the place of those cut before.
    pub fn cut(&mut self, cut: Cut) {
        self.cut = cut;
    }

    /// Makes one direction of a link slower than the others, or as fast as them again.
    pub fn slow_down(&mut self, from: Peer, to: Peer, by: Duration) {
        if by.is_zero() {
            self.slow.remove(&(from, to));
        } else {
            self.slow.insert((from, to), by);
        }
    }

    /// Makes all links equally fast again.
    pub fn speed_up(&mut self) {
        self.slow.clear();
    }

    /// Breaks the connection between two members: what is on its way between them is lost.
    pub(crate) fn reset(&mut self, one: &Peer, other: &Peer) {
        *self.resets.entry(pair(one, other)).or_default() += 1;
    }

    /// Which connection of a pair is up, counted from 0.
    pub(crate) fn connection(&self, one: &Peer, other: &Peer) -> u64 {
        if self.resets.is_empty() {
            return 0;
        }
        let resets = self.resets.get(&pair(one, other));
        resets.copied().unwrap_or(0)
    }

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals(&mut self, now: Time, from: &Peer, to: &Peer) -> impl Iterator<Item = Time> {
        let links = self.links;
        let lost = self.happens(links.loss_per_mille) || self.cut.separates(from, to);
        let slow = self.slow.get(&(*from, *to)).copied().unwrap_or_default();
        let now = now.after(slow);
        let copies = match (lost, self.happens(links.duplicate_per_mille)) {
            (true, _) => [None, None],
            (false, false) => [Some(self.arrival(now)), None],
            (false, true) => [Some(self.arrival(now)), Some(self.arrival(now))],
        };
        copies.into_iter().flatten()
    }

    /// Draws only for what can happen: a world without faults draws nothing.
    fn happens(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.random.chance(per_mille)
    }

    fn arrival(&mut self, now: Time) -> Time {
        let Links {
            delay_min: low,
            delay_max: high,
            straggler_per_mille,
            tail_per_mille,
            ..
        } = self.links;
        if self.happens(straggler_per_mille) {
            return now.after(self.random.duration(high, 10 * high));
        }
        if self.happens(tail_per_mille) {
            return now.after(self.tail(high));
        }
        if low == high {
            return now.after(low);
        }
        now.after(self.random.duration(low, high))
    }

    fn tail(&mut self, high: Duration) -> Duration {
        let mut delay = 2 * high;
        while delay < LONGEST_DELAY && self.random.chance(500) {
            delay *= 2;
        }
        self.random.duration(delay / 2, delay).min(LONGEST_DELAY)
    }
}

fn pair(one: &Peer, other: &Peer) -> (Peer, Peer) {
    (*one.min(other), *one.max(other))
}

#[cfg(test)]
mod tests {
    use lockstep_types::{CommitteeId, MemberIndex};

    use super::*;

    fn peer(member: u8) -> Peer {
        Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(member),
        }
    }

    #[test]
    fn in_a_ring_only_neighbours_hear_each_other() {
        let order: Vec<Peer> = (0..5).map(peer).collect();
        let cut = Cut::ring(&order);
        let hears = |from: u8, to: u8| !cut.separates(&peer(from), &peer(to));
        for from in 0..5 {
            let to = |to: u8| hears(from, (from + to) % 5);
            assert_eq!([to(1), to(2), to(3), to(4)], [true, false, false, true]);
        }
        let three: Vec<Peer> = (0..3).map(peer).collect();
        assert_eq!(Cut::ring(&three), Cut::Links(BTreeSet::new()));
    }

    #[test]
    fn the_tail_is_heavy_and_has_an_end() {
        let mut links = Links::exact(Duration::from_millis(100));
        links.tail_per_mille = 1_000;
        let mut network = Network::new(links, Random::new(1));
        let mut delays: Vec<Duration> = Vec::new();
        for _ in 0..2_000 {
            let arrival = network.arrivals(Time::ZERO, &peer(0), &peer(1)).next();
            delays.push(arrival.unwrap().since(Time::ZERO));
        }
        let above = |least| delays.iter().filter(|delay| **delay > least).count();
        assert!(above(Duration::from_millis(200)) > 500);
        assert!(above(Duration::from_secs(5)) > 5);
        assert_eq!(above(LONGEST_DELAY), 0);
    }

    #[test]
    fn a_reset_counts_in_both_directions_and_for_its_pair_alone() {
        let mut network = Network::new(Links::exact(Duration::ZERO), Random::new(1));
        network.reset(&peer(2), &peer(1));
        assert_eq!(network.connection(&peer(1), &peer(2)), 1);
        assert_eq!(network.connection(&peer(2), &peer(1)), 1);
        assert_eq!(network.connection(&peer(2), &peer(3)), 0);
    }
}
