//! A whole development network on this machine: all validators in this process, or each in one of
//! its own. `lockstep up`, the harness and the process tests start networks through here.
//!
//! Every validator gets a complete home, the same that an operator would have, in either case.
//!
//! Children are this very executable with the arguments of `lockstep node run`. A program that does
//! not take these calls [`run_if_child`] first in its `main`; an environment variable tells it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_client::network_file::{Endpoint as FileEndpoint, NamedAccount, NetworkFile, SCHEMA};
use lockstep_genesis::{Address, DevelopmentKeys, DevelopmentSpec, Genesis};
use lockstep_types::{CommitteeId, MemberIndex, Time};

use crate::config::{
    LogSection, NetworkSection, NodeConfig, PeerSection, RpcSection, StorageSection, ThreadsSection,
};
use crate::exit::Stop;
use crate::home::{Home, committee_word};
use crate::host::Host;
use crate::ports::{DEFAULT_BASE, free_ports};
use crate::validator::Validator;

/// Set for a child: whatever program it is, it does what `lockstep` does with its arguments.
const CHILD: &str = "LOCKSTEP_CHILD";
/// How long a child may take to end when asked.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// If this process was started as a validator of a cluster, runs it and returns its exit code.
pub fn run_if_child() -> Option<ExitCode> {
    std::env::var_os(CHILD).map(|_| crate::cli::main())
}

/// What network to start.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Shape, keys and limits. Its time is set to now when it is zero.
    pub network: DevelopmentSpec,
    /// Each validator in a process of its own.
    pub processes: bool,
    /// Where homes and logs go. It must be empty or not exist.
    pub dir: PathBuf,
    /// Where the search for free ports starts.
    pub base_port: u16,
    /// Threads that check transactions; 0: one per core. Per process.
    pub verifiers: usize,
    /// When the disk counts as full.
    pub storage: StorageSection,
    /// What is logged.
    pub log: String,
    /// Validators keep what peers tell them: see `log.messages` in `node.toml`.
    pub keep_messages: bool,
    /// The executable of the validators' processes; none: this very one.
    pub program: Option<PathBuf>,
}

impl ClusterSpec {
    /// A network of the given shape, in one process, with all else as usual.
    pub fn new(network: DevelopmentSpec, dir: impl Into<PathBuf>) -> Self {
        ClusterSpec {
            network,
            processes: false,
            dir: dir.into(),
            base_port: DEFAULT_BASE,
            verifiers: 0,
            storage: StorageSection::default(),
            log: "info".to_owned(),
            keep_messages: false,
            program: None,
        }
    }
}

/// Where a validator of a cluster keeps messages, in its home.
const MESSAGES: &str = "messages";

/// A validator of a cluster.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name in genesis.
    pub name: String,
    /// Its committee.
    pub committee: CommitteeId,
    /// Its position there.
    pub member: MemberIndex,
    /// Where its RPC listens.
    pub rpc: SocketAddr,
    /// Where it listens for other validators.
    pub network: SocketAddr,
    /// Its directory.
    pub home: Home,
}

impl Place {
    /// Where it keeps what peers tell it, if it does.
    pub fn messages(&self) -> PathBuf {
        self.home.root().join(MESSAGES)
    }

    /// `http://127.0.0.1:7700`
    pub fn url(&self) -> String {
        format!("http://{}", self.rpc)
    }
}

enum Running {
    Inside(Validator),
    Process(Child),
    Down,
}

/// A running network.
pub struct Cluster {
    spec: ClusterSpec,
    genesis: Arc<Genesis>,
    keys: DevelopmentKeys,
    places: Vec<Place>,
    running: Vec<Running>,
    host: Option<Host>,
}

