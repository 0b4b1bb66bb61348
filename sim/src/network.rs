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
            loss_per_mille: 0,
            duplicate_per_mille: 0,
        }
    }
}

/// All links.
#[derive(Debug)]
pub struct Network {
    links: Links,
    /// Messages between these two sides are lost.
    cut: BTreeSet<Peer>,
    random: Random,
}

impl Network {
    /// Links that all behave alike.
    pub fn new(links: Links, random: Random) -> Self {
        Network {
            links,
            cut: BTreeSet::new(),
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

    /// Cuts these members off from all others; none heals every cut.
    pub fn partition(&mut self, side: BTreeSet<Peer>) {
        self.cut = side;
    }

    /// When a message sent now arrives: never, once or twice.
    pub fn arrivals(&mut self, now: Time, from: &Peer, to: &Peer) -> Vec<Time> {
        let lost = self.random.chance(self.links.loss_per_mille);
        let twice = self.random.chance(self.links.duplicate_per_mille);
        if lost || self.cut.contains(from) != self.cut.contains(to) {
            return Vec::new();
        }
        let copies = if twice { 2 } else { 1 };
        let (low, high) = (self.links.delay_min, self.links.delay_max);
        (0..copies)
            .map(|_| now.after(self.random.duration(low, high)))
            .collect()
    }
}
