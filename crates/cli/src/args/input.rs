//! Which rows.

use std::path::PathBuf;

use clap::Args;
use data::Format;

#[derive(Args, Debug)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// Files, quoted globs, or - for standard input: CSV, TSV, JSON Lines, Parquet or plain lines,
    /// also with .gz or .zst. What comes from standard input is JSON Lines if its first line is an
    /// object, else plain lines
    #[arg(value_name = "INPUT", required = true, help_heading = None)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Column that holds the text; by default `text`, else the only column of text
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Column that holds the second text of a pair
    #[arg(long, value_name = "NAME")]
    pub(crate) pair_column: Option<String>,
    /// Format of the input where its name does not tell
    #[arg(long, value_name = "FORMAT", value_parser = super::format(&Format::READABLE))]
    pub(crate) input_format: Option<Format>,
}
