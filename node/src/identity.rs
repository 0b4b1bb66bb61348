//! `data/identity.json`: whose data a directory holds. It is written before the first database or
//! safety record is made there, and compared before either is opened again, so that a node never
//! writes into the data of another chain, seat, key or version.
//!
//! Breaks if: something is opened for writing before [`Identity::check`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lockstep_genesis::Genesis;
use lockstep_types::{CommitteeId, MemberIndex, PublicKey};
use serde::{Deserialize, Serialize};

use crate::exit::Stop;
use crate::home::{Home, committee_word};

/// Format of everything under `data/`.
const DATA_FORMAT: u32 = 2;

/// What a data directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    format: u32,
    /// Hash of the genesis.
    genesis: String,
    /// `beacon` or `shard-3`.
    committee: String,
    /// Position in it.
    member: usize,
    /// The public half of `keys/validator.json`.
    key: String,
}

/// Only this is read of a file of another format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Identity {
    /// Of a seat of a chain.
    pub(crate) fn new(
        genesis: &Genesis,
        committee: CommitteeId,
        member: MemberIndex,
        key: &PublicKey,
    ) -> Self {
        Identity {
            format: DATA_FORMAT,
            genesis: genesis.hash().to_string(),
            committee: committee_word(committee),
            member: member.get(),
            key: key.to_string(),
        }
    }

    /// Is the data of `home` this identity's? The directory of a validator that has never run
    /// becomes so, and with `recover` that of one that lost its data.
    ///
    /// # Errors
    /// Which field differs, what it is on either side, and what to do.
    pub(crate) fn check(&self, home: &Home, recover: bool) -> Result<(), Stop> {
        let file = home.identity_file();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.claim(home, &file, recover);
            }
            Err(error) => return Err(Stop::storage(format!("{}: {error}", file.display()))),
        };
        let damaged = |error: serde_json::Error| {
            Stop::Storage(format!("{} is damaged: {error}", file.display()))
        };
        let Format { format } = serde_json::from_str(&text).map_err(damaged)?;
        if format != DATA_FORMAT {
            return Err(Stop::Config(format!(
                "{} has format {format}, this version writes format {DATA_FORMAT}\n  \
                 help: run the version of lockstep that wrote it",
                home.data().display()
            )));
        }
        let found: Identity = serde_json::from_str(&text).map_err(damaged)?;
        self.compare(&found, home)
    }

    fn compare(&self, found: &Identity, home: &Home) -> Result<(), Stop> {
        let genesis = home.genesis_file().display().to_string();
        let key = home.validator_key_file().display().to_string();
        let seat =
            |identity: &Identity| format!("{} member {}", identity.committee, identity.member);
        let sides = [
            ("chain", &found.genesis, &self.genesis, &genesis),
            ("key", &found.key, &self.key, &key),
            ("seat", &seat(found), &seat(self), &genesis),
        ];
        for (what, there, here, file) in sides {
            if there != here {
                return Err(Stop::Config(format!(
                    "{} is of {what} {there}, {file} says {here}\n  \
                     help: put back the file or the data that belongs here; to start anew, give \
                     this validator another --home, never another validator's data",
                    home.data().display()
                )));
            }
        }
        assert_eq!(self, found, "every field is compared");
        Ok(())
    }

    /// Writes the file into a directory that holds nothing yet.
    fn claim(&self, home: &Home, file: &Path, recover: bool) -> Result<(), Stop> {
        let failed = |error: io::Error| Stop::storage(format!("{}: {error}", file.display()));
        if let Some(data) = any_directory(&home.data()).map_err(failed)? {
            return Err(Stop::Config(format!(
                "{} holds data, but no {} says whose\n  help: put that file back from where the \
                 data came; if there never was one, an earlier version wrote this data",
                data.display(),
                file.display()
            )));
        }
        if !recover && !home.has_never_run()? {
            return Err(Stop::Forgotten(format!(
                "{} is empty, and nothing says that this validator has never run",
                home.data().display()
            )));
        }
        let text = serde_json::to_vec_pretty(self).expect("strings and numbers");
        write_whole(file, &text).map_err(failed)
    }
}

