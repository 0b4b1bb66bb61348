//! Random blocks, bundles and records against a naive model: conservation, exactly once, replays
//! and forgeries without effect, account aliasing, and a restart after every block.
//!
//! A failure names its seed; `LOCKSTEP_SEED=n cargo test --release -p lockstep-ledger --test model`
//! runs that seed alone.

#![allow(clippy::unwrap_used)]

mod naive;
mod random;
mod world;

use world::World;

const SEEDS: u64 = 60;
const STEPS: u64 = 250;

#[test]
fn ledgers_agree_with_the_naive_model() {
    let only = std::env::var("LOCKSTEP_SEED").ok();
    let seeds = match only.map(|text| text.parse::<u64>().expect("LOCKSTEP_SEED is a number")) {
        Some(seed) => seed..=seed,
        None => 1..=SEEDS,
    };
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
    }
}

#[test]
fn the_runs_reach_every_outcome() {
    let mut world = World::new(4);
    (0..2_000).for_each(|_| world.step());
    let counts = &world.counts;
    println!("{counts:?}");
    assert!(counts.applied > 500);
    assert!(counts.skipped > 200);
    assert!(counts.credits > 200);
    assert!(counts.refused_bundles > 100);
    assert!(counts.seals > 50 && counts.records > 50);
    for failure in ["Insufficient", "BelowMinimum", "Busy", "WindowLimit"] {
        assert!(
            counts.failed.contains_key(failure),
            "{failure} never happened"
        );
    }
}
