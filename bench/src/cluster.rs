//! A network of real validators on this host, one process each, with its own database and
//! sockets: [`lockstep_node::cluster`] with processor accounting and with reasons.
//!
//! Breaks if: validators share a process with each other or with the generator; their processor
//! time could no longer be told apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use lockstep_client::Client;
use lockstep_client::rpc::{ReplicaStatus, Status};
use lockstep_genesis::{Amount, DevelopmentSpec, Genesis, Limits};
use lockstep_node::cluster::{Cluster, ClusterSpec, Place};
use lockstep_types::{CommitteeId, MemberIndex, ShardId, Time};

use crate::manifest::now_micros;
use crate::processes::{cpu_seconds, thread_seconds};

/// How long a network may take until every committee works.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How often a starting network is asked.
const POLL: Duration = Duration::from_millis(100);
/// How long one question may take.
const CALL_DEADLINE: Duration = Duration::from_secs(2);
/// What each account starts with.
const BALANCE_LCK: u64 = 10_000;
/// How long the beacon waits for a late shard. Long, because a shard that is only slow must be
/// measured as slow and not be left out.
const PATIENCE: Duration = Duration::from_secs(10);
/// A paced shard's batches hold at most this part of a second's work, so that a block can use the
/// pace it has to within 20 ms.
const BATCHES_PER_SECOND: u32 = 50;
/// Lines of a log that are quoted.
const QUOTED_LINES: usize = 3;

/// What a network looks like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Number of shards.
    pub shards: u16,
    /// Members of each committee.
    pub validators: u8,
    /// Length of a window.
    pub interval: Duration,
    /// Windows a shard may run ahead.
    pub depth: u8,
    /// Transactions per second a shard may order.
    pub pace: Option<u32>,
    /// Accounts in each shard.
    pub accounts_per_shard: u32,
    /// Where its keys come from.
    pub seed: u64,
}

impl Shape {
    /// The development network of this shape, from now on. Every limit of a production network
    /// stays on.
    pub fn network(&self) -> DevelopmentSpec {
        DevelopmentSpec {
            name: "bench".to_owned(),
            seed: self.seed,
            shards: self.shards,
            validators: self.validators,
            interval: self.interval,
            depth: self.depth,
            patience: PATIENCE,
            accounts: self.accounts_per_shard * u32::from(self.shards),
            balance: Amount::lck(BALANCE_LCK),
            limits: self.limits(),
            time: Time::from_micros(now_micros()),
        }
    }
}

impl Shape {
    fn limits(&self) -> Limits {
        let limits = Limits {
            pace: self.pace,
            ..Limits::default()
        };
        match self.pace {
            // A paced block has room for a fraction of a second's work, and a batch is listed
            // whole or not at all: a batch with more than fits would never be listed.
            Some(pace) => Limits {
                batch_transactions: (pace / BATCHES_PER_SECOND).clamp(1, limits.batch_transactions),
                ..limits
            },
            None => limits,
        }
    }
}

/// A running network. Dropping it ends its processes.
pub struct Testbed {
    cluster: Cluster,
    logs: PathBuf,
}

/// Processor seconds so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuSeconds {
    /// Of the shards' validators.
    pub shards: f64,
    /// Of those, of the threads that check what comes from outside.
    pub checking: f64,
    /// Of the beacon's.
    pub beacon: f64,
    /// Of this process: generator and observers.
    pub generator: f64,
}

impl Testbed {
    /// Starts every validator of `network`, with homes and logs below `directory`.
    ///
    /// # Errors
    /// When files cannot be written, no ports are free, or a process does not start.
    pub fn start(network: DevelopmentSpec, directory: &Path) -> anyhow::Result<Self> {
        let spec = ClusterSpec {
            processes: true,
            // One thread each: with several validators to a core more would only switch.
            verifiers: 1,
            log: "warn".to_owned(),
            ..ClusterSpec::new(network, directory)
        };
        let cluster = Cluster::start(spec).map_err(|stop| anyhow::anyhow!("{stop}"))?;
        Ok(Testbed {
            cluster,
            logs: directory.join("logs"),
        })
    }

