//! What a measurement came to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::histogram::Percentile;
use crate::interval::{MeanInterval, mean_interval};
use crate::run::Measured;
use crate::{Ended, Latencies, LatencySummary, Load, LoadSpec, Pacing, Protocol, Until, Window};

/// Quantiles that are reported.
const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// Version of the report's form: a program that reads it can tell.
const FORM: u32 = 1;

/// All figures of one measurement. Its JSON has the same fields.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadReport {
    /// Version of this form.
    pub form: u32,
    /// The server.
    pub url: String,
    /// How it was asked.
    pub protocol: Option<Protocol>,
    /// Where.
    pub path: String,
    /// `open` or `closed`.
    pub pacing: &'static str,
    /// Open loop: requests a second that were due.
    pub offered_per_second: Option<f64>,
    /// Connections: in open loop at most so many.
    pub connections: usize,
    /// Threads that sent.
    pub threads: usize,
    /// Texts in each request.
    pub rows_per_request: usize,
    /// Different requests, sent in turn.
    pub different_requests: usize,
    /// Of the arrivals.
    pub seed: u64,
    /// Time before the first window.
    pub warm_up_seconds: f64,
    /// Why it ended.
    pub ended: Ended,
    /// Whether windows in succession had to agree.
    pub stability_asked: bool,
    /// Time that the figures are of.
    pub seconds: f64,
    /// The window with which that time begins.
    pub first_window: usize,
    /// 2xx answers a second, with the 95 % interval over the windows.
    pub requests_per_second: MeanInterval,
    /// Texts a second in them.
    pub rows_per_second: f64,
    /// Requests sent.
    pub sent: u64,
    /// 2xx answers.
    pub answered: u64,
    /// Requests refused with 429 or 503.
    pub refused: u64,
    /// Requests with another status, or no answer.
    pub failed: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by cause.
    pub failures: BTreeMap<&'static str, u64>,
    /// Requests underway at the end that were never answered; among those timed out.
    pub unanswered: u64,
    /// Requests that were due and found no free connection until the end; among those timed out.
    pub unsent: u64,
    /// Latencies of the 2xx answers, and of what timed out.
    pub latency: LatencySummary,
    /// The same of short and of long texts, where a limit was set.
    pub latency_by_length: Option<ByLength>,
    /// Latencies of the refusals.
    pub refusal_latency: Option<LatencySummary>,
    /// Open loop: how much later than due requests were begun.
    pub lateness: Option<LatencySummary>,
    /// The distribution of the latencies, for drawing.
    pub distribution: Vec<Percentile>,
    /// Bytes sent, heads included.
    pub bytes_sent: u64,
    /// Bytes received, heads included.
    pub bytes_received: u64,
    /// What the generator itself took.
    pub generator: Generator,
    /// All windows, also those before the figures' time.
    pub windows: Vec<Window>,
}

/// The generator's own processor time, in the time of the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Generator {
    /// Seconds on a processor, of all threads; none where the system does not tell.
    pub processor_seconds: Option<f64>,
    /// How many cores that is.
    pub cores: Option<f64>,
    /// Microseconds for a request.
    pub us_per_request: Option<f64>,
    /// Time over which it stood still, stopped or without a processor: latencies then are not the
    /// server's. Added up over its threads.
    pub stood_still_seconds: f64,
}

/// Latencies apart by the longest text of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ByLength {
    /// Most characters of a short one.
    pub most_chars: usize,
    /// Of requests whose texts are all short.
    pub short: LatencySummary,
    /// Of the others.
    pub long: LatencySummary,
}

impl LoadReport {
    pub(crate) fn new(load: &Load, spec: &LoadSpec, measured: &Measured) -> Self {
        let total = &measured.total;
        let windows = &measured.windows;
        let kept = windows.get(measured.first..).unwrap_or_default();
        let rates: Vec<f64> = kept.iter().map(|window| window.per_second).collect();
        let requests_per_second = match rates.is_empty() {
            // Stopped within the first window.
            true => mean_interval(&[total.per_second()]),
            false => mean_interval(&rates),
        };
        let payloads = load.payloads();
        let summary = |latencies: &Latencies| latencies.summary(&QUANTILES);
        let some = |latencies: &Latencies| (latencies.count() > 0).then(|| summary(latencies));
        let open = match spec.pacing {
            Pacing::Open { per_second } => Some(per_second),
            Pacing::Closed => None,
        };
        let processor = total.processor.map(|time| time.as_secs_f64());
        let done = total.answers() + total.refused() + total.failures();
        let over = |whole: f64| processor.filter(|_| whole > 0.0).map(|time| time / whole);
        Self {
            form: FORM,
            url: load.target().to_string(),
            protocol: payloads.protocol,
            path: payloads.path.clone(),
            pacing: if open.is_some() { "open" } else { "closed" },
            offered_per_second: open,
            connections: spec.connections,
            threads: measured.threads,
            rows_per_request: payloads.rows,
            different_requests: payloads.len(),
            seed: spec.seed,
            warm_up_seconds: spec.warm_up.as_secs_f64(),
            ended: measured.ended,
            stability_asked: spec.until != Until::TheEnd,
            seconds: total.seconds,
            first_window: measured.first,
            requests_per_second,
            rows_per_second: requests_per_second.mean * payloads.rows as f64,
            sent: total.sent,
            answered: total.answers(),
            refused: total.refused(),
            failed: total.failures(),
            statuses: total.statuses.clone(),
            failures: total
                .failures
                .iter()
                .map(|(why, &count)| (why.name(), count))
                .collect(),
            unanswered: measured.unanswered,
            unsent: measured.unsent,
            latency: summary(&total.latencies),
            latency_by_length: spec.split_chars.zip(total.by_length.as_deref()).map(
                |(most_chars, [short, long])| ByLength {
                    most_chars,
                    short: summary(short),
                    long: summary(long),
                },
            ),
            refusal_latency: some(&total.refusals),
            lateness: open.and_then(|_| some(&total.lateness)),
            distribution: total
                .latencies
                .summary(&curve(total.latencies.count()))
                .percentiles,
            bytes_sent: total.bytes_sent,
            bytes_received: total.bytes_received,
            generator: Generator {
                processor_seconds: processor,
                cores: over(total.seconds),
                us_per_request: over(done as f64 / 1e6),
                stood_still_seconds: total.stood_still.as_secs_f64(),
            },
            windows: measured.windows.clone(),
        }
    }

    /// The 99th percentile of the latency.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.latency.percentile(99.0).map_or(0.0, |found| found.ms)
    }
}

/// Quantiles for a curve: closer and closer to 1, as far as there are samples to tell.
fn curve(samples: u64) -> Vec<f64> {
    let nines = (samples.max(10) as f64).log10();
    let steps = (nines * 12.0).floor() as u32;
    (0..=steps)
        .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 12.0))
        .filter(|quantile| *quantile > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chart would end before the tail, or show a tail that nobody measured.
    #[test]
    fn the_curve_goes_as_far_as_the_samples() {
        let quantiles = curve(10_000);
        assert!(quantiles.is_sorted());
        let last = quantiles[quantiles.len() - 1];
        assert!((last - 0.9999).abs() < 1e-9, "{last}");
        assert!(
            curve(0)
                .iter()
                .all(|quantile| (0.0..1.0).contains(quantile))
        );
    }
}
