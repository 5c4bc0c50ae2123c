//! Edits that are decided and not yet made.

use std::ops::Range;

use super::edited::Edit;
use super::kind::Kind;
use super::operations::Pool;
use super::words::Word;

/// One edit to come.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The bytes it takes; no two edits' bytes overlap.
    pub(crate) range: Range<usize>,
    pub(crate) kind: Kind,
    pub(crate) change: Change,
}

/// What is written in place of an edit's bytes. Small, so that it is handed on in registers: through
/// memory, its parts written apart and read as one, it would cost more than all else of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Remove,
    /// A character.
    Character(char),
    /// A character and the bytes themselves.
    Before(char),
    /// The bytes themselves and a character.
    After(char),
    /// The bytes twice.
    Twice,
    /// The bytes twice, with what stands behind a word between them, or a space if that is the last.
    TwiceWith { word: u32 },
    /// The bytes behind the first `first`, then those.
    Turn { first: u32 },
    /// A text of the pool.
    Text(u32),
    /// A text of the pool in the case that the bytes had.
    Cased { text: u32, case: Case },
    /// The bytes in another case.
    Case(Case),
}

/// How a text's letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Same,
    Upper,
    Lower,
    /// The first character that has a case is a capital, the others are not.
    Title,
    /// Capitals are small, and small letters capitals.
    Flipped,
}

impl Case {
    /// Gives a text's characters in this case to `put`.
    pub(crate) fn write(self, text: &str, mut put: impl FnMut(char)) {
        let mut first = true;
        for c in text.chars() {
            let is_upper = match self {
                Case::Same => {
                    put(c);
                    continue;
                }
                Case::Upper => true,
                Case::Lower => false,
                Case::Title => first,
                Case::Flipped => c.is_lowercase(),
            };
            first &= !(c.is_lowercase() || c.is_uppercase());
            match is_upper {
                true if c.is_ascii() => put(c.to_ascii_uppercase()),
                false if c.is_ascii() => put(c.to_ascii_lowercase()),
                true => c.to_uppercase().for_each(&mut put),
                false => c.to_lowercase().for_each(&mut put),
            }
        }
    }
}

impl Planned {
    /// Whether it runs into another. One without bytes is in the way only strictly within another.
    pub(crate) fn overlaps(&self, other: &Planned) -> bool {
        self.range.start < other.range.end && other.range.start < self.range.end
    }

    /// Its place among the edits of a row.
    pub(crate) fn order(&self) -> (usize, usize) {
        (self.range.start, self.range.end)
    }
}

/// What edits are made of.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) source: &'a str,
    pub(crate) words: &'a [Word],
    pub(crate) pool: &'a Pool,
}

/// Makes the edits of a plan, which lie in order: everything between them is copied.
pub(crate) fn make(made: &Making<'_>, plan: &[Planned], text: &mut String, edits: &mut Vec<Edit>) {
    let source = made.source;
    // What most edits add; `push` and `push_str` grow it where that is not enough.
    text.reserve(source.len() + 4 * plan.len());
    edits.reserve(plan.len());
    let mut copied = 0;
    for planned in plan {
        let Range { start, end } = planned.range;
        text.push_str(&source[copied..start]);
        let from = text.len();
        write(made, planned, text);
        edits.push(Edit {
            kind: planned.kind,
            before: start..end,
            after: from..text.len(),
        });
        copied = end;
    }
    text.push_str(&source[copied..]);
}

/// What stands between a word and the next.
fn between<'a>(source: &'a str, words: &[Word], word: usize) -> &'a str {
    match (words.get(word), words.get(word + 1)) {
        (Some(one), Some(next)) => &source[one.end..next.start],
        _ => " ",
    }
}

/// Writes what comes in place of an edit's bytes.
pub(crate) fn write(made: &Making<'_>, planned: &Planned, text: &mut String) {
    let Making {
        source,
        words,
        pool,
    } = *made;
    let Range { start, end } = planned.range;
    let own = &source[start..end];
    match planned.change {
        Change::Remove => {}
        Change::Character(c) => text.push(c),
        Change::Before(c) => {
            text.push(c);
            text.push_str(own);
        }
        Change::After(c) => {
            text.push_str(own);
            text.push(c);
        }
        Change::Twice => {
            text.push_str(own);
            text.push_str(own);
        }
        Change::TwiceWith { word } => {
            text.push_str(own);
            text.push_str(between(source, words, word as usize));
            text.push_str(own);
        }
        Change::Turn { first } => {
            let (before, behind) = own.split_at(first as usize);
            text.push_str(behind);
            text.push_str(before);
        }
        Change::Text(at) => text.push_str(pool.text(at)),
        Change::Cased { text: at, case } => case.write(pool.text(at), |c| text.push(c)),
        Change::Case(case) => case.write(own, |c| text.push(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it an edit would take half as long again, and nobody would see why.
    #[test]
    fn a_change_fits_a_register() {
        assert_eq!(std::mem::size_of::<Change>(), 8);
    }
}
