//! How much one network commits when it is offered more than it can take, and what a transaction
//! then costs. Two parts: a flood, whose throughput and processor time count, and an open loop at
//! 0.7 of that, whose latency counts. At saturation the host is the limit by intention, so the
//! figure that carries over to other machines is the processor time for each transaction and
//! validator.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use lockstep_types::{Claim, Engine, K256Engine, SecretKey, Signer, hash};
use serde::Serialize;

use crate::audit::audit;
use crate::cluster::Shape;
use crate::experiment::{LATENCY_LOAD, Members, Progress, Reading, Stage};
use crate::latency::LatencySummary;
use crate::load::Pace;
use crate::manifest::Manifest;
use crate::run::{Audit, Cpu, Generator};

/// Transactions signed for each account: at most so many windows of work can follow.
const RESERVE: f64 = 1.5;
/// Transactions per second and shard the deck is signed for. Nothing on two cores comes near.
const MOST_PER_SECOND: f64 = 8_000.0;
/// Seconds of flood before counting starts.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long a drain or a start may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Signatures of one timing of the verification.
const CLAIMS: u32 = 400;

/// What to saturate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of shards.
    pub shards: u16,
    /// Members of each committee.
    pub validators: u8,
    /// Counted seconds of the flood; latency takes half as long.
    pub seconds: u32,
    /// Accounts of each shard: the most transactions on the way.
    pub accounts: u32,
    /// The barrier interval.
    pub interval_ms: u64,
    /// Windows a shard may run ahead.
    pub depth: u8,
    /// Percentage of transfers that leave their shard.
    pub cross_shard_percent: u8,
    /// Where keys and choices come from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Saturation {
    /// Version of this document.
    pub schema: u32,
    /// Number of shards.
    pub shards: u16,
    /// Members of each committee.
    pub validators: u8,
    /// Counted seconds.
    pub seconds: f64,
    /// Executed transactions per second over all shards, at full load.
    pub committed_tx_per_s: f64,
    /// Of those, transactions that failed, in the whole run.
    pub failed_transactions: u64,
    /// User and system time of one validator for each transaction of its shard.
    pub cpu_us_per_tx_per_validator: f64,
    /// One signature check by the engine in use, alone on one thread.
    pub verify_us_single: f64,
    /// Median latency of transfers within a shard at 0.7 of the throughput.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
    /// The whole distribution.
    pub local: Option<LatencySummary>,
    /// Across shards, until credited.
    pub cross: Option<LatencySummary>,
    /// Load of the latency part, transactions per second over all shards.
    pub latency_load_tx_per_s: f64,
    /// Committed transactions in each second of the flood, to show any drift.
    pub per_second: Vec<u64>,
    /// Processor use during the flood.
    pub cpu: Cpu,
    /// The generator.
    pub generator: Generator,
    /// `ok`, or the first finding.
    pub audit: String,
    /// Everything that was checked.
    pub audit_details: Audit,
    /// Validators left behind.
    pub nodes_lagging: u32,
    /// Where, when and how.
    pub manifest: Manifest,
}

