//! What `tokenize` and `augment` have in common: which rows, and which tokens.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use data::Format;

#[derive(Args, Debug)]
#[command(next_help_heading = "Input")]
pub(crate) struct RowsInputArgs {
    /// Files, quoted globs, or - for standard input: CSV, TSV, JSON Lines, Parquet or plain lines,
    /// also with .gz or .zst. Rows are numbered on through all of them
    #[arg(value_name = "INPUT", required = true, help_heading = None)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Column that holds the text; by default `text`, else the only column of text
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Format of the input where its name does not tell
    #[arg(long, value_name = "FORMAT", value_parser = super::format(&Format::READABLE))]
    pub(crate) input_format: Option<Format>,
}

/// Which tokens, and how wide the rows of an array are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenArgs {
    /// `characters`, or whose tokens: a tokenizer.json, a directory, a name from `batchwright models`,
    /// or a hub id such as owner/name
    #[arg(long, value_name = "WHAT")]
    pub(crate) tokenize: Option<String>,
    /// Vocabulary of characters to use, as an earlier run wrote it; by default one is made of the
    /// characters of the data, which reads it once more
    #[arg(long, value_name = "FILE")]
    pub(crate) vocabulary: Option<PathBuf>,
    /// Names of padding, unknown, begin and end in a vocabulary that is made; an empty name for no begin
    /// or no end. By default <PAD>,<UNK>,<BEG>,<END>
    #[arg(long, value_name = "NAMES", value_delimiter = ',', num_args = 1)]
    pub(crate) special_tokens: Option<Vec<String>>,
    /// Tokens of every row: shorter ones are padded, longer ones cut. By default lists as long as they
    /// are; in an array of characters the longest row of the data, and an eighth more where it is edited
    #[arg(long, value_name = "TOKENS", value_parser = super::count)]
    pub(crate) width: Option<NonZeroUsize>,
    /// Type of the ids; by default u16 where they all fit
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) dtype: Option<IdType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdType {
    U16,
    U32,
}

/// Where rows go, and what becomes of those that cannot be read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct RowsOutputArgs {
    /// File to write; its extension tells the format: .npy (token ids alone, one row of the array a row),
    /// .parquet, .arrow, .jsonl, .csv or .tsv (also with .gz or .zst). Without it JSON Lines go to standard output
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
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = super::OnError::Record)]
    pub(crate) on_error: super::OnError,
    /// Start over: forget an unfinished job, and replace an output that is there
    #[arg(long)]
    pub(crate) restart: bool,
    /// Rows that are saved together; at most so many are done again after a kill. Not for .npy
    #[arg(long, value_name = "ROWS", value_parser = super::count)]
    pub(crate) rows_per_shard: Option<NonZeroUsize>,
    /// Write the summary to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_json: Option<PathBuf>,
    /// Print at the end where the time went, by stage
    #[arg(long)]
    pub(crate) profile: bool,
}
