//! A finished run: what was planned, what it showed, and why its figures are not used, if so.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::LatencySummary;
use crate::model::Observation;
use crate::scenario::{ENOUGH_WINDOWS, PlannedRun};
use crate::timeline::{Accounting, Counted, Phases};

/// Above this share of all processors the host, not the protocol, sets the pace.
pub const MAX_CPU_SHARE: f64 = 0.70;
/// A generator later than this (99th percentile) does not offer what it says it offers.
pub const MAX_LATE_MS: f64 = 5.0;
/// Stall timed and throughput counted must agree this well.
pub const MAX_DISAGREEMENT: f64 = 0.05;
/// More failed transactions than this, and the load was not the one described.
pub const MAX_FAILURES: f64 = 0.01;

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
    use crate::timeline::tests::timeline;

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
}
