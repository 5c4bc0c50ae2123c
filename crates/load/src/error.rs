//! What keeps a load test from beginning.

/// Why nothing could be measured.
///
/// A request that fails while it is measured is no error: it is counted, see
/// [`Failure`](crate::Failure).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The address is none that could be called.
    #[error("{url}: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Nobody listens there.
    #[error("{url}: no connection: {reason}")]
    Connect {
        /// As it was given.
        url: String,
        /// The system's words.
        reason: String,
    },
    /// The first request, sent alone, was not answered.
    #[error("POST {path} alone was answered {status}, so nothing was measured: {body}")]
    Refused {
        /// Where it was sent.
        path: String,
        /// The status of the answer.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// What came back is not HTTP/1.1.
    #[error("{url}: what came back cannot be understood: {reason}")]
    NotHttp {
        /// As it was given.
        url: String,
        /// Where it departs.
        reason: String,
    },
    /// A setting that cannot be.
    #[error("option `{option}`: {reason}")]
    Option {
        /// The setting's name.
        option: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The system gave no thread, timer or poll.
    #[error("the system refused {what}: {reason}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The system's words.
        reason: String,
    },
}
