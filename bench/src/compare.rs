//! Two sweeps side by side: for each cell, how much the second differs from the first, and whether
//! that is more than their repeats scatter (Welch's interval for a difference of means).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::report::figure;
use crate::scenario::Point;
use crate::statistics::{deviation, mean, t_975};

/// Valid throughputs by cell.
type Cells = BTreeMap<Point, Vec<f64>>;

/// How one cell changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The cell.
    pub point: Point,
    /// Mean of the first sweep, transactions per second.
    pub before: f64,
    /// Mean of the second.
    pub after: f64,
    /// Relative change.
    pub change: f64,
    /// Half the width of its 95 % interval; absent with fewer than two repeats on a side.
    pub margin: Option<f64>,
}

impl Change {
    /// The interval does not hold 0.
    pub fn is_significant(&self) -> bool {
        self.margin.is_some_and(|margin| self.change.abs() > margin)
    }

    /// Slower by more than `threshold`, and not by chance.
    pub fn is_worse_than(&self, threshold: f64) -> bool {
        self.is_significant() && self.change < -threshold
    }
}

/// Compares the `points.csv` of two report directories.
///
/// # Errors
/// When one cannot be read, or they share no cell with a valid run.
pub fn compare(before: &Path, after: &Path) -> anyhow::Result<Vec<Change>> {
    let (before, after) = (read(before)?, read(after)?);
    let changes: Vec<Change> = before
        .iter()
        .filter_map(|(point, old)| Some(change(*point, old, after.get(point)?)))
        .collect();
    if changes.is_empty() {
        bail!("the two sweeps share no cell with a valid run");
    }
    Ok(changes)
}

fn change(point: Point, old: &[f64], new: &[f64]) -> Change {
    let (before, after) = (mean(old), mean(new));
    let margin = (old.len() > 1 && new.len() > 1).then(|| {
        let part = |values: &[f64]| deviation(values).powi(2) / values.len() as f64;
        let (a, b) = (part(old), part(new));
        let spare = |value: f64, values: &[f64]| value.powi(2) / (values.len() as f64 - 1.0);
        let below = spare(a, old) + spare(b, new);
        // Without any scatter every difference is one.
        let degrees = if below > 0.0 {
            (a + b).powi(2) / below
        } else {
            1e9
        };
        t_975(degrees.floor().max(1.0) as usize) * (a + b).sqrt() / before
    });
    Change {
        point,
        before,
        after,
        change: after / before - 1.0,
        margin,
    }
}

fn read(directory: &Path) -> anyhow::Result<Cells> {
    let path = directory.join("points.csv");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} is not a points.csv", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Cells> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("it is empty")?.split(',').collect();
    let column = |name: &str| {
        header
            .iter()
            .position(|n| *n == name)
            .with_context(|| format!("no column {name}"))
    };
    let (shards, interval) = (column("shards")?, column("interval_ms")?);
    let (valid, throughput) = (column("valid")?, column("throughput_tx_per_s")?);
    let mut cells = Cells::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |at: usize| fields.get(at).copied().context("a row is too short");
        if field(valid)? != "true" {
            continue;
        }
        let point = Point {
            shards: field(shards)?.parse()?,
            interval_ms: field(interval)?.parse()?,
        };
        cells
            .entry(point)
            .or_default()
            .push(field(throughput)?.parse()?);
    }
    Ok(cells)
}

/// The table for the terminal.
pub fn table(changes: &[Change], threshold: f64) -> String {
    let mut text = format!(
        "  {:>6}  {:>8}  {:>10}  {:>10}  {:>18}",
        "shards", "barrier", "before", "after", "change (95 %)"
    );
    for change in changes {
        let margin = change.margin.map_or("single runs".to_owned(), |m| {
            format!("± {:.1} %", 100.0 * m)
        });
        let verdict = match change {
            c if c.is_worse_than(threshold) => "  WORSE",
            c if c.is_significant() => "",
            _ => "  no difference shown",
        };
        let _ = write!(
            text,
            "\n  {:>6}  {:>8}  {:>10}  {:>10}  {:>18}{verdict}",
            change.point.shards,
            format!("{} ms", change.point.interval_ms),
            figure(change.before),
            figure(change.after),
            format!("{:+.1} % {margin}", 100.0 * change.change),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: Point = Point {
        shards: 2,
        interval_ms: 100,
    };

    #[test]
    fn only_what_exceeds_the_scatter_is_a_difference() {
        let slower = change(POINT, &[100.0, 101.0, 99.0], &[90.0, 91.0, 89.0]);
        assert!((slower.change + 0.1).abs() < 1e-9);
        assert!(slower.is_worse_than(0.05) && !slower.is_worse_than(0.15));
        let noisy = change(POINT, &[100.0, 120.0, 80.0], &[90.0, 110.0, 70.0]);
        assert!(!noisy.is_significant());
        let single = change(POINT, &[100.0], &[50.0]);
        assert!(!single.is_significant(), "one run shows nothing");
        assert!(change(POINT, &[100.0; 3], &[90.0; 3]).is_significant());
    }

    #[test]
    fn a_report_directory_compares_with_itself() {
        let directory = tempfile::tempdir().unwrap();
        crate::report::tests::sweep("quick")
            .write(directory.path())
            .unwrap();
        let changes = compare(directory.path(), directory.path()).unwrap();
        assert_eq!(changes.len(), 6);
        assert!(
            changes
                .iter()
                .all(|c| c.change == 0.0 && !c.is_significant())
        );
        assert!(table(&changes, 0.05).contains("no difference shown"));
        assert!(compare(directory.path(), Path::new("/nowhere")).is_err());
    }

    #[test]
    fn invalid_runs_do_not_count() {
        let csv = "shards,interval_ms,valid,throughput_tx_per_s\n1,100,true,9\n1,100,false,1\n";
        assert_eq!(parse(csv).unwrap().into_values().next().unwrap(), [9.0]);
        assert!(parse("a,b\n").is_err());
    }
}
