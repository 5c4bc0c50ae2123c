//! Operations on words.

use crate::augment::kind::Kind;
use crate::augment::plan::{Change, Planned};
use crate::augment::words::Word;

/// What an operation makes of a word; nothing where it does not apply. `gone` says whether all words
/// before it are dropped.
pub(crate) fn plan(kind: Kind, words: &[Word], at: usize, gone: bool) -> Option<(usize, Planned)> {
    match kind {
        Kind::DropWords => drop(words, at, gone).map(|planned| (1, planned)),
        _ => None,
    }
}

/// With the white space before it; with that behind it while nothing is left before it. The last
/// word that is left stays.
fn drop(words: &[Word], at: usize, gone: bool) -> Option<Planned> {
    let word = words[at];
    let range = match (gone, at.checked_sub(1)) {
        (false, Some(before)) => words[before].end..word.end,
        _ => word.start..words.get(at + 1)?.start,
    };
    Some(Planned {
        range,
        kind: Kind::DropWords,
        change: Change::Remove,
    })
}