/// Runs it.
///
/// # Errors
/// Why there are no figures.
pub async fn saturate(
    options: &Options,
    directory: &Path,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<Saturation> {
    let mut manifest = Manifest::start("");
    let verify_us_single = verify_us_single();
    let shape = Shape {
        shards: options.shards,
        validators: options.validators,
        interval: Duration::from_millis(options.interval_ms),
        depth: options.depth,
        pace: None,
        accounts_per_shard: options.accounts,
        seed: options.seed,
    };
    let seconds = f64::from(options.seconds) * RESERVE + WARM_UP.as_secs_f64();
    let each = (MOST_PER_SECOND * seconds / f64::from(options.accounts)).ceil() as usize;
    let accounts = options.accounts as usize * usize::from(options.shards);
    let share = match options.shards {
        1 => 0.0,
        _ => f64::from(options.cross_shard_percent) / 100.0,
    };
    report(Progress {
        doing: "sign and start",
        windows: (0, 0),
        committed: 0,
    });
    // One observer for each shard: more would take processor time from what is measured.
    let members = Members {
        observed: 1,
        unused: None,
    };
    let mut stage = Stage::open(&shape, share, each, members, directory).await?;
    let mut tell = |stage: &Stage, doing| report(stage.progress(doing));

    stage.pace.send_replace(Pace::Flood);
    pass(&mut stage, WARM_UP, &mut |stage| tell(stage, "warm-up")).await?;
    let before = Reading::take(&stage);
    stage.book.open().forget_lateness();
    let (mut per_second, mut last) = (Vec::new(), before.committed);
    for _ in 0..options.seconds {
        pass(&mut stage, Duration::from_secs(1), &mut |stage| {
            tell(stage, "flood")
        })
        .await?;
        let now = stage.committed();
        per_second.push(now - last);
        last = now;
    }
    let after = Reading::take(&stage);
    let generator = stage.book.open().generator();
    let seconds = after.seconds_since(&before);
    let committed_tx_per_s = (after.committed - before.committed) as f64 / seconds;
    if committed_tx_per_s <= 0.0 {
        let reasons = generator.reasons.join("; ");
        bail!(
            "nothing was committed: {}; {reasons}",
            stage.cluster.cause().await
        );
    }
    // Some accounts are luckier than others; when most have run dry the flood has ended early.
    if stage.book.open().exhausted() > accounts / 2 {
        bail!("the generator ran out of signed transactions: use fewer seconds or more accounts");
    }

    stage.drain(LIMIT).await;
    let latency_load_tx_per_s = LATENCY_LOAD * committed_tx_per_s;
    let each_shard = latency_load_tx_per_s / f64::from(options.shards);
    stage.pace.send_replace(Pace::PerSecond(each_shard));
    pass(&mut stage, Duration::from_secs(1), &mut |stage| {
        tell(stage, "latency")
    })
    .await?;
    stage.book.open().measure_latency(true);
    let half = Duration::from_secs_f64(f64::from(options.seconds) / 2.0);
    pass(&mut stage, half, &mut |stage| tell(stage, "latency")).await?;
    stage.book.open().measure_latency(false);
    stage.drain(LIMIT).await;
    tell(&stage, "audit");
    let audit_details = audit(&mut stage.cluster, &stage.book).await;

    manifest.end();
    let book = stage.book.open();
    let (local, cross) = book.latencies();
    let (local, cross) = (local.summary(), cross.summary());
    let cpu = after.since(&before, options.validators);
    Ok(Saturation {
        schema: 1,
        shards: options.shards,
        validators: options.validators,
        seconds,
        committed_tx_per_s,
        failed_transactions: book.failed(),
        cpu_us_per_tx_per_validator: cpu.us_per_tx_per_validator,
        verify_us_single,
        p50_ms: local.as_ref().map(|l| l.p50_ms),
        p99_ms: local.as_ref().map(|l| l.p99_ms),
        local,
        cross,
        latency_load_tx_per_s,
        per_second,
        cpu,
        generator: Generator {
            rejected: book.generator().rejected,
            ..generator
        },
        audit: audit_details
            .failed
            .first()
            .cloned()
            .unwrap_or_else(|| "ok".to_owned()),
        nodes_lagging: audit_details.nodes_lagging,
        audit_details,
        manifest,
    })
}

/// Lets time pass while looking after the network.
pub(crate) async fn pass(
    stage: &mut Stage,
    time: Duration,
    look: &mut dyn FnMut(&Stage),
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    stage
        .until("waiting", time + LIMIT, |stage| {
            look(stage);
            Instant::now() >= end
        })
        .await
}

/// Microseconds of one check by the engine the validators use, alone on this thread. Every claim
/// has its own digest; the key is cached, as a sender's is.
pub fn verify_us_single() -> f64 {
    let engine = K256Engine::new();
    let key = SecretKey::insecure_from_seed(0, "bench/verify");
    let claims: Vec<Claim> = (0..CLAIMS)
        .map(|number| {
            let digest = hash("lockstep/bench-verify", &number);
            Claim {
                key: key.public_key(),
                digest,
                signature: key.sign(&digest),
            }
        })
        .collect();
    assert!(
        engine.check(&claims[..1])[0],
        "the engine accepts its own signature"
    );
    let start = Instant::now();
    let all = claims
        .iter()
        .all(|claim| engine.check(std::slice::from_ref(claim))[0]);
    let took = start.elapsed();
    assert!(all, "the engine accepts its own signatures");
    took.as_secs_f64() * 1e6 / f64::from(CLAIMS)
}
