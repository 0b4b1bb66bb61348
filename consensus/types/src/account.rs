//! Accounts and assets: who holds value, and of what kind.

use core::fmt;

use parity_scale_codec::{CompactAs, Decode, Encode, MaxEncodedLen};

use crate::{PublicKey, ShardId, hash};

/// An account: the first 20 bytes of a hash of its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen)]
pub struct AccountId([u8; 20]);

impl AccountId {
    /// Wraps 20 bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        AccountId(bytes)
    }

    /// The account of a key.
    pub fn of(key: &PublicKey) -> Self {
        let digest = hash("lockstep/account", key);
        AccountId(digest.as_bytes()[..20].try_into().expect("20 of 32 bytes"))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The shard that holds this account, of `shards` shards: the first eight bytes, big-endian,
    /// modulo the number of shards.
    ///
    /// # Panics
    /// When `shards` is 0, which genesis refuses.
    pub fn shard(&self, shards: u16) -> ShardId {
        let prefix = u64::from_be_bytes(self.0[..8].try_into().expect("8 of 20 bytes"));
        let shard = prefix % u64::from(shards);
        ShardId::new(u16::try_from(shard).expect("less than the number of shards"))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// A kind of value. 0 is the native one, `lck`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    CompactAs,
    MaxEncodedLen,
)]
pub struct AssetId(u32);

impl AssetId {
    /// `lck`; 1 lck is 10^9 units.
    pub const NATIVE: AssetId = AssetId(0);

    /// Wraps an asset number.
    pub const fn new(asset: u32) -> Self {
        AssetId(asset)
    }

    /// The plain number.
    pub const fn get(self) -> u32 {
        self.0
    }
}
