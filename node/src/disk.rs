//! The files of a replica, and what must hold before any of them is opened for writing.
//!
//! In this order: nobody else holds the directory (the caller has its lock); the data is of this
//! chain, seat, key and format; no earlier run has asked for a person; there is room. Then the
//! database is opened, and the safety record against it: a log that ends before what the record
//! vouches for, or no record beside a log, means that statements are forgotten.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstep_consensus::{LogEnd, SafetyRecord};
use lockstep_ledger::{RocksStore, Store};
use lockstep_shard::has_block;
use lockstep_types::CommitteeId;

use crate::evidence::EvidenceBook;
use crate::exit::{Stop, StopSwitch};
use crate::held;
use crate::home::Home;
use crate::identity::{Identity, write_whole};
use crate::safety_file::{SafetyFile, SafetyFileError};
use crate::space::Space;
use crate::watched_store::WatchedStore;

/// What a validator makes of its database, once it is open.
pub(crate) type Wrap<'a> = &'a dyn Fn(RocksStore) -> Arc<dyn Store>;

/// The files of a replica, open.
pub(crate) struct Disk {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) safety: SafetyFile,
    pub(crate) record: Option<SafetyRecord>,
    /// The record is lost, and none has been written since.
    pub(crate) lost: bool,
    pub(crate) evidence: EvidenceBook,
    pub(crate) space: Arc<Space>,
}

/// What is opened.
pub(crate) struct Opening<'a> {
    pub(crate) home: &'a Home,
    pub(crate) identity: &'a Identity,
    pub(crate) committee: CommitteeId,
    pub(crate) min_free_mib: u64,
    /// As it is, but in tests.
    pub(crate) wrap: Wrap<'a>,
    /// `--recover`: start although the safety record is lost.
    pub(crate) recover: bool,
    /// Thrown by any later failure of the store.
    pub(crate) switch: &'a StopSwitch,
}

impl Disk {
    /// Checks and opens everything.
    ///
    /// # Errors
    /// What is wrong, on which side, and what to do about it.
    pub(crate) fn open(opening: &Opening<'_>) -> Result<Self, Stop> {
        let home = opening.home;
        opening.identity.check(home, opening.recover)?;
        held::check(home)?;
        let space = Space::open(&home.data(), opening.min_free_mib)?;
        let file = home.evidence_file();
        let evidence = EvidenceBook::open(&file)
            .map_err(|error| Stop::storage(format!("{}: {error}", file.display())))?;
        let directory = home.committee_data(opening.committee);
        let (store, safety, record) = open_replica(&directory, opening)?;
        home.note_first_run()?;
        let lost = is_lost(&directory, record.is_none())
            .map_err(|error| Stop::storage(format!("{}: {error}", directory.display())))?;
        Ok(Disk {
            store,
            safety,
            record,
            lost,
            evidence,
            space,
        })
    }
}

/// Beside a safety file: its record is lost, and none has been written since. An empty file must not
/// pass for that of a new validator.
fn lost_mark(directory: &Path) -> PathBuf {
    directory.join("safety.lost")
}

/// Is the safety record lost?
fn is_lost(directory: &Path, without_record: bool) -> std::io::Result<bool> {
    let mark = lost_mark(directory);
    let marked = mark.try_exists()?;
    if marked && !without_record {
        std::fs::remove_file(&mark)?;
    }
    Ok(marked && without_record)
}

/// Opens the safety file; with `recover` a useless one is put aside and made anew.
fn open_safety(
    directory: &Path,
    recover: bool,
    in_log: impl Fn(&LogEnd) -> bool,
) -> Result<(SafetyFile, Option<SafetyRecord>), SafetyFileError> {
    let safety = directory.join("safety");
    if !recover {
        return SafetyFile::open(&safety, in_log);
    }
    // Before an empty file is made, and taken back when there is a record.
    write_whole(&lost_mark(directory), b"until a record is written again\n")?;
    match SafetyFile::open(&safety, &in_log) {
        Err(SafetyFileError::Wiped(wiped)) => {
            tracing::warn!(%wiped, "the safety record is of no use; it is put aside");
            std::fs::rename(&safety, directory.join("safety.useless"))?;
            SafetyFile::open(&safety, in_log)
        }
        Ok((file, Some(record))) => {
            tracing::info!("the safety record is whole: there is nothing to recover");
            Ok((file, Some(record)))
        }
        other => other,
    }
}

/// The database, the safety file, and the facts in it.
type ReplicaFiles = (Arc<dyn Store>, SafetyFile, Option<SafetyRecord>);

fn open_replica(directory: &Path, opening: &Opening<'_>) -> Result<ReplicaFiles, Stop> {
    let switch = opening.switch;
    let place = directory.display();
    let failed = |error: &dyn std::fmt::Display| Stop::storage(format!("{place}: {error}"));
    // Nothing is made before this: an empty record would pass for a true one at the next start.
    // Whether there is a chain says nothing: it may be gone too, and votes come before blocks.
    let is_gone = !SafetyFile::is_whole(&directory.join("safety"));
    if is_gone && !opening.recover && !opening.home.has_never_run()? {
        return Err(Stop::Forgotten(format!(
            "{place}: no safety record, but this validator has run before"
        )));
    }
    std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let store = RocksStore::open(&directory.join("db")).map_err(|error| failed(&error))?;
    let store: Arc<dyn Store> = Arc::new(WatchedStore::new((opening.wrap)(store), switch.clone()));
    // A log that cannot be read counts as one that ends too early; but then that is the reason.
    let in_log = |end: &LogEnd| has_block(store.as_ref(), end.height, &end.block).unwrap_or(false);
    let forgotten = |why: String| {
        let stop = Stop::Forgotten(format!("{place}: {why}"));
        switch.reason().unwrap_or(stop)
    };
    let opened = open_safety(directory, opening.recover, in_log);
    let (safety, record) = opened.map_err(|error| match error {
        SafetyFileError::Io(error) => failed(&error),
        SafetyFileError::Wiped(wiped) => forgotten(wiped.to_string()),
    })?;
    match switch.reason() {
        None => Ok((store, safety, record)),
        Some(reason) => Err(reason),
    }
}
