//! The words every other crate speaks: identifiers, time, hashes, keys, committees, certificates,
//! and [`Verified`], the proof that something from outside has been checked.
//!
//! Nothing here does I/O, reads a clock or draws randomness. The crate is small on purpose: what
//! stands here is shared by consensus, ledger, barrier and node alike.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
mod block;
mod certificate;
pub mod codec;
mod committee;
mod durable;
mod engine;
pub mod generate;
mod hash;
mod headers;
mod ids;
mod keyed;
mod keys;
mod occupancy;
pub mod planted;
mod self_test;
mod statement;
mod time;
mod verified;
mod vote;

pub use account::{AccountId, AssetId};
pub use block::{Block, Executed, Header, LinkedBlock};
pub use certificate::{
    CommitProof, EpochContext, MAX_PROOF_HEADERS, QuorumCertificate, TimeoutCertificate,
    check_signers, quorum_claims,
};
pub use committee::{Committee, CommitteeError, MAX_MEMBERS, Signers};
pub use durable::{Durable, LogPosition};
pub use engine::{Claim, Engine, K256Engine};
pub use hash::{
    BatchDigest, BlockId, Digest, EffectsDigest, GenesisHash, Hasher, MerkleRoot, RecordHash,
    TransactionId, hash,
};
pub use headers::Headers;
pub use ids::{CommitteeId, Epoch, Height, MemberIndex, ShardId, View, WindowNumber};
pub use keyed::{KeyedHashEngine, KeyedSigner};
pub use keys::{KeyError, PublicKey, SecretKey, Signature, Signer};
pub use occupancy::{Gauge, Occupancy};
pub use self_test::{SelfTestFailure, self_test};
pub use statement::{Domain, FORMAT_VERSION, Kind};
pub use time::Time;
pub use verified::{Blame, Claims, Rejection, Verifiable, Verified, Verifier};
pub use vote::{Timeout, Vote};
