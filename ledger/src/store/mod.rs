//! Where a replica keeps its log and its state: ordered byte keys in a few columns, written in
//! atomic batches. [`MemoryStore`] is for tests and simulation, `RocksStore` (feature `rocksdb`)
//! for nodes; both pass the suite in [`conformance`]. [`FaultyStore`] makes either fail, for tests.

pub mod conformance;
mod faulty;
mod memory;
#[cfg(feature = "rocksdb")]
mod rocks;
pub(crate) mod schema;

pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
#[cfg(feature = "rocksdb")]
pub use rocks::RocksStore;

/// A part of the store with its own key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Log: blocks with their certificates.
    Blocks,
    /// Log: batches.
    Batches,
    /// Log: barrier records.
    Records,
    /// Log: bundles listed in blocks.
    Bundles,
    /// State: accounts.
    Accounts,
    /// State: everything small, see the ledger's `schema`.
    Meta,
    /// State: receipts and effects of each height.
    Receipts,
    /// State: from a transaction to its receipt.
    Index,
}

impl Column {
    /// All columns.
    pub const ALL: [Column; 8] = [
        Column::Blocks,
        Column::Batches,
        Column::Records,
        Column::Bundles,
        Column::Accounts,
        Column::Meta,
        Column::Receipts,
        Column::Index,
    ];

    /// Its name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Blocks => "blocks",
            Column::Batches => "batches",
            Column::Records => "records",
            Column::Bundles => "bundles",
            Column::Accounts => "accounts",
            Column::Meta => "meta",
            Column::Receipts => "receipts",
            Column::Index => "index",
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub column: Column,
    /// The key; keys are ordered byte by byte.
    pub key: Vec<u8>,
    /// What it becomes; `None` removes it.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Sets a key.
    pub fn put(column: Column, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Self {
        Write {
            column,
            key: key.into(),
            value: Some(value),
        }
    }

    /// Removes a key.
    pub fn delete(column: Column, key: impl Into<Vec<u8>>) -> Self {
        Write {
            column,
            key: key.into(),
            value: None,
        }
    }
}

/// When a write has to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before the call returns, together with every write before it.
    Synced,
    /// In order, some time later. A crash may lose the newest ones.
    Buffered,
}

/// A failure of the store. It is fatal: after a failed write nobody knows what is on disk, so the
/// caller stops and never tries again in this process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed to {operation}: {cause}")]
pub struct StoreError {
    /// What was asked of it.
    pub operation: &'static str,
    /// What it said.
    pub cause: String,
}

/// Takes a key and its value; says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> bool + 'a;

/// An ordered key-value store. Reads see every write that has returned.
pub trait Store: Send + Sync {
    /// Applies all of `writes` or none, in order: the last change of a key wins.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits keys from `from` on, ascending, until `visit` says no or the column ends.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError>;
}
