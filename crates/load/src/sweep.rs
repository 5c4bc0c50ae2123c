//! The search for the highest rate within a latency target.

use std::time::Duration;

use serde::Serialize;

use crate::{Ended, Load, LoadError, LoadReport, LoadSpec, Pacing, Window};

/// Which rate to try next: pure arithmetic, told what each trial showed.
///
/// From the first rate it goes up until the target is missed, or down until it is met, and then halves the
/// interval between (in ratio) until its ends are within `precision`.
///
/// ```
/// use batchwright_load::Search;
///
/// let mut search = Search::new(100.0);
/// while let Some(rate) = search.next() {
///     search.tell(rate, rate <= 730.0); // what a measurement would say
/// }
/// let best = search.best().unwrap_or(0.0);
/// assert!(best <= 730.0 && best > 690.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    first: f64,
    met: Option<f64>,
    missed: Option<f64>,
    precision: f64,
    trials_left: usize,
}

impl Search {
    /// How far the highest rate that met the target and the lowest that missed it are apart at the end.
    const PRECISION: f64 = 0.05;
    /// Trials at most: a server whose answers contradict one another must not be tried for ever.
    const TRIALS: usize = 16;

    /// A search that begins at this rate.
    #[must_use]
    pub fn new(first: f64) -> Self {
        Self {
            first,
            met: None,
            missed: None,
            precision: Self::PRECISION,
            trials_left: Self::TRIALS,
        }
    }

    /// The rate to try; none where all is known.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let rate = match (self.met, self.missed) {
            _ if self.trials_left == 0 => return None,
            (None, None) => self.first,
            (Some(met), None) => met * 1.3,
            (None, Some(missed)) => missed / 1.5,
            (Some(met), Some(missed)) if missed <= met * (1.0 + self.precision) => return None,
            (Some(met), Some(missed)) => (met * missed).sqrt(),
        };
        (rate.is_finite() && rate > 0.0).then_some(rate)
    }

    /// Whether the target was met at this rate. A lower rate that misses it after a higher one met it is
    /// believed: the higher one was luck.
    pub fn tell(&mut self, rate: f64, met: bool) {
        self.trials_left = self.trials_left.saturating_sub(1);
        if met {
            self.met = Some(rate);
        } else {
            self.missed = Some(rate);
            self.met = self.met.filter(|&met| met < rate);
        }
    }

    /// The highest rate that met the target.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        self.met
    }
}

/// What a sweep looks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepTarget {
    /// The 99th percentile must not exceed this.
    pub p99: Duration,
    /// The first rate; by default most of what the connections get in closed loop.
    pub first_per_second: Option<f64>,
}

/// Part of the closed loop's throughput with which a sweep begins: queues form before a server is full.
const BEGIN: f64 = 0.7;
/// Refused and failed requests must be at most this part of all.
const MOST_FAILED: f64 = 0.001;

/// What a sweep found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SweepReport {
    /// The latency that was not to be exceeded.
    pub target_p99_ms: f64,
    /// What the connections got in closed loop, where that was asked first.
    pub closed_loop: Option<Box<LoadReport>>,
    /// What was tried, in its order.
    pub trials: Vec<Trial>,
    /// The measurement at the highest rate that met the target.
    pub best: Option<Box<LoadReport>>,
    /// Whether it was stopped before it had found it.
    pub interrupted: bool,
}

/// One rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Requests a second that were due.
    pub offered_per_second: f64,
    /// Requests a second that were answered.
    pub per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Part of the requests that were refused or failed.
    pub failed: f64,
    /// Whether the target was met.
    pub met: bool,
}

impl Trial {
    fn of(report: &LoadReport, target: Duration) -> Self {
        let done = report.answered + report.refused + report.failed;
        let failed = match done {
            0 => 1.0,
            done => (report.refused + report.failed) as f64 / done as f64,
        };
        let p99_ms = report.p99_ms();
        Self {
            offered_per_second: report.offered_per_second.unwrap_or(0.0),
            per_second: report.requests_per_second.mean,
            p50_ms: report
                .latency
                .percentile(50.0)
                .map_or(0.0, |found| found.ms),
            p99_ms,
            failed,
            met: report.ended != Ended::Hopeless
                && failed <= MOST_FAILED
                && p99_ms <= 1e3 * target.as_secs_f64(),
        }
    }
}

