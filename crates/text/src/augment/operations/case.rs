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

/// Whether a text is written otherwise in a case.
fn differs(text: &str, case: Case) -> bool {
    if text.is_ascii() {
        return differs_in_ascii(text.as_bytes(), case);
    }
    let mut own = text.chars();
    let mut same = true;
    case.write(text, |c| same &= own.next() == Some(c));
    !same || own.next().is_some()
}

/// The same without writing it.
fn differs_in_ascii(text: &[u8], case: Case) -> bool {
    let letters = || text.iter().filter(|byte| byte.is_ascii_alphabetic());
    match case {
        Case::Same => false,
        Case::Upper => letters().any(u8::is_ascii_lowercase),
        Case::Lower => letters().any(u8::is_ascii_uppercase),
        Case::Title => {
            let small_first = letters().next().is_some_and(u8::is_ascii_lowercase);
            small_first || letters().skip(1).any(u8::is_ascii_uppercase)
        }
        Case::Flipped => letters().next().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it an edit would be counted that changes nothing, or one be left out.
    #[test]
    fn the_short_way_sees_the_same_differences() {
        let mut table = testing::CaseTable::new("what another case would change");
        for text in [
            "", "a", "A", "Ab", "aB", "AB", "ab", "1", "1a", "1A", "-aB", "-Ab", "A b",
        ] {
            for case in [
                Case::Same,
                Case::Upper,
                Case::Lower,
                Case::Title,
                Case::Flipped,
            ] {
                let mut written = String::new();
                case.write(text, |c| written.push(c));
                table.equal(
                    format!("{text:?} {case:?}"),
                    &differs(text, case),
                    &(written != text),
                );
            }
        }
        table.finish();
    }
}
