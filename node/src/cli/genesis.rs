//! `lockstep genesis`: from a shape to a genesis file, its check, its canonical form, and complete
//! homes to start validators from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_client::network_file::{Endpoint, NamedAccount, NetworkFile, SCHEMA};
use lockstep_client::rpc::committee_name;
use lockstep_genesis::{
    Address, Amount, DevelopmentSpec, Genesis, Network, PRESETS, Preset, development_validator,
    format_duration,
};
use lockstep_types::{AssetId, CommitteeId, MemberIndex, Signer as _, Time};
use serde_json::{Value, json};

use super::connect::read_genesis;
use super::failure::Failure;
use super::output::{Done, Output, table};
use crate::config::{
    LogSection, NetworkSection, NodeConfig, PeerSection, RpcSection, StorageSection, ThreadsSection,
};
use crate::exit::ExitCode;
use crate::home::Home;

/// Genesis files: make, check, show, export
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GenesisCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Make the genesis of a development network
    New(Box<New>),
    /// Check a genesis file; every problem is shown, with its line
    Check {
        /// The file, TOML or canonical JSON
        file: PathBuf,
    },
    /// Say what a genesis file says
    Show {
        /// The file, TOML or canonical JSON
        file: PathBuf,
    },
    /// Write the canonical form, or complete homes for all validators of a development network
    Export(Export),
}

#[derive(Clone, Debug, clap::Args)]
struct New {
    /// Shape to start from: dev or bench
    #[arg(long, value_name = "NAME", default_value = "dev")]
    preset: String,
    /// File with a shape of your own, in the form of the presets
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    from: Option<PathBuf>,
    /// Name of the chain
    #[arg(long)]
    name: Option<String>,
    /// All keys follow from it
    #[arg(long)]
    seed: Option<u64>,
    /// Number of shards
    #[arg(long)]
    shards: Option<u16>,
    /// Members of each committee
    #[arg(long)]
    validators: Option<u8>,
    /// Time between barriers, as in 500ms or 2s
    #[arg(long, value_parser = parse_duration)]
    interval: Option<Duration>,
    /// Barriers that may be outstanding: 0, 1 or 2
    #[arg(long)]
    depth: Option<u8>,
    /// How long a barrier waits for a late shard
    #[arg(long, value_parser = parse_duration)]
    patience: Option<Duration>,
    /// How many accounts hold value
    #[arg(long)]
    accounts: Option<u32>,
    /// What each of them holds
    #[arg(long, value_parser = parse_amount)]
    balance: Option<Amount>,
    /// Where to write it [default: the terminal]
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
struct Export {
    /// The genesis file, TOML or canonical JSON
    file: PathBuf,
    /// Where to write the canonical form [default: the terminal]
    #[arg(long, short = 'o', value_name = "FILE", conflicts_with = "homes")]
    out: Option<PathBuf>,
    /// Directory for one complete home per validator, with keys; development networks only
    #[arg(long, value_name = "DIR")]
    homes: Option<PathBuf>,
    /// Address the validators reach each other at; RPC stays on 127.0.0.1
    #[arg(
        long,
        value_name = "IP",
        default_value = "127.0.0.1",
        requires = "homes"
    )]
    ip: IpAddr,
    /// First port; every validator takes two
    #[arg(long, value_name = "PORT", default_value_t = 7_800, requires = "homes")]
    base_port: u16,
    /// The seed the network was made with
    #[arg(long, default_value_t = 0, requires = "homes")]
    seed: u64,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    lockstep_genesis::parse_duration(text).map_err(|error| error.to_string())
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    text.parse()
        .map_err(|error: lockstep_genesis::AmountError| error.to_string())
}

impl GenesisCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> ExitCode {
        let result = match &self.action {
            Action::New(new) => new.execute(),
            Action::Check { file } => check(file),
            Action::Show { file } => read_genesis(file).map(|genesis| show(&genesis)),
            Action::Export(export) => export.execute(),
        };
        self.output.finish(result)
    }
}

impl New {
    fn execute(&self) -> Result<Done, Failure> {
        let mut spec = self.shape()?;
        spec.name = self.name.clone().unwrap_or(spec.name);
        spec.seed = self.seed.unwrap_or(spec.seed);
        spec.shards = self.shards.unwrap_or(spec.shards);
        spec.validators = self.validators.unwrap_or(spec.validators);
        spec.interval = self.interval.unwrap_or(spec.interval);
        spec.depth = self.depth.unwrap_or(spec.depth);
        spec.patience = self.patience.unwrap_or(spec.patience);
        spec.accounts = self.accounts.unwrap_or(spec.accounts);
        spec.balance = self.balance.unwrap_or(spec.balance);
        spec.time = now();
        let (genesis, _) = Genesis::development(&spec)?;
        let mut done = show(&genesis);
        match &self.out {
            Some(path) => {
                write_new(path, &genesis.to_toml())?;
                let path = path.display();
                done.text += &format!(
                    "\n  written to {path}\n  Next:  lockstep genesis export {path} --homes net --seed {}\n",
                    spec.seed
                );
            }
            None => {
                done.text = genesis.to_toml();
                done.value["toml"] = json!(done.text);
            }
        }
        Ok(done)
    }

