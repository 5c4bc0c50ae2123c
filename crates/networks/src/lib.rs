//! Transformer encoders for text: reading Hugging Face directories and running them on the CPU.
//!
//! What it is: BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet as one encoder that each family
//! configures by data, on the packed products, variable-length attention and fused epilogues of the
//! `kernels` crate; with heads for embedding (pooling, dense layers, normalising, truncated
//! dimensions), classification, pair scoring and token classification.
//!
//! What it is not: it does not tokenise, owns no threads, caches nothing and keeps no files but the
//! weights it has mapped. Answers are raw: logits, not scores.
//!
//! The flow:
//!
//! 1. [`ModelDirectory::open`] reads and checks the small files: what the model is, its labels,
//!    prompts and limits. What cannot be run is refused here, by name.
//! 2. [`Network::load`] maps the weights, checks every tensor against the configuration, and packs
//!    the matrices for an instruction set.
//! 3. [`Network::run`] takes a [`TokenBatch`] (texts one after the other, no padding), a team of
//!    threads and a [`Workspace`], and appends the answers.
//!
//! ```
//! use batchwright_networks::{Family, ModelDirectory, ModelError};
//!
//! let nowhere = ModelDirectory::open("no/such/model".as_ref());
//! assert!(matches!(nowhere, Err(ModelError::MissingFile { .. })));
//! // One list says what can be run.
//! let families: Vec<&str> = Family::ALL.iter().map(|family| family.model_type()).collect();
//! assert_eq!(families, ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"]);
//! ```
//!
//! A text's answer has the same bits in any batch and with any team: no padding, no mask, no
//! reduction across rows.

mod batch;
mod directory;
mod encoder;
mod error;
mod families;
mod heads;
mod network;
mod precision;
mod profile;
mod quantized;
mod task;
mod weights;
mod workspace;

pub use batch::TokenBatch;
pub use directory::{EncoderConfig, LetterCase, ModelDirectory, PromptPooling, Prompts};
pub use error::{ModelError, RunError};
pub use families::Family;
pub use kernels::{Activation, Isa, Pooling};
pub use network::{LoadOptions, Network};
pub use precision::{Precision, UnknownPrecision};
pub use profile::{Cost, Operator, OperatorProfile};
pub use quantized::{
    IfThere, ProductChoice, QuantizeError, QuantizeSpec, Staged, UnknownProduct, quantize,
};
pub use task::{Normalize, ProblemType, ScoreActivation, Task};
pub use workspace::Workspace;
