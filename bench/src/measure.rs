//! What one run showed, computed from the chain itself.
//!
//! The blocks carry the times at which their leaders proposed them, so the whole accounting (which
//! shard worked when, how long each barrier took and in which phase) is a pure function of the
//! committed blocks, not of anybody's log lines. At depth 0 a shard's time line is
//!
//! ```text
//!   names record k−1          seal of k           names record k
//!   ──┬───── productive ───────┬────── stall ───────┬───── productive ──
//!     opens window k           │wait│collect│order │spread│
//! ```
//!
//! and nothing lies in between. All processes share one host and so one clock.
//!
//! Breaks if: a header's time stops being its proposer's clock, or validators run on hosts whose
//! clocks differ by more than a phase.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::model::Observation;
use crate::scenario::{ENOUGH_WINDOWS, PlannedRun};
use crate::statistics::{mean, quantile};

/// Above this share of all processors the host, not the protocol, sets the pace.
pub const MAX_CPU_SHARE: f64 = 0.70;
/// A generator later than this (99th percentile) does not offer what it says it offers.
pub const MAX_LATE_MS: f64 = 5.0;
/// Stall timed and throughput counted must agree this well.
pub const MAX_DISAGREEMENT: f64 = 0.05;
/// More failed transactions than this, and the load was not the one described.
pub const MAX_FAILURES: f64 = 0.01;
/// Latencies are recorded from 1 µs to 10 minutes with three significant digits.
const MAX_LATENCY_US: u64 = 600_000_000;

/// A committed block of a shard, as far as the accounting needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardBlock {
    /// Its height.
    pub height: u64,
    /// When it was proposed, microseconds since the epoch.
    pub time: u64,
    /// Transactions in it that were executed and did what they said.
    pub applied: u32,
    /// Transactions in it that were executed and failed.
    pub failed: u32,
    /// Credits of transfers from other shards.
    pub credits: u32,
    /// The window it seals.
    pub seal: Option<u64>,
    /// The record it names.
    pub record: Option<u64>,
}

/// A committed barrier record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordBlock {
    /// Its number.
    pub number: u64,
    /// When the beacon proposed it.
    pub time: u64,
    /// When an observer first saw it committed, if one looked.
    pub committed: Option<u64>,
    /// Shards without a checkpoint in it.
    pub absent: u32,
}

/// Everything the chains of a run hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The blocks of each shard, ascending.
    pub shards: Vec<Vec<ShardBlock>>,
    /// The records, ascending.
    pub records: Vec<RecordBlock>,
}

/// One counted window of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Window {
    /// The shard.
    pub shard: u16,
    /// The window's number.
    pub number: u64,
    /// When it opened, microseconds since the epoch.
    pub opened: u64,
    /// Productive seconds: from its opening to its seal.
    pub productive: f64,
    /// Seconds from its seal to the opening of the next one.
    pub stall: f64,
    /// Applied transactions.
    pub applied: u32,
    /// Failed transactions.
    pub failed: u32,
    /// Credits from other shards.
    pub credits: u32,
}

/// Where the time of one barrier went for one shard, in seconds. The parts add up to the time
/// from its seal to the block that names the record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Barrier {
    /// The record's number.
    pub number: u64,
    /// The shard.
    pub shard: u16,
    /// From this shard's seal to the last shard's seal.
    pub wait: f64,
    /// From the last seal to the beacon's proposal: the seal commits, is executed and signed, and
    /// the signatures reach the beacon.
    pub collect: f64,
    /// From the beacon's proposal to its commit, where an observer saw it.
    pub order: Option<f64>,
    /// From the commit (the proposal, without an observer) to the shard's block that names it.
    pub distribute: f64,
    /// From that block to the first one that carries a transaction. Already productive time: pace
    /// is credited from the opening of the window. Absent when none followed.
    pub resume: Option<f64>,
}

