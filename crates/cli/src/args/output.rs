//! Where answers go, and what becomes of rows that have none.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use data::Format;

#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// File to write; its extension tells the format: .jsonl, .csv, .tsv (also with .gz or .zst),
    /// .parquet or .arrow. Without it JSON Lines go to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Format of the output where its name does not tell
    #[arg(long, value_name = "FORMAT", value_parser = super::format(&Format::WRITABLE))]
    pub(crate) output_format: Option<Format>,
    /// Columns of the input to pass through, separated by commas; '' for none. By default all pass
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) keep: Option<Vec<String>>,
    /// Columns of the input to leave out, separated by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) drop: Vec<String>,
    /// A bad row: give it an error and go on, or stop the job there
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnError::Record)]
    pub(crate) on_error: OnError,
    /// Start over: forget an unfinished job, and replace an output that is there
    #[arg(long)]
    pub(crate) restart: bool,
    /// Rows that are saved together; at most so many are computed again after a kill
    #[arg(long, value_name = "ROWS", value_parser = super::count)]
    pub(crate) rows_per_shard: Option<NonZeroUsize>,
    /// Write the summary to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    Record,
    Stop,
}
