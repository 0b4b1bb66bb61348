//! One shard's replica, the beacon's replica, and the barrier between them.
//!
//! A [`Member`] is one validator's replica in one committee: a pure state machine,
//! `step(now, Input) -> Ready`, that wraps consensus and adds what its committee is for. A shard
//! member packs transactions into batches, lists them in blocks, and hands committed blocks to an
//! [`Executor`], a second pure machine that runs beside it. A beacon member gathers checkpoints
//! and orders barrier records.
//!
//! ```text
//!            batches ─▶ ShardChain ─▶ consensus ─▶ committed ─▶ Executor ─▶ checkpoint
//!                           ▲                                      │            │
//!   record + bundles ───────┘◀── other shards ◀── entries ─────────┘            ▼
//!           ▲                                                               BeaconChain
//!           └────────────────── committed record ◀── consensus ◀────────────────┘
//! ```
//!
//! The rules of the barrier are numbered in `BARRIER.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
mod batch_pool;
mod beacon_chain;
mod beacon_member;
mod bundle_pool;
mod checkpoint;
mod conservation;
mod executor;
mod far_behind;
pub mod generate;
mod log;
mod member;
mod mempool;
mod message;
mod observer;
mod past;
mod payload;
mod questions;
mod ready;
mod record;
mod seeking;
mod shard_chain;
mod shard_member;
mod snapshot;
mod state_sync;
mod window;

pub use batch::{Batch, BatchContext, BatchHeader};
pub use batch_pool::{BatchPool, MAX_BODIES, MAX_WAITING_PER_AUTHOR, MAX_WINDOWS_AHEAD, NotKept};
pub use beacon_chain::{BeaconChain, BeaconPlace};
pub use beacon_member::BeaconMember;
pub use bundle_pool::{BundlePool, MAX_PROVEN_PER_SOURCE, MAX_RECORDS_AHEAD, MAX_UNPROVEN};
pub use checkpoint::{
    CertifiedCheckpoint, Checkpoint, CheckpointTally, CheckpointVote, MAX_WINDOWS_GATHERED,
};
pub use conservation::{Conservation, Sums, Unbalanced};
pub use executor::{Execution, Executor, RunJobs, ledger_config, run_in_order};
pub use log::{Archive, anchor_of, has_any_block, has_block};
pub use member::{MAX_REPLAY, Member, Setup};
pub use mempool::{Busy, MAX_TRANSACTIONS, Mempool, PACK_DELAY};
pub use message::{
    Class, Destination, MAX_BATCHES_REQUESTED, MAX_BUNDLE_BYTES, MAX_MESSAGE_BYTES, Message,
    Outbound, Peer, Phase, PhaseStamp, Request, VerifyContext, epoch_context, root_block,
};
pub use observer::{Contradiction, Observer, Subject};
pub use payload::{BatchRef, BundleRef, Payload, RecordRef};
pub use ready::{ExecuteBlock, ExecutedBlock, Fatal, Input, Ready, Status};
pub use record::{BarrierRecord, CertifiedRecord, ShardEntry};
pub use shard_chain::{MAX_UNEXECUTED, Place, ShardChain, Wanted};
pub use shard_member::ShardMember;
pub use snapshot::{
    MAX_MANIFEST_BYTES, MAX_OLD_SNAPSHOTS, MAX_PART_MESSAGE_BYTES, MAX_STEPS, Manifest, Part,
    PartBody, PartName, Shelf, Snapshot, answer_part, rest_digest,
};
pub use state_sync::{StateSync, finish_state_sync, is_syncing};
pub use window::{AppliedRecord, Window, WindowRules, record_base};
