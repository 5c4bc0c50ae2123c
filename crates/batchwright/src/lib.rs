//! Batch prediction with transformer text encoders, as fast as the processor allows.
//!
//! ```no_run
//! # fn main() -> Result<(), batchwright::Error> {
//! let model = batchwright::Model::builder("all-MiniLM-L6-v2").batch_size(32).cache_entries(1_000).load()?;
//! let vectors = model.embed(["turn on the lights", "what is my balance"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Start at [`Model`]: `embed`, `classify`, `rerank` and `tag` answer a list; [`Model::predict`] one
//! row; [`Model::predict_batch`] a slice, with progress; [`Model::predict_stream`] rows without end,
//! in constant memory. Three promises hold everywhere:
//!
//! - A row's answer has the same bits alone or in any batch, at any number of threads.
//! - As many answers come as there were rows, in their order; a bad row is a [`RowError`] in its place.
//! - Memory is bounded by options, not by the number of rows.
//!
//! This crate only gathers what a program needs; the work is done in the crates below it.

pub use engine::*;
