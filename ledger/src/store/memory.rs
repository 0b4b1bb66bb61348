//! A store in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;

use super::{Column, Durability, Store, StoreError, Visit, Write};

type Columns = BTreeMap<Column, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Keeps everything in ordered maps; forgets it when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    columns: RwLock<Columns>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clone for MemoryStore {
    /// A copy as of now; later writes to one do not show in the other.
    fn clone(&self) -> Self {
        let columns = self.columns.read().expect("no holder of this lock panics");
        MemoryStore {
            columns: RwLock::new(columns.clone()),
        }
    }
}

impl Store for MemoryStore {
    fn write(&self, writes: &[Write], _: Durability) -> Result<(), StoreError> {
        let mut columns = self.columns.write().expect("no holder of this lock panics");
        for Write { column, key, value } in writes {
            let column = columns.entry(*column).or_default();
            match value {
                Some(value) => column.insert(key.clone(), value.clone()),
                None => column.remove(key),
            };
        }
        Ok(())
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let columns = self.columns.read().expect("no holder of this lock panics");
        Ok(columns.get(&column).and_then(|map| map.get(key)).cloned())
    }

    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        // One key at a time, so that `visit` may use the store itself.
        let mut after = Bound::Included(from.to_vec());
        loop {
            let found = {
                let columns = self.columns.read().expect("no holder of this lock panics");
                let Some(map) = columns.get(&column) else {
                    return Ok(());
                };
                map.range::<Vec<u8>, _>((after, Bound::Unbounded))
                    .next()
                    .map(|(key, value)| (key.clone(), value.clone()))
            };
            match found {
                Some((key, value)) if visit(&key, &value) => after = Bound::Excluded(key),
                _ => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        super::super::conformance::check(&MemoryStore::new());
    }
}
