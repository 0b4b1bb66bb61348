//! What the fitted model says of a sweep, with intervals, rival shapes, and points held out.
//!
//! Breaks if: the points held out had a part in the fit that predicts them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Fit, Observation, Shape, distinct, fit};
use crate::random::Random;
use crate::statistics::{Interval, mean, quantile};

/// Resamples of the bootstrap. At 2,000 the ends of a 95 % interval rest on 50 values each.
const RESAMPLES: usize = 2_000;
/// What a grid needs for the slope b to be more than a guess.
const ENOUGH_SHARD_COUNTS: usize = 6;
const ENOUGH_DECADES: f64 = 1.5;
/// What a grid needs to tell the rate μ from the constant part a.
const ENOUGH_INTERVALS: usize = 5;
/// Repeats below which a bootstrap interval is known to be too narrow.
const ENOUGH_REPEATS: usize = 5;

/// The intervals of everything derived from one fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fitted {
    /// The fit itself.
    pub fit: Fit,
    /// Transactions per second of one working shard.
    pub mu: Interval,
    /// Constant part, seconds.
    pub a: Interval,
    /// Slope, seconds.
    pub b: Interval,
    /// What follows at each interval of the grid.
    pub at: Vec<Derived>,
}

/// What follows from the linear fit at one interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Derived {
    /// The interval.
    pub interval_ms: u64,
    /// Limit of throughput, transactions per second; absent when the slope is not above 0.
    pub ceiling: Option<Interval>,
    /// Shards at half of it.
    pub half_ceiling_shards: Option<Interval>,
    /// Amdahl's serial share.
    pub serial_share: Option<Interval>,
}

/// A run kept out of the fit and predicted by it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Its cell.
    pub shards: u16,
    /// Its cell.
    pub interval_ms: u64,
    /// Mean of the measured throughput.
    pub measured: f64,
    /// What the fit to the smaller grid gives.
    pub predicted: f64,
}

impl HeldOut {
    /// Relative error of the prediction.
    pub fn error(&self) -> f64 {
        self.predicted / self.measured - 1.0
    }
}

/// One row of the table of shapes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShapeRow {
    /// The shape.
    pub shape: Shape,
    /// Its fit.
    pub fit: Option<Fit>,
    /// Why there is none.
    pub reason: Option<String>,
    /// AICc above the best one's.
    pub aicc_above_best: Option<f64>,
    /// Largest relative error over the held-out cells.
    pub hold_out_error: Option<f64>,
}

/// Everything the report says about the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analysis {
    /// Runs that went in.
    pub runs: usize,
    /// The linear shape with intervals, the one ceilings come from.
    pub linear: Option<Fitted>,
    /// Why there is none.
    pub no_fit: Option<String>,
    /// All shapes.
    pub shapes: Vec<ShapeRow>,
    /// Cells predicted from the smaller half of the shard counts, by the linear shape.
    pub held_out: Vec<HeldOut>,
    /// What the grid supports and what it does not, in sentences.
    pub statements: Vec<String>,
}

/// Fits all shapes and says what can be trusted. Fixed `seed`, fixed result.
pub fn analyse(observations: &[Observation], seed: u64) -> Analysis {
    let linear = fit(observations, Shape::Linear);
    let mut shapes: Vec<ShapeRow> = Shape::ALL
        .into_iter()
        .map(|shape| {
            let fit = fit(observations, shape);
            let held_out = hold_out(observations, shape);
            ShapeRow {
                shape,
                fit: fit.ok(),
                reason: fit.err().map(|reason| reason.to_string()),
                aicc_above_best: None,
                hold_out_error: held_out
                    .iter()
                    .map(|cell| cell.error().abs())
                    .max_by(f64::total_cmp),
            }
        })
        .collect();
    let aicc = |row: &ShapeRow| row.fit.and_then(|fit| fit.aicc);
    if let Some(best) = shapes.iter().filter_map(aicc).min_by(f64::total_cmp) {
        for row in &mut shapes {
            row.aicc_above_best = aicc(row).map(|value| value - best);
        }
    }
    Analysis {
        runs: observations.len(),
        linear: linear
            .ok()
            .map(|fit| with_intervals(observations, fit, seed)),
        no_fit: linear.err().map(|reason| reason.to_string()),
        statements: statements(observations, &shapes, linear.ok()),
        shapes,
        held_out: hold_out(observations, Shape::Linear),
    }
}

