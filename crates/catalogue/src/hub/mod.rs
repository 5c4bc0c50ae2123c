//! The hub: its ids, its cache on disk, its HTTP interface, and fetching a model through them.
//!
//! The layout of the cache is that of Python's `huggingface_hub` and of the crate `hf-hub`, whose
//! types name the paths here, so a model fetched by either is found by the other:
//!
//! ```text
//! models--owner--name/refs/main                  the commit that `main` was when last fetched
//! models--owner--name/blobs/<sum>                contents
//! models--owner--name/snapshots/<commit>/<file>  links to blobs
//! ```
//!
//! The transfer itself is ours. `hf-hub`'s client has no timeouts, so that a host which drops
//! packets hangs a job for minutes; it renames a file to its place before anyone can check a sum;
//! and it continues a partial file without ever checking what came before.

mod cache;
mod client;
mod fetch;
mod id;

pub(crate) use cache::HubCache;
pub(crate) use fetch::{HubModel, fetch, local};
pub use id::HubId;