/// Two independent estimates of the share of time in which shards worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Accounting {
    /// Committed transactions per second, all shards, over whole cycles.
    pub throughput: f64,
    /// Those that failed.
    pub failed_per_second: f64,
    /// Productive over productive plus stall, by the times in the blocks.
    pub efficiency_timed: f64,
    /// Ordered transactions over S · pace · elapsed.
    pub efficiency_counted: f64,
    /// Mean productive seconds of a window.
    pub window_seconds: f64,
    /// Mean stall in seconds.
    pub stall_seconds: f64,
    /// 99th percentile of the stall.
    pub stall_seconds_p99: f64,
    /// Counted windows, all shards.
    pub windows: usize,
    /// Seconds counted, mean over the shards.
    pub elapsed: f64,
}

impl Accounting {
    /// How far the two estimates are apart, relative to the timed one.
    pub fn disagreement(&self) -> f64 {
        if self.efficiency_timed > 0.0 {
            (self.efficiency_counted / self.efficiency_timed - 1.0).abs()
        } else {
            f64::INFINITY
        }
    }
}

/// The counted part of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counted {
    /// Windows, by shard and number.
    pub windows: Vec<Window>,
    /// Barriers, by shard and number.
    pub barriers: Vec<Barrier>,
}

impl Timeline {
    /// Cuts out `count` windows after the first `skip` of each shard.
    ///
    /// A window begins with the block that names the record before it (at depth 0) or with the
    /// seal of the window before it (deeper), and is counted whole or not at all, so that no edge
    /// of the interval favours work or stall.
    pub fn counted(&self, depth: u8, skip: u32, count: u32) -> Counted {
        let mut counted = Counted::default();
        for (index, blocks) in self.shards.iter().enumerate() {
            let shard = u16::try_from(index).expect("genesis numbers shards with 16 bits");
            let windows = windows(shard, blocks, depth);
            counted
                .windows
                .extend(windows.into_iter().skip(skip as usize).take(count as usize));
        }
        counted.barriers = counted
            .windows
            .iter()
            .filter_map(|w| self.barrier(w))
            .collect();
        counted
    }

    fn barrier(&self, window: &Window) -> Option<Barrier> {
        let blocks = &self.shards[usize::from(window.shard)];
        let sealed = seal_time(blocks, window.number)?;
        let record = self
            .records
            .iter()
            .find(|record| record.number == window.number)?;
        let named_at = blocks
            .iter()
            .position(|block| block.record == Some(record.number))?;
        let named = blocks[named_at].time;
        // A shard whose checkpoint the record lacks is not what the others waited for.
        let last_seal = self
            .shards
            .iter()
            .filter_map(|blocks| seal_time(blocks, window.number))
            .filter(|time| *time <= record.time)
            .max()
            .unwrap_or(sealed);
        let resumed = blocks[named_at..]
            .iter()
            .find(|block| block.applied + block.failed > 0)
            .map(|block| seconds(named, block.time));
        // An observer may hear of the commit after a shard has; then nothing is left to spread.
        let committed = record
            .committed
            .map(|time| time.clamp(record.time, named.max(record.time)));
        Some(Barrier {
            number: record.number,
            shard: window.shard,
            wait: seconds(sealed, last_seal),
            collect: seconds(last_seal, record.time),
            order: committed.map(|time| seconds(record.time, time)),
            distribute: seconds(committed.unwrap_or(record.time), named),
            resume: resumed,
        })
    }
}

