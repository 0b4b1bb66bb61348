//! Which members run on an old copy of their disk that nobody can know to be old. The answers at a
//! start (R34) show what others have seen since their own start; when one of them has started
//! since the copy was made, what the member signed in between may be forgotten. Should it then sign
//! twice, it counts as faulty from there on. So does one in whose safety file bits have flipped.
//! Nobody else is excused.

use std::collections::BTreeSet;

use lockstep_shard::Peer;

/// Copies that were kept, and put back.
#[derive(Debug, Default)]
pub(super) struct OldCopies {
    kept: BTreeSet<Peer>,
    /// Another member of the committee has started since a copy was kept.
    forgotten: BTreeSet<Peer>,
    restored: BTreeSet<Peer>,
}

impl OldCopies {
    pub(super) fn on_kept(&mut self, peer: &Peer) {
        self.kept.insert(*peer);
    }

    pub(super) fn on_restored(&mut self, peer: &Peer) {
        self.restored.insert(*peer);
    }

    /// A record is lost that others may have forgotten long before.
    pub(super) fn on_flipped(&mut self, peer: &Peer) {
        self.forgotten.insert(*peer);
        self.restored.insert(*peer);
    }

    /// Somebody starts, and has forgotten what others said.
    pub(super) fn on_start(&mut self, starts: &Peer) {
        let others = |peer: &&Peer| peer.committee == starts.committee && *peer != starts;
        let others = self.kept.iter().filter(others);
        self.forgotten.extend(others.copied());
    }

    /// May this member repeat itself without anybody's knowing better?
    pub(super) fn may_sign_twice(&self, peer: &Peer) -> bool {
        self.restored.contains(peer) && self.forgotten.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{CommitteeId, MemberIndex};

    use super::*;

    fn member(index: u8) -> Peer {
        Peer {
            committee: CommitteeId::Beacon,
            member: MemberIndex::new(index),
        }
    }

    #[test]
    fn only_an_old_copy_among_members_that_forgot_may_sign_twice() {
        let mut copies = OldCopies::default();
        copies.on_start(&member(1));
        copies.on_kept(&member(0));
        copies.on_restored(&member(0));
        assert!(!copies.may_sign_twice(&member(0)), "all others remember");
        copies.on_start(&member(0));
        assert!(!copies.may_sign_twice(&member(0)), "its own start");
        copies.on_start(&member(1));
        assert!(copies.may_sign_twice(&member(0)));
        assert!(!copies.may_sign_twice(&member(1)));
    }
}
