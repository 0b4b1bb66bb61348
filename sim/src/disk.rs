//! A simulated disk: a store whose unsynced writes a crash may lose, and the safety record's file
//! beside it, byte for byte as validators keep it.
//!
//! What the process writes is seen at once; what survives a crash is a prefix of it in the order in
//! which it was written. So the disk keeps the writes since the last sync together with what they
//! replaced, and a crash takes a suffix of them back. The slots of the safety file are written in
//! turn and read back by [`safety_file::start`]; a crash in the middle of a write tears one.
//!
//! A value of the store in which bits have flipped is not given out: the stores of validators keep
//! checksums, and say that they cannot read it. The safety file's checksums are our own, so there
//! the bits really flip.

use std::collections::BTreeSet;

use lockstep_consensus::SafetyRecord;
use lockstep_consensus::safety_file::{self, SLOT_BYTES, Stored, Wiped};
use lockstep_ledger::{Column, Durability, MemoryStore, Store, StoreError, Visit, Write};
use lockstep_shard::has_block;

use crate::Random;

/// What disks write at once or not at all.
const SECTOR: usize = 512;

/// The value a write replaced.
type Replaced = (Column, Vec<u8>, Option<Vec<u8>>);

/// A store with values that cannot be read.
#[derive(Clone, Default)]
struct Medium {
    store: MemoryStore,
    damaged: BTreeSet<(Column, Vec<u8>)>,
}

impl Medium {
    fn check(&self, column: Column, key: &[u8]) -> Result<(), StoreError> {
        if self.damaged.is_empty() || !self.damaged.contains(&(column, key.to_vec())) {
            return Ok(());
        }
        Err(StoreError {
            operation: "read",
            cause: format!("a checksum in column {} is wrong", column.name()),
        })
    }
}

impl Store for Medium {
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        self.store.write(writes, durability)
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check(column, key)?;
        self.store.get(column, key)
    }

    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let mut result = Ok(());
        self.store.scan(column, from, &mut |key, value| {
            result = self.check(column, key);
            result.is_ok() && visit(key, value)
        })?;
        result
    }
}

/// One slot of the safety file: the last record over what was there before.
#[derive(Clone, Default)]
struct Slot {
    /// What is left of earlier writes; zeros behind its end.
    before: Vec<u8>,
    /// Encoded only when somebody reads the file.
    last: Option<Stored>,
}

impl Slot {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.before.clone();
        if let Some(last) = &self.last {
            overwrite(&mut bytes, &last.encode());
        }
        bytes
    }

    fn set(&mut self, bytes: Vec<u8>) {
        self.before = bytes;
        self.last = None;
    }
}

fn overwrite(bytes: &mut Vec<u8>, with: &[u8]) {
    bytes.resize(bytes.len().max(with.len()), 0);
    bytes[..with.len()].copy_from_slice(with);
}

/// What a disk that fails does to its member's files, while the member is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// A value of the store can no longer be read.
    FlipValue,
    /// Bits flip in the slot of the safety file that was written before the last.
    FlipOlderSlot,
    /// Bits flip in both slots.
    FlipBothSlots,
    /// The store is as it was at the last [`Disk::keep_copy`], the safety file is not.
    LoseTail,
    /// Everything is as it was at the last [`Disk::keep_copy`].
    RestoreCopy,
    /// The safety file is gone, and the store is not.
    LoseRecord,
    /// Everything is gone.
    Wipe,
}

/// What one member keeps.
#[derive(Clone, Default)]
pub struct Disk {
    medium: Medium,
    /// Per unsynced write what it replaced, in order.
    unsynced: Vec<Vec<Replaced>>,
    slots: [Slot; 2],
    /// Of the last record written.
    counter: u64,
    /// Writes fail for want of space.
    pub(crate) is_full: bool,
    /// The next sync fails.
    pub(crate) fails: bool,
    copy: Option<Box<Disk>>,
}

impl Disk {
    /// The store as the process sees it.
    pub fn store(&self) -> &dyn Store {
        &self.medium
    }

    /// What was written, damaged or not: for looking from outside.
    pub fn contents(&self) -> &MemoryStore {
        &self.medium.store
    }

    /// Reads the safety file at a start, by the same rule as validators do.
    ///
    /// # Errors
    /// When statements may have been forgotten.
    pub fn open(&mut self) -> Result<safety_file::Start, Wiped> {
        let [first, second] = [self.slots[0].bytes(), self.slots[1].bytes()];
        let store = &self.medium;
        // A log that cannot be read counts as one that ends too early.
        let in_log = |end: &lockstep_consensus::LogEnd| {
            has_block(store, end.height, &end.block).unwrap_or(false)
        };
        let start = safety_file::start(&first, &second, in_log)?;
        self.counter = start.next_counter - 1;
        Ok(start)
    }