    fn shape(&self) -> Result<DevelopmentSpec, Failure> {
        if let Some(path) = &self.from {
            let text =
                std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            return Ok(DevelopmentSpec::from_toml(
                &text,
                &path.display().to_string(),
            )?);
        }
        let preset = Preset::find(&self.preset).ok_or_else(|| {
            let names = PRESETS.map(|preset| preset.name).join(", ");
            Failure::usage(
                "LS-GEN-030",
                format!("there is no preset {:?}", self.preset),
            )
            .help(format!(
                "there are: {names}; --from FILE takes a shape of your own"
            ))
        })?;
        Ok(preset.spec())
    }
}

fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // Whole seconds read better in the file.
    Time::from_micros(since.as_secs() * 1_000_000)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let failure = Failure::file(path, &error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                failure.help("it is not replaced; remove it first")
            }
            _ => failure,
        }
    };
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)
}

fn check(file: &Path) -> Result<Done, Failure> {
    let genesis = read_genesis(file)?;
    let mut done = show(&genesis);
    done.text = format!("{} is good\n{}", file.display(), done.text);
    Ok(done)
}

fn supply(genesis: &Genesis) -> BTreeMap<AssetId, u128> {
    let mut supply = BTreeMap::new();
    for allocation in &genesis.accounts {
        *supply.entry(allocation.asset).or_insert(0) += allocation.amount;
    }
    supply
}

fn show(genesis: &Genesis) -> Done {
    let rows = |pairs: &[(&str, String)]| {
        let rows: Vec<_> = pairs
            .iter()
            .map(|(name, value)| vec![format!("  {name}"), value.clone()])
            .collect();
        table(&rows)
    };
    let size = |id: CommitteeId| {
        let committee = genesis.committee(id);
        format!(
            "{} members, quorum {}, survives {} faulty",
            committee.size(),
            committee.quorum(),
            committee.max_faulty()
        )
    };
    let mut pairs = vec![
        (
            "chain",
            format!("{} ({} network)", genesis.chain_name(), genesis.network),
        ),
        ("hash", genesis.hash().to_string()),
        (
            "barrier",
            format!(
                "every {}, depth {}, patience {}",
                format_duration(genesis.interval),
                genesis.depth,
                format_duration(genesis.patience)
            ),
        ),
        ("beacon", size(CommitteeId::Beacon)),
    ];
    // Shards of one size are one line.
    let shapes: Vec<String> = genesis.committees().skip(1).map(size).collect();
    if shapes.windows(2).all(|pair| pair[0] == pair[1]) {
        pairs.push(("shards", format!("{}, each {}", shapes.len(), shapes[0])));
    } else {
        pairs.extend(shapes.iter().map(|shape| ("shard", shape.clone())));
    }
    for (asset, units) in supply(genesis) {
        let accounts = genesis.accounts.iter().filter(|a| a.asset == asset).count();
        pairs.push((
            "supply",
            match asset {
                AssetId::NATIVE => format!("{} in {accounts} accounts", Amount(units)),
                asset => format!(
                    "{units} units of asset {} in {accounts} accounts",
                    asset.get()
                ),
            },
        ));
    }
    let hash = genesis.hash().to_string();
    Done {
        value: describe(genesis),
        text: rows(&pairs),
        bare: hash,
        exit: None,
    }
}

fn describe(genesis: &Genesis) -> Value {
    let supply: Vec<Value> = supply(genesis)
        .into_iter()
        .map(|(asset, units)| json!({ "asset": asset.get(), "units": units.to_string() }))
        .collect();
    json!({
        "chain": genesis.chain_name(),
        "hash": genesis.hash().to_string(),
        "network": genesis.network.word(),
        "interval_us": genesis.interval.as_micros(),
        "depth": genesis.depth,
        "patience_us": genesis.patience.as_micros(),
        "shards": genesis.shard_count(),
        "members": genesis
            .committees()
            .map(|id| json!({ "committee": committee_name(id), "size": genesis.committee(id).size() }))
            .collect::<Vec<_>>(),
        "accounts": genesis.accounts.len(),
        "supply": supply,
    })
}

/// A validator and where it will listen.
struct Place<'a> {
    committee: CommitteeId,
    member: MemberIndex,
    name: &'a str,
    network: SocketAddr,
    rpc: SocketAddr,
}