type Cells = BTreeMap<(u16, u64), Vec<Observation>>;

fn cells(observations: &[Observation]) -> Cells {
    let mut cells = Cells::new();
    for o in observations {
        cells.entry((o.shards, o.interval_ms)).or_default().push(*o);
    }
    cells
}

/// Draws repeats anew within each cell. Deviations from the cell's mean are stretched by
/// √(n/(n−1)): a resample of n values has a variance smaller by (n−1)/n than the one estimated.
fn resample(cells: &Cells, random: &mut Random) -> Vec<Observation> {
    let mut drawn = Vec::new();
    for cell in cells.values() {
        let n = cell.len();
        let middle = mean(&cell.iter().map(|o| o.throughput).collect::<Vec<_>>());
        let stretch = if n > 1 {
            (n as f64 / (n as f64 - 1.0)).sqrt()
        } else {
            1.0
        };
        for _ in 0..n {
            let picked = cell[random.below(n)];
            let throughput = middle + stretch * (picked.throughput - middle);
            drawn.push(Observation {
                throughput: throughput.max(middle * 1e-3),
                ..picked
            });
        }
    }
    drawn
}

fn with_intervals(observations: &[Observation], best: Fit, seed: u64) -> Fitted {
    let cells = cells(observations);
    let repeated = cells.values().any(|cell| cell.len() > 1);
    let mut random = Random::new(seed);
    let resamples = if repeated { RESAMPLES } else { 0 };
    let fits: Vec<Fit> = (0..resamples)
        .filter_map(|_| fit(&resample(&cells, &mut random), best.shape).ok())
        .collect();
    let interval = |value: f64, of: &dyn Fn(&Fit) -> f64| {
        let drawn: Vec<f64> = fits.iter().map(of).collect();
        let finite = |end: f64| end.is_finite().then_some(end);
        Interval {
            value,
            low: quantile(&drawn, 0.025).and_then(finite),
            high: quantile(&drawn, 0.975).and_then(finite),
        }
    };
    // A resample without a positive slope has no ceiling: it counts as an infinite one, so that
    // the interval says so instead of leaving it out.
    let derived = |of: &dyn Fn(&Fit) -> Option<f64>| {
        of(&best).map(|value| interval(value, &|fit| of(fit).unwrap_or(f64::INFINITY)))
    };
    let mut windows: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for o in observations {
        windows
            .entry(o.interval_ms)
            .or_default()
            .push(o.window_seconds);
    }
    let at = windows
        .into_iter()
        .map(|(interval_ms, lengths)| {
            let w = mean(&lengths);
            Derived {
                interval_ms,
                ceiling: derived(&|fit| fit.ceiling(w)),
                half_ceiling_shards: derived(&|fit| fit.half_ceiling_shards(w)),
                serial_share: derived(&|fit| fit.serial_share(w)),
            }
        })
        .collect();
    Fitted {
        fit: best,
        mu: interval(best.mu, &|fit| fit.mu),
        a: interval(best.a, &|fit| fit.a),
        b: interval(best.b, &|fit| fit.b),
        at,
    }
}

/// Fits the cells with at most half the largest number of shards and predicts the others. Empty
/// when the smaller part cannot carry the fit.
fn hold_out(observations: &[Observation], shape: Shape) -> Vec<HeldOut> {
    let largest = observations.iter().map(|o| o.shards).max().unwrap_or(0);
    let (inside, outside): (Vec<_>, Vec<_>) =
        observations.iter().partition(|o| o.shards <= largest / 2);
    let Ok(fit) = fit(&inside, shape) else {
        return Vec::new();
    };
    cells(&outside)
        .into_iter()
        .map(|((shards, interval_ms), cell)| {
            let of = |f: fn(&Observation) -> f64| mean(&cell.iter().map(f).collect::<Vec<_>>());
            HeldOut {
                shards,
                interval_ms,
                measured: of(|o| o.throughput),
                predicted: fit.throughput(shards, of(|o| o.window_seconds)),
            }
        })
        .collect()
}

