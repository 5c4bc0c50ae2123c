//! What a run did: lines for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use data::JobSummary;
use serde::Serialize;

use super::clock::Clock;
use super::plan::RowsPlan;
use super::tally::Tally;
use crate::args::ByteSize;
use crate::figures::{count, duration, percent, rows, three_digits};
use crate::job::summary::codes;

/// The facts of a run; `--summary-json` is this, as it stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    version: &'static str,
    command: &'static str,
    threads: usize,
    /// Whether all rows were written; false where the run was interrupted.
    complete: bool,
    /// Rows of the output that this run wrote.
    rows: u64,
    /// Rows that an earlier run had written.
    rows_before: u64,
    /// Rows of the whole output; absent where it is not complete.
    output_rows: Option<u64>,
    /// Rows of the whole output that carry an error.
    output_errors: u64,
    output: Option<PathBuf>,
    output_bytes: Option<u64>,
    errors_by_code: BTreeMap<&'static str, u64>,
    /// Rows that lost tokens for want of width.
    cut_rows: u64,
    /// Copies that were edited, and edits in them; of this run.
    edited_rows: u64,
    edits: u64,
    /// From the beginning to the last row in its place.
    seconds: f64,
    rows_per_second: f64,
    /// Seconds of threads by stage.
    stages: BTreeMap<&'static str, f64>,
    peak_resident_bytes: u64,
    #[serde(skip)]
    copies: u64,
}

impl Summary {
    pub(super) fn new(
        plan: &RowsPlan,
        tally: &Tally,
        before: u64,
        time: Duration,
        clock: &Clock,
    ) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: plan.command,
            threads: plan.threads,
            complete: false,
            rows: tally.rows,
            rows_before: before,
            output_rows: None,
            output_errors: tally.failed_rows,
            output: plan.path().map(Path::to_path_buf),
            output_bytes: None,
            errors_by_code: tally.errors.clone(),
            cut_rows: tally.cut,
            edited_rows: tally.counts.edited,
            edits: tally.counts.edits,
            seconds,
            rows_per_second: tally.rows as f64 / seconds.max(1e-9),
            stages: clock.stages().collect(),
            peak_resident_bytes: batchwright::MemoryStats::of_process().peak_resident_bytes,
            copies: tally.counts.copies,
        }
    }

    /// The same with the facts of the whole output.
    pub(super) fn finished(mut self, finished: &JobSummary) -> Self {
        self.complete = true;
        self.output_rows = Some(finished.rows);
        self.output_errors = finished.failed_rows;
        self.output_bytes = Some(finished.bytes);
        self
    }

    pub(super) fn save(&self, path: Option<&Path>) -> anyhow::Result<()> {
        let Some(path) = path else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text)
            .with_context(|| format!("{}: the summary cannot be written", path.display()))
    }

    /// A few aligned lines.
    pub(super) fn words(&self) -> String {
        let mut lines = vec![format!(
            "{}: {} in {}, {} rows/s on {} threads",
            self.command,
            rows(self.rows),
            duration(Duration::from_secs_f64(self.seconds)),
            three_digits(self.rows_per_second),
            self.threads,
        )];
        let mut line = |name: &str, words: String| lines.push(format!("  {name:<9} {words}"));
        if self.rows_before > 0 {
            line(
                "before",
                format!("{} by an earlier run", rows(self.rows_before)),
            );
        }
        if self.copies > 0 {
            line(
                "edits",
                format!(
                    "{} in {} ({} of the copies)",
                    count(self.edits),
                    rows(self.edited_rows),
                    percent(self.edited_rows as f64 / self.copies as f64),
                ),
            );
        }
        if self.cut_rows > 0 {
            line(
                "cut",
                format!(
                    "{} had more tokens than there was room for; --width gives more",
                    rows(self.cut_rows)
                ),
            );
        }
        if self.peak_resident_bytes > 0 {
            line(
                "memory",
                format!("{} at most", ByteSize(self.peak_resident_bytes)),
            );
        }
        if self.output_errors > 0 {
            let failed = self.output_errors;
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
