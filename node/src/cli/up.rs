//! `lockstep up`: a development network on this machine, real sockets and real databases.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lockstep_client::Client;
use lockstep_client::network_file::NetworkFile;
use lockstep_client::rpc::ReplicaStatus;
use lockstep_genesis::{Address, DevelopmentSpec, format_duration, parse_duration};
use lockstep_types::CommitteeId;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::output::table;
use super::{Failure, out};
use crate::cluster::{Cluster, ClusterSpec};
use crate::config::LogSection;
use crate::exit::ExitCode;
use crate::ports::DEFAULT_BASE;
use crate::telemetry;

/// A network that is not ready by then will not be.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often the network is asked how it is while it starts, and later.
const POLL: Duration = Duration::from_millis(50);
const REFRESH: Duration = Duration::from_millis(500);
/// Without a terminal, a line this often.
const REPORT: Duration = Duration::from_secs(10);
/// What of the live table fits on the smallest usual terminal, 80 by 24, with a margin.
const MAX_LINE: usize = 76;
const MAX_LINES: usize = 20;
/// Accounts named in the banner.
const SHOWN_ACCOUNTS: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Number of shards.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Members of each committee, the beacon's included; 4 survive one fault.
    #[arg(long, default_value_t = 4)]
    validators: u8,
    /// Time between barriers, as in 500ms or 2s.
    #[arg(long, default_value = "1s")]
    interval: String,
    /// Barriers that may be outstanding: 0 stops every shard at each barrier, 1 and 2 hide it.
    #[arg(long, default_value_t = 0)]
    depth: u8,
    /// All keys follow from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many accounts hold value.
    #[arg(long, default_value_t = 10)]
    accounts: u32,
    /// A plain line now and then instead of a live table.
    #[arg(long)]
    no_tui: bool,
    /// Keep the data when it ends.
    #[arg(long)]
    keep: bool,
    /// Where data and logs go, instead of a new directory in the system's place for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write endpoints and accounts as JSON to this file too.
    #[arg(long)]
    dev_json: Option<PathBuf>,
    /// Each validator in a process of its own.
    #[arg(long)]
    processes: bool,
    /// Where the search for free ports starts.
    #[arg(long, default_value_t = DEFAULT_BASE)]
    base_port: u16,
    /// What is logged, as in info,lockstep_node=debug.
    #[arg(long, default_value = "info")]
    log: String,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interval = parse_duration(&args.interval)
        .map_err(|error| Failure::usage(format!("--interval {}: {error}", args.interval)))?;
    let directory = Directory::make(args)?;
    let log = LogSection {
        filter: args.log.clone(),
        ..LogSection::default()
    };
    telemetry::start(&log, Some(&directory.path.join("lockstep.log"))).map_err(Failure::usage)?;
    let mut spec = ClusterSpec::new(
        DevelopmentSpec {
            seed: args.seed,
            shards: args.shards,
            validators: args.validators,
            interval,
            depth: args.depth,
            patience: (interval * 2).max(DevelopmentSpec::default().patience),
            accounts: args.accounts,
            ..DevelopmentSpec::default()
        },
        &directory.path,
    );
    spec.processes = args.processes;
    spec.base_port = args.base_port;
    spec.log.clone_from(&args.log);
    let started = Instant::now();
    let mut cluster = Cluster::start(spec)?;
    let file = cluster.network_file();
    let dev_json = directory.path.join("dev.json");
    let written = |error: lockstep_client::network_file::NetworkFileError| Failure {
        message: error.to_string(),
        code: ExitCode::Rejected,
    };
    file.write(&dev_json).map_err(written)?;
    if let Some(copy) = &args.dev_json {
        let absolute = NetworkFile {
            genesis_file: std::path::absolute(directory.path.join("genesis.json"))
                .map_err(Failure::usage)?,
            ..file.clone()
        };
        absolute.write(copy).map_err(written)?;
    }
    // Without a state directory commands need --network, and everything else works.
    if let Err(error) = NetworkFile::set_latest(&dev_json) {
        tracing::warn!(%error, "not remembered as the latest network");
    }
    banner(args, &cluster, &directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::usage)?;
    let ended = watch(args, &runtime, &mut cluster, started);
    let stopping = Instant::now();
    cluster.stop();
    tracing::info!(took = ?stopping.elapsed(), "stopped");
    ended
}

