//! The time line of a run and its accounting, computed from the chain itself.
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

use serde::Serialize;

use crate::statistics::{mean, quantile};

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::run::MAX_DISAGREEMENT;

    const W: u64 = 100_000;
    const STALL: u64 = 25_000;

    /// Two shards; shard 1 seals 5 ms after shard 0; the beacon proposes 10 ms after that, commits
    /// 4 ms later, and both name the record 25 ms after the seal of shard 0.
    pub(crate) fn timeline(windows: u64, depth: u8) -> Timeline {
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
}
