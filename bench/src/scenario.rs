//! A sweep: the grid of shard counts and barrier intervals to run, and everything that stays fixed.
//!
//! A sweep file is checked as a whole before anything starts, and all its problems are reported
//! together with their lines: nothing is worse than a typing error found after ten minutes.
//!
//! Breaks if: a value that changes what is measured is taken from anywhere but the sweep.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::random::Random;

/// Shard counts beyond this need more processes than one machine can host.
const MAX_SHARDS: u16 = 64;
/// Members of a committee. The protocol allows 64; votes go from each to each.
const MAX_VALIDATORS: u8 = 31;
/// Shortest barrier interval. Below it a window holds no block.
const MIN_INTERVAL_MS: u64 = 20;
/// Longest barrier interval: beyond it a run of thirty windows takes hours.
const MAX_INTERVAL_MS: u64 = 60_000;
/// Most transactions per second a shard may be paced to.
const MAX_PACE: u32 = 100_000;
/// Runs in one sweep. A day holds about this many of ten seconds.
const MAX_RUNS: usize = 10_000;
/// Windows a run must count before its figures are worth comparing.
pub const ENOUGH_WINDOWS: u32 = 30;
/// Longest name of a sweep; it names a directory.
const MAX_NAME: usize = 40;
/// Deepest pipelining of barriers.
const MAX_DEPTH: u8 = 2;

/// What starting a network, waiting for its first barriers, draining and auditing it takes, per
/// run and per shard. Only the time estimate uses them.
const START_SECONDS: f64 = 2.5;
const SHARD_SECONDS: f64 = 0.5;
/// A barrier's length for the time estimate.
const BARRIER_SECONDS: f64 = 0.06;
/// What a validator's database and log take on disk at start, and per transaction.
const DISK_PER_VALIDATOR: u64 = 4 << 20;
const DISK_PER_TRANSACTION: u64 = 1 << 10;

/// The order in which runs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Shuffled by the seed, so that a drift of the host does not look like an effect.
    Random,
    /// Axis by axis.
    Grid,
}

/// A checked sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Names the run directory and the report.
    pub name: String,
    /// The shard counts, ascending.
    pub shards: Vec<u16>,
    /// The barrier intervals in milliseconds, ascending.
    pub interval_ms: Vec<u64>,
    /// Members of each committee.
    pub validators: u8,
    /// Windows a shard may run ahead of its barrier.
    pub depth: u8,
    /// Transactions per second a shard may order.
    pub pace: u32,
    /// Percentage of transfers that leave their shard.
    pub cross_shard_percent: u8,
    /// Offered load over `pace`.
    pub offered_factor: f64,
    /// Windows before counting starts.
    pub warm_up_windows: u32,
    /// Windows counted.
    pub windows: u32,
    /// Windows of the latency part of a cell's first repeat; 0 for none.
    pub latency_windows: u32,
    /// Runs of each cell.
    pub repeats: u32,
    /// Where every random choice comes from.
    pub seed: u64,
    /// The order of the runs.
    pub order: Order,
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// Number of shards.
    pub shards: u16,
    /// The barrier interval.
    pub interval_ms: u64,
}

impl Point {
    /// The interval in seconds, as the model wants it.
    pub fn interval_seconds(&self) -> f64 {
        Duration::from_millis(self.interval_ms).as_secs_f64()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.shards == 1 { "" } else { "s" };
        write!(
            f,
            "{} shard{plural}, barrier every {} ms",
            self.shards, self.interval_ms
        )
    }
}

/// One run that will be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedRun {
    /// Its cell.
    pub point: Point,
    /// Which repeat, from 0.
    pub repeat: u32,
    /// Its own seed.
    pub seed: u64,
    /// Does it have a latency part?
    pub latency: bool,
}

/// The sweeps that come with the binary.
pub const PRESETS: &[(&str, &str)] = &[
    ("quick", include_str!("../scenarios/quick.toml")),
    ("standard", include_str!("../scenarios/standard.toml")),
];

