//! Distances between regions: how long a message takes from one to another, beside what the links
//! themselves take. Member i of every committee is in region i mod 4, since a validator's replicas
//! are in one place.
//!
//! Breaks if: a world heals its slow links, which makes all regions one.

use core::time::Duration;

use lockstep_shard::Peer;

use crate::{Links, World};

/// Regions of a matrix.
const REGIONS: usize = 4;

/// One-way milliseconds from each region to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wan([[u64; REGIONS]; REGIONS]);

impl Wan {
    /// Two coasts of one continent, a third across an ocean, a fourth across another: about half of
    /// the round trips usual between data centres in Virginia, Oregon, Frankfurt and Singapore. The
    /// two ways of a pair differ by a few milliseconds, as routes do.
    pub const FOUR_REGIONS: Wan = Wan([
        [1, 31, 45, 112],
        [33, 1, 74, 84],
        [46, 72, 1, 80],
        [115, 82, 78, 1],
    ]);

    /// What links add at each message on top of the distance: up to 5 ms, drawn anew for each.
    pub const JITTER: Links = Links {
        delay_max: Duration::from_millis(5),
        ..Links::exact(Duration::ZERO)
    };

    /// How long a message is on its way between the regions of two members.
    pub fn distance(&self, from: &Peer, to: &Peer) -> Duration {
        let region = |peer: &Peer| peer.member.get() % REGIONS;
        Duration::from_millis(self.0[region(from)][region(to)])
    }

    /// Puts the members of a world that far apart.
    pub fn lay(&self, world: &mut World) {
        let peers: Vec<Peer> = world.peers().collect();
        for from in &peers {
            for to in peers.iter().filter(|to| *to != from) {
                let distance = self.distance(from, to);
                world.network_mut().slow_down(*from, *to, distance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{CommitteeId, MemberIndex, ShardId, Time};

    use super::*;
    use crate::{Network, Random};

    #[test]
    fn a_region_is_near_itself_and_10_to_120_ms_from_the_others() {
        let peer = |committee, member| Peer {
            committee,
            member: MemberIndex::new(member),
        };
        let shard = CommitteeId::Shard(ShardId::new(0));
        let ms = |from, to| {
            let distance = Wan::FOUR_REGIONS.distance(&peer(shard, from), &peer(shard, to));
            distance.as_millis()
        };
        for (from, to) in (0..7).flat_map(|from| (0..7).map(move |to| (from, to))) {
            match from % 4 == to % 4 {
                true => assert_eq!(ms(from, to), 1),
                false => assert!((10..=120).contains(&ms(from, to))),
            }
        }
        let beacon = peer(CommitteeId::Beacon, 2);
        let near = Wan::FOUR_REGIONS.distance(&beacon, &peer(shard, 2));
        assert_eq!(near, Duration::from_millis(1), "replicas of one validator");
    }

    #[test]
    fn messages_take_the_distance_and_a_little_more() {
        let (from, to) = (0, 3);
        let peer = |member| Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(member),
        };
        let mut network = Network::new(Wan::JITTER, Random::new(1));
        let distance = Wan::FOUR_REGIONS.distance(&peer(from), &peer(to));
        network.slow_down(peer(from), peer(to), distance);
        for _ in 0..100 {
            let arrival = network.arrivals(Time::ZERO, &peer(from), &peer(to)).next();
            let took = arrival.unwrap().since(Time::ZERO);
            assert!((112..=117).contains(&took.as_millis()), "{took:?}");
        }
    }
}