fn any_directory(data: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Writes a small file so that a crash leaves all of it or none: beside, synced, renamed, and the
/// directory synced.
///
/// # Errors
/// What the system says.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().expect("a file in the home");
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use lockstep_genesis::DevelopmentSpec;
    use lockstep_types::Signer;

    use super::*;
    use crate::exit::ExitCode;

    struct Case {
        home: Home,
        identity: Identity,
        _files: tempfile::TempDir,
    }

    fn case() -> Case {
        let files = tempfile::tempdir().unwrap();
        let home = Home::at(files.path());
        fs::create_dir_all(home.data()).unwrap();
        fs::write(home.never_run_file(), "").unwrap();
        let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
        let (committee, member) = (CommitteeId::Beacon, MemberIndex::new(1));
        let key = &keys.validator(committee, member).unwrap().key;
        let identity = Identity::new(&genesis, committee, member, &key.public_key());
        Case {
            home,
            identity,
            _files: files,
        }
    }

    #[test]
    fn the_first_start_claims_the_directory_and_later_ones_find_it() {
        let Case {
            home,
            identity,
            _files,
        } = case();
        identity.check(&home, false).unwrap();
        fs::create_dir(home.data().join("beacon")).unwrap();
        identity.check(&home, false).unwrap();
    }

    #[test]
    fn data_that_is_gone_is_not_taken_for_a_validator_that_has_never_run() {
        let Case {
            home,
            identity,
            _files,
        } = case();
        identity.check(&home, false).unwrap();
        fs::remove_dir_all(home.data()).unwrap();
        fs::create_dir(home.data()).unwrap();
        let stop = identity.check(&home, false).unwrap_err();
        assert_eq!(stop.code(), ExitCode::SecondCopy);
        assert!(stop.to_string().contains("--recover"), "{stop}");
        identity.check(&home, true).unwrap();
        identity.check(&home, false).unwrap();
    }

    #[test]
    fn every_difference_is_refused_with_both_sides_and_a_way_out() {
        let Case {
            home,
            identity,
            _files,
        } = case();
        identity.check(&home, false).unwrap();
        type Change = fn(&mut Identity);
        let changes: [(&str, Change); 4] = [
            ("chain", |other| other.genesis = "another".to_owned()),
            ("key", |other| other.key = "another".to_owned()),
            ("seat", |other| other.committee = "another".to_owned()),
            ("seat", |other| other.member = 3),
        ];
        for (what, change) in changes {
            let mut other = identity.clone();
            change(&mut other);
            let stop = other.check(&home, false).unwrap_err();
            assert_eq!(stop.code(), ExitCode::Usage);
            let text = stop.to_string();
            assert!(text.contains(&format!("is of {what} ")), "{text}");
            let here = if what == "seat" { "member" } else { "another" };
            assert!(text.contains(here) && text.contains("help: "), "{text}");
        }
    }

    #[test]
    fn another_format_is_refused_whatever_else_the_file_holds() {
        let Case {
            home,
            identity,
            _files,
        } = case();
        fs::write(home.identity_file(), "{\"format\": 99, \"new\": true}").unwrap();
        let text = identity.check(&home, false).unwrap_err().to_string();
        let here = format!("format {DATA_FORMAT}");
        assert!(text.contains("format 99") && text.contains(&here), "{text}");
    }

    #[test]
    fn data_of_nobody_is_refused_and_a_damaged_file_is_the_disks_fault() {
        let Case {
            home,
            identity,
            _files,
        } = case();
        fs::create_dir(home.data().join("shard-0")).unwrap();
        let stop = identity.check(&home, false).unwrap_err();
        assert_eq!(stop.code(), ExitCode::Usage);
        assert!(stop.to_string().contains("shard-0"), "{stop}");
        fs::write(home.identity_file(), "{\"form").unwrap();
        let stop = identity.check(&home, false).unwrap_err();
        assert_eq!(stop.code(), ExitCode::Storage);
    }
}
