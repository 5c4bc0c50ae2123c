//! How rows are put together for computing. None of it changes an answer.

use std::num::NonZeroUsize;

use clap::Args;

#[derive(Args, Debug)]
#[command(next_help_heading = "Speed and memory")]
pub(crate) struct SpeedArgs {
    /// Most tokens computed together by one thread; by default measured (`bench --save`), or found
    /// from the model and the processor's caches
    #[arg(long, value_name = "TOKENS", value_parser = super::count)]
    pub(crate) batch_tokens: Option<NonZeroUsize>,
    /// Most rows computed together by one thread; 32 if no number is given, unbounded without the flag
    #[arg(long, value_name = "ROWS", num_args = 0..=1, default_missing_value = "32", value_parser = super::count)]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// Rows read ahead, sorted by length and batched together
    #[arg(long, value_name = "ROWS", default_value = "2048", value_parser = super::count)]
    pub(crate) window: NonZeroUsize,
    /// Print at the end where the time went, by stage and operator, and how near to the machine's limit
    #[arg(long)]
    pub(crate) profile: bool,
}
