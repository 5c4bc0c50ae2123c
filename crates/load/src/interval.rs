//! How sure a percentile and a mean are.

/// Ranks between which a quantile lies with 95 % confidence.
///
/// Counted from 1 among the `samples` in ascending order. `None` where there are too few samples for a
/// bound on that side: 100 samples say nothing about how far the 99.9th percentile reaches upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankInterval {
    /// Rank of the quantile itself.
    pub rank: u64,
    /// Rank of the lower bound.
    pub low: Option<u64>,
    /// Rank of the upper bound.
    pub high: Option<u64>,
}

/// Part of the probability that may lie beyond each bound.
const TAIL: f64 = 0.025;

/// The interval of `quantile` (between 0 and 1) among so many samples, whatever their distribution.
///
/// The number of samples below the true quantile is binomial, so the probability that it lies between
/// two ranks is a sum of that distribution (David and Nagaraja, *Order Statistics*, section 7.1). It
/// is exact for independent samples; latencies of one queue are not quite that, and the true interval is
/// wider.
///
/// # Panics
/// Never; without samples all ranks are 0 or `None`.
#[must_use]
pub fn rank_interval(samples: u64, quantile: f64) -> RankInterval {
    let n = samples as f64;
    let rank = ((n * quantile).ceil() as u64).clamp(samples.min(1), samples);
    if samples == 0 || !(quantile > 0.0 && quantile < 1.0) {
        return RankInterval {
            rank,
            low: None,
            high: None,
        };
    }
    // Both halves of the distribution from its mode outwards, in units of the mode's probability,
    // by the ratio of neighbours. No gamma function, and no term that underflows on the way.
    let odds = quantile / (1.0 - quantile);
    let mode = ((n + 1.0) * quantile).floor().min(n) as u64;
    let negligible = 1e-15;
    let mut upper = vec![1.0]; // of mode, mode + 1, …
    for k in mode..samples {
        let last = upper[upper.len() - 1];
        let next = last * (samples - k) as f64 / (k + 1) as f64 * odds;
        if next < negligible {
            break;
        }
        upper.push(next);
    }
    let mut lower = Vec::new(); // of mode - 1, mode - 2, …
    let mut last = 1.0;
    for k in (1..=mode).rev() {
        last *= k as f64 / (samples - k + 1) as f64 / odds;
        if last < negligible {
            break;
        }
        lower.push(last);
    }
    let total: f64 = upper.iter().sum::<f64>() + lower.iter().sum::<f64>();
    // Over all outcomes in ascending order, with what they sum to.
    let first = mode - lower.len() as u64;
    let outcomes: Vec<f64> = lower
        .iter()
        .rev()
        .chain(&upper)
        .map(|p| p / total)
        .collect();
    // The highest rank `l` with P(fewer than l below) at most the tail's.
    let mut below = 0.0;
    let mut low = first;
    for p in &outcomes {
        if below + p > TAIL {
            break;
        }
        below += p;
        low += 1;
    }
    // The lowest rank `h` with P(h or more below) at most the tail's.
    let mut above = 0.0;
    let mut high = first + outcomes.len() as u64;
    for p in outcomes.iter().rev() {
        if above + p > TAIL {
            break;
        }
        above += p;
        high -= 1;
    }
    RankInterval {
        rank,
        low: (low >= 1).then_some(low),
        high: (high <= samples).then_some(high),
    }
}

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct MeanInterval {
    /// The mean.
    pub mean: f64,
    /// Lower bound, where there are two values at least.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
}

/// Student's t for 95 % on both sides together, by degrees of freedom from 1 on.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The mean of values from windows of equal length, with Student's interval.
#[must_use]
pub fn mean_interval(values: &[f64]) -> MeanInterval {
    let n = values.len() as f64;
    if values.is_empty() {
        return MeanInterval::default();
    }
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return MeanInterval {
            mean,
            low: None,
            high: None,
        };
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = STUDENT.get(values.len() - 2).copied().unwrap_or(1.96);
    let half = t * (variance / n).sqrt();
    MeanInterval {
        mean,
        low: Some((mean - half).max(0.0)),
        high: Some(mean + half),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Figures from tables: of nine values the 2nd and 8th bound the median with 96.1 %; of 100 the
    /// 40th and 61st; of five, nothing does.
    #[test]
    fn the_median_s_interval_is_that_of_the_tables() {
        for (samples, rank, low, high) in [
            (9, 5, Some(2), Some(8)),
            (100, 50, Some(40), Some(61)),
            (5, 3, None, None),
            (6, 3, Some(1), Some(6)),
            (0, 0, None, None),
            (1, 1, None, None),
        ] {
            let expected = RankInterval { rank, low, high };
            assert_eq!(rank_interval(samples, 0.5), expected, "{samples}");
        }
    }

    /// A p99.9 of 100 requests would be printed as if it were known.
    #[test]
    fn a_tail_without_samples_has_no_upper_bound() {
        assert_eq!(rank_interval(100, 0.999).high, None);
        assert_eq!(rank_interval(300, 0.99).high, None);
        assert!(rank_interval(1_000, 0.99).high.is_some());
    }

    proptest! {
        /// The interval must contain its quantile, and hold 95 % where chance decides: for many
        /// samples it is the normal approximation's to within a rank or two.
        #[test]
        fn the_interval_is_right_for_any_number(samples in 1_u64..2_000_000, quantile in 0.001_f64..0.999) {
            let found = rank_interval(samples, quantile);
            prop_assert!((1..=samples).contains(&found.rank));
            prop_assert!(found.low.is_none_or(|low| low >= 1 && low <= found.rank));
            prop_assert!(found.high.is_none_or(|high| high <= samples && high >= found.rank));
            let n = samples as f64;
            let deviation = (n * quantile * (1.0 - quantile)).sqrt();
            if deviation > 30.0 {
                let (low, high) = (found.low.unwrap() as f64, found.high.unwrap() as f64);
                prop_assert!((low - (n * quantile - 1.96 * deviation)).abs() < 3.0);
                prop_assert!((high - (n * quantile + 1.96 * deviation)).abs() < 3.0);
            }
        }

        /// Drawn again and again, the interval must hold the true median 95 times in 100, at least 90.
        #[test]
        fn the_interval_covers_the_truth(seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let found = rank_interval(60, 0.5);
            let (low, high) = (found.low.unwrap() as usize, found.high.unwrap() as usize);
            let covered = (0..400).filter(|_| {
                let mut values: Vec<f64> = (0..60).map(|_| random.f64()).collect();
                values.sort_by(f64::total_cmp);
                values[low - 1] <= 0.5 && 0.5 < values[high - 1]
            });
            prop_assert!(covered.count() >= 360);
        }
    }

    /// A user would trust a throughput that swings.
    #[test]
    fn the_mean_s_interval_follows_the_spread() {
        assert_eq!(mean_interval(&[]).mean, 0.0);
        assert_eq!(mean_interval(&[3.0]).low, None);
        let found = mean_interval(&[90.0, 100.0, 110.0]);
        let half = 4.303 * 10.0 / 3.0_f64.sqrt();
        assert!((found.mean - 100.0).abs() < 1e-9);
        assert!((found.low.unwrap() - (100.0 - half)).abs() < 1e-9);
        assert!((found.high.unwrap() - (100.0 + half)).abs() < 1e-9);
    }
}
