//! Receipts as stored, and their proofs. A block's receipts root is one link of the chain of
//! effects digests, so a receipt is provable from the `executed` of any later committed header.

use lockstep_types::{Digest, EffectsDigest, Height, MerkleRoot, TransactionId, codec};
use parity_scale_codec::{Decode, Encode};

use crate::effects::chain;
use crate::merkle::{ProofError, RangeProof};
use crate::receipt::RECEIPTS;
use crate::recovery::scan;
use crate::store::schema;
use crate::{Column, LedgerError, Receipt, Seal, Store};

/// Longest chain of later blocks in a receipt's proof. Headers lag execution by at most eight
/// blocks; a proof up to the next seal may be longer.
pub const MAX_PROOF_STEPS: usize = 4_096;

/// What is kept of each executed block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BlockReceipts {
    /// The digest before it.
    pub previous: EffectsDigest,
    /// Hash of its effects.
    pub effects: Digest,
    /// Its receipts, in order.
    pub receipts: Vec<Receipt>,
}

impl BlockReceipts {
    /// Root over the receipts.
    pub fn root(&self) -> MerkleRoot {
        RECEIPTS.root_of(&self.receipts)
    }

    /// The digest after it.
    pub fn digest(&self) -> EffectsDigest {
        chain(&self.previous, &self.root(), &self.effects)
    }
}

/// One later block on the way to a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptStep {
    /// Its receipts root.
    pub receipts_root: MerkleRoot,
    /// Hash of its effects.
    pub effects: Digest,
}

/// A receipt, and the way from it to an effects digest.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptProof {
    /// The receipt.
    pub receipt: Receipt,
    /// Its position in its block.
    pub position: u32,
    /// Receipts of its block.
    pub count: u32,
    /// Its path to the receipts root.
    pub path: RangeProof,
    /// The digest before its block.
    pub previous: EffectsDigest,
    /// Hash of its block's effects.
    pub effects: Digest,
    /// The blocks after it, up to the one whose digest is known.
    pub steps: Vec<ReceiptStep>,
}

impl ReceiptStep {
    /// The digest after this block, from the one before it.
    pub fn after(&self, before: &EffectsDigest) -> EffectsDigest {
        chain(before, &self.receipts_root, &self.effects)
    }
}

impl ReceiptProof {
    /// Is the receipt part of what led to `digest`?
    ///
    /// # Errors
    /// Why the proof does not show it.
    pub fn verify(&self, digest: &EffectsDigest) -> Result<(), ProofError> {
        if self.steps.len() > MAX_PROOF_STEPS {
            return Err(ProofError::Malformed("too many steps"));
        }
        let leaf = RECEIPTS.leaf(&self.receipt);
        let top = self
            .path
            .top(&[leaf], self.position.into(), self.count.into())
            .ok_or(ProofError::Malformed("a path of the wrong length"))?;
        let root = RECEIPTS.root(self.count.into(), &top);
        let own = chain(&self.previous, &root, &self.effects);
        let got = self
            .steps
            .iter()
            .fold(own, |digest, step| step.after(&digest));
        if got == *digest {
            Ok(())
        } else {
            Err(ProofError::OtherRoot {
                got: *got.digest(),
                expected: *digest.digest(),
            })
        }
    }
}

/// What a store's state part says about the past.
pub struct History<'a>(&'a dyn Store);

impl<'a> History<'a> {
    /// Reads a store.
    pub fn new(store: &'a dyn Store) -> Self {
        History(store)
    }

    /// What is kept of the block at a height.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn block(&self, height: Height) -> Result<Option<BlockReceipts>, LedgerError> {
        self.read(Column::Receipts, &schema::receipts_key(height))
    }

    /// Where the state stands: the newest height whose effects are stored, and the digest there.
    /// None in an empty store.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn reached(&self) -> Result<Option<(Height, EffectsDigest)>, LedgerError> {
        let head: Option<schema::Head> = self.read(Column::Meta, schema::HEAD)?;
        Ok(head.map(|head| (head.height, head.digest)))
    }

    /// Where the receipt of a transaction is: height and position.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn find(&self, id: &TransactionId) -> Result<Option<(Height, u32)>, LedgerError> {
        self.read(Column::Index, &schema::transaction_key(id))
    }

    /// Where the receipt of a credit is that an action of another shard's transaction sent here.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn find_credit(
        &self,
        id: &TransactionId,
        action: u8,
    ) -> Result<Option<(Height, u32)>, LedgerError> {
        self.read(Column::Index, &schema::credit_key(id, action))
    }

    /// The finished seals of this shard from the recorded one on, ascending. A replica that starts
    /// signs the checkpoints of those that are not recorded again.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn seals(&self) -> Result<Vec<Seal>, LedgerError> {
        let mut seals = Vec::new();
        scan(self.0, Column::Meta, &[schema::SEAL], |_, value| {
            let seal = codec::decode_own(value).map_err(|_| LedgerError::Damaged("a seal"))?;
            seals.push(seal);
            Ok(())
        })?;
        Ok(seals)
    }

    /// The proof that a receipt is part of what led to the digest at height `upto`.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn prove(
        &self,
        height: Height,
        position: u32,
        upto: Height,
    ) -> Result<Option<ReceiptProof>, LedgerError> {
        let steps_wanted = upto.since(height);
        if upto < height || steps_wanted > MAX_PROOF_STEPS as u64 {
            return Ok(None);
        }
        let Some(block) = self.block(height)? else {
            return Ok(None);
        };
        let Some(receipt) = block.receipts.get(position as usize) else {
            return Ok(None);
        };
        let mut steps = Vec::new();
        for distance in 1..=steps_wanted {
            let Some(later) = self.block(height.plus(distance))? else {
                return Ok(None);
            };
            steps.push(ReceiptStep {
                receipts_root: later.root(),
                effects: later.effects,
            });
        }
        let log = RECEIPTS.log_of(&block.receipts);
        let at = u64::from(position);
        Ok(log.prove(at, at + 1, log.count()).map(|path| ReceiptProof {
            receipt: *receipt,
            position,
            count: u32::try_from(log.count()).expect("a block has fewer than 2^32 receipts"),
            path,
            previous: block.previous,
            effects: block.effects,
            steps,
        }))
    }

    fn read<T: parity_scale_codec::DecodeAll>(
        &self,
        column: Column,
        key: &[u8],
    ) -> Result<Option<T>, LedgerError> {
        let Some(bytes) = self.0.get(column, key)? else {
            return Ok(None);
        };
        let value = codec::decode_own(&bytes).map_err(|_| LedgerError::Damaged(column.name()))?;
        Ok(Some(value))
    }
}
