//! Made-up values of every type, from a seed: what golden hashes are taken over and what fuzzers
//! start from. They have the right shape and nothing else: signatures are noise.
//!
//! Breaks if: a generator changes the order or number of its draws. Then every golden hash of its
//! type changes although the format has not.

use std::collections::BTreeMap;
use std::sync::Arc;

use parity_scale_codec::{DecodeAll, Encode};

use crate::{
    AccountId, AssetId, BatchDigest, Block, BlockId, CommitProof, CommitteeId, Digest,
    EffectsDigest, Epoch, Executed, GenesisHash, Hasher, Header, Height, LinkedBlock, LogPosition,
    MemberIndex, MerkleRoot, PublicKey, QuorumCertificate, RecordHash, ShardId, Signature, Signers,
    Time, Timeout, TimeoutCertificate, TransactionId, View, Vote, WindowNumber,
};

/// Draws from a seed (SplitMix64), the same on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next draw.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0. The bias of the remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// An index into a list of `length` elements, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("less than a length")
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// A value.
    pub fn make<T: Generate>(&mut self) -> T {
        T::generate(self)
    }

    /// Up to three values.
    pub fn list<T: Generate>(&mut self) -> Vec<T> {
        (0..self.below(4)).map(|_| self.make()).collect()
    }
}

/// A type whose values can be made up.
pub trait Generate {
    /// Makes one up.
    fn generate(random: &mut Random) -> Self;
}

/// Implements [`Generate`]: `generate! { Type: |random| value; ... }`.
#[macro_export]
macro_rules! generate {
    ($($type:ty: |$random:ident| $value:expr;)*) => {
        $(impl $crate::generate::Generate for $type {
            fn generate($random: &mut $crate::generate::Random) -> Self {
                $value
            }
        })*
    };
}

impl<T: Generate, const N: usize> Generate for [T; N] {
    fn generate(random: &mut Random) -> Self {
        core::array::from_fn(|_| random.make())
    }
}

impl<T: Generate> Generate for Option<T> {
    fn generate(random: &mut Random) -> Self {
        (random.below(2) > 0).then(|| random.make())
    }
}

impl<T: Generate> Generate for Box<T> {
    fn generate(random: &mut Random) -> Self {
        Box::new(random.make())
    }
}

impl<T: Generate> Generate for Arc<T> {
    fn generate(random: &mut Random) -> Self {
        Arc::new(random.make())
    }
}

impl<A: Generate, B: Generate> Generate for (A, B) {
    fn generate(random: &mut Random) -> Self {
        (random.make(), random.make())
    }
}

impl<K: Generate + Ord, V: Generate> Generate for BTreeMap<K, V> {
    fn generate(random: &mut Random) -> Self {
        random.list().into_iter().collect()
    }
}

