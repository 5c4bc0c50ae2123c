//! What quantising cost, and what it kept.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use batchwright::{Agreement, Likeness, Model, Precision, Staged, Task};
use serde::Serialize;

use crate::args::ByteSize;
use crate::figures;

/// Every figure of a quantisation; `--summary-json` is this, as it stands.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    model: String,
    source: String,
    task: String,
    precision: Precision,
    bytes_before: u64,
    bytes_after: u64,
    weights_bytes_before: u64,
    weights_bytes_after: u64,
    /// Packing and writing.
    write_seconds: f64,
    /// Loading the quantised model.
    load_seconds: f64,
    pub(super) agreement: Agreement,
    #[serde(skip)]
    multi_label: bool,
}

impl Report {
    pub(super) fn new(
        exact: &Model,
        quantized: &Model,
        staged: &Staged,
        agreement: Agreement,
        [written, load]: [Duration; 2],
    ) -> anyhow::Result<Report> {
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            model: exact.name().to_owned(),
            source: exact.source().to_owned(),
            task: exact.task().to_string(),
            precision: quantized.precision(),
            bytes_before: super::bytes(exact.directory().path()),
            bytes_after: staged.bytes()?,
            weights_bytes_before: exact.memory_stats().weights_bytes,
            weights_bytes_after: quantized.memory_stats().weights_bytes,
            write_seconds: super::seconds(written),
            load_seconds: super::seconds(load),
            agreement,
            multi_label: exact.task() == Task::Classify && !super::excluding_labels(exact),
        })
    }

    /// How alike both answer, in one line.
    pub(super) fn accuracy(&self) -> String {
        let rows = figures::rows(self.agreement.rows as u64);
        match &self.agreement.likeness {
            Likeness::Vectors { mean, low, least } => format!(
                "cosine to exact over {rows}: mean {mean:.5}, 1st percentile {low:.5}, least {least:.5}"
            ),
            Likeness::Labels {
                same,
                difference,
                accuracy,
            } => {
                let what = match (self.multi_label, self.task.as_str()) {
                    (true, _) => "decisions about labels",
                    (false, "tag") => "labels of tokens",
                    _ => "labels",
                };
                let mut words = format!(
                    "equal {what} over {rows}: {:.3} %; probabilities differ by {difference:.4} at most",
                    100.0 * same
                );
                if let Some(accuracy) = accuracy {
                    let (exact, quantized) = (100.0 * accuracy.exact, 100.0 * accuracy.quantized);
                    // Writing to a string cannot fail.
                    let _ = write!(words, "; accuracy {quantized:.2} %, exact {exact:.2} %");
                }
                words
            }
            Likeness::Scores {
                order,
                mean_difference,
                difference,
            } => format!(
                "pairs in equal order over {rows}: {:.3} %; scores differ by {mean_difference:.5} on average, \
                 {difference:.5} at most",
                100.0 * order
            ),
            Likeness::Numbers {
                correlation,
                difference,
            } => format!(
                "correlation with exact over {rows}: {correlation:.6}; numbers differ by {difference:.5} at most"
            ),
            other => format!("{other:?}"),
        }
    }

    /// The whole, for people.
    pub(super) fn text(&self, target: &Path, time: Duration) -> String {
        let to = |before: u64, after: u64| format!("{} → {}", ByteSize(before), ByteSize(after));
        format!(
            "quantize: {} as {} in {}\n  \
             accuracy  {}\n  \
             directory {}\n  \
             weights   {} in the process, word tables included\n  \
             loading   {:.0} ms\n  \
             output    {}; use it with -m in every command\n",
            self.model,
            self.precision,
            figures::duration(time),
            self.accuracy(),
            to(self.bytes_before, self.bytes_after),
            to(self.weights_bytes_before, self.weights_bytes_after),
            1e3 * self.load_seconds,
            target.display(),
        )
    }

    /// Writes the figures where they were asked for.
    pub(super) fn save(&self, path: Option<&Path>) -> anyhow::Result<()> {
        let Some(path) = path else { return Ok(()) };
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text)
            .with_context(|| format!("{}: the summary cannot be written", path.display()))
    }
}
