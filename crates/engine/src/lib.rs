//! A loaded model ready to run: prepare, cache, batch, execute, answer.
//!
//! The engine takes rows of text and gives answers: vectors, labels, scores or entities. It knows
//! neither files nor HTTP; those are fronts that feed it windows of rows. It decides nothing about
//! which rows run together (`batch` does) and computes nothing itself (`networks` and `kernels` do):
//! it owns the threads, the buffers, the cache and the order.
//!
//! ```no_run
//! use batchwright_engine::Model;
//!
//! # fn main() -> Result<(), batchwright_engine::Error> {
//! let model = Model::builder("all-MiniLM-L6-v2").batch_size(32).cache_entries(1_000).load()?;
//! let vectors = model.embed(["turn on the lights", "what is my balance"])?;
//! # Ok(())
//! # }
//! ```
//!
//! # The life of a row
//!
//! 1. A window of rows is tokenised on a preparing thread. Rows that come out equal become one.
//! 2. Each distinct row is looked up in the cache by a hash of everything that determines its answer.
//! 3. What is left is sorted by length and cut by the token budget.
//! 4. Workers, one a core, each run their own batches. If there is only one batch (a single query),
//!    all threads share its products instead.
//! 5. Answers go into the cache and back in input order. A row that failed has a [`RowError`] in its
//!    place; the others are not touched by it.
//!
//! Requests that come one by one are served by a [`Service`], which batches them as they come, computes equal
//! rows once, and refuses what it cannot take on.
//!
//! A row's answer has the same bits whatever rows ran beside it, at any number of threads.

mod agreement;
mod answer;
mod benchmark;
mod builder;
mod cache;
mod core;
mod error;
mod execute;
mod machine;
mod memory;
mod model;
mod pipeline;
mod prediction;
mod prepare;
mod profile;
mod progress;
mod service;
mod stream;
mod team;
mod tokenize;

pub use agreement::{Accuracy, Agreement, Comparison, Likeness};
pub use answer::{Answer, Origin};
pub use benchmark::{BenchmarkReport, BenchmarkSpec, BudgetResult, Latency};
pub use builder::{
    DEFAULT_BATCH_SIZE, DEFAULT_DISK_CACHE_BYTES, DEFAULT_WINDOW, ModelBuilder, ProfileUse,
};
pub use cache::{CacheStats, RemoteStats};
pub use catalogue::{
    Attempt, Attempts, FetchError, FetchProgress, NoProgress, Remedy, SourceError,
};
pub use error::{Error, RowError, RowLimit, codes};
pub use kernels::{Activation, Isa, Pooling};
pub use machine::{Machine, available_threads};
pub use memory::MemoryStats;
pub use model::Model;
pub use networks::{
    Cost, EncoderConfig, Family, IfThere, LetterCase, ModelDirectory, ModelError, Normalize,
    Operator, OperatorProfile, Precision, ProblemType, ProductChoice, PromptPooling, Prompts,
    QuantizeError, QuantizeSpec, ScoreActivation, Staged, Task, UnknownProduct,
};
pub use pipeline::{AnsweredWindow, CacheUse, Window, Windows};
pub use prediction::{LabelScore, Prediction, Rendering, Scores};
pub use prepare::Source;
pub use profile::Profile;
pub use progress::{Progress, ProgressHandle};
pub use service::{
    Admitted, Compute, Deadline, Health, HistogramStats, Priority, QueueLimits, Reading, Refused,
    Request, Served, Service, ServiceLimits, ServiceSettings, ServiceStats, Ticket, Timing, Wakers,
};
pub use stream::{AsyncPredictStream, PredictStream};
pub use text::entities::{Aggregation, Entity};
pub use text::{Input, OnLong, TextError, TokenCount, TokenSpan, Truncate};
pub use tokenize::Tokens;
