//! Counting how often a value was how large, from any number of threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts in buckets whose upper bounds grow by a fixed factor.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond the last.
    counts: Box<[AtomicU64]>,
    /// In millionths of the unit, so that a sum of seconds keeps microseconds.
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct HistogramStats {
    /// Upper bound of each bucket (included) and how many values fell into it, smallest first; the last
    /// bound is infinite. Counts are of each bucket alone, not cumulative.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there were: the sum of all buckets.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
}

/// Seconds: from 50 microseconds by factors of two to 26 s.
pub(crate) const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6,
    0.051_2, 0.102_4, 0.204_8, 0.409_6, 0.819_2, 1.638_4, 3.276_8, 6.553_6, 13.107_2, 26.214_4,
];

/// Numbers of things: from 1 by factors of two to 65,536.
pub(crate) const NUMBERS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 8_192.0,
    16_384.0, 32_768.0, 65_536.0,
];

const PARTS: f64 = 1e6;

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn add(&self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add((value * PARTS).round() as u64, Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.add(time.as_secs_f64());
    }

    pub(crate) fn stats(&self) -> HistogramStats {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        HistogramStats {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            sum: self.sum.load(Relaxed) as f64 / PARTS,
        }
    }
}

impl HistogramStats {
    /// Upper bound and number of values up to it, as Prometheus wants them.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        self.buckets.iter().scan(0, |sum, &(bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// The mean of the values; 0 where there are none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }

    /// About the value that a share of all values (0 to 1) does not exceed: within its bucket, values are
    /// taken to be spread evenly. 0 where there are none; the last finite bound for what is beyond it.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = share.clamp(0.0, 1.0) * self.count as f64;
        let (mut below, mut before) = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            let upto = before + count as f64;
            if count > 0 && upto >= rank {
                if bound.is_infinite() {
                    break;
                }
                return below + (bound - below) * ((rank - before) / count as f64).max(0.0);
            }
            before = upto;
            if bound.is_finite() {
                below = bound;
            }
        }
        if self.count == 0 { 0.0 } else { below }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in the wrong bucket is a wrong latency on somebody's dashboard.
    #[test]
    fn values_fall_into_their_buckets() {
        let histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        for value in [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 4.1, 100.0] {
            histogram.add(value);
        }
        let stats = histogram.stats();
        assert_eq!(
            stats.buckets,
            [(1.0, 2), (2.0, 2), (4.0, 2), (f64::INFINITY, 2)]
        );
        assert_eq!((stats.count, stats.sum), (8, 115.6));
        assert_eq!(stats.cumulative().last(), Some((f64::INFINITY, 8)));
        assert_eq!(stats.mean(), 115.6 / 8.0);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [SECONDS, NUMBERS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    /// A percentile that is off by a bucket sends people after the wrong problem.
    #[test]
    fn quantiles_lie_in_the_right_bucket() {
        let histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        assert_eq!(histogram.stats().quantile(0.5), 0.0);
        for _ in 0..90 {
            histogram.add(1.5);
        }
        for _ in 0..10 {
            histogram.add(3.0);
        }
        let stats = histogram.stats();
        assert_eq!(stats.quantile(0.45), 1.5);
        assert_eq!(stats.quantile(0.9), 2.0);
        assert_eq!(stats.quantile(0.95), 3.0);
        assert_eq!(stats.quantile(1.0), 4.0);
        histogram.add(1e9);
        assert_eq!(histogram.stats().quantile(1.0), 4.0);
    }

    /// Counts that miss or double under contention make every ratio on a dashboard wrong.
    #[test]
    fn counting_from_many_threads_is_exact() {
        let histogram = Histogram::new(NUMBERS);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5_000).for_each(|n| histogram.add(f64::from(n % 100))));
            }
        });
        let stats = histogram.stats();
        assert_eq!((stats.count, stats.sum), (20_000, 990_000.0));
    }
}
