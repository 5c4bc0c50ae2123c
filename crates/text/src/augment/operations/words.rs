//! Dropping, repeating, splitting and joining words.

use super::{Spot, WordOutcome};
use crate::augment::clusters::Clusters;
use crate::augment::plan::Change;
use crate::augment::random::scaled;

/// With what stands between it and the word before; while nothing is left before it, with what
/// stands behind. The last word that is left stays.
pub(super) fn drop<C>(spot: &Spot<'_, C>) -> Option<WordOutcome> {
    let word = spot.words[spot.at];
    let range = match (spot.leads, spot.at.checked_sub(1)) {
        (false, Some(before)) => spot.words[before].end..word.end,
        _ => word.start..spot.words.get(spot.at + 1)?.start,
    };
    Some((1, range, Change::Remove))
}

/// With what stands behind it between the two, or before it for the last.
pub(super) fn repeat<C>(spot: &Spot<'_, C>) -> Option<WordOutcome> {
    let own = spot.words[spot.at];
    let has_next = spot.at + 1 < spot.words.len();
    let word = spot.at - usize::from(!has_next && spot.at > 0);
    let word = u32::try_from(word).ok()?;
    Some((1, own.start..own.end, Change::TwiceWith { word }))
}

/// By a space, between any two of its characters.
pub(super) fn split<C: Clusters>(spot: &Spot<'_, C>, number: u64) -> Option<WordOutcome> {
    let word = spot.words[spot.at];
    let places = word.clusters - 1;
    let at = spot.clusters.start(word.first + 1 + scaled(number, places));
    (places > 0).then_some((1, at..at, Change::Character(' ')))
}

/// With the next: what stands between them goes.
pub(super) fn join<C>(spot: &Spot<'_, C>) -> Option<WordOutcome> {
    let next = spot.words.get(spot.at + 1)?;
    Some((2, spot.words[spot.at].end..next.start, Change::Remove))
}
