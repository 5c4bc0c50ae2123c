//! Why a model could not be quantised.

use std::path::PathBuf;

use super::ProductChoice;
use crate::error::ModelError;

/// Why a quantised directory could not be written. Nothing of it is left behind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The model itself could not be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// f32 is what the model has already.
    #[error("precision `exact` is f32, which the model has already; choose near or fast")]
    Exact,
    /// The model is a quantised directory itself.
    #[error(
        "{}: is quantised already, and what was lost does not come back; quantise the original model", path.display()
    )]
    AlreadyQuantized {
        /// The directory.
        path: PathBuf,
    },
    /// A product was named that the model does not have.
    #[error("{choice}: this model has the layers 0 to {last}")]
    NoSuchLayer {
        /// As it was named.
        choice: ProductChoice,
        /// The model's last layer.
        last: usize,
    },
    /// Something is where the directory should be.
    #[error("{}: is there already; choose another place, or replace it with --force", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// Something that is no quantised directory is where one should be replaced.
    #[error(
        "{}: is no quantised model, so it is not replaced; choose another place, or remove it yourself", path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The system would not let a file be written.
    #[error("{}: cannot be written: {message}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
}
