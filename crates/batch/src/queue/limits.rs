//! How much may wait.

use std::fmt;

use super::Entry;

/// What may wait in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Entries.
    pub entries: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Entries.
    pub entries: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// A queue has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// `queue.entries`, `queue.tokens` or `queue.bytes`.
    pub limit: &'static str,
    /// What waits already.
    pub held: usize,
    /// What was to be added.
    pub more: usize,
    /// What may wait.
    pub most: usize,
}

impl QueueLimits {
    /// No limits.
    pub const NONE: Self = Self {
        entries: usize::MAX,
        tokens: usize::MAX,
        bytes: usize::MAX,
    };

    pub(super) fn admit(&self, held: Held, more: Held) -> Result<(), Full> {
        let fits = |limit, held: usize, more: usize, most| match held.checked_add(more) {
            Some(sum) if sum <= most => Ok(()),
            _ => Err(Full {
                limit,
                held,
                more,
                most,
            }),
        };
        fits("queue.entries", held.entries, more.entries, self.entries)?;
        fits("queue.tokens", held.tokens, more.tokens, self.tokens)?;
        fits("queue.bytes", held.bytes, more.bytes, self.bytes)
    }
}

impl Default for QueueLimits {
    /// Room for a few requests of ten thousand texts.
    fn default() -> Self {
        Self {
            entries: 65_536,
            tokens: 2 << 20,
            bytes: 64 << 20,
        }
    }
}

impl Held {
    /// What one entry takes.
    pub fn of(entry: &Entry) -> Self {
        Self {
            entries: 1,
            tokens: entry.tokens,
            bytes: entry.bytes,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            entries: self.entries + more.entries,
            tokens: self.tokens + more.tokens,
            bytes: self.bytes + more.bytes,
        }
    }

    /// Without this part of it.
    #[must_use]
    pub fn less(self, part: Self) -> Self {
        Self {
            entries: self.entries - part.entries,
            tokens: self.tokens - part.tokens,
            bytes: self.bytes - part.bytes,
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            held,
            more,
            most,
        } = self;
        write!(f, "{limit}: {held} wait, {more} more would pass {most}")
    }
}

impl std::error::Error for Full {}
