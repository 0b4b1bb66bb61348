//! The one wire format: everything validators say to each other. Every message is one-way; an
//! answer is a message of its own, so nothing waits for anything.

use std::sync::Arc;

use lockstep_consensus as consensus;
use lockstep_genesis::Genesis;
use lockstep_ledger::Bundle;
use lockstep_types::{
    BatchDigest, Block, Claims, CommitteeId, Digest, Epoch, EpochContext, MemberIndex, Rejection,
    ShardId, Time, Verifiable, WindowNumber, codec,
};
use parity_scale_codec::{Decode, Encode};

use crate::batch::BatchContext;
use crate::snapshot::{MAX_PART_MESSAGE_BYTES, Manifest, Part, PartName};
use crate::{BarrierRecord, Batch, CertifiedRecord, CheckpointVote};

/// Largest message on the wire: an answer full of blocks.
pub const MAX_MESSAGE_BYTES: usize = consensus::MAX_MESSAGE_BYTES;

/// Largest bundle: the most entries genesis may allow, with their proof.
pub const MAX_BUNDLE_BYTES: usize = 512 * 1024;

/// Most batches one request may name.
pub const MAX_BATCHES_REQUESTED: usize = 64;

/// One seat in one committee: a replica's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Peer {
    /// The committee.
    pub committee: CommitteeId,
    /// The position in it.
    pub member: MemberIndex,
}

/// Which queue a message waits in. Earlier classes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Decides when blocks are committed: never behind anything else.
    Consensus,
    /// What blocks are made of.
    Data,
    /// Catching up.
    Sync,
}

/// Something asked of another replica. Answered from the store, beside consensus.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// The bodies of these batches.
    #[codec(index = 0)]
    Batches(Vec<BatchDigest>),
    /// The record with this number.
    #[codec(index = 1)]
    Record(WindowNumber),
    /// A bundle that a block of our own shard lists.
    #[codec(index = 2)]
    Bundle(Digest),
    /// The next entries of your outbox for `destination`, from sequence number `from` on.
    #[codec(index = 3)]
    Entries {
        /// Who wants them: the asking shard.
        destination: ShardId,
        /// Its watermark.
        from: u64,
    },
    /// The newest state of our own shard that a record holds, but for accounts and entries.
    #[codec(index = 4)]
    Manifest,
    /// A part of the state in a record.
    #[codec(index = 5)]
    Part {
        /// The record.
        record: WindowNumber,
        /// Which part.
        name: PartName,
    },
}

/// A message between replicas.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// Within one committee.
    #[codec(index = 0)]
    Consensus(consensus::Message),
    /// Transactions packed by a member of this shard.
    #[codec(index = 1)]
    Batch(Arc<Batch>),
    /// A shard member's signature under its checkpoint, for the beacon.
    #[codec(index = 2)]
    Checkpoint(Box<CheckpointVote>),
    /// A committed record, for the shards.
    #[codec(index = 3)]
    Record(Arc<CertifiedRecord>),
    /// Entries of another shard's outbox.
    #[codec(index = 4)]
    Bundle(Arc<Bundle>),
    /// A question.
    #[codec(index = 5)]
    Request(Request),
    /// The answer to [`Request::Manifest`]; nothing before the first record, and after a restart
    /// before the next.
    #[codec(index = 6)]
    Manifest(Option<Arc<Manifest>>),
    /// The answer to [`Request::Part`].
    #[codec(index = 7)]
    Part(Box<Part>),
}

/// What the bytes of a [`Message::Part`] begin with.
const PART: u8 = 7;

impl Message {
    /// Its queue.
    pub fn class(&self) -> Class {
        match self {
            Message::Consensus(consensus::Message::Blocks(_)) => Class::Sync,
            Message::Consensus(consensus::Message::BlockRequest { .. }) => Class::Sync,
            Message::Consensus(_) | Message::Checkpoint(_) | Message::Record(_) => Class::Consensus,
            Message::Request(Request::Manifest | Request::Part { .. }) => Class::Sync,
            Message::Manifest(_) | Message::Part(_) => Class::Sync,
            Message::Batch(_) | Message::Bundle(_) | Message::Request(_) => Class::Data,
        }
    }

    /// A short name, for traces and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::Consensus(message) => message.kind(),
            Message::Batch(_) => "batch",
            Message::Checkpoint(_) => "checkpoint",
            Message::Record(_) => "record",
            Message::Bundle(_) => "bundle",
            Message::Request(_) => "request",
            Message::Manifest(_) => "manifest",
            Message::Part(_) => "part",
        }
    }

    /// Reads a message that came from outside.
    ///
    /// # Errors
    /// When the bytes are too many or not a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Rejection> {
        // Two bytes of a part become 33 when they are read.
        if bytes.first() == Some(&PART) && bytes.len() > MAX_PART_MESSAGE_BYTES {
            return Err(Rejection::TooMany {
                what: "bytes of a part",
                got: bytes.len(),
                limit: MAX_PART_MESSAGE_BYTES,
            });
        }
        Ok(codec::decode(bytes, MAX_MESSAGE_BYTES)?)
    }
}

/// What messages to one replica are checked against.
#[derive(Clone)]
pub struct VerifyContext {
    genesis: Arc<Genesis>,
    own: EpochContext,
    beacon: EpochContext,
    batches: Option<BatchContext>,
}

