//! Edits that are decided and not yet made.

use std::ops::Range;

use super::edited::Edit;
use super::kind::Kind;

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
    /// The bytes from `middle` on, then those before it.
    Turn { middle: usize },
}

/// Whether a range would run into one that is taken. One without bytes is in the way only strictly
/// within another.
pub(crate) fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Makes the edits of a plan, which lie in order: everything between them is copied.
pub(crate) fn make(source: &str, plan: &[Planned], text: &mut String, edits: &mut Vec<Edit>) {
    let mut copied = 0;
    for planned in plan {
        let Range { start, end } = planned.range;
        text.push_str(&source[copied..start]);
        let from = text.len();
        write(source, planned, text);
        edits.push(Edit {
            kind: planned.kind,
            before: start..end,
            after: from..text.len(),
        });
        copied = end;
    }
    text.push_str(&source[copied..]);
}

fn write(source: &str, planned: &Planned, text: &mut String) {
    let own = &source[planned.range.clone()];
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
        Change::Turn { middle } => {
            text.push_str(&source[middle..planned.range.end]);
            text.push_str(&source[planned.range.start..middle]);
        }
    }
}
