//! What only rises in a safety record, within a life and from one to the next, as long as it is not
//! lost and the epoch is the same.

use lockstep_types::View;

use crate::SafetyRecord;

const NAMES: [&str; 6] = [
    "last voted view",
    "last view given up",
    "lock",
    "high QC",
    "high TC",
    "floor",
];

/// How far a record is. Of one that was never written all are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([View; NAMES.len()]);

/// Something went back that only rises: there is a bug, and nothing may be signed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mark} went from {from} to {to}")]
pub struct Fallen {
    /// What went back.
    pub mark: &'static str,
    /// Where it was.
    pub from: View,
    /// Where it is now.
    pub to: View,
}

impl Marks {
    /// Those of a record.
    pub fn of(record: &SafetyRecord) -> Self {
        Marks([
            record.last_voted_view(),
            record.last_timed_out_view(),
            record.lock,
            record.high_qc.view,
            record.high_tc_view(),
            record.floor,
        ])
    }

    /// Goes on to the marks of the next record, if none is lower than before.
    ///
    /// # Errors
    /// The first that is.
    pub fn rise_to(&mut self, next: Marks) -> Result<(), Fallen> {
        if let Some(mark) = (0..NAMES.len()).find(|mark| next.0[*mark] < self.0[*mark]) {
            return Err(Fallen {
                mark: NAMES[mark],
                from: self.0[mark],
                to: next.0[mark],
            });
        }
        *self = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{BlockId, Epoch, Height, LogPosition, QuorumCertificate};

    use super::*;
    use crate::LogEnd;

    #[test]
    fn what_rises_may_stay_and_not_fall() {
        let end = LogEnd {
            position: LogPosition::START,
            height: Height::ZERO,
            block: BlockId::ZERO,
        };
        let root = QuorumCertificate::root(Epoch::ZERO, BlockId::ZERO);
        let mut record = SafetyRecord::fresh(Epoch::ZERO, root, end);
        let mut marks = Marks::default();
        for (lock, high_qc) in [(0, 0), (3, 4), (3, 5)] {
            record.lock = View::new(lock);
            record.high_qc.view = View::new(high_qc);
            assert_eq!(marks.rise_to(Marks::of(&record)), Ok(()));
        }
        record.lock = View::new(2);
        for _ in 0..2 {
            let fallen = marks.rise_to(Marks::of(&record)).unwrap_err();
            assert_eq!(fallen.to_string(), "lock went from v3 to v2");
        }
    }
}
