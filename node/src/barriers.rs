//! The phases of recent barriers, as this node saw them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lockstep_client::rpc::{BarrierPhases, MAX_BARRIERS};
use lockstep_shard::{BarrierRecord, Phase, PhaseStamp, ShardEntry};
use lockstep_types::{Time, WindowNumber};

/// The newest [`MAX_BARRIERS`] barriers.
#[derive(Debug, Default)]
pub(crate) struct Barriers(Mutex<BTreeMap<u64, BarrierPhases>>);

impl Barriers {
    fn change(&self, number: WindowNumber, change: impl FnOnce(&mut BarrierPhases)) {
        let mut barriers = self.0.lock().expect("no holder of this lock panics");
        let number = number.get();
        let phases = barriers.entry(number).or_insert_with(|| BarrierPhases {
            number,
            ..BarrierPhases::default()
        });
        change(phases);
        while barriers.len() > MAX_BARRIERS {
            barriers.pop_first();
        }
    }

    /// Notes a phase; the first time counts.
    pub(crate) fn stamp(&self, stamp: PhaseStamp) {
        self.change(stamp.barrier, |phases| {
            let place = match stamp.phase {
                Phase::Sealed => &mut phases.sealed_us,
                Phase::Signed => &mut phases.signed_us,
                Phase::FirstCertified => &mut phases.first_us,
                Phase::AllCertified => &mut phases.collected_us,
                Phase::Recorded => &mut phases.ordered_us,
                Phase::Received => &mut phases.released_us,
                Phase::Applied => &mut phases.applied_us,
            };
            place.get_or_insert(stamp.at.micros());
        });
    }

    /// Notes when a window was to end.
    pub(crate) fn due(&self, number: WindowNumber, due: Time) {
        self.change(number, |phases| phases.due_us = Some(due.micros()));
    }

    /// Notes that work goes on after a record.
    pub(crate) fn resumed(&self, number: WindowNumber, at: Time) {
        self.change(number, |phases| {
            phases.resumed_us.get_or_insert(at.micros());
        });
    }

    /// Notes whom a record declares absent.
    pub(crate) fn recorded(&self, record: &BarrierRecord) {
        let absent = record.shards.iter().zip(0u16..);
        let absent = absent.filter(|(entry, _)| matches!(entry, ShardEntry::Absent));
        let absent: Vec<u16> = absent.map(|(_, shard)| shard).collect();
        self.change(record.number, |phases| phases.absent = absent);
    }

    /// From a number on, ascending.
    pub(crate) fn from(&self, number: WindowNumber) -> Vec<BarrierPhases> {
        let barriers = self.0.lock().expect("no holder of this lock panics");
        barriers
            .range(number.get()..)
            .map(|(_, phases)| phases.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stamp_counts_and_old_barriers_go() {
        let barriers = Barriers::default();
        let stamp = |barrier: u64, at: u64| PhaseStamp {
            barrier: WindowNumber::new(barrier),
            phase: Phase::Sealed,
            at: Time::from_micros(at),
        };
        barriers.stamp(stamp(1, 5));
        barriers.stamp(stamp(1, 9));
        assert_eq!(barriers.from(WindowNumber::ZERO)[0].sealed_us, Some(5));
        for number in 2..=2 * MAX_BARRIERS as u64 {
            barriers.stamp(stamp(number, number));
        }
        let all = barriers.from(WindowNumber::ZERO);
        assert_eq!(all.len(), MAX_BARRIERS);
        assert_eq!(all[0].number, MAX_BARRIERS as u64 + 1);
    }
}
