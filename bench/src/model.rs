//! The model of the barrier, fitted to measured throughput.
//!
//! S shards that each commit μ transactions per second while they work, and stop for B(S) after
//! every W, commit T = S·μ·W / (W + B(S)). Divided out, with B(S) = a + b·f(S):
//!
//! ```text
//!   S/T = 1/μ + (a/μ)·(1/W) + (b/μ)·(f(S)/W)
//! ```
//!
//! which is linear in three unknowns. Weighted by (T/S)², so that the error is relative, it is
//! solved by one QR factorisation: no optimiser, no starting values. With f(S) = S the ceiling is
//! μ·W/b and half of it is reached at S½ = (W + a)/b.
//!
//! Breaks if: observations of several kinds (measured and simulated, paced and not) are mixed.

use serde::Serialize;

/// Two columns are taken for dependent when less than this of one is left after the others.
const DEPENDENT: f64 = 1e-8;

/// One run as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Observation {
    /// Number of shards.
    pub shards: u16,
    /// The interval in milliseconds, as a key; the model uses `window_seconds`.
    pub interval_ms: u64,
    /// Mean productive time of a window in seconds, as it was, which is the interval and a little.
    pub window_seconds: f64,
    /// Committed transactions per second, all shards together.
    pub throughput: f64,
}

/// How the barrier grows with the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// B = a.
    Constant,
    /// B = a + b·S: the beacon handles each shard in turn.
    Linear,
    /// B = a + b·log₂S: aggregation along a tree.
    Logarithmic,
    /// B = a + b·H_S: waiting for the slowest of S exponential delays.
    Harmonic,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 4] = [
        Shape::Constant,
        Shape::Linear,
        Shape::Logarithmic,
        Shape::Harmonic,
    ];

    /// f(S); `None` for the constant shape, which has no slope.
    pub fn growth(self, shards: u16) -> Option<f64> {
        let s = f64::from(shards);
        match self {
            Shape::Constant => None,
            Shape::Linear => Some(s),
            Shape::Logarithmic => Some(s.log2()),
            Shape::Harmonic => Some((1..=shards).map(|i| 1.0 / f64::from(i)).sum()),
        }
    }

    /// As a formula.
    pub fn formula(self) -> &'static str {
        match self {
            Shape::Constant => "B = a",
            Shape::Linear => "B = a + b·S",
            Shape::Logarithmic => "B = a + b·log₂S",
            Shape::Harmonic => "B = a + b·H(S)",
        }
    }
}

/// Fitted values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// The shape they belong to.
    pub shape: Shape,
    /// Transactions per second of one working shard.
    pub mu: f64,
    /// Constant part of the barrier, in seconds.
    pub a: f64,
    /// Part per unit of f(S), in seconds; 0 for the constant shape.
    pub b: f64,
    /// Root mean square of the relative residuals.
    pub residual: f64,
    /// Akaike's criterion with the small-sample correction; lower is better. Absent when there
    /// are too few observations for it.
    pub aicc: Option<f64>,
}

/// Why there is no fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFit {
    /// Too few observations.
    #[error("{got} runs cannot carry {unknowns} unknowns")]
    TooFew {
        /// Usable runs.
        got: usize,
        /// Unknowns of the shape.
        unknowns: usize,
    },
    /// The grid does not separate the unknowns.
    #[error("{0}")]
    NotSeparable(&'static str),
    /// The solution has a rate of zero or below.
    #[error("the best rate is not positive: the runs do not follow the model")]
    NoRate,
}

impl Fit {
    /// Barrier length in seconds that the fit gives for a number of shards.
    pub fn barrier(&self, shards: u16) -> f64 {
        self.a + self.b * self.shape.growth(shards).unwrap_or(0.0)
    }

    /// Throughput that the fit gives.
    pub fn throughput(&self, shards: u16, window_seconds: f64) -> f64 {
        let barrier = self.barrier(shards);
        f64::from(shards) * self.mu * window_seconds / (window_seconds + barrier)
    }

    /// The limit of throughput as shards are added: μ·W/b for the linear shape with b > 0. The
    /// other shapes have none.
    pub fn ceiling(&self, window_seconds: f64) -> Option<f64> {
        (self.shape == Shape::Linear && self.b > 0.0).then(|| self.mu * window_seconds / self.b)
    }

    /// The number of shards that reaches half the ceiling: (W + a)/b.
    pub fn half_ceiling_shards(&self, window_seconds: f64) -> Option<f64> {
        (self.shape == Shape::Linear && self.b > 0.0).then(|| (window_seconds + self.a) / self.b)
    }

