//! Predictions over HTTP.
//!
//! This crate knows HTTP: routes, bodies, keys, limits, pages. It knows nothing of how batches are made
//! or networks computed: each request becomes one call of [`engine::Service::submit`], whatever protocol
//! it came in.
//!
//! ```text
//! connection ─► gate ─► handler ─► Service::submit ─► Ticket ─► render ─► JSON
//!               keys    one of                        answers
//!               ids     the table
//!               counts  of routes
//! ```
//!
//! Own routes, OpenAI's, the Open Inference Protocol's and those of Text Embeddings Inference are
//! adapters over the same call. One table of routes makes the router, the OpenAPI document and the labels
//! of the metrics.
//!
//! ```no_run
//! use batchwright_server::{ModelSpec, ServerSettings, serve};
//! use engine::{Model, ServiceSettings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = ModelSpec {
//!     name: "minilm".to_owned(),
//!     version: "1".to_owned(),
//!     source: "all-MiniLM-L6-v2".to_owned(),
//!     builder: Model::builder("all-MiniLM-L6-v2").cache_bytes(64 << 20),
//!     settings: ServiceSettings::default(),
//! };
//! let settings = ServerSettings {
//!     addresses: vec![([127, 0, 0, 1], 8003).into()],
//!     ..ServerSettings::default()
//! };
//! serve(settings, vec![model], |addresses| eprintln!("listening on {addresses:?}"))?;
//! # Ok(())
//! # }
//! ```

mod app;
mod aside;
mod call;
mod coding;
mod connection;
mod decimal;
mod gate;
mod gpus;
mod grpc;
mod handlers;
mod metrics;
mod models;
mod openapi;
mod outlet;
mod passing;
mod permits;
mod plain;
mod predict;
mod problem;
mod reply;
mod routes;
mod rules;
mod run;
mod server;
mod settings;
mod tally;
mod tls;
mod traces;
mod unread;
mod upload;
mod wire;

pub use models::ModelSpec;
pub use problem::{Code, Limit, Problem};
pub use run::serve;
pub use server::{Server, ServerError, Stopped, router};
pub use settings::{Benchmarks, Control, OtlpSettings, Sampling, ServerSettings, TlsFiles};
