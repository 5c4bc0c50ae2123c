//! What the answers are to look like. Each flag has a meaning for some tasks: see [`super::applies`].

use batchwright::Aggregation;
use clap::{Args, ValueEnum};

use super::PoolingName;

#[derive(Args, Debug)]
#[command(next_help_heading = "Answers")]
pub(crate) struct AnswerArgs {
    /// How a text's token vectors become one; by default the model's own way
    #[arg(long, value_name = "HOW", value_enum)]
    pub(crate) pooling: Option<PoolingName>,
    /// Bring vectors to length 1, or leave them; by default as the model was trained
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", overrides_with = "normalize")]
    pub(crate) normalize: Option<bool>,
    /// The same as --normalize=false
    #[arg(long, overrides_with = "no_normalize")]
    pub(crate) no_normalize: bool,
    /// Keep the first N values of each vector, for models trained so (Matryoshka)
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// Type of the vectors' values; f16 takes half the space in Parquet
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = VectorType::F32)]
    pub(crate) vector_type: VectorType,
    /// Most labels of a row, best first; by default 1 where labels exclude each other, else all above
    /// the threshold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top_k: Option<u32>,
    /// Least score of a label or an entity, as it is given out: with --raw-scores a raw one. By
    /// default a probability of 0.5 where several labels may hold at once
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = score)]
    pub(crate) threshold: Option<f32>,
    /// Give the network's own numbers instead of probabilities
    #[arg(long)]
    pub(crate) raw_scores: bool,
    /// How tokens become entities: not at all, neighbours with the same label, or words labelled as
    /// their first or their surest token
    #[arg(long, value_name = "HOW", value_enum, default_value_t = AggregationName::Simple)]
    pub(crate) aggregation: AggregationName,
}

/// No score is at or above NaN: every label would be left out without a word.
fn score(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(score) if score.is_finite() => Ok(score),
        _ => Err("write a number such as 0.5".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VectorType {
    F32,
    F16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AggregationName {
    None,
    Simple,
    First,
    Max,
}

impl From<AggregationName> for Aggregation {
    fn from(name: AggregationName) -> Self {
        match name {
            AggregationName::None => Aggregation::None,
            AggregationName::Simple => Aggregation::Simple,
            AggregationName::First => Aggregation::First,
            AggregationName::Max => Aggregation::Max,
        }
    }
}
