//! How a service batches, and how much it takes on.

use std::time::Duration;

use batch::{Load, QueueLimits};

use crate::error::Error;

/// Longer than anybody waits: a slip of units would leave rows waiting for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// How a service batches, and how much it takes on. All of it may be changed while it runs
/// ([`Service::set`](crate::Service::set)).
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// Most tokens of a batch; the model's own budget if not set.
    pub batch_tokens: Option<usize>,
    /// Most rows of a batch; the model's own bound if not set.
    pub batch_rows: Option<usize>,
    /// How long a row may wait for others to fill its batch. 0, the default, takes what waits: while all
    /// threads compute, batches fill by themselves.
    pub max_wait: Duration,
    /// After how long a waiting row moves up one class of [`Priority`](crate::Priority).
    pub ageing: Duration,
    /// The deadline, from its arrival, of a request that names none; `None` is no deadline.
    pub default_deadline: Option<Duration>,
    /// What may be in flight: accepted, and its answers not yet taken.
    pub limits: ServiceLimits,
    /// What may wait for a thread: distinct rows, their tokens, and the bytes of these.
    pub queue: QueueLimits,
    /// A batch that takes longer than this, or a row that waits longer for a thread, means that something
    /// hangs: [`Service::health`](crate::Service::health) says so.
    pub wedged_after: Duration,
}

/// What may be in flight: accepted, and its answers not yet taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Requests.
    pub requests: usize,
    /// Rows of one request.
    pub texts_per_request: usize,
    /// Tokens of all requests, cached rows left out.
    pub tokens: usize,
    /// Bytes that all requests take: their texts, tokens and answers.
    pub bytes: usize,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            batch_tokens: None,
            batch_rows: None,
            max_wait: Duration::ZERO,
            ageing: Duration::from_secs(1),
            default_deadline: None,
            limits: ServiceLimits::default(),
            queue: QueueLimits::default(),
            wedged_after: Duration::from_secs(60),
        }
    }
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            requests: 4_096,
            texts_per_request: 10_000,
            tokens: 4 << 20,
            bytes: 512 << 20,
        }
    }
}

impl ServiceSettings {
    /// Refuses what would let nothing through.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = |name, value: Option<usize>| match value {
            Some(0) => Err(Error::Option {
                name,
                problem: "0; it must be at least 1".to_owned(),
            }),
            _ => Ok(()),
        };
        let long = |name, value: Duration| match value > LONGEST_WAIT {
            true => Err(Error::Option {
                name,
                problem: format!(
                    "{} s; it may be {} s at most",
                    value.as_secs(),
                    LONGEST_WAIT.as_secs()
                ),
            }),
            false => Ok(()),
        };
        long("max_wait", self.max_wait)?;
        long("ageing", self.ageing)?;
        zero("batch_tokens", self.batch_tokens)?;
        zero("batch_rows", self.batch_rows)?;
        zero("limits.requests", Some(self.limits.requests))?;
        zero(
            "limits.texts_per_request",
            Some(self.limits.texts_per_request),
        )?;
        zero("limits.tokens", Some(self.limits.tokens))?;
        zero("limits.bytes", Some(self.limits.bytes))?;
        zero("queue.entries", Some(self.queue.entries))?;
        zero("queue.tokens", Some(self.queue.tokens))?;
        zero("queue.bytes", Some(self.queue.bytes))
    }
}

impl ServiceLimits {
    pub(super) fn most(&self) -> Load {
        Load {
            requests: self.requests,
            tokens: self.tokens,
            bytes: self.bytes,
        }
    }
}
