//! One run, from the first process to the audit.
//!
//! ```text
//!   start │ warm-up │ counted windows │ rest │ latency windows │ drain │ audit
//!         └── load above pace ────────┘      └─ 0.7 of reached ┘
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use lockstep_client::{Blocks, Client};
use lockstep_genesis::Genesis;
use lockstep_types::{CommitteeId, MemberIndex};
use tokio::sync::watch;

use crate::audit::audit;
use crate::book::Book;
use crate::cluster::{CpuSeconds, Shape, Testbed};
use crate::deck::Deck;
use crate::load::{Pace, Shared, observe, offer};
use crate::manifest::now_micros;
use crate::processes::HostTime;
use crate::run::{Cpu, Run, flags};
use crate::scenario::{PlannedRun, Scenario};
use crate::timeline::{RecordBlock, Timeline};

/// Load of the latency part over what the counted part reached.
pub const LATENCY_LOAD: f64 = 0.7;
/// How often progress is looked at.
const POLL: Duration = Duration::from_millis(20);
/// A part of a run may take this much longer than planned, plus [`GRACE`].
const PATIENCE_FACTOR: f64 = 4.0;
const GRACE: Duration = Duration::from_secs(20);
/// How long what is on the way may take to arrive when the load has ended.
const DRAIN: Duration = Duration::from_secs(15);
/// How long a call or a subscription may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The accounts of a shard hold the work of this many seconds at pace: longer than it takes from
/// a transaction's execution until its account's next one is in a batch that all members hold, so
/// that the pool never runs dry; not much longer, because batches age with the windows.
const POOL_SECONDS: f64 = 0.3;
/// At least so many accounts, so that every author has batches at any pace.
const MIN_ACCOUNTS: u32 = 32;

/// What a run reports while it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What it does.
    pub doing: &'static str,
    /// Windows seen of those it needs.
    pub windows: (usize, usize),
    /// Committed transactions so far.
    pub committed: u64,
}

/// The parts that every experiment has: a network, its load and its observers.
pub(crate) struct Stage {
    pub(crate) cluster: Testbed,
    pub(crate) book: Shared,
    pub(crate) pace: watch::Sender<Pace>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// On which members of each shard's committee an experiment relies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members {
    /// How many have their blocks followed; at least one.
    pub(crate) observed: usize,
    /// Who is neither followed nor sent anything.
    pub(crate) unused: Option<MemberIndex>,
}

