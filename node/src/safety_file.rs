//! The safety record's file: opening, writing and syncing what
//! [`lockstep_consensus::safety_file`] reads and writes.
//!
//! Breaks if: a slot is written before the previous one and the log it vouches for are synced (the
//! storage thread writes one at a time and waits for both), or the file grows while it is in use
//! (it is made whole at the start, so that a sync never waits for metadata).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lockstep_consensus::safety_file::{FILE_BYTES, SLOT_BYTES, Stored, Wiped, start};
use lockstep_consensus::{LogEnd, Marks, SafetyRecord};

use crate::exit::Stop;

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct SafetyFile {
    file: File,
    next_counter: u64,
    /// Of the newest record in it.
    marks: Marks,
}

/// Why the file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SafetyFileError {
    /// The system says so.
    #[error("safety record: {0}")]
    Io(#[from] io::Error),
    /// What this key has signed is not known any more.
    #[error("{0}")]
    Wiped(#[from] Wiped),
}

impl SafetyFile {
    /// Is there a file that was made to its end?
    pub(crate) fn is_whole(path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.len() >= FILE_BYTES as u64)
    }

    /// Opens the file, or makes it, and syncs it; returns the facts to go on with. `in_log` says
    /// whether a block that a record vouches for is in the log.
    pub(crate) fn open(
        path: &Path,
        in_log: impl Fn(&LogEnd) -> bool,
    ) -> Result<(Self, Option<SafetyRecord>), SafetyFileError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // A file cut short in its making was never written to.
        if !Self::is_whole(path) {
            file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        }
        // A process that was killed may have left writes that no disk has seen: what is read here is
        // taken for durable.
        file.sync_all()?;
        let directory = path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
        let mut bytes = vec![0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let (first, second) = bytes.split_at(SLOT_BYTES);
        let found = start(first, second, in_log)?;
        if found.log_behind {
            tracing::warn!("the log ends before the newest safety record; blocks will be fetched");
        }
        let file = SafetyFile {
            file,
            next_counter: found.next_counter,
            marks: found.record.as_ref().map(Marks::of).unwrap_or_default(),
        };
        Ok((file, found.record))
    }

    /// One on a disk without room.
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        SafetyFile {
            file,
            next_counter: 1,
            marks: Marks::default(),
        }
    }

    /// Writes a record over the older slot and syncs it. After an error the caller must not go on.
    /// A record in which something went back that only rises is not written.
    pub(crate) fn write(&mut self, record: SafetyRecord) -> Result<(), Stop> {
        let risen = self.marks.rise_to(Marks::of(&record));
        risen.map_err(|fallen| Stop::Broken(format!("safety record: {fallen}")))?;
        let written = self.write_slot(record);
        written.map_err(|error| Stop::storage(format!("safety record: {error}")))
    }

    fn write_slot(&mut self, record: SafetyRecord) -> io::Result<()> {
        let stored = Stored {
            counter: self.next_counter,
            record,
        };
        let offset = Stored::offset(stored.counter) as u64;
        self.file.write_all_at(&stored.encode(), offset)?;
        self.file.sync_data()?;
        self.next_counter += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::{BlockId, Epoch, Height, LogPosition, QuorumCertificate, View};

    use super::*;

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

    #[test]
    fn a_record_that_goes_back_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("safety");
        let open = || SafetyFile::open(&path, |_| true);
        let (mut file, _) = open().unwrap();
        file.write(record(4)).unwrap();
        for _ in 0..2 {
            let fallen = file.write(record(3)).unwrap_err();
            assert!(fallen.to_string().contains("lock"), "{fallen}");
        }
        // Nor after a start.
        let (mut file, start) = open().unwrap();
        assert_eq!(start, Some(record(4)));
        assert!(matches!(file.write(record(3)), Err(Stop::Broken(_))));
        file.write(record(4)).unwrap();
    }

    #[test]
    fn a_torn_write_leaves_the_record_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("safety");
        let open = || SafetyFile::open(&path, |_| true);
        let (mut file, start) = open().unwrap();
        assert_eq!(start, None);
        for lock in 1..=4 {
            file.write(record(lock)).unwrap();
        }
        let (_, start) = open().unwrap();
        assert_eq!(start, Some(record(4)));
        // Record 4 is in the second slot.
        let second = SLOT_BYTES as u64 + 30;
        file.file.write_all_at(&[0xff; 64], second).unwrap();
        let (_, start) = open().unwrap();
        assert_eq!(start, Some(record(3)));
        // Both damaged: nobody may go on as if nothing had been signed.
        file.file.write_all_at(&[0xff; 64], 30).unwrap();
        assert!(matches!(open(), Err(SafetyFileError::Wiped(_))));
    }
}
