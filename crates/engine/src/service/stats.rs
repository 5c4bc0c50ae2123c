//! What a service has done and what it is doing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use std::time::Duration;

use batch::Padding;

use super::histogram::{Histogram, HistogramStats, NUMBERS, SECONDS};
use super::{Refused, Timing};
use crate::answer::{Origin, Outcome};
use crate::cache::CacheStats;
use crate::error::codes;
use crate::execute::BatchTime;

/// What a service has done since it was started, and what it is doing now.
///
/// Counts are exact: every accepted request is, sooner or later, either answered or abandoned, and every
/// row of an answered one is in exactly one of `rows_computed`, `rows_shared`, `rows_cached` and
/// `failures`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ServiceStats {
    /// Requests accepted.
    pub accepted: u64,
    /// Requests all of whose rows have an answer or an error.
    pub answered: u64,
    /// Requests given up by whoever had asked, before they were answered.
    pub abandoned: u64,
    /// Requests refused, by cause: `closed`, or the limit's name.
    pub refused: Vec<(&'static str, u64)>,
    /// Rows computed.
    pub rows_computed: u64,
    /// Rows answered by computing an equal one, of the same request or of another in flight.
    pub rows_shared: u64,
    /// Rows answered from the cache.
    pub rows_cached: u64,
    /// Rows that carry an error, by its code.
    pub failures: Vec<(&'static str, u64)>,
    /// Batches computed.
    pub batches: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Tokens that would have been computed if each batch were padded to its longest row.
    pub padded_tokens: u64,
    /// The share of these that would have been padding, 0 to 1. Rows are packed: it is what was saved.
    pub padding_waste: f64,
    /// Time in the network, summed over the threads that worked, in seconds.
    pub busy_seconds: f64,
    /// Panics of the threads that compute; each cost its batch, or some of its rows.
    pub worker_panics: u64,
    /// Requests accepted whose answers are not taken yet.
    pub requests_in_flight: u64,
    /// Tokens of these that are or were to be computed.
    pub tokens_in_flight: u64,
    /// Bytes of these: texts, tokens and answers.
    pub bytes_in_flight: u64,
    /// Distinct rows that wait for a thread.
    pub queue_entries: u64,
    /// Their tokens.
    pub queue_tokens: u64,
    /// Bytes of their tokens.
    pub queue_bytes: u64,
    /// Threads that compute when there is something to compute.
    pub workers: u64,
    /// Those that have a batch now.
    pub workers_busy: u64,
    /// Seconds of tokenising and looking up, by request.
    pub prepare_seconds: HistogramStats,
    /// Seconds of waiting for a thread, by request; those that the cache answered are left out.
    pub queue_seconds: HistogramStats,
    /// Seconds in the network, by request; those that the cache answered are left out.
    pub compute_seconds: HistogramStats,
    /// Seconds from arrival to answer, by request.
    pub total_seconds: HistogramStats,
    /// Rows of each batch.
    pub batch_rows: HistogramStats,
    /// Tokens of each batch.
    pub batch_tokens: HistogramStats,
    /// Seconds of each batch, from its start to its end, without batches that ran between its layers.
    pub batch_seconds: HistogramStats,
    /// What the model's cache holds and has done, for whoever asked.
    pub cache: CacheStats,
}

/// Causes of refusal: `closed`, and every limit.
pub(super) const REFUSALS: &[&str] = &[
    "closed",
    "requests",
    "texts_per_request",
    "tokens",
    "bytes",
    "queue.entries",
    "queue.tokens",
    "queue.bytes",
    "wait_ms",
];

/// Codes of row errors that a service can give.
const FAILURES: &[&str] = &[
    codes::TOO_LONG,
    codes::TOKENIZE,
    codes::WRONG_INPUT,
    codes::NOT_FINITE,
    codes::INTERNAL,
    codes::DEADLINE,
    codes::EXPIRED,
];

#[derive(Debug)]
pub(super) struct Counters {
    accepted: AtomicU64,
    answered: AtomicU64,
    abandoned: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    rows_computed: AtomicU64,
    rows_shared: AtomicU64,
    rows_cached: AtomicU64,
    failures: [AtomicU64; FAILURES.len()],
    worker_panics: AtomicU64,
    tokens: AtomicU64,
    padded_tokens: AtomicU64,
    busy_ns: AtomicU64,
    prepare: Histogram,
    queue: Histogram,
    compute: Histogram,
    total: Histogram,
    batch_rows: Histogram,
    batch_tokens: Histogram,
    batch_seconds: Histogram,
}

/// How the rows of a request were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    computed: u64,
    shared: u64,
    cached: u64,
    failures: [u64; FAILURES.len()],
}