impl Scenario {
    /// Reads a preset by name, or a file.
    ///
    /// # Errors
    /// When there is neither, or everything that is wrong with it.
    pub fn open(name_or_path: &str) -> Result<(Self, String), Problems> {
        if let Some((name, text)) = PRESETS.iter().find(|(name, _)| *name == name_or_path) {
            return Ok((
                Self::parse(text, &format!("{name} (preset)"))?,
                (*text).to_owned(),
            ));
        }
        let text = std::fs::read_to_string(name_or_path).map_err(|error| {
            let presets: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
            Problems::one(
                name_or_path,
                None,
                format!("cannot read: {error}; presets are: {}", presets.join(", ")),
            )
        })?;
        Ok((Self::parse(&text, name_or_path)?, text))
    }

    /// Reads and checks a sweep. `file` is only for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &str) -> Result<Self, Problems> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            Problems::one(file, line, error.message().to_owned())
        })?;
        let mut check = Check {
            text,
            problems: Vec::new(),
        };
        let (axes, fixed) = (&raw.axes, &raw.fixed);

        check.that(
            &raw.name,
            is_name(raw.name.get_ref()),
            format!("name must be 1 to {MAX_NAME} lower-case letters, digits or dashes"),
        );
        let shards = check.axis(&axes.shards, "shards", 1, MAX_SHARDS);
        let interval_ms = check.axis(
            &axes.interval_ms,
            "interval_ms",
            MIN_INTERVAL_MS,
            MAX_INTERVAL_MS,
        );
        check.range(&fixed.validators, "validators", 1, MAX_VALIDATORS);
        check.range(&fixed.depth, "depth", 0, MAX_DEPTH);
        check.range(&fixed.pace, "pace", 1, MAX_PACE);
        check.range(&fixed.cross_shard_percent, "cross_shard_percent", 0, 100);
        check.range(&fixed.offered_factor, "offered_factor", 0.1, 10.0);
        check.range(&fixed.warm_up_windows, "warm_up_windows", 1, 10_000);
        check.range(&fixed.windows, "windows", 3, 100_000);
        check.range(&fixed.latency_windows, "latency_windows", 0, 100_000);
        check.range(&fixed.repeats, "repeats", 1, 1_000);
        let runs = shards.len() * interval_ms.len() * *fixed.repeats.get_ref() as usize;
        check.that(
            &fixed.repeats,
            runs <= MAX_RUNS,
            format!("the grid has {runs} runs where at most {MAX_RUNS} are allowed"),
        );
        if let Some(shortest) = interval_ms.first() {
            let per_window = *shortest as f64 / 1e3 * f64::from(*fixed.pace.get_ref());
            check.that(
                &fixed.pace,
                per_window >= 2.0,
                format!(
                    "a window of {shortest} ms would hold {per_window:.1} transactions at this \
                     pace; at least 2 are needed to count anything"
                ),
            );
        }
        if !check.problems.is_empty() {
            return Err(Problems {
                file: file.to_owned(),
                list: check.problems,
            });
        }
        Ok(Scenario {
            name: raw.name.into_inner(),
            shards,
            interval_ms,
            validators: raw.fixed.validators.into_inner(),
            depth: raw.fixed.depth.into_inner(),
            pace: raw.fixed.pace.into_inner(),
            cross_shard_percent: raw.fixed.cross_shard_percent.into_inner(),
            offered_factor: raw.fixed.offered_factor.into_inner(),
            warm_up_windows: raw.fixed.warm_up_windows.into_inner(),
            windows: raw.fixed.windows.into_inner(),
            latency_windows: raw.fixed.latency_windows.into_inner(),
            repeats: raw.fixed.repeats.into_inner(),
            seed: raw.fixed.seed,
            order: raw.fixed.order,
        })
    }

    /// The cells, shards outermost.
    pub fn points(&self) -> Vec<Point> {
        let cell = |shards| {
            self.interval_ms.iter().map(move |&interval_ms| Point {
                shards,
                interval_ms,
            })
        };
        self.shards
            .iter()
            .flat_map(|&shards| cell(shards))
            .collect()
    }

    /// Every run, in the order in which it will be made.
    pub fn runs(&self) -> Vec<PlannedRun> {
        let mut random = Random::new(self.seed);
        let mut runs = Vec::new();
        for repeat in 0..self.repeats {
            let mut round: Vec<_> = self
                .points()
                .into_iter()
                .map(|point| PlannedRun {
                    point,
                    repeat,
                    seed: random.next_u64() >> 16,
                    latency: repeat == 0 && self.latency_windows > 0,
                })
                .collect();
            if self.order == Order::Random {
                random.shuffle(&mut round);
            }
            runs.extend(round);
        }
        runs
    }

    /// The share of transfers that leave their shard in a network of `shards`.
    pub fn cross_share(&self, shards: u16) -> f64 {
        if shards < 2 {
            0.0
        } else {
            f64::from(self.cross_shard_percent) / 100.0
        }
    }

    /// About how long one run takes.
    pub fn run_time(&self, run: &PlannedRun) -> Duration {
        let latency = if run.latency { self.latency_windows } else { 0 };
        // One window more on each side: the counted ones begin and end at a barrier.
        let windows = f64::from(self.warm_up_windows + self.windows + latency + 2);
        let barrier = if self.depth == 0 {
            BARRIER_SECONDS
        } else {
            0.0
        };
        Duration::from_secs_f64(
            START_SECONDS
                + SHARD_SECONDS * f64::from(run.point.shards)
                + windows * (run.point.interval_seconds() + barrier),
        )
    }

    /// About how long all runs take.
    pub fn time(&self) -> Duration {
        self.runs().iter().map(|run| self.run_time(run)).sum()
    }

    /// About how much disk the largest run needs; runs are removed when they are done.
    pub fn disk(&self) -> u64 {
        let of = |run: &PlannedRun| {
            let validators = u64::from(self.validators) * (u64::from(run.point.shards) + 1);
            let transactions = self.run_time(run).as_secs() * u64::from(self.pace);
            validators * (DISK_PER_VALIDATOR + transactions * DISK_PER_TRANSACTION)
        };
        self.runs().iter().map(of).max().unwrap_or(0)
    }

    /// What a reader should know before trusting the result, in sentences.
    pub fn warnings(&self, cores: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.windows < ENOUGH_WINDOWS {
            warnings.push(format!(
                "{} windows a run are fewer than the {ENOUGH_WINDOWS} a comparison needs",
                self.windows
            ));
        }
        if self.offered_factor <= 1.0 {
            warnings.push(format!(
                "offered_factor {} does not keep the pool full, so throughput shows the load, not \
                 the barrier",
                self.offered_factor
            ));
        }
        let over = self
            .shards
            .iter()
            .filter(|shards| usize::from(**shards) > cores)
            .count();
        if over > 0 {
            warnings.push(format!(
                "{over} of the shard counts exceed the {cores} cores of this host: those points \
                 stay valid only while the load leaves the processors idle, which each run checks"
            ));
        }
        warnings
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    axes: RawAxes,
    fixed: RawFixed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAxes {
    shards: Spanned<Vec<u16>>,
    interval_ms: Spanned<Vec<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFixed {
    validators: Spanned<u8>,
    depth: Spanned<u8>,
    pace: Spanned<u32>,
    cross_shard_percent: Spanned<u8>,
    offered_factor: Spanned<f64>,
    warm_up_windows: Spanned<u32>,
    windows: Spanned<u32>,
    latency_windows: Spanned<u32>,
    repeats: Spanned<u32>,
    seed: u64,
    order: Order,
}

struct Check<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn that<T>(&mut self, at: &Spanned<T>, holds: bool, message: String) {
        if !holds {
            let line = Some(line_of(self.text, at.span().start));
            self.problems.push(Problem { line, message });
        }
    }

    fn range<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        at: &Spanned<T>,
        what: &str,
        low: T,
        high: T,
    ) {
        let got = *at.get_ref();
        self.that(
            at,
            got >= low && got <= high,
            format!("{what} must be {low} to {high}, not {got}"),
        );
    }

    fn axis<T: Ord + fmt::Display + Copy>(
        &mut self,
        at: &Spanned<Vec<T>>,
        what: &str,
        low: T,
        high: T,
    ) -> Vec<T> {
        let values = at.get_ref();
        let distinct: BTreeSet<T> = values.iter().copied().collect();
        self.that(
            at,
            !values.is_empty(),
            format!("{what} needs at least one value"),
        );
        self.that(
            at,
            distinct.len() == values.len(),
            format!("{what} names a value twice"),
        );
        for value in distinct
            .iter()
            .filter(|value| **value < low || **value > high)
        {
            self.that(
                at,
                false,
                format!("{what} must be {low} to {high}, not {value}"),
            );
        }
        distinct.into_iter().collect()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// One thing that is wrong with a sweep file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, when it concerns one.
    pub line: Option<usize>,
    /// What is expected and what stands there.
    pub message: String,
}

/// Everything that is wrong with a sweep file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub file: String,
    /// The problems, in the order of the file's fields.
    pub list: Vec<Problem>,
}

