//! A committee: who may sign, and how many make a quorum.

use core::fmt;

use parity_scale_codec::{Decode, Encode, MaxEncodedLen};

use crate::{MemberIndex, PublicKey};

/// Largest committee. Votes go from every member to every member, which stops being sensible well
/// before this; the number is the width of [`Signers`].
pub const MAX_MEMBERS: usize = 64;

/// The members of one epoch, in the order certificates refer to.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub struct Committee {
    members: Vec<PublicKey>,
}

impl Committee {
    /// Makes a committee of distinct members.
    ///
    /// # Errors
    /// When it is empty, too large, or names a key twice.
    pub fn new(members: Vec<PublicKey>) -> Result<Self, CommitteeError> {
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(CommitteeError::Size {
                members: members.len(),
            });
        }
        for (index, key) in members.iter().enumerate() {
            if members[..index].contains(key) {
                return Err(CommitteeError::Duplicate { key: *key });
            }
        }
        Ok(Committee { members })
    }

    /// n, the number of members.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// f, how many members may be faulty: the largest f with 3f + 1 ≤ n.
    pub fn max_faulty(&self) -> usize {
        (self.members.len() - 1) / 3
    }

    /// q = n − f. Two sets of q members share at least n − 2f ≥ f + 1 of them, so one correct
    /// member; "2f + 1" does not give that when n ≠ 3f + 1.
    pub fn quorum(&self) -> usize {
        if crate::planted!(TwoFPlusOne) {
            return 2 * self.max_faulty() + 1;
        }
        self.members.len() - self.max_faulty()
    }

    /// f + 1: at least one of so many is correct.
    pub fn join_threshold(&self) -> usize {
        self.max_faulty() + 1
    }

    /// The key of a member, if there is one at that position.
    pub fn key(&self, member: MemberIndex) -> Option<&PublicKey> {
        self.members.get(member.get())
    }

    /// The position of a key.
    pub fn index_of(&self, key: &PublicKey) -> Option<MemberIndex> {
        self.members
            .iter()
            .position(|member| member == key)
            .map(index)
    }

    /// All positions, in order.
    pub fn indices(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..self.members.len()).map(index)
    }

    /// The member whose turn it is for the `turn`-th time: turn mod n.
    pub fn by_turn(&self, turn: u64) -> MemberIndex {
        let size = u64::try_from(self.members.len()).expect("at most 64 members");
        index(usize::try_from(turn % size).expect("less than 64"))
    }
}

fn index(position: usize) -> MemberIndex {
    MemberIndex::new(u8::try_from(position).expect("at most 64 members"))
}

/// Why a list of keys is not a committee.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// No members, or more than [`MAX_MEMBERS`].
    #[error("a committee has 1 to {MAX_MEMBERS} members, not {members}")]
    Size {
        /// How many were given.
        members: usize,
    },
    /// One key twice.
    #[error("the key {key} stands in the committee twice")]
    Duplicate {
        /// The key.
        key: PublicKey,
    },
}

/// The set of members that signed: one bit each, so nobody can be counted twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, MaxEncodedLen)]
pub struct Signers(u64);

impl Signers {
    /// Nobody.
    pub const NONE: Signers = Signers(0);

    /// Adds a member; false when it was there already.
    pub fn insert(&mut self, member: MemberIndex) -> bool {
        let added = !self.contains(member);
        self.0 |= 1 << member.get();
        added
    }

    /// Is the member in the set?
    pub fn contains(self, member: MemberIndex) -> bool {
        self.0 & (1 << member.get()) != 0
    }

    /// How many members.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = MemberIndex> {
        (0..MAX_MEMBERS)
            .map(index)
            .filter(move |member| self.contains(*member))
    }

    /// Does the set name only members of `committee`?
    pub fn is_within(self, committee: &Committee) -> bool {
        self.0
            .checked_shr(u32::try_from(committee.size()).expect("at most 64"))
            .unwrap_or(0)
            == 0
    }
}

impl FromIterator<MemberIndex> for Signers {
    fn from_iter<I: IntoIterator<Item = MemberIndex>>(members: I) -> Self {
        let mut signers = Signers::NONE;
        for member in members {
            signers.insert(member);
        }
        signers
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(MemberIndex::get))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committee(size: u8) -> Committee {
        Committee::new((0..size).map(|i| PublicKey::new([i; 33])).collect()).unwrap()
    }

    #[test]
    fn two_quorums_always_share_a_correct_member() {
        for size in 1..=MAX_MEMBERS as u8 {
            let c = committee(size);
            let (n, f, q) = (c.size(), c.max_faulty(), c.quorum());
            assert!(
                3 * f < n && n <= 3 * f + 3,
                "f is the largest with 3f + 1 <= n, n = {n}"
            );
            assert!(
                2 * q - n > f,
                "quorum intersection holds a correct member, n = {n}"
            );
            assert!(
                q <= n - f,
                "the correct members alone reach a quorum, n = {n}"
            );
        }
        assert_eq!(
            committee(6).quorum(),
            5,
            "2f + 1 would be 3, and two such sets need not meet"
        );
    }

    #[test]
    fn refuses_duplicates_and_empty() {
        let key = PublicKey::new([2; 33]);
        assert_eq!(
            Committee::new(vec![key, key]),
            Err(CommitteeError::Duplicate { key })
        );
        assert_eq!(
            Committee::new(vec![]),
            Err(CommitteeError::Size { members: 0 })
        );
    }

    #[test]
    fn signers_outside_the_committee_are_seen() {
        let four = committee(4);
        let mut signers: Signers = four.indices().collect();
        assert!(signers.is_within(&four));
        assert!(
            !signers.insert(MemberIndex::new(3)),
            "a repeat does not count"
        );
        assert_eq!(signers.count(), 4);
        signers.insert(MemberIndex::new(4));
        assert!(!signers.is_within(&four));
        assert!(signers.is_within(&committee(64)));
    }
}
