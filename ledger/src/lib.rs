//! The ledger of a shard: transactions, their execution, the state they change, the Merkle
//! commitments to it, and the store trait behind it.
//!
//! A [`Ledger`] is a pure state machine: [`Ledger::execute`] takes the next committed block and
//! returns an [`Outcome`] with receipts, digests and everything that must be written. It reads no
//! clock, starts no thread and does no I/O; the update of the state root is a list of jobs that
//! the caller runs wherever it likes.
//!
//! ```text
//!  record ─▶ certified roots ─┐
//!  bundles ─────────────────▶ credits ─┐
//!  transactions ─▶ overlay ─▶ accounts, outbox ─▶ receipts root ─▶ digest ─▶ next block
//!                                    seal ─▶ jobs ─▶ state root, outbox root, inbox root
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
mod accounts;
mod admission;
mod amounts;
mod bundle;
mod effects;
mod error;
mod execution;
pub mod generate;
#[cfg(test)]
mod golden;
mod history;
mod inbox;
mod ledger;
pub mod merkle;
mod outbox;
mod overlay;
mod receipt;
mod recovery;
mod seal;
mod snapshot;
pub mod store;
mod supply;
mod transaction;

pub use account::Account;
pub use admission::{MAX_NONCE_AHEAD, Refusal};
pub use amounts::{Amount, AmountError, Amounts};
pub use bundle::{Bundle, BundleError, BundleProof, MAX_BUNDLE_ENTRIES};
pub use effects::RECOUNT_EVERY;
pub use error::LedgerError;
pub use execution::{BlockInput, BundleRefusal, Outcome};
pub use history::{BlockReceipts, History, MAX_PROOF_STEPS, ReceiptProof, ReceiptStep};
pub use inbox::{CertifiedOutbox, InboxLeaf, MAX_CERTIFIED_ROOTS};
pub use ledger::{Ledger, LedgerConfig, MAX_SUPPLY, check_allocations};
pub use merkle::{
    MAX_PART_ACCOUNTS, MAX_PART_BYTES, Piece, ProofError, TrieDone, TrieJob, TriePart, TriePath,
};
pub use outbox::{OutboxEntry, OutboxLeaf};
pub use receipt::{Failure, RECEIPTS, Receipt, ReceiptResult, Subject};
pub use seal::{AccountProof, MAX_UNRECORDED_SEALS, PendingSeal, Seal, SealChoice};
pub use snapshot::{EntryPart, EntryRange, LedgerFrame, LedgerSnapshot, MAX_PART_ENTRIES};
#[cfg(feature = "rocksdb")]
pub use store::RocksStore;
pub use store::{
    Column, Durability, Fault, FaultyStore, MemoryStore, Store, StoreError, Visit, Write,
};
pub use supply::{Broken, Flow, FlowAmount, Supply};
pub use transaction::{Action, MAX_ACTIONS, MAX_TRANSACTION_BYTES, Transaction};
