//! Latencies of one kind, and their percentiles.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies are recorded from 1 µs to 10 minutes with three significant digits.
const MAX_LATENCY_US: u64 = 600_000_000;

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

#[cfg(test)]
mod tests {
    use super::*;

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
