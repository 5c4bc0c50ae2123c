//! CPU compute for transformer encoders: plain functions over slices of f32, as fast as the machine
//! allows, safe to call.
//!
//! What it is: the packed matrix product with fused epilogues, in f32 ([`Linear`]) and in integers
//! ([`IntegerLinear`]), attention over texts of different lengths ([`attention`]), [`layer_norm`],
//! activations, embeddings, pooling, and the few operators on finished rows. Instructions are chosen at run
//! time ([`Isa`]); one binary runs everywhere. All of the project's vector `unsafe` lives here, behind checks
//! that return a [`ShapeError`].
//!
//! What it is not: it knows no models and no files, allocates nothing while computing but
//! [`AttentionScratch`], which grows to the longest text, and starts no threads ([`peak_gflops`], which
//! measures them, apart): whoever owns threads lends them as a [`Team`].
//!
//! # Rows without padding
//!
//! A batch is the tokens of all its texts, one row after the other, and the texts' lengths. One layer
//! of an encoder flows so:
//!
//! ```text
//! x [tokens][hidden] ─ Linear (Q, K, V packed as one) ─► qkv ─ attention per text and head ─► a
//! a ─ Linear + Residual(x) ─► y ─ layer_norm ─► y ─ Linear + Activate(gelu) ─► f
//! f ─ Linear + Residual(y) ─► x' ─ layer_norm ─► x'
//! ```
//!
//! # The same bits
//!
//! A row's result does not depend on the other rows, on how many there are, or on the number of
//! threads: each output adds its terms in one order, which depends on the row's own width or the
//! text's own length. Every operator's tests hold this bit for bit.
//!
//! # Example
//!
//! ```
//! use batchwright_kernels::{Activation, Epilogue, Isa, Linear, Solo};
//!
//! let isa = Isa::detect();
//! let (weight, bias) = ([0.5, -1.0, 2.0, 0.0, 1.0, 1.0], [0.0, 1.0]);
//! let layer = Linear::pack(isa, &weight, Some(&bias), 2, 3)?;
//! let mut y = [0.0; 2];
//! layer.apply(&Solo, &[2.0, 1.0, 3.0], Epilogue::Activate(Activation::Relu), &mut y)?;
//! assert_eq!(y, [6.0, 5.0]);
//! # Ok::<(), batchwright_kernels::ShapeError>(())
//! ```
//!
//! # How it is built
//!
//! Each operator is written once, over the vectors of `simd`, and compiled for each instruction set.
//! `tile` is the micro-kernel that products and attention share; `packing` lays weights out for it.

mod activation;
mod attention;
mod embedding;
mod error;
#[cfg(test)]
mod fixtures;
mod integer;
mod isa;
mod layer_norm;
mod linear;
mod memory;
mod packing;
mod peak;
mod pooling;
mod product;
mod rows;
mod simd;
mod team;
mod tile;
mod vecmath;

pub use activation::{Activation, activate, sigmoid};
pub use attention::{AttentionInput, AttentionScratch, PositionBias, attention};
pub use embedding::{EmbeddingIds, EmbeddingTables, embed};
pub use error::ShapeError;
pub use integer::{IntegerLinear, IntegerParts, PackedBytes, PanelShape, QuantizeScratch, Width};
pub use isa::{Isa, UnknownIsa};
pub use layer_norm::{LayerNorm, layer_norm};
pub use linear::{Epilogue, Linear, LinearPart};
pub use memory::{AlignedVec, Number};
pub use peak::peak_gflops;
pub use pooling::{Pooling, TextRows, pool};
pub use rows::{normalize_rows, softmax_rows};
pub use team::{Cpu, Solo, Team};