impl RowCounts {
    /// Counts the rows that one distinct row stands for.
    pub(super) fn outcome(&mut self, outcome: &Outcome, rows: u64) {
        match (&outcome.answer, outcome.origin) {
            (Err(error), _) => self.failed(error.code, rows),
            (Ok(_), Origin::Cache) => self.cached += rows,
            (Ok(_), Origin::Duplicate) => self.shared += rows,
            (Ok(_), Origin::Computed) => {
                self.computed += 1;
                self.shared += rows - 1;
            }
        }
    }

    pub(super) fn failed(&mut self, code: &str, rows: u64) {
        let known = FAILURES.iter().position(|&known| known == code);
        // Whatever else there may be is a bug here.
        let internal = || FAILURES.iter().position(|&known| known == codes::INTERNAL);
        if let Some(at) = known.or_else(internal) {
            self.failures[at] += rows;
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::default(),
            answered: AtomicU64::default(),
            abandoned: AtomicU64::default(),
            refused: Default::default(),
            rows_computed: AtomicU64::default(),
            rows_shared: AtomicU64::default(),
            rows_cached: AtomicU64::default(),
            failures: Default::default(),
            worker_panics: AtomicU64::default(),
            tokens: AtomicU64::default(),
            padded_tokens: AtomicU64::default(),
            busy_ns: AtomicU64::default(),
            prepare: Histogram::new(SECONDS),
            queue: Histogram::new(SECONDS),
            compute: Histogram::new(SECONDS),
            total: Histogram::new(SECONDS),
            batch_rows: Histogram::new(NUMBERS),
            batch_tokens: Histogram::new(NUMBERS),
            batch_seconds: Histogram::new(SECONDS),
        }
    }
}

impl Counters {
    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, why: &Refused) {
        let cause = match why {
            Refused::Closed => "closed",
            Refused::TooMany { limit, .. } | Refused::TooLarge { limit, .. } => limit,
        };
        if let Some(at) = REFUSALS.iter().position(|&known| known == cause) {
            self.refused[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn worker_panicked(&self) {
        self.worker_panics.fetch_add(1, Relaxed);
    }

    pub(super) fn abandoned(&self) {
        self.abandoned.fetch_add(1, Relaxed);
    }

    /// Counts a request that is answered.
    pub(super) fn answered(&self, timing: Timing, rows: RowCounts) {
        self.answered.fetch_add(1, Relaxed);
        self.rows_computed.fetch_add(rows.computed, Relaxed);
        self.rows_shared.fetch_add(rows.shared, Relaxed);
        self.rows_cached.fetch_add(rows.cached, Relaxed);
        for (counter, count) in self.failures.iter().zip(rows.failures) {
            counter.fetch_add(count, Relaxed);
        }
        self.prepare.add_time(timing.prepare);
        if timing.queue + timing.compute > Duration::ZERO {
            self.queue.add_time(timing.queue);
            self.compute.add_time(timing.compute);
        }
        self.total.add_time(timing.total);
    }

    /// Counts a batch that was computed.
    pub(super) fn batch(&self, rows: usize, padding: Padding, time: BatchTime) {
        self.tokens.fetch_add(padding.tokens, Relaxed);
        self.padded_tokens.fetch_add(padding.padded_tokens, Relaxed);
        self.busy_ns.fetch_add(time.busy.as_nanos() as u64, Relaxed);
        self.batch_rows.add(rows as f64);
        self.batch_tokens.add(padding.tokens as f64);
        self.batch_seconds.add_time(time.wall);
    }

    /// What was counted; the gauges are left at 0.
    pub(super) fn stats(&self) -> ServiceStats {
        let padding = Padding {
            tokens: self.tokens.load(Relaxed),
            padded_tokens: self.padded_tokens.load(Relaxed),
        };
        let named = |names: &[&'static str], counts: &[AtomicU64]| {
            let counts = counts.iter().map(|count| count.load(Relaxed));
            names.iter().copied().zip(counts).collect()
        };
        let batch_rows = self.batch_rows.stats();
        ServiceStats {
            accepted: self.accepted.load(Relaxed),
            answered: self.answered.load(Relaxed),
            abandoned: self.abandoned.load(Relaxed),
            refused: named(REFUSALS, &self.refused),
            rows_computed: self.rows_computed.load(Relaxed),
            rows_shared: self.rows_shared.load(Relaxed),
            rows_cached: self.rows_cached.load(Relaxed),
            failures: named(FAILURES, &self.failures),
            batches: batch_rows.count,
            tokens: padding.tokens,
            padded_tokens: padding.padded_tokens,
            padding_waste: padding.waste(),
            busy_seconds: self.busy_ns.load(Relaxed) as f64 / 1e9,
            worker_panics: self.worker_panics.load(Relaxed),
            prepare_seconds: self.prepare.stats(),
            queue_seconds: self.queue.stats(),
            compute_seconds: self.compute.stats(),
            total_seconds: self.total.stats(),
            batch_rows,
            batch_tokens: self.batch_tokens.stats(),
            batch_seconds: self.batch_seconds.stats(),
            ..ServiceStats::default()
        }
    }
}
