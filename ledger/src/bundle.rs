//! Bundles: a contiguous range of one shard's outbox entries to another, with the proof that they
//! stand there under a certified outbox root. Anybody can carry a bundle; the proof is the trust.

use lockstep_types::{Digest, MerkleRoot, ShardId, WindowNumber, hash};
use parity_scale_codec::{Decode, Encode};

use crate::merkle::RangeProof;
use crate::outbox::{ENTRIES, OUTBOX, OutboxEntry, OutboxLeaf};

/// Most entries in one bundle, whatever genesis says: at 75 bytes each it stays below 1 MiB.
pub const MAX_BUNDLE_ENTRIES: usize = 8_192;

/// From the entries to the outbox root.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BundleProof {
    /// Entries the destination's log had at the seal.
    #[codec(compact)]
    pub count: u64,
    /// The bundle's entries in that log.
    pub entries: RangeProof,
    /// The leaf's position in the outbox tree.
    pub position: u16,
    /// Leaves of the outbox tree.
    pub destinations: u16,
    /// The leaf in that tree.
    pub leaf: RangeProof,
}

/// A range of entries from one shard to another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Bundle {
    /// Whose outbox.
    pub source: ShardId,
    /// To whom.
    pub destination: ShardId,
    /// The source's seal whose outbox root it is proven against.
    pub window: WindowNumber,
    /// The sequence number of the first entry.
    #[codec(compact)]
    pub from: u64,
    /// The entries.
    pub entries: Vec<OutboxEntry>,
    /// Why to believe them.
    pub proof: BundleProof,
}

/// Why a bundle does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No entry, or more than [`MAX_BUNDLE_ENTRIES`].
    #[error("a bundle of {got} entries where 1 to {limit} are allowed", limit = MAX_BUNDLE_ENTRIES)]
    Size {
        /// How many came.
        got: usize,
    },
    /// The proof has the wrong number of hashes for its positions.
    #[error("the bundle's proof is malformed")]
    Malformed,
    /// The proof leads to another root.
    #[error("the bundle leads to outbox root {got}, certified is {certified}")]
    OtherRoot {
        /// Where it leads.
        got: MerkleRoot,
        /// What was certified.
        certified: MerkleRoot,
    },
}

impl Bundle {
    /// The hash by which a block lists it. Covers every byte.
    pub fn digest(&self) -> Digest {
        hash("lockstep/bundle", self)
    }

    /// The sequence number after the last entry.
    pub fn to(&self) -> u64 {
        self.from.saturating_add(self.entries.len() as u64)
    }

    /// Do the entries stand at `from..to` of the destination's log under this outbox root?
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, certified: &MerkleRoot) -> Result<(), BundleError> {
        if self.entries.is_empty() || self.entries.len() > MAX_BUNDLE_ENTRIES {
            return Err(BundleError::Size {
                got: self.entries.len(),
            });
        }
        let got = self.root().ok_or(BundleError::Malformed)?;
        if got != *certified {
            return Err(BundleError::OtherRoot {
                got,
                certified: *certified,
            });
        }
        Ok(())
    }

    /// The outbox root that the entries lead up to.
    pub(crate) fn root(&self) -> Option<MerkleRoot> {
        let proof = &self.proof;
        let leaves: Vec<Digest> = self.entries.iter().map(|e| ENTRIES.leaf(e)).collect();
        let leaf = OutboxLeaf {
            destination: self.destination,
            count: proof.count,
            top: proof.entries.top(&leaves, self.from, proof.count)?,
        };
        let destinations = u64::from(proof.destinations);
        let top = proof
            .leaf
            .top(&[OUTBOX.leaf(&leaf)], proof.position.into(), destinations)?;
        Some(OUTBOX.root(destinations, &top))
    }
}
