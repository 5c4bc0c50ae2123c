//! A load generator for HTTP servers that answer about texts.
//!
//! It measures what a server's users would see, this project's server or another's that speaks one of
//! the same [protocols](Protocol). It is not a test of answers: their bytes are counted, not read.
//!
//! # Open and closed loop
//!
//! In **open loop** ([`Pacing::Open`]) requests are due at random times that do not depend on the
//! server ([`Arrivals`]), and latency counts from the time when a request was *due*. A server that stalls
//! for a second then shows a second of latency to each of those who would have come meanwhile. In **closed
//! loop** ([`Pacing::Closed`]) each connection waits for its answer before it asks again: whoever would
//! have come while it waited is left out (Gil Tene's *coordinated omission*), but the throughput is the
//! most that so many connections get.
//!
//! # What it promises
//!
//! * No request is left out: what timed out, was underway at the end or never found a free
//!   connection counts with the time that it had waited.
//! * Percentiles are of histograms with a relative error of at most a thousandth, with the interval
//!   in which they lie with 95 % confidence by [order statistics](rank_interval).
//! * Requests are made before anything is measured, and a thread serves all of its connections: what
//!   the generator itself takes of the processor is small, and in the [report](LoadReport).
//!
//! # The flow
//!
//! ```text
//! texts ─► Payloads ─► Load::prepare ─► Load::run ─┬─► thread: connections, clock ─► Tally
//!                      first request               │                                  │ each window
//!                      alone                       └─◄── Stability: enough? ◄─────────┘
//!                                                        │
//!                                                     LoadReport ─► JSON, svg()
//! ```
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use batchwright_load::{Endpoint, Load, LoadSpec, Pacing, Payloads};
//!
//! let target = "http://localhost:8003".parse()?;
//! let texts = ["turn on the lights".to_owned(), "what is my balance".to_owned()];
//! let payloads = Payloads::new(&target, &Endpoint::default(), &[], &texts, 1)?;
//! let load = Load::prepare(target, payloads, Duration::from_secs(10))?;
//! let spec = LoadSpec {
//!     pacing: Pacing::Open { per_second: 500.0 },
//!     connections: 256,
//!     ..LoadSpec::default()
//! };
//! let report = load.run(&spec, |window| println!("{}", window.p99_ms), || false)?;
//! println!("{} ms", report.p99_ms());
//! # Ok::<(), batchwright_load::LoadError>(())
//! ```

mod alarm;
mod arrivals;
mod chart;
mod connection;
mod error;
mod histogram;
mod http;
mod interval;
mod payload;
mod protocol;
mod report;
mod run;
mod sender;
mod stability;
mod sweep;
mod target;
mod window;

pub use arrivals::Arrivals;
pub use chart::{svg, sweep_svg};
pub use error::LoadError;
pub use histogram::{Latencies, LatencySummary, Percentile};
pub use interval::{MeanInterval, RankInterval, mean_interval, rank_interval};
pub use payload::Payloads;
pub use protocol::{Action, Endpoint, Protocol};
pub use report::{ByLength, Generator, LoadReport};
pub use run::{Ended, Load, LoadSpec, Pacing, Until};
pub use stability::Stability;
pub use sweep::{Search, SweepReport, SweepTarget, Trial, Watched};
pub use target::Target;
pub use window::{Failure, Tally, Window};
