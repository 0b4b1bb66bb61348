//! The files of a replica, and what must hold before any of them is opened for writing.
//!
//! In this order: nobody else holds the directory (the caller has its lock); the data is of this
//! chain, seat, key and format; no earlier run has asked for a person; there is room. Then the
//! database is opened, and the safety record against it: a log that ends before what the record
//! vouches for, or no record beside a log, means that statements are forgotten.

use std::path::Path;
use std::sync::Arc;

use lockstep_consensus::{LogEnd, SafetyRecord};
use lockstep_ledger::{RocksStore, Store};
use lockstep_shard::{has_any_block, has_block};
use lockstep_types::CommitteeId;

use crate::evidence::EvidenceBook;
use crate::exit::{Stop, StopSwitch};
use crate::held;
use crate::home::Home;
use crate::identity::Identity;
use crate::replica::stop_for;
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
        opening.identity.check(home)?;
        held::check(home)?;
        let space = Space::open(&home.data(), opening.min_free_mib)?;
        let file = home.evidence_file();
        let evidence = EvidenceBook::open(&file)
            .map_err(|error| Stop::storage(format!("{}: {error}", file.display())))?;
        let directory = home.committee_data(opening.committee);
        let (store, safety, record) = open_replica(&directory, opening)?;
        Ok(Disk {
            store,
            safety,
            record,
            evidence,
            space,
        })
    }
}

/// The database, the safety file, and the facts in it.
type ReplicaFiles = (Arc<dyn Store>, SafetyFile, Option<SafetyRecord>);

fn open_replica(directory: &Path, opening: &Opening<'_>) -> Result<ReplicaFiles, Stop> {
    let switch = opening.switch;
    let place = directory.display();
    let failed = |error: &dyn std::fmt::Display| Stop::storage(format!("{place}: {error}"));
    std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let safety = directory.join("safety");
    let store = RocksStore::open(&directory.join("db")).map_err(|error| failed(&error))?;
    let store: Arc<dyn Store> = Arc::new(WatchedStore::new((opening.wrap)(store), switch.clone()));
    // A log that cannot be read counts as one that ends too early; but then that is the reason.
    let in_log = |end: &LogEnd| has_block(store.as_ref(), end.height, &end.block).unwrap_or(false);
    let forgotten = |why: String| {
        let stop = Stop::Forgotten(format!("{place}: {why}"));
        switch.reason().unwrap_or(stop)
    };
    // A member may have voted before it executed anything. Nothing is made before this: an empty
    // record would pass for a true one at the next start.
    if !SafetyFile::is_whole(&safety) && has_any_block(store.as_ref()).map_err(stop_for)? {
        return Err(forgotten("a chain but no safety record".to_owned()));
    }
    let (safety, record) = SafetyFile::open(&safety, in_log).map_err(|error| match error {
        SafetyFileError::Io(error) => failed(&error),
        SafetyFileError::Wiped(wiped) => forgotten(wiped.to_string()),
    })?;
    match switch.reason() {
        None => Ok((store, safety, record)),
        Some(reason) => Err(reason),
    }
}
