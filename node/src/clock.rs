//! The validator's clock: microseconds since 1970, never going back, and never standing still.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_types::Time;

/// Reads the system's clock. One that was set back is waited for at half the speed: timers go on, and
/// the two meet again.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    /// Since 1970.
    shown: Duration,
}

impl Clock {
    pub(crate) fn now(&self) -> Time {
        let mut last = self.0.lock().expect("no holder of this lock panics");
        let system = SystemTime::now().duration_since(UNIX_EPOCH);
        let shown = show(*last, Instant::now(), system.unwrap_or_default());
        let micros = shown.shown.as_micros();
        *last = Some(shown);
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

fn show(last: Option<Reading>, at: Instant, system: Duration) -> Reading {
    let least = last.map_or(Duration::ZERO, |last| {
        last.shown + at.saturating_duration_since(last.at) / 2
    });
    Reading {
        at,
        shown: system.max(least),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_met_again() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut last = show(None, start, 1_000 * second);
        assert_eq!(last.shown, 1_000 * second);
        // Set back by ten seconds.
        let mut shown = Vec::new();
        for passed in 1..=22 {
            last = show(Some(last), start + passed * second, (990 + passed) * second);
            shown.push(last.shown);
        }
        assert!(shown.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(shown[9], 1_005 * second);
        assert_eq!(shown[19], 1_010 * second);
        assert_eq!(shown[21], 1_012 * second, "as the system's");
    }
}
