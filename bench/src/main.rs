//! The command line: arguments in, result on stdout, everything else on stderr.

mod crashed_command;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lockstep_bench::compare;
use lockstep_bench::experiment::{self, Progress};
use lockstep_bench::manifest::{Manifest, cores, iso, now_micros};
use lockstep_bench::progress::{Meter, words};
use lockstep_bench::report::{FailedRun, Sweep, figure};
use lockstep_bench::saturate::{self, Options, Saturation};
use lockstep_bench::scenario::{PlannedRun, Scenario};
use tokio::runtime::Runtime;

use crate::crashed_command::{CrashedArguments, crashed};

/// A run or its audit failed.
const FAILED: u8 = 1;
/// The arguments or the sweep file are wrong.
const USAGE: u8 = 2;
/// A comparison found something worse than its threshold.
const WORSE: u8 = 10;

/// Measures what Lockstep's barriers cost.
#[derive(Parser)]
#[command(name = "lockstep-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a sweep: the preset `quick` or `standard`, or a file
    Run {
        /// A preset, or a sweep file
        sweep: String,
        /// Where the files go [default: runs/DATE-NAME]
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Print run.json instead of the table
        #[arg(long)]
        json: bool,
    },
    /// Check a sweep and say how long it takes, without running it
    Check {
        /// A preset, or a sweep file
        sweep: String,
        /// Print the checked sweep as JSON
        #[arg(long)]
        json: bool,
    },
    /// Offer one network more than it can take
    Saturate(SaturateArguments),
    /// Compare a network without one member of its committees with a whole one; exit code 1 below
    /// 90 % of the throughput or beyond twice the 99th percentile
    Crashed(CrashedArguments),
    /// Compare the reports of two sweeps; exit code 10 when a cell is worse beyond the threshold
    Compare {
        /// Directory of the first report
        before: PathBuf,
        /// Directory of the second
        after: PathBuf,
        /// Loss of throughput that counts, in per cent
        #[arg(long, default_value_t = 5.0)]
        threshold: f64,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct SaturateArguments {
    /// Number of shards
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Members of each committee, the beacon's included
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=31))]
    validators: u8,
    /// Counted seconds at full load; latency takes half as long again
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Accounts of each shard, each with at most one transaction on the way
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(2..=200_000))]
    accounts: u32,
    /// Milliseconds between barriers
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    interval_ms: u64,
    /// Windows a shard may run ahead of its barrier
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    depth: u8,
    /// Percentage of transfers to another shard
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    cross_shard_percent: u8,
    /// Where keys and choices come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // The validators of a run are this executable again.
    if let Some(code) = lockstep_node::cluster::run_if_child() {
        return code;
    }
    let done = match Arguments::parse().command {
        Command::Run {
            sweep,
            output,
            json,
        } => run(&sweep, output, json),
        Command::Check { sweep, json } => check(&sweep, json),
        Command::Saturate(arguments) => saturate(&arguments),
        Command::Crashed(arguments) => crashed(&arguments),
        Command::Compare {
            before,
            after,
            threshold,
            json,
        } => compare(&before, &after, threshold / 100.0, json),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            warn(&format!("error: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

/// Results.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}

/// Everything else.
fn warn(text: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the generator's threads")
}

/// A checked sweep, or what is wrong with it on stderr.
fn open(sweep: &str) -> Option<(Scenario, String)> {
    Scenario::open(sweep)
        .inspect_err(|problems| warn(&format!("error: {problems}")))
        .ok()
}

fn describe(scenario: &Scenario) -> String {
    let list = |values: Vec<String>| values.join(", ");
    format!(
        "sweep {}: shards {} × barrier {} ms × {} repeats = {} runs, about {}, {} MiB of disk at a \
         time",
        scenario.name,
        list(scenario.shards.iter().map(ToString::to_string).collect()),
        list(
            scenario
                .interval_ms
                .iter()
                .map(ToString::to_string)
                .collect()
        ),
        scenario.repeats,
        scenario.runs().len(),
        words(scenario.time()),
        scenario.disk() >> 20,
    )
}

fn check(sweep: &str, json: bool) -> anyhow::Result<ExitCode> {
    let Some((scenario, _)) = open(sweep) else {
        return Ok(ExitCode::from(USAGE));
    };
    let warnings = scenario.warnings(cores());
    if json {
        print(&serde_json::to_string_pretty(&serde_json::json!({
            "schema": 1,
            "scenario": scenario,
            "runs": scenario.runs(),
            "seconds": scenario.time().as_secs_f64(),
            "disk_bytes": scenario.disk(),
            "warnings": warnings,
        }))?)?;
    } else {
        print(&describe(&scenario))?;
        warnings
            .iter()
            .for_each(|warning| warn(&format!("note: {warning}")));
    }
    Ok(ExitCode::SUCCESS)
}

fn run(sweep: &str, output: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    let Some((scenario, text)) = open(sweep) else {
        return Ok(ExitCode::from(USAGE));
    };
    let output = output.unwrap_or_else(|| {
        let date = iso(now_micros()).replace(':', "").replace('T', "-");
        PathBuf::from("runs").join(format!("{}-{}", date.trim_end_matches('Z'), scenario.name))
    });
    warn(&format!("  {}", describe(&scenario)));
    scenario
        .warnings(cores())
        .iter()
        .for_each(|warning| warn(&format!("  note: {warning}")));
    let mut manifest = Manifest::start(&text);
    let (runs, failures) = runtime()?.block_on(all(&scenario));
    manifest.end();
    let sweep = Sweep::new(manifest, scenario, runs, failures);
    sweep.write(&output)?;
    if json {
        print(&serde_json::to_string_pretty(&sweep)?)?;
    } else {
        print(&summary(&sweep, &output))?;
    }
    let audited = sweep.runs.iter().all(|run| run.audit.holds());
    let complete = sweep.failures.is_empty() && !sweep.runs.is_empty();
    Ok(if audited && complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// Makes every run of a sweep, one after the other.
async fn all(scenario: &Scenario) -> (Vec<lockstep_bench::run::Run>, Vec<FailedRun>) {
    let mut meter = Meter::new(scenario.time());
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    let planned = scenario.runs();
    let count = planned.len();
    for (index, planned) in planned.into_iter().enumerate() {
        let title = format!("{}/{count}  {}", index + 1, planned.point);
        let time = scenario.run_time(&planned);
        match one(scenario, planned, &mut |progress| {
            meter.show(&title, time, &progress)
        })
        .await
        {
            Ok(run) => {
                let flags: Vec<_> = run.flags.iter().map(ToString::to_string).collect();
                let verdict = if flags.is_empty() {
                    "valid".to_owned()
                } else {
                    flags.join("; ")
                };
                let (lost, rate) = (
                    1.0 - run.accounting.efficiency_timed,
                    run.accounting.throughput,
                );
                let line = format!(
                    "  {title}, repeat {}: {} tx/s, {:.1} % lost, stall {} ms, {verdict}",
                    planned.repeat + 1,
                    figure(rate),
                    100.0 * lost,
                    figure(run.accounting.stall_seconds * 1e3),
                );
                meter.finished(time, &line);
                runs.push(run);
            }
            Err(error) => {
                let cause = format!("{error:#}");
                meter.finished(time, &format!("  {title}: FAILED: {cause}"));
                failures.push(FailedRun { planned, cause });
            }
        }
    }
    (runs, failures)
}

async fn one(
    scenario: &Scenario,
    planned: PlannedRun,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<lockstep_bench::run::Run> {
    let directory = tempfile::tempdir().context("cannot make a directory for the run")?;
    experiment::run(scenario, planned, &directory.path().join("network"), report).await
}

fn summary(sweep: &Sweep, output: &Path) -> String {
    let mut text = sweep.table();
    text.push('\n');
    match &sweep.analysis.linear {
        Some(fitted) => {
            let range = |low: Option<f64>, high: Option<f64>| {
                let end = |end: Option<f64>| {
                    end.map_or("unbounded".to_owned(), |value| figure(value * 1e3))
                };
                format!("[{} – {}]", end(low), end(high))
            };
            let (a, b) = (fitted.a, fitted.b);
            text.push_str(&format!(
                "  Fit     B = a + b·S with a = {} ms {}, b = {} ms {} for each shard, μ = {} tx/s\n",
                figure(a.value * 1e3),
                range(a.low, a.high),
                figure(b.value * 1e3),
                range(b.low, b.high),
                figure(fitted.mu.value),
            ));
        }
        None => {
            let reason = sweep
                .analysis
                .no_fit
                .as_deref()
                .unwrap_or("no reason given");
            text.push_str(&format!("  Fit     none: {reason}\n"));
        }
    }
    for statement in &sweep.analysis.statements {
        text.push_str(&format!("          {statement}\n"));
    }
    for run in sweep.runs.iter().filter(|run| !run.audit.holds()) {
        for finding in &run.audit.failed {
            text.push_str(&format!("  AUDIT   {}: {finding}\n", run.planned.point));
        }
    }
    let directory = output.display();
    text.push_str(&format!(
        "  Report  {directory}/report.html (one file, works offline)\n"
    ));
    text.push_str(&format!(
        "  Data    {directory}/points.csv samples.csv run.json"
    ));
    text
}

fn saturate(arguments: &SaturateArguments) -> anyhow::Result<ExitCode> {
    let options = Options {
        shards: arguments.shards,
        validators: arguments.validators,
        seconds: arguments.seconds,
        accounts: arguments.accounts,
        interval_ms: arguments.interval_ms,
        depth: arguments.depth,
        cross_shard_percent: arguments.cross_shard_percent,
        seed: arguments.seed,
    };
    let planned = std::time::Duration::from_secs(u64::from(options.seconds) * 3 / 2 + 10);
    let mut meter = Meter::new(planned);
    let directory = tempfile::tempdir().context("cannot make a directory for the run")?;
    let network = directory.path().join("network");
    let result = runtime()?.block_on(saturate::saturate(&options, &network, &mut |progress| {
        meter.show("saturation", planned, &progress);
    }))?;
    meter.finished(planned, "  done");
    print(&match arguments.json {
        true => serde_json::to_string_pretty(&result)?,
        false => saturation_text(&result),
    })?;
    let good = result.audit_details.holds() && result.generator.rejected == 0;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn compare(before: &Path, after: &Path, threshold: f64, json: bool) -> anyhow::Result<ExitCode> {
    let changes = compare::compare(before, after)?;
    print(&match json {
        true => serde_json::to_string_pretty(&serde_json::json!({
            "schema": 1,
            "threshold": threshold,
            "changes": changes,
        }))?,
        false => compare::table(&changes, threshold),
    })?;
    let worse = changes.iter().any(|change| change.is_worse_than(threshold));
    Ok(if worse {
        ExitCode::from(WORSE)
    } else {
        ExitCode::SUCCESS
    })
}

fn saturation_text(result: &Saturation) -> String {
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{} ms", figure(v)));
    format!(
        "  committed   {} transactions per second ({} shards × {} validators, {} s)\n  \
           cost        {} µs of processor time for each transaction and validator, {} times one \
         signature check alone ({} µs); {:.0} % of it in the threads that check\n  \
           latency     p50 {}, p99 {} within a shard at {} tx/s; across shards p50 {}\n  \
           host        {:.0} % busy\n  \
           audit       {}, {} validators left behind",
        figure(result.committed_tx_per_s),
        result.shards,
        result.validators,
        figure(result.seconds),
        figure(result.cpu_us_per_tx_per_validator),
        figure(result.cpu_us_per_tx_per_validator / result.verify_us_single),
        figure(result.verify_us_single),
        100.0 * result.cpu.checking_share,
        ms(result.p50_ms),
        ms(result.p99_ms),
        figure(result.latency_load_tx_per_s),
        ms(result.cross.as_ref().map(|l| l.p50_ms)),
        100.0 * result.cpu.host_share,
        result.audit,
        result.nodes_lagging,
    )
}
