//! MPNet (Song et al. 2020): one relative position bias shared by all layers, no token types,
//! RoBERTa's positions and classification head.

use super::roberta::CLASSIFICATION_HEAD;
use super::{
    Defaults, LayerNames, Layout, Positions, TOKEN_HEAD, TokenTypes, USUAL_EMBEDDINGS, USUAL_KEYS,
};

pub(super) static LAYOUT: Layout = Layout {
    model_type: "mpnet",
    class: "MPNet",
    prefix: "mpnet.",
    keys: USUAL_KEYS,
    defaults: Defaults {
        pad_id: 1,
        layer_norm_eps: 1e-12,
    },
    // `MPNetEmbeddings` writes `self.padding_idx = 1` whatever the configuration says.
    positions: Positions::AfterFixedPadding(1),
    types: TokenTypes::Absent,
    embeddings: USUAL_EMBEDDINGS,
    layers: LayerNames {
        stem: "encoder.layer.",
        query: "attention.attn.q",
        key: "attention.attn.k",
        value: "attention.attn.v",
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        up: "intermediate.dense",
        down: "output.dense",
        output_norm: "output.LayerNorm",
    },
    relative_bias: Some("encoder.relative_attention_bias.weight"),
    sequence_head: CLASSIFICATION_HEAD,
    token_head: TOKEN_HEAD,
};
