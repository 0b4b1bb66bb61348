//! Time as the protocol sees it: an argument, never a reading.

use core::fmt;
use core::time::Duration;

use parity_scale_codec::{Decode, Encode, MaxEncodedLen};

/// Microseconds since the Unix epoch, or since the start of a simulated world.
///
/// One unit everywhere (headers, timers, phase stamps); milliseconds would be too coarse for the
/// phases of a barrier on a fast network.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen,
)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);

    /// Wraps microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Time(micros)
    }

    /// Wraps milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// This time plus `span`; stops at the end of time.
    pub fn after(self, span: Duration) -> Self {
        Time(
            self.0
                .saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The smallest later time.
    pub fn next(self) -> Self {
        Time(self.0.saturating_add(1))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
