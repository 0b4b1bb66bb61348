//! What a sweep becomes on disk: one HTML file that needs no network, `points.csv` with a row for
//! each run, `samples.csv` with a row for each window of each shard, `run.json` with everything
//! else, and the plots as SVG.
//!
//! Runs that are not valid stay in every file with their reasons; they enter no mean and no fit.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;

use crate::analysis::{Analysis, analyse};
use crate::latency::LatencySummary;
use crate::manifest::{Manifest, iso};
use crate::model::Observation;
use crate::plot;
use crate::run::Run;
use crate::scenario::{PlannedRun, Point, Scenario};
use crate::statistics::{Interval, mean, mean_interval};
use crate::timeline::Phases;

/// Timed and fitted barrier lengths further apart than this are pointed out.
const FIT_AND_TIMING_DIFFER: f64 = 0.20;

/// A run that gave no figures.
#[derive(Clone, Debug, Serialize)]
pub struct FailedRun {
    /// What was planned.
    pub planned: PlannedRun,
    /// Why there are none.
    pub cause: String,
}

/// All runs of one cell, taken together.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The cell.
    pub point: Point,
    /// Runs made.
    pub runs: usize,
    /// Those that count. With none, the means below are over the invalid ones and marked so.
    pub valid_runs: usize,
    /// Committed transactions per second with Student's 95 % interval.
    pub throughput: Interval,
    /// Mean efficiency by timing.
    pub efficiency_timed: f64,
    /// Mean efficiency by counting.
    pub efficiency_counted: f64,
    /// Mean stall in seconds.
    pub stall_seconds: f64,
    /// Largest 99th percentile of the stall among the runs.
    pub stall_seconds_p99: f64,
    /// Mean productive seconds of a window.
    pub window_seconds: f64,
    /// Mean phases.
    pub phases: Phases,
    /// Processor time of each validator for each transaction, microseconds.
    pub cpu_us: f64,
    /// Mean busy share of the host.
    pub cpu_share: f64,
    /// Latency within a shard, from the run that measured it.
    pub local: Option<LatencySummary>,
    /// Latency across shards.
    pub cross: Option<LatencySummary>,
}

/// A barrier's length by both ways of learning it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CrossCheck {
    /// Number of shards.
    pub shards: u16,
    /// Mean stall by the times in the blocks, seconds.
    pub timed: f64,
    /// a + b·S from the fit to throughput, seconds.
    pub fitted: f64,
}

/// A finished sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Where, when and how.
    pub manifest: Manifest,
    /// What was asked for.
    pub scenario: Scenario,
    /// What the host or the grid cannot carry, known before the start.
    pub warnings: Vec<String>,
    /// The cells, shards outermost.
    pub cells: Vec<Cell>,
    /// The model.
    pub analysis: Analysis,
    /// Fitted against timed barriers.
    pub cross_checks: Vec<CrossCheck>,
    /// The runs in the order they were made.
    pub runs: Vec<Run>,
    /// Those that gave nothing.
    pub failures: Vec<FailedRun>,
}

impl Sweep {
    /// Takes finished runs together.
    pub fn new(
        manifest: Manifest,
        scenario: Scenario,
        runs: Vec<Run>,
        failures: Vec<FailedRun>,
    ) -> Self {
        let cells: Vec<Cell> = scenario
            .points()
            .into_iter()
            .filter_map(|point| cell(point, &runs))
            .collect();
        let observations = observations(&runs);
        let analysis = analyse(&observations, scenario.seed);
        let cross_checks = match &analysis.linear {
            Some(fitted) => scenario
                .shards
                .iter()
                .filter_map(|&shards| {
                    let stalls: Vec<f64> = runs
                        .iter()
                        .filter(|run| run.is_valid() && run.planned.point.shards == shards)
                        .map(|run| run.accounting.stall_seconds)
                        .collect();
                    let fitted = fitted.fit.barrier(shards);
                    (!stalls.is_empty()).then(|| CrossCheck {
                        shards,
                        timed: mean(&stalls),
                        fitted,
                    })
                })
                .collect(),
            None => Vec::new(),
        };
        let warnings = scenario.warnings(manifest.host.cores);
        Sweep {
            manifest,
            scenario,
            warnings,
            cells,
            analysis,
            cross_checks,
            runs,
            failures,
        }
    }

