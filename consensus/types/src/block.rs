//! Blocks. The id covers the header and nothing else; certificates travel beside the block, so the
//! id does not depend on which signatures a leader picked.

use core::fmt;

use parity_scale_codec::{Decode, Encode, Error, Input, MaxEncodedLen};

use crate::{
    BlockId, Digest, Domain, EffectsDigest, Epoch, Height, MemberIndex, QuorumCertificate, Time,
    View, hash,
};

/// How far a block's proposer had executed the chain, and what that did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, MaxEncodedLen)]
pub struct Executed {
    /// An executed height at or below the newest block committed by this block's ancestry.
    pub height: Height,
    /// The chained effects digest at that height.
    pub digest: EffectsDigest,
}

/// What a block's id is made of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, MaxEncodedLen)]
pub struct Header {
    /// The epoch whose committee makes the block.
    pub epoch: Epoch,
    /// The view it was proposed in.
    pub view: View,
    /// Its parent's height plus one.
    pub height: Height,
    /// The block it extends.
    pub parent: BlockId,
    /// The view that block was certified in.
    pub parent_view: View,
    /// When it was proposed, by its proposer's clock; later than its parent's time.
    pub time: Time,
    /// Who proposed it.
    pub proposer: MemberIndex,
    /// What execution had come to.
    pub executed: Executed,
    /// Hash of the payload bytes.
    pub payload: Digest,
}

impl Header {
    /// The block's id.
    pub fn id(&self) -> BlockId {
        BlockId::new(hash("lockstep/block", self))
    }
}

/// A header and the payload it names. The payload's meaning is the application's: a shard lists
/// batches, bundles and a record; the beacon carries a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    id: BlockId,
    header: Header,
    payload: Vec<u8>,
}

impl Block {
    /// Puts a block together. `header.payload` is overwritten with the payload's hash.
    pub fn new(mut header: Header, payload: Vec<u8>) -> Self {
        header.payload = Self::payload_digest(&payload);
        Block {
            id: header.id(),
            header,
            payload,
        }
    }

    /// The block a committee starts from in epoch 0.
    pub fn genesis(domain: &Domain, time: Time) -> Self {
        let header = Header {
            epoch: Epoch::ZERO,
            view: View::ZERO,
            height: Height::ZERO,
            parent: BlockId::new(hash("lockstep/root", &(domain.genesis, domain.committee))),
            parent_view: View::ZERO,
            time,
            proposer: MemberIndex::new(0),
            executed: Executed::default(),
            payload: Digest::ZERO,
        };
        Block::new(header, Vec::new())
    }

    /// Hash of payload bytes.
    pub fn payload_digest(payload: &[u8]) -> Digest {
        crate::Hasher::new("lockstep/payload")
            .bytes(payload)
            .finish()
    }

    /// The block's id, computed once.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payload bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Do the payload bytes match the header?
    pub fn is_whole(&self) -> bool {
        self.header.payload == Self::payload_digest(&self.payload)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let h = &self.header;
        write!(f, "{:?}@{}/{}", self.id, h.view, h.height)
    }
}

impl Encode for Block {
    fn size_hint(&self) -> usize {
        self.header.size_hint() + self.payload.size_hint()
    }

    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, out: &mut T) {
        self.header.encode_to(out);
        self.payload.encode_to(out);
    }
}

impl Decode for Block {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let header = Header::decode(input)?;
        let payload = Vec::<u8>::decode(input)?;
        Ok(Block {
            id: header.id(),
            header,
            payload,
        })
    }
}

/// A block with the certificate for its parent: the form in which blocks are stored and synced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LinkedBlock {
    /// The block.
    pub block: Block,
    /// The certificate for `block.parent`.
    pub justify: QuorumCertificate,
}