fn seal_time(blocks: &[ShardBlock], number: u64) -> Option<u64> {
    blocks
        .iter()
        .find(|block| block.seal == Some(number))
        .map(|block| block.time)
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

/// Folds a shard's blocks into whole windows. The window that is open at the end is left out.
fn windows(shard: u16, blocks: &[ShardBlock], depth: u8) -> Vec<Window> {
    let mut windows = Vec::new();
    let Some(first) = blocks.first() else {
        return windows;
    };
    let fresh = |opened| Window {
        shard,
        number: 0,
        opened,
        productive: 0.0,
        stall: 0.0,
        applied: 0,
        failed: 0,
        credits: 0,
    };
    let mut open = fresh(first.time);
    let mut sealed: Option<u64> = None;
    for block in blocks {
        // At depth 0 the block that names the record is the first one of the next window.
        if let (Some(at), Some(_)) = (sealed, block.record) {
            open.stall = seconds(at, block.time);
            windows.push(open);
            open = fresh(block.time);
            sealed = None;
        }
        open.applied += block.applied;
        open.failed += block.failed;
        open.credits += block.credits;
        if let Some(number) = block.seal {
            open.number = number;
            open.productive = seconds(open.opened, block.time);
            if depth == 0 {
                sealed = Some(block.time);
            } else {
                windows.push(open);
                open = fresh(block.time);
            }
        }
    }
    windows
}

impl Counted {
    /// The two estimates and what belongs to them. `pace` is what a shard may order per second.
    pub fn accounting(&self, shards: u16, pace: f64) -> Accounting {
        if self.windows.is_empty() {
            return Accounting::default();
        }
        let mut by_shard: BTreeMap<u16, Vec<&Window>> = BTreeMap::new();
        for window in &self.windows {
            by_shard.entry(window.shard).or_default().push(window);
        }
        let mut result = Accounting::default();
        let (mut productive, mut stalled, mut ordered_rate) = (0.0, 0.0, 0.0);
        for windows in by_shard.values() {
            let worked: f64 = windows.iter().map(|w| w.productive).sum();
            let stall: f64 = windows.iter().map(|w| w.stall).sum();
            let applied: u64 = windows.iter().map(|w| u64::from(w.applied)).sum();
            let failed: u64 = windows.iter().map(|w| u64::from(w.failed)).sum();
            let elapsed = worked + stall;
            if elapsed > 0.0 {
                result.throughput += applied as f64 / elapsed;
                result.failed_per_second += failed as f64 / elapsed;
                ordered_rate += (applied + failed) as f64 / elapsed;
            }
            productive += worked;
            stalled += stall;
        }
        let elapsed = productive + stalled;
        let stalls: Vec<f64> = self.windows.iter().map(|w| w.stall).collect();
        result.efficiency_timed = if elapsed > 0.0 {
            productive / elapsed
        } else {
            0.0
        };
        result.efficiency_counted = ordered_rate / (f64::from(shards) * pace);
        result.window_seconds = productive / self.windows.len() as f64;
        result.stall_seconds = mean(&stalls);
        result.stall_seconds_p99 = quantile(&stalls, 0.99).unwrap_or(0.0);
        result.windows = self.windows.len();
        result.elapsed = elapsed / by_shard.len() as f64;
        result
    }

    /// Mean length of each phase in seconds.
    pub fn phases(&self) -> Phases {
        let of = |f: &dyn Fn(&Barrier) -> Option<f64>| {
            mean(&self.barriers.iter().filter_map(f).collect::<Vec<_>>())
        };
        Phases {
            wait: of(&|b| Some(b.wait)),
            collect: of(&|b| Some(b.collect)),
            order: of(&|b| b.order),
            distribute: of(&|b| Some(b.distribute)),
            resume: of(&|b| b.resume),
        }
    }
}

/// Mean seconds of a barrier's phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phases {
    /// Waiting for the slowest shard.
    pub wait: f64,
    /// Certifying the last checkpoint.
    pub collect: f64,
    /// The beacon's agreement.
    pub order: f64,
    /// Bringing the record to the shards and naming it there.
    pub distribute: f64,
    /// Until the first transaction after it.
    pub resume: f64,
}

/// Latencies, from the planned time of sending.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3)
            .expect("three digits and bounds in order");
        Latencies(histogram)
    }
}