    /// Writes all files.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let put = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
        };
        put("report.html", &self.html()?)?;
        put("points.csv", &self.points_csv())?;
        put("samples.csv", &self.samples_csv())?;
        put("run.json", &serde_json::to_string_pretty(self)?)?;
        for (name, svg) in self.plots() {
            put(&format!("{name}.svg"), &plot::for_file(&svg))?;
        }
        Ok(())
    }

    fn plots(&self) -> Vec<(&'static str, String)> {
        let fit = self.analysis.linear.as_ref().map(|fitted| &fitted.fit);
        let mut plots = vec![
            (
                "throughput",
                plot::throughput(&self.cells, fit, f64::from(self.scenario.pace)),
            ),
            ("stall", plot::stall(&self.cells, fit)),
            ("phases", plot::phases(&self.cells)),
        ];
        if let Some(fit) = fit {
            plots.push(("residuals", plot::residuals(&observations(&self.runs), fit)));
        }
        plots
    }

    /// The report.
    ///
    /// # Errors
    /// Only when the template and this program do not belong together.
    pub fn html(&self) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        environment.add_filter("ms", |seconds: f64| figure(seconds * 1e3));
        environment.add_filter("percent", |share: f64| format!("{:.1}", 100.0 * share));
        environment.add_filter("figure", figure);
        environment.add_filter("iso", iso);
        environment.add_template("report.html", include_str!("report.html"))?;
        let plots: std::collections::BTreeMap<&str, String> = self
            .plots()
            .into_iter()
            .map(|(name, svg)| (name, plot::for_page(&svg)))
            .collect();
        let invalid: Vec<_> = self
            .runs
            .iter()
            .filter(|run| !run.is_valid())
            .map(|run| {
                let reasons: Vec<_> = run.flags.iter().map(ToString::to_string).collect();
                context! {
                    point => run.planned.point.to_string(),
                    repeat => run.planned.repeat + 1,
                    reasons => reasons.join("; "),
                }
            })
            .collect();
        let failures: Vec<_> = self
            .failures
            .iter()
            .map(|run| context! { point => run.planned.point.to_string(), cause => run.cause.clone() })
            .collect();
        let held_out: Vec<_> = self
            .analysis
            .held_out
            .iter()
            .map(|cell| context! { cell => serialized(cell), error => cell.error() })
            .collect();
        let shapes: Vec<_> = self
            .analysis
            .shapes
            .iter()
            .map(|row| context! { row => serialized(row), formula => row.shape.formula() })
            .collect();
        let audits = self.runs.iter().filter(|run| run.audit.holds()).count();
        let findings: Vec<String> = self
            .runs
            .iter()
            .flat_map(|run| run.audit.failed.clone())
            .collect();
        Ok(environment.get_template("report.html")?.render(context! {
            sweep => serialized(self),
            valid => self.runs.iter().filter(|run| run.is_valid()).count(),
            planned => self.scenario.runs().len(),
            headline => self.headline(),
            disagree => self.barrier_lengths_disagree(),
            audit_example => self.runs.first().map(|run| run.audit.passed.clone()),
            plots, invalid, failures, held_out, shapes, audits, findings,
        })?)
    }

    fn barrier_lengths_disagree(&self) -> bool {
        let apart = |check: &CrossCheck| (check.fitted / check.timed - 1.0).abs();
        self.cross_checks
            .iter()
            .any(|check| apart(check) > FIT_AND_TIMING_DIFFER)
    }

    /// The answer in one or two sentences, with nothing the data does not carry.
    pub fn headline(&self) -> String {
        let valid: Vec<&Cell> = self
            .cells
            .iter()
            .filter(|cell| cell.valid_runs > 0)
            .collect();
        let Some(last) = valid.iter().max_by_key(|cell| cell.point) else {
            return "No run of this sweep is valid; the reasons are listed below.".to_owned();
        };
        let lost = |cell: &Cell| format!("{:.1} %", 100.0 * (1.0 - cell.efficiency_timed));
        let (shards, longest) = (last.point.shards, last.point.interval_ms);
        let plural = if shards == 1 { "" } else { "s" };
        let mut text = format!(
            "With {shards} shard{plural} and a barrier every {longest} ms, the barrier took {} of \
             the time",
            lost(last)
        );
        let shortest = valid
            .iter()
            .filter(|cell| cell.point.shards == shards)
            .min_by_key(|cell| cell.point);
        match shortest.filter(|cell| cell.point.interval_ms < longest) {
            Some(cell) => {
                let _ = write!(
                    text,
                    "; every {} ms, {}.",
                    cell.point.interval_ms,
                    lost(cell)
                );
            }
            None => text.push('.'),
        }
        let alone = valid.iter().find(|cell| {
            cell.point.shards == 1 && cell.point.interval_ms == last.point.interval_ms
        });
        if let Some(alone) = alone.filter(|_| last.point.shards > 1) {
            let _ = write!(
                text,
                " Every {longest} ms, {} shards committed {:.2} times what one did.",
                last.point.shards,
                last.throughput.value / alone.throughput.value
            );
        }
        text
    }

    /// One row for each run.
    pub fn points_csv(&self) -> String {
        let mut csv = String::from(
            "shards,interval_ms,repeat,seed,valid,flags,throughput_tx_per_s,failed_per_s,\
             efficiency_timed,efficiency_counted,window_s,stall_s,stall_s_p99,windows,wait_s,\
             collect_s,order_s,distribute_s,resume_s,cpu_share,cpu_us_per_tx_per_validator,\
             generator_late_p99_ms,planned,accepted,refused,rejected,local_p50_ms,local_p99_ms,\
             cross_p50_ms,cross_p99_ms,audit,genesis\n",
        );
        for run in &self.runs {
            let (p, a, f, g) = (&run.planned, &run.accounting, &run.phases, &run.generator);
            let tags: Vec<_> = run.flags.iter().map(tag).collect();
            let latency = |summary: &Option<LatencySummary>, of: fn(&LatencySummary) -> f64| {
                summary
                    .as_ref()
                    .map_or(String::new(), |s| of(s).to_string())
            };
            let fields = [
                p.point.shards.to_string(),
                p.point.interval_ms.to_string(),
                (p.repeat + 1).to_string(),
                p.seed.to_string(),
                run.is_valid().to_string(),
                tags.join("|"),
                a.throughput.to_string(),
                a.failed_per_second.to_string(),
                a.efficiency_timed.to_string(),
                a.efficiency_counted.to_string(),
                a.window_seconds.to_string(),
                a.stall_seconds.to_string(),
                a.stall_seconds_p99.to_string(),
                a.windows.to_string(),
                f.wait.to_string(),
                f.collect.to_string(),
                f.order.to_string(),
                f.distribute.to_string(),
                f.resume.to_string(),
                run.cpu.host_share.to_string(),
                run.cpu.us_per_tx_per_validator.to_string(),
                g.late_p99_ms.to_string(),
                g.planned.to_string(),
                g.accepted.to_string(),
                g.refused.to_string(),
                g.rejected.to_string(),
                latency(&run.local, |s| s.p50_ms),
                latency(&run.local, |s| s.p99_ms),
                latency(&run.cross, |s| s.p50_ms),
                latency(&run.cross, |s| s.p99_ms),
                if run.audit.holds() { "ok" } else { "failed" }.to_owned(),
                run.genesis.clone(),
            ];
            csv.push_str(&fields.join(","));
            csv.push('\n');
        }
        csv
    }

    /// One row for each window of each shard, with the barrier that ended it.
    pub fn samples_csv(&self) -> String {
        let mut csv = String::from(
            "shards,interval_ms,repeat,shard,window,opened_us,productive_s,stall_s,applied,failed,\
             credits,wait_s,collect_s,order_s,distribute_s,resume_s\n",
        );
        for run in &self.runs {
            let point = run.planned.point;
            for w in &run.counted.windows {
                let _ = write!(
                    csv,
                    "{},{},{},{},{},{},{},{},{},{},{}",
                    point.shards,
                    point.interval_ms,
                    run.planned.repeat + 1,
                    w.shard,
                    w.number,
                    w.opened,
                    w.productive,
                    w.stall,
                    w.applied,
                    w.failed,
                    w.credits
                );
                let optional = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
                let barriers = &run.counted.barriers;
                match barriers
                    .iter()
                    .find(|b| b.shard == w.shard && b.number == w.number)
                {
                    Some(b) => {
                        let (order, resume) = (optional(b.order), optional(b.resume));
                        let (wait, collect, spread) = (b.wait, b.collect, b.distribute);
                        let _ = writeln!(csv, ",{wait},{collect},{order},{spread},{resume}");
                    }
                    None => csv.push_str(",,,,,\n"),
                }
            }
        }
        csv
    }

    /// The table for the terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "  {:>6}  {:>8}  {:>24}  {:>6}  {:>8}  {:>9}  {:>9}  {:>5}",
            "shards",
            "barrier",
            "tx/s (95 % interval)",
            "lost",
            "stall",
            "local p50",
            "cross p50",
            "valid"
        );
        for cell in &self.cells {
            let t = cell.throughput;
            let interval = match (t.low, t.high) {
                (Some(low), Some(high)) => {
                    format!("{} [{} – {}]", figure(t.value), figure(low), figure(high))
                }
                _ => figure(t.value),
            };
            let p50 = |latency: &Option<LatencySummary>| {
                latency
                    .as_ref()
                    .map_or("–".to_owned(), |l| format!("{} ms", figure(l.p50_ms)))
            };
            let _ = writeln!(
                text,
                "  {:>6}  {:>8}  {:>24}  {:>6}  {:>8}  {:>9}  {:>9}  {:>5}",
                cell.point.shards,
                format!("{} ms", cell.point.interval_ms),
                interval,
                format!("{:.1} %", 100.0 * (1.0 - cell.efficiency_timed)),
                format!("{} ms", figure(cell.stall_seconds * 1e3)),
                p50(&cell.local),
                p50(&cell.cross),
                format!("{}/{}", cell.valid_runs, cell.runs),
            );
        }
        text
    }
}

