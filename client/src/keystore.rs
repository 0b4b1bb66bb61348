//! The keystore: a directory of [`KeyFile`]s, one per name, readable by their owner only.
//!
//! Breaks if: a file that others can read is used all the same, or a save replaces another key.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::key_file::{KeyFile, KeyFileError};
use crate::network_file::config_directory;

/// Longest name of a key.
const MAX_NAME: usize = 64;

/// A directory of key files.
#[derive(Clone, Debug)]
pub struct Keystore {
    directory: PathBuf,
}

/// Why a key is not there or not given out.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Not usable as a file name on every system.
    #[error("{name:?} is not a key name: 1 to {MAX_NAME} lower-case letters, digits, '-' and '_'")]
    BadName {
        /// The name.
        name: String,
    },
    /// No such key.
    #[error("there is no key {name:?} in {}", directory.display())]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The name is taken.
    #[error("there is a key {name:?} already; it is not replaced")]
    Exists {
        /// The name.
        name: String,
    },
    /// Others can read it.
    #[error("mode {mode:o} lets others read {}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not a usable key file.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: KeyFileError,
    },
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

impl KeystoreError {
    /// A stable name for this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            KeystoreError::BadName { .. } => "LS-KEY-001",
            KeystoreError::NotFound { .. } => "LS-KEY-002",
            KeystoreError::Exists { .. } => "LS-KEY-003",
            KeystoreError::Exposed { .. } => "LS-KEY-004",
            KeystoreError::File { .. } => "LS-KEY-005",
            KeystoreError::Io { .. } => "LS-KEY-006",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            KeystoreError::NotFound { .. } => {
                Some("lockstep key list shows the keys there are".to_owned())
            }
            KeystoreError::Exists { .. } => Some("choose another name".to_owned()),
            KeystoreError::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
            _ => None,
        }
    }
}

impl Keystore {
    /// The user's own: `keystore` in the configuration directory.
    pub fn of_user() -> Self {
        Self::at(config_directory().join("keystore"))
    }

    /// A directory; it is made when the first key is saved.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Keystore {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the key of a name is.
    ///
    /// # Errors
    /// When the name is not one.
    pub fn path(&self, name: &str) -> Result<PathBuf, KeystoreError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
            return Err(KeystoreError::BadName {
                name: name.to_owned(),
            });
        }
        Ok(self.directory.join(format!("{name}.json")))
    }

    /// The names, sorted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeystoreError> {
        let failed = |error| KeystoreError::Io {
            path: self.directory.clone(),
            error,
        };
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(
                name.filter(|name| self.path(name).is_ok())
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Saves a key under a new name; never over another one.
    ///
    /// # Errors
    /// When the name is taken or the directory cannot be written.
    pub fn save(&self, name: &str, key: &KeyFile) -> Result<PathBuf, KeystoreError> {
        let path = self.path(name)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| KeystoreError::Io {
                path: self.directory.clone(),
                error,
            })?;
        write_new(&path, key).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeystoreError::Exists {
                name: name.to_owned(),
            },
            _ => KeystoreError::Io {
                path: path.clone(),
                error,
            },
        })?;
        Ok(path)
    }

    /// Puts a file in the place of one: the same key under another password. At every moment one
    /// of the two is there whole.
    ///
    /// # Errors
    /// When there is no such key, it is another one, or the directory cannot be written.
    pub fn replace(&self, name: &str, key: &KeyFile) -> Result<(), KeystoreError> {
        let path = self.path(name)?;
        let before = self.load(name)?.public_key();
        if before.is_some() && before != key.public_key() {
            return Err(KeystoreError::File {
                path,
                error: KeyFileError::OtherKey,
            });
        }
        let failed = |error| KeystoreError::Io {
            path: path.clone(),
            error,
        };
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        write_new(&fresh, key).map_err(failed)?;
        fs::rename(&fresh, &path).map_err(failed)
    }

    /// Deletes a key. What its account holds can then be spent by nobody.
    ///
    /// # Errors
    /// When there is no such key or the directory cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), KeystoreError> {
        let path = self.path(name)?;
        self.load(name)?;
        fs::remove_file(&path).map_err(|error| KeystoreError::Io { path, error })
    }

    /// Reads a key file; the key inside stays encrypted.
    ///
    /// # Errors
    /// When there is none, others can read it, or it is not a key file.
    pub fn load(&self, name: &str) -> Result<KeyFile, KeystoreError> {
        let path = self.path(name)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => KeystoreError::NotFound {
                name: name.to_owned(),
                directory: self.directory.clone(),
            },
            _ => KeystoreError::Io {
                path: path.clone(),
                error,
            },
        };
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeystoreError::Exposed { path, mode });
        }
        let text = fs::read_to_string(&path).map_err(failed)?;
        KeyFile::parse(&text).map_err(|error| KeystoreError::File { path, error })
    }
}

/// Writes and syncs: the key may be all there is of somebody's money.
fn write_new(path: &Path, key: &KeyFile) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.to_json().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::Cost;
    use lockstep_types::SecretKey;

    fn file(seed: u64) -> KeyFile {
        let key = SecretKey::insecure_from_seed(seed, "keystore");
        KeyFile::encrypt(&key, "p", Cost::INSECURE_FAST).unwrap()
    }

    #[test]
    fn saves_lists_and_loads() {
        let directory = tempfile::tempdir().unwrap();
        let store = Keystore::at(directory.path().join("a/b"));
        assert!(store.names().unwrap().is_empty());
        let path = store.save("main", &file(1)).unwrap();
        store.save("cold_2", &file(2)).unwrap();
        assert_eq!(store.names().unwrap(), ["cold_2", "main"]);
        assert_eq!(store.load("main").unwrap(), file_of(&path));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(store.directory()), 0o700);
        let error = store.save("main", &file(3)).unwrap_err();
        assert!(matches!(error, KeystoreError::Exists { .. }));
        assert!(matches!(
            store.load("other"),
            Err(KeystoreError::NotFound { .. })
        ));
    }

    #[test]
    fn a_password_changes_and_the_key_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Keystore::at(directory.path());
        store.save("main", &file(1)).unwrap();
        let key = SecretKey::insecure_from_seed(1, "keystore");
        let again = KeyFile::encrypt(&key, "other", Cost::INSECURE_FAST).unwrap();
        store.replace("main", &again).unwrap();
        assert!(store.load("main").unwrap().decrypt("other").is_ok());
        assert_eq!(store.names().unwrap(), ["main"]);
        let error = store.replace("main", &file(2)).unwrap_err();
        assert!(matches!(
            error,
            KeystoreError::File {
                error: KeyFileError::OtherKey,
                ..
            }
        ));
        store.remove("main").unwrap();
        assert!(matches!(
            store.remove("main"),
            Err(KeystoreError::NotFound { .. })
        ));
    }

    fn file_of(path: &Path) -> KeyFile {
        KeyFile::parse(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = Keystore::at(directory.path());
        let path = store.save("main", &file(1)).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = store.load("main").unwrap_err();
            assert!(matches!(error, KeystoreError::Exposed { .. }), "{mode:o}");
            assert!(error.help().unwrap().starts_with("chmod 600"));
        }
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let store = Keystore::at("/nowhere");
        for name in [
            "",
            "../x",
            "a/b",
            "a.b",
            "A",
            "é",
            "x".repeat(MAX_NAME + 1).as_str(),
        ] {
            assert!(
                matches!(store.load(name), Err(KeystoreError::BadName { .. })),
                "{name}"
            );
        }
    }
}
