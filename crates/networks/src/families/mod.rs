//! The model families. A family is data: the words its configuration uses, the names of its
//! tensors, how it counts positions, and which heads it has. One encoder runs them all.

mod bert;
mod distilbert;
mod mpnet;
mod roberta;

use std::fmt;

use kernels::Activation;

/// A family of encoders that share configuration keys and tensor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// BERT: MiniLM, multilingual BERT, BGE, E5, GTE and many others.
    Bert,
    /// RoBERTa.
    Roberta,
    /// XLM-RoBERTa: multilingual E5, BGE-M3, paraphrase-multilingual models.
    XlmRoberta,
    /// DistilBERT.
    DistilBert,
    /// MPNet, with its relative position bias.
    MpNet,
}

impl Family {
    /// Every family that can be run: the one list behind messages and documentation.
    pub const ALL: [Family; 5] = [
        Family::Bert,
        Family::Roberta,
        Family::XlmRoberta,
        Family::DistilBert,
        Family::MpNet,
    ];

    /// The family's `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.layout().model_type
    }

    /// The family with this `model_type`, if it is supported.
    pub fn from_model_type(model_type: &str) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    pub(crate) fn layout(self) -> &'static Layout {
        match self {
            Family::Bert => &bert::LAYOUT,
            Family::Roberta => &roberta::ROBERTA,
            Family::XlmRoberta => &roberta::XLM_ROBERTA,
            Family::DistilBert => &distilbert::LAYOUT,
            Family::MpNet => &mpnet::LAYOUT,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.model_type())
    }
}

/// Everything in which one family differs from another.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) model_type: &'static str,
    /// How the family's classes begin in `architectures`: `Bert` of `BertForTokenClassification`.
    pub(crate) class: &'static str,
    /// Prefix of the encoder's tensors where a head was saved with it.
    pub(crate) prefix: &'static str,
    pub(crate) keys: ConfigKeys,
    /// Used where `config.json` is silent, as transformers' configuration classes do.
    pub(crate) defaults: Defaults,
    pub(crate) positions: Positions,
    pub(crate) types: TokenTypes,
    pub(crate) embeddings: EmbeddingNames,
    pub(crate) layers: LayerNames,
    /// Tensor of the relative position bias, `[buckets][heads]`.
    pub(crate) relative_bias: Option<&'static str>,
    pub(crate) sequence_head: HeadNames,
    pub(crate) token_head: HeadNames,
}

/// The configuration keys for one and the same thing.
#[derive(Debug)]
pub(crate) struct ConfigKeys {
    pub(crate) hidden: &'static [&'static str],
    pub(crate) layers: &'static [&'static str],
    pub(crate) heads: &'static [&'static str],
    pub(crate) intermediate: &'static [&'static str],
    pub(crate) activation: &'static [&'static str],
    /// `None` where the family's code fixes the epsilon whatever the configuration says.
    pub(crate) layer_norm_eps: Option<&'static str>,
}

/// The keys of every family but DistilBERT.
pub(crate) const USUAL_KEYS: ConfigKeys = ConfigKeys {
    hidden: &["hidden_size"],
    layers: &["num_hidden_layers"],
    heads: &["num_attention_heads"],
    intermediate: &["intermediate_size"],
    activation: &["hidden_act"],
    layer_norm_eps: Some("layer_norm_eps"),
};

#[derive(Debug)]
pub(crate) struct Defaults {
    pub(crate) pad_id: u32,
    pub(crate) layer_norm_eps: f64,
}

/// How token positions become rows of the position table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// The first token has row 0.
    FromZero,
    /// fairseq's way: the first token has row `padding id + 1`, where the padding id is that of
    /// the configuration. A padding token within the text keeps row `padding id` and does not
    /// advance the count (`create_position_ids_from_input_ids`).
    AfterPadding,
    /// The same with a padding id that is written into the model's code.
    AfterFixedPadding(u32),
}

/// What is added for a token's type (its segment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenTypes {
    /// The row of the type that the tokenizer gave.
    Given,
    /// Always row 0: the table is there but the family's tokenizers give no types.
    AlwaysZero,
    /// Nothing.
    Absent,
}

#[derive(Debug)]
pub(crate) struct EmbeddingNames {
    pub(crate) word: &'static str,
    pub(crate) position: &'static str,
    pub(crate) token_type: &'static str,
    pub(crate) norm: &'static str,
}

/// The embeddings of every family.
pub(crate) const USUAL_EMBEDDINGS: EmbeddingNames = EmbeddingNames {
    word: "embeddings.word_embeddings.weight",
    position: "embeddings.position_embeddings.weight",
    token_type: "embeddings.token_type_embeddings.weight",
    norm: "embeddings.LayerNorm",
};

/// Names within one layer; `.weight` and `.bias` are appended.
#[derive(Debug)]
pub(crate) struct LayerNames {
    /// What stands before the layer's number.
    pub(crate) stem: &'static str,
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    pub(crate) output_norm: &'static str,
}

impl LayerNames {
    /// The layers whose weights are packed into products.
    pub(crate) fn products(&self) -> [&'static str; 6] {
        [
            self.query,
            self.key,
            self.value,
            self.attention_output,
            self.up,
            self.down,
        ]
    }
}

/// A head: an optional dense layer with its activation, then the layer of the logits.
#[derive(Debug)]
pub(crate) struct HeadNames {
    pub(crate) dense: Option<DenseNames>,
    pub(crate) logits: &'static str,
}

#[derive(Debug)]
pub(crate) struct DenseNames {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) activation: Activation,
}

/// Where a head's tensors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Under the encoder's prefix: BERT's pooler.
    Encoder,
    /// Beside the encoder.
    Root,
}

/// Token classification is the same everywhere: one layer over every token.
pub(crate) const TOKEN_HEAD: HeadNames = HeadNames {
    dense: None,
    logits: "classifier",
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose a family: each must be found again by the name in `config.json`.
    #[test]
    fn every_family_is_found_by_its_model_type() {
        for family in Family::ALL {
            assert_eq!(Family::from_model_type(family.model_type()), Some(family));
        }
        assert_eq!(Family::from_model_type("t5"), None);
    }
}
