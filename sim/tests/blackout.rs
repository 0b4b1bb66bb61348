//! Everybody crashes at once: commits resume, and nothing that was final is lost.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_genesis::DevelopmentSpec;
use lockstep_shard::Peer;
use lockstep_sim::{Random, Workload, World, WorldSpec};
use lockstep_types::{CommitteeId, Height};

fn world(seed: u64, depth: u8) -> World {
    let chain = DevelopmentSpec {
        depth,
        interval: Duration::from_millis(500),
        ..DevelopmentSpec::default()
    };
    World::new(WorldSpec::calm(seed, &chain))
}

fn heights(world: &World) -> Vec<(CommitteeId, Height)> {
    let committees = world.genesis().committees();
    let agreement = &world.checkers.agreement;
    committees.map(|id| (id, agreement.height(id))).collect()
}

#[test]
fn a_power_cut_of_everybody_loses_nothing_that_was_final() {
    for (seed, depth) in [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (6, 2)] {
        let mut world = world(seed, depth);
        let mut random = Random::new(seed);
        let mut clients = Workload::new(&mut random, &world);
        for cut in 0..4u64 {
            let span = Duration::from_millis(1_700 + 130 * cut);
            clients.run(&mut random, &mut world, span).unwrap();
            let before = heights(&world);
            let final_before = world.checkers.exactly_once.executed();
            let peers: Vec<Peer> = world.peers().collect();
            for peer in &peers {
                let down = random.duration(Duration::from_millis(10), Duration::from_secs(1));
                world.crash(peer, down);
            }
            // All are back after one second at the latest; commits resume within five more.
            let span = Duration::from_secs(6);
            clients.run(&mut random, &mut world, span).unwrap();
            for peer in &peers {
                let status = world.member(peer).unwrap().status();
                let had = before
                    .iter()
                    .find(|(id, _)| *id == peer.committee)
                    .unwrap()
                    .1;
                // That the blocks up to there are the ones that were final, and come to the same
                // effects, is what the agreement checker compares.
                assert!(
                    status.executed > had,
                    "seed {seed}, {peer:?}: {status:?}, had {had}"
                );
            }
            assert!(world.checkers.exactly_once.executed() > final_before);
        }
        let end = world.now().after(Duration::from_secs(10));
        while clients.chase(&mut world) > 0 {
            assert!(
                world.now() < end,
                "seed {seed}: {:?} not executed",
                clients.pending()
            );
            let next = world.now().after(Duration::from_millis(100));
            world.run_until(next).unwrap();
        }
    }
}
