//! The question who of a shard holds which state, put to all members until f + 1 of them have
//! answered: one of those is correct and has what the newest record it applied has made. The newest
//! state among the answers is the one to take.
//!
//! Breaks if: an answer counts that is not checked, or an answer that nothing is held does not.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::{Committee, Gauge, MemberIndex, Time};

use crate::message::{Destination, Message, Outbound, Request};
use crate::ready::Ready;
use crate::snapshot::Manifest;

/// How often everybody is asked while too few have answered.
const SEEK_AGAIN: Duration = Duration::from_millis(500);

/// Members that are asked, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Seeking {
    ask_at: Time,
    answers: BTreeMap<MemberIndex, Option<Arc<Manifest>>>,
}

impl Seeking {
    /// Asks everybody at the next occasion: a connection was made.
    pub(crate) fn ask_now(&mut self) {
        self.ask_at = Time::ZERO;
    }

    /// A member holds this state, or none.
    pub(crate) fn on_answer(&mut self, member: MemberIndex, manifest: Option<Arc<Manifest>>) {
        self.answers.insert(member, manifest);
    }

    /// Have enough members of the committee answered?
    pub(crate) fn is_answered(&self, committee: &Committee) -> bool {
        let others = committee.size().saturating_sub(1);
        self.answers.len() >= committee.join_threshold().min(others)
    }

    /// The newest state that anybody holds.
    pub(crate) fn newest(&self) -> Option<Arc<Manifest>> {
        let held = self.answers.values().flatten();
        held.max_by_key(|manifest| manifest.number()).cloned()
    }

    /// The newest state that so many members hold, or have left behind for a newer one.
    pub(crate) fn held_by(&self, members: usize) -> Option<Arc<Manifest>> {
        let mut held: Vec<_> = self.answers.values().flatten().collect();
        held.sort_by_key(|manifest| core::cmp::Reverse(manifest.number()));
        held.get(members.checked_sub(1)?).copied().cloned()
    }

    /// How full it is.
    pub(crate) fn measure(&self, members: usize, gauge: &mut dyn Gauge) {
        gauge.note("states offered", self.answers.len(), members);
    }

    /// Asks everybody when it is time to, and returns when it is the next time.
    pub(crate) fn ask(&mut self, now: Time, ready: &mut Ready) -> Time {
        // A clock that was set back must not stretch the wait.
        if now >= self.ask_at || self.ask_at > now.after(SEEK_AGAIN) {
            self.ask_at = now.after(SEEK_AGAIN);
            ready.prompt.push(Outbound {
                to: Destination::Committee,
                message: Message::Request(Request::Manifest),
            });
        }
        self.ask_at
    }
}
