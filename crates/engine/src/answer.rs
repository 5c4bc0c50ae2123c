//! What the network computed for a row, before it is rendered as labels, vectors or entities.

use std::sync::Arc;

use crate::error::{RowError, codes};
use crate::prepare::{PreparedRow, Source};

/// The network's output for one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Embedding: the vector, `[dimensions]`. Classification and pair scoring: logits, `[labels]`.
    /// Token classification: logits, `[tokens][labels]`.
    pub values: Arc<[f32]>,
    /// Tokens of the row as the network saw it.
    pub tokens: u32,
    /// Whether the row was cut to the model's or the caller's limit.
    pub truncated: bool,
    /// How the answer came about.
    pub origin: Origin,
    /// The text and its tokens' spans; present for token classification alone.
    pub source: Option<Arc<Source>>,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Computed for this row.
    Computed,
    /// Taken from the cache.
    Cache,
    /// Computed for an equal row of the same window, or of another request in flight.
    Duplicate,
}

/// What came of a distinct row.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) origin: Origin,
    pub(crate) answer: Result<Arc<[f32]>, RowError>,
}

/// Gives each row of a window the outcome of the distinct row that stands for it.
pub(crate) fn assemble(
    rows: Vec<Result<PreparedRow, RowError>>,
    outcomes: &[Option<Outcome>],
) -> Vec<Result<Answer, RowError>> {
    // The first row of several equal ones carries what was computed; the others repeat it.
    let mut seen = vec![false; outcomes.len()];
    let answers = rows.into_iter().map(|row| {
        let row = row?;
        let at = row.unique as usize;
        let Some(outcome) = &outcomes[at] else {
            return Err(RowError::new(
                codes::INTERNAL,
                "no answer was computed for this row",
            ));
        };
        let repeated = std::mem::replace(&mut seen[at], true);
        let origin = match outcome.origin {
            Origin::Computed if repeated => Origin::Duplicate,
            origin => origin,
        };
        Ok(Answer {
            values: outcome.answer.clone()?,
            tokens: row.tokens,
            truncated: row.truncated,
            origin,
            source: row.source,
        })
    });
    answers.collect()
}
