//! A shard that stood still while the others went on: the barriers it missed are not lost, and it
//! is with the others again soon.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_sim::{Random, Workload, World, WorldSpec};
use lockstep_types::{CommitteeId, MemberIndex, ShardId, WindowNumber};

/// Without a quorum for this long, a shard misses more records than a member holds ahead.
const OUTAGE: Duration = Duration::from_secs(120);
/// After it the shard has them all: a block names one record, and takes two network delays.
const RETURN: Duration = Duration::from_secs(20);

fn record(world: &World, committee: CommitteeId) -> WindowNumber {
    let of_committee = world.peers().filter(|peer| peer.committee == committee);
    let records = of_committee.filter_map(|peer| Some(world.member(&peer)?.status().record));
    records.max().unwrap()
}

fn world(depth: u8) -> World {
    let chain = DevelopmentSpec {
        depth,
        interval: Duration::from_millis(500),
        patience: Duration::from_secs(1),
        ..DevelopmentSpec::default()
    };
    World::new(WorldSpec::calm(1, &chain))
}

/// Its blocks name records that it has to fetch one after the other, and credit entries that are
/// certified by records far older than those that it hears of now.
#[test]
fn a_member_that_missed_many_barriers_is_with_the_others_soon() {
    for depth in [0, 1] {
        let mut world = world(depth);
        let peer = Peer {
            committee: CommitteeId::Shard(ShardId::new(0)),
            member: MemberIndex::new(2),
        };
        world.checkers.let_stop(peer); // no client relies on it
        let mut random = Random::new(1);
        let mut workload = Workload::new(&mut random, &world);
        let mut work = |world: &mut World, span| workload.run(&mut random, world, span).unwrap();
        work(&mut world, Duration::from_secs(3));
        world.crash(&peer, OUTAGE);
        work(&mut world, OUTAGE);
        work(&mut world, RETURN);
        let others = record(&world, peer.committee);
        let status = world.member(&peer).unwrap().status();
        let behind = others.since(status.record);
        assert!(behind <= 2, "depth {depth}: {others}, and {status:?}");
        assert!(status.committed.since(status.executed) <= 10, "{status:?}");
    }
}

#[test]
fn a_shard_that_missed_many_barriers_is_at_the_newest_soon() {
    for depth in [0, 1] {
        let mut world = world(depth);
        let shard = CommitteeId::Shard(ShardId::new(0));
        world
            .run_until(world.now().after(Duration::from_secs(3)))
            .unwrap();
        for member in 0..2 {
            let peer = Peer {
                committee: shard,
                member: MemberIndex::new(member),
            };
            world.crash(&peer, OUTAGE);
        }
        world.run_until(world.now().after(OUTAGE)).unwrap();
        let (before, others) = (record(&world, shard), record(&world, CommitteeId::Beacon));
        assert!(others.since(before) > 100, "{before} of {others}");
        world.run_until(world.now().after(RETURN)).unwrap();
        let (after, others) = (record(&world, shard), record(&world, CommitteeId::Beacon));
        assert!(
            others.since(after) <= 2,
            "depth {depth}: {after} of {others}"
        );
    }
}
