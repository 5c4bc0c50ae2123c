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

/// All capitals, no capitals, or the first alone: one of those that the word is not written in.
pub(super) fn capitals<C>(spot: &Spot<'_, C>, number: u64) -> Option<WordOutcome> {
    let word = spot.words[spot.at];
    let own = &spot.text[word.start..word.end];
    let others = || {
        [Case::Upper, Case::Lower, Case::Title]
            .into_iter()
            .filter(|case| differs(own, *case))
    };
    let case = others().nth(scaled(number, others().count()))?;
    Some((1, word.start..word.end, Change::Case(case)))
}

fn differs(text: &str, case: Case) -> bool {
    let mut own = text.chars();
    let mut same = true;
    case.write(text, |c| same &= own.next() == Some(c));
    !same || own.next().is_some()
}
