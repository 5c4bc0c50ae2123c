//! Edits that are decided and not yet made.

use std::ops::Range;

use super::edited::Edit;
use super::kind::Kind;
use super::operations::Pool;

/// One edit to come.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// The bytes it takes; no two edits' bytes overlap.
    pub(crate) range: Range<usize>,
    pub(crate) kind: Kind,
    pub(crate) change: Change,
}

/// What is written in place of an edit's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The bytes twice, with other bytes of the text between them, or a space if those are none.
    TwiceWith { between: Range<usize> },
    /// The bytes from `middle` on, then those before it.
    Turn { middle: usize },
    /// A text of the pool.
    Text(Range<u32>),
    /// A text of the pool in the case that the bytes had.
    Cased { place: Range<u32>, case: Case },
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

/// Makes the edits of a plan, which lie in order: everything between them is copied.
pub(crate) fn make(
    source: &str,
    plan: &[Planned],
    pool: &Pool,
    text: &mut String,
    edits: &mut Vec<Edit>,
) {
    let mut copied = 0;
    for planned in plan {
        let Range { start, end } = planned.range;
        text.push_str(&source[copied..start]);
        let from = text.len();
        write(source, planned, pool, text);
        edits.push(Edit {
            kind: planned.kind,
            before: start..end,
            after: from..text.len(),
        });
        copied = end;
    }
    text.push_str(&source[copied..]);
}

fn write(source: &str, planned: &Planned, pool: &Pool, text: &mut String) {
    let Range { start, end } = planned.range;
    let own = &source[start..end];
    match &planned.change {
        Change::Remove => {}
        Change::Character(c) => text.push(*c),
        Change::Before(c) => {
            text.push(*c);
            text.push_str(own);
        }
        Change::After(c) => {
            text.push_str(own);
            text.push(*c);
        }
        Change::Twice => {
            text.push_str(own);
            text.push_str(own);
        }
        Change::TwiceWith { between } => {
            text.push_str(own);
            match between.is_empty() {
                true => text.push(' '),
                false => text.push_str(&source[between.clone()]),
            }
            text.push_str(own);
        }
        Change::Turn { middle } => {
            text.push_str(&source[*middle..end]);
            text.push_str(&source[start..*middle]);
        }
        Change::Text(place) => text.push_str(pool.text(place)),
        Change::Cased { place, case } => case.write(pool.text(place), |c| text.push(c)),
        Change::Case(case) => case.write(own, |c| text.push(c)),
    }
}