/// Where the network lives; removed at the end unless it is to be kept.
struct Directory {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Directory {
    fn make(args: &Args) -> Result<Self, Failure> {
        if let Some(path) = &args.dir {
            let used = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
            if used {
                let text = format!("{} is not empty; give --dir a new one", path.display());
                return Err(Failure::usage(text));
            }
            std::fs::create_dir_all(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            return Ok(Directory {
                path: path.clone(),
                temporary: None,
            });
        }
        let made = tempfile::Builder::new()
            .prefix("lockstep-up-")
            .tempdir()
            .map_err(Failure::usage)?;
        let path = made.path().to_owned();
        let temporary = if args.keep {
            let _kept = made.keep();
            None
        } else {
            Some(made)
        };
        Ok(Directory { path, temporary })
    }

    fn fate(&self) -> &'static str {
        match self.temporary {
            Some(_) => "data removed on exit (--keep)",
            None => "data kept",
        }
    }
}

fn short(hash: &str) -> String {
    format!("{}…{}", &hash[..4], &hash[hash.len() - 4..])
}

fn banner(args: &Args, cluster: &Cluster, directory: &Directory) -> Result<(), Failure> {
    let genesis = cluster.genesis();
    let processes = if args.processes {
        "one process per validator"
    } else {
        "one process"
    };
    let rpc = cluster
        .places()
        .iter()
        .find(|p| p.committee.shard().is_some());
    let rpc = rpc.map(|place| place.rpc.to_string()).unwrap_or_default();
    out(&format!(
        "lockstep {}  development network, {processes}, {}\n",
        env!("CARGO_PKG_VERSION"),
        directory.fate()
    ))?;
    out(&format!(
        "  Network    {}   genesis {}   seed {}",
        genesis.chain_name(),
        short(&genesis.hash().to_string()),
        args.seed
    ))?;
    out(&format!(
        "  Shape      {} shards × {} validators, beacon {}, barrier every {}, depth {}",
        args.shards,
        args.validators,
        args.validators,
        format_duration(genesis.interval),
        args.depth
    ))?;
    out(&format!(
        "  RPC        http://{rpc}  ·  ws://{rpc}  ·  metrics /metrics  ·  one per validator: dev.json"
    ))?;
    out(&format!(
        "  Files      {}   accounts and endpoints as JSON: {}\n",
        directory.path.display(),
        directory.path.join("dev.json").display()
    ))?;
    out("  Accounts   (development keys: anyone can spend from them)")?;
    let accounts = &cluster.keys().accounts;
    for account in accounts.iter().take(SHOWN_ACCOUNTS) {
        let address = Address::new(genesis.network, account.account).to_string();
        out(&format!(
            "    {:<6} {address}  shard {}",
            account.name,
            account.shard.get()
        ))?;
    }
    if accounts.len() > SHOWN_ACCOUNTS {
        let more = accounts.len() - SHOWN_ACCOUNTS;
        out(&format!("    …  {more} more: lockstep key list"))?;
    }
    out("")
}

/// Follows the network until it is to stop.
fn watch(
    args: &Args,
    runtime: &Runtime,
    cluster: &mut Cluster,
    started: Instant,
) -> Result<(), Failure> {
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::usage)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::usage)?;
        tokio::select! {
            ended = follow(args, cluster, started) => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

async fn follow(args: &Args, cluster: &mut Cluster, started: Instant) -> Result<(), Failure> {
    let watched = Watched::new(cluster)?;
    watched.until_ready(cluster, started).await?;
    let names: Vec<_> = cluster.keys().accounts.iter().map(|a| &a.name).collect();
    let try_this = match names.as_slice() {
        [first, second, ..] => format!("  Try:  lockstep send {first} {second} 5lck"),
        _ => String::new(),
    };
    out(&format!(
        "  Ready in {:.1} s.{try_this}      Ctrl-C stops it\n",
        started.elapsed().as_secs_f64()
    ))?;
    let live = std::io::stdout().is_terminal() && !args.no_tui;
    let (mut reported, mut drawn) = (Instant::now(), 0);
    loop {
        tokio::time::sleep(REFRESH).await;
        if let Some((index, reason)) = cluster.failed() {
            let name = &cluster.places()[index].name;
            return Err(Failure {
                message: format!(
                    "{name} stopped: {reason}; logs are in {}",
                    log_place(cluster)
                ),
                code: ExitCode::Bug,
            });
        }
        if live {
            let mut lines = watched.lines(started).await;
            if lines.len() > MAX_LINES {
                // The way back up would end at the top of the screen.
                lines = vec![cut(&watched.line(started).await)];
            }
            // Back to where the last one began, and over it.
            let back = match drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}F"),
            };
            drawn = lines.len();
            let mut stdout = std::io::stdout();
            // A terminal that is gone ends us by a signal, not here.
            let text = format!("{back}\x1b[J  {}\n", lines.join("\n  "));
            let _ = stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush());
        } else if reported.elapsed() >= REPORT {
            reported = Instant::now();
            let line = watched.line(started).await;
            out(&format!("  {line}"))?;
        }
    }
}

/// A line that wraps would be two, and the next table would start too low.
fn cut(line: &str) -> String {
    line.chars().take(MAX_LINE).collect()
}

fn log_place(cluster: &Cluster) -> String {
    let dir: &Path = cluster.dir();
    format!("{0}/lockstep.log and {0}/logs", dir.display())
}

