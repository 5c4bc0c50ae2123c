//! This server's own bodies: the words of the command line, as JSON.

use engine::{Aggregation, Entity, OnLong, Prediction, Priority, RowError, Truncate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::Row;
use super::whole::whole;
use crate::problem::Limit;

/// What is asked: texts, and options as in the command line. Also the query of `/predict/stream`, which
/// takes the options alone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ask {
    /// The model's name; not needed where one model does the task.
    pub(crate) model: Option<String>,
    /// The model's version; the last one if left out.
    pub(crate) version: Option<String>,
    /// One text, or one pair of texts.
    pub(crate) text: Option<Row>,
    /// Several texts, or pairs of texts.
    pub(crate) texts: Option<Vec<Row>>,
    /// Rerank: what the passages are scored against.
    pub(crate) query: Option<String>,
    /// Rerank: the passages.
    pub(crate) passages: Option<Vec<String>>,
    /// Classify: most labels of a text, best first.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1)]
    pub(crate) top_k: Option<usize>,
    /// Classify, tag: least score of a label or an entity.
    pub(crate) threshold: Option<f32>,
    /// Classify, rerank: the network's own numbers instead of probabilities.
    pub(crate) raw_scores: Option<bool>,
    /// Tag: how tokens become entities.
    pub(crate) aggregation: Option<AggregationName>,
    /// Embed: the first so many values of each vector, brought to length 1 again where the model does so.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1)]
    pub(crate) dimensions: Option<usize>,
    /// Which end of a text goes that is too long.
    pub(crate) truncate: Option<Side>,
    /// What becomes of a text that is too long.
    pub(crate) on_long: Option<OnLongName>,
    /// Most tokens of a text, special ones included.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1)]
    pub(crate) max_tokens: Option<usize>,
    /// Words to put before every text, instead of the prompt that the model is served with; empty for none.
    pub(crate) prompt: Option<String>,
    /// The same by the name that the model has for it.
    pub(crate) prompt_name: Option<String>,
    /// Whether known answers are used and new ones kept.
    pub(crate) cache: Option<bool>,
    /// Which requests go before others.
    pub(crate) priority: Option<PriorityName>,
    /// After how many milliseconds nobody needs the answer.
    #[serde(deserialize_with = "whole")]
    pub(crate) deadline_ms: Option<u64>,
}

/// How tokens become entities.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AggregationName {
    /// Not at all.
    None,
    /// Neighbours with the same label.
    Simple,
    /// Words, labelled as their first token.
    First,
    /// Words, labelled as their surest token.
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

/// An end of a text.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Its beginning.
    Left,
    /// Its end.
    Right,
}

impl From<Side> for Truncate {
    fn from(side: Side) -> Self {
        match side {
            Side::Left => Truncate::Left,
            Side::Right => Truncate::Right,
        }
    }
}

/// What becomes of a text that is too long.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnLongName {
    /// It is cut.
    Truncate,
    /// It is an error.
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

/// Which requests go before others.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PriorityName {
    /// Before all others.
    High,
    /// As most are.
    Normal,
    /// What can wait.
    Low,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::High => Priority::High,
            PriorityName::Normal => Priority::Normal,
            PriorityName::Low => Priority::Low,
        }
    }
}

/// Answers, one for each text, in their order.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictAnswer<'a> {
    /// The model that answered.
    pub(crate) model: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
    pub(crate) results: Vec<RowAnswer<'a>>,
    pub(crate) usage: Usage,
}

/// What a request cost.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of all texts, cached ones included.
    pub(crate) tokens: u64,
    /// Texts that the cache answered.
    pub(crate) cached: usize,
}

