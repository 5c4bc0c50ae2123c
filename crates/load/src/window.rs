//! What is counted while requests go out, over windows of equal length.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Latencies;

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection could be opened.
    Connect,
    /// The connection was closed before the first byte of an answer: the server may never have seen the
    /// request.
    ClosedBefore,
    /// The connection was closed within the answer.
    ClosedWithin,
    /// No answer in time.
    Timeout,
    /// What came was no answer.
    Malformed,
}

impl Failure {
    /// As reports name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::ClosedBefore => "closed before the answer",
            Self::ClosedWithin => "closed within the answer",
            Self::Timeout => "timed out",
            Self::Malformed => "malformed",
        }
    }
}

/// Whether a status says that the server had too much to do: 429, or 503 as others answer.
fn is_refusal(status: u16) -> bool {
    status == 429 || status == 503
}

/// What one thread, or all of them, counted over some time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Time that was counted over.
    pub seconds: f64,
    /// Requests that were sent.
    pub sent: u64,
    /// Latencies of those answered with a 2xx status, and of those that timed out: leaving these out would
    /// make a stalled server look fast.
    pub latencies: Latencies,
    /// Latencies of the same by class: texts up to the limit of characters, and longer ones. Empty without
    /// a limit.
    pub by_length: Option<Box<[Latencies; 2]>>,
    /// Latencies of those refused with 429 or 503.
    pub refusals: Latencies,
    /// How much later than due requests were begun (open loop): on a server that keeps up, the
    /// generator's own lateness.
    pub lateness: Latencies,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer.
    pub failures: BTreeMap<Failure, u64>,
    /// Bytes of heads and bodies sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Time over which the generator itself stood still: what it then measured was not the server.
    pub stood_still: Duration,
    /// Processor time that the generator itself took, where the system tells.
    pub processor: Option<Duration>,
}

impl Tally {
    /// Adds what another thread counted over the same time.
    pub(crate) fn add_beside(&mut self, other: &Self) {
        let seconds = self.seconds.max(other.seconds);
        self.add_after(other);
        self.seconds = seconds;
    }

    /// Adds what was counted afterwards.
    pub(crate) fn add_after(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.sent += other.sent;
        self.latencies.add(&other.latencies);
        self.refusals.add(&other.refusals);
        self.lateness.add(&other.lateness);
        match (&mut self.by_length, &other.by_length) {
            (Some(ours), Some(theirs)) => {
                for (ours, theirs) in ours.iter_mut().zip(theirs.iter()) {
                    ours.add(theirs);
                }
            }
            (ours @ None, Some(theirs)) => *ours = Some(theirs.clone()),
            (_, None) => {}
        }
        for (&status, &count) in &other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (&failure, &count) in &other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
        self.stood_still += other.stood_still;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.processor = match (self.processor, other.processor) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, status: u16, latency: Duration, class: usize) {
        *self.statuses.entry(status).or_default() += 1;
        match status {
            200..300 => self.count_latency(latency, class),
            status if is_refusal(status) => self.refusals.record(latency),
            _ => {}
        }
    }

    /// None will come.
    pub(crate) fn failed(&mut self, failure: Failure, waited: Duration, class: usize) {
        *self.failures.entry(failure).or_default() += 1;
        if failure == Failure::Timeout {
            self.count_latency(waited, class);
        }
    }

    fn count_latency(&mut self, latency: Duration, class: usize) {
        self.latencies.record(latency);
        if let Some(kept) = self.by_length.as_mut().and_then(|by| by.get_mut(class)) {
            kept.record(latency);
        }
    }

    /// Requests with a 2xx answer.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// Requests refused with 429 or 503.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let refused = self
            .statuses
            .iter()
            .filter(|(status, _)| is_refusal(**status));
        refused.map(|(_, count)| count).sum()
    }

    /// Requests with another status, or no answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let statuses: u64 = self.statuses.values().sum();
        statuses - self.answers() - self.refused() + self.failures.values().sum::<u64>()
    }

    /// 2xx answers a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.answers() as f64 / self.seconds
        } else {
            0.0
        }
    }
}

/// What a window came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// When it began, after the warm-up.
    pub start_seconds: f64,
    /// Its length.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// 2xx answers.
    pub answered: u64,
    /// Requests refused with 429 or 503.
    pub refused: u64,
    /// Requests with another status, or no answer.
    pub failed: u64,
    /// 2xx answers a second.
    pub per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile of the latency.
    pub p99_ms: f64,
}

impl Window {
    pub(crate) fn of(tally: &Tally, start_seconds: f64) -> Self {
        Self {
            start_seconds,
            seconds: tally.seconds,
            sent: tally.sent,
            answered: tally.answers(),
            refused: tally.refused(),
            failed: tally.failures(),
            per_second: tally.per_second(),
            p50_ms: tally.latencies.quantile_ms(0.5),
            p99_ms: tally.latencies.quantile_ms(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal would count as an answer, or a failure be forgotten: throughput that nobody got.
    #[test]
    fn every_request_is_counted_once() {
        let mut tally = Tally {
            seconds: 2.0,
            by_length: Some(Box::default()),
            ..Tally::default()
        };
        let second = Duration::from_secs(1);
        for status in [200, 201, 429, 503, 500, 404, 302] {
            tally.answered(status, second, 1);
        }
        for failure in [Failure::Connect, Failure::Timeout] {
            tally.failed(failure, second, 0);
        }
        assert_eq!(
            (tally.answers(), tally.refused(), tally.failures()),
            (2, 2, 5)
        );
        // The timeout counts among the latencies, the refusals apart.
        assert_eq!((tally.latencies.count(), tally.refusals.count()), (3, 2));
        let by_length = tally.by_length.clone().unwrap();
        assert_eq!((by_length[0].count(), by_length[1].count()), (1, 2));
        assert_eq!(tally.per_second(), 1.0);

        let mut both = Tally::default();
        both.add_beside(&tally);
        both.add_beside(&tally);
        assert_eq!(
            (both.seconds, both.answers(), both.per_second()),
            (2.0, 4, 2.0)
        );
        let mut longer = tally.clone();
        longer.add_after(&tally);
        assert_eq!(
            (longer.seconds, longer.failures(), longer.per_second()),
            (4.0, 10, 1.0)
        );
        assert_eq!(both.by_length.unwrap()[1].count(), 4);
    }
}
