//! The directory of one validator.
//!
//! ```text
//! config/node.toml      where it listens, where its peers are
//! config/genesis.json   what the chain is (canonical form)
//! keys/validator.json   signs votes            (0600)
//! keys/network.json     its network identity   (0600)
//! data/never-run        until the first start has made a safety record
//! data/lock             held while it runs, with the pid of its holder
//! data/identity.json    whose data this is: chain, seat, key, format
//! data/evidence.jsonl   members seen to contradict themselves
//! data/held.json        why an earlier run must not simply be repeated
//! data/<committee>/     safety record and database of its replica
//! ```
//!
//! Breaks if: two processes run on one directory (the lock), or a key file can be read by others
//! (refused).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lockstep_genesis::{Genesis, ValidatorKeys};
use lockstep_types::{CommitteeId, SecretKey, Signer};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, NodeConfig};
use crate::exit::Stop;
use crate::identity::write_whole;

/// Format of the key files.
const KEY_FORMAT: u32 = 1;

/// The directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    /// `validator` or `network`: one key is never used for two things.
    purpose: String,
    /// The chain it is for.
    genesis: String,
    secret: String,
}

impl Home {
    /// A home at a path; nothing is read yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Home { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config/node.toml`
    pub fn config_file(&self) -> PathBuf {
        self.root.join("config/node.toml")
    }

    /// `config/genesis.json`
    pub fn genesis_file(&self) -> PathBuf {
        self.root.join("config/genesis.json")
    }

    /// `keys/validator.json`
    pub fn validator_key_file(&self) -> PathBuf {
        self.root.join("keys/validator.json")
    }

    /// `keys/network.json`
    pub fn network_key_file(&self) -> PathBuf {
        self.root.join("keys/network.json")
    }

    /// `data`
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// `data/identity.json`
    pub fn identity_file(&self) -> PathBuf {
        self.data().join("identity.json")
    }

    /// `data/evidence.jsonl`
    pub fn evidence_file(&self) -> PathBuf {
        self.data().join("evidence.jsonl")
    }

    /// `data/held.json`
    pub fn held_file(&self) -> PathBuf {
        self.data().join("held.json")
    }

    /// `data/beacon`, `data/shard-3`
    pub fn committee_data(&self, committee: CommitteeId) -> PathBuf {
        self.data().join(committee_word(committee))
    }

