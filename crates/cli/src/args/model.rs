//! Which model, and how texts are made ready for it.

use batchwright::{OnLong, Pooling, Precision, Task, Truncate};
use clap::{Args, ValueEnum};

#[derive(Args, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A directory, a name from `batchwright models`, or a hub id such as owner/name
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

/// How texts are made ready for a model, and how exactly it computes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct ReadingArgs {
    /// Most tokens of a text, special ones included; at most, and by default, the model's own limit
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,
    /// Which end of a text goes that is too long
    #[arg(long, value_name = "SIDE", value_enum, default_value_t = TruncateName::Right)]
    pub(crate) truncate: TruncateName,
    /// What becomes of a text that is too long: it is cut, or its row carries an error
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnLongName::Truncate)]
    pub(crate) on_long: OnLongName,
    /// How exactly to compute: the closer, the slower; by default exact, or what the model was quantised for
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) precision: Option<PrecisionName>,
    /// Words to put before every text
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Put the prompt that the model calls NAME before every text, such as query
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_name: Option<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct TaskArgs {
    /// Task to run instead of the model's own: any encoder can embed
    #[arg(long, value_name = "TASK", value_parser = super::task())]
    pub(crate) task: Option<Task>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TruncateName {
    Left,
    Right,
}

impl From<TruncateName> for Truncate {
    fn from(name: TruncateName) -> Self {
        match name {
            TruncateName::Left => Truncate::Left,
            TruncateName::Right => Truncate::Right,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLongName {
    Truncate,
    Error,
}

impl From<OnLongName> for OnLong {
    fn from(name: OnLongName) -> Self {
        match name {
            OnLongName::Truncate => OnLong::Truncate,
            OnLongName::Error => OnLong::Error,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// f32, equal to PyTorch
    Exact,
    /// 16-bit integers, nearly lossless
    Near,
    /// 8-bit integers, fastest
    Fast,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Exact => Precision::Exact,
            PrecisionName::Near => Precision::Near,
            PrecisionName::Fast => Precision::Fast,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolingName {
    Cls,
    Mean,
    Max,
    MeanSqrt,
    Last,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::Cls => Pooling::Cls,
            PoolingName::Mean => Pooling::Mean,
            PoolingName::Max => Pooling::Max,
            PoolingName::MeanSqrt => Pooling::MeanSqrt,
            PoolingName::Last => Pooling::Last,
        }
    }
}
