//! What a crashed member costs: a network of one shard under a steady load well below what it can
//! take, once with everybody and once with one member of every committee killed. Clients use the
//! others in both runs, so that what they notice is the committees' loss and not theirs.
//!
//! Breaks if: the two runs differ in anything but the crash, a transaction that was planned is left
//! out of the latencies because it was never sent, or the load is near what the host can take; then
//! a network with a process less is faster.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lockstep_types::{CommitteeId, MemberIndex};
use serde::Serialize;
use tokio::time::timeout;

use crate::audit::audit;
use crate::cluster::Shape;
use crate::experiment::{Members, Progress, Reading, Stage};
use crate::latency::LatencySummary;
use crate::load::Pace;
use crate::manifest::Manifest;
use crate::run::{Audit, Cpu, Flag, Generator, load_flags};
use crate::saturate::pass;

/// Load before the crash.
const BEFORE: Duration = Duration::from_secs(2);
/// The crash may show for so long.
const WARM_UP: Duration = Duration::from_secs(10);
/// How long what was sent may take to arrive at the end.
const DRAIN: Duration = Duration::from_secs(15);
/// What start, drain and audit of a run may take together, far beyond their own limits' usual
/// part: a run that is not over by then is ended as a failure.
const SLACK: Duration = Duration::from_secs(120);
/// Accounts for each transaction per second: a transfer may take two seconds before its account is
/// missed.
const ACCOUNTS_PER_RATE: u32 = 2;
/// Transactions signed beyond those that the load needs.
const RESERVE: u32 = 4;

/// Share of the throughput without a crash that must be left.
pub const LEAST_THROUGHPUT: f64 = 0.9;
/// The 99th percentile may be so many times as long.
pub const MOST_P99_FACTOR: f64 = 2.0;
/// Share of the load that a whole network must execute, or it is no measure for another one.
pub const LEAST_OF_LOAD: f64 = 0.98;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members of each committee.
    pub validators: u8,
    /// Whom to do without, one after the other.
    pub members: Vec<MemberIndex>,
    /// Transactions per second.
    pub rate: u32,
    /// Counted seconds of each run.
    pub seconds: u32,
    /// The barrier interval.
    pub interval_ms: u64,
    /// Where keys and choices come from.
    pub seed: u64,
}

impl Options {
    /// How long a run is under load.
    fn loaded(&self) -> Duration {
        BEFORE + WARM_UP + Duration::from_secs(u64::from(self.seconds))
    }

    /// How long a pair of runs takes but for starts.
    pub fn planned(&self) -> Duration {
        2 * self.loaded()
    }

    fn shape(&self) -> Shape {
        Shape {
            shards: 1,
            validators: self.validators,
            interval: Duration::from_millis(self.interval_ms),
            depth: 1,
            pace: None,
            accounts_per_shard: self.rate.saturating_mul(ACCOUNTS_PER_RATE),
            seed: self.seed,
        }
    }

    fn transactions_per_account(&self) -> usize {
        let each = self.loaded().as_secs_f64() / f64::from(ACCOUNTS_PER_RATE);
        each.ceil() as usize + RESERVE as usize
    }
}

/// What was counted in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Executed transactions per second.
    pub committed_tx_per_s: f64,
    /// Latency from the planned time of sending, of everything planned: what was not executed
    /// counts as ten minutes.
    pub latency: LatencySummary,
    /// Planned and not executed at all.
    pub missing: u64,
    /// Views per second.
    pub views_per_s: f64,
    /// The generator, over the whole run.
    pub generator: Generator,
    /// Processor use while it was counted.
    pub cpu: Cpu,
    /// Why the figures say more about the host than about the network; empty on a quiet one.
    pub flags: Vec<Flag>,
    /// What was checked when the load had ended.
    pub audit: Audit,
}

/// Two runs that differ in one crash.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Whom no client uses in either run, and who is killed in the second, in every committee.
    pub member: u8,
    /// With everybody.
    pub whole: Figures,
    /// Without the member.
    pub without: Figures,
}