    /// Writes a complete home: a validator can be started from it at once.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(
        &self,
        genesis: &Genesis,
        keys: &ValidatorKeys,
        config: &NodeConfig,
    ) -> io::Result<()> {
        fs::create_dir_all(self.root.join("config"))?;
        fs::create_dir_all(self.root.join("keys"))?;
        fs::create_dir_all(self.data())?;
        fs::set_permissions(self.root.join("keys"), fs::Permissions::from_mode(0o700))?;
        fs::write(self.genesis_file(), genesis.to_json())?;
        write_whole(&self.never_run_file(), b"")?;
        self.write_config(config)?;
        let chain = genesis.hash().to_string();
        let validator = hex::encode(keys.key.to_bytes());
        write_key(&self.validator_key_file(), "validator", &chain, validator)?;
        let network = hex::encode(keys.network_seed);
        write_key(&self.network_key_file(), "network", &chain, network)
    }

    /// Says that this validator has never run: a home is written with it, and the first start that
    /// has a safety record removes it. Data that is gone later is data that was lost.
    pub(crate) fn never_run_file(&self) -> PathBuf {
        self.data().join("never-run")
    }

    /// Is there no safety record yet because nothing was ever signed?
    pub(crate) fn has_never_run(&self) -> Result<bool, Stop> {
        let file = self.never_run_file();
        let found = file.try_exists();
        found.map_err(|error| Stop::storage(format!("{}: {error}", file.display())))
    }

    /// From here on the safety record is there, or lost. The removal is synced, so that no loss of
    /// power brings the mark back, and with it the committee's directory, which may be new.
    pub(crate) fn note_first_run(&self) -> Result<(), Stop> {
        let file = self.never_run_file();
        let removed = match fs::remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        let synced = removed.and_then(|()| File::open(self.data())?.sync_all());
        synced.map_err(|error| Stop::storage(format!("{}: {error}", file.display())))
    }

    /// Writes the configuration anew.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_config(&self, config: &NodeConfig) -> io::Result<()> {
        fs::write(self.config_file(), config.to_toml())
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// See [`NodeConfig::read`].
    pub fn config(&self) -> Result<NodeConfig, ConfigError> {
        NodeConfig::read(&self.config_file())
    }

    /// Reads and checks the genesis.
    ///
    /// # Errors
    /// All that is wrong with the file.
    pub fn genesis(&self) -> Result<Genesis, Stop> {
        let file = self.genesis_file();
        let text = fs::read_to_string(&file)
            .map_err(|error| Stop::Config(format!("{}: {error}", file.display())))?;
        Genesis::from_json(&text, &file.display().to_string())
            .map_err(|problems| Stop::Config(problems.to_string()))
    }

    /// Reads both keys.
    ///
    /// # Errors
    /// A file that is missing, readable by others, for another purpose or another chain.
    pub fn keys(&self, genesis: &Genesis) -> Result<ValidatorKeys, Stop> {
        let chain = genesis.hash().to_string();
        let file = self.validator_key_file();
        let secret = read_key(&file, "validator", &chain)?;
        let key = SecretKey::from_bytes(&secret)
            .map_err(|error| Stop::Config(format!("{}: {error}", file.display())))?;
        let network_seed = read_key(&self.network_key_file(), "network", &chain)?;
        Ok(ValidatorKeys { key, network_seed })
    }

    /// The seat this home's key has on the chain.
    ///
    /// # Errors
    /// When the genesis does not list the key.
    pub fn seat(
        &self,
        genesis: &Genesis,
        keys: &ValidatorKeys,
    ) -> Result<(CommitteeId, lockstep_types::MemberIndex), Stop> {
        let public = keys.key.public_key();
        genesis.seat(&public).ok_or_else(|| {
            Stop::Config(format!(
                "{}: key {public} is in no committee of {}; this validator would never vote\n  \
                 help: use the key file that belongs to this genesis, or have the key added to it",
                self.validator_key_file().display(),
                genesis.chain_name(),
            ))
        })
    }

    /// Takes the data directory for this process.
    ///
    /// # Errors
    /// When another process holds it.
    pub fn lock(&self) -> Result<DataLock, Stop> {
        let storage = |error: io::Error| Stop::storage(format!("data directory: {error}"));
        fs::create_dir_all(self.data()).map_err(storage)?;
        let path = self.data().join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(storage)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(storage)?;
                return Err(Stop::Locked {
                    path: self.data(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(fs::TryLockError::Error(error)) => return Err(storage(error)),
        }
        file.set_len(0).map_err(storage)?;
        file.rewind().map_err(storage)?;
        writeln!(file, "{}", std::process::id()).map_err(storage)?;
        Ok(DataLock { _file: file })
    }
}

/// The data directory is ours until this is dropped or the process ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

/// `beacon` or `shard-3`: names of directories, threads and metrics.
pub fn committee_word(committee: CommitteeId) -> String {
    match committee {
        CommitteeId::Beacon => "beacon".to_owned(),
        CommitteeId::Shard(shard) => format!("shard-{}", shard.get()),
    }
}

fn write_key(path: &Path, purpose: &str, genesis: &str, secret: String) -> io::Result<()> {
    let key = KeyFile {
        format: KEY_FORMAT,
        purpose: purpose.to_owned(),
        genesis: genesis.to_owned(),
        secret,
    };
    let mut text = serde_json::to_vec_pretty(&key).expect("strings and a number");
    text.push(b'\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

fn read_key(path: &Path, purpose: &str, genesis: &str) -> Result<[u8; 32], Stop> {
    let config = |problem: String| Stop::Config(format!("{}: {problem}", path.display()));
    let missing = |error: io::Error| {
        config(format!(
            "{error}\n  help: the {purpose} key that this home was made with belongs here, readable by us"
        ))
    };
    let metadata = fs::metadata(path).map_err(missing)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(config(format!(
            "mode {mode:o} lets others read this key\n  help: chmod 600 {}",
            path.display()
        )));
    }
    let text = fs::read_to_string(path).map_err(missing)?;
    let key: KeyFile = serde_json::from_str(&text).map_err(|error| {
        config(format!(
            "not a key file: {error}\n  help: put the {purpose} key back from its backup"
        ))
    })?;
    if key.format != KEY_FORMAT {
        return Err(config(format!(
            "format {} where {KEY_FORMAT} is known\n  help: run the version that wrote this key",
            key.format
        )));
    }
    if key.purpose != purpose {
        return Err(config(format!(
            "this is a {} key where a {purpose} key belongs\n  \
             help: put the {purpose} key that was made with this home here",
            key.purpose
        )));
    }
    if key.genesis != genesis {
        return Err(config(format!(
            "this key is for the chain {}, the genesis file here is {genesis}\n  \
             help: put the key of this chain here, or the genesis file of that one",
            key.genesis
        )));
    }
    let mut secret = [0; 32];
    hex::decode_to_slice(&key.secret, &mut secret).map_err(|_| {
        config(format!(
            "the secret is not 64 hexadecimal digits\n  \
             help: put the {purpose} key back from its backup"
        ))
    })?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use lockstep_genesis::DevelopmentSpec;
    use lockstep_types::{MemberIndex, ShardId};

    use super::*;

    fn home(directory: &Path) -> (Home, Genesis) {
        let (genesis, keys) = Genesis::development(&DevelopmentSpec::default()).unwrap();
        let home = Home::at(directory.join("v"));
        let shard = CommitteeId::Shard(ShardId::new(1));
        let config =
            "[network]\nlisten = \"127.0.0.1:1\"\npeers = []\n[rpc]\nlisten = \"127.0.0.1:3\"";
        let config = NodeConfig::parse(config, Path::new("node.toml")).unwrap();
        let keys = keys.validator(shard, MemberIndex::new(2)).unwrap();
        home.write(&genesis, keys, &config).unwrap();
        (home, genesis)
    }

    #[test]
    fn a_written_home_reads_back_and_knows_its_seat() {
        let directory = tempfile::tempdir().unwrap();
        let (home, genesis) = home(directory.path());
        assert_eq!(home.genesis().unwrap(), genesis);
        let keys = home.keys(&genesis).unwrap();
        let seat = home.seat(&genesis, &keys).unwrap();
        assert_eq!(
            seat,
            (CommitteeId::Shard(ShardId::new(1)), MemberIndex::new(2))
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (home, genesis) = home(directory.path());
        let open = fs::Permissions::from_mode(0o640);
        fs::set_permissions(home.network_key_file(), open).unwrap();
        let stop = home.keys(&genesis).unwrap_err();
        assert!(stop.to_string().contains("chmod 600"), "{stop}");
    }

    /// With both sides where there are two.
    #[test]
    fn every_refused_key_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let (home, genesis) = home(directory.path());
        let file = home.network_key_file();
        let whole = fs::read_to_string(&file).unwrap();
        let refused = |text: Option<String>| {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let said = home.keys(&genesis).unwrap_err().to_string();
            assert!(said.contains("\n  help: "), "{said}");
            said
        };
        let chain = genesis.hash().to_string();
        let changed = |from: &str, to: &str| {
            assert!(whole.contains(from), "{from} in {whole}");
            Some(whole.replace(from, to))
        };
        let said = refused(changed("\"format\": 1", "\"format\": 7"));
        assert!(said.contains("format 7 where 1"), "{said}");
        let said = refused(changed("\"network\"", "\"validator\""));
        assert!(
            said.contains("a validator key where a network key"),
            "{said}"
        );
        let said = refused(changed(&chain, "another"));
        assert!(said.contains("another") && said.contains(&chain), "{said}");
        refused(changed("\"secret\": \"", "\"secret\": \"x"));
        refused(Some("{".to_owned()));
        refused(None);
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path());
        let lock = home.lock().unwrap();
        let Err(Stop::Locked { holder, .. }) = home.lock() else {
            panic!("locked twice");
        };
        assert_eq!(holder, std::process::id().to_string());
        drop(lock);
        home.lock().unwrap();
    }
}
