//! One test per rule of execution, value across shards, proofs and recovery.

#![allow(clippy::unwrap_used)]

mod bench;
mod crossing;
mod execution;
mod proofs;
mod recovery;