impl Cluster {
    /// Builds the genesis, writes all homes and starts all validators.
    ///
    /// # Errors
    /// A shape that cannot be, a directory that cannot be written, a validator that cannot start.
    pub fn start(spec: ClusterSpec) -> Result<Self, Stop> {
        let mut cluster = Self::prepare(spec)?;
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Builds the genesis and writes all homes. No validator runs yet, so that a home can be
    /// changed first, as its operator would.
    ///
    /// # Errors
    /// A shape that cannot be, a directory that cannot be written.
    pub fn prepare(mut spec: ClusterSpec) -> Result<Self, Stop> {
        if spec.network.time == Time::ZERO {
            spec.network.time = now();
        }
        let (genesis, keys) = Genesis::development(&spec.network)
            .map_err(|problems| Stop::Config(problems.to_string()))?;
        let places = write_homes(&spec, &genesis, &keys)?;
        let host = if spec.processes {
            None
        } else {
            Some(Host::start(spec.verifiers)?)
        };
        Ok(Cluster {
            spec,
            genesis: Arc::new(genesis),
            keys,
            running: places.iter().map(|_| Running::Down).collect(),
            places,
            host,
        })
    }

    /// Starts every validator that is down.
    ///
    /// # Errors
    /// Why one cannot start.
    pub fn start_all(&mut self) -> Result<(), Stop> {
        for index in 0..self.places.len() {
            if matches!(self.running[index], Running::Down) {
                self.run(index, false)?;
            }
        }
        Ok(())
    }

    /// Its genesis.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// All its secrets.
    pub fn keys(&self) -> &DevelopmentKeys {
        &self.keys
    }

    /// All validators: the beacon's first, then shard by shard, in member order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The RPC addresses of a committee, in member order.
    pub fn urls(&self, committee: CommitteeId) -> Vec<String> {
        let places = self.places.iter();
        places
            .filter(|place| place.committee == committee)
            .map(Place::url)
            .collect()
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.spec.dir
    }

    fn run(&mut self, index: usize, recover: bool) -> Result<(), Stop> {
        let home = &self.places[index].home;
        self.running[index] = match &self.host {
            Some(host) => {
                let validator = Validator::start(home, &self.genesis, host, recover)?;
                Running::Inside(validator)
            }
            None => Running::Process(self.spawn(&self.places[index], recover)?),
        };
        Ok(())
    }

    fn spawn(&self, place: &Place, recover: bool) -> Result<Child, Stop> {
        let failed = |error: std::io::Error| {
            Stop::Config(format!(
                "cannot start a process for {}: {error}",
                place.name
            ))
        };
        let log = self
            .spec
            .dir
            .join("logs")
            .join(format!("{}.log", place.name));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(failed)?;
        let mut command = self.command(&place.home).map_err(failed)?;
        if recover {
            command.arg("--recover");
        }
        command.stderr(log).spawn().map_err(failed)
    }

    /// What runs a validator of any home as a process, until its standard input ends.
    ///
    /// # Errors
    /// When the path of this executable is not known.
    pub fn command(&self, home: &Home) -> std::io::Result<Command> {
        let mut command = Command::new(match &self.spec.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        });
        command
            .env(CHILD, "1")
            .args(["node", "run", "--until-stdin-ends", "--home"])
            .arg(home.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// Stops one validator without warning: SIGKILL for a process. In one process it is dropped
    /// as abruptly as threads can be.
    pub fn kill(&mut self, index: usize) {
        match std::mem::replace(&mut self.running[index], Running::Down) {
            Running::Inside(validator) => validator.stop(),
            Running::Process(mut child) => {
                // Errors mean that it has ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
            Running::Down => {}
        }
    }

    /// Starts a stopped validator again, on its own data.
    ///
    /// # Errors
    /// Why it cannot start.
    pub fn restart(&mut self, index: usize) -> Result<(), Stop> {
        self.kill(index);
        self.run(index, false)
    }

    /// Stops a validator, deletes all its data, and starts it with its keys alone, as with
    /// `--recover`.
    ///
    /// # Errors
    /// Why it cannot start.
    pub fn wipe(&mut self, index: usize) -> Result<(), Stop> {
        self.kill(index);
        let data = self.places[index].home.data();
        let failed = |error| Stop::storage(format!("{}: {error}", data.display()));
        std::fs::remove_dir_all(&data).map_err(failed)?;
        std::fs::create_dir(&data).map_err(failed)?;
        self.recover(index)
    }

    /// Starts a validator that has stopped, as with `--recover`.
    ///
    /// # Errors
    /// Why it cannot start.
    pub fn recover(&mut self, index: usize) -> Result<(), Stop> {
        self.run(index, true)
    }

    /// The process of a validator: its own, or this one.
    pub fn process_id(&self, index: usize) -> Option<u32> {
        match &self.running[index] {
            Running::Inside(_) => Some(std::process::id()),
            Running::Process(child) => Some(child.id()),
            Running::Down => None,
        }
    }

    /// The exit code of a validator's process that has ended by itself; none while it runs, and
    /// for one that a signal ended.
    pub fn exit_code(&mut self, index: usize) -> Option<i32> {
        match &mut self.running[index] {
            Running::Process(child) => child.try_wait().ok().flatten()?.code(),
            Running::Inside(_) | Running::Down => None,
        }
    }

    /// The first validator that has stopped by itself, and why.
    pub fn failed(&mut self) -> Option<(usize, String)> {
        self.running
            .iter_mut()
            .enumerate()
            .find_map(|(index, running)| match running {
                Running::Inside(validator) => validator
                    .switch()
                    .reason()
                    .map(|reason| (index, reason.to_string())),
                Running::Process(child) => match child.try_wait() {
                    Ok(Some(status)) => Some((index, status.to_string())),
                    _ => None,
                },
                Running::Down => None,
            })
    }

    /// What wallets need to know, as `dev.json`.
    pub fn network_file(&self) -> NetworkFile {
        NetworkFile {
            schema: SCHEMA,
            chain: self.genesis.chain_name(),
            genesis: self.genesis.hash(),
            network: self.genesis.network,
            genesis_file: "genesis.json".into(),
            seed: Some(self.spec.network.seed),
            process: Some(std::process::id()),
            endpoints: self
                .places
                .iter()
                .map(|place| FileEndpoint {
                    validator: place.name.clone(),
                    committees: vec![committee_word(place.committee)],
                    url: place.url(),
                })
                .collect(),
            accounts: self
                .keys
                .accounts
                .iter()
                .map(|account| NamedAccount {
                    name: account.name.clone(),
                    address: Address::new(self.genesis.network, account.account).to_string(),
                    shard: account.shard.get(),
                })
                .collect(),
        }
    }

    /// Stops everything.
    pub fn stop(&mut self) {
        for running in &mut self.running {
            if let Running::Process(child) = running {
                // Closing its standard input asks it to end.
                drop(child.stdin.take());
            }
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        for running in &mut self.running {
            match std::mem::replace(running, Running::Down) {
                Running::Inside(validator) => validator.stop(),
                Running::Process(mut child) => {
                    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    // Errors mean that it has ended already.
                    let _ = child.kill();
                    let _ = child.wait();
                }
                Running::Down => {}
            }
        }
        self.host = None;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Writes the genesis, `dev.json`'s neighbour, and the homes of all validators.
fn write_homes(
    spec: &ClusterSpec,
    genesis: &Genesis,
    keys: &DevelopmentKeys,
) -> Result<Vec<Place>, Stop> {
    let failed = |error: std::io::Error| Stop::Config(format!("{}: {error}", spec.dir.display()));
    std::fs::create_dir_all(spec.dir.join("logs")).map_err(failed)?;
    std::fs::write(spec.dir.join("genesis.json"), genesis.to_json()).map_err(failed)?;
    let seats: Vec<(CommitteeId, MemberIndex, &str)> = genesis
        .committees()
        .flat_map(|committee| {
            let members = genesis.validators(committee).iter().zip(0u8..);
            members.map(move |(v, member)| (committee, MemberIndex::new(member), v.name.as_str()))
        })
        .collect();
    let ports = free_ports(spec.base_port, 2 * seats.len()).map_err(Stop::Config)?;
    let (rpc_ports, network_ports) = ports.split_at(seats.len());
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let addresses: BTreeMap<&str, SocketAddr> = seats
        .iter()
        .zip(network_ports)
        .map(|((_, _, name), port)| (*name, local(*port)))
        .collect();
    let mut places = Vec::with_capacity(seats.len());
    for ((committee, member, name), rpc_port) in seats.iter().zip(rpc_ports) {
        let peers = addresses.iter().filter(|(peer, _)| *peer != name);
        let config = NodeConfig {
            network: NetworkSection {
                listen: addresses[name],
                peers: peers
                    .map(|(peer, address)| PeerSection {
                        name: (*peer).to_owned(),
                        address: address.to_string(),
                    })
                    .collect(),
            },
            rpc: RpcSection {
                listen: local(*rpc_port),
                unsafe_external: false,
            },
            log: LogSection {
                filter: spec.log.clone(),
                json: false,
                messages: spec.keep_messages.then(|| MESSAGES.into()),
            },
            threads: ThreadsSection {
                verifiers: spec.verifiers,
            },
            storage: spec.storage.clone(),
        };
        let home = Home::at(spec.dir.join(name));
        let keys = keys
            .validator(*committee, *member)
            .expect("every seat of a development network has keys");
        home.write(genesis, keys, &config).map_err(failed)?;
        places.push(Place {
            name: (*name).to_owned(),
            committee: *committee,
            member: *member,
            rpc: local(*rpc_port),
            network: addresses[name],
            home,
        });
    }
    Ok(places)
}
