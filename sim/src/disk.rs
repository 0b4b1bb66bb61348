//! A simulated disk: a store whose unsynced writes a crash may lose, and the safety record beside
//! it, in a file of its own.
//!
//! What the process writes is seen at once; what survives a crash is a prefix of it in the order in
//! which it was written. So the disk keeps the writes since the last sync together with what they
//! replaced, and a crash takes a suffix of them back.

use lockstep_consensus::SafetyRecord;
use lockstep_ledger::{Column, Durability, MemoryStore, Store, Write};

use crate::Random;

/// The value a write replaced.
type Replaced = (Column, Vec<u8>, Option<Vec<u8>>);

/// What one member keeps.
#[derive(Default)]
pub struct Disk {
    store: MemoryStore,
    /// Per unsynced write what it replaced, in order.
    unsynced: Vec<Vec<Replaced>>,
    record: Option<SafetyRecord>,
}

impl Disk {
    /// The store as the process sees it.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The safety record last synced.
    pub fn record(&self) -> Option<&SafetyRecord> {
        self.record.as_ref()
    }

    fn write(&self, writes: &[Write]) {
        self.store
            .write(writes, Durability::Buffered)
            .expect("memory does not fail");
    }

    /// Writes without waiting for the disk.
    pub fn write_behind(&mut self, writes: &[Write]) {
        let replaced = writes.iter().map(|write| {
            let before = self.store.get(write.column, &write.key);
            let before = before.expect("memory does not fail");
            (write.column, write.key.clone(), before)
        });
        self.unsynced.push(replaced.collect());
        self.write(writes);
    }

    /// Writes and syncs, with everything before.
    pub fn write_synced(&mut self, writes: &[Write], record: Option<&SafetyRecord>) {
        self.write(writes);
        self.unsynced.clear();
        if let Some(record) = record {
            self.record = Some(record.clone());
        }
    }

    /// The record's file is synced before the log is; a crash may come between.
    pub fn write_record(&mut self, record: &SafetyRecord) {
        self.record = Some(record.clone());
    }

    /// A power cut: of the unsynced writes a prefix survives.
    pub fn crash(&mut self, random: &mut Random) {
        let survive = random.below(self.unsynced.len() as u64 + 1);
        let survive = usize::try_from(survive).expect("an index");
        for replaced in self.unsynced.drain(survive..).rev() {
            let undo: Vec<Write> = replaced
                .into_iter()
                .rev()
                .map(|(column, key, value)| Write { column, key, value })
                .collect();
            self.store
                .write(&undo, Durability::Buffered)
                .expect("memory does not fail");
        }
        self.unsynced.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_takes_back_what_was_not_synced_and_nothing_else() {
        let put = |value: u8| [Write::put(Column::Meta, b"k", vec![value])];
        let read = |disk: &Disk| disk.store().get(Column::Meta, b"k").unwrap();
        let mut seen = Vec::new();
        for seed in 0..20 {
            let mut disk = Disk::default();
            disk.write_synced(&put(1), None);
            disk.write_behind(&put(2));
            disk.write_behind(&[Write {
                column: Column::Meta,
                key: b"k".to_vec(),
                value: None,
            }]);
            assert_eq!(read(&disk), None);
            disk.crash(&mut Random::new(seed));
            seen.push(read(&disk).map(|value| value[0]));
        }
        for value in [None, Some(1), Some(2)] {
            assert!(seen.contains(&value), "every prefix happens");
        }
        let mut disk = Disk::default();
        disk.write_behind(&put(1));
        disk.write_synced(&put(2), None);
        disk.crash(&mut Random::new(1));
        assert_eq!(read(&disk), Some(vec![2]));
    }
}