/// A value for the template.
fn serialized<T: Serialize>(value: &T) -> Value {
    Value::from(Serde(value))
}

/// The machine-readable name of a flag.
pub fn tag(flag: &crate::run::Flag) -> String {
    let value = serde_json::to_value(flag).unwrap_or_default();
    value["flag"].as_str().unwrap_or("unknown").to_owned()
}

/// The runs that enter the fit.
pub fn observations(runs: &[Run]) -> Vec<Observation> {
    runs.iter()
        .filter(|run| run.is_valid())
        .map(Run::observation)
        .collect()
}

fn cell(point: Point, runs: &[Run]) -> Option<Cell> {
    let all: Vec<&Run> = runs
        .iter()
        .filter(|run| run.planned.point == point)
        .collect();
    let valid: Vec<&Run> = all.iter().copied().filter(|run| run.is_valid()).collect();
    let used = if valid.is_empty() { &all } else { &valid };
    let last = used.last()?;
    let of = |f: &dyn Fn(&Run) -> f64| mean(&used.iter().map(|run| f(run)).collect::<Vec<_>>());
    let rates: Vec<f64> = used.iter().map(|run| run.accounting.throughput).collect();
    let measured =
        |f: fn(&Run) -> &Option<LatencySummary>| all.iter().find_map(|run| f(run).clone());
    Some(Cell {
        point: last.planned.point,
        runs: all.len(),
        valid_runs: valid.len(),
        throughput: mean_interval(&rates),
        efficiency_timed: of(&|run| run.accounting.efficiency_timed),
        efficiency_counted: of(&|run| run.accounting.efficiency_counted),
        stall_seconds: of(&|run| run.accounting.stall_seconds),
        stall_seconds_p99: used
            .iter()
            .map(|run| run.accounting.stall_seconds_p99)
            .fold(0.0, f64::max),
        window_seconds: of(&|run| run.accounting.window_seconds),
        phases: Phases {
            wait: of(&|run| run.phases.wait),
            collect: of(&|run| run.phases.collect),
            order: of(&|run| run.phases.order),
            distribute: of(&|run| run.phases.distribute),
            resume: of(&|run| run.phases.resume),
        },
        cpu_us: of(&|run| run.cpu.us_per_tx_per_validator),
        cpu_share: of(&|run| run.cpu.host_share),
        local: measured(|run| &run.local),
        cross: measured(|run| &run.cross),
    })
}