impl Export {
    fn execute(&self) -> Result<Done, Failure> {
        let genesis = read_genesis(&self.file)?;
        if let Some(directory) = &self.homes {
            return self.homes(&genesis, directory);
        }
        let json = genesis.to_json();
        let mut done = show(&genesis);
        match &self.out {
            Some(path) => {
                write_new(path, &json)?;
                done.text += &format!("  canonical form written to {}\n", path.display());
            }
            None => done.text = json,
        }
        Ok(done)
    }

    fn homes(&self, genesis: &Genesis, directory: &Path) -> Result<Done, Failure> {
        if genesis.network != Network::Development {
            let message = "homes with keys are made for development networks only";
            return Err(Failure::usage("LS-GEN-031", message)
                .help("on other networks every operator makes their own keys, and keeps them"));
        }
        let places = self.places(genesis)?;
        if std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
            let message = format!("{} is not empty", directory.display());
            return Err(Failure::usage("LS-GEN-032", message).help("choose another directory"));
        }
        for place in &places {
            self.home(genesis, directory, place, &places)?;
        }
        let file = network_file(genesis, &places, self.seed);
        let path = directory.join("network.json");
        std::fs::write(directory.join("genesis.json"), genesis.to_json())
            .map_err(|error| Failure::file(directory, &error))?;
        file.write(&path)?;
        let mut done = show(genesis);
        let first = directory.join(places[0].name);
        done.value["network_file"] = json!(path);
        done.value["homes"] = places
            .iter()
            .map(|p| json!(directory.join(p.name)))
            .collect();
        done.text += &format!(
            "\n  {} homes in {}\n  Start each:  lockstep node run --home {}\n  Talk to it:  lockstep balance --network {}\n",
            places.len(),
            directory.display(),
            first.display(),
            path.display()
        );
        Ok(done)
    }

    fn places<'a>(&self, genesis: &'a Genesis) -> Result<Vec<Place<'a>>, Failure> {
        let seats = genesis.committees().flat_map(|committee| {
            let members = genesis.committee(committee).indices();
            members.map(move |member| (committee, member))
        });
        let mut ports = self.base_port..=u16::MAX;
        seats
            .map(|(committee, member)| {
                let mut port = || {
                    ports.next().ok_or_else(|| {
                        Failure::usage("LS-GEN-033", "there are not that many ports")
                            .help("choose a smaller --base-port")
                    })
                };
                Ok(Place {
                    committee,
                    member,
                    name: &genesis.validators(committee)[member.get()].name,
                    network: SocketAddr::new(self.ip, port()?),
                    rpc: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port()?),
                })
            })
            .collect()
    }

    fn home(
        &self,
        genesis: &Genesis,
        directory: &Path,
        place: &Place<'_>,
        places: &[Place<'_>],
    ) -> Result<(), Failure> {
        let keys = development_validator(self.seed, place.committee, place.member);
        if genesis.committee(place.committee).key(place.member) != Some(&keys.key.public_key()) {
            let message = format!(
                "the key of {} is not the one of seed {}",
                place.name, self.seed
            );
            return Err(Failure::usage("LS-GEN-034", message)
                .help("give the --seed that lockstep genesis new was given"));
        }
        let peers = places.iter().filter(|peer| peer.name != place.name);
        let config = NodeConfig {
            network: NetworkSection {
                listen: place.network,
                peers: peers
                    .map(|peer| PeerSection {
                        name: peer.name.to_owned(),
                        address: peer.network.to_string(),
                    })
                    .collect(),
            },
            rpc: RpcSection {
                listen: place.rpc,
                unsafe_external: false,
            },
            log: LogSection::default(),
            threads: ThreadsSection::default(),
            storage: StorageSection::default(),
        };
        let home = directory.join(place.name);
        Home::at(&home)
            .write(genesis, &keys, &config)
            .map_err(|error| Failure::file(&home, &error))
    }
}

fn network_file(genesis: &Genesis, places: &[Place<'_>], seed: u64) -> NetworkFile {
    NetworkFile {
        schema: SCHEMA,
        chain: genesis.chain_name(),
        genesis: genesis.hash(),
        network: genesis.network,
        genesis_file: "genesis.json".into(),
        seed: Some(seed),
        process: None,
        endpoints: places
            .iter()
            .map(|place| Endpoint {
                validator: place.name.to_owned(),
                committees: vec![committee_name(place.committee)],
                url: format!("http://{}", place.rpc),
            })
            .collect(),
        accounts: genesis
            .accounts
            .iter()
            .filter_map(|allocation| {
                Some(NamedAccount {
                    name: allocation.name.clone()?,
                    address: Address::new(genesis.network, allocation.account).to_string(),
                    shard: genesis.shard_of(&allocation.account).get(),
                })
            })
            .collect(),
    }
}
