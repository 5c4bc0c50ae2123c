//! Sums of files: what tells a whole file from a damaged one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// Large enough that hashing runs at the speed of the hash, small enough to stay in cache. Reading and not
/// mapping keeps the pages of word tables out of the process.
const CHUNK_BYTES: usize = 256 * 1024;

/// Length and BLAKE3 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSum {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

impl FileSum {
    /// Sums up a file.
    pub(super) fn of(path: &Path) -> Result<FileSum, ModelError> {
        let mut hash = blake3::Hasher::new();
        let bytes = read_through(path, &mut hash).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ModelError::MissingFile {
                path: path.to_owned(),
                what: "a file of the quantised model",
                remedy: super::manifest::AGAIN.to_owned(),
            },
            _ => ModelError::Unreadable {
                path: path.to_owned(),
                message: error.to_string(),
            },
        })?;
        Ok(FileSum::new(bytes, &hash))
    }

    pub(super) fn new(bytes: u64, hash: &blake3::Hasher) -> FileSum {
        FileSum {
            bytes,
            blake3: hash.finalize().to_hex().to_string(),
        }
    }

    /// Refuses a file which is not the one that was summed up.
    pub(super) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let found = FileSum::of(path)?;
        if found == *self {
            return Ok(());
        }
        let problem = if found.bytes == self.bytes {
            "was altered or damaged since the model was quantised".to_owned()
        } else {
            format!(
                "has {} bytes, and had {} when the model was quantised",
                found.bytes, self.bytes
            )
        };
        Err(ModelError::QuantizedFile {
            path: path.to_owned(),
            problem,
        })
    }
}

fn read_through(path: &Path, hash: &mut blake3::Hasher) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                hash.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
