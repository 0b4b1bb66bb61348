//! When a shard's member stops replaying blocks and fetches a state instead. What counts is a record
//! with its commit proof: the checkpoint in it carries a quorum of the shard, so its height is the
//! committee's and nobody's claim.
//!
//! ```text
//! a record shows a state more than `max_replay` blocks above what is executed here
//!    └─▶ everybody is asked for the newest; block sync, votes and all else go on meanwhile
//!         ├─ f + 1 hold one far ahead: the choice is written, nothing more is signed or begun
//!         │    └─ all is synced and executed ─▶ a new start, which fetches it
//!         └─ all have answered, or had two seconds, and f + 1 do not: blocks go on being replayed,
//!            until the next record
//! ```
//!
//! Breaks if: the member goes on signing or executing after it has chosen, or a choice is made for
//! a state that it would reach soon by itself.

use std::sync::Arc;

use lockstep_types::{Committee, Gauge, Height, MemberIndex, ShardId, Time};

use crate::CertifiedRecord;
use crate::ready::Ready;
use crate::seeking::Seeking;
use crate::snapshot::Manifest;

#[derive(Debug)]
enum Phase {
    Following,
    Seeking(Seeking),
    /// The choice is being written.
    Chosen,
    /// The choice is on disk.
    Left,
}

/// How far behind a member is, and what it does about it.
#[derive(Debug)]
pub(crate) struct Lag {
    max_replay: u64,
    /// The newest sealed height in a record.
    certified: Height,
    phase: Phase,
}

impl Lag {
    /// Of a member that replays so many blocks at most.
    pub(crate) fn new(max_replay: u64) -> Self {
        Lag {
            max_replay,
            certified: Height::ZERO,
            phase: Phase::Following,
        }
    }

    /// A record came, whatever its number. What counts is execution: blocks come by the dozen, and
    /// their batches take most of the time.
    pub(crate) fn on_record(&mut self, shard: ShardId, record: &CertifiedRecord, executed: Height) {
        let entry = record.record.entry(shard);
        let Some(checkpoint) = entry.and_then(|entry| entry.checkpoint()) else {
            return;
        };
        self.certified = self.certified.max(checkpoint.checkpoint.seal.height);
        if matches!(self.phase, Phase::Following)
            && blocks_ahead(self.certified, executed) > self.max_replay
        {
            self.phase = Phase::Seeking(Seeking::default());
        }
    }

    /// A member of the shard holds this state, or none.
    pub(crate) fn on_answer(&mut self, member: MemberIndex, manifest: Option<Arc<Manifest>>) {
        if let Phase::Seeking(seeking) = &mut self.phase {
            seeking.on_answer(member, manifest);
        }
    }

    /// Asks for a state while one is wanted. Returns the one to leave for.
    pub(crate) fn seek(
        &mut self,
        now: Time,
        committee: &Committee,
        executed: Height,
        ready: &mut Ready,
    ) -> Option<Arc<Manifest>> {
        let Phase::Seeking(seeking) = &mut self.phase else {
            return None;
        };
        let worthwhile = |height| blocks_ahead(height, executed) > self.max_replay / 2;
        // One of f + 1 is correct: there is one worthwhile when ours is given up. Who holds an older
        // one than the newest may drop it at any time.
        let held = seeking.held_by(committee.join_threshold());
        let is_held = held.is_some_and(|state| worthwhile(state.link.block.header().height));
        let chosen = seeking.newest().filter(|_| is_held);
        if chosen.is_none() && worthwhile(self.certified) && !seeking.is_over(now, committee) {
            let again = seeking.ask(now, ready);
            ready.wake_at = Some(ready.wake_at.map_or(again, |set| set.min(again)));
            return None;
        }
        self.phase = match chosen {
            Some(_) => Phase::Chosen,
            None => Phase::Following,
        };
        chosen
    }

    /// How full it is.
    pub(crate) fn measure(&self, members: usize, gauge: &mut dyn Gauge) {
        if let Phase::Seeking(seeking) = &self.phase {
            seeking.measure(members, gauge);
        }
    }

    /// Has it chosen a state, so that its own is of no use any more?
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Chosen | Phase::Left)
    }

    /// The choice is on disk, and everything before it.
    pub(crate) fn on_choice_synced(&mut self) {
        self.phase = Phase::Left;
    }

    /// Is the choice on disk?
    pub(crate) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left)
    }
}

fn blocks_ahead(height: Height, executed: Height) -> u64 {
    height.get().saturating_sub(executed.get())
}