    fn write(&mut self, writes: &[Write]) {
        if !self.medium.damaged.is_empty() {
            for write in writes {
                self.medium
                    .damaged
                    .remove(&(write.column, write.key.clone()));
            }
        }
        self.medium
            .store
            .write(writes, Durability::Buffered)
            .expect("memory does not fail");
    }

    /// Writes without waiting for the disk.
    pub fn write_behind(&mut self, writes: &[Write]) {
        let replaced = writes.iter().map(|write| {
            let before = self.medium.store.get(write.column, &write.key);
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
            self.write_record(record);
        }
    }

    fn next(&mut self, record: &SafetyRecord) -> (Stored, &mut Slot) {
        let counter = self.counter + 1;
        let record = record.clone();
        let slot = Stored::offset(counter) / SLOT_BYTES;
        (Stored { counter, record }, &mut self.slots[slot])
    }

    /// Writes and syncs the safety record. Its file is synced beside the log; a crash may come
    /// between the two.
    pub fn write_record(&mut self, record: &SafetyRecord) {
        let (stored, slot) = self.next(record);
        slot.last = Some(stored);
        self.counter += 1;
    }

    /// A crash in the middle of the write of a record: some sectors of it are there, others hold
    /// what was there before, or nothing that anybody wrote.
    pub fn tear_record(&mut self, record: &SafetyRecord, random: &mut Random) {
        let (stored, slot) = self.next(record);
        let whole = stored.encode();
        let below = |random: &mut Random, bound: usize| {
            usize::try_from(random.below(bound as u64)).expect("an index")
        };
        let mut bytes = slot.bytes();
        let (cut, sectors) = (below(random, whole.len()), whole.len().div_ceil(SECTOR));
        match random.below(3) {
            0 => overwrite(&mut bytes, &whole[..cut]),
            1 => overwrite(&mut bytes, &whole[..cut / SECTOR * SECTOR]),
            _ => {
                overwrite(&mut bytes, &whole);
                let start = below(random, sectors) * SECTOR;
                let end = (start + SECTOR).min(bytes.len());
                bytes[start..end].fill_with(|| random.below(256).to_le_bytes()[0]);
            }
        }
        slot.set(bytes);
    }

    /// A power cut: of the unsynced writes a prefix survives, and is durable from the next start on,
    /// since a start makes durable what it finds.
    pub fn crash(&mut self, random: &mut Random) {
        let survive = random.below(self.unsynced.len() as u64 + 1);
        let survive = usize::try_from(survive).expect("an index");
        let lost: Vec<_> = self.unsynced.drain(survive..).rev().collect();
        for replaced in lost {
            let undo: Vec<Write> = replaced
                .into_iter()
                .rev()
                .map(|(column, key, value)| Write { column, key, value })
                .collect();
            self.write(&undo);
        }
        self.unsynced.clear();
    }

    /// Keeps a copy for [`Harm::LoseTail`] and [`Harm::RestoreCopy`].
    pub(crate) fn keep_copy(&mut self) {
        self.copy = None;
        self.copy = Some(Box::new(self.clone()));
    }

    /// Harms the files. False when there was nothing to harm.
    pub(crate) fn harm(&mut self, harm: Harm, random: &mut Random) -> bool {
        match harm {
            Harm::FlipValue => self.flip_value(random),
            Harm::FlipOlderSlot => self.flip_slot(self.counter.wrapping_sub(1), random),
            Harm::FlipBothSlots => {
                let older = self.flip_slot(self.counter.wrapping_sub(1), random);
                self.flip_slot(self.counter, random) && older
            }
            Harm::LoseTail => match &self.copy {
                Some(copy) => {
                    self.medium = copy.medium.clone();
                    true
                }
                None => false,
            },
            Harm::RestoreCopy => match self.copy.take() {
                Some(copy) => {
                    *self = *copy;
                    true
                }
                None => false,
            },
            Harm::LoseRecord => {
                (self.slots, self.counter) = Default::default();
                true
            }
            Harm::Wipe => {
                *self = Disk::default();
                true
            }
        }
    }

    fn flip_value(&mut self, random: &mut Random) -> bool {
        let column = *random.pick(&Column::ALL);
        let mut keys = Vec::new();
        let listed = self.medium.store.scan(column, &[], &mut |key, _| {
            keys.push(key.to_vec());
            true
        });
        listed.expect("memory does not fail");
        if keys.is_empty() {
            return false;
        }
        let key = random.pick(&keys).clone();
        self.medium.damaged.insert((column, key))
    }

    fn flip_slot(&mut self, counter: u64, random: &mut Random) -> bool {
        if counter == 0 || counter > self.counter {
            return false;
        }
        let slot = &mut self.slots[Stored::offset(counter) / SLOT_BYTES];
        let mut bytes = slot.bytes();
        let length = slot.last.as_ref().map_or(bytes.len(), |s| s.encode().len());
        if length == 0 {
            return false;
        }
        let bit = random.below(8 * length as u64);
        let byte = usize::try_from(bit / 8).expect("an index");
        bytes[byte] ^= 1 << (bit % 8);
        slot.set(bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use lockstep_consensus::LogEnd;
    use lockstep_types::{BlockId, Epoch, Height, LogPosition, QuorumCertificate, View};

    use super::*;

    fn put(value: u8) -> [Write; 1] {
        [Write::put(Column::Meta, b"k", vec![value])]
    }

    fn read(disk: &Disk) -> Option<u8> {
        let value = disk.store().get(Column::Meta, b"k").unwrap();
        value.map(|value| value[0])
    }

    fn record(lock: u64) -> SafetyRecord {
        let end = LogEnd {
            position: LogPosition::START,
            height: Height::ZERO,
            block: BlockId::ZERO,
        };
        let root = QuorumCertificate::root(Epoch::ZERO, BlockId::ZERO);
        let mut record = SafetyRecord::fresh(Epoch::ZERO, root, end);
        record.lock = View::new(lock);
        record
    }

    fn opened(disk: &mut Disk) -> Option<SafetyRecord> {
        disk.open().unwrap().record
    }

    #[test]
    fn a_crash_takes_back_what_was_not_synced_and_nothing_else() {
        let mut seen = Vec::new();
        for seed in 0..20 {
            let mut disk = Disk::default();
            disk.write_synced(&put(1), None);
            disk.write_behind(&put(2));
            disk.write_behind(&[Write::delete(Column::Meta, b"k")]);
            assert_eq!(read(&disk), None);
            disk.crash(&mut Random::new(seed));
            seen.push(read(&disk));
        }
        for value in [None, Some(1), Some(2)] {
            assert!(seen.contains(&value), "every prefix happens");
        }
        let mut disk = Disk::default();
        disk.write_behind(&put(1));
        disk.write_synced(&put(2), None);
        disk.crash(&mut Random::new(1));
        assert_eq!(read(&disk), Some(2));
    }

    #[test]
    fn a_torn_record_leaves_the_one_before_it() {
        let mut torn = 0;
        for seed in 0..50 {
            let mut disk = Disk::default();
            for lock in 1..=5 {
                disk.write_record(&record(lock));
            }
            disk.tear_record(&record(6), &mut Random::new(seed));
            let found = opened(&mut disk).unwrap();
            // A tear of nothing, or of a sector behind the end, is no tear.
            assert!(found == record(5) || found == record(6));
            torn += u32::from(found == record(5));
            disk.write_record(&record(7));
            assert_eq!(
                opened(&mut disk),
                Some(record(7)),
                "the torn slot is written"
            );
        }
        assert!(torn > 25);
    }

    #[test]
    fn harm_is_seen_by_who_reads() {
        let mut random = Random::new(1);
        let mut disk = Disk::default();
        disk.write_synced(&put(1), None);
        for lock in 1..=5 {
            disk.write_record(&record(lock));
        }
        disk.keep_copy();
        disk.write_synced(&put(2), Some(&record(6)));
        while !disk.harm(Harm::FlipValue, &mut random) {}
        assert!(disk.store().get(Column::Meta, b"k").is_err());
        assert!(
            disk.store()
                .scan(Column::Meta, &[], &mut |_, _| true)
                .is_err()
        );
        disk.write_synced(&put(3), None);
        assert_eq!(read(&disk), Some(3), "what is written anew can be read");
        assert!(disk.harm(Harm::FlipOlderSlot, &mut random));
        assert_eq!(opened(&mut disk), Some(record(6)));
        assert!(disk.harm(Harm::LoseTail, &mut random));
        assert_eq!((read(&disk), opened(&mut disk)), (Some(1), Some(record(6))));
        let mut twice = disk.clone();
        assert!(disk.harm(Harm::RestoreCopy, &mut random));
        assert_eq!((read(&disk), opened(&mut disk)), (Some(1), Some(record(5))));
        for lock in 7..=8 {
            twice.write_record(&record(lock));
        }
        assert!(twice.harm(Harm::FlipBothSlots, &mut random));
        assert_eq!(twice.open(), Err(Wiped::BothTorn));
    }
}