impl Load {
    /// Looks for the highest rate at which the target is met. `spec` says how each trial is measured; its
    /// pacing is the sweep's.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn sweep(
        &self,
        spec: &LoadSpec,
        target: SweepTarget,
        mut watch: impl FnMut(Watched<'_>),
        interrupted: impl Fn() -> bool,
    ) -> Result<SweepReport, LoadError> {
        let mut found = SweepReport {
            target_p99_ms: 1e3 * target.p99.as_secs_f64(),
            ..SweepReport::default()
        };
        let first = match target.first_per_second {
            Some(first) => first,
            None => {
                let spec = LoadSpec {
                    pacing: Pacing::Closed,
                    give_up_p99: None,
                    ..spec.clone()
                };
                let report =
                    self.run(&spec, |window| watch(Watched::Window(window)), &interrupted)?;
                let first = BEGIN * report.requests_per_second.mean;
                found.interrupted = report.ended == Ended::Interrupted;
                watch(Watched::ClosedLoop(&report));
                found.closed_loop = Some(Box::new(report));
                first
            }
        };
        let mut search = Search::new(first);
        let mut repeated = None;
        while let Some(per_second) = search.next().filter(|_| !found.interrupted) {
            let spec = LoadSpec {
                pacing: Pacing::Open { per_second },
                give_up_p99: Some(target.p99),
                ..spec.clone()
            };
            let report = self.run(&spec, |window| watch(Watched::Window(window)), &interrupted)?;
            if report.ended == Ended::Interrupted {
                found.interrupted = true;
                break;
            }
            let trial = Trial::of(&report, target.p99);
            watch(Watched::Trial(&trial));
            found.trials.push(trial);
            // One hiccup of the machine would be a bound for all that follows. What misses the target all
            // the time misses it; anything else may try again, once.
            let chance = !trial.met && report.ended != Ended::Hopeless;
            if chance && repeated.replace(per_second) != Some(per_second) {
                continue;
            }
            search.tell(per_second, trial.met);
            if trial.met {
                found.best = Some(Box::new(report));
            } else if search.best().is_none() {
                found.best = None;
            }
        }
        Ok(found)
    }
}

/// What can be shown while a sweep goes on.
#[derive(Clone, Copy, Debug)]
pub enum Watched<'a> {
    /// A window has ended.
    Window(&'a Window),
    /// The closed loop before the first trial has.
    ClosedLoop(&'a LoadReport),
    /// A trial has.
    Trial(&'a Trial),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A rate would be called the highest that is not, or one that misses the target be recommended.
        #[test]
        fn the_highest_rate_is_found_from_anywhere(first in 1.0_f64..1e5, factor in 0.05_f64..20.0) {
            let truth = first * factor;
            let mut search = Search::new(first);
            let mut trials = 0;
            while let Some(rate) = search.next() {
                search.tell(rate, rate <= truth);
                trials += 1;
            }
            prop_assert!(trials <= Search::TRIALS);
            let best = search.best().unwrap();
            prop_assert!(best <= truth);
            prop_assert!(best * (1.0 + Search::PRECISION) * 1.0001 >= truth, "{best} of {truth}, {trials} trials");
        }

        /// A server that answers at random must not be tried for ever.
        #[test]
        fn any_answers_end_the_search(answers in proptest::collection::vec(any::<bool>(), Search::TRIALS)) {
            let mut search = Search::new(10.0);
            let mut told = answers.into_iter();
            while let Some(rate) = search.next() {
                prop_assert!(rate > 0.0);
                search.tell(rate, told.next().unwrap());
                let in_order = search.met.zip(search.missed).is_none_or(|(met, missed)| met < missed);
                prop_assert!(in_order, "{search:?}");
            }
        }
    }

    /// Nothing can be found where even a trickle is too much; the user must be told so.
    #[test]
    fn a_target_that_nothing_meets_has_no_best() {
        let mut search = Search::new(0.0);
        assert_eq!(search.next(), None);
        search = Search::new(100.0);
        while let Some(rate) = search.next() {
            search.tell(rate, false);
        }
        assert_eq!(search.best(), None);
    }
}
