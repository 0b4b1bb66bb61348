//! The members that a state is fetched from: who is asked for what, and who is of no use for it. A
//! member that holds nothing, sends something false, or lets question after question go by is
//! counted for itself, and only for what it was asked.
//!
//! Breaks if: what one member says, or leaves unsaid, makes another count as being of no use.

use core::time::Duration;
use std::collections::BTreeMap;

use lockstep_types::{CommitteeId, Gauge, MemberIndex, Time};

use super::Task;
use crate::message::Peer;

/// How long a member may take for a part before another one is asked; more after each question in a
/// row that brought nothing from it, since its links may be slow. A late answer is as good as one in
/// time.
const ANSWER_TIME: Duration = Duration::from_millis(400);
const MAX_ANSWER_TIME: Duration = Duration::from_secs(4);

/// How long who sent something false is not asked, nor who is silent for too long.
const SET_ASIDE: Duration = Duration::from_secs(30);

/// How long who does not hold the state is not asked: it may hold it soon, when another was the first.
const LACKS_IT: Duration = Duration::from_millis(400);

/// Questions under way, to one member and in all. A part takes a server some milliseconds.
const MAX_ASKED_OF_ONE: usize = 2;
pub(super) const MAX_ASKED: usize = 8;

/// Questions in a row that brought nothing, after which a member is of no use.
const MAX_FAILURES: u32 = 8;

/// What a member of our shard has been good for since the state was chosen.
#[derive(Debug, Default)]
struct Standing {
    /// Questions for parts in a row that brought nothing.
    failures: u32,
    /// When it may be asked again.
    not_before: Time,
}

impl Standing {
    fn is_of_no_use(&self) -> bool {
        self.failures >= MAX_FAILURES
    }

    fn fail(&mut self, failures: u32) {
        self.failures = self.failures.saturating_add(failures).min(MAX_FAILURES);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sources {
    own: CommitteeId,
    /// Who is asked for what, and until when it has time.
    asked: BTreeMap<Task, (Peer, Time)>,
    standings: BTreeMap<MemberIndex, Standing>,
    /// Who sent something false, and until when it is not asked, for whatever state.
    set_aside: BTreeMap<MemberIndex, Time>,
}

impl Sources {
    /// Of a member of this committee.
    pub(super) fn new(own: CommitteeId) -> Self {
        Sources {
            own,
            asked: BTreeMap::new(),
            standings: BTreeMap::new(),
            set_aside: BTreeMap::new(),
        }
    }

    /// Another state was chosen. Who is false stays so.
    pub(super) fn begin(&mut self) {
        self.asked.clear();
        self.standings.clear();
    }

    /// Gives up on questions whose time is over, and on setting aside who was for long enough.
    pub(super) fn pass_over_the_slow(&mut self, now: Time) {
        // A clock that was set back must not stretch a wait.
        let (latest, longest) = (now.after(MAX_ANSWER_TIME), now.after(SET_ASIDE));
        self.set_aside
            .retain(|_, until| now < *until && *until <= longest);
        for standing in self.standings.values_mut() {
            standing.not_before = standing.not_before.min(longest);
        }
        let (own, standings) = (self.own, &mut self.standings);
        self.asked.retain(|task, (peer, deadline)| {
            let in_time = now < *deadline && *deadline <= latest;
            // Records are there for sure, at the beacon.
            if !in_time && peer.committee == own && matches!(task, Task::Part(_)) {
                let standing = standings.entry(peer.member).or_default();
                standing.fail(1);
                if standing.is_of_no_use() {
                    standing.not_before = longest;
                }
            }
            in_time
        });
    }

    /// Is nobody asked for it, and may somebody be?
    pub(super) fn is_idle(&self, task: &Task) -> bool {
        self.asked.len() < MAX_ASKED && !self.asked.contains_key(task)
    }

    /// May this one be asked for something?
    pub(super) fn may_ask(&self, now: Time, peer: &Peer) -> bool {
        let under_way = self.asked.values().filter(|(asked, _)| asked == peer);
        if under_way.count() >= MAX_ASKED_OF_ONE {
            return false;
        }
        let standing = self.standing(peer);
        let waits = standing.is_some_and(|standing| now < standing.not_before);
        !waits && !self.is_set_aside(peer)
    }

    /// It is being asked.
    pub(super) fn ask(&mut self, now: Time, peer: Peer, task: Task) {
        let failures = self.standing(&peer).map_or(0, |standing| standing.failures);
        let time = ANSWER_TIME.saturating_mul(failures.saturating_add(1));
        let deadline = now.after(time.min(MAX_ANSWER_TIME));
        self.asked.insert(task, (peer, deadline));
    }

    /// Was it asked, and has time still?
    pub(super) fn is_asked(&self, peer: &Peer, task: &Task) -> bool {
        self.asked.get(task).is_some_and(|(asked, _)| asked == peer)
    }

    /// Did it send something false lately?
    pub(super) fn is_set_aside(&self, peer: &Peer) -> bool {
        peer.committee == self.own && self.set_aside.contains_key(&peer.member)
    }

    /// What is done needs not be asked for.
    pub(super) fn on_done(&mut self, task: &Task) {
        self.asked.remove(task);
    }

    /// It gave what it was asked for, or could have been.
    pub(super) fn on_given(&mut self, peer: &Peer, task: &Task) {
        self.on_done(task);
        self.standings.remove(&peer.member);
    }

    /// Asked for this, it says that it does not hold the state.
    pub(super) fn on_lack(&mut self, now: Time, peer: &Peer, task: &Task) {
        self.asked.remove(task);
        let standing = self.standings.entry(peer.member).or_default();
        standing.fail(MAX_FAILURES);
        standing.not_before = now.after(LACKS_IT);
    }

    /// It sent something false, asked or not.
    pub(super) fn on_false(&mut self, now: Time, peer: &Peer) {
        self.asked.retain(|_, (asked, _)| asked != peer);
        let standing = self.standings.entry(peer.member).or_default();
        standing.fail(MAX_FAILURES);
        self.set_aside.insert(peer.member, now.after(SET_ASIDE));
    }

    /// Is none of these of any use?
    pub(super) fn are_of_no_use(&self, mut members: impl Iterator<Item = MemberIndex>) -> bool {
        members.all(|member| {
            let standing = self.standings.get(&member);
            standing.is_some_and(Standing::is_of_no_use)
        })
    }

    /// When somebody's time is over, or somebody may be asked again.
    pub(super) fn next_at(&self, now: Time) -> Option<Time> {
        let answers = self.asked.values().map(|(_, deadline)| *deadline);
        let asides = self.set_aside.values().copied();
        let again = self.standings.values().map(|standing| standing.not_before);
        answers
            .chain(asides)
            .chain(again)
            .filter(|at| *at > now)
            .min()
    }

    /// How full it is.
    pub(super) fn measure(&self, members: usize, gauge: &mut dyn Gauge) {
        gauge.note("questions", self.asked.len(), MAX_ASKED);
        gauge.note("peers of little use", self.standings.len(), members);
        gauge.note("peers set aside", self.set_aside.len(), members);
    }

    fn standing(&self, peer: &Peer) -> Option<&Standing> {
        let own = peer.committee == self.own;
        own.then(|| self.standings.get(&peer.member)).flatten()
    }
}
