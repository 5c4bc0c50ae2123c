//! The encoder's configuration: `config.json` read with the family's own keys, and checked.

use std::ops::RangeInclusive;

use kernels::Activation;

use super::json::{Flag, JsonFile};
use crate::error::{ModelError, list};
use crate::families::{Family, Layout, Positions};

/// The limits are far above any encoder in use. They exist so that the products of sizes below
/// cannot overflow and a damaged file is named as such, not met as an allocation failure.
const WIDTHS: RangeInclusive<usize> = 1..=65_536;
const LAYERS: RangeInclusive<usize> = 1..=1_024;
const VOCABULARY: RangeInclusive<usize> = 1..=16_777_216;
const POSITIONS: RangeInclusive<usize> = 1..=1_048_576;
// Token types travel as bytes.
const TYPES: RangeInclusive<usize> = 1..=256;

/// Activation names of `config.json` (transformers' `ACT2FN`) and the function each stands for.
const ACTIVATIONS: [(&str, Activation); 9] = [
    ("gelu", Activation::GeluErf),
    ("gelu_python", Activation::GeluErf),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

/// The sizes and constants of an encoder, the same for every family.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EncoderConfig {
    /// The family whose names and positions apply.
    pub family: Family,
    /// Width of the hidden states.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads; divides `hidden`.
    pub heads: usize,
    /// Width of the feed-forward network's inner layer.
    pub intermediate: usize,
    /// Number of rows of the word table.
    pub vocabulary: usize,
    /// Number of rows of the position table.
    pub position_rows: usize,
    /// Row of the position table for the first token.
    pub first_position: usize,
    /// Number of rows of the token type table; 0 where the family has none.
    pub types: usize,
    /// Id of the padding token, where the position count needs it.
    pub pad_id: u32,
    /// Activation of the feed-forward network.
    pub activation: Activation,
    /// Epsilon of every layer norm.
    pub layer_norm_eps: f32,
}

impl EncoderConfig {
    /// The longest text, in tokens, for which the position table has rows.
    pub fn max_positions(&self) -> usize {
        self.position_rows - self.first_position
    }

    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.heads
    }

    pub(crate) fn read(config: &JsonFile) -> Result<EncoderConfig, ModelError> {
        let family = family(config)?;
        let layout = family.layout();
        let keys = &layout.keys;
        for (key, wanted) in [
            ("is_decoder", Flag::Off),
            ("add_cross_attention", Flag::Off),
        ] {
            if config.flag(key, Flag::Off)? != wanted {
                return Err(config.unsupported(key, "only encoders are, where it is false"));
            }
        }
        if let Some(kind) = config.text("position_embedding_type")?
            && kind != "absolute"
        {
            return Err(config.unsupported("position_embedding_type", "only `absolute` is"));
        }

        let hidden = required(config, keys.hidden, &WIDTHS)?;
        let heads = required(config, keys.heads, &WIDTHS)?;
        if !hidden.is_multiple_of(heads) {
            let (key, _) = find(config, keys.heads);
            return Err(config.invalid(key, format!("a divisor of the hidden size {hidden}")));
        }
        let position_rows = required(config, &["max_position_embeddings"], &POSITIONS)?;
        let pad_id = match config.whole("pad_token_id", &(0..=*VOCABULARY.end()))? {
            Some(id) => id as u32,
            None => layout.defaults.pad_id,
        };
        let (pad_id, first_position) = match layout.positions {
            Positions::FromZero => (pad_id, 0),
            Positions::AfterPadding => (pad_id, pad_id as usize + 1),
            Positions::AfterFixedPadding(id) => (id, id as usize + 1),
        };
        if position_rows <= first_position {
            let expected = format!("more than {first_position}, the row of the first token");
            return Err(config.invalid("max_position_embeddings", expected));
        }
        Ok(EncoderConfig {
            family,
            hidden,
            heads,
            layers: required(config, keys.layers, &LAYERS)?,
            intermediate: required(config, keys.intermediate, &WIDTHS)?,
            vocabulary: required(config, &["vocab_size"], &VOCABULARY)?,
            position_rows,
            first_position,
            types: types(config, layout)?,
            pad_id,
            activation: activation(config, keys.activation)?,
            layer_norm_eps: layer_norm_eps(config, layout)?,
        })
    }
}

fn family(config: &JsonFile) -> Result<Family, ModelError> {
    let supported = || list(Family::ALL.map(|family| format!("`{family}`")));
    let Some(model_type) = config.text("model_type")? else {
        return Err(config.invalid("model_type", format!("one of {}", supported())));
    };
    Family::from_model_type(model_type).ok_or_else(|| ModelError::UnsupportedFamily {
        path: config.path().to_owned(),
        found: model_type.to_owned(),
        supported: supported(),
    })
}