impl Latencies {
    /// Adds one; what lies beyond the bounds counts as the bound.
    pub fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    /// Adds `count` that never end: they count as the bound.
    pub fn record_endless(&mut self, count: u64) {
        // None of them would still raise the largest.
        if count > 0 {
            self.0.saturating_record_n(MAX_LATENCY_US, count);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("equal bounds");
    }

    /// The usual percentiles; `None` when nothing was recorded.
    pub fn summary(&self) -> Option<LatencySummary> {
        if self.0.is_empty() {
            return None;
        }
        let ms = |share: f64| self.0.value_at_quantile(share) as f64 / 1e3;
        Some(LatencySummary {
            count: self.0.len(),
            mean_ms: self.0.mean() / 1e3,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: self.0.max() as f64 / 1e3,
            histogram: self
                .0
                .iter_recorded()
                .map(|bin| (bin.value_iterated_to(), bin.count_at_value()))
                .collect(),
        })
    }
}

/// Percentiles in milliseconds, and the whole histogram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Values recorded.
    pub count: u64,
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// (microseconds, count) of every bin that holds something; three significant digits.
    pub histogram: Vec<(u64, u64)>,
}

/// What the generator did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// Transactions whose planned time came.
    pub planned: u64,
    /// Sent to a validator.
    pub sent: u64,
    /// Taken by one.
    pub accepted: u64,
    /// Refused with "busy", as meant when more is offered than ordered.
    pub refused: u64,
    /// Refused for another reason: an error of the harness or the node.
    pub rejected: u64,
    /// Not sent, because every account was waiting for an earlier transaction: with a full pool
    /// that is a refusal that saved a message.
    pub held_back: u64,
    /// How late a sending was, 99th percentile in milliseconds.
    pub late_p99_ms: f64,
    /// The first few reasons of rejections.
    pub reasons: Vec<String>,
}

/// What the processors did while windows were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Share of all processors that was busy with anything, also outside this run.
    pub host_share: f64,
    /// User and system seconds of the shards' validators.
    pub validators_seconds: f64,
    /// Share of those seconds in the threads that decode what comes from outside, check its
    /// signatures, and read the store for peers that ask.
    pub checking_share: f64,
    /// Those of the beacon's validators.
    pub beacon_seconds: f64,
    /// Those of the generator and observer.
    pub generator_seconds: f64,
    /// Validator seconds per applied transaction and validator of its shard, in microseconds.
    pub us_per_tx_per_validator: f64,
}

/// What was checked after a run, and with what result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Checks that held, in words, with the numbers they covered.
    pub passed: Vec<String>,
    /// Checks that did not.
    pub failed: Vec<String>,
    /// Validators more than a few blocks behind the others of their committee.
    pub nodes_lagging: u32,
}

impl Audit {
    /// Nothing failed, and something was checked.
    pub fn holds(&self) -> bool {
        self.failed.is_empty() && !self.passed.is_empty()
    }

    /// Notes one check.
    pub fn check(&mut self, holds: bool, what: String) {
        if holds {
            self.passed.push(what)
        } else {
            self.failed.push(what)
        }
    }
}

/// Why a run's figures are kept but not used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "flag", rename_all = "snake_case")]
pub enum Flag {
    /// The processors were too busy.
    HostOversubscribed {
        /// Busy share of all processors.
        cpu_share: f64,
    },
    /// The generator did not keep its plan.
    GeneratorLate {
        /// 99th percentile of the lateness.
        p99_ms: f64,
    },
    /// Timing and counting do not tell the same story, so something other than the barrier
    /// limited the run.
    EstimatesDisagree {
        /// By timing.
        timed: f64,
        /// By counting.
        counted: f64,
    },
    /// Too few whole windows.
    FewWindows {
        /// Smallest number of windows a shard had.
        windows: usize,
    },
    /// Transactions were refused for reasons other than a full pool.
    Rejections {
        /// How many.
        rejected: u64,
    },
    /// Transactions were executed and failed, so the work was not what it should have been.
    Failures {
        /// Their share of the executed ones.
        share: f64,
    },
    /// Records in which a shard was absent.
    AbsentShards {
        /// How many records.
        records: u32,
    },
    /// The audit found something.
    AuditFailed,
}