fn statements(
    observations: &[Observation],
    shapes: &[ShapeRow],
    linear: Option<Fit>,
) -> Vec<String> {
    if observations.is_empty() {
        return vec!["No run is valid, so there is nothing to fit.".to_owned()];
    }
    let mut say = Vec::new();
    let shard_counts = distinct(observations, |o| u64::from(o.shards));
    let intervals = distinct(observations, |o| o.interval_ms);
    let smallest = observations.iter().map(|o| o.shards).min().unwrap_or(1);
    let largest = observations.iter().map(|o| o.shards).max().unwrap_or(1);
    let decades = (f64::from(largest) / f64::from(smallest)).log10();
    if shard_counts < ENOUGH_SHARD_COUNTS || decades < ENOUGH_DECADES {
        say.push(format!(
            "The grid has {shard_counts} shard counts over {decades:.1} decades; a slope b, and \
             with it a ceiling, needs {ENOUGH_SHARD_COUNTS} over {ENOUGH_DECADES}. A ceiling \
             given here is the model's arithmetic and no finding."
        ));
    }
    if intervals < ENOUGH_INTERVALS {
        say.push(format!(
            "{intervals} intervals tell the rate μ from the constant part a only roughly; \
             {ENOUGH_INTERVALS}, from about B/2 to 20·B, are needed."
        ));
    }
    if shard_counts == 2 {
        say.push(
            "With two shard counts every growing shape passes through the same points: the grid \
             cannot choose between them."
                .to_owned(),
        );
    }
    let repeats = cells(observations)
        .values()
        .map(Vec::len)
        .min()
        .unwrap_or(0);
    if repeats < ENOUGH_REPEATS {
        say.push(format!(
            "The least repeated cell has {repeats} valid runs: bootstrap intervals from so few \
             are too narrow. Use ten repeats for anything published."
        ));
    }
    if let Some(fit) = linear {
        if fit.b <= 0.0 {
            say.push(
                "The fitted slope is not above 0: within this grid the barrier does not grow \
                 with the number of shards, and the model gives no ceiling."
                    .to_owned(),
            );
        }
        let ceiling_shards = fit.half_ceiling_shards(0.0).map_or(f64::INFINITY, f64::abs);
        if fit.b > 0.0 && ceiling_shards > 2.0 * f64::from(largest) {
            say.push(format!(
                "Half the ceiling lies far beyond the {largest} shards measured: it is an \
                 extrapolation."
            ));
        }
    }
    let held_out = |row: &&ShapeRow| row.shape == Shape::Linear && row.hold_out_error.is_some();
    if !shapes.iter().any(|row| held_out(&row)) {
        say.push(
            "No hold-out check of B = a + b·S: the runs with at most half the largest number of \
             shards cannot carry a fit of their own."
                .to_owned(),
        );
    }
    say
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NoFit;

    const MU: f64 = 1_000.0;
    const A: f64 = 0.060;
    const B: f64 = 0.002;

    fn normal(random: &mut Random) -> f64 {
        let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
        radius * (core::f64::consts::TAU * random.unit()).cos()
    }

    fn runs(shards: &[u16], intervals: &[u64], repeats: u32, noise: f64) -> Vec<Observation> {
        let mut random = Random::new(42);
        let truth = Fit {
            shape: Shape::Linear,
            mu: MU,
            a: A,
            b: B,
            residual: 0.0,
            aicc: None,
        };
        let mut list = Vec::new();
        for &shards in shards {
            for &interval_ms in intervals {
                for _ in 0..repeats {
                    let window_seconds = interval_ms as f64 / 1e3;
                    let exact = truth.throughput(shards, window_seconds);
                    let throughput = exact * (1.0 + noise * normal(&mut random));
                    list.push(Observation {
                        shards,
                        interval_ms,
                        window_seconds,
                        throughput,
                    });
                }
            }
        }
        list
    }

    const WIDE: &[u16] = &[1, 2, 4, 8, 16, 32];
    const INTERVALS: &[u64] = &[100, 200, 500, 1000, 2000];

    fn holds(interval: Interval, truth: f64) -> bool {
        interval.low.unwrap() <= truth && truth <= interval.high.unwrap()
    }

    #[test]
    fn exact_data_gives_back_the_truth() {
        let fit = fit(&runs(&[1, 2], &[100, 500], 1, 0.0), Shape::Linear).unwrap();
        assert!((fit.mu - MU).abs() < 1e-6, "{fit:?}");
        assert!((fit.a - A).abs() < 1e-9);
        assert!((fit.b - B).abs() < 1e-9);
        assert!((fit.ceiling(1.0).unwrap() - MU / B).abs() < 1e-3);
        assert!((fit.half_ceiling_shards(1.0).unwrap() - 530.0).abs() < 1e-6);
    }

    /// The synthetic check: four per cent noise, five repeats, the full grid.
    #[test]
    fn a_wide_grid_finds_the_truth_within_its_intervals() {
        let analysis = analyse(&runs(WIDE, INTERVALS, 5, 0.04), 1);
        let fitted = analysis.linear.unwrap();
        assert!((fitted.fit.mu / MU - 1.0).abs() < 0.02, "{fitted:?}");
        assert!((fitted.fit.a / A - 1.0).abs() < 0.10, "{fitted:?}");
        assert!((fitted.fit.b / B - 1.0).abs() < 0.10, "{fitted:?}");
        assert!(
            holds(fitted.mu, MU) && holds(fitted.a, A) && holds(fitted.b, B),
            "{fitted:?}"
        );
        let at = fitted.at.iter().find(|at| at.interval_ms == 1000).unwrap();
        assert!(holds(at.ceiling.unwrap(), MU / B), "{at:?}");
        assert!(fitted.fit.residual < 0.05);
        let worst = analysis
            .held_out
            .iter()
            .map(|c| c.error().abs())
            .fold(0.0, f64::max);
        assert!(worst < 0.10, "{:?}", analysis.held_out);
        assert!(!analysis.statements.iter().any(|s| s.contains("no finding")));
    }

    #[test]
    fn the_right_shape_wins_on_a_wide_grid() {
        let analysis = analyse(&runs(WIDE, INTERVALS, 5, 0.04), 1);
        for row in &analysis.shapes {
            let above = row.aicc_above_best.unwrap();
            assert_eq!(above == 0.0, row.shape == Shape::Linear, "{row:?}");
        }
    }

    #[test]
    fn a_narrow_grid_is_wider_and_says_what_it_cannot_carry() {
        let wide = analyse(&runs(WIDE, INTERVALS, 5, 0.04), 1).linear.unwrap();
        let narrow = analyse(&runs(&[1, 2], &[100, 250, 500], 3, 0.04), 1);
        let fitted = narrow.linear.unwrap();
        let width = |i: Interval| i.high.unwrap() - i.low.unwrap();
        assert!(width(fitted.b) > 5.0 * width(wide.b));
        let all = narrow.statements.join(" ");
        for part in [
            "no finding",
            "3 intervals",
            "same points",
            "too narrow",
            "No hold-out",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    #[test]
    fn one_interval_cannot_be_fitted_and_the_reason_is_given() {
        let observations = runs(WIDE, &[500], 3, 0.01);
        let Err(NoFit::NotSeparable(reason)) = fit(&observations, Shape::Linear) else {
            panic!("fitted")
        };
        assert!(reason.contains("one interval"));
        let Err(NoFit::NotSeparable(reason)) = fit(&runs(&[4], INTERVALS, 3, 0.01), Shape::Linear)
        else {
            panic!("fitted")
        };
        assert!(reason.contains("one number of shards"));
        assert_eq!(
            fit(&[], Shape::Linear),
            Err(NoFit::TooFew {
                got: 0,
                unknowns: 3
            })
        );
        assert!(analyse(&[], 1).no_fit.is_some());
    }

    #[test]
    fn a_seed_fixes_the_intervals() {
        let observations = runs(&[1, 2, 4], INTERVALS, 3, 0.04);
        assert_eq!(analyse(&observations, 9), analyse(&observations, 9));
        assert_ne!(analyse(&observations, 9), analyse(&observations, 10));
    }

    #[test]
    fn linear_in_time_is_amdahl_in_shards() {
        let fit = fit(&runs(WIDE, INTERVALS, 1, 0.0), Shape::Linear).unwrap();
        let (w, share) = (0.5, fit.serial_share(0.5).unwrap());
        let speed_up = fit.throughput(16, w) / fit.throughput(1, w);
        assert!((speed_up - 1.0 / (share + (1.0 - share) / 16.0)).abs() < 1e-9);
    }
}
