//! What to quantise, and what must be kept.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use batchwright::ProductChoice;
use clap::Args;

use super::model::PrecisionName;

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright quantize all-MiniLM-L6-v2 -o minilm-fast
  batchwright embed queries.csv -m minilm-fast -o vectors.parquet
  batchwright quantize ./my-classifier -o fast --calibration labelled.csv --label-column intent \\
      --min-agreement 0.995
  batchwright quantize all-MiniLM-L6-v2 -o mixed --keep-near layers.5,layers.0.qkv

Exit code 1, and nothing written, where the quantised model agrees less than --min-agreement.";

#[derive(Args, Debug)]
pub(crate) struct QuantizeArgs {
    /// The model: a directory, a name from `batchwright models`, or a hub id such as owner/name
    #[arg(value_name = "MODEL", help_heading = None)]
    pub(crate) original: String,
    /// Directory to write; it loads in the place of the model, with -m, in every command
    #[arg(long, short, value_name = "DIR", required = true)]
    pub(crate) output: Option<PathBuf>,
    /// How exactly the quantised model computes: fast (8 bits, the default) or near (16 bits)
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) precision: Option<PrecisionName>,
    /// Products that keep 16 bits in a fast model, separated by commas: layers.4, or of that layer
    /// layers.4.qkv, layers.4.output, layers.4.up or layers.4.down
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) keep_near: Vec<ProductChoice>,
    /// Replace a quantised model that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) check: CheckArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Accuracy")]
pub(crate) struct CheckArgs {
    /// Rows to compare both models on, in any format that is read; by default a few dozen sentences
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<String>,
    /// Column that holds the text; by default `text`, else the only column of text
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Column that holds the second text of a pair
    #[arg(long, value_name = "NAME")]
    pub(crate) pair_column: Option<String>,
    /// Column that holds the right label: how often is each model right?
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// Rows to compare: the first of the file; by default all
    #[arg(long, value_name = "N")]
    pub(crate) rows: Option<NonZeroUsize>,
    /// Least agreement to write the model for: of vectors the mean cosine, of labels the share of equal
    /// ones, of pairs the share in equal order, of a regression the correlation
    #[arg(long, value_name = "X", value_parser = share)]
    pub(crate) min_agreement: Option<f64>,
    /// Write every figure to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_json: Option<PathBuf>,
}

/// A number from 0 to 1.
fn share(words: &str) -> Result<f64, String> {
    let number: f64 = words.parse().map_err(|_| "this is no number".to_owned())?;
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err("it is from 0 to 1, such as 0.995".to_owned())
    }
}
