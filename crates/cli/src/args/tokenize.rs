//! What to tokenise.

use clap::Args;

use super::rows::{RowsInputArgs, RowsOutputArgs, TokenArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright tokenize names.txt -o names.npy                 characters, and names.npy.vocabulary.json
  batchwright tokenize more.txt --vocabulary names.npy.vocabulary.json --width 64 -o more.npy
  batchwright tokenize queries.csv --tokenize all-MiniLM-L6-v2 --width 32 -o queries.npy
  batchwright tokenize queries.csv --tokenize ./tokenizer.json -o queries.parquet

  numpy.load('names.npy', mmap_mode='r') reads an array without loading it.

A token of `characters` is a Unicode code point. Killed or interrupted? Run the same command again: it
continues where it was.";

#[derive(Args, Debug)]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    pub(crate) input: RowsInputArgs,
    #[command(flatten)]
    pub(crate) tokens: TokenArgs,
    #[command(flatten)]
    pub(crate) output: RowsOutputArgs,
}
