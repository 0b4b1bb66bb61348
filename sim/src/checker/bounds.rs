//! Bounds (I14): what a correct member holds of what others say stays within its limits, whatever
//! they say. The limits are those of production; nobody here knows one.

use std::collections::BTreeMap;

use lockstep_shard::{Executor, Member, Peer};
use lockstep_types::{Gauge, Occupancy};

use super::Broken;

/// Limits are looked at after every so many steps of all members: what is over one stays over it.
const LOOK_EVERY: u64 = 16;

/// How full things are is noted after every so many.
const NOTE_EVERY: u64 = 2 * LOOK_EVERY;

/// Judges how full things are.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    steps: u64,
    /// The fullest that each thing was, at any member, as far as that was noted.
    fullest: BTreeMap<&'static str, Occupancy>,
    over: Option<Occupancy>,
}

impl Gauge for Bounds {
    fn note(&mut self, of: &'static str, held: usize, limit: usize) {
        let now = Occupancy { of, held, limit };
        if !now.is_within() {
            self.over = Some(now);
        }
        if self.steps.is_multiple_of(NOTE_EVERY) {
            let known = self.fullest.entry(of).or_insert(now);
            if known.held < held {
                *known = now;
            }
        }
    }
}

impl Bounds {
    /// A member, and what executes for it, have done a step.
    ///
    /// # Errors
    /// What is over its limit.
    pub fn check(
        &mut self,
        peer: &Peer,
        member: &Member,
        executor: Option<&Executor>,
    ) -> Result<(), Broken> {
        self.steps += 1;
        if !self.steps.is_multiple_of(LOOK_EVERY) {
            return Ok(());
        }
        member.measure(self);
        if let Some(executor) = executor {
            executor.measure(self);
        }
        self.judge(peer)
    }

    fn judge(&mut self, peer: &Peer) -> Result<(), Broken> {
        let Some(Occupancy { of, held, limit }) = self.over.take() else {
            return Ok(());
        };
        let detail = format!("{peer:?} holds {held} {of}, at most {limit} are allowed");
        Err(Broken::new("queues are bounded", detail))
    }

    /// How full things were, the fullest first.
    pub fn fullest(&self) -> Vec<Occupancy> {
        let mut fullest: Vec<_> = self.fullest.values().copied().collect();
        fullest.sort_by_key(|now| core::cmp::Reverse(now.held * 1_000 / now.limit.max(1)));
        fullest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::{CommitteeId, MemberIndex};

    #[test]
    fn what_is_over_its_limit_is_named_once() {
        let peer = Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(1),
        };
        let mut bounds = Bounds::default();
        bounds.note("votes", 16, 16);
        assert_eq!(bounds.judge(&peer), Ok(()));
        bounds.note("votes", 17, 16);
        bounds.note("proposals", 1, 64);
        let broken = bounds.judge(&peer).unwrap_err();
        assert!(broken.detail.contains("17 votes"), "{broken}");
        assert_eq!(bounds.judge(&peer), Ok(()));
        assert_eq!(
            bounds.fullest()[0].held,
            17,
            "noted, since there was no step yet"
        );
    }
}
