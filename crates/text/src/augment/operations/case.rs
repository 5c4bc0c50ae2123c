//! Upper and lower case, of characters and of words.

use super::{Outcome, Site, Spot, WordOutcome};
use crate::augment::clusters::Clusters;
use crate::augment::plan::{Case, Change};
use crate::augment::random::scaled;

/// Applies to a cluster of which some character has another case.
pub(super) fn flip<C: Clusters>(site: &Site<'_, C>) -> Outcome {
    let own = site.cluster(0)?;
    differs(own, Case::Flipped).then_some((1, Change::Case(Case::Flipped)))
}

/// All capitals, small letters alone, or the first a capital: of those that the word is not written in,
/// each is as likely.
pub(super) fn capitals<C>(spot: &Spot<'_, C>, number: u64) -> Option<WordOutcome> {
    let word = spot.words[spot.at];
    let own = &spot.text[word.start..word.end];
    let mut cases = [Case::Upper, Case::Lower, Case::Title];
    // Tried in a random order, of which the first that differs is any of those that do.
    cases.rotate_left(scaled(number, 3));
    if number & 1 == 0 {
        cases.swap(1, 2);
    }
    let case = cases.into_iter().find(|case| differs(own, *case))?;
    Some((1, word.start..word.end, Change::Case(case)))
}

fn differs(text: &str, case: Case) -> bool {
    let mut own = text.chars();
    let mut same = true;
    case.write(text, |c| same &= own.next() == Some(c));
    !same || own.next().is_some()
}
