//! What is asked of a service, and why it may say no.

use std::time::{Duration, Instant};

use text::{Input, OnLong, Truncate};

use crate::pipeline::CacheUse;

/// Rows that are answered together.
///
/// ```no_run
/// use batchwright_engine::{Deadline, Input, Request};
///
/// let request = Request::new(vec![Input::from("turn on the lights")]);
/// assert_eq!(request.deadline, Deadline::Default);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The rows, of which each has an answer or an error of its own.
    pub inputs: Vec<Input>,
    /// Which requests go before it.
    pub priority: Priority,
    /// When nobody needs the answer any more: rows whose computing has not begun by then are dropped and
    /// carry [`codes::DEADLINE`](crate::codes::DEADLINE), or [`codes::EXPIRED`](crate::codes::EXPIRED) if it had
    /// passed when the request came.
    pub deadline: Deadline,
    /// When it came, if that was before it is submitted: its default deadline counts from then, and it is
    /// [`codes::EXPIRED`](crate::codes::EXPIRED) only if its deadline had passed by then.
    pub arrived: Option<Instant>,
    /// Whether known answers are used and new ones kept. Without it, equal rows of other requests are not
    /// shared with either.
    pub cache: CacheUse,
    /// How texts become tokens, where that differs from how the model was loaded.
    pub reading: Reading,
    /// Words to put before every text instead of the prompt that the model was loaded with; empty ones are
    /// none. Not for models whose prompt is left out of pooling
    /// ([`PromptPooling::Excluded`](crate::PromptPooling::Excluded)): there it is not looked at.
    pub prompt: Option<String>,
}

impl Request {
    /// A request for these rows, with everything else as usual.
    pub fn new(inputs: Vec<Input>) -> Self {
        Self {
            inputs,
            ..Self::default()
        }
    }
}

/// When nobody needs an answer any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deadline {
    /// As long after its arrival as the service's own
    /// [`default_deadline`](crate::ServiceSettings::default_deadline) says.
    #[default]
    Default,
    /// It is needed however late it comes.
    Never,
    /// From then on.
    At(Instant),
}

impl From<Option<Instant>> for Deadline {
    /// `None` is the default.
    fn from(at: Option<Instant>) -> Self {
        at.map_or(Self::Default, Self::At)
    }
}

/// Which of the requests that wait goes first.
///
/// It decides by how much one may overtake another, not whether: a request that waits moves up a class
/// each [`ageing`](crate::ServiceSettings::ageing), so none waits for ever.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Somebody is waiting: before all others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// What can wait: jobs in the background.
    Low,
}

/// How a request's texts become tokens; `None` is as the model was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Which end of a text that is too long goes.
    pub truncate: Option<Truncate>,
    /// What becomes of a text that is too long.
    pub on_long: Option<OnLong>,
    /// Most tokens of a row, special ones included. More than the model takes is as much as it takes.
    pub max_tokens: Option<usize>,
}

/// Why a request was not accepted: nothing was computed for it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The service is closing.
    #[error("the model is being stopped and takes no new requests; ask again, elsewhere or later")]
    Closed,
    /// What is in flight already leaves no room; the same request may be accepted later.
    #[error(
        "too many requests: {limit} would be {value} and may be {most}; try again in {:.1} s",
        retry_after.as_secs_f64()
    )]
    TooMany {
        /// The limit's name, as among the settings.
        limit: &'static str,
        /// What it would have been with this request.
        value: u64,
        /// What it may be.
        most: u64,
        /// When there is likely to be room.
        retry_after: Duration,
    },
    /// It is larger than what is ever accepted at once.
    #[error("the request is too large: {limit} is {value} and may be {most}; send it in parts")]
    TooLarge {
        /// The limit's name, as among the settings.
        limit: &'static str,
        /// What the request has.
        value: u64,
        /// What it may have.
        most: u64,
    },
}

impl Refused {
    /// A stable code for programs: `closed`, `too_many` or `too_large`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::TooMany { .. } => "too_many",
            Self::TooLarge { .. } => "too_large",
        }
    }
}
