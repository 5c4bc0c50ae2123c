//! What turns hidden states into answers: pooling for embeddings, small classifiers for the rest.

mod classifier;
mod embedding;

pub(crate) use classifier::{SequenceHead, TokenHead};
pub(crate) use embedding::EmbeddingHead;