    /// The serial share in Amdahl's sense: b/(W + a + b). T(S)/T(1) = 1/(σ + (1 − σ)/S) with it.
    pub fn serial_share(&self, window_seconds: f64) -> Option<f64> {
        (self.shape == Shape::Linear).then(|| self.b / (window_seconds + self.a + self.b))
    }
}

/// Fits one shape.
///
/// # Errors
/// When the runs cannot carry it.
pub fn fit(observations: &[Observation], shape: Shape) -> Result<Fit, NoFit> {
    let unknowns = if shape == Shape::Constant { 2 } else { 3 };
    let n = observations.len();
    if n < unknowns {
        return Err(NoFit::TooFew { got: n, unknowns });
    }
    // Each row is divided by its y = S/T, which is the weight (T/S)² of least squares; the right
    // side becomes 1.
    let rows: Vec<Vec<f64>> = observations
        .iter()
        .map(|o| {
            let weight = o.throughput / f64::from(o.shards);
            let mut row = vec![weight, weight / o.window_seconds];
            if let Some(growth) = shape.growth(o.shards) {
                row.push(weight * growth / o.window_seconds);
            }
            row
        })
        .collect();
    let solution = least_squares(rows, vec![1.0; n]).ok_or_else(|| not_separable(observations))?;
    let rate = solution.values[0];
    if rate <= 0.0 || !rate.is_finite() {
        return Err(NoFit::NoRate);
    }
    let parameters = unknowns as f64 + 1.0; // and the variance
    let spare = n as f64 - parameters - 1.0;
    let variance = (solution.residual_squares / n as f64).max(f64::MIN_POSITIVE);
    let correction = 2.0 * parameters * (parameters + 1.0) / spare;
    Ok(Fit {
        shape,
        mu: 1.0 / rate,
        a: solution.values[1] / rate,
        b: solution.values.get(2).map_or(0.0, |slope| slope / rate),
        residual: (solution.residual_squares / n as f64).sqrt(),
        aicc: (spare > 0.0).then(|| n as f64 * variance.ln() + 2.0 * parameters + correction),
    })
}

fn not_separable(observations: &[Observation]) -> NoFit {
    NoFit::NotSeparable(if distinct(observations, |o| o.interval_ms) < 2 {
        "with one interval the rate and the barrier cannot be told apart: sweep at least two"
    } else if distinct(observations, |o| u64::from(o.shards)) < 2 {
        "with one number of shards the barrier's growth is unknown: sweep at least two"
    } else {
        "the grid does not separate the unknowns"
    })
}

pub(crate) fn distinct(observations: &[Observation], key: impl Fn(&Observation) -> u64) -> usize {
    observations
        .iter()
        .map(key)
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

struct Solution {
    values: Vec<f64>,
    residual_squares: f64,
}

/// Least squares by Householder reflections. `None` when a column depends on the others.
fn least_squares(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Solution> {
    let (n, k) = (rows.len(), rows[0].len());
    assert!(n >= k, "more unknowns than rows");
    let norm = |rows: &[Vec<f64>], column: usize, from: usize| {
        rows[from..]
            .iter()
            .map(|row| row[column].powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let sizes: Vec<f64> = (0..k).map(|column| norm(&rows, column, 0)).collect();
    for column in 0..k {
        let length = norm(&rows, column, column);
        // Also refuses a column of zeros and anything that is not a number.
        if !(length > DEPENDENT * sizes[column] && length.is_finite()) {
            return None;
        }
        let alpha = if rows[column][column] > 0.0 {
            -length
        } else {
            length
        };
        let mut v: Vec<f64> = rows[column..].iter().map(|row| row[column]).collect();
        v[0] -= alpha;
        let v_squares: f64 = v.iter().map(|x| x * x).sum();
        for target in column..k {
            let dot: f64 = v
                .iter()
                .zip(&rows[column..])
                .map(|(x, row)| x * row[target])
                .sum();
            for (x, row) in v.iter().zip(&mut rows[column..]) {
                row[target] -= 2.0 * dot / v_squares * x;
            }
        }
        let dot: f64 = v.iter().zip(&right[column..]).map(|(x, y)| x * y).sum();
        for (x, y) in v.iter().zip(&mut right[column..]) {
            *y -= 2.0 * dot / v_squares * x;
        }
    }
    let mut values = vec![0.0; k];
    for row in (0..k).rev() {
        let known: f64 = (row + 1..k)
            .map(|column| rows[row][column] * values[column])
            .sum();
        values[row] = (right[row] - known) / rows[row][row];
    }
    let residual_squares = right[k..].iter().map(|y| y * y).sum();
    Some(Solution {
        values,
        residual_squares,
    })
}