/// A number with three significant digits, without a pretended precision and never as 0.00.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 {
            "0".to_owned()
        } else {
            "unbounded".to_owned()
        };
    }
    let digits = size.log10().floor() as i32;
    let decimals = usize::try_from(2 - digits).unwrap_or(0).min(6);
    let text = format!("{value:.decimals$}");
    if size >= 10_000.0 {
        grouped(&text)
    } else {
        text
    }
}

/// Thousands apart: 12345 as 12 345.
fn grouped(text: &str) -> String {
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::latency::Latencies;
    use crate::random::Random;
    use crate::run::{Audit, Cpu, Flag, Generator};
    use crate::timeline::{Accounting, Counted};

    /// A sweep as the model would have it, with a little noise.
    pub(crate) fn sweep(preset: &str) -> Sweep {
        let (scenario, text) = Scenario::open(preset).unwrap();
        let mut random = Random::new(5);
        let pace = f64::from(scenario.pace);
        let runs: Vec<Run> = scenario
            .runs()
            .into_iter()
            .map(|planned| {
                let (s, w) = (
                    planned.point.shards,
                    planned.point.interval_seconds() + 0.004,
                );
                let noise = 1.0 + 0.02 * (random.unit() - 0.5);
                let stall = (0.022 + 0.002 * f64::from(s)) * noise;
                let efficiency = w / (w + stall);
                let mut latencies = Latencies::default();
                (0..500).for_each(|_| latencies.record(9_000 + random.below(60_000) as u64));
                let latency = planned.latency.then(|| latencies.summary()).flatten();
                let flags = match planned.repeat == 1 && planned.point.shards == 2 {
                    true => vec![Flag::HostOversubscribed { cpu_share: 0.81 }],
                    false => Vec::new(),
                };
                Run {
                    planned,
                    started: 1_772_323_200_000_000,
                    genesis: "9c41".into(),
                    accounting: Accounting {
                        throughput: f64::from(s) * pace * efficiency,
                        efficiency_timed: efficiency,
                        efficiency_counted: efficiency * (1.0 + 0.01 * (random.unit() - 0.5)),
                        window_seconds: w,
                        stall_seconds: stall,
                        stall_seconds_p99: stall * 1.8,
                        windows: 30,
                        elapsed: 30.0 * (w + stall),
                        failed_per_second: 0.0,
                    },
                    phases: Phases {
                        wait: stall * 0.1,
                        collect: stall * 0.45,
                        order: stall * 0.2,
                        distribute: stall * 0.25,
                        resume: 0.004,
                    },
                    counted: Counted::default(),
                    cross: latency.clone().filter(|_| s > 1),
                    local: latency,
                    generator: Generator {
                        planned: 1000,
                        accepted: 700,
                        ..Generator::default()
                    },
                    cpu: Cpu {
                        host_share: 0.3,
                        us_per_tx_per_validator: 412.0,
                        ..Cpu::default()
                    },
                    audit: Audit {
                        passed: vec!["no fork".into()],
                        ..Audit::default()
                    },
                    flags,
                }
            })
            .collect();
        let failures = vec![FailedRun {
            planned: scenario.runs()[0],
            cause: "no quorum: <node 3> stopped".into(),
        }];
        Sweep::new(Manifest::start(&text), scenario, runs, failures)
    }

    #[test]
    fn figures_keep_three_digits() {
        for (value, text) in [
            (0.001234, "0.00123"),
            (1.5, "1.50"),
            (98.76, "98.8"),
            (1234.5, "1234"),
            (-12_345.0, "-12\u{202f}345"),
            (0.0, "0"),
            (f64::INFINITY, "unbounded"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn the_report_is_one_file_and_escapes_what_it_quotes() {
        let html = sweep("quick").html().unwrap();
        for outside in ["src=\"http", "href=\"http", "url(http", "<link", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("&lt;node 3&gt;"), "quoted text is escaped");
        assert!(html.contains("processors 81 % busy"));
        assert!(html.matches("<svg").count() >= 4);
        assert!(html.len() < 1 << 20, "{} bytes", html.len());
    }

    #[test]
    fn invalid_runs_are_in_the_files_and_out_of_the_means() {
        let sweep = sweep("quick");
        assert_eq!(sweep.points_csv().lines().count(), 1 + sweep.runs.len());
        assert!(sweep.points_csv().contains("host_oversubscribed"));
        let cell = sweep
            .cells
            .iter()
            .find(|cell| cell.point.shards == 2)
            .unwrap();
        assert_eq!((cell.runs, cell.valid_runs), (3, 2));
        assert_eq!(sweep.analysis.runs, 15);
        let columns: std::collections::BTreeSet<_> = sweep
            .points_csv()
            .lines()
            .map(|line| line.split(',').count())
            .collect();
        assert_eq!(columns.len(), 1, "every row has every column");
    }

    #[test]
    fn a_sweep_without_a_valid_run_still_has_a_report() {
        let mut all = sweep("quick");
        all.runs
            .iter_mut()
            .for_each(|run| run.flags = vec![Flag::AuditFailed]);
        let sweep = Sweep::new(all.manifest, all.scenario, all.runs, all.failures);
        assert!(sweep.headline().starts_with("No run"));
        assert!(sweep.html().unwrap().contains("No run"));
        let empty = Sweep::new(sweep.manifest, sweep.scenario, Vec::new(), Vec::new());
        assert!(empty.html().is_ok());
        assert!(!empty.table().is_empty());
    }

    /// Set LOCKSTEP_SHOW_REPORT to a directory to look at the reports of made-up sweeps.
    #[test]
    fn every_file_is_written() {
        let temporary = tempfile::tempdir().unwrap();
        let shown = std::env::var_os("LOCKSTEP_SHOW_REPORT");
        let base = shown.as_deref().map_or(temporary.path(), Path::new);
        for preset in ["quick", "standard"] {
            let directory = base.join(preset);
            sweep(preset).write(&directory).unwrap();
            for name in [
                "report.html",
                "points.csv",
                "samples.csv",
                "run.json",
                "throughput.svg",
            ] {
                assert!(
                    fs::metadata(directory.join(name)).unwrap().len() > 100,
                    "{name}"
                );
            }
            let json = fs::read_to_string(directory.join("run.json")).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["manifest"]["schema"], 1);
            let svg = fs::read_to_string(directory.join("stall.svg")).unwrap();
            assert!(!svg.contains("var("), "files have colours of their own");
        }
    }
}
