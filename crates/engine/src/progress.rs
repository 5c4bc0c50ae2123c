//! Counting what a run does, readable from other threads while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use batch::Padding;

use crate::execute::BatchTime;

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Progress {
    /// Rows answered, errors included.
    pub rows: u64,
    /// Rows that carry an error.
    pub errors: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Batches planned.
    pub batches: u64,
    /// Rows answered from the cache.
    pub cache_hits: u64,
    /// Rows answered by computing an equal row of their window.
    pub duplicates: u64,
    /// Share of the computation that padding each batch to its longest row would waste, 0 to 1.
    /// Rows are packed, so this is what was saved, not what was spent.
    pub padding_avoided: f64,
    /// Time spent preparing (tokenising, looking up, cutting into batches), summed over threads, in
    /// seconds.
    pub prepare_seconds: f64,
    /// Time spent in the network, summed over the threads that worked, in seconds.
    pub compute_seconds: f64,
    /// Time from the start of each batch to its end, summed over batches, in seconds: less than
    /// `compute_seconds` where threads shared a batch.
    pub batch_seconds: f64,
}

/// Tells from any thread what a run has done so far; made by
/// [`Windows::progress_handle`](crate::Windows::progress_handle).
#[derive(Clone, Debug)]
pub struct ProgressHandle(pub(crate) Arc<Counters>);

impl ProgressHandle {
    /// What the run has done so far.
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    rows: AtomicU64,
    errors: AtomicU64,
    tokens: AtomicU64,
    batches: AtomicU64,
    hits: AtomicU64,
    duplicates: AtomicU64,
    planned_tokens: AtomicU64,
    padded_tokens: AtomicU64,
    prepare_ns: AtomicU64,
    compute_ns: AtomicU64,
    batch_ns: AtomicU64,
}

impl Counters {
    /// Rows that one computed row answers: itself and those equal to it.
    pub(crate) fn answered(&self, rows: u32) {
        self.rows.fetch_add(rows.into(), Relaxed);
        self.duplicates.fetch_add((rows - 1).into(), Relaxed);
    }

    /// Rows that could not be prepared.
    pub(crate) fn refused(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Relaxed);
    }

    /// Rows that were handed out with an error, whatever its cause.
    pub(crate) fn errors(&self, rows: usize) {
        self.errors.fetch_add(rows as u64, Relaxed);
    }

    pub(crate) fn planned(&self, padding: Padding, batches: usize) {
        self.planned_tokens.fetch_add(padding.tokens, Relaxed);
        self.padded_tokens.fetch_add(padding.padded_tokens, Relaxed);
        self.batches.fetch_add(batches as u64, Relaxed);
    }

    /// Rows that the cache answered.
    pub(crate) fn hits(&self, rows: u32) {
        self.rows.fetch_add(rows.into(), Relaxed);
        self.hits.fetch_add(rows.into(), Relaxed);
    }

    pub(crate) fn computed(&self, tokens: usize, time: BatchTime) {
        let add = |to: &AtomicU64, time: Duration| to.fetch_add(time.as_nanos() as u64, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
        add(&self.compute_ns, time.busy);
        add(&self.batch_ns, time.wall);
    }

    pub(crate) fn time_preparing<T>(&self, prepare: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let prepared = prepare();
        self.prepare_ns
            .fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
        prepared
    }

    pub(crate) fn progress(&self) -> Progress {
        let padding = Padding {
            tokens: self.planned_tokens.load(Relaxed),
            padded_tokens: self.padded_tokens.load(Relaxed),
        };
        Progress {
            rows: self.rows.load(Relaxed),
            errors: self.errors.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            batches: self.batches.load(Relaxed),
            cache_hits: self.hits.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            padding_avoided: padding.waste(),
            prepare_seconds: self.prepare_ns.load(Relaxed) as f64 / 1e9,
            compute_seconds: self.compute_ns.load(Relaxed) as f64 / 1e9,
            batch_seconds: self.batch_ns.load(Relaxed) as f64 / 1e9,
        }
    }
}
