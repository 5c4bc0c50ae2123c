//! BERT (Devlin et al. 2018): positions from zero, token types, a pooler with tanh before the
//! classifier.

use kernels::Activation;

use super::{
    Defaults, DenseNames, HeadNames, LayerNames, Layout, Place, Positions, TOKEN_HEAD, TokenTypes,
    USUAL_EMBEDDINGS, USUAL_KEYS,
};

/// The layer names of BERT, which RoBERTa took over unchanged.
pub(super) const LAYERS: LayerNames = LayerNames {
    stem: "encoder.layer.",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

pub(super) static LAYOUT: Layout = Layout {
    model_type: "bert",
    class: "Bert",
    prefix: "bert.",
    keys: USUAL_KEYS,
    defaults: Defaults {
        pad_id: 0,
        layer_norm_eps: 1e-12,
    },
    positions: Positions::FromZero,
    types: TokenTypes::Given,
    embeddings: USUAL_EMBEDDINGS,
    layers: LAYERS,
    relative_bias: None,
    sequence_head: HeadNames {
        dense: Some(DenseNames {
            name: "pooler.dense",
            place: Place::Encoder,
            activation: Activation::Tanh,
        }),
        logits: "classifier",
    },
    token_head: TOKEN_HEAD,
};