impl Members {
    /// Of a committee's addresses those that are used.
    fn used(&self, urls: Vec<String>) -> Vec<String> {
        let unused = self.unused.map(MemberIndex::get);
        let urls = urls.into_iter().enumerate();
        urls.filter(|(member, _)| Some(*member) != unused)
            .map(|(_, url)| url)
            .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Stage {
    /// Signs, starts, waits until everything is ready, and follows the blocks of some members of
    /// each shard.
    pub(crate) async fn open(
        shape: &Shape,
        cross_share: f64,
        transactions_per_account: usize,
        members: Members,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let network = shape.network();
        let (genesis, keys) =
            Genesis::development(&network).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let deck = Deck::sign(
            &genesis.hash(),
            &keys.accounts,
            shape.shards,
            cross_share,
            transactions_per_account,
            shape.seed,
        );
        let mut cluster = Testbed::start(network, directory)?;
        cluster.ready().await?;
        let book = Shared::new(Book::new(deck, shape.shards));
        let (pace, receiver) = watch::channel(Pace::Rest);
        let mut tasks = Vec::new();
        for shard in cluster.shards() {
            let urls = members.used(cluster.urls(CommitteeId::Shard(shard)));
            for (member, url) in urls.iter().take(members.observed.max(1)).enumerate() {
                let blocks = Blocks::subscribe(url, DEADLINE)
                    .await
                    .with_context(|| format!("cannot follow the blocks of {url}"))?;
                let member = u8::try_from(member).expect("at most 64 members");
                tasks.push(tokio::spawn(observe(member, blocks, book.clone())));
            }
            let offered = offer(shard.get(), urls, book.clone(), receiver.clone());
            tasks.push(tokio::spawn(async move {
                if let Err(error) = offered.await {
                    // The address came from the cluster itself.
                    panic!("the generator cannot start: {error}");
                }
            }));
        }
        Ok(Stage {
            cluster,
            book,
            pace,
            tasks,
        })
    }

    /// Seals the slowest shard has shown.
    pub(crate) fn seals(&self) -> usize {
        self.book.open().seals()
    }

    /// Executed transactions so far.
    pub(crate) fn committed(&self) -> u64 {
        self.book.open().totals().0
    }

    /// How far it is in a part that ends with time and not with a window.
    pub(crate) fn progress(&self, doing: &'static str) -> Progress {
        // One guard for both: a second one beside it would wait for the first for ever.
        let book = self.book.open();
        let windows = book.seals();
        Progress {
            doing,
            windows: (windows, windows),
            committed: book.totals().0,
        }
    }

    /// Waits until `done`, or until `limit` has passed or a validator has ended.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done(self) {
            self.cluster.alive()?;
            if start.elapsed() > limit {
                let cause = self.cluster.cause().await;
                bail!(
                    "{what} took longer than {:.0} s: {cause}",
                    limit.as_secs_f64()
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Ends the load and waits until everything on the way has arrived.
    pub(crate) async fn drain(&mut self, limit: Duration) {
        self.pace.send_replace(Pace::Rest);
        let start = Instant::now();
        // What does not arrive is a finding of the audit, not an error here.
        while self.book.open().unfinished() > 0 && start.elapsed() < limit {
            tokio::time::sleep(POLL).await;
        }
    }

    /// The chains as shown, and the records as the beacon's members tell them.
    pub(crate) async fn timeline(&self) -> anyhow::Result<Timeline> {
        let shards = self.book.open().chains().to_vec();
        Ok(Timeline {
            shards,
            records: records(&self.cluster).await?,
        })
    }
}

/// The records a beacon member knows, with the earliest time at which any of them saw the commit.
async fn records(cluster: &Testbed) -> anyhow::Result<Vec<RecordBlock>> {
    let mut records: std::collections::BTreeMap<u64, RecordBlock> = Default::default();
    for url in cluster.urls(CommitteeId::Beacon) {
        let client = Client::new(&[&url], DEADLINE)?;
        let mut from = 1;
        loop {
            let phases = client
                .barriers(from)
                .await
                .context("cannot ask for barriers")?;
            let Some(last) = phases.last() else { break };
            from = last.number + 1;
            for phase in phases {
                let record = records.entry(phase.number).or_insert(RecordBlock {
                    number: phase.number,
                    ..RecordBlock::default()
                });
                record.absent = u32::try_from(phase.absent.len()).unwrap_or(u32::MAX);
                record.committed = [record.committed, phase.ordered_us]
                    .into_iter()
                    .flatten()
                    .min();
            }
        }
    }
    let client = Client::new(&cluster.urls(CommitteeId::Beacon), DEADLINE)?;
    let mut known = Vec::new();
    for (number, mut record) in records {
        if let Some(found) = client
            .record(number)
            .await
            .context("cannot ask for a record")?
        {
            record.time = found.time_us;
            known.push(record);
        }
    }
    Ok(known)
}

/// Makes one run of a sweep.
///
/// # Errors
/// Why there are no figures: the network did not start, stopped, or committed nothing.
pub async fn run(
    scenario: &Scenario,
    planned: PlannedRun,
    directory: &Path,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<Run> {
    let started = now_micros();
    let point = planned.point;
    let accounts = (f64::from(scenario.pace) * POOL_SECONDS) as u32;
    let shape = Shape {
        shards: point.shards,
        validators: scenario.validators,
        interval: Duration::from_millis(point.interval_ms),
        depth: scenario.depth,
        pace: Some(scenario.pace),
        accounts_per_shard: accounts.max(MIN_ACCOUNTS),
        seed: planned.seed,
    };
    let planned_time = scenario.run_time(&planned);
    let limit = planned_time.mul_f64(PATIENCE_FACTOR) + GRACE;
    let most = f64::from(scenario.pace) * planned_time.as_secs_f64() * 2.0;
    let each = (most / f64::from(shape.accounts_per_shard)).ceil() as usize + 4;
    let everybody = usize::from(scenario.validators);
    let members = Members {
        observed: everybody,
        unused: None,
    };
    let cross = scenario.cross_share(point.shards);
    let mut stage = Stage::open(&shape, cross, each, members, directory).await?;

    let offered = scenario.offered_factor * f64::from(scenario.pace);
    stage.pace.send_replace(Pace::PerSecond(offered));
    // The window in which the load began is partial, and one more seal closes the last.
    let skip = scenario.warm_up_windows as usize + 1;
    let needed = skip + scenario.windows as usize + 1;
    let tell = |report: &mut dyn FnMut(Progress), stage: &Stage, doing| {
        let progress = stage.progress(doing);
        report(Progress {
            windows: (progress.windows.0, needed),
            ..progress
        });
    };
    stage
        .until("the warm-up", limit, |stage| {
            tell(report, stage, "warm-up");
            stage.seals() >= skip
        })
        .await?;
    stage.book.open().forget_lateness();
    let before = Reading::take(&stage);
    stage
        .until("counting", limit, |stage| {
            tell(report, stage, "counting");
            stage.seals() >= needed
        })
        .await?;
    let after = Reading::take(&stage);
    let mut generator = stage.book.open().generator();

    let shards = f64::from(point.shards);
    if planned.latency {
        stage.drain(DRAIN).await;
        let so_far = stage.timeline().await?.counted(
            scenario.depth,
            u32::try_from(skip).unwrap_or(u32::MAX),
            scenario.windows,
        );
        let reached = so_far
            .accounting(point.shards, f64::from(scenario.pace))
            .throughput;
        stage
            .pace
            .send_replace(Pace::PerSecond(LATENCY_LOAD * reached / shards));
        stage.book.open().measure_latency(true);
        let until = stage.seals() + scenario.latency_windows as usize + 1;
        stage
            .until("measuring latency", limit, |stage| {
                tell(report, stage, "latency");
                stage.seals() >= until
            })
            .await?;
        stage.book.open().measure_latency(false);
    }
    tell(report, &stage, "audit");
    stage.drain(DRAIN).await;
    let timeline = stage.timeline().await?;
    let audit = audit(&mut stage.cluster, &stage.book).await;

    let skip = u32::try_from(skip).unwrap_or(u32::MAX);
    let counted = timeline.counted(scenario.depth, skip, scenario.windows);
    let accounting = counted.accounting(point.shards, f64::from(scenario.pace));
    if accounting.throughput <= 0.0 {
        let reasons = generator.reasons.join("; ");
        let cause = stage.cluster.cause().await;
        bail!(
            "nothing was committed: {cause}{}{reasons}",
            if reasons.is_empty() { "" } else { "; " }
        );
    }
    let book = stage.book.open();
    generator.rejected = book.generator().rejected;
    generator.reasons = book.generator().reasons;
    let (local, cross) = book.latencies();
    let cpu = after.since(&before, scenario.validators);
    let numbers = counted.barriers.iter().map(|b| b.number);
    let (first, last) = (
        numbers.clone().min().unwrap_or(0),
        numbers.max().unwrap_or(0),
    );
    let absent = timeline
        .records
        .iter()
        .filter(|record| (first..=last).contains(&record.number) && record.absent > 0)
        .count();
    let absent = u32::try_from(absent).unwrap_or(u32::MAX);
    Ok(Run {
        planned,
        started,
        genesis: stage.cluster.genesis().hash().to_string(),
        accounting,
        phases: counted.phases(),
        local: local.summary(),
        cross: cross.summary(),
        flags: flags(&accounting, &counted, absent, &generator, &cpu, &audit),
        generator,
        cpu,
        audit,
        counted,
    })
}

/// Where the counters stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    cpu: CpuSeconds,
    host: HostTime,
    /// Executed transactions.
    pub(crate) committed: u64,
    at: Instant,
}

impl Reading {
    /// Reads all counters at once.
    pub(crate) fn take(stage: &Stage) -> Self {
        Reading {
            cpu: stage.cluster.cpu(),
            host: HostTime::read(),
            committed: stage.committed(),
            at: Instant::now(),
        }
    }

    /// Seconds since an earlier reading.
    pub(crate) fn seconds_since(&self, earlier: &Reading) -> f64 {
        self.at.duration_since(earlier.at).as_secs_f64()
    }

    /// Processor use since an earlier reading. Each transaction is executed by all `validators`
    /// of its shard.
    pub(crate) fn since(&self, earlier: &Reading, validators: u8) -> Cpu {
        let validators_seconds = self.cpu.shards - earlier.cpu.shards;
        let executions = (self.committed - earlier.committed) as f64 * f64::from(validators);
        Cpu {
            host_share: self.host.share_since(&earlier.host),
            validators_seconds,
            checking_share: match validators_seconds > 0.0 {
                true => (self.cpu.checking - earlier.cpu.checking) / validators_seconds,
                false => 0.0,
            },
            beacon_seconds: self.cpu.beacon - earlier.cpu.beacon,
            generator_seconds: self.cpu.generator - earlier.cpu.generator,
            us_per_tx_per_validator: match executions > 0.0 {
                true => 1e6 * validators_seconds / executions,
                false => 0.0,
            },
        }
    }
}
