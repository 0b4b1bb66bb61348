//! The barrier record: the beacon's one decision for a barrier, and the proof that makes it valid.
//!
//! A record holds roots and totals, never transactions: its size grows with the number of shards and
//! of pairs of shards that ever had traffic.

use std::sync::Arc;

use lockstep_genesis::Genesis;
use lockstep_ledger::CertifiedOutbox;
use lockstep_types::{
    Block, Claims, CommitProof, CommitteeId, Digest, EpochContext, Header, RecordHash, Rejection,
    ShardId, Time, Verifiable, WindowNumber, hash,
};
use parity_scale_codec::{Decode, Encode};

use crate::CertifiedCheckpoint;

/// What a record says about one shard.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ShardEntry {
    /// No certified checkpoint came in time.
    #[codec(index = 0)]
    Absent,
    /// Its newest certified checkpoint that no record holds yet.
    #[codec(index = 1)]
    Certified(Box<CertifiedCheckpoint>),
}

impl ShardEntry {
    /// The checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<&CertifiedCheckpoint> {
        match self {
            ShardEntry::Absent => None,
            ShardEntry::Certified(certified) => Some(certified),
        }
    }
}

/// One barrier.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BarrierRecord {
    /// Its number: the one before plus one.
    pub number: WindowNumber,
    /// Hash of the record before.
    pub previous: RecordHash,
    /// Hash over all committees and versions in force.
    pub committees: Digest,
    /// What window ends are counted from at depth ≥ 1; see `record_base`.
    pub base: Time,
    /// One entry per shard, in shard order.
    pub shards: Vec<ShardEntry>,
}

impl BarrierRecord {
    /// The hash of the record that stands for genesis: number 0.
    pub fn genesis_hash(genesis: &Genesis) -> RecordHash {
        RecordHash::new(hash("lockstep/record-0", &genesis.hash()))
    }

    /// Hash over all committees in force.
    pub fn committees_of(genesis: &Genesis) -> Digest {
        let all: Vec<_> = genesis
            .committees()
            .map(|id| genesis.committee(id).clone())
            .collect();
        hash("lockstep/committees", &all)
    }

    /// The record's hash.
    pub fn hash(&self) -> RecordHash {
        RecordHash::new(hash("lockstep/record", self))
    }

    /// The record as one shard's ledger needs it: every present shard's certified outbox, in shard
    /// order, with its flow towards `shard`.
    pub fn outboxes_for(&self, shard: ShardId) -> Vec<CertifiedOutbox> {
        self.shards
            .iter()
            .filter_map(ShardEntry::checkpoint)
            .map(|certified| {
                let checkpoint = &certified.checkpoint;
                CertifiedOutbox {
                    source: checkpoint.shard,
                    window: checkpoint.window(),
                    outbox_root: checkpoint.seal.outbox_root,
                    flow: checkpoint
                        .seal
                        .flows
                        .iter()
                        .find(|flow| flow.peer == shard)
                        .cloned(),
                }
            })
            .collect()
    }

    /// The entry of one shard.
    pub fn entry(&self, shard: ShardId) -> Option<&ShardEntry> {
        self.shards.get(usize::from(shard.get()))
    }
}

impl Verifiable for BarrierRecord {
    type Context = Arc<Genesis>;

    /// Shape and certificates. What the record must follow from is checked by the beacon's voters.
    fn claims(&self, genesis: &Arc<Genesis>, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        if self.shards.len() != usize::from(genesis.shard_count()) {
            return Err(Rejection::Inconsistent("a record with one entry per shard"));
        }
        for (position, entry) in self.shards.iter().enumerate() {
            let Some(certified) = entry.checkpoint() else {
                continue;
            };
            let twice = lockstep_types::planted!(CountShardTwice);
            if usize::from(certified.checkpoint.shard.get()) != position && !twice {
                return Err(Rejection::Inconsistent("checkpoints in shard order"));
            }
            certified.claims(genesis, claims)?;
        }
        Ok(())
    }
}

/// A record with the proof that the beacon has committed the block that carries it. Nothing less
/// makes a record valid outside the beacon.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CertifiedRecord {
    /// The record: the payload of the committed block.
    pub record: BarrierRecord,
    /// The proof.
    pub proof: CommitProof,
}

impl CertifiedRecord {
    /// The beacon block that carries the record.
    pub fn header(&self) -> &Header {
        self.proof.committed()
    }
}

impl Verifiable for CertifiedRecord {
    type Context = EpochContext;

    /// `context` is the beacon's. The checkpoints inside were checked by every beacon member that
    /// voted for the block.
    fn claims(&self, context: &EpochContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        assert_eq!(
            context.domain.committee,
            CommitteeId::Beacon,
            "records are the beacon's"
        );
        self.proof.claims(context, claims)?;
        if Block::payload_digest(&self.record.encode()) != self.header().payload {
            return Err(Rejection::Inconsistent(
                "a record that is not the proven block's payload",
            ));
        }
        Ok(())
    }
}
