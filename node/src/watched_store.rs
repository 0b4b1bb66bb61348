//! The store as all of a validator's threads see it: whoever meets a failure, be it a client's
//! question that reads a block with a bad checksum, the validator stops.

use std::sync::Arc;

use lockstep_ledger::{Column, Durability, Store, StoreError, Visit, Write};

use crate::exit::{Stop, StopSwitch};

/// A store whose every failure throws the switch.
pub(crate) struct WatchedStore {
    store: Arc<dyn Store>,
    switch: StopSwitch,
}

impl WatchedStore {
    pub(crate) fn new(store: Arc<dyn Store>, switch: StopSwitch) -> Self {
        WatchedStore { store, switch }
    }

    fn watch<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.switch.stop(Stop::storage(error));
        }
        result
    }
}

impl Store for WatchedStore {
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        self.watch(self.store.write(writes, durability))
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.watch(self.store.get(column, key))
    }

    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.watch(self.store.scan(column, from, visit))
    }
}