/// Why a pair is not good enough.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Shortfall {
    /// Something is wrong that no latency excuses.
    #[error("the audit of the run {run} failed: {finding}")]
    Audit {
        /// Which of the two.
        run: &'static str,
        /// The first finding.
        finding: String,
    },
    /// The load is too high for a comparison.
    #[error("everybody together executed {got:.1} of {offered} tx/s: offer less")]
    Unsteady {
        /// Transactions per second.
        offered: u32,
        /// Executed ones.
        got: f64,
    },
    /// Too little throughput is left.
    #[error("{got:.1} tx/s are left, needed are {least:.1}")]
    Throughput {
        /// Transactions per second that must be left.
        least: f64,
        /// Those that are.
        got: f64,
    },
    /// The 99th percentile is too long.
    #[error("the p99 is {got:.0} ms, allowed are {most:.0} ms")]
    Latency {
        /// Milliseconds it may be.
        most: f64,
        /// Milliseconds it is.
        got: f64,
    },
}

impl Pair {
    /// Is there a reason outside the network not to rely on the comparison?
    pub fn is_flagged(&self) -> bool {
        !self.whole.flags.is_empty() || !self.without.flags.is_empty()
    }

    /// Does a network without the member keep enough of what a whole one does, under a load of
    /// `offered` transactions per second?
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, offered: u32) -> Result<(), Shortfall> {
        for (run, figures) in [("with everybody", &self.whole), ("without", &self.without)] {
            if !figures.audit.holds() {
                let finding = figures.audit.failed.first().cloned().unwrap_or_default();
                return Err(Shortfall::Audit { run, finding });
            }
        }
        let whole = self.whole.committed_tx_per_s;
        if whole < LEAST_OF_LOAD * f64::from(offered) {
            return Err(Shortfall::Unsteady {
                offered,
                got: whole,
            });
        }
        let (least, got) = (LEAST_THROUGHPUT * whole, self.without.committed_tx_per_s);
        if got < least {
            return Err(Shortfall::Throughput { least, got });
        }
        let most = MOST_P99_FACTOR * self.whole.latency.p99_ms;
        let got = self.without.latency.p99_ms;
        if got > most {
            return Err(Shortfall::Latency { most, got });
        }
        Ok(())
    }
}

/// Everything that came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Version of this document.
    pub schema: u32,
    /// Members of each committee.
    pub validators: u8,
    /// Offered transactions per second.
    pub rate: u32,
    /// Counted seconds of each run.
    pub seconds: u32,
    /// A pair for each member done without.
    pub pairs: Vec<Pair>,
    /// How many of them keep enough.
    pub good: usize,
    /// Where, when and how.
    pub manifest: Manifest,
}

impl Comparison {
    /// Of all pairs.
    pub fn new(options: &Options, pairs: Vec<Pair>, manifest: Manifest) -> Self {
        let good = pairs.iter().filter(|pair| pair.check(options.rate).is_ok());
        Comparison {
            schema: 1,
            validators: options.validators,
            rate: options.rate,
            seconds: options.seconds,
            good: good.count(),
            pairs,
            manifest,
        }
    }
}

