//! How each peer behaves: what of its messages was wrong, and whether it is listened to at all.
//!
//! A correct member never sends what is malformed or badly signed, and passes on only what it has
//! checked. So each such message costs its sender a point; points wear off. Who has too many is not
//! listened to for a moment, in the class it misbehaved in: its messages are dropped before they are
//! decoded. That bounds the checks a liar can make us do, and cannot touch anybody correct. Messages
//! that are right but of no use are counted only, since a slow network makes those of everybody.
//!
//! Breaks if: a message costs points for a reason that depends on what we know and the sender does
//! not ([`Blame::Nobody`](lockstep_types::Blame)).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lockstep_shard::Peer;

use crate::network::Class;

/// Points at which a peer is not listened to. A member with another build of the software may send
/// something we cannot read now and then; a flood gets here at once.
const MAX_POINTS: u32 = 64;
/// One point wears off in this time.
const POINT_LASTS: Duration = Duration::from_millis(100);
/// How long a class of a peer is not listened to. Afterwards half of its points are left, so that
/// one that goes on has 32 messages checked every second.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of all peers. The list never grows.
#[derive(Debug)]
pub(crate) struct Conduct(BTreeMap<Peer, Mutex<Sheet>>);

/// One peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    classes: [Points; 3],
    /// Malformed or badly signed messages.
    pub(crate) rejected: u64,
    /// Checked messages of no use.
    pub(crate) refused: u64,
    /// Votes for views so far ahead that they are not kept.
    pub(crate) ahead: u64,
    /// Messages dropped unread.
    pub(crate) unread: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Points {
    points: u32,
    /// When `points` was right.
    at: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Points {
    fn now(&self, now: Instant) -> u32 {
        let since = self.at.map(|at| now.saturating_duration_since(at));
        let worn = since.unwrap_or_default().as_millis() / POINT_LASTS.as_millis();
        let worn = u32::try_from(worn).unwrap_or(u32::MAX);
        self.points.saturating_sub(worn)
    }

    /// One more; true if the peer is not listened to from now on.
    fn add(&mut self, now: Instant) -> bool {
        let points = self.now(now) + 1;
        let too_many = points >= MAX_POINTS;
        self.points = if too_many { MAX_POINTS / 2 } else { points };
        // Points wear off one by one: what is left of the last one's time is forgotten.
        self.at = Some(now);
        if too_many {
            self.at = Some(now + PAUSE);
            self.paused_until = Some(now + PAUSE);
        }
        too_many
    }
}

impl Sheet {
    /// The points of all classes, at most 189; 0 is what every correct member has.
    pub(crate) fn score(&self, now: Instant) -> u32 {
        self.classes.iter().map(|class| class.now(now)).sum()
    }
}

impl Conduct {
    /// Everybody with a clean sheet.
    pub(crate) fn of(peers: impl Iterator<Item = Peer>) -> Self {
        Conduct(peers.map(|peer| (peer, Mutex::default())).collect())
    }

    fn sheet(&self, peer: &Peer) -> Option<MutexGuard<'_, Sheet>> {
        let sheet = self.0.get(peer)?;
        Some(sheet.lock().expect("no holder of this lock panics"))
    }

    /// Is a message to be read? If not, it is counted.
    pub(crate) fn may_speak(&self, peer: &Peer, class: Class, now: Instant) -> bool {
        let Some(mut sheet) = self.sheet(peer) else {
            return false;
        };
        let until = sheet.classes[class.index()].paused_until;
        let heard = until.is_none_or(|until| until <= now);
        sheet.unread += u64::from(!heard);
        heard
    }

    /// A message was wrong by its sender's fault.
    pub(crate) fn rejected(&self, peer: &Peer, class: Class, now: Instant) {
        let Some(mut sheet) = self.sheet(peer) else {
            return;
        };
        sheet.rejected += 1;
        // Several threads check messages of one peer; those under way are no new offence.
        let points = &mut sheet.classes[class.index()];
        if points.paused_until.is_none_or(|until| until <= now) && points.add(now) {
            let Peer { committee, member } = peer;
            tracing::warn!(%committee, %member, class = class.name(), "not listened to for a while");
        }
    }

    /// A message was right and of no use.
    pub(crate) fn refused(&self, peer: &Peer) {
        if let Some(mut sheet) = self.sheet(peer) {
            sheet.refused += 1;
        }
    }

    /// A vote was for a view far ahead. No offence: a member that is behind sees those of everybody.
    pub(crate) fn ahead(&self, peer: &Peer) {
        if let Some(mut sheet) = self.sheet(peer) {
            sheet.ahead += 1;
        }
    }

    /// All sheets as they are now.
    pub(crate) fn sheets(&self) -> Vec<(Peer, Sheet)> {
        let peers = self.0.keys();
        peers
            .filter_map(|peer| Some((*peer, *self.sheet(peer)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{CommitteeId, MemberIndex};

    use super::*;

    fn peer(member: u8) -> Peer {
        Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(member),
        }
    }

    #[test]
    fn a_flood_is_not_listened_to_and_costs_a_bounded_number_of_checks() {
        let conduct = Conduct::of([0, 1].map(peer).into_iter());
        let start = Instant::now();
        let mut checked = 0;
        // A thousand wrong messages a second for ten seconds.
        for step in 0..10_000 {
            let now = start + Duration::from_millis(step);
            if conduct.may_speak(&peer(0), Class::Data, now) {
                conduct.rejected(&peer(0), Class::Data, now);
                checked += 1;
            }
            assert!(conduct.may_speak(&peer(0), Class::Consensus, now));
            assert!(conduct.may_speak(&peer(1), Class::Data, now));
        }
        assert!((100..=64 + 10 * 40).contains(&checked), "{checked}");
        let (_, sheet) = conduct.sheets()[0];
        assert_eq!((sheet.rejected, sheet.unread), (checked, 10_000 - checked));
        let end = start + Duration::from_secs(10);
        assert!((1..MAX_POINTS).contains(&sheet.score(end)));
        // It is forgiven in the end.
        assert_eq!(sheet.score(end + Duration::from_secs(8)), 0);
        assert_eq!(conduct.sheets()[1].1, Sheet::default());
    }

    #[test]
    fn a_wrong_message_now_and_then_and_useless_ones_always_are_put_up_with() {
        let conduct = Conduct::of([peer(0)].into_iter());
        let start = Instant::now();
        for step in 0..1_000 {
            let now = start + step * 2 * POINT_LASTS;
            conduct.rejected(&peer(0), Class::Consensus, now);
            (0..100).for_each(|_| conduct.refused(&peer(0)));
            assert!(conduct.may_speak(&peer(0), Class::Consensus, now));
        }
        assert_eq!(conduct.sheets()[0].1.refused, 100_000);
        assert!(
            !conduct.may_speak(&peer(1), Class::Consensus, start),
            "a stranger"
        );
    }
}