impl std::fmt::Display for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flag::HostOversubscribed { cpu_share } => {
                write!(f, "processors {:.0} % busy (limit 70 %)", 100.0 * cpu_share)
            }
            Flag::GeneratorLate { p99_ms } => {
                write!(
                    f,
                    "generator {p99_ms:.1} ms late at the 99th percentile (limit 5 ms)"
                )
            }
            Flag::EstimatesDisagree { timed, counted } => {
                write!(
                    f,
                    "efficiency {timed:.3} by timing, {counted:.3} by counting (limit 5 %)"
                )
            }
            Flag::FewWindows { windows } => {
                write!(
                    f,
                    "only {windows} whole windows (at least {ENOUGH_WINDOWS})"
                )
            }
            Flag::Rejections { rejected } => {
                write!(
                    f,
                    "{rejected} transactions rejected for other reasons than a full pool"
                )
            }
            Flag::Failures { share } => {
                write!(
                    f,
                    "{:.1} % of the transactions failed (limit 1 %)",
                    100.0 * share
                )
            }
            Flag::AbsentShards { records } => write!(f, "{records} records lacked a shard"),
            Flag::AuditFailed => f.write_str("the audit failed"),
        }
    }
}

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What was planned.
    pub planned: PlannedRun,
    /// When it started, microseconds since the epoch.
    pub started: u64,
    /// The network's genesis hash.
    pub genesis: String,
    /// Efficiency and throughput.
    pub accounting: Accounting,
    /// Mean phases of its barriers.
    pub phases: Phases,
    /// The raw windows and barriers; `samples.csv` has them.
    #[serde(skip)]
    pub counted: Counted,
    /// Latency of transfers within a shard.
    pub local: Option<LatencySummary>,
    /// Latency of transfers to another shard, until credited.
    pub cross: Option<LatencySummary>,
    /// The load offered.
    pub generator: Generator,
    /// Processor use.
    pub cpu: Cpu,
    /// The safety audit.
    pub audit: Audit,
    /// Why the figures are not used; empty for a valid run.
    pub flags: Vec<Flag>,
}

impl Run {
    /// Valid runs enter the fit and the means.
    pub fn is_valid(&self) -> bool {
        self.flags.is_empty()
    }

    /// As the model sees it.
    pub fn observation(&self) -> Observation {
        Observation {
            shards: self.planned.point.shards,
            interval_ms: self.planned.point.interval_ms,
            window_seconds: self.accounting.window_seconds,
            throughput: self.accounting.throughput,
        }
    }
}

/// Reasons not to use a run that lie outside the network: the host and the generator.
pub fn load_flags(host_share: f64, generator: &Generator) -> Vec<Flag> {
    let busy = (host_share > MAX_CPU_SHARE).then_some(Flag::HostOversubscribed {
        cpu_share: host_share,
    });
    let late = (generator.late_p99_ms > MAX_LATE_MS).then_some(Flag::GeneratorLate {
        p99_ms: generator.late_p99_ms,
    });
    busy.into_iter().chain(late).collect()
}

