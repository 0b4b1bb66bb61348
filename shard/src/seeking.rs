//! The question who of a shard holds which state, put to all members. When f + 1 of them hold one,
//! one of those is correct, and the newest state among the answers is the one to take: correct members
//! hold it, or come to when they apply its record. That f + 1 hold none can not be seen from f + 1
//! answers, of which f may lie: it takes everybody's, or patience.
//!
//! Breaks if: an answer counts that is not checked, or the first few decide that nothing is held.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_types::{Committee, Gauge, MemberIndex, Time};

use crate::message::{Destination, Message, Outbound, Request};
use crate::ready::Ready;
use crate::snapshot::Manifest;

/// How often everybody is asked while too few have answered.
const SEEK_AGAIN: Duration = Duration::from_millis(500);

/// How long it takes until those who have not answered do not count. A state's manifest crosses the
/// slowest links in less.
const PATIENCE: Duration = Duration::from_secs(2);

/// Members that are asked, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Seeking {
    /// When everybody was first asked.
    since: Option<Time>,
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

    /// Is it decided that no more are held than the answers show? Everybody has answered, or f + 1
    /// have and the others have had time.
    pub(crate) fn is_over(&self, now: Time, committee: &Committee) -> bool {
        let others = committee.size().saturating_sub(1);
        let needed = match self.has_lasted(now, PATIENCE) {
            true => committee.join_threshold().min(others),
            false => others,
        };
        self.answers.len() >= needed
    }

    /// Was everybody first asked so long ago?
    pub(crate) fn has_lasted(&self, now: Time, span: Duration) -> bool {
        self.since.is_some_and(|since| now.since(since) >= span)
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
        // A clock that was set back must not stretch a wait.
        self.since = Some(self.since.map_or(now, |since| since.min(now)));
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
