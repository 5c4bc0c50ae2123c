//! RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2019): BERT's layers, positions
//! counted after the padding id, one constant token type, a classifier of two layers.

use kernels::Activation;

use super::bert::LAYERS;
use super::{
    Defaults, DenseNames, HeadNames, Layout, Place, Positions, TOKEN_HEAD, TokenTypes,
    USUAL_EMBEDDINGS, USUAL_KEYS,
};

/// `RobertaClassificationHead`, which MPNet took over.
pub(super) const CLASSIFICATION_HEAD: HeadNames = HeadNames {
    dense: Some(DenseNames {
        name: "classifier.dense",
        place: Place::Root,
        activation: Activation::Tanh,
    }),
    logits: "classifier.out_proj",
};

pub(super) static ROBERTA: Layout = Layout {
    model_type: "roberta",
    class: "Roberta",
    ..XLM_ROBERTA
};

// The checkpoints of XLM-RoBERTa keep the prefix `roberta.`.
pub(super) const XLM_ROBERTA: Layout = Layout {
    model_type: "xlm-roberta",
    class: "XLMRoberta",
    prefix: "roberta.",
    keys: USUAL_KEYS,
    defaults: Defaults {
        pad_id: 1,
        layer_norm_eps: 1e-12,
    },
    positions: Positions::AfterPadding,
    types: TokenTypes::AlwaysZero,
    embeddings: USUAL_EMBEDDINGS,
    layers: LAYERS,
    relative_bias: None,
    sequence_head: CLASSIFICATION_HEAD,
    token_head: TOKEN_HEAD,
};
