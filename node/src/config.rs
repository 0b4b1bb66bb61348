//! `config/node.toml`: where a validator listens and where its peers are. What the chain is stands
//! in the genesis file; nothing here can change what is valid.
//!
//! Unknown keys are errors, and every error names the file, the line and what to write.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lockstep_genesis::Genesis;
use lockstep_shard::MAX_REPLAY;
use serde::{Deserialize, Serialize};

use crate::network::{PeerAddress, peer_id};

/// Room for one flush of everything the database holds in memory, beside its log.
const DEFAULT_MIN_FREE_MIB: u64 = 512;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The validator network.
    pub network: NetworkSection,
    /// The interface for clients.
    pub rpc: RpcSection,
    /// The log.
    #[serde(default)]
    pub log: LogSection,
    /// Threads.
    #[serde(default)]
    pub threads: ThreadsSection,
    /// The disk.
    #[serde(default)]
    pub storage: StorageSection,
}

/// `[network]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// `ip:port` on which other validators reach this one.
    pub listen: SocketAddr,
    /// Every other validator of the chain.
    pub peers: Vec<PeerSection>,
}

/// One of `[[network.peers]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Its name in the genesis file.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// `[rpc]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcSection {
    /// `ip:port` of JSON-RPC, `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
    /// Needed for an address that is not loopback: everybody who reaches it can ask and submit.
    #[serde(default)]
    pub unsafe_external: bool,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// What is written, as in `info,lockstep_node=debug`.
    pub filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Keep every message of consensus, checkpoint and record that comes from a peer in files of
    /// this directory, relative to the home. They grow for ever: for tests and audits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<PathBuf>,
}

impl Default for LogSection {
    fn default() -> Self {
        LogSection {
            filter: "info".to_owned(),
            json: false,
            messages: None,
        }
    }
}

/// `[threads]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreadsSection {
    /// Threads that check signatures of transactions; 0: one per core.
    pub verifiers: usize,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// With less room than this on the disk of `data`, in MiB, the validator neither votes nor
    /// takes transactions until there is more. 0: it never looks, and stops when a write fails.
    pub min_free_mib: u64,
    /// A validator of a shard that is further behind than so many blocks fetches the state after
    /// them instead of executing them. 0: never.
    pub max_replay_blocks: u64,
}

impl StorageSection {
    /// The limit of its replica.
    pub(crate) fn max_replay(&self) -> u64 {
        match self.max_replay_blocks {
            0 => u64::MAX,
            blocks => blocks,
        }
    }
}

impl Default for StorageSection {
    fn default() -> Self {
        StorageSection {
            min_free_mib: DEFAULT_MIN_FREE_MIB,
            max_replay_blocks: MAX_REPLAY,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What was found, with the line when there is one.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n  help: {}",
            self.file.display(),
            self.problem.trim_end(),
            self.help
        )
    }
}

impl std::error::Error for ConfigError {}

impl NodeConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, by line.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.to_owned(),
            problem: error.to_string(),
            help: "a validator's home holds config/node.toml; is --home right?".to_owned(),
        })?;
        Self::parse(&text, file)
    }

    /// Reads its text.
    ///
    /// # Errors
    /// As [`NodeConfig::read`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: NodeConfig = toml::from_str(text).map_err(|error| ConfigError {
            file: file.to_owned(),
            problem: error.to_string(),
            help: "see docs of node.toml; keys are network.listen, network.peers, rpc.listen, \
                   rpc.unsafe_external, log.filter, log.json, log.messages, threads.verifiers, \
                   storage.min_free_mib, storage.max_replay_blocks"
                .to_owned(),
        })?;
        if !config.rpc.listen.ip().is_loopback() && !config.rpc.unsafe_external {
            return Err(ConfigError {
                file: file.to_owned(),
                problem: format!(
                    "line {}: rpc.listen is {}, which others can reach",
                    line_of(text, "[rpc]"),
                    config.rpc.listen
                ),
                help: "use 127.0.0.1, or say `unsafe_external = true` below it".to_owned(),
            });
        }
        Ok(config)
    }

    /// The file's text, with a sentence per section.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("plain tables and values");
        format!(
            "# Where this validator listens and whom it talks to. What the chain is stands in\n\
             # genesis.json; nothing here changes what is valid.\n\n{body}"
        )
    }

    /// Where the members of `genesis` are, with their network identities.
    ///
    /// # Errors
    /// A peer that genesis does not name, or a member without an address.
    pub fn peers(
        &self,
        genesis: &Genesis,
        me: &str,
        file: &Path,
    ) -> Result<Vec<PeerAddress>, ConfigError> {
        let error = |problem: String, help: &str| ConfigError {
            file: file.to_owned(),
            problem,
            help: help.to_owned(),
        };
        let mut found = Vec::new();
        for committee in genesis.committees() {
            for validator in genesis.validators(committee) {
                if validator.name == me {
                    continue;
                }
                let peer = self
                    .network
                    .peers
                    .iter()
                    .find(|peer| peer.name == validator.name);
                let Some(peer) = peer else {
                    return Err(error(
                        format!("no address for validator {} of {committee}", validator.name),
                        "add a [[network.peers]] table with its name and address",
                    ));
                };
                let id = peer_id(&validator.network_key).map_err(|problem| {
                    error(
                        format!("network key of {}: {problem}", validator.name),
                        "the genesis file lists 32 bytes of an ed25519 public key",
                    )
                })?;
                found.push(PeerAddress {
                    id,
                    address: peer.address.clone(),
                });
            }
        }
        let members = genesis.committees().flat_map(|c| genesis.validators(c));
        let names: std::collections::BTreeSet<_> = members.map(|v| v.name.as_str()).collect();
        match self
            .network
            .peers
            .iter()
            .find(|peer| !names.contains(peer.name.as_str()))
        {
            None => Ok(found),
            Some(stranger) => Err(error(
                format!("peer {} is not in the genesis file", stranger.name),
                "names must be those of the genesis file; remove or correct this one",
            )),
        }
    }
}

fn line_of(text: &str, needle: &str) -> usize {
    text.lines()
        .position(|line| line.trim() == needle)
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[network]\nlisten = \"127.0.0.1:1\"\n[[network.peers]]\nname = \"a\"\n\
                        address = \"host:2\"\n[rpc]\nlisten = \"127.0.0.1:3\"\n";

    #[test]
    fn reads_what_it_writes() {
        let config = NodeConfig::parse(GOOD, Path::new("node.toml")).unwrap();
        let again = NodeConfig::parse(&config.to_toml(), Path::new("node.toml")).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn errors_name_line_and_fix() {
        let unknown = GOOD.replace("[rpc]", "[rpc]\nport = 4");
        let error = NodeConfig::parse(&unknown, Path::new("x/node.toml")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("x/node.toml"), "{text}");
        assert!(text.contains("line 7"), "{text}");
        assert!(text.contains("port"), "{text}");

        let open = GOOD.replace("127.0.0.1:3", "0.0.0.0:3");
        let text = NodeConfig::parse(&open, Path::new("node.toml"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("line 6"), "{text}");
        assert!(text.contains("unsafe_external"), "{text}");
    }
}
