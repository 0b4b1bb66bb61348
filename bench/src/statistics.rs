//! The few statistics the report needs: means with Student intervals, percentiles of samples.

/// 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom; beyond, the normal one is
/// close enough (2.04 at 30, 1.96 at infinity).
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The 97.5 % quantile of Student's t.
pub fn t_975(degrees: usize) -> f64 {
    match degrees {
        0 => f64::INFINITY,
        d => T_975.get(d - 1).copied().unwrap_or(1.96),
    }
}

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end; absent when there is none (a single repeat).
    pub low: Option<f64>,
    /// Upper end; absent when there is none, also for "no upper bound".
    pub high: Option<f64>,
}

/// The arithmetic mean; 0 for nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// The sample standard deviation; 0 for fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    let squares: f64 = values.iter().map(|v| (v - m).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Mean of independent repeats with Student's interval: mean ± t(n−1)·s/√n.
pub fn mean_interval(values: &[f64]) -> Interval {
    let value = mean(values);
    if values.len() < 2 {
        return Interval {
            value,
            low: None,
            high: None,
        };
    }
    let half = t_975(values.len() - 1) * deviation(values) / (values.len() as f64).sqrt();
    Interval {
        value,
        low: Some(value - half),
        high: Some(value + half),
    }
}

/// The `share` quantile of a sample by the nearest rank; `None` for nothing.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let interval = mean_interval(&[9.0, 10.0, 11.0]);
        assert_eq!(interval.value, 10.0);
        // s = 1, t(2) = 4.303, half width 4.303/√3 = 2.484
        assert!((interval.high.unwrap() - 12.484).abs() < 1e-3);
        assert_eq!(mean_interval(&[1.0]).low, None);
    }

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.99), Some(4.0));
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
