//! Counting rows as they are written.

use std::collections::BTreeMap;

use batchwright::Answer;

/// What became of the rows so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    rows: u64,
    truncated: u64,
    errors: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn answered(&mut self, answer: &Answer) {
        self.rows += 1;
        self.truncated += u64::from(answer.truncated);
    }

    pub(super) fn failed(&mut self, code: &'static str) {
        self.rows += 1;
        *self.errors.entry(code).or_default() += 1;
    }

    /// Rows, bad ones included.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that were cut to the limit of tokens.
    pub(super) fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Rows that carry an error.
    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The same by code.
    pub(super) fn errors_by_code(&self) -> &BTreeMap<&'static str, u64> {
        &self.errors
    }
}
