//! When requests are due, whatever the server does.

use std::time::Duration;

/// A Poisson process: independent arrivals at a mean rate, as those of many users are.
///
/// The time between two is exponential, `-ln(u) / rate`. Splitting the rate over threads changes
/// nothing: the sum of independent Poisson processes is one.
///
/// ```
/// use batchwright_load::Arrivals;
///
/// let mut arrivals = Arrivals::new(1_000.0, 7);
/// let first = arrivals.due();
/// arrivals.advance();
/// assert!(arrivals.due() >= first);
/// ```
#[derive(Clone, Debug)]
pub struct Arrivals {
    per_second: f64,
    random: fastrand::Rng,
    /// In seconds and not in whole nanoseconds, whose rounding would add up to another rate.
    due: f64,
}

impl Arrivals {
    /// Arrivals at `per_second`, from time 0 on. The same seed gives the same times.
    #[must_use]
    pub fn new(per_second: f64, seed: u64) -> Self {
        let mut arrivals = Self {
            per_second,
            random: fastrand::Rng::with_seed(seed),
            due: 0.0,
        };
        arrivals.advance();
        arrivals
    }

    /// When the next request is due.
    #[must_use]
    pub fn due(&self) -> Duration {
        Duration::from_secs_f64(self.due)
    }

    /// Goes on to the request after it.
    pub fn advance(&mut self) {
        // From (0, 1]: the logarithm of 0 would be the end of all arrivals.
        let uniform = 1.0 - self.random.f64();
        self.due += -uniform.ln() / self.per_second;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(per_second: f64, seed: u64, count: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(per_second, seed);
        let mut next = || {
            let due = arrivals.due().as_secs_f64();
            arrivals.advance();
            due
        };
        (0..count).map(|_| next()).collect()
    }

    proptest! {
        /// The server would be offered another load than the report says. Six standard deviations.
        #[test]
        fn the_rate_is_what_was_asked_for(per_second in 0.1_f64..1e6, seed: u64) {
            let count = 4_000;
            let times = times(per_second, seed, count);
            prop_assert!(times.is_sorted());
            let expected = count as f64 / per_second;
            let off = (times[count - 1] - expected) / (expected / (count as f64).sqrt());
            prop_assert!(off.abs() < 6.0, "{off} standard deviations");
        }

        /// Even gaps, which no crowd of users makes, would hide queueing: the variance of counts in
        /// equal times must be their mean.
        #[test]
        fn arrivals_come_in_bunches_as_chance_has_it(seed: u64) {
            let mut counts = [0_u32; 400];
            for time in times(10.0, seed, 8_000) {
                if let Some(count) = counts.get_mut(time as usize) {
                    *count += 1;
                }
            }
            let mean = counts.iter().sum::<u32>() as f64 / 400.0;
            let variance = counts.iter().map(|&n| (f64::from(n) - mean).powi(2)).sum::<f64>() / 399.0;
            prop_assert!((0.6..1.6).contains(&(variance / mean)), "{variance} / {mean}");
        }
    }

    /// A run could not be repeated.
    #[test]
    fn a_seed_gives_the_same_arrivals() {
        assert_eq!(times(3.0, 1, 50), times(3.0, 1, 50));
        assert_ne!(times(3.0, 1, 50), times(3.0, 2, 50));
    }
}
