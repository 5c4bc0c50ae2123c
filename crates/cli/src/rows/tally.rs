//! Counting rows as they are written.

use std::collections::BTreeMap;

use super::edits::Counts;

/// What became of the rows so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows of the output that this run wrote.
    pub(super) rows: u64,
    /// Rows that lost tokens for want of width.
    pub(super) cut: u64,
    pub(super) counts: Counts,
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// Rows that carry an error, those of earlier runs included.
    pub(super) failed_rows: u64,
}

impl Tally {
    pub(super) fn failed(&mut self, code: &'static str) {
        *self.errors.entry(code).or_default() += 1;
    }

    /// Rows of this run that carry an error.
    pub(super) fn failures(&self) -> u64 {
        self.errors.values().sum()
    }
}