impl VerifyContext {
    /// The context of a replica of `committee`.
    pub fn new(genesis: Arc<Genesis>, committee: CommitteeId) -> Self {
        VerifyContext {
            own: epoch_context(&genesis, committee),
            beacon: epoch_context(&genesis, CommitteeId::Beacon),
            batches: committee
                .shard()
                .map(|shard| BatchContext::new(&genesis, shard)),
            genesis,
        }
    }

    /// The committee of the receiving replica.
    pub fn committee(&self) -> CommitteeId {
        self.own.domain.committee
    }

    /// What statements of that committee are checked against.
    pub(crate) fn own(&self) -> &EpochContext {
        &self.own
    }

    /// What statements of the beacon are checked against.
    pub(crate) fn beacon(&self) -> &EpochContext {
        &self.beacon
    }
}

/// The block a committee of this genesis starts from.
pub fn root_block(genesis: &Genesis, committee: CommitteeId) -> Block {
    Block::genesis(&genesis.domain(committee), genesis.time)
}

/// What statements of a committee in its first epoch are checked against.
pub fn epoch_context(genesis: &Genesis, committee: CommitteeId) -> EpochContext {
    EpochContext {
        domain: genesis.domain(committee),
        epoch: Epoch::ZERO,
        committee: genesis.committee(committee).clone(),
        root: root_block(genesis, committee).id(),
    }
}

impl Verifiable for Message {
    type Context = VerifyContext;

    fn claims(&self, context: &VerifyContext, claims: &mut Claims<'_>) -> Result<(), Rejection> {
        match self {
            Message::Consensus(message) => {
                message.claims(&context.own, claims)?;
                if context.committee() == CommitteeId::Beacon {
                    record_claims(message, &context.genesis, claims)?;
                }
                Ok(())
            }
            Message::Batch(batch) => match &context.batches {
                Some(batches) => batch.claims(batches, claims),
                None => Err(Rejection::NotForUs("the beacon takes no batches")),
            },
            Message::Checkpoint(vote) if context.committee() == CommitteeId::Beacon => {
                vote.claims(&context.genesis, claims)
            }
            Message::Checkpoint(_) => Err(Rejection::NotForUs("checkpoints go to the beacon")),
            Message::Record(record) => record.claims(&context.beacon, claims),
            // A bundle is hashes; it is proven against a certified root when that is known.
            Message::Bundle(bundle) if Some(bundle.destination) == context.committee().shard() => {
                let limit = context.genesis.limits.bundle_entries as usize;
                if bundle.entries.len() > limit {
                    return Err(Rejection::TooMany {
                        what: "entries in a bundle",
                        got: bundle.entries.len(),
                        limit,
                    });
                }
                let (got, limit) = (bundle.encoded_size(), MAX_BUNDLE_BYTES);
                if got > limit {
                    let what = "bytes in a bundle";
                    return Err(Rejection::TooMany { what, got, limit });
                }
                Ok(())
            }
            Message::Bundle(_) => Err(Rejection::NotForUs("a bundle for another shard")),
            Message::Request(Request::Batches(list)) if list.len() > MAX_BATCHES_REQUESTED => {
                Err(Rejection::TooMany {
                    what: "batches requested",
                    got: list.len(),
                    limit: MAX_BATCHES_REQUESTED,
                })
            }
            Message::Request(Request::Part {
                name: PartName::Accounts(path),
                ..
            }) if !path.is_possible() => Err(Rejection::Inconsistent(
                "a path no longer than an account id",
            )),
            Message::Request(_) | Message::Manifest(None) => Ok(()),
            Message::Manifest(Some(manifest)) => manifest.claims(context, claims),
            Message::Part(part) => part.claims(context, claims),
        }
    }
}

/// A beacon block carries a record or nothing; the record's certificates are checked with the
/// proposal, before any replica sees it.
fn record_claims(
    message: &consensus::Message,
    genesis: &Arc<Genesis>,
    claims: &mut Claims<'_>,
) -> Result<(), Rejection> {
    let consensus::Message::Proposal(proposal) = message else {
        return Ok(());
    };
    let payload = proposal.block.payload();
    if payload.is_empty() {
        return Ok(());
    }
    let record: BarrierRecord = codec::decode_canonical(payload, consensus::MAX_PAYLOAD_BYTES)?;
    record.claims(genesis, claims)
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Every other member of the sender's own committee, directly.
    Committee,
    /// One other member of the sender's own committee, directly.
    Seat(MemberIndex),
    /// One replica of any committee, directly.
    Member(Peer),
    /// Every other member of the sender's own committee, by gossip.
    Gossip,
}

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// To whom.
    pub to: Destination,
    /// What.
    pub message: Message,
}

/// When something happened that the barrier's cost is made of. Stamped with the step's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseStamp {
    /// The barrier.
    pub barrier: WindowNumber,
    /// What.
    pub phase: Phase,
    /// When.
    pub at: Time,
}

/// The steps of a barrier, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Phase {
    /// At a shard: its seal is committed.
    Sealed,
    /// At a shard: its checkpoint is signed.
    Signed,
    /// At the beacon: the first shard's checkpoint is certified.
    FirstCertified,
    /// At the beacon: every awaited shard's checkpoint is certified.
    AllCertified,
    /// At the beacon: the record is committed.
    Recorded,
    /// At a shard: the record has arrived.
    Received,
    /// At a shard: the block that names the record is committed.
    Applied,
}

impl Phase {
    /// Its name in answers and files.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Sealed => "sealed",
            Phase::Signed => "signed",
            Phase::FirstCertified => "first-certified",
            Phase::AllCertified => "all-certified",
            Phase::Recorded => "recorded",
            Phase::Received => "received",
            Phase::Applied => "applied",
        }
    }
}
