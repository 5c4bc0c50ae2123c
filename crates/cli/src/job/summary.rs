//! What a run did: lines for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use batchwright::{CacheStats, Isa, MemoryStats, Model, Precision, Progress};
use data::JobSummary;
use serde::Serialize;

use super::tally::Tally;
use crate::args::ByteSize;
use crate::figures::{count, duration, percent, rows, three_digits};

/// What was measured of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Finding, fetching and loading the model.
    pub(super) load: Duration,
    /// From the first row read to the last answer.
    pub(super) time: Duration,
    /// Rows that an earlier process had written.
    pub(super) done_before: u64,
    pub(super) isa: Isa,
    pub(super) progress: Progress,
}

/// The facts of a run; `--summary-json` is this, as it stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    version: &'static str,
    model: String,
    model_source: String,
    task: String,
    precision: Precision,
    isa: &'static str,
    threads: usize,
    batch_tokens: usize,
    /// Whether all rows were answered; false where the run was interrupted.
    complete: bool,
    /// Rows of this run.
    rows: u64,
    /// Rows that an earlier run had written.
    rows_before: u64,
    /// Rows of the whole output; absent where it is not complete.
    output_rows: Option<u64>,
    /// Rows of the whole output that carry an error, those of earlier runs included.
    output_errors: Option<u64>,
    output: Option<PathBuf>,
    output_bytes: Option<u64>,
    /// Rows of this run that carry an error.
    errors: u64,
    errors_by_code: BTreeMap<&'static str, u64>,
    truncated_rows: u64,
    /// Finding, fetching and loading the model.
    load_seconds: f64,
    /// From the first row read to the last answer.
    seconds: f64,
    rows_per_second: f64,
    tokens: u64,
    tokens_per_second: f64,
    batches: u64,
    /// Rows answered from the cache.
    cache_hits: u64,
    /// Rows answered by computing an equal row of their window.
    duplicates: u64,
    padding_avoided: f64,
    prepare_seconds: f64,
    compute_seconds: f64,
    cache: CacheStats,
    memory: MemoryStats,
}

impl Summary {
    pub(super) fn new(
        model: &Model,
        run: &Run,
        tally: &Tally,
        finished: Option<&JobSummary>,
    ) -> Self {
        let seconds = run.time.as_secs_f64();
        let per_second = |number: u64| {
            if seconds > 0.0 {
                number as f64 / seconds
            } else {
                0.0
            }
        };
        let progress = run.progress;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: model.name().to_owned(),
            model_source: model.source().to_owned(),
            task: model.task().to_string(),
            precision: model.precision(),
            isa: run.isa.name(),
            threads: model.threads(),
            batch_tokens: model.batch_tokens(),
            complete: finished.is_some(),
            rows: tally.rows(),
            rows_before: run.done_before,
            output_rows: finished.map(|finished| finished.rows),
            output_errors: finished.map(|finished| finished.failed_rows),
            output: finished.and_then(|finished| finished.path.clone()),
            output_bytes: finished.map(|finished| finished.bytes),
            errors: tally.errors(),
            errors_by_code: tally.errors_by_code().clone(),
            truncated_rows: tally.truncated(),
            load_seconds: run.load.as_secs_f64(),
            seconds,
            rows_per_second: per_second(tally.rows()),
            tokens: progress.tokens,
            tokens_per_second: per_second(progress.tokens),
            batches: progress.batches,
            cache_hits: progress.cache_hits,
            duplicates: progress.duplicates,
            padding_avoided: progress.padding_avoided,
            prepare_seconds: progress.prepare_seconds,
            compute_seconds: progress.compute_seconds,
            cache: model.cache_stats(),
            memory: model.memory_stats(),
        }
    }

    /// Whether the output has another number of rows than were read: never, or a promise is broken.
    pub(super) fn rows_out_of_step(&self) -> bool {
        self.output_rows
            .is_some_and(|written| written != self.rows + self.rows_before)
    }

    /// A few aligned lines.
    pub(super) fn words(&self) -> String {
        let mut lines = vec![format!(
            "{}: {} in {}, {} rows/s, {} tokens/s",
            self.task,
            rows(self.rows),
            duration(Duration::from_secs_f64(self.seconds)),
            three_digits(self.rows_per_second),
            three_digits(self.tokens_per_second),
        )];
        let mut line = |name: &str, words: String| lines.push(format!("  {name:<9} {words}"));
        line(
            "model",
            format!(
                "{} ({}), loaded in {}; {}, {} threads, {}, batches of {} tokens",
                self.model,
                self.model_source,
                duration(Duration::from_secs_f64(self.load_seconds)),
                self.precision,
                self.threads,
                self.isa,
                self.batch_tokens,
            ),
        );
        if self.rows_before > 0 {
            line(
                "before",
                format!("{} by an earlier run", rows(self.rows_before)),
            );
        }
        let saved = Duration::from_secs_f64(self.cache.compute_seconds_saved);
        line(
            "cache",
            match self.cache_hits + self.duplicates {
                0 => "no row came twice".to_owned(),
                again => format!(
                    "{} ({}) not computed again, {} of one thread saved",
                    rows(again),
                    percent(again as f64 / self.rows.max(1) as f64),
                    duration(saved),
                ),
            },
        );
        if self.cache.disk_failures > 0 {
            line(
                "disk",
                format!(
                    "the cache on disk failed {} times, and what it should have held was computed; a \
                     damaged file is set aside as *.damaged",
                    count(self.cache.disk_failures)
                ),
            );
        }
        line(
            "padding",
            format!("{} of the work avoided", percent(self.padding_avoided)),
        );
        if self.memory.peak_resident_bytes > 0 {
            line(
                "memory",
                format!("{} at most", ByteSize(self.memory.peak_resident_bytes)),
            );
        }
        if self.truncated_rows > 0 {
            let cut = rows(self.truncated_rows);
            line(
                "truncated",
                format!("{cut} had more tokens than the limit; --on-long error refuses them"),
            );
        }
        let failed = self.output_errors.unwrap_or(self.errors);
        if failed > 0 {
            line(
                "errors",
                format!("{}{}", rows(failed), codes(&self.errors_by_code, failed)),
            );
        }
        if let (Some(path), Some(bytes)) = (&self.output, self.output_bytes) {
            let all = self
                .output_rows
                .map_or_else(String::new, |all| format!("{}, ", rows(all)));
            line(
                "output",
                format!("{} ({all}{})", path.display(), ByteSize(bytes)),
            );
        }
        lines.join("\n")
    }
}

/// `: missing_value 2, too_long 1` for the rows of this run, and where to look for the others that failed.
pub(crate) fn codes(of_this_run: &BTreeMap<&'static str, u64>, failed: u64) -> String {
    let mut codes: Vec<String> = of_this_run
        .iter()
        .map(|(code, number)| format!("{code} {}", count(*number)))
        .collect();
    let others = failed.saturating_sub(of_this_run.values().sum());
    if others > 0 {
        // Of an earlier run, or found while writing: the output's own column tells.
        codes.push(format!("see the column `error` for {}", count(others)));
    }
    format!(": {}", codes.join(", "))
}
