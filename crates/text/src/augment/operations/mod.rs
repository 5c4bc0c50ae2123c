//! What each operation does at a place.

mod characters;
mod shuffle;
mod words;

pub(crate) use characters::{Alphabet, plan as character};
pub(crate) use shuffle::{arrange, shuffle};
pub(crate) use words::plan as word;

use super::clusters::Clusters;
use super::plan::Change;

/// A cluster at which an operation is to act.
pub(crate) struct Site<'a, C> {
    pub(crate) text: &'a str,
    pub(crate) clusters: &'a C,
    pub(crate) at: usize,
}

impl<C: Clusters> Site<'_, C> {
    /// The cluster so many after this one.
    pub(crate) fn cluster(&self, further: usize) -> Option<&str> {
        let at = self.at + further;
        if at >= self.clusters.count() {
            return None;
        }
        self.text
            .get(self.clusters.start(at)..self.clusters.start(at + 1))
    }
}

/// What an operation makes of a place: how many clusters it takes, and what becomes of them.
pub(crate) type Outcome = Option<(usize, Change)>;
