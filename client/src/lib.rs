//! Everything that talks to a Lockstep network from outside: the RPC's methods and types with a
//! client for them, transactions, key files, and proofs that are checked without any node.
//!
//! The wallet, the load generator, the tests and third-party programs use this crate; the node
//! serves the same [`rpc`] types, so the two cannot drift apart.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
#[cfg(test)]
mod golden;
mod journal;
mod key_file;
mod keystore;
pub mod network_file;
mod proof;
pub mod rpc;
mod send;
mod transaction;

pub use client::{Blocks, CallError, Client, DEFAULT_DEADLINE};
pub use journal::{Entry, Journal, JournalError};
pub use key_file::{Cost, KeyFile, KeyFileError, generate};
pub use keystore::{Keystore, KeystoreError};
pub use proof::{
    CertifiedReceipt, FinalReceipt, Link, MAX_CERTIFIED_RECEIPT_BYTES, ProofFault, ReceiptFile,
    Verified,
};
pub use send::{Delivery, Outcome, Progress, Wait};
pub use transaction::{DEFAULT_LIFETIME, SignedTransaction, Transfer};