generate! {
    bool: |r| r.below(2) > 0;
    // Numbers of every length, so that compact forms are met.
    u128: |r| { let wide = u128::from(r.draw()) << 64 | u128::from(r.draw()); wide >> r.below(128) };
    u64: |r| { let wide = r.draw(); wide >> r.below(64) };
    u32: |r| { let wide = r.draw() as u32; wide >> r.below(32) };
    u16: |r| r.draw() as u16;
    u8: |r| r.draw() as u8;
    Digest: |r| Digest::new(r.make());
    GenesisHash: |r| GenesisHash::new(r.make());
    BlockId: |r| BlockId::new(r.make());
    BatchDigest: |r| BatchDigest::new(r.make());
    RecordHash: |r| RecordHash::new(r.make());
    MerkleRoot: |r| MerkleRoot::new(r.make());
    EffectsDigest: |r| EffectsDigest::new(r.make());
    TransactionId: |r| TransactionId::new(r.make());
    PublicKey: |r| PublicKey::new(r.make());
    Signature: |r| Signature::new(r.make());
    AccountId: |r| AccountId::new(r.make());
    AssetId: |r| AssetId::new(r.make());
    ShardId: |r| ShardId::new(r.make());
    MemberIndex: |r| MemberIndex::new(r.make::<u8>() % 64);
    Epoch: |r| Epoch::new(r.make());
    View: |r| View::new(r.make());
    WindowNumber: |r| WindowNumber::new(r.make());
    Height: |r| Height::new(r.make());
    Time: |r| Time::from_micros(r.make());
    LogPosition: |r| LogPosition::new(r.make());
    CommitteeId: |r| match r.below(2) {
        0 => CommitteeId::Beacon,
        _ => CommitteeId::Shard(r.make()),
    };
    Signers: |r| (0..r.below(5)).map(|_| r.make()).collect();

    Executed: |r| Executed { height: r.make(), digest: r.make() };
    Header: |r| Header {
        epoch: r.make(),
        view: r.make(),
        height: r.make(),
        parent: r.make(),
        parent_view: r.make(),
        time: r.make(),
        proposer: r.make(),
        executed: r.make(),
        payload: r.make(),
    };
    Block: |r| { let payload = (0..r.below(40)).map(|_| r.make()).collect(); Block::new(r.make(), payload) };
    QuorumCertificate: |r| QuorumCertificate {
        epoch: r.make(),
        view: r.make(),
        block: r.make(),
        signers: r.make(),
        signatures: r.list(),
    };
    TimeoutCertificate: |r| TimeoutCertificate {
        epoch: r.make(),
        view: r.make(),
        signers: r.make(),
        high_qc_views: r.list(),
        signatures: r.list(),
        high_qc: r.make(),
    };
    CommitProof: |r| CommitProof {
        headers: r.list().into(),
        qc: r.make(),
        child: r.make(),
        child_qc: r.make(),
    };
    LinkedBlock: |r| LinkedBlock { block: r.make(), justify: r.make() };
    Vote: |r| Vote {
        epoch: r.make(),
        view: r.make(),
        block: r.make(),
        author: r.make(),
        signature: r.make(),
    };
    Timeout: |r| Timeout {
        epoch: r.make(),
        view: r.make(),
        author: r.make(),
        signature: r.make(),
        high_qc: r.make(),
        entered_by: r.make(),
    };
}

/// How many values a golden hash is taken over.
pub const GOLDEN_VALUES: usize = 1_024;

/// Hash over the encodings of generated values, in 16 digits.
///
/// # Panics
/// When a value does not decode to itself.
pub fn golden<T: Generate + Encode + DecodeAll + PartialEq + core::fmt::Debug>() -> String {
    golden_of(|random| {
        let value: T = random.make();
        let bytes = value.encode();
        assert_eq!(T::decode_all(&mut &bytes[..]), Ok(value));
        bytes
    })
}

/// Hash over generated encodings, in 16 digits.
pub fn golden_of(mut encode: impl FnMut(&mut Random) -> Vec<u8>) -> String {
    let mut random = Random::new(1);
    let hasher = (0..GOLDEN_VALUES).fold(Hasher::new("golden"), |hasher, _| {
        hasher.value(&encode(&mut random))
    });
    hasher.finish().to_string()[..16].to_owned()
}

/// Compares golden hashes with the list of a file, one `name hash` a line.
///
/// # Panics
/// When they differ: a format has changed, and that must be meant.
pub fn check_golden(found: &[(&str, String)], expected: &str) {
    let found: Vec<String> = found
        .iter()
        .map(|(n, hash)| format!("{n} {hash}"))
        .collect();
    assert_eq!(
        found.join("\n"),
        expected.trim_end(),
        "a format has changed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_what_they_were() {
        let found = [
            ("Header", golden::<Header>()),
            ("Block", golden::<Block>()),
            ("LinkedBlock", golden::<LinkedBlock>()),
            ("Vote", golden::<Vote>()),
            ("Timeout", golden::<Timeout>()),
            ("QuorumCertificate", golden::<QuorumCertificate>()),
            ("TimeoutCertificate", golden::<TimeoutCertificate>()),
            ("CommitProof", golden::<CommitProof>()),
            ("CommitteeId", golden::<CommitteeId>()),
            ("LogPosition", golden::<LogPosition>()),
        ];
        check_golden(&found, include_str!("golden.txt"));
    }
}
