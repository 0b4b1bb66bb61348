//! Windows: when a window ends, which block is its seal, what a record does to the numbering.
//!
//! All of it is a function of the chain: [`Window::after`] takes the state at a block's parent and
//! the block's time and record, and gives the state at the block. Nobody chooses a seal.
//!
//! ```text
//! depth 0    ── window k ──┤seal k│ no payload │record k│── window k+1 ──┤seal k+1│ ...
//!            opened ───W──▶ end                 opened ───W──▶ end
//!
//! depth 1    ── window k ──┤seal k│── window k+1 ──record k──┤seal k+1│ ...   never stops
//! ```

use core::time::Duration;

use lockstep_types::{RecordHash, Time, WindowNumber};
use parity_scale_codec::{Decode, Encode};

/// The constants of a chain's windows, from genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRules {
    /// W, the length of a window.
    pub interval: Duration,
    /// d, how many barriers may be outstanding when a window is sealed.
    pub depth: u8,
}

/// What a record means for the windows of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedRecord {
    /// The record's number.
    pub number: WindowNumber,
    /// Its hash.
    pub hash: RecordHash,
    /// Its base time: what window ends are counted from at depth ≥ 1.
    pub base: Time,
}

/// The window state at one block of a shard's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    /// The window that is open, or sealed and waiting for its record (depth 0 only).
    pub number: WindowNumber,
    /// Sealed and waiting: blocks may carry no payload until a record is applied.
    pub sealed: bool,
    /// When this window opened.
    pub opened: Time,
    /// When the window before it opened: batches of that window may still be listed.
    pub previous_opened: Time,
    /// From when on a block is the seal.
    pub end: Time,
    /// The newest record applied.
    pub record: WindowNumber,
    /// Its hash.
    pub record_hash: RecordHash,
    /// Its base time.
    pub base: Time,
}

impl Window {
    /// The first window of a chain. Record 0 is genesis, and its base is the genesis time.
    pub fn first(rules: &WindowRules, genesis: Time, record_hash: RecordHash) -> Self {
        Window {
            number: WindowNumber::new(1),
            sealed: false,
            opened: genesis,
            previous_opened: genesis,
            end: genesis.after(rules.interval),
            record: WindowNumber::ZERO,
            record_hash,
            base: genesis,
        }
    }

    /// Would a block at `time` that names no record seal the open window? Only when its end has
    /// come and the records it depends on are applied; until then the window just grows.
    pub fn seals_at(&self, rules: &WindowRules, time: Time) -> bool {
        let needed = self
            .number
            .get()
            .saturating_sub(u64::from(rules.depth).max(1));
        !self.sealed && time >= self.end && self.record.get() >= needed
    }

    /// The state after a block at `time` that names `record`, and the number of the window it
    /// seals, if it does.
    pub fn after(
        &self,
        rules: &WindowRules,
        time: Time,
        record: Option<AppliedRecord>,
    ) -> (Window, Option<WindowNumber>) {
        if let Some(record) = record {
            // A block that names a record is never a seal.
            return (self.applying(rules, time, record), None);
        }
        if !self.seals_at(rules, time) {
            return (*self, None);
        }
        let after = if rules.depth == 0 {
            Window {
                sealed: true,
                ..*self
            }
        } else {
            self.opening(rules, self.number.next(), time)
        };
        (after, Some(self.number))
    }

    fn applying(&self, rules: &WindowRules, time: Time, record: AppliedRecord) -> Window {
        assert!(
            record.number.follows(self.record) || lockstep_types::planted!(SkipRecord),
            "records are applied in order"
        );
        let recorded = Window {
            record: record.number,
            record_hash: record.hash,
            base: record.base,
            ..*self
        };
        // At depth 0 every record opens a window. A window still open when a record of its number
        // or a later one comes was marked absent: it is renumbered and goes on, so no number is
        // sealed twice.
        if rules.depth == 0 || self.number <= record.number {
            recorded.opening(rules, record.number.next(), time)
        } else {
            Window {
                end: recorded.end_of(rules, self.number, self.opened),
                ..recorded
            }
        }
    }

