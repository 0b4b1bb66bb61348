//! The journal of sends: each is written down, synced, before it leaves, under a client id. Sending
//! again under the same id sends the same bytes and reports the earlier outcome; nobody pays twice
//! because a terminal was closed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_types::{GenesisHash, TransactionId};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::network_file::state_directory;
use crate::rpc::text;

/// Longest client id.
const MAX_ID: usize = 64;

/// A send as it was asked for, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The client id.
    pub id: String,
    /// The transaction.
    #[serde(with = "text")]
    pub transaction: TransactionId,
    /// Its bytes, in hexadecimal.
    pub bytes: String,
    /// The sender's address.
    pub from: String,
    /// The receiver's address.
    pub to: String,
    /// The asset.
    pub asset: u32,
    /// How many units.
    #[serde(with = "text")]
    pub amount: u128,
    /// How it ended, once that is known for good. The same command later is then a new payment.
    pub outcome: Option<Outcome>,
}

impl Entry {
    /// Is this the same payment, whatever its id?
    pub fn is_same_payment(&self, other: &Entry) -> bool {
        (&self.from, &self.to, self.asset, self.amount)
            == (&other.from, &other.to, other.asset, other.amount)
    }
}

/// The journal of one chain.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: PathBuf,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not usable as a file name.
    #[error("{id:?} is not a client id: 1 to {MAX_ID} letters, digits, '-' and '_'")]
    BadId {
        /// The id.
        id: String,
    },
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Not an entry.
    #[error("{} is damaged: {error}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl Journal {
    /// The user's journal for a chain.
    pub fn of_user(genesis: &GenesisHash) -> Self {
        Self::at(state_directory().join("sends").join(genesis.to_string()))
    }

    /// A journal in a directory; it is made with the first entry.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Journal {
            directory: directory.into(),
        }
    }

    fn path(&self, id: &str) -> Result<PathBuf, JournalError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) {
            return Err(JournalError::BadId { id: id.to_owned() });
        }
        Ok(self.directory.join(format!("{id}.json")))
    }

    /// The entry of an id.
    ///
    /// # Errors
    /// When the id is not one or the file is damaged.
    pub fn find(&self, id: &str) -> Result<Option<Entry>, JournalError> {
        read(&self.path(id)?)
    }

    /// An unsettled send of the same payment.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn unsettled(&self, like: &Entry) -> Result<Option<Entry>, JournalError> {
        Ok(self
            .entries()?
            .into_iter()
            .find(|e| e.outcome.is_none() && e.is_same_payment(like)))
    }

    /// The send that made a transaction.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn of_transaction(&self, id: &TransactionId) -> Result<Option<Entry>, JournalError> {
        Ok(self
            .entries()?
            .into_iter()
            .find(|entry| entry.transaction == *id))
    }

    fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        let failed = |error| JournalError::Io {
            path: self.directory.clone(),
            error,
        };
        let files = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(failed)?,
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file.map_err(failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                entries.extend(read(&path)?);
            }
        }
        Ok(entries)
    }

    /// Writes an entry, whole and synced, over an earlier one of its id.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(&entry.id)?;
        let failed = |error| JournalError::Io {
            path: path.clone(),
            error,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(failed)?;
        let temporary = path.with_extension("tmp");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        let text = serde_json::to_vec_pretty(entry).expect("plain data always encodes");
        file.write_all(&text).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)?;
        // The name is on disk only when the directory is.
        fs::File::open(&self.directory)
            .and_then(|d| d.sync_all())
            .map_err(failed)
    }
}

fn read(path: &Path) -> Result<Option<Entry>, JournalError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| JournalError::Io {
            path: path.to_owned(),
            error,
        })?,
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| JournalError::Damaged {
            path: path.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, amount: u128) -> Entry {
        Entry {
            id: id.to_owned(),
            transaction: TransactionId::new(lockstep_types::hash("test", &id)),
            bytes: "00".to_owned(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            asset: 0,
            amount,
            outcome: None,
        }
    }

    #[test]
    fn the_same_payment_is_found_until_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path().join("x"));
        assert_eq!(journal.find("one").unwrap(), None);
        assert_eq!(journal.unsettled(&entry("two", 5)).unwrap(), None);
        let one = entry("one", 5);
        journal.write(&one).unwrap();
        assert_eq!(journal.find("one").unwrap(), Some(one.clone()));
        assert_eq!(
            journal.unsettled(&entry("two", 5)).unwrap(),
            Some(one.clone())
        );
        assert_eq!(journal.unsettled(&entry("two", 6)).unwrap(), None);
        assert_eq!(
            journal.of_transaction(&one.transaction).unwrap(),
            Some(one.clone())
        );
        let outcome = Outcome::Reached {
            executed: None,
            credits: vec![(1, 7)],
        };
        journal
            .write(&Entry {
                outcome: Some(outcome.clone()),
                ..one.clone()
            })
            .unwrap();
        assert_eq!(journal.unsettled(&entry("two", 5)).unwrap(), None);
        assert_eq!(journal.find("one").unwrap().unwrap().outcome, Some(outcome));
    }

    #[test]
    fn damage_and_bad_ids_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::at(directory.path());
        fs::write(directory.path().join("x.json"), "{").unwrap();
        assert!(matches!(
            journal.find("x"),
            Err(JournalError::Damaged { .. })
        ));
        for id in ["", "../x", "a b", "é"] {
            assert!(
                matches!(journal.find(id), Err(JournalError::BadId { .. })),
                "{id}"
            );
        }
    }
}
