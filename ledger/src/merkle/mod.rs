//! Merkle commitments. [`Log`] is an append-only list with range proofs; it serves the outbox
//! logs, the outbox and inbox trees and the receipts. [`Trie`] is the map from accounts to what
//! they hold. `MERKLE.md` specifies both, with test vectors.

mod log;
mod part;
mod trie;
mod walk;

pub use log::{Log, RangeProof, RootKind};
pub use part::{MAX_PART_ACCOUNTS, MAX_PART_BYTES, Piece, TriePart, TriePath};
pub use trie::{Trie, TrieDone, TrieJob};
pub use walk::{ProofError, Step, Walk};