/// The answer to one text: the columns of the offline output.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum RowAnswer<'a> {
    /// Of a model that embeds.
    Vector { embedding: &'a [f32] },
    /// Of a model whose labels exclude each other; null where none reaches the threshold.
    Label {
        #[schema(required)]
        label: Option<&'a str>,
        #[schema(required)]
        score: Option<f32>,
    },
    /// Of other classifiers, or with `top_k`.
    Labels {
        labels: Vec<&'a str>,
        scores: Vec<f32>,
    },
    /// Of a pair, or of a regression.
    Score { score: f32 },
    /// Of a model that tags.
    Entities { entities: Vec<EntityAnswer<'a>> },
    /// A text that has no answer.
    Failed { error: RowProblem<'a> },
}

/// Why a text has no answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct RowProblem<'a> {
    /// Stable, for programs: `too_long`, `tokenize`, `wrong_input`, `not_finite`, `deadline`, `expired`,
    /// `internal`; in a stream also `bad_request` and `too_large`.
    pub(crate) code: &'a str,
    /// For people.
    pub(crate) message: &'a str,
    /// The limit that the text is beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<Limit>,
}

/// A named part of a text.
#[derive(Serialize, ToSchema)]
pub(crate) struct EntityAnswer<'a> {
    label: &'a str,
    score: f32,
    /// First character in the text.
    start: usize,
    /// One past the last character.
    end: usize,
    text: &'a str,
}

impl<'a> From<&'a Entity> for EntityAnswer<'a> {
    fn from(entity: &'a Entity) -> Self {
        Self {
            label: &entity.label,
            score: entity.score,
            start: entity.start,
            end: entity.end,
            text: &entity.text,
        }
    }
}

/// In which columns a classifier's answers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// At most one label.
    One,
    /// Any number.
    Many,
    /// The score of the only output of a regression.
    Score,
}

impl<'a> RowAnswer<'a> {
    pub(crate) fn of(prediction: &'a Result<Prediction, RowError>, columns: Columns) -> Self {
        match prediction {
            Ok(Prediction::Embedding(embedding)) => RowAnswer::Vector { embedding },
            Ok(Prediction::Score(score)) => RowAnswer::Score { score: *score },
            Ok(Prediction::Entities(entities)) => RowAnswer::Entities {
                entities: entities.iter().map(EntityAnswer::from).collect(),
            },
            Ok(Prediction::Labels(labels)) => match (columns, labels.first()) {
                (Columns::Score, Some(only)) => RowAnswer::Score { score: only.score },
                (Columns::One, best) => RowAnswer::Label {
                    label: best.map(|best| best.label.as_str()),
                    score: best.map(|best| best.score),
                },
                _ => RowAnswer::Labels {
                    labels: labels.iter().map(|label| label.label.as_str()).collect(),
                    scores: labels.iter().map(|label| label.score).collect(),
                },
            },
            Err(error) => RowAnswer::Failed {
                error: RowProblem {
                    code: error.code,
                    message: &error.message,
                    limit: error.limit.map(Limit::from),
                },
            },
        }
    }
}

/// What `/tokenize` is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeAsk {
    /// The model's name; not needed where there is only one.
    #[serde(default)]
    pub(crate) model: Option<String>,
    /// The model's version; the last one if left out.
    #[serde(default)]
    pub(crate) version: Option<String>,
    /// One text, or one pair of texts.
    #[serde(default)]
    pub(crate) text: Option<Row>,
    /// Several texts, or pairs of texts.
    #[serde(default)]
    pub(crate) texts: Option<Vec<Row>>,
    /// Words to put before every text, instead of the prompt that the model is served with; empty for none.
    #[serde(default)]
    pub(crate) prompt: Option<String>,
    /// The same by the name that the model has for it.
    #[serde(default)]
    pub(crate) prompt_name: Option<String>,
}

/// Tokens of each text.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenizeAnswer<'a> {
    pub(crate) model: &'a str,
    pub(crate) results: Vec<TokensAnswer>,
}

/// A text as the network reads it.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokensAnswer {
    /// How many tokens, special ones included.
    pub(crate) count: usize,
    /// Whether the text was cut to the model's limit.
    pub(crate) truncated: bool,
    pub(crate) ids: Vec<u32>,
    /// As the vocabulary writes them.
    pub(crate) tokens: Vec<String>,
    /// First character and one past the last of each token, in the text as it was given; for the second
    /// text of a pair, in that text. 0 and 0 for special tokens.
    pub(crate) offsets: Vec<(usize, usize)>,
}
