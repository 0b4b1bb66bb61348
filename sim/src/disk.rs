//! A simulated disk: a store whose unsynced writes a crash may lose, and the safety record beside
//! it.

use lockstep_consensus::SafetyRecord;
use lockstep_ledger::{Durability, MemoryStore, Store, Write};

use crate::Random;

/// What one member keeps.
#[derive(Default)]
pub struct Disk {
    /// As the running process sees it.
    current: MemoryStore,
    /// What surely survives.
    durable: MemoryStore,
    /// Writes that are in `current` only, in order.
    unsynced: Vec<Vec<Write>>,
    record: Option<SafetyRecord>,
}

impl Disk {
    /// The store as the process sees it.
    pub fn store(&self) -> &MemoryStore {
        &self.current
    }

    /// The safety record last synced.
    pub fn record(&self) -> Option<&SafetyRecord> {
        self.record.as_ref()
    }

    /// Writes without waiting for the disk.
    pub fn write_behind(&mut self, writes: Vec<Write>) {
        self.current
            .write(&writes, Durability::Buffered)
            .expect("memory does not fail");
        self.unsynced.push(writes);
    }

    /// Writes and syncs, with everything before.
    pub fn write_synced(&mut self, writes: &[Write], record: Option<&SafetyRecord>) {
        self.current
            .write(writes, Durability::Synced)
            .expect("memory does not fail");
        for earlier in self.unsynced.drain(..) {
            self.durable
                .write(&earlier, Durability::Synced)
                .expect("memory does not fail");
        }
        self.durable
            .write(writes, Durability::Synced)
            .expect("memory does not fail");
        if let Some(record) = record {
            self.record = Some(record.clone());
        }
    }

    /// A power cut: of the unsynced writes a prefix survives.
    pub fn crash(&mut self, random: &mut Random) {
        let survive = random.below(self.unsynced.len() as u64 + 1);
        let survive = usize::try_from(survive).expect("an index");
        for writes in self.unsynced.drain(..).take(survive) {
            self.durable
                .write(&writes, Durability::Synced)
                .expect("memory does not fail");
        }
        self.current = self.durable.clone();
    }
}
