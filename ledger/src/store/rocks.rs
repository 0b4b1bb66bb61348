//! The store of a node: one RocksDB with a column family per column. Every option that durability
//! or memory rests on is set here, none is left to a default, and a test reads them back from what
//! RocksDB writes down about itself.

use std::path::Path;

use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::{Column, Durability, Store, StoreError, Visit, Write};

/// Write-ahead log kept before memtables are flushed to let it go. Bounds the time to open.
const MAX_WAL_BYTES: u64 = 256 << 20;
/// One memtable.
const MEMTABLE_BYTES: usize = 32 << 20;
/// All memtables of the database together.
const MAX_MEMTABLE_BYTES: usize = 256 << 20;
/// Memtables of a column that wait to be flushed before writes wait for them.
const MAX_MEMTABLES: i32 = 3;
/// Files held open. The rest of a common limit of 1,024 is for sockets.
const MAX_OPEN_FILES: i32 = 256;
/// RocksDB's own information log: how large one file gets and how many are kept.
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOG_FILES: usize = 4;

/// A RocksDB database.
pub struct RocksStore {
    database: DB,
    synced: WriteOptions,
    buffered: WriteOptions,
    reads: ReadOptions,
}

impl RocksStore {
    /// Opens the database in a directory, or makes one.
    ///
    /// # Errors
    /// When the directory is locked by another process, damaged, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        refuse_headless(path)?;
        let columns = Column::ALL.map(|c| ColumnFamilyDescriptor::new(c.name(), column_options()));
        let database =
            DB::open_cf_descriptors(&database_options(), path, columns).map_err(failed("open"))?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        synced.disable_wal(false);
        let mut buffered = WriteOptions::default();
        buffered.set_sync(false);
        buffered.disable_wal(false);
        Ok(RocksStore {
            database,
            synced,
            buffered,
            reads: checked_reads(),
        })
    }

    fn column(&self, column: Column) -> &ColumnFamily {
        self.database
            .cf_handle(column.name())
            .expect("every column is opened")
    }
}

/// RocksDB takes a directory without the file `CURRENT` for a new database: it begins one there, and
/// at the next start it deletes the tables that it does not know. What is lost is a file of 16 bytes.
fn refuse_headless(path: &Path) -> Result<(), StoreError> {
    if path.join("CURRENT").exists() {
        return Ok(());
    }
    let holds_data = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        (name.ends_with(".sst") || name.ends_with(".log")).then_some(name)
    };
    let mut files = std::fs::read_dir(path).into_iter().flatten();
    match files.find_map(holds_data) {
        None => Ok(()),
        Some(file) => Err(StoreError {
            operation: "open",
            cause: format!(
                "{} holds {file} and no file CURRENT, which names the newest MANIFEST file: put it \
                 back, with that name and a line end, or restore the directory",
                path.display()
            ),
        }),
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // Stricter modes refuse to open after a plain kill; looser ones drop synced writes silently.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_manual_wal_flush(false);
    options.set_atomic_flush(false);
    options.set_unordered_write(false);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    options.set_db_write_buffer_size(MAX_MEMTABLE_BYTES);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options
}

fn column_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(MAX_MEMTABLES);
    // Signatures and hashes do not compress.
    options.set_compression_type(DBCompressionType::None);
    options
}

/// What the disk gives back is what was written to it, or an error.
fn checked_reads() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options
}

fn failed(operation: &'static str) -> impl Fn(rocksdb::Error) -> StoreError {
    move |error| StoreError {
        operation,
        cause: error.into_string(),
    }
}

