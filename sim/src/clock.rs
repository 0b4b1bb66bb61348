//! A member's clock: off by some time, running at a speed of its own, or standing still.
//!
//! Breaks if: a member waits for a moment of its clock in any other way than hosts do. A host waits
//! as long as its clock says the moment is away, looks again, and waits for what is left then.

use core::time::Duration;

use lockstep_types::Time;

const MILLION: u64 = 1_000_000;

/// What a member's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Its time minus the world's at `since`, in microseconds.
    offset: i64,
    /// Its time at `since` was right but for the offset.
    since: Time,
    /// Microseconds it gains in a second; at least −1,000,000, where it stands still.
    gain: i64,
    /// It is never further off than this, in microseconds.
    most: i64,
}

impl Clock {
    /// Shows the world's time.
    pub const RIGHT: Clock = Clock {
        offset: 0,
        since: Time::ZERO,
        gain: 0,
        most: i64::MAX,
    };

    /// From `now` on this many microseconds off, and gaining as many per second.
    pub fn wrong(now: Time, offset: i64, gain: i64) -> Self {
        Clock {
            offset,
            since: now,
            gain: gain.max(-1_000_000),
            most: i64::MAX,
        }
    }

    /// Somebody sees to it that it is never further off than this.
    #[must_use]
    pub fn steered(mut self, most: Duration) -> Self {
        self.most = i64::try_from(most.as_micros()).unwrap_or(i64::MAX);
        self
    }

    /// Stands still from `now` on.
    pub fn frozen(now: Time) -> Self {
        Clock::wrong(now, 0, -1_000_000)
    }

    /// What it shows.
    pub fn read(&self, now: Time) -> Time {
        let mut off = self.offset;
        if self.gain != 0 {
            let passed = i128::from(now.since(self.since).as_micros() as u64);
            let gained = passed * i128::from(self.gain) / i128::from(MILLION);
            off = off.saturating_add(i64::try_from(gained).expect("runs last less than ages"));
            off = off.clamp(-self.most, self.most);
        }
        Time::from_micros(now.micros().saturating_add_signed(off))
    }

    /// How long a host waits for a moment of this clock.
    pub fn wait(&self, now: Time, moment: Time) -> Duration {
        moment.since(self.read(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_speeds_and_standing_still() {
        let at = Time::from_millis;
        assert_eq!(Clock::RIGHT.read(at(5_000)), at(5_000));
        let fast = Clock::wrong(at(1_000), 500_000, 100_000);
        assert_eq!(fast.read(at(1_000)), at(1_500));
        assert_eq!(fast.read(at(11_000)), at(12_500));
        let slow = Clock::wrong(at(1_000), -2_000_000, 0);
        assert_eq!(
            slow.read(at(1_500)),
            Time::ZERO,
            "time does not go below zero"
        );
        let frozen = Clock::frozen(at(7_000));
        assert_eq!(frozen.read(at(90_000)), at(7_000));
        let steered = fast.steered(Duration::from_secs(1));
        assert_eq!(steered.read(at(91_000)), at(92_000));
        let wait = frozen.wait(at(90_000), at(7_250));
        assert_eq!(wait, Duration::from_millis(250));
        assert_eq!(fast.wait(at(1_000), at(1_200)), Duration::ZERO, "long ago");
    }
}
