//! Simulated links: delay, loss, duplication, reordering and partitions between any two members.

use core::time::Duration;
use std::collections::BTreeSet;

use lockstep_shard::Peer;
use lockstep_types::Time;

use crate::Random;

/// How links behave in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// Shortest time a message takes.
    pub delay_min: Duration,
    /// Longest time a message takes. Above the shortest, messages overtake each other.
    pub delay_max: Duration,
    /// Messages that take up to ten times the longest time, in a thousand.
    pub straggler_per_mille: u64,
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
}

impl Cut {
    fn separates(&self, from: &Peer, to: &Peer) -> bool {
        match self {
            Cut::Nothing => false,
            Cut::Apart(side) => side.contains(from) != side.contains(to),
            Cut::Mute(members) => members.contains(from),
            Cut::Deaf(members) => members.contains(to),
        }
    }
}

/// All links.
#[derive(Debug)]
pub struct Network {
    links: Links,
    cut: Cut,
    random: Random,
}

impl Network {
    /// Links that all behave alike.
    pub fn new(links: Links, random: Random) -> Self {
        Network {
            links,
            cut: Cut::Nothing,
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

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals(&mut self, now: Time, from: &Peer, to: &Peer) -> impl Iterator<Item = Time> {
        let links = self.links;
        let lost = self.happens(links.loss_per_mille) || self.cut.separates(from, to);
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
            ..
        } = self.links;
        if self.happens(straggler_per_mille) {
            return now.after(self.random.duration(high, 10 * high));
        }
        if low == high {
            return now.after(low);
        }
        now.after(self.random.duration(low, high))
    }
}
