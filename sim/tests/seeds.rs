//! Seeds that once failed, each with a sentence in `seeds.txt`, and two runs of one seed.

#![allow(clippy::unwrap_used)]

use core::time::Duration;

use lockstep_sim::{Chains, Run};

/// The chaos of a run as `make sim` makes it.
const CHAOS: Duration = Duration::from_secs(20);

fn listed() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (seed, sentence) = line.split_once(' ').expect("a seed and a sentence");
            assert!(sentence.trim_end().ends_with('.'), "a sentence: {line}");
            seed.parse().expect("a number")
        })
        .collect()
}

#[test]
fn seeds_that_once_failed_pass() {
    let mut chains = Chains::default();
    for seed in listed() {
        let outcome = Run::new(seed, CHAOS).go(&mut chains, None);
        assert_eq!(outcome.failure, None, "seed {seed}: {}", outcome.faults);
        assert!(outcome.executed > 0, "seed {seed} did nothing");
    }
}

#[test]
fn two_runs_of_a_seed_are_the_same_event_for_event() {
    for seed in 0..25 {
        let chaos = Duration::from_secs(5);
        // Each with chains of its own: nothing may depend on what ran before.
        let first = Run::new(seed, chaos).go(&mut Chains::default(), None);
        let second = Run::new(seed, chaos).go(&mut Chains::default(), None);
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
    }
}
