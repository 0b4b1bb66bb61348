//! Batches: transactions packed by one validator, named by digest in blocks.
//!
//! Whether a batch is valid is a function of its bytes and of genesis alone. Every replica checks a
//! batch once, before it stores it; a block that lists an invalid batch is invalid, so execution
//! never meets one.

use std::sync::Arc;

use lockstep_genesis::{Genesis, Limits};
use lockstep_ledger::Transaction;
use lockstep_types::{
    BatchDigest, Claims, Committee, CommitteeId, Digest, Domain, Epoch, Kind, MemberIndex,
    Rejection, ShardId, Signature, Signer, Verifiable, Verified, View, WindowNumber, hash,
};
use parity_scale_codec::{Decode, Encode, Error, Input};

/// What the author signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BatchHeader {
    /// The epoch whose committee the author belongs to.
    pub epoch: Epoch,
    /// Who packed it.
    pub author: MemberIndex,
    /// The window that was open when it was packed; a block may list it then or one window later.
    pub window: WindowNumber,
    /// Counts the author's batches, so that two with the same transactions differ.
    pub sequence: u64,
    /// Hash of the transactions.
    pub body: Digest,
}

/// A signed header and the transactions it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    digest: BatchDigest,
    /// The signed header.
    pub header: BatchHeader,
    /// The author's signature over the header.
    pub signature: Signature,
    /// The transactions, in the order they execute.
    pub transactions: Vec<Transaction>,
}

impl Batch {
    /// Packs and signs transactions that have been checked one by one when they were submitted.
    pub fn pack(
        context: &BatchContext,
        signer: &dyn Signer,
        author: MemberIndex,
        window: WindowNumber,
        sequence: u64,
        transactions: Vec<Verified<Transaction>>,
    ) -> Verified<Self> {
        let transactions: Vec<_> = transactions.into_iter().map(Verified::into_inner).collect();
        let body = hash("lockstep/batch-body", &transactions);
        let header = BatchHeader {
            epoch: context.epoch,
            author,
            window,
            sequence,
            body,
        };
        let signature = signer.sign(&context.statement(&header));
        let digest = Self::digest_of(&header);
        Verified::vouch(Batch {
            digest,
            header,
            signature,
            transactions,
        })
    }

    fn digest_of(header: &BatchHeader) -> BatchDigest {
        BatchDigest::new(hash("lockstep/batch", header))
    }

    /// The name under which blocks list the batch.
    pub fn digest(&self) -> BatchDigest {
        self.digest
    }
}

impl Encode for Batch {
    fn size_hint(&self) -> usize {
        self.header.size_hint() + self.signature.size_hint() + self.transactions.size_hint()
    }

    fn encode_to<T: parity_scale_codec::Output + ?Sized>(&self, out: &mut T) {
        self.header.encode_to(out);
        self.signature.encode_to(out);
        self.transactions.encode_to(out);
    }
}

impl Decode for Batch {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let header = BatchHeader::decode(input)?;
        let signature = Signature::decode(input)?;
        let transactions = Vec::decode(input)?;
        Ok(Batch {
            digest: Self::digest_of(&header),
            header,
            signature,
            transactions,
        })
    }
}

/// What a batch is checked against.
#[derive(Clone)]
pub struct BatchContext {
    domain: Domain,
    epoch: Epoch,
    committee: Committee,
    shard: ShardId,
    shards: u16,
    limits: Limits,
}

impl BatchContext {
    /// The context of one shard in its first epoch.
    pub fn new(genesis: &Arc<Genesis>, shard: ShardId) -> Self {
        let committee = CommitteeId::Shard(shard);
        BatchContext {
            domain: genesis.domain(committee),
            epoch: Epoch::ZERO,
            committee: genesis.committee(committee).clone(),
            shard,
            shards: genesis.shard_count(),
            limits: genesis.limits,
        }
    }

    fn statement(&self, header: &BatchHeader) -> Digest {
        self.domain
            .statement(Kind::Batch, header.epoch, View::ZERO, header)
    }
}

impl Verifiable for Batch {
    type Context = BatchContext;

    fn claims(&self, context: &BatchContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        if self.header.epoch != context.epoch {
            return Err(Rejection::WrongEpoch {
                got: self.header.epoch,
                expected: context.epoch,
            });
        }
        let key = *context
            .committee
            .key(self.header.author)
            .ok_or(Rejection::NotAMember)?;
        let limit = context.limits.batch_transactions as usize;
        if self.transactions.len() > limit {
            let got = self.transactions.len();
            return Err(Rejection::TooMany {
                what: "transactions in a batch",
                got,
                limit,
            });
        }
        let (got, limit) = (self.encoded_size(), context.limits.batch_bytes as usize);
        if got > limit {
            return Err(Rejection::TooMany {
                what: "bytes in a batch",
                got,
                limit,
            });
        }
        if self.transactions.is_empty() {
            return Err(Rejection::Inconsistent("a batch without transactions"));
        }
        if hash("lockstep/batch-body", &self.transactions) != self.header.body {
            return Err(Rejection::Inconsistent(
                "a batch whose body is not the one it names",
            ));
        }
        // A batch comes by gossip and again from whoever was asked for it. Its digest covers every
        // signature in it, so a second copy costs hashes only.
        let place = (context.domain.genesis, context.shard);
        let copy = hash("lockstep/batch-copy", &(place, self.digest, self.signature));
        claims.certificate(copy, |claims| {
            claims.add(key, context.statement(&self.header), self.signature);
            for transaction in &self.transactions {
                if transaction.sender().shard(context.shards) != context.shard {
                    return Err(Rejection::Inconsistent("a transaction of another shard"));
                }
                transaction.claims(&context.domain.genesis, claims)?;
            }
            Ok(())
        })
    }
}
