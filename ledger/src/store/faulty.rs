//! A store over another that fails when it is told to, in the ways disks do. For tests of what
//! stands above it: whoever sees one of these errors must stop, and start again from what is there.

use std::sync::Mutex;

use super::{Column, Durability, Store, StoreError, Visit, Write};

/// A way in which a disk fails. It goes on until [`FaultyStore::heal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Write,
    /// Nothing is written, for want of room.
    Full,
    /// It is written, and nobody knows whether it will be there after a loss of power.
    Sync,
    /// What is read does not have the checksum it was written with.
    Checksum,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [Fault::Write, Fault::Full, Fault::Sync, Fault::Checksum];

    /// What such a failure says, as the database words it.
    const fn cause(self) -> &'static str {
        match self {
            Fault::Write => "IO error: Input/output error: While appending to file",
            Fault::Full => "IO error: No space left on device: While appending to file",
            Fault::Sync => "IO error: Input/output error: While fdatasync",
            Fault::Checksum => "Corruption: block checksum mismatch",
        }
    }

    fn error(self, operation: &'static str) -> StoreError {
        StoreError {
            operation,
            cause: self.cause().to_owned(),
        }
    }
}

/// The store.
#[derive(Debug)]
pub struct FaultyStore<S> {
    store: S,
    fault: Mutex<Option<Fault>>,
}

impl<S: Store> FaultyStore<S> {
    /// Over a store that works, and working.
    pub fn new(store: S) -> Self {
        FaultyStore {
            store,
            fault: Mutex::new(None),
        }
    }

    /// From now on it fails so.
    pub fn break_by(&self, fault: Fault) {
        *self.fault.lock().expect("no holder of this lock panics") = Some(fault);
    }

    /// From now on it works again.
    pub fn heal(&self) {
        *self.fault.lock().expect("no holder of this lock panics") = None;
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().expect("no holder of this lock panics")
    }

    fn may_read(&self, operation: &'static str) -> Result<(), StoreError> {
        match self.fault() {
            Some(fault @ Fault::Checksum) => Err(fault.error(operation)),
            _ => Ok(()),
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        match self.fault() {
            None | Some(Fault::Checksum) => self.store.write(writes, durability),
            Some(fault @ Fault::Sync) => {
                self.store.write(writes, Durability::Buffered)?;
                Err(fault.error("write"))
            }
            Some(fault @ (Fault::Write | Fault::Full)) => Err(fault.error("write")),
        }
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.may_read("read")?;
        self.store.get(column, key)
    }

    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.may_read("scan")?;
        self.store.scan(column, from, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryStore, conformance};
    use super::*;

    #[test]
    fn it_is_a_store_until_it_is_told_otherwise() {
        conformance::check(&FaultyStore::new(MemoryStore::new()));
        let store = FaultyStore::new(MemoryStore::new());
        let write = [Write::put(Column::Meta, *b"k", vec![1])];
        let read = || store.get(Column::Meta, b"k");
        for fault in [Fault::Write, Fault::Full] {
            store.break_by(fault);
            assert!(store.write(&write, Durability::Synced).is_err());
            assert_eq!(read(), Ok(None));
        }
        store.break_by(Fault::Sync);
        assert!(store.write(&write, Durability::Synced).is_err());
        assert_eq!(read(), Ok(Some(vec![1])));
        store.break_by(Fault::Checksum);
        assert!(read().is_err() && store.scan(Column::Meta, b"", &mut |_, _| true).is_err());
        store.heal();
        assert_eq!(read(), Ok(Some(vec![1])));
    }
}