    fn opening(&self, rules: &WindowRules, number: WindowNumber, time: Time) -> Window {
        Window {
            number,
            sealed: false,
            opened: time,
            previous_opened: self.opened,
            end: self.end_of(rules, number, time),
            ..*self
        }
    }

    /// When window `number` ends: W after it opened at depth 0; counted from the newest record's
    /// base at depth ≥ 1, so that all shards mean the same moment.
    fn end_of(&self, rules: &WindowRules, number: WindowNumber, opened: Time) -> Time {
        if rules.depth == 0 {
            return opened.after(rules.interval);
        }
        let windows = u32::try_from(number.since(self.record)).unwrap_or(u32::MAX);
        self.base.after(rules.interval.saturating_mul(windows))
    }
}

/// The base time of a record: W after the last one, or later when the beacon was late; at depth d
/// the shards are d windows ahead.
pub fn record_base(rules: &WindowRules, previous: Time, beacon_block: Time) -> Time {
    let ahead = rules.interval.saturating_mul(u32::from(rules.depth));
    let late = Time::from_micros(
        beacon_block
            .micros()
            .saturating_sub(u64::try_from(ahead.as_micros()).unwrap_or(u64::MAX)),
    );
    previous.after(rules.interval).max(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn record(number: u64, base: u64) -> Option<AppliedRecord> {
        Some(AppliedRecord {
            number: WindowNumber::new(number),
            hash: RecordHash::ZERO,
            base: at(base),
        })
    }

    fn first(depth: u8) -> (WindowRules, Window) {
        let rules = WindowRules { interval: W, depth };
        (rules, Window::first(&rules, Time::ZERO, RecordHash::ZERO))
    }

    #[test]
    fn depth_0_stops_between_seal_and_record() {
        let (rules, window) = first(0);
        assert_eq!(window.after(&rules, at(99), None), (window, None));
        let (sealed, seal) = window.after(&rules, at(101), None);
        assert_eq!(seal, Some(WindowNumber::new(1)));
        assert!(sealed.sealed);
        assert_eq!(
            sealed.after(&rules, at(400), None),
            (sealed, None),
            "nothing seals it twice"
        );
        let (open, seal) = sealed.after(&rules, at(130), record(1, 120));
        assert_eq!(seal, None);
        assert_eq!((open.number, open.sealed), (WindowNumber::new(2), false));
        assert_eq!(
            (open.opened, open.end),
            (at(130), at(230)),
            "W counts from the naming block"
        );
    }

    #[test]
    fn a_block_that_names_a_record_is_never_a_seal() {
        let (rules, window) = first(0);
        let (after, seal) = window.after(&rules, at(500), record(1, 450));
        assert_eq!(seal, None);
        assert_eq!(
            after.number,
            WindowNumber::new(2),
            "the absent window is renumbered"
        );
    }

    #[test]
    fn depth_1_goes_on_and_waits_only_for_the_record_before() {
        let (rules, window) = first(1);
        let (second, seal) = window.after(&rules, at(100), None);
        assert_eq!(seal, Some(WindowNumber::new(1)));
        assert_eq!(
            (second.number, second.sealed, second.end),
            (WindowNumber::new(2), false, at(200))
        );
        assert_eq!(
            second.after(&rules, at(250), None).1,
            None,
            "record 1 is not applied: it grows"
        );
        let (applied, _) = second.after(&rules, at(260), record(1, 160));
        assert_eq!(applied.number, WindowNumber::new(2));
        assert_eq!(applied.end, at(260), "base(1) + (2 - 1) W");
        assert_eq!(
            applied.after(&rules, at(260), None).1,
            Some(WindowNumber::new(2))
        );
    }

    #[test]
    fn the_base_moves_on_by_w_or_with_the_late_beacon() {
        let (rules, _) = first(1);
        assert_eq!(record_base(&rules, at(100), at(250)), at(200));
        assert_eq!(record_base(&rules, at(100), at(900)), at(800));
    }
}
