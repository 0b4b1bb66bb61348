//! What a shard's block carries: the record it names, the bundles it credits, the batches it
//! orders. An empty payload is no bytes at all.

use lockstep_types::codec::{self, CodecError};
use lockstep_types::{BatchDigest, Digest, RecordHash, ShardId, WindowNumber};
use parity_scale_codec::{Decode, Encode};

/// A bundle as a block lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BundleRef {
    /// Whose outbox the entries come from.
    pub source: ShardId,
    /// Sequence number of the first entry: the watermark before.
    #[codec(compact)]
    pub from: u64,
    /// The watermark after.
    #[codec(compact)]
    pub to: u64,
    /// The bundle.
    pub digest: Digest,
}

/// A batch as a block lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BatchRef {
    /// The batch.
    pub digest: BatchDigest,
    /// How many transactions it holds, so that the chain's pace can be told without the body.
    #[codec(compact)]
    pub transactions: u32,
}

/// A barrier record as a block names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RecordRef {
    /// Its number.
    pub number: WindowNumber,
    /// Its hash.
    pub hash: RecordHash,
}

/// A shard block's payload, in the order in which its parts take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Payload {
    /// The record this block applies.
    pub record: Option<RecordRef>,
    /// The bundles it credits.
    pub bundles: Vec<BundleRef>,
    /// The batches it orders.
    pub batches: Vec<BatchRef>,
}

impl Payload {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.record.is_none() && self.bundles.is_empty() && self.batches.is_empty()
    }

    /// The bytes that go into a block.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_empty() {
            Vec::new()
        } else {
            self.encode()
        }
    }

    /// Reads a block's payload. There is one encoding of each payload.
    ///
    /// # Errors
    /// When the bytes are not that encoding.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.is_empty() {
            return Ok(Payload::default());
        }
        let payload: Payload =
            codec::decode_canonical(bytes, lockstep_consensus::MAX_PAYLOAD_BYTES)?;
        if payload.is_empty() {
            Err(CodecError::NotCanonical)
        } else {
            Ok(payload)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::hash;

    #[test]
    fn one_encoding_each() {
        let empty = Payload::default();
        assert_eq!(empty.to_bytes(), Vec::<u8>::new());
        assert_eq!(Payload::from_bytes(&[]), Ok(empty.clone()));
        assert_eq!(
            Payload::from_bytes(&empty.encode()),
            Err(CodecError::NotCanonical)
        );
        let full = Payload {
            record: Some(RecordRef {
                number: WindowNumber::new(3),
                hash: RecordHash::ZERO,
            }),
            bundles: vec![BundleRef {
                source: ShardId::new(1),
                from: 4,
                to: 9,
                digest: hash("t", &1u8),
            }],
            batches: vec![BatchRef {
                digest: BatchDigest::new(hash("t", &2u8)),
                transactions: 7,
            }],
        };
        let bytes = full.to_bytes();
        assert_eq!(Payload::from_bytes(&bytes), Ok(full));
        assert!(Payload::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    }
}