    /// Waits until every replica sees its whole committee and the first barrier has passed.
    ///
    /// # Errors
    /// When a process ends, or it takes too long: with what keeps the network from working.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            self.alive()?;
            let mut missing = None;
            for place in self.cluster.places() {
                let members = self.cluster.genesis().committee(place.committee).size();
                let status = status(&place.url()).await;
                if let Some(reason) = not_ready(status.as_ref(), place.committee, members) {
                    missing = Some(format!("{}: {reason}", place.name));
                    break;
                }
            }
            match missing {
                None => return Ok(()),
                Some(reason) if start.elapsed() > READY_DEADLINE => bail!(
                    "the network is not ready after {} s: {reason}",
                    READY_DEADLINE.as_secs()
                ),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// All processes run.
    ///
    /// # Errors
    /// The first that does not, with the last lines of its log.
    pub fn alive(&mut self) -> anyhow::Result<()> {
        let Some((index, reason)) = self.cluster.failed() else {
            return Ok(());
        };
        let name = &self.cluster.places()[index].name;
        let log = self.log(name);
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join(" | ");
        bail!("{name} ended with {reason}: {last}")
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.logs.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Kills the member of this number in every committee for good, as SIGKILL does. From then on
    /// it is not among those that are asked anything.
    pub(crate) fn kill(&mut self, member: MemberIndex) {
        for index in 0..self.cluster.places().len() {
            if self.cluster.places()[index].member == member {
                self.cluster.kill(index);
            }
        }
    }

    /// Whoever was not killed.
    fn places(&self) -> impl Iterator<Item = &Place> {
        let places = self.cluster.places().iter().enumerate();
        places
            .filter(|(index, _)| self.cluster.process_id(*index).is_some())
            .map(|(_, place)| place)
    }

    /// What the network is.
    pub fn genesis(&self) -> &Genesis {
        self.cluster.genesis()
    }

    /// The RPC addresses of a committee's members, in member order, without those killed.
    pub fn urls(&self, committee: CommitteeId) -> Vec<String> {
        self.places()
            .filter(|place| place.committee == committee)
            .map(Place::url)
            .collect()
    }

    /// The shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.genesis().shard_count()).map(ShardId::new)
    }

    /// How each replica is doing, with its validator's name; an unreachable one has none. Without
    /// those killed.
    pub async fn statuses(&self) -> Vec<(String, CommitteeId, Option<ReplicaStatus>)> {
        let mut all = Vec::new();
        for place in self.places() {
            let status = status(&place.url()).await;
            let replica = status.and_then(|s| replica_of(&s, place.committee).cloned());
            all.push((place.name.clone(), place.committee, replica));
        }
        all
    }

    /// Processor time used so far.
    pub fn cpu(&self) -> CpuSeconds {
        let of = |beacon: bool, read: &dyn Fn(u32) -> Option<f64>| {
            let places = self.cluster.places().iter().enumerate();
            places
                .filter(|(_, place)| (place.committee == CommitteeId::Beacon) == beacon)
                .filter_map(|(index, _)| read(self.cluster.process_id(index)?))
                .sum()
        };
        CpuSeconds {
            shards: of(false, &cpu_seconds),
            checking: of(false, &|pid| thread_seconds(pid, "verify-")),
            beacon: of(true, &cpu_seconds),
            generator: cpu_seconds(std::process::id()).unwrap_or(0.0),
        }
    }

    /// The first thing in the validators' own words that may explain why nothing moves.
    pub async fn cause(&mut self) -> String {
        if let Err(error) = self.alive() {
            return format!("{error:#}");
        }
        for (name, _, replica) in self.statuses().await {
            match replica {
                None => return format!("{name} does not answer"),
                Some(ReplicaStatus {
                    blocked: Some(reason),
                    evidence: 0,
                    ..
                }) => {
                    return format!("{name}: {reason}");
                }
                Some(_) => {}
            }
        }
        for place in self.cluster.places() {
            let log = self.log(&place.name);
            let serious = |line: &&str| line.contains("ERROR") || line.contains("panicked");
            if let Some(line) = log.lines().find(serious) {
                return format!("{}: {line}", place.name);
            }
        }
        "no validator reports a problem".to_owned()
    }
}

/// Asks one validator; `None` when it does not answer.
async fn status(url: &str) -> Option<Status> {
    Client::new(&[url], CALL_DEADLINE).ok()?.status().await.ok()
}

fn replica_of(status: &Status, committee: CommitteeId) -> Option<&ReplicaStatus> {
    status
        .replicas
        .iter()
        .find(|replica| replica.committee == committee)
}

fn not_ready(status: Option<&Status>, committee: CommitteeId, members: usize) -> Option<String> {
    let Some(status) = status else {
        return Some("does not answer".to_owned());
    };
    let Some(replica) = replica_of(status, committee) else {
        return Some(format!("runs no replica of {committee}"));
    };
    if usize::from(replica.connected) < members {
        return Some(format!("connected to {} of {members}", replica.connected));
    }
    if replica.record == 0 {
        let blocked = replica.blocked.as_deref().unwrap_or("no reason given");
        return Some(format!("no barrier so far: {blocked}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_batch_fits_into_a_block() {
        let shape = |pace| Shape {
            shards: 1,
            validators: 4,
            interval: Duration::from_secs(1),
            depth: 0,
            pace,
            accounts_per_shard: 2,
            seed: 1,
        };
        assert_eq!(shape(Some(200)).limits().batch_transactions, 4);
        assert_eq!(shape(Some(1)).limits().batch_transactions, 1);
        let usual = Limits::default().batch_transactions;
        assert_eq!(shape(Some(100_000)).limits().batch_transactions, usual);
        assert_eq!(shape(None).limits(), Limits::default());
    }

    #[test]
    fn a_network_is_ready_when_every_replica_saw_a_barrier() {
        let committee = CommitteeId::Shard(ShardId::new(1));
        let replica = |connected, record| ReplicaStatus {
            committee,
            height: 3,
            block_time_us: 0,
            view: 4,
            leader: 0,
            executed: 3,
            window: 1,
            sealed: 0,
            record,
            pool: 0,
            connected,
            blocked: None,
            evidence: 0,
        };
        let status = |replica| Status {
            time_us: 0,
            uptime_us: 0,
            replicas: vec![replica],
        };
        assert!(not_ready(None, committee, 4).is_some());
        assert!(not_ready(Some(&status(replica(3, 1))), committee, 4).is_some());
        assert!(not_ready(Some(&status(replica(4, 0))), committee, 4).is_some());
        assert!(not_ready(Some(&status(replica(4, 1))), CommitteeId::Beacon, 4).is_some());
        assert_eq!(not_ready(Some(&status(replica(4, 1))), committee, 4), None);
    }
}
