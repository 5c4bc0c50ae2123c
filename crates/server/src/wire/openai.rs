//! The bodies of OpenAI's embeddings.

use engine::Input;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use super::whole::whole;

/// What `/v1/embeddings` is asked.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsAsk {
    pub(crate) input: EmbeddingsInput,
    /// The model's name; not needed where one model embeds.
    #[serde(default)]
    pub(crate) model: Option<String>,
    #[serde(default)]
    pub(crate) encoding_format: Option<Encoding>,
    /// The first so many values of each vector.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1)]
    pub(crate) dimensions: Option<usize>,
    /// Taken and not looked at.
    #[serde(default)]
    #[expect(dead_code, reason = "clients send it; it stands in the document")]
    pub(crate) user: Option<String>,
}

/// One text or several. Token ids are refused: they belong to OpenAI's own tokenizer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "`input` must be a string or a list of strings; token ids of another tokenizer mean nothing to this model"
)]
pub(crate) enum EmbeddingsInput {
    One(String),
    More(Vec<String>),
}

impl EmbeddingsInput {
    pub(crate) fn into_inputs(self) -> Vec<Input> {
        match self {
            EmbeddingsInput::One(text) => vec![text.into()],
            EmbeddingsInput::More(texts) => texts.into_iter().map(Into::into).collect(),
        }
    }
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// As a list of numbers.
    #[default]
    Float,
    /// As base64 of little-endian f32.
    Base64,
}

/// Vectors, in the order of the texts.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsAnswer<'a> {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<EmbeddingAnswer<'a>>,
    pub(crate) model: &'a str,
    pub(crate) usage: EmbeddingsUsage,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingAnswer<'a> {
    pub(crate) object: &'static str,
    pub(crate) index: usize,
    #[schema(value_type = VectorSchema)]
    pub(crate) embedding: VectorAnswer<'a>,
}

/// A vector as it stands in the document.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its schema alone")]
pub(crate) enum VectorSchema {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64 of little-endian f32.
    Base64(String),
}

/// A vector, as it was asked for.
pub(crate) enum VectorAnswer<'a> {
    Float(&'a [f32]),
    Base64(&'a [f32]),
}

impl Serialize for VectorAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            VectorAnswer::Float(vector) => vector.serialize(serializer),
            VectorAnswer::Base64(vector) => {
                use base64::Engine as _;
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect();
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                serializer.serialize_str(&text)
            }
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsUsage {
    pub(crate) prompt_tokens: u64,
    pub(crate) total_tokens: u64,
}
