//! DistilBERT (Sanh et al. 2019): BERT without token types, its own names, a ReLU before the
//! classifier, and a layer norm epsilon that no configuration changes.

use kernels::Activation;

use super::{
    ConfigKeys, Defaults, DenseNames, HeadNames, LayerNames, Layout, Place, Positions, TOKEN_HEAD,
    TokenTypes, USUAL_EMBEDDINGS,
};

pub(super) static LAYOUT: Layout = Layout {
    model_type: "distilbert",
    class: "DistilBert",
    prefix: "distilbert.",
    // transformers accepts the usual names too (`attribute_map`).
    keys: ConfigKeys {
        hidden: &["dim", "hidden_size"],
        layers: &["n_layers", "num_hidden_layers"],
        heads: &["n_heads", "num_attention_heads"],
        intermediate: &["hidden_dim"],
        activation: &["activation"],
        layer_norm_eps: None,
    },
    defaults: Defaults {
        pad_id: 0,
        layer_norm_eps: 1e-12,
    },
    positions: Positions::FromZero,
    types: TokenTypes::Absent,
    embeddings: USUAL_EMBEDDINGS,
    layers: LayerNames {
        stem: "transformer.layer.",
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        up: "ffn.lin1",
        down: "ffn.lin2",
        output_norm: "output_layer_norm",
    },
    relative_bias: None,
    sequence_head: HeadNames {
        dense: Some(DenseNames {
            name: "pre_classifier",
            place: Place::Root,
            activation: Activation::Relu,
        }),
        logits: "classifier",
    },
    token_head: TOKEN_HEAD,
};
