//! What can go wrong with a ledger as a whole. All of it concerns this replica's own files or its
//! genesis; nothing here comes from a peer.

use lockstep_types::AssetId;

use crate::Broken;
use crate::store::StoreError;

/// Why a ledger cannot be opened or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state on disk is not what this program writes.
    #[error("the state on disk is damaged: {0}")]
    Damaged(&'static str),
    /// The state on disk was written by another version.
    #[error("the state on disk has format {got}, this program reads {expected}")]
    Format {
        /// As found.
        got: u8,
        /// As expected.
        expected: u8,
    },
    /// The state on disk breaks an invariant.
    #[error("the state on disk is wrong: {0}")]
    Broken(#[from] Broken),
    /// Genesis gives out more of an asset than a ledger can count.
    #[error("genesis allocates more than {limit} of asset {}", asset.get())]
    TooMuch {
        /// Of which asset.
        asset: AssetId,
        /// The most there may be.
        limit: u128,
    },
}