impl Store for RocksStore {
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for Write { column, key, value } in writes {
            match value {
                Some(value) => batch.put_cf(self.column(*column), key, value),
                None => batch.delete_cf(self.column(*column), key),
            }
        }
        let options = match durability {
            Durability::Synced => &self.synced,
            Durability::Buffered => &self.buffered,
        };
        self.database
            .write_opt(batch, options)
            .map_err(failed("write"))
    }

    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database
            .get_cf_opt(self.column(column), key, &self.reads)
            .map_err(failed("read"))
    }

    fn scan(&self, column: Column, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let options = checked_reads();
        let start = IteratorMode::From(from, Direction::Forward);
        for entry in self
            .database
            .iterator_cf_opt(self.column(column), options, start)
        {
            let (key, value) = entry.map_err(failed("scan"))?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let name = format!("lockstep-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn conforms_and_reopens() {
        let path = scratch("rocks-conforms");
        {
            let store = RocksStore::open(&path).unwrap();
            conformance::check(&store);
            conformance::prepare_reopen(&store);
            let again = RocksStore::open(&path).err().unwrap();
            assert_eq!(again.operation, "open", "one process at a time");
        }
        conformance::check_reopened(&RocksStore::open(&path).unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }

    /// What a power cut leaves: the files as they are, the last record of the log torn.
    #[test]
    fn opens_after_a_torn_tail_and_keeps_what_was_synced() {
        let (path, after) = (scratch("rocks-torn"), scratch("rocks-torn-after"));
        let store = RocksStore::open(&path).unwrap();
        conformance::prepare_reopen(&store);
        let last = Write::put(Column::Meta, *b"last", vec![1; 4_096]);
        store.write(&[last], Durability::Buffered).unwrap();
        std::fs::create_dir(&after).unwrap();
        let mut torn = 0;
        for file in std::fs::read_dir(&path).unwrap() {
            let file = file.unwrap().path();
            let copy = after.join(file.file_name().unwrap());
            std::fs::copy(&file, &copy).unwrap();
            let length = std::fs::metadata(&copy).unwrap().len();
            if copy.extension().is_some_and(|e| e == "log") && length > 0 {
                let copy = std::fs::File::options().write(true).open(copy).unwrap();
                copy.set_len(length - 100).unwrap();
                torn += 1;
            }
        }
        assert_eq!(torn, 1, "one log in use");
        let opened = RocksStore::open(&after).unwrap();
        conformance::check_reopened(&opened);
        assert_eq!(opened.get(Column::Meta, b"last"), Ok(None));
        drop((store, opened));
        std::fs::remove_dir_all(path).unwrap();
        std::fs::remove_dir_all(after).unwrap();
    }

    /// What a killed process left to the system, and a start goes on from, survives a loss of power
    /// after that start: it is in tables by then, which are synced before they count.
    #[test]
    fn a_start_makes_durable_what_it_finds() {
        let (path, after) = (scratch("rocks-killed"), scratch("rocks-killed-after"));
        let store = RocksStore::open(&path).unwrap();
        let write = Write::put(Column::Meta, *b"last", vec![1; 4_096]);
        store.write(&[write], Durability::Buffered).unwrap();
        std::fs::create_dir(&after).unwrap();
        for file in std::fs::read_dir(&path).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, after.join(file.file_name().unwrap())).unwrap();
        }
        let opened = RocksStore::open(&after).unwrap();
        for file in std::fs::read_dir(&after).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "log") {
                assert_eq!(std::fs::metadata(&file).unwrap().len(), 0, "{file:?}");
            }
        }
        assert_eq!(opened.get(Column::Meta, b"last"), Ok(Some(vec![1; 4_096])));
        drop((store, opened));
        std::fs::remove_dir_all(path).unwrap();
        std::fs::remove_dir_all(after).unwrap();
    }

    /// Left to itself, RocksDB fails at the first start and has deleted everything after the second.
    #[test]
    fn a_database_whose_head_is_gone_is_left_as_it_is() {
        let path = scratch("rocks-headless");
        let store = RocksStore::open(&path).unwrap();
        conformance::prepare_reopen(&store);
        drop(store);
        let head = std::fs::read(path.join("CURRENT")).unwrap();
        std::fs::remove_file(path.join("CURRENT")).unwrap();
        for _ in 0..2 {
            let refused = RocksStore::open(&path).err().unwrap();
            assert!(refused.cause.contains("CURRENT"), "{refused}");
        }
        std::fs::write(path.join("CURRENT"), head).unwrap();
        conformance::check_reopened(&RocksStore::open(&path).unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_an_error_and_never_a_value() {
        let path = scratch("rocks-flipped");
        let key = |number: u64| number.to_be_bytes();
        {
            let store = RocksStore::open(&path).unwrap();
            let writes: Vec<_> = (0..100)
                .map(|number| Write::put(Column::Batches, key(number), vec![7; 1_000]))
                .collect();
            store.write(&writes, Durability::Synced).unwrap();
            let column = store.column(Column::Batches);
            store.database.flush_cf(column).unwrap();
        }
        let files = std::fs::read_dir(&path).unwrap();
        let tables = files.map(|file| file.unwrap().path());
        let table = tables.filter(|file| file.extension().is_some_and(|e| e == "sst"));
        let table = table.max_by_key(|file| std::fs::metadata(file).unwrap().len());
        let table = table.unwrap();
        let mut bytes = std::fs::read(&table).unwrap();
        bytes[50_000] ^= 1;
        std::fs::write(&table, bytes).unwrap();
        let store = RocksStore::open(&path).unwrap();
        let read = (0..100).map(|number| store.get(Column::Batches, &key(number)));
        let (good, bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        assert!(!bad.is_empty() && good.iter().all(|read| *read == Ok(Some(vec![7; 1_000]))));
        let scan = store.scan(Column::Batches, &[], &mut |_, _| true);
        assert!(scan.is_err());
        drop(store);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn runs_with_the_options_that_durability_rests_on() {
        let path = scratch("rocks-options");
        drop(RocksStore::open(&path).unwrap());
        let files = std::fs::read_dir(&path).unwrap();
        let newest = files
            .map(|file| file.unwrap().path())
            .filter(|file| {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with("OPTIONS-")
            })
            .max()
            .unwrap();
        let text = std::fs::read_to_string(newest).unwrap();
        for option in [
            "paranoid_checks=true",
            "wal_recovery_mode=kTolerateCorruptedTailRecords",
            "recycle_log_file_num=0",
            "manual_wal_flush=false",
            "atomic_flush=false",
            "unordered_write=false",
            "max_total_wal_size=268435456",
            "db_write_buffer_size=268435456",
            "max_open_files=256",
        ] {
            assert!(text.contains(option), "{option} is not in effect");
        }
        let columns = text.matches("[CFOptions \"").count();
        assert_eq!(columns, 1 + Column::ALL.len(), "and the unused default one");
        let uncompressed = text.matches("  compression=kNoCompression").count();
        assert!(uncompressed >= Column::ALL.len());
        assert!(text.matches("write_buffer_size=33554432").count() >= Column::ALL.len());
        std::fs::remove_dir_all(path).unwrap();
    }
}
