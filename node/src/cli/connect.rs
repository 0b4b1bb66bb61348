//! Which network a command talks to: `--rpc`, `--network`, or the most recent `lockstep up`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_client::network_file::NetworkFile;
use lockstep_client::{Client, DEFAULT_DEADLINE};
use lockstep_genesis::{DEFAULT_DEVELOPMENT_SEED, Genesis, Network};
use lockstep_types::{CommitteeId, GenesisHash, ShardId};

use super::failure::Failure;

/// Options that choose a network.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct NetworkOptions {
    /// Address of a node's RPC, as http://127.0.0.1:7700; repeat it for nodes of other shards
    #[arg(
        long,
        value_name = "URL",
        env = "LOCKSTEP_RPC",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) rpc: Vec<String>,
    /// Network file, as `lockstep up` writes it [default: that of the most recent `lockstep up`]
    #[arg(
        long,
        value_name = "FILE",
        env = "LOCKSTEP_NETWORK",
        conflicts_with = "rpc",
        global = true
    )]
    pub(crate) network: Option<PathBuf>,
    /// Genesis file that the network must have
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_GENESIS", global = true)]
    pub(crate) genesis: Option<PathBuf>,
}

/// A network and a client for each of its shards that can be reached.
pub(crate) struct Connected {
    /// Name of the chain.
    pub(crate) chain: String,
    /// Its identity.
    pub(crate) hash: GenesisHash,
    /// Its kind.
    pub(crate) network: Network,
    /// How many shards it has.
    pub(crate) shards: u16,
    /// Length of a window, when a node has said it.
    pub(crate) interval: Option<Duration>,
    /// Seed of a development network's keys.
    pub(crate) seed: Option<u64>,
    /// The genesis itself, when there is a file of it.
    pub(crate) genesis: Option<Genesis>,
    clients: BTreeMap<u16, Client>,
}

impl Connected {
    /// The nodes of a shard.
    ///
    /// # Errors
    /// When no node of it is known.
    pub(crate) fn shard(&self, shard: u16) -> Result<&Client, Failure> {
        self.clients.get(&shard).ok_or_else(|| {
            Failure::usage("LS-NET-003", format!("no node of shard {shard} is known"))
                .help("add --rpc with the address of one of its validators")
        })
    }

    /// All shards that can be asked, ascending.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (u16, &Client)> {
        self.clients.iter().map(|(shard, client)| (*shard, client))
    }

    /// The genesis, for checks that trust nobody.
    ///
    /// # Errors
    /// When there is no file of it.
    pub(crate) fn genesis(&self) -> Result<&Genesis, Failure> {
        self.genesis.as_ref().ok_or_else(|| {
            Failure::usage(
                "LS-NET-004",
                "the genesis of this network is needed to check the proof",
            )
            .help("add --genesis FILE")
        })
    }
}

impl NetworkOptions {
    /// The network file in use, if any.
    ///
    /// # Errors
    /// When it cannot be read, or when there is none and no `--rpc` either.
    fn file(&self) -> Result<(NetworkFile, PathBuf), Failure> {
        let path = match &self.network {
            Some(path) => path.clone(),
            None => NetworkFile::latest().ok_or_else(|| {
                Failure::new(
                    crate::exit::ExitCode::NoNode,
                    "LS-NET-002",
                    "no network is running here",
                )
                .help("start one with lockstep up, or name one with --rpc or --network")
            })?,
        };
        Ok((NetworkFile::read(&path)?, path))
    }

    /// The kind of network in use, without asking a node: main when there is none.
    pub(crate) fn kind(&self) -> (Network, Option<u64>, Option<u16>) {
        match self.file() {
            Ok((file, _)) => {
                let shards = file.endpoints.iter().flat_map(|e| &e.committees);
                let shards = shards
                    .filter_map(|name| lockstep_client::rpc::parse_committee(name)?.shard())
                    .map(|shard| shard.get() + 1)
                    .max();
                (file.network, file.seed, shards)
            }
            Err(_) => (Network::Main, None, None),
        }
    }

