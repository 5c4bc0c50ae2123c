//! The batching core: pure decisions about which rows run together.
//!
//! It knows neither models nor threads nor clocks: lengths go in, batches come out, so that every
//! decision can be tested with nothing but numbers. What runs the batches lives in `engine`.
//!
//! There are two fronts. A file's rows are known a window at a time ([`plan`]); requests come one by one
//! and have deadlines ([`Queue`]).
//!
//! A window of rows is sorted by length, cut by a token budget and a bound on rows, and run longest
//! first; [`InOrder`] hands what was computed out of order back in input order.
//!
//! ```
//! use batchwright_batch::{plan, Budget};
//!
//! // Five texts of these many tokens, at most 12 tokens a batch.
//! let plan = plan(&[3, 9, 4, 2, 12], Budget::tokens(12));
//! let batches: Vec<&[u32]> = plan.batches().collect();
//! assert_eq!(batches, [&[4][..], &[1][..], &[2, 0, 3][..]]);
//! ```

mod admission;
mod budget;
mod order;
mod padding;
mod plan;
mod queue;

pub use admission::{Admission, Load, Permit};
pub use budget::{Budget, Share, Weights, default_tokens};
pub use order::InOrder;
pub use padding::Padding;
pub use plan::{Plan, plan};
pub use queue::{Batch, Entry, Full, Held, Place, Queue, QueueLimits, QueuePolicy, Take};
