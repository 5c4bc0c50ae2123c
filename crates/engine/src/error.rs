//! What can go wrong: with a model or an option (an [`Error`]), or with one row (a [`RowError`]).

use std::path::PathBuf;

use networks::Task;
use text::{TextError, TokenCount};

/// Why a model could not be loaded or a call could not be made.
///
/// What is wrong with a single row is not an `Error`: it is that row's [`RowError`], and the other
/// rows are answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model could not be found or fetched.
    #[error(transparent)]
    Fetch(#[from] catalogue::FetchError),
    /// The model's files could not be used.
    #[error(transparent)]
    Model(#[from] networks::ModelError),
    /// The model could not be quantised.
    #[error(transparent)]
    Quantize(#[from] networks::QuantizeError),
    /// The tokenizer could not be used.
    #[error(transparent)]
    Tokenizer(#[from] text::TextError),
    /// An option has a value that cannot be honoured.
    #[error("option `{name}`: {problem}")]
    Option {
        /// The option's name, as in the builder and on the command line.
        name: &'static str,
        /// What is wrong, the limit and the remedy.
        problem: String,
    },
    /// A method for one task was called on a model of another.
    #[error(
        "the model `{model}` does {model_task}, not {asked}; load a model for {asked}, or use `predict`, which runs the model's own task"
    )]
    WrongTask {
        /// The model, as it was named.
        model: String,
        /// The task that it does.
        model_task: Task,
        /// The task that was asked for.
        asked: Task,
    },
    /// A row of a call that answers all or nothing failed.
    #[error("row {row}: {error}")]
    Row {
        /// Which of the rows, counted from 0.
        row: usize,
        /// What was wrong with it.
        error: RowError,
    },
    /// The cache on disk could not be used.
    #[error(
        "cache directory {}: {problem}; name another with `cache_dir`, or leave it out", path.display()
    )]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// What the store said.
        problem: String,
    },
    /// The server that keeps answers for several processes could not be used.
    #[error("the cache's server: {problem}")]
    CacheServer {
        /// What it said.
        problem: String,
    },
    /// The saved profile could not be read or written.
    #[error("profile {}: {problem}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why one row has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RowError {
    /// A stable code, such as [`codes::TOO_LONG`], for programs.
    pub code: &'static str,
    /// What is wrong, where, and what to do, for people.
    pub message: String,
    /// The limit that the row is beyond, where that is what is wrong.
    pub limit: Option<RowLimit>,
}

/// A limit that a row is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLimit {
    /// Its name, as on the command line, with underscores.
    pub name: &'static str,
    /// What the row has; at least that where it was not counted to its end.
    pub value: u64,
    /// The most that it may have.
    pub most: u64,
}

impl RowError {
    /// A row's error with a stable code and words.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            limit: None,
        }
    }

    /// What is wrong with a text, by its tokeniser.
    pub(crate) fn of_text(error: &TextError) -> Self {
        let (code, limit) = match *error {
            TextError::TooLong { tokens, limit } => {
                let (TokenCount::Exactly(value) | TokenCount::AtLeast(value)) = tokens;
                let limit = RowLimit {
                    name: "max_tokens",
                    value: value as u64,
                    most: limit as u64,
                };
                (codes::TOO_LONG, Some(limit))
            }
            _ => (codes::TOKENIZE, None),
        };
        Self {
            limit,
            ..Self::new(code, error.to_string())
        }
    }
}

/// The codes of the row errors that the engine itself gives; sources of rows add their own.
pub mod codes {
    /// The text has more tokens than the model or the caller allows.
    pub const TOO_LONG: &str = "too_long";
    /// The text could not be tokenised.
    pub const TOKENIZE: &str = "tokenize";
    /// A pair was given to a model that takes single texts, or the reverse.
    pub const WRONG_INPUT: &str = "wrong_input";
    /// The model computed NaN or infinity.
    pub const NOT_FINITE: &str = "not_finite";
    /// The network cannot take the row (its tokenizer belongs to another model), or a bug in this
    /// program: the row was given up, the others go on.
    pub const INTERNAL: &str = "internal";
    /// The request's deadline passed while it was read, or the row waited for a thread.
    pub const DEADLINE: &str = "deadline";
    /// The request's deadline had passed when it came.
    pub const EXPIRED: &str = "expired";
}