impl Problems {
    fn one(file: &str, line: Option<usize>, message: String) -> Self {
        Problems {
            file: file.to_owned(),
            list: vec![Problem { line, message }],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match problem.line {
                Some(line) => write!(f, "{}:{line}: {}", self.file, problem.message)?,
                None => write!(f, "{}: {}", self.file, problem.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Scenario {
        Scenario::open("quick").unwrap().0
    }

    #[test]
    fn every_preset_is_valid() {
        for (name, text) in PRESETS {
            let scenario = Scenario::parse(text, name).unwrap();
            assert_eq!(&scenario.name, name);
            assert!(scenario.windows >= ENOUGH_WINDOWS);
        }
    }

    #[test]
    fn the_quick_sweep_takes_a_few_minutes() {
        let quick = quick();
        assert_eq!(quick.runs().len(), 18);
        assert!(
            quick.time() < Duration::from_secs(5 * 60),
            "{:?}",
            quick.time()
        );
    }

    #[test]
    fn the_order_is_a_permutation_and_the_seed_fixes_it() {
        let scenario = quick();
        let runs = scenario.runs();
        assert_eq!(runs, scenario.runs());
        for repeat in 0..scenario.repeats {
            let mut cells: Vec<_> = runs
                .iter()
                .filter(|run| run.repeat == repeat)
                .map(|run| run.point)
                .collect();
            cells.sort();
            assert_eq!(cells, scenario.points());
        }
        let other = Scenario {
            seed: 2,
            ..scenario
        };
        assert_ne!(runs, other.runs());
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = PRESETS[0]
            .1
            .replace("shards = [1, 2]", "shards = [0, 2, 2]")
            .replace("validators = 4", "validators = 0")
            .replace("cross_shard_percent = 20", "cross_shard_percent = 101");
        let problems = Scenario::parse(&text, "s.toml").unwrap_err();
        let line = |key: &str| 1 + text.lines().position(|l| l.starts_with(key)).unwrap();
        let lines: Vec<_> = problems
            .list
            .iter()
            .map(|problem| problem.line.unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                line("shards"),
                line("shards"),
                line("validators"),
                line("cross_shard_percent")
            ]
        );
        assert!(
            problems.to_string().contains("shards names a value twice"),
            "{problems}"
        );
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let text = PRESETS[0].1.replace("repeats", "repeat");
        let problems = Scenario::parse(&text, "s.toml").unwrap_err();
        assert!(
            problems.to_string().contains("unknown field `repeat`"),
            "{problems}"
        );
        assert!(problems.list[0].line.is_some());
    }

    #[test]
    fn the_bounds_hold_at_their_edges() {
        for (key, bad, good) in [
            ("windows = 30", "windows = 2", "windows = 3"),
            ("validators = 4", "validators = 32", "validators = 31"),
            ("depth = 0", "depth = 3", "depth = 2"),
            ("shards = [1, 2]", "shards = [65]", "shards = [64]"),
            (
                "interval_ms = [100, 250, 500]",
                "interval_ms = [19]",
                "interval_ms = [20]",
            ),
            ("pace = 100", "pace = 19", "pace = 20"),
            ("repeats = 3", "repeats = 1001", "repeats = 1000"),
        ] {
            let text = PRESETS[0].1;
            assert!(text.contains(key), "{key}");
            assert!(
                Scenario::parse(&text.replace(key, bad), "s").is_err(),
                "{bad}"
            );
            assert!(
                Scenario::parse(&text.replace(key, good), "s").is_ok(),
                "{good}"
            );
        }
        let many = PRESETS[0]
            .1
            .replace("repeats = 3", "repeats = 1000")
            .replace(
                "interval_ms = [100, 250, 500]",
                "interval_ms = [100, 200, 300, 400, 500, 600]",
            );
        assert!(
            Scenario::parse(&many, "s")
                .unwrap_err()
                .to_string()
                .contains("12000 runs")
        );
    }

    #[test]
    fn one_shard_has_no_cross_shard_transfers() {
        assert_eq!(quick().cross_share(1), 0.0);
        assert_eq!(quick().cross_share(2), 0.2);
    }
}
