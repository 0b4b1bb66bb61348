//! A member loses its disk, or its safety record alone, and its operator lets it recover: it signs
//! nothing that it may have signed before, and votes again within three barriers.

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

/// Lets a member of each committee lose something, and waits until it votes again.
fn lose(seed: u64, depth: u8, harm: Harm) {
    let mut world = world(seed, depth);
    let mut random = Random::new(seed);
    let mut clients = Workload::new(&mut random, &world);
    let mut run = |world: &mut World, span| clients.run(&mut random, world, span).unwrap();
    run(&mut world, Duration::from_secs(3));
    let peers: Vec<Peer> = world.peers().collect();
    for peer in peers.into_iter().step_by(3) {
        let case = format!("seed {seed}, {peer:?}, {harm:?}");
        let others = |world: &World| {
            let mut others = world.peers().filter(|p| p.committee == peer.committee);
            let other = others.find(|p| *p != peer).unwrap();
            world.member(&other).unwrap().status()
        };
        let had = world.member(&peer).unwrap().status().committed;
        world.harm(&peer, harm, Duration::from_millis(100));
        run(&mut world, Duration::from_millis(110));
        let status = world.member(&peer).unwrap().status();
        assert!(!status.signs, "{case}");
        if harm == Harm::LoseRecord {
            assert!(status.committed.plus(8) >= had, "{case}: its log is there");
        }
        run(&mut world, Duration::from_millis(40));
        let start = others(&world).record;
        while !world.member(&peer).unwrap().status().signs {
            let passed = others(&world).record.since(start);
            assert!(passed <= 3, "{case}: silent for {passed} barriers");
            run(&mut world, Duration::from_millis(50));
        }
        run(&mut world, Duration::from_secs(2));
        let (status, newest) = (world.member(&peer).unwrap().status(), others(&world));
        let behind = newest.committed.since(status.committed);
        assert!(behind <= 2, "{case}: {status:?}, the others {newest:?}");
    }
}

#[test]
fn a_wiped_member_votes_again_within_three_barriers() {
    for (seed, depth) in [(1, 0), (2, 1), (3, 2)] {
        lose(seed, depth, Harm::Wipe);
    }
}

#[test]
fn a_member_that_lost_its_safety_record_alone_does_too() {
    for (seed, depth) in [(4, 0), (5, 1), (6, 2)] {
        lose(seed, depth, Harm::LoseRecord);
    }
}
