//! Numbers that must not be mixed up: each is a type of its own, and arithmetic stays inside.

use core::fmt;

use parity_scale_codec::{Decode, Encode, MaxEncodedLen};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
            MaxEncodedLen,
        )]
        pub struct $name(u64);

        impl $name {
            /// The first one; genesis stands here.
            pub const ZERO: $name = $name(0);

            /// Wraps a plain number that came from a file, a test or a message.
            pub const fn new(number: u64) -> Self {
                $name(number)
            }

            /// The plain number, for printing and for keys.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            pub fn next(self) -> Self {
                $name(self.0.checked_add(1).expect("a counter of 2^64 never runs out"))
            }

            /// The one before this, if there is one.
            pub fn previous(self) -> Option<Self> {
                self.0.checked_sub(1).map($name)
            }

            /// This is the direct successor of `earlier`.
            pub fn follows(self, earlier: Self) -> bool {
                earlier.0.checked_add(1) == Some(self.0)
            }

            /// `self + distance`, stopping at the largest number.
            pub fn plus(self, distance: u64) -> Self {
                $name(self.0.saturating_add(distance))
            }

            /// `self - earlier`, or 0 when `earlier` is not earlier.
            pub fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// Views under one committee. The epoch changes when the committee does.
    Epoch, "e"
);
number!(
    /// One attempt with one leader. View 0 belongs to the block an epoch starts from.
    View, "v"
);
number!(
    /// Position in a committee's committed chain. Height 0 is genesis.
    Height, "h"
);
number!(
    /// Number of a window, of the seal that ends it and of the barrier record that answers it.
    WindowNumber, "#"
);

/// Position of a member in its committee's list. Certificates name members by it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen,
)]
pub struct MemberIndex(u8);

impl MemberIndex {
    /// Wraps a plain position.
    pub const fn new(index: u8) -> Self {
        MemberIndex(index)
    }

    /// The position as an index into the member list.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

/// Number of a shard, from 0.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen,
)]
pub struct ShardId(u16);

impl ShardId {
    /// Wraps a plain shard number.
    pub const fn new(shard: u16) -> Self {
        ShardId(shard)
    }

    /// The plain shard number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// Which committee: the beacon or one shard's.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen,
)]
pub enum CommitteeId {
    /// The committee that orders barrier records.
    #[codec(index = 0)]
    Beacon,
    /// The committee of one shard.
    #[codec(index = 1)]
    Shard(ShardId),
}

impl CommitteeId {
    /// The shard, if this is a shard's committee.
    pub fn shard(self) -> Option<ShardId> {
        match self {
            CommitteeId::Beacon => None,
            CommitteeId::Shard(shard) => Some(shard),
        }
    }
}

impl fmt::Display for CommitteeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitteeId::Beacon => f.write_str("beacon"),
            CommitteeId::Shard(shard) => shard.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_direct_successor_follows() {
        let view = View::new(7);
        assert!(view.next().follows(view));
        assert!(!view.follows(view));
        assert!(!view.plus(2).follows(view));
        assert!(!View::ZERO.follows(View::new(u64::MAX)));
    }

    #[test]
    fn distances_stop_at_zero() {
        assert_eq!(Height::new(3).since(Height::new(5)), 0);
        assert_eq!(Height::new(5).since(Height::new(3)), 2);
        assert_eq!(Height::ZERO.previous(), None);
    }
}
