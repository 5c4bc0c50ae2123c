//! Latencies, counted in buckets of bounded relative error.

use std::time::Duration;

use serde::Serialize;

use crate::interval::rank_interval;

/// A longer latency counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// A bucket's width is at most a thousandth of its values.
const DIGITS: u8 = 3;

/// How long requests took. Each value is kept to within a thousandth (but never finer than 0.1 µs), in a
/// fixed number of buckets: memory does not grow with the number of requests.
#[derive(Clone, Debug)]
pub struct Latencies(hdrhistogram::Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants, and in order")]
        let histogram = hdrhistogram::Histogram::new_with_bounds(100, LONGEST_NS, DIGITS)
            .expect("100 ns to an hour with 3 digits can be kept");
        Self(histogram)
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS);
        self.0.saturating_record(ns.min(LONGEST_NS));
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, the only thing that could stand in the way.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok());
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `quantile` of all do not exceed, in milliseconds; 0 without any.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.summary(&[quantile]).percentiles[0].ms
    }

    /// Figures of all, with the percentiles of these quantiles in ascending order.
    #[must_use]
    pub fn summary(&self, quantiles: &[f64]) -> LatencySummary {
        let found: Vec<_> = quantiles
            .iter()
            .map(|&quantile| rank_interval(self.count(), quantile))
            .collect();
        let mut ranks: Vec<u64> = found
            .iter()
            .flat_map(|of| [Some(of.rank), of.low, of.high])
            .flatten()
            .collect();
        ranks.sort_unstable();
        ranks.dedup();
        let values = self.at_ranks(&ranks);
        let at = |rank: u64| {
            let place = ranks.binary_search(&rank);
            place.ok().and_then(|place| values.get(place)).copied()
        };
        LatencySummary {
            count: self.count(),
            mean_ms: ms(self.0.mean()),
            lowest_ms: ms(self.0.min() as f64),
            highest_ms: ms(self.0.max() as f64),
            percentiles: quantiles
                .iter()
                .zip(&found)
                .map(|(&quantile, of)| Percentile {
                    percentile: percentile(quantile),
                    ms: at(of.rank).unwrap_or(0.0),
                    low_ms: of.low.and_then(at),
                    high_ms: of.high.and_then(at),
                })
                .collect(),
        }
    }

    /// The values, in milliseconds, at these ranks, which ascend and count from 1.
    fn at_ranks(&self, ranks: &[u64]) -> Vec<f64> {
        let mut wanted = ranks.iter().peekable();
        let mut values = Vec::with_capacity(ranks.len());
        let mut seen = 0;
        for bucket in self.0.iter_recorded() {
            seen += bucket.count_since_last_iteration();
            // The middle of the bucket: half its width off at most.
            let value = self.0.median_equivalent(bucket.value_iterated_to());
            while wanted.next_if(|&&rank| rank <= seen).is_some() {
                values.push(ms(value as f64));
            }
        }
        values
    }
}

fn ms(ns: f64) -> f64 {
    ns / 1e6
}

/// 0.999 as 99.9, and not as 99.90000000000001.
fn percentile(quantile: f64) -> f64 {
    (quantile * 1e8).round() / 1e6
}

/// What latencies come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// The lowest.
    pub lowest_ms: f64,
    /// The highest.
    pub highest_ms: f64,
    /// Percentiles, ascending.
    pub percentiles: Vec<Percentile>,
}

impl LatencySummary {
    /// The percentile with this number, such as 99.0, if it was asked for.
    #[must_use]
    pub fn percentile(&self, number: f64) -> Option<&Percentile> {
        self.percentiles
            .iter()
            .find(|found| (found.percentile - number).abs() < 1e-9)
    }
}

/// One percentile and its 95 % interval from order statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentile {
    /// Which, such as 99.9.
    pub percentile: f64,
    /// The latency that so many of a hundred do not exceed.
    pub ms: f64,
    /// Lower bound; none where there are too few requests for one.
    pub low_ms: Option<f64>,
    /// Upper bound.
    pub high_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A percentile would not be a latency that occurred, to within a thousandth.
        #[test]
        fn percentiles_are_those_of_the_sorted_values(
            mut values in proptest::collection::vec(1_000_u64..50_000_000_000, 1..400),
            quantile in 0.01_f64..0.9999,
        ) {
            let mut kept = Latencies::default();
            for &ns in &values {
                kept.record(Duration::from_nanos(ns));
            }
            values.sort_unstable();
            let summary = kept.summary(&[quantile]);
            let found = summary.percentiles[0];
            let interval = rank_interval(values.len() as u64, quantile);
            let near = |ms: f64, rank: u64| {
                let exact = values[rank as usize - 1] as f64 / 1e6;
                (ms - exact).abs() <= exact * 1e-3 + 1e-4
            };
            prop_assert!(near(found.ms, interval.rank));
            prop_assert_eq!(found.low_ms.is_some(), interval.low.is_some());
            prop_assert!(found.low_ms.is_none_or(|ms| near(ms, interval.low.unwrap())));
            prop_assert!(found.high_ms.is_none_or(|ms| near(ms, interval.high.unwrap())));
            prop_assert!(near(summary.lowest_ms, 1) && near(summary.highest_ms, values.len() as u64));
        }

        /// What two threads measured would not be what one had.
        #[test]
        fn adding_is_as_if_one_had_counted_all(
            first in proptest::collection::vec(0_u64..9_000_000, 0..60),
            second in proptest::collection::vec(0_u64..9_000_000, 0..60),
        ) {
            let count = |values: &[u64]| {
                let mut kept = Latencies::default();
                values.iter().for_each(|&ns| kept.record(Duration::from_nanos(ns)));
                kept
            };
            let mut sum = count(&first);
            sum.add(&count(&second));
            let both = count(&[first, second].concat());
            prop_assert_eq!(sum.summary(&[0.5, 0.9]), both.summary(&[0.5, 0.9]));
        }
    }

    /// A report over nothing must not be a crash, and an absurd time no panic.
    #[test]
    fn the_extremes_are_kept() {
        let mut kept = Latencies::default();
        assert_eq!((kept.count(), kept.quantile_ms(0.99)), (0, 0.0));
        kept.record(Duration::MAX);
        kept.record(Duration::ZERO);
        let found = kept.summary(&[0.999]);
        assert_eq!(found.percentiles[0].percentile, 99.9);
        assert!((found.percentiles[0].ms / 3_600_000.0 - 1.0).abs() < 1e-3);
    }
}