/// Clients of all validators, by committee.
struct Watched {
    committees: Vec<(CommitteeId, u8, Vec<Client>)>,
}

impl Watched {
    fn new(cluster: &Cluster) -> Result<Self, Failure> {
        let genesis = cluster.genesis();
        let committees = genesis.committees().map(|committee| {
            let clients = cluster
                .urls(committee)
                .iter()
                .map(|url| Client::new(&[url], Duration::from_secs(2)).map_err(Failure::usage))
                .collect::<Result<_, _>>()?;
            let quorum = genesis.committee(committee).quorum();
            let quorum = u8::try_from(quorum).expect("at most 64 members");
            Ok((committee, quorum, clients))
        });
        Ok(Watched {
            committees: committees.collect::<Result<_, Failure>>()?,
        })
    }

    /// Prints a line for each committee as it gets its quorum, and returns when all have applied
    /// barrier 1.
    async fn until_ready(&self, cluster: &mut Cluster, started: Instant) -> Result<(), Failure> {
        let mut announced = vec![false; self.committees.len()];
        loop {
            let mut ready = true;
            for (place, (committee, quorum, clients)) in self.committees.iter().enumerate() {
                let states = states(clients).await;
                let joined = states.iter().filter(|s| s.connected >= *quorum).count();
                if joined == clients.len() && !announced[place] {
                    announced[place] = true;
                    out(&format!(
                        "  ✓ {:<8} quorum {joined}/{}   {:.1} s",
                        committee.to_string(),
                        clients.len(),
                        started.elapsed().as_secs_f64()
                    ))?;
                }
                ready &= announced[place] && states.iter().all(|state| state.record >= 1);
            }
            if ready {
                return Ok(());
            }
            if let Some((index, reason)) = cluster.failed() {
                let name = &cluster.places()[index].name;
                return Err(Failure {
                    message: format!("{name} stopped: {reason}; logs: {}", log_place(cluster)),
                    code: ExitCode::Bug,
                });
            }
            if started.elapsed() > START_PATIENCE {
                let line = self.line(started).await;
                return Err(Failure {
                    message: format!(
                        "not ready after {} s: {line}\n  help: logs are in {}",
                        START_PATIENCE.as_secs(),
                        log_place(cluster)
                    ),
                    code: ExitCode::Rejected,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The network as a table: a line for each committee, as its member that is furthest says.
    async fn lines(&self, started: Instant) -> Vec<String> {
        let header = [
            "", "HEIGHT", "VIEW", "LEADER", "BARRIER", "POOL", "UP", "STATE",
        ];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        for (committee, _, clients) in &self.committees {
            let states = states(clients).await;
            let first = states.iter().max_by_key(|state| state.height);
            let pool: u64 = states.iter().map(|state| state.pool).sum();
            let mut row = vec![committee.to_string()];
            match first {
                None => {
                    row.resize(header.len() - 2, String::new());
                    row.push(format!("0/{}", clients.len()));
                }
                Some(first) => row.extend([
                    first.height.to_string(),
                    first.view.to_string(),
                    first.leader.to_string(),
                    first.record.to_string(),
                    pool.to_string(),
                    format!("{}/{}", states.len(), clients.len()),
                ]),
            }
            row.push(match first {
                None => "no answer".to_owned(),
                Some(first) => first.blocked.clone().unwrap_or_else(|| "runs".to_owned()),
            });
            rows.push(row);
        }
        let mut lines: Vec<_> = table(&rows).lines().map(cut).collect();
        lines.push(format!("up {} s", started.elapsed().as_secs()));
        lines
    }

    /// The network in one line.
    async fn line(&self, started: Instant) -> String {
        let mut parts = vec![format!("{:>5} s", started.elapsed().as_secs())];
        for (committee, _, clients) in &self.committees {
            let states = states(clients).await;
            let Some(first) = states.iter().max_by_key(|state| state.height) else {
                parts.push(format!("{committee}: no answer"));
                continue;
            };
            let mut part = match committee {
                CommitteeId::Beacon => format!("barrier {}", first.record),
                CommitteeId::Shard(shard) => format!(
                    "shard {} height {} pool {}",
                    shard.get(),
                    first.height,
                    states.iter().map(|state| state.pool).max().unwrap_or(0)
                ),
            };
            if let Some(blocked) = &first.blocked {
                part.push_str(" (");
                part.push_str(blocked);
                part.push(')');
            }
            parts.push(part);
        }
        parts.join(" │ ")
    }
}

/// The state of each replica that answers.
async fn states(clients: &[Client]) -> Vec<ReplicaStatus> {
    let mut states = Vec::new();
    for client in clients {
        // No answer: it is starting or stopping.
        if let Ok(status) = client.status().await {
            states.extend(status.replicas.into_iter().next());
        }
    }
    states
}
