//! Chance, from a seed: how long messages take, and which are lost.

use core::time::Duration;

/// A small generator (xorshift64*); the same seed gives the same world.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// A bad network.
pub(crate) struct Chaos {
    pub(crate) random: Random,
    /// Messages lost, in percent.
    pub(crate) loss: u64,
    /// Messages delivered twice, in percent.
    pub(crate) repeat: u64,
    /// The longest delay.
    pub(crate) longest_ms: u64,
}

impl Chaos {
    /// When copies of the next message arrive.
    pub(crate) fn delays(&mut self) -> Vec<Duration> {
        if self.random.percent(self.loss) {
            return Vec::new();
        }
        let copies = 1 + u64::from(self.random.percent(self.repeat));
        (0..copies)
            .map(|_| Duration::from_millis(1 + self.random.below(self.longest_ms)))
            .collect()
    }
}