/// The first of several keys for one thing that is there; the first of all where none is.
fn find<'a>(config: &JsonFile, keys: &[&'a str]) -> (&'a str, Presence) {
    match keys.iter().find(|key| config.get(key).is_some()) {
        Some(key) => (key, Presence::Given),
        None => (keys.first().copied().unwrap_or_default(), Presence::Absent),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Given,
    Absent,
}

fn required(
    config: &JsonFile,
    keys: &[&str],
    range: &RangeInclusive<usize>,
) -> Result<usize, ModelError> {
    let (key, _) = find(config, keys);
    config.whole(key, range)?.ok_or_else(|| {
        config.invalid(
            key,
            format!("a whole number from {} to {}", range.start(), range.end()),
        )
    })
}

fn types(config: &JsonFile, layout: &Layout) -> Result<usize, ModelError> {
    use crate::families::TokenTypes;
    match layout.types {
        TokenTypes::Absent => Ok(0),
        // transformers' default for both BERT and RoBERTa.
        TokenTypes::Given | TokenTypes::AlwaysZero => {
            Ok(config.whole("type_vocab_size", &TYPES)?.unwrap_or(2))
        }
    }
}

fn activation(config: &JsonFile, keys: &[&str]) -> Result<Activation, ModelError> {
    let (key, presence) = find(config, keys);
    if presence == Presence::Absent {
        return Ok(Activation::GeluErf);
    }
    let name = config.text(key)?.unwrap_or_default();
    ACTIVATIONS
        .into_iter()
        .find_map(|(known, activation)| (known == name).then_some(activation))
        .ok_or_else(|| {
            let known = list(ACTIVATIONS.map(|(known, _)| format!("`{known}`")));
            config.unsupported(key, format!("supported are {known}"))
        })
}

fn layer_norm_eps(config: &JsonFile, layout: &Layout) -> Result<f32, ModelError> {
    let Some(key) = layout.keys.layer_norm_eps else {
        return Ok(layout.defaults.layer_norm_eps as f32);
    };
    let eps = config
        .number(key)?
        .unwrap_or(layout.defaults.layer_norm_eps);
    if (0.0..=1.0).contains(&eps) {
        Ok(eps as f32)
    } else {
        Err(config.invalid(key, "a number from 0 to 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<EncoderConfig, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        EncoderConfig::read(&JsonFile::read(&path, "x", "y").unwrap())
    }

    fn bert(changed: &str) -> String {
        let mut config: serde_json::Value = serde_json::from_str(
            r#"{"model_type": "bert", "hidden_size": 12, "num_attention_heads": 3,
                "num_hidden_layers": 2, "intermediate_size": 24, "vocab_size": 50,
                "max_position_embeddings": 16}"#,
        )
        .unwrap();
        let changed: serde_json::Value = serde_json::from_str(changed).unwrap();
        for (key, value) in changed.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.to_string()
    }

    /// A user would get a crash, or answers from a network that is not theirs.
    #[test]
    fn absurd_values_are_refused_by_key() {
        let cases = [
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 5}"#, "num_attention_heads"),
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": -12}"#, "hidden_size"),
            (r#"{"hidden_size": 12.5}"#, "hidden_size"),
            (r#"{"hidden_size": 1e18}"#, "hidden_size"),
            (r#"{"hidden_size": null}"#, "hidden_size"),
            (r#"{"num_hidden_layers": 0}"#, "num_hidden_layers"),
            (
                r#"{"num_hidden_layers": 18446744073709551615}"#,
                "num_hidden_layers",
            ),
            (r#"{"intermediate_size": "24"}"#, "intermediate_size"),
            (r#"{"vocab_size": 0}"#, "vocab_size"),
            (
                r#"{"max_position_embeddings": 0}"#,
                "max_position_embeddings",
            ),
            (r#"{"type_vocab_size": 300}"#, "type_vocab_size"),
            (r#"{"layer_norm_eps": -1}"#, "layer_norm_eps"),
            (r#"{"layer_norm_eps": "small"}"#, "layer_norm_eps"),
            (r#"{"pad_token_id": -1}"#, "pad_token_id"),
            (
                r#"{"model_type": "roberta", "pad_token_id": 15}"#,
                "max_position_embeddings",
            ),
            (r#"{"model_type": null}"#, "model_type"),
        ];
        let mut wrong = Vec::new();
        for (change, key) in cases {
            match read(&bert(change)) {
                Err(ModelError::InvalidSetting { key: found, .. }) if found == key => {}
                other => wrong.push((change, other)),
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// A variant that computes something else would be run as the plain model.
    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let cases = [
            (r#"{"is_decoder": true}"#, "is_decoder"),
            (
                r#"{"position_embedding_type": "relative_key"}"#,
                "position_embedding_type",
            ),
            (r#"{"hidden_act": "quick_gelu"}"#, "hidden_act"),
        ];
        for (change, key) in cases {
            let error = read(&bert(change)).unwrap_err();
            assert!(
                matches!(&error, ModelError::UnsupportedSetting { key: found, .. } if found == key),
                "{error:?}"
            );
        }
        let message = read(&bert(r#"{"model_type": "modernbert"}"#))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`modernbert`")
                && message.contains("`bert`, `roberta`, `xlm-roberta`, `distilbert` and `mpnet`"),
            "{message}"
        );
    }

    /// Every hidden state of a RoBERTa would be that of shifted positions.
    #[test]
    fn families_count_positions_in_their_own_way() {
        let cases = [
            (r#"{}"#, 0, 16),
            (r#"{"pad_token_id": 3}"#, 0, 16),
            (r#"{"model_type": "roberta"}"#, 2, 14),
            (r#"{"model_type": "xlm-roberta", "pad_token_id": 3}"#, 4, 12),
            (r#"{"model_type": "mpnet", "pad_token_id": 3}"#, 2, 14),
        ];
        for (change, first, longest) in cases {
            let config = read(&bert(change)).unwrap();
            assert_eq!(
                (config.first_position, config.max_positions()),
                (first, longest),
                "{change}"
            );
        }
    }

    /// No DistilBERT could be loaded, or only with other sizes than its own.
    #[test]
    fn distilbert_has_its_own_keys() {
        let config = read(
            r#"{"model_type": "distilbert", "dim": 12, "n_heads": 3, "n_layers": 2,
                "hidden_dim": 24, "activation": "relu", "vocab_size": 50,
                "max_position_embeddings": 16, "layer_norm_eps": 0.5}"#,
        )
        .unwrap();
        assert_eq!(
            (config.hidden, config.head_dim(), config.intermediate),
            (12, 4, 24)
        );
        assert_eq!((config.types, config.activation), (0, Activation::Relu));
        assert_eq!(config.layer_norm_eps, 1e-12);
    }
}
