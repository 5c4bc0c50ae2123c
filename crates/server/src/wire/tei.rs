//! The bodies of Hugging Face's Text Embeddings Inference server, version 1.

use engine::Input;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::object::{object, object_or_null};
use super::own::Side;
use super::whole::whole;

/// What `/embed` is asked in TEI's words.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiEmbed {
    /// Which model, where there are several: a word of ours.
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) inputs: OneOrMore,
    /// Cut what is too long; it is an error otherwise.
    #[serde(default)]
    pub(crate) truncate: Option<bool>,
    #[serde(default)]
    pub(crate) truncation_direction: Option<TeiSide>,
    /// As the model does by default; anything else is refused.
    #[serde(default)]
    pub(crate) normalize: Option<bool>,
    /// The first so many values of each vector.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1)]
    pub(crate) dimensions: Option<usize>,
    /// Refused: the model is loaded with its prompt.
    #[serde(default)]
    pub(crate) prompt_name: Option<String>,
}

/// What `/predict` is asked in TEI's words.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiPredict {
    /// Which model, where there are several: a word of ours.
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) inputs: TeiRows,
    #[serde(default)]
    pub(crate) truncate: Option<bool>,
    #[serde(default)]
    pub(crate) truncation_direction: Option<TeiSide>,
    #[serde(default)]
    pub(crate) raw_scores: bool,
}

/// What `/rerank` is asked in TEI's words.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiRerank {
    /// Which model, where there are several: a word of ours.
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) query: String,
    pub(crate) texts: Vec<String>,
    #[serde(default)]
    pub(crate) truncate: Option<bool>,
    #[serde(default)]
    pub(crate) truncation_direction: Option<TeiSide>,
    #[serde(default)]
    pub(crate) raw_scores: bool,
    #[serde(default)]
    pub(crate) return_text: bool,
}

/// What `/similarity` is asked.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiSimilarity {
    /// Which model, where there are several: a word of ours.
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(crate) inputs: TeiSentences,
    #[serde(default, deserialize_with = "object_or_null")]
    pub(crate) parameters: Option<TeiSimilarityParameters>,
}

/// Sentences, and the one that they are compared with.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiSentences {
    pub(crate) source_sentence: String,
    pub(crate) sentences: Vec<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct TeiSimilarityParameters {
    #[serde(default)]
    pub(crate) truncate: Option<bool>,
    #[serde(default)]
    pub(crate) truncation_direction: Option<TeiSide>,
}

/// What `/tokenize` is asked in TEI's words.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TeiTokenize {
    /// Which model, where there are several: a word of ours.
    #[serde(default)]
    pub(crate) model: Option<String>,
    pub(crate) inputs: OneOrMore,
    #[serde(default = "yes")]
    pub(crate) add_special_tokens: bool,
}

fn yes() -> bool {
    true
}

/// One text or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "`inputs` must be a string or a list of strings")]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn into_inputs(self) -> Vec<Input> {
        match self {
            OneOrMore::One(text) => vec![text.into()],
            OneOrMore::More(texts) => texts.into_iter().map(Into::into).collect(),
        }
    }
}

/// A text, a pair (a list of two strings), or several of both (each a list).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "`inputs` must be a string, a list of two strings (a pair), or a list of lists of one or two strings"
)]
pub(crate) enum TeiRows {
    One(String),
    Pair([String; 2]),
    Single([String; 1]),
    More(Vec<TeiRow>),
}

/// One of several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TeiRow {
    Single([String; 1]),
    Pair([String; 2]),
}

/// Which end goes of what is too long.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(crate) enum TeiSide {
    #[serde(alias = "left")]
    Left,
    #[serde(alias = "right")]
    Right,
}

impl From<TeiSide> for Side {
    fn from(side: TeiSide) -> Side {
        match side {
            TeiSide::Left => Side::Left,
            TeiSide::Right => Side::Right,
        }
    }
}

/// One vector a text.
#[derive(Serialize, ToSchema)]
#[serde(transparent)]
pub(crate) struct TeiVectors<'a>(pub(crate) Vec<&'a [f32]>);

/// A label and its score.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeiScore<'a> {
    pub(crate) score: f32,
    pub(crate) label: &'a str,
}

/// Of one text, or of several.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum TeiScores<'a> {
    One(Vec<TeiScore<'a>>),
    More(Vec<Vec<TeiScore<'a>>>),
}

/// A text's place among those given and its score; best first.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeiRank {
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    pub(crate) score: f32,
}

/// A token.
#[derive(Serialize, ToSchema)]
pub(crate) struct TeiToken {
    pub(crate) id: u32,
    pub(crate) text: String,
    pub(crate) special: bool,
    /// First character; null for special tokens.
    pub(crate) start: Option<usize>,
    /// One past the last.
    pub(crate) stop: Option<usize>,
}
