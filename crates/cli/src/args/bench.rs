//! What to measure.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, ModelArgs, TaskArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright bench queries.csv
  batchwright bench queries.csv --report-svg bench.svg --report-json bench.json
  batchwright bench queries.csv --try-batch-tokens 1,64,200,1000 --try-threads 1,2,4
  batchwright bench queries.csv --save      later runs on this machine use what was found best";

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Measuring")]
pub(crate) struct MeasureArgs {
    /// Rows to measure with: the first of the input
    #[arg(long, value_name = "N", default_value = "2000", value_parser = super::count)]
    pub(crate) rows: NonZeroUsize,
    /// Token budgets to try, separated by commas; by default one text, and a range from 48 to 4096
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::count)]
    pub(crate) try_batch_tokens: Vec<NonZeroUsize>,
    /// Numbers of threads to try, separated by commas; by default 1 and --threads
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::count)]
    pub(crate) try_threads: Vec<NonZeroUsize>,
    /// Rounds over all combinations; each figure is the median of its rounds
    #[arg(long, value_name = "N", default_value = "3", value_parser = super::count)]
    pub(crate) rounds: NonZeroUsize,
    /// Single queries to time, one after the other
    #[arg(long, value_name = "N", default_value = "200", value_parser = super::count)]
    pub(crate) queries: NonZeroUsize,
    /// Write every figure and the machine's description to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,
    /// Draw rows a second over the token budget, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) report_svg: Option<PathBuf>,
    /// Save the recommended budget as this model's profile on this machine, which later runs use
    #[arg(long)]
    pub(crate) save: bool,
}