    /// Name and address of every validator that was named, of all committees.
    ///
    /// # Errors
    /// When there is no network file and no `--rpc` either.
    pub(crate) fn nodes(&self) -> Result<Vec<(String, String)>, Failure> {
        if !self.rpc.is_empty() {
            return Ok(self
                .rpc
                .iter()
                .map(|url| (url.clone(), url.clone()))
                .collect());
        }
        let (file, _) = self.file()?;
        Ok(file
            .endpoints
            .into_iter()
            .map(|node| (node.validator, node.url))
            .collect())
    }

    /// Finds the network and makes sure it is the one it is said to be.
    ///
    /// # Errors
    /// When it cannot be found or reached, or is another one.
    pub(crate) async fn connect(&self) -> Result<Connected, Failure> {
        let named = self.genesis.as_deref().map(read_genesis).transpose()?;
        let connected = if self.rpc.is_empty() {
            self.connect_by_file(named).await?
        } else {
            self.connect_by_rpc(named).await?
        };
        match &connected.genesis {
            Some(genesis) if genesis.hash() != connected.hash => {
                Err(other_chain(&genesis.hash(), &connected.hash))
            }
            _ => Ok(connected),
        }
    }

    async fn connect_by_file(&self, named: Option<Genesis>) -> Result<Connected, Failure> {
        let (file, path) = self.file()?;
        let genesis = match named {
            Some(genesis) => genesis,
            None => read_genesis(&file.genesis_file)?,
        };
        let mut clients = BTreeMap::new();
        for shard in 0..genesis.shard_count() {
            let urls = file.urls(CommitteeId::Shard(ShardId::new(shard)));
            if !urls.is_empty() {
                clients.insert(shard, Client::new(&urls, DEFAULT_DEADLINE)?);
            }
        }
        let Some(any) = clients.values().next() else {
            let message = format!("{} names no node of any shard", path.display());
            return Err(Failure::usage("LS-NET-003", message));
        };
        // Another network may have taken over the ports of one that ended.
        let info = any.info().await?;
        if info.genesis != file.genesis {
            return Err(other_chain(&file.genesis, &info.genesis));
        }
        Ok(Connected {
            chain: genesis.chain_name(),
            hash: file.genesis,
            network: file.network,
            shards: genesis.shard_count(),
            interval: Some(genesis.interval),
            seed: file.seed,
            genesis: Some(genesis),
            clients,
        })
    }

    async fn connect_by_rpc(&self, named: Option<Genesis>) -> Result<Connected, Failure> {
        let mut urls: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        let mut first: Option<lockstep_client::rpc::Info> = None;
        for url in &self.rpc {
            let info = Client::new(&[url], DEFAULT_DEADLINE)?.info().await?;
            for seat in &info.seats {
                if let CommitteeId::Shard(shard) = seat.committee {
                    urls.entry(shard.get()).or_default().push(url.clone());
                }
            }
            match &first {
                Some(first) if first.genesis != info.genesis => {
                    return Err(other_chain(&first.genesis, &info.genesis));
                }
                Some(_) => {}
                None => first = Some(info),
            }
        }
        let info = first.expect("called with at least one address");
        let clients = urls
            .into_iter()
            .map(|(shard, urls)| Ok((shard, Client::new(&urls, DEFAULT_DEADLINE)?)))
            .collect::<Result<_, Failure>>()?;
        Ok(Connected {
            chain: info.chain,
            hash: info.genesis,
            network: info.network,
            shards: info.shards,
            interval: Some(Duration::from_micros(info.interval_us)),
            seed: (info.network == Network::Development).then_some(DEFAULT_DEVELOPMENT_SEED),
            genesis: named,
            clients,
        })
    }
}

fn other_chain(ours: &GenesisHash, theirs: &GenesisHash) -> Failure {
    let message = format!("another chain answers: ours is {ours}, theirs is {theirs}");
    Failure::usage("LS-NET-005", message)
        .help("the network file is stale, or --rpc or --genesis names another network")
}

/// Reads a genesis in either form.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read_genesis(path: &Path) -> Result<Genesis, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let name = path.display().to_string();
    let genesis = if text.trim_start().starts_with('{') {
        Genesis::from_json(&text, &name)
    } else {
        Genesis::from_toml(&text, &name)
    };
    Ok(genesis?)
}
