//! The network file: what a wallet needs to know about a network, in one JSON document.
//!
//! `lockstep up` writes it as `dev.json`; the wallet reads it, by name or as the most recent one.
//! It holds no secrets: the accounts of a development network are computed from its seed.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use lockstep_genesis::Network;
use lockstep_types::{CommitteeId, GenesisHash};
use serde::{Deserialize, Serialize};

use crate::rpc::text;

/// The form of the file.
pub const SCHEMA: u32 = 1;

/// A network and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFile {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the chain with four digits of its hash.
    pub chain: String,
    /// The chain's identity.
    #[serde(with = "text")]
    pub genesis: GenesisHash,
    /// The kind of network.
    #[serde(with = "text")]
    pub network: Network,
    /// Where the canonical genesis is. A relative path is relative to this file.
    pub genesis_file: PathBuf,
    /// The seed of a development network's keys.
    pub seed: Option<u64>,
    /// Process id of `lockstep up`, to tell a running network from a stale file.
    pub process: Option<u32>,
    /// The validators that answer.
    pub endpoints: Vec<Endpoint>,
    /// Funded accounts, for scripts.
    pub accounts: Vec<NamedAccount>,
}

/// One validator's RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name in genesis.
    pub validator: String,
    /// Where it is a member: `beacon`, `shard-0`.
    pub committees: Vec<String>,
    /// `http://127.0.0.1:7700`.
    pub url: String,
}

/// A funded account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAccount {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The shard that holds it.
    pub shard: u16,
}

impl NetworkFile {
    /// Reads a file; `genesis_file` comes back ready to open.
    ///
    /// # Errors
    /// When it cannot be read, is not this format, or of another schema.
    pub fn read(path: &Path) -> Result<Self, NetworkFileError> {
        let unreadable = |error| NetworkFileError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut file: NetworkFile =
            serde_json::from_str(&text).map_err(|error| NetworkFileError::Malformed {
                path: path.to_owned(),
                error,
            })?;
        if file.schema != SCHEMA {
            return Err(NetworkFileError::Schema {
                path: path.to_owned(),
                got: file.schema,
            });
        }
        if let Some(directory) = path.parent() {
            file.genesis_file = directory.join(&file.genesis_file);
        }
        Ok(file)
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), NetworkFileError> {
        let unwritable = |error| NetworkFileError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let mut text = serde_json::to_string_pretty(self).expect("plain data always encodes");
        text.push('\n');
        let temporary = path.with_extension("json.tmp");
        std::fs::write(&temporary, text).map_err(unwritable)?;
        std::fs::rename(&temporary, path).map_err(unwritable)
    }

    /// The RPC addresses of a committee's members, in member order.
    pub fn urls(&self, committee: CommitteeId) -> Vec<String> {
        let name = crate::rpc::committee_name(committee);
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.committees.contains(&name))
            .map(|endpoint| endpoint.url.clone())
            .collect()
    }

    /// Makes `path` the network that commands use when none is named.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub fn set_latest(path: &Path) -> Result<(), NetworkFileError> {
        let pointer = latest_pointer();
        let unwritable = |error| NetworkFileError::Unreadable {
            path: pointer.clone(),
            error,
        };
        let absolute = std::path::absolute(path).map_err(unwritable)?;
        let directory = pointer.parent().expect("the pointer is in a directory");
        std::fs::create_dir_all(directory).map_err(unwritable)?;
        std::fs::write(&pointer, absolute.as_os_str().as_encoded_bytes()).map_err(unwritable)
    }

    /// The file of the most recent `lockstep up`, if it still exists.
    pub fn latest() -> Option<PathBuf> {
        let path = std::fs::read_to_string(latest_pointer()).ok()?;
        let path = PathBuf::from(path.trim());
        path.exists().then_some(path)
    }
}

fn latest_pointer() -> PathBuf {
    state_directory().join("latest-network")
}

/// Where Lockstep keeps what it can make again: `$LOCKSTEP_HOME/state`, else the XDG state
/// directory.
pub fn state_directory() -> PathBuf {
    directory("state", |strategy| strategy.state_dir())
}

/// Where Lockstep keeps keys and settings: `$LOCKSTEP_HOME/config`, else the XDG configuration
/// directory.
pub fn config_directory() -> PathBuf {
    directory("config", |strategy| Some(strategy.config_dir()))
}

fn directory(
    name: &str,
    standard: impl FnOnce(&etcetera::base_strategy::Xdg) -> Option<PathBuf>,
) -> PathBuf {
    if let Some(home) = std::env::var_os("LOCKSTEP_HOME").filter(|home| !home.is_empty()) {
        return PathBuf::from(home).join(name);
    }
    etcetera::base_strategy::Xdg::new()
        .ok()
        .and_then(|strategy| standard(&strategy))
        // Without a home directory there is still the current one.
        .unwrap_or_else(|| PathBuf::from(format!(".{name}")))
        .join("lockstep")
}

/// Why a network file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum NetworkFileError {
    /// It cannot be read or written.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not a network file.
    #[error("{} is not a network file: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// It was written by another version.
    #[error("{} has schema {got}, and this version reads {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        got: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_types::ShardId;

    #[test]
    fn a_file_reads_back_with_its_genesis_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev.json");
        let endpoint = |name: &str, committee: &str| Endpoint {
            validator: name.to_owned(),
            committees: vec![committee.to_owned()],
            url: format!("http://127.0.0.1/{name}"),
        };
        let file = NetworkFile {
            schema: SCHEMA,
            chain: "dlock-0000".to_owned(),
            genesis: GenesisHash::ZERO,
            network: Network::Development,
            genesis_file: "genesis.json".into(),
            seed: Some(0),
            process: Some(1),
            endpoints: vec![endpoint("a", "beacon"), endpoint("b", "shard-1")],
            accounts: Vec::new(),
        };
        file.write(&path).unwrap();
        let read = NetworkFile::read(&path).unwrap();
        assert_eq!(read.genesis_file, directory.path().join("genesis.json"));
        assert_eq!(
            read.urls(CommitteeId::Shard(ShardId::new(1))),
            ["http://127.0.0.1/b"]
        );
        assert!(read.urls(CommitteeId::Shard(ShardId::new(0))).is_empty());
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(
            NetworkFile::read(&path),
            Err(NetworkFileError::Malformed { .. })
        ));
        assert!(matches!(
            NetworkFile::read(directory.path()),
            Err(NetworkFileError::Unreadable { .. })
        ));
    }
}
