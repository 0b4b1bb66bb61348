//! Seeded randomness. Every draw of a world comes from here, in the order of its events, so a seed
//! reproduces a run.

use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of draws.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// An independent stream for one purpose, so that drawing more for one thing does not change
    /// another.
    pub fn fork(&mut self) -> Self {
        Random::new(self.0.next_u64())
    }

    /// Below `bound`, which is not 0. The bias of the remainder is far below what a test could see.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        self.0.next_u64() % bound
    }

    /// True with a chance of `per_mille` in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// Between `low` and `high`, both included.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_micros();
        let span = u64::try_from(span).expect("simulated times fit");
        low + Duration::from_micros(self.below(span + 1))
    }

    /// A duration around `mean`: short ones are common, and the longest is twice as long.
    pub fn around(&mut self, mean: Duration) -> Duration {
        self.duration(Duration::ZERO, mean) + self.duration(Duration::ZERO, mean)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }
}