/// Makes the two runs that differ in one member, one after the other.
///
/// # Errors
/// Why there are no figures.
pub async fn compare(
    options: &Options,
    member: MemberIndex,
    directory: &Path,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<Pair> {
    let whole = run(options, member, false, &directory.join("whole"), report).await;
    let whole = whole.context("with everybody")?;
    let without = run(options, member, true, &directory.join("without"), report).await;
    let without = without.with_context(|| format!("without {}", member.get()))?;
    Ok(Pair {
        member: u8::try_from(member.get()).expect("an index of a committee has 8 bits"),
        whole,
        without,
    })
}

/// One run, which ends whatever the network does.
async fn run(
    options: &Options,
    member: MemberIndex,
    crashes: bool,
    directory: &Path,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<Figures> {
    let limit = options.loaded() + SLACK;
    timeout(limit, go(options, member, crashes, directory, report))
        .await
        .with_context(|| format!("a run took longer than {} s", limit.as_secs()))?
}

async fn go(
    options: &Options,
    member: MemberIndex,
    crashes: bool,
    directory: &Path,
    report: &mut dyn FnMut(Progress),
) -> anyhow::Result<Figures> {
    let members = Members {
        observed: 1,
        unused: Some(member),
    };
    let each = options.transactions_per_account();
    let mut stage = Stage::open(&options.shape(), 0.0, each, members, directory).await?;
    let windows = options.loaded().as_millis() / u128::from(options.interval_ms);
    let windows = usize::try_from(windows).unwrap_or(usize::MAX);
    let mut tell = |stage: &Stage, doing| {
        let progress = stage.progress(doing);
        report(Progress {
            windows: (progress.windows.0, windows),
            ..progress
        });
    };
    let rate = f64::from(options.rate);
    stage.pace.send_replace(Pace::PerSecond(rate));
    pass(&mut stage, BEFORE, &mut |stage| tell(stage, "start")).await?;
    if crashes {
        stage.cluster.kill(member);
    }
    pass(&mut stage, WARM_UP, &mut |stage| tell(stage, "warm-up")).await?;

    let (first, before) = (view(&stage).await, Reading::take(&stage));
    stage.book.open().forget_lateness();
    stage.book.open().measure_latency(true);
    let counted = Duration::from_secs(u64::from(options.seconds));
    pass(&mut stage, counted, &mut |stage| tell(stage, "counted")).await?;
    stage.book.open().measure_latency(false);
    let (after, last) = (Reading::take(&stage), view(&stage).await);
    let generator = stage.book.open().generator();
    stage.drain(DRAIN).await;
    tell(&stage, "audit");
    let audit = audit(&mut stage.cluster, &stage.book).await;

    let book = stage.book.open();
    let latency = book.latencies_of_planned();
    let shown = book.latencies().0.count();
    let missing = latency.count().saturating_sub(shown);
    let seconds = after.seconds_since(&before);
    let cpu = after.since(&before, options.validators - u8::from(crashes));
    Ok(Figures {
        committed_tx_per_s: (after.committed - before.committed) as f64 / seconds,
        latency: latency.summary().context("nothing was planned")?,
        missing,
        views_per_s: last.saturating_sub(first) as f64 / seconds,
        flags: load_flags(cpu.host_share, &generator),
        generator,
        cpu,
        audit,
    })
}

/// The highest view of the shard's members.
async fn view(stage: &Stage) -> u64 {
    let statuses = stage.cluster.statuses().await.into_iter();
    let of_shard = statuses.filter(|(_, committee, _)| *committee != CommitteeId::Beacon);
    let views = of_shard.filter_map(|(_, _, replica)| Some(replica?.view));
    views.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;

    const OFFERED: u32 = 100;

    fn figures(committed_tx_per_s: f64, p99_ms: u64) -> Figures {
        let mut latencies = Latencies::default();
        latencies.record(p99_ms * 1_000);
        let mut audit = Audit::default();
        audit.check(true, "something was checked".to_owned());
        Figures {
            committed_tx_per_s,
            latency: latencies.summary().unwrap(),
            missing: 0,
            views_per_s: 50.0,
            generator: Generator::default(),
            cpu: Cpu::default(),
            flags: Vec::new(),
            audit,
        }
    }

    fn pair(without: Figures) -> Pair {
        Pair {
            member: 0,
            whole: figures(100.0, 120),
            without,
        }
    }

    #[test]
    fn nine_tenths_and_twice_the_percentile_are_enough() {
        // Latencies are kept with three digits, so the limit itself is not tried.
        assert_eq!(pair(figures(90.0, 239)).check(OFFERED), Ok(()));
        let slower = pair(figures(89.9, 239)).check(OFFERED);
        assert!(matches!(slower, Err(Shortfall::Throughput { .. })));
        let later = pair(figures(90.0, 242)).check(OFFERED);
        assert!(matches!(later, Err(Shortfall::Latency { .. })));
    }

    #[test]
    fn a_load_that_everybody_together_cannot_take_is_no_measure() {
        let mut pair = pair(figures(97.0, 120));
        pair.whole.committed_tx_per_s = 97.9;
        let refused = pair.check(OFFERED).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "everybody together executed 97.9 of 100 tx/s: offer less"
        );
    }

    #[test]
    fn a_run_whose_audit_failed_is_not_good_however_fast() {
        let mut pair = pair(figures(100.0, 100));
        pair.without.audit.check(false, "1 missing".to_owned());
        let refused = pair.check(OFFERED).unwrap_err().to_string();
        assert_eq!(refused, "the audit of the run without failed: 1 missing");
    }
}
