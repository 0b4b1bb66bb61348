//! Worlds drawn from seeds: messages are lost, late, doubled and out of order, replicas crash and
//! come back, clocks of disks differ. Agreement, order, proofs and "durable before sent" are
//! asserted by the world at every step; after healing, everybody must catch up and commit.

use crate::common::{Chaos, Random, World};

/// `LOCKSTEP_SEED=n` runs one world and prints its trace when it fails; `LOCKSTEP_SEEDS=n` runs
/// that many.
fn seeds() -> Vec<u64> {
    let read = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    match read("LOCKSTEP_SEED") {
        Some(seed) => vec![seed],
        None => (0..read("LOCKSTEP_SEEDS").unwrap_or(300)).collect(),
    }
}

#[test]
fn chaos_then_everybody_catches_up() {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| explore(seed));
        assert!(outcome.is_ok(), "fails with LOCKSTEP_SEED={seed}");
    }
}

fn explore(seed: u64) {
    let mut random = Random::new(seed);
    let size = 4 + random.below(4) as usize;
    let mut world = World::new(size);
    world.sync = core::time::Duration::from_millis(random.below(20));
    let slowest = if random.percent(20) { 2_000 } else { 100 };
    world.chaos = Some(Chaos {
        loss: random.below(30),
        repeat: random.below(30),
        longest_ms: 1 + random.below(slowest),
        random: Random::new(seed + 1_000_000),
    });
    let crashes = random.percent(70);
    for number in 0..60 {
        world.submit(number);
        world.run_ms(random.below(400));
        let index = random.below(size as u64) as usize;
        if crashes && random.percent(15) && world.is_running(index) {
            world.crash(index);
        }
        let index = random.below(size as u64) as usize;
        if !world.is_running(index) && random.percent(50) {
            world.restart(index);
        }
    }
    heal(&mut world);
    // What only a crashed member held is handed in again; somebody alone with work cannot move the
    // committee, which is what spreading it is for.
    (0..60).for_each(|number| world.submit(number));
    world.submit(1_000);
    world.run_ms(20_000);
    check_caught_up(&world);
}

fn heal(world: &mut World) {
    world.chaos = None;
    for index in 0..world.size() {
        if !world.is_running(index) {
            world.restart(index);
        }
    }
    world.connect_all();
}

fn check_caught_up(world: &World) {
    world.check_no_equivocation();
    assert!(world.stopped.is_empty(), "{}", world.trace);
    for index in 0..world.size() {
        let committed = &world.replica(index).application().committed;
        assert!(
            committed.contains(&1_000),
            "member {index} did not commit after healing\n{}",
            world.trace
        );
    }
    assert!(
        world.is_idle(),
        "not silent after the work is done\n{}",
        world.trace
    );
    assert!(world.evidence.is_empty(), "nobody broke a rule");
}
