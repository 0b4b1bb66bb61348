//! One test per rule of execution, value across shards, proofs and recovery.

#![allow(clippy::unwrap_used)]

mod bench;
mod crossing;
mod execution;
mod mutations;
mod proofs;
#[path = "../model/random.rs"]
mod random;
mod recovery;
mod snapshot;
