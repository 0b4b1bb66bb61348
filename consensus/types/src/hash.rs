//! SHA-256 with domains, and one type for each thing that is named by its hash.

use core::fmt;
use core::str::FromStr;

use parity_scale_codec::{Decode, Encode, MaxEncodedLen, Output};
use sha2::Digest as _;

/// A SHA-256 value.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, MaxEncodedLen,
)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Thirty-two zero bytes: "nothing here" where a digest must stand.
    pub const ZERO: Digest = Digest([0; 32]);

    /// Wraps bytes that already are a digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits tell two digests apart in a log or a failing test.
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    /// Reads 64 hexadecimal digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)?;
        Ok(Digest(bytes))
    }
}

/// A running SHA-256 that starts with a domain tag, so that no two kinds of content share a
/// preimage. Encodes SCALE values straight into the hash.
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Starts a hash in the domain `tag`. The tag's length comes first, so no tag is a prefix of
    /// another.
    pub fn new(tag: &'static str) -> Self {
        let length = u8::try_from(tag.len()).expect("domain tags are short constants");
        let mut inner = sha2::Sha256::new();
        inner.update([length]);
        inner.update(tag.as_bytes());
        Hasher(inner)
    }

    /// Adds raw bytes. The caller must fix or encode their length.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds a value in its SCALE encoding.
    pub fn value(mut self, value: &impl Encode) -> Self {
        value.encode_to(&mut self);
        self
    }

    /// Ends the hash.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Output for Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Hash of one SCALE value in the domain `tag`.
pub fn hash(tag: &'static str, value: &impl Encode) -> Digest {
    Hasher::new(tag).value(value).finish()
}

macro_rules! named_digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
            MaxEncodedLen,
        )]
        pub struct $name(Digest);

        impl $name {
            /// The value that stands for "none".
            pub const ZERO: $name = $name(Digest::ZERO);

            /// Names a digest.
            pub const fn new(digest: Digest) -> Self {
                $name(digest)
            }

            /// The plain digest.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

named_digest!(
    /// Hash of the canonical genesis: the identity of the chain, part of every signature.
    GenesisHash
);
named_digest!(
    /// Hash of a block's header.
    BlockId
);
named_digest!(
    /// Hash of a batch's header and body.
    BatchDigest
);
named_digest!(
    /// Hash of a transaction without its signature, bound to the genesis.
    TransactionId
);
named_digest!(
    /// Chained digest of everything a committee's blocks have done up to a height.
    EffectsDigest
);
named_digest!(
    /// Root of a Merkle tree or trie.
    MerkleRoot
);
named_digest!(
    /// Hash of a barrier record.
    RecordHash
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_separate_equal_content() {
        assert_ne!(hash("a", &1u8), hash("b", &1u8));
        assert_ne!(
            Hasher::new("ab").bytes(b"c").finish(),
            Hasher::new("a").bytes(b"bc").finish()
        );
    }

    #[test]
    fn digests_print_and_parse() {
        let digest = hash("t", &7u8);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(format!("0x{digest}").parse(), Ok(digest));
        assert!("12".parse::<Digest>().is_err());
    }
}
