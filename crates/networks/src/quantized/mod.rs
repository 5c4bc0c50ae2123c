//! Quantised directories: a model with its encoder's products as packed integers, ready to be mapped.
//!
//! ```text
//! OUT/
//!   batchwright.json          what it is: format, precision, every product's width, sums of all files
//!   batchwright.safetensors   packed products, and all other tensors that the model uses, in f32
//!   config.json, tokenizer.json, modules.json, 1_Pooling/…   the model's own, unchanged
//! ```
//!
//! The weights have a name of their own, so that nobody takes them for a checkpoint: programs which do not
//! know the format say that `model.safetensors` is missing.
//!
//! What is written is what a [`Network`](crate::Network) holds that was packed from the model, and it is
//! mapped back without a change: both answer with the same bits.

mod error;
mod file;
mod manifest;
mod mapped;
mod product_name;
mod staged;
mod sums;
mod write;

pub use error::QuantizeError;
pub(crate) use manifest::Manifest;
pub(crate) use mapped::MappedProducts;
pub use product_name::{ProductChoice, UnknownProduct};
pub(crate) use product_name::{ProductName, ProductPart};
pub use staged::{IfThere, Staged};
pub use write::{QuantizeSpec, quantize};

/// The manifest's name in a quantised directory.
pub(crate) const MANIFEST: &str = "batchwright.json";
/// The weights' name in a quantised directory.
pub(crate) const WEIGHTS: &str = "batchwright.safetensors";