/// All reasons not to use a run.
pub fn flags(
    accounting: &Accounting,
    counted: &Counted,
    absent: u32,
    generator: &Generator,
    cpu: &Cpu,
    audit: &Audit,
) -> Vec<Flag> {
    let mut flags = load_flags(cpu.host_share, generator);
    if accounting.disagreement() > MAX_DISAGREEMENT {
        flags.push(Flag::EstimatesDisagree {
            timed: accounting.efficiency_timed,
            counted: accounting.efficiency_counted,
        });
    }
    let mut per_shard: BTreeMap<u16, usize> = BTreeMap::new();
    counted
        .windows
        .iter()
        .for_each(|w| *per_shard.entry(w.shard).or_default() += 1);
    let fewest = per_shard.values().copied().min().unwrap_or(0);
    if fewest < ENOUGH_WINDOWS as usize {
        flags.push(Flag::FewWindows { windows: fewest });
    }
    if generator.rejected > 0 {
        flags.push(Flag::Rejections {
            rejected: generator.rejected,
        });
    }
    let executed = accounting.throughput + accounting.failed_per_second;
    if accounting.failed_per_second > MAX_FAILURES * executed {
        let share = accounting.failed_per_second / executed;
        flags.push(Flag::Failures { share });
    }
    if absent > 0 {
        flags.push(Flag::AbsentShards { records: absent });
    }
    if !audit.holds() {
        flags.push(Flag::AuditFailed);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: u64 = 100_000;
    const STALL: u64 = 25_000;

    /// Two shards; shard 1 seals 5 ms after shard 0; the beacon proposes 10 ms after that, commits
    /// 4 ms later, and both name the record 25 ms after the seal of shard 0.
    fn timeline(windows: u64, depth: u8) -> Timeline {
        let mut timeline = Timeline {
            shards: vec![Vec::new(), Vec::new()],
            records: Vec::new(),
        };
        let mut now = 1_000_000;
        let blocks_of_window = 5;
        for number in 1..=windows {
            for (shard, blocks) in timeline.shards.iter_mut().enumerate() {
                let late = 5_000 * shard as u64;
                let record = (number > 1).then(|| number - 1);
                blocks.push(ShardBlock {
                    time: now,
                    record,
                    ..ShardBlock::default()
                });
                for i in 1..=blocks_of_window {
                    let time = now + (W + late) * i / blocks_of_window;
                    let seal = (i == blocks_of_window).then_some(number);
                    blocks.push(ShardBlock {
                        time,
                        applied: 2,
                        seal,
                        ..ShardBlock::default()
                    });
                }
            }
            timeline.records.push(RecordBlock {
                number,
                time: now + W + 15_000,
                committed: Some(now + W + 19_000),
                absent: 0,
            });
            now += W + if depth == 0 { STALL } else { 0 };
        }
        timeline
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn windows_are_cut_whole_and_the_open_one_is_left_out() {
        let counted = timeline(10, 0).counted(0, 2, 5);
        assert_eq!(counted.windows.len(), 10);
        let numbers: Vec<_> = counted
            .windows
            .iter()
            .map(|w| (w.shard, w.number))
            .collect();
        assert_eq!(&numbers[..5], [(0, 3), (0, 4), (0, 5), (0, 6), (0, 7)]);
        // The tenth window has a seal but no record yet: nine are whole.
        assert_eq!(timeline(10, 0).counted(0, 0, 100).windows.len(), 18);
        let first = &counted.windows[0];
        assert!(
            close(first.productive, 0.1) && close(first.stall, 0.025),
            "{first:?}"
        );
        assert_eq!(first.applied, 10);
    }

    #[test]
    fn the_phases_add_up_to_the_stall() {
        let counted = timeline(10, 0).counted(0, 2, 5);
        assert_eq!(counted.barriers.len(), 10);
        for (window, barrier) in counted.windows.iter().zip(&counted.barriers) {
            let sum = barrier.wait + barrier.collect + barrier.order.unwrap() + barrier.distribute;
            assert!(close(sum, window.stall), "{barrier:?}");
        }
        let of_first = counted.barriers[0];
        assert!(close(of_first.wait, 0.005), "{of_first:?}");
        assert!(close(of_first.collect, 0.010));
        assert!(close(of_first.order.unwrap(), 0.004));
        assert!(close(of_first.distribute, 0.006));
        assert!(close(of_first.resume.unwrap(), 0.020));
        assert!(
            close(counted.barriers[5].wait, 0.0),
            "the slowest waits for nobody"
        );
    }

    #[test]
    fn without_an_observer_order_joins_distribute() {
        let mut timeline = timeline(4, 0);
        timeline
            .records
            .iter_mut()
            .for_each(|record| record.committed = None);
        let barrier = timeline.counted(0, 0, 1).barriers[0];
        assert_eq!(barrier.order, None);
        assert!(close(barrier.distribute, 0.010));
    }

    #[test]
    fn timing_and_counting_agree_when_only_the_barrier_limits() {
        // Ten transactions in a window of 0.1 s (shard 1: 0.105 s) are a pace of about 100/s.
        let accounting = timeline(40, 0).counted(0, 2, 30).accounting(2, 100.0);
        assert!(
            close(accounting.throughput, 2.0 * 10.0 / 0.125),
            "{accounting:?}"
        );
        assert!(close(accounting.efficiency_timed, 0.205 / 0.25));
        assert!(accounting.disagreement() < MAX_DISAGREEMENT);
        let slower = timeline(40, 0).counted(0, 2, 30).accounting(2, 120.0);
        assert!(slower.disagreement() > MAX_DISAGREEMENT);
    }

    #[test]
    fn deeper_chains_have_no_stall() {
        let mut timeline = timeline(10, 1);
        // Window k seals before record k−1 is named a little later; order within a shard as it is.
        timeline.shards.truncate(1);
        let counted = timeline.counted(1, 1, 8);
        assert_eq!(counted.windows.len(), 8);
        assert!(
            counted
                .windows
                .iter()
                .all(|w| w.stall == 0.0 && close(w.productive, 0.1))
        );
        assert!(close(counted.accounting(1, 100.0).efficiency_timed, 1.0));
    }

    #[test]
    fn nothing_committed_is_nothing_counted() {
        let counted = Timeline {
            shards: vec![vec![]],
            records: vec![],
        }
        .counted(0, 1, 30);
        assert_eq!(counted.accounting(1, 100.0), Accounting::default());
    }

    #[test]
    fn every_limit_raises_its_flag() {
        let counted = timeline(40, 0).counted(0, 2, 30);
        let accounting = counted.accounting(2, 100.0);
        let audit = Audit {
            passed: vec!["no fork".into()],
            ..Audit::default()
        };
        let (generator, cpu) = (Generator::default(), Cpu::default());
        assert_eq!(
            flags(&accounting, &counted, 0, &generator, &cpu, &audit),
            []
        );
        let busy = Cpu {
            host_share: 0.71,
            ..cpu
        };
        let late = Generator {
            late_p99_ms: 5.1,
            rejected: 1,
            ..generator.clone()
        };
        let few = timeline(20, 0).counted(0, 2, 30);
        let slow = Accounting {
            failed_per_second: 3.0,
            ..counted.accounting(2, 120.0)
        };
        let broken = Audit {
            failed: vec!["a fork".into()],
            ..audit.clone()
        };
        let all = flags(&slow, &few, 1, &late, &busy, &broken);
        assert_eq!(all.len(), 8, "{all:?}");
        let unaudited = flags(
            &accounting,
            &counted,
            0,
            &generator,
            &cpu,
            &Audit::default(),
        );
        assert_eq!(unaudited, [Flag::AuditFailed]);
    }

    #[test]
    fn percentiles_have_three_digits() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        (1..=1000).for_each(|ms| latencies.record(ms * 1000));
        let mut twice = latencies.clone();
        twice.merge(&latencies);
        let summary = twice.summary().unwrap();
        assert_eq!(summary.count, 2000);
        assert!(
            (summary.p50_ms / 500.0 - 1.0).abs() < 2e-3,
            "{}",
            summary.p50_ms
        );
        assert!((summary.p99_ms / 990.0 - 1.0).abs() < 2e-3);
        assert_eq!(
            summary
                .histogram
                .iter()
                .map(|(_, count)| count)
                .sum::<u64>(),
            2000
        );
        latencies.record(u64::MAX);
        assert!(latencies.summary().unwrap().max_ms >= 600_000.0);
    }
}
