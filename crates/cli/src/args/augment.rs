//! What to edit, how often, and what to tell about it.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;

use super::rows::{RowsInputArgs, RowsOutputArgs, TokenArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright augment queries.csv --recipe typing --preview 20
  batchwright augment queries.csv --recipe typing --copies 3 --include-original -o more.csv
  batchwright augment names.txt --recipe my.toml --seed 7 --tokenize characters -o names.npy
  batchwright augment labelled.jsonl --spans-column entities --report -o labelled-more.parquet

The same seed, recipe and rows give the same output, whatever the threads. A part of a split file gets the
edits that it would have in the whole with --first-row. Killed or interrupted? Run the same command again: it
continues where it was.";

#[derive(Args, Debug)]
pub(crate) struct AugmentArgs {
    #[command(flatten)]
    pub(crate) input: RowsInputArgs,
    #[command(flatten)]
    pub(crate) edits: EditArgs,
    #[command(flatten)]
    pub(crate) report: EditReportArgs,
    #[command(flatten)]
    pub(crate) tokens: TokenArgs,
    #[command(flatten)]
    pub(crate) output: RowsOutputArgs,
}

/// How rows are edited.
#[derive(Args, Debug)]
#[command(next_help_heading = "Edits")]
pub(crate) struct EditArgs {
    /// A recipe that ships (light, typing, ocr), or a TOML file of operations and their chances
    #[arg(long, value_name = "RECIPE", default_value = "light")]
    pub(crate) recipe: String,
    /// Another number gives other edits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Edited copies of every row
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) copies: u32,
    /// Put the row as it was before its copies
    #[arg(long)]
    pub(crate) include_original: bool,
    /// Number of the input's first row, from 1: edits depend on it
    #[arg(long, value_name = "ROW", default_value = "1", value_parser = super::row_number)]
    pub(crate) first_row: NonZeroU64,
    /// Column of spans to move along with the text, in characters: a list of objects with start, end and
    /// label, or one object with three lists
    #[arg(long, value_name = "NAME")]
    pub(crate) spans_column: Option<String>,
}

/// What is told about edits.
#[derive(Args, Debug)]
#[command(next_help_heading = "Looking at edits")]
pub(crate) struct EditReportArgs {
    /// Show the differences in the first N rows, and write nothing
    #[arg(
        long,
        value_name = "N",
        value_parser = super::count,
        conflicts_with_all = ["output", "report", "report_json", "report_svg", "summary_json"]
    )]
    pub(crate) preview: Option<NonZeroUsize>,
    /// Count edits by kind and length, and draw the histogram at the end
    #[arg(long)]
    pub(crate) report: bool,
    /// Write the counts to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,
    /// Draw the counts, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) report_svg: Option<PathBuf>,
}
