//! A member loses its disk and comes back with its key alone: it signs nothing that it may have
//! signed before, and votes again within three barriers.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_sim::{Harm, Random, Workload, World, WorldSpec};

fn world(seed: u64, depth: u8) -> World {
    let chain = DevelopmentSpec {
        depth,
        interval: Duration::from_millis(500),
        ..DevelopmentSpec::default()
    };
    World::new(WorldSpec::calm(seed, &chain))
}

#[test]
fn a_wiped_member_votes_again_within_three_barriers() {
    for (seed, depth) in [(1, 0), (2, 1), (3, 2)] {
        let mut world = world(seed, depth);
        let mut random = Random::new(seed);
        let mut clients = Workload::new(&mut random, &world);
        let mut run = |world: &mut World, span| clients.run(&mut random, world, span).unwrap();
        run(&mut world, Duration::from_secs(3));
        let peers: Vec<Peer> = world.peers().collect();
        for peer in peers.into_iter().step_by(3) {
            let others = |world: &World| {
                let mut others = world.peers().filter(|p| p.committee == peer.committee);
                let other = others.find(|p| *p != peer).unwrap();
                world.member(&other).unwrap().status()
            };
            world.harm(&peer, Harm::Wipe, Duration::from_millis(100));
            run(&mut world, Duration::from_millis(150));
            let start = others(&world).record;
            assert!(
                !world.member(&peer).unwrap().status().signs,
                "seed {seed}, {peer:?}"
            );
            while !world.member(&peer).unwrap().status().signs {
                let passed = others(&world).record.since(start);
                assert!(
                    passed <= 3,
                    "seed {seed}, {peer:?}: silent for {passed} barriers"
                );
                run(&mut world, Duration::from_millis(50));
            }
            run(&mut world, Duration::from_secs(2));
            let (status, newest) = (world.member(&peer).unwrap().status(), others(&world));
            assert!(
                newest.committed.since(status.committed) <= 2,
                "seed {seed}, {peer:?}: {status:?}, the others {newest:?}"
            );
        }
    }
}
