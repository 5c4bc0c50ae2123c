//! Where models come from: directories, a hub, package registries.
//!
//! [`resolve`] turns the words a user types into a directory in Hugging Face layout on this
//! machine, whole and checked. It knows nothing of what is in the files beyond which of them a model
//! needs; reading them is the business of the crate `networks`.
//!
//! ```
//! use batchwright_catalogue::{Network, ResolveOptions, NoProgress, resolve};
//!
//! # let home = tempfile::tempdir().unwrap();
//! # let my_model = home.path().join("my-model");
//! # std::fs::create_dir(&my_model).unwrap();
//! # std::fs::write(my_model.join("config.json"), "{}").unwrap();
//! # let my_model = my_model.to_str().unwrap();
//! let offline = ResolveOptions { network: Network::Offline, ..ResolveOptions::default() };
//! let model = resolve(my_model, &offline, &NoProgress)?;
//! assert!(model.directory.join("config.json").is_file());
//!
//! let error = resolve("all-MiniLM-L66", &offline, &NoProgress).unwrap_err();
//! assert!(error.to_string().contains("all-MiniLM-L6-v2"), "it lists what there is: {error}");
//! # Ok::<(), batchwright_catalogue::FetchError>(())
//! ```
//!
//! # The way of a name
//!
//! ```text
//! words ──► directory with config.json ───────────────────────────────────────► directory
//!   │
//!   └─────► catalogue entry ──► is it here, from any source? ──► sums agree ──► directory
//!           or hub id             │ no
//!                                 └─► each source in order: fetch ► check ► rename into place
//! ```
//!
//! # What is promised
//!
//! * A file is checked before it is used: against the SHA-256 of the catalogue's table where one is
//!   recorded, else against the hub's own sum of it, and from then on against what was there at
//!   first use (*trust on first use*; the record lies in `receipts/` beside the models).
//! * A model is there whole or not at all. Killing a download leaves parts under other names, which
//!   the next continues or removes. Two processes that want the same model wait for each other.
//! * [`Network::Offline`] opens no connection and starts no process.
//! * A host that does not answer costs seconds; a connection that breaks is taken up where it broke.
//!
//! The places on disk are described at [`ResolveOptions`].

mod error;
mod hub;
mod layout;
mod options;
mod progress;
mod pypi;
mod resolve;
mod store;
mod sums;
mod table;

pub use error::{Attempt, Attempts, FetchError, Remedy, SourceError};
pub use hub::HubId;
pub use options::{Environment, Network, Patience, ResolveOptions, Token};
pub use progress::{FetchProgress, NoProgress};
pub use resolve::{Resolved, resolve, resolve_entry};
pub use table::{Entry, FileSum, Purpose, Source, entries, find};
