//! The result: the new text, what was done to it, and the way from old to new positions.

use std::ops::Range;

use super::kind::Kind;
use super::plan::Planned;
use super::quick::Quickly;
use super::words::Word;

/// One edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The operation.
    pub kind: Kind,
    /// The bytes that it replaced, of the text after shuffling ([`Edited::shuffled`]), which without
    /// a shuffle is the row's own.
    pub before: Range<usize>,
    /// The bytes of the new text that stand in their place.
    pub after: Range<usize>,
}

/// A part of the text that was moved as a whole when its words were shuffled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) before: Range<usize>,
    pub(crate) after: Range<usize>,
    pub(crate) is_word: bool,
}

/// The result of [`Augmenter::edit`](super::Augmenter::edit), and the memory in which it is made:
/// kept from row to row, it allocates nothing once it has seen the longest.
#[derive(Clone, Debug, Default)]
pub struct Edited {
    /// Unless it was made [quickly](Quickly::text).
    pub(crate) text: String,
    pub(crate) edits: Vec<Edit>,
    pub(crate) rearranged: Rearranged,
    /// Bytes of the row's own text.
    pub(crate) source: usize,
    pub(crate) scratch: Scratch,
}

/// A text after its words were shuffled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rearranged {
    pub(crate) text: String,
    /// In its order; empty if it was not shuffled.
    pub(crate) pieces: Vec<Piece>,
}

/// What is needed while a row is edited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) plan: Vec<Planned>,
    pub(crate) starts: Vec<usize>,
    pub(crate) words: Vec<Word>,
    pub(crate) order: Vec<(u64, usize)>,
    pub(crate) protected: Vec<Range<usize>>,
    pub(crate) quickly: Quickly,
}

impl Edited {
    /// Empty, for another row.
    pub(crate) fn clear(&mut self, source: &str) {
        self.text.clear();
        self.scratch.quickly.clear();
        self.edits.clear();
        self.rearranged.pieces.clear();
        self.scratch.plan.clear();
        self.scratch.protected.clear();
        self.source = source.len();
    }

    /// The new text.
    pub fn text(&self) -> &str {
        self.scratch.quickly.text().unwrap_or(&self.text)
    }

    /// The edits in the order of the new text, but for a shuffle.
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// The text after its words were shuffled and before any other edit, if they were.
    pub fn shuffled(&self) -> Option<&str> {
        self.is_shuffled().then_some(self.rearranged.text.as_str())
    }

    fn is_shuffled(&self) -> bool {
        !self.rearranged.pieces.is_empty()
    }

    /// How many edits of a kind were made. A shuffle is one.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::ShuffleWords => usize::from(self.is_shuffled()),
            kind => self.edits.iter().filter(|edit| edit.kind == kind).count(),
        }
    }

    /// How many edits were made in all.
    pub fn total(&self) -> usize {
        self.edits.len() + usize::from(self.is_shuffled())
    }

    /// Whether anything was edited. Two edits may undo one another: then it is, and the text is the
    /// same.
    pub fn changed(&self) -> bool {
        self.total() > 0
    }

    /// Where the bytes `start..end` of the old text stand in the new one; `None` if nothing of them is
    /// left, if their words were shuffled apart, or if they are no range of the old text.
    ///
    /// An edit that lies partly within the span counts to it whole. Text that was put in at its ends
    /// from outside does not. White space is cut from an end that had none.
    pub fn map_span(&self, original: &str, start: usize, end: usize) -> Option<(usize, usize)> {
        if start > end || original.len() != self.source {
            return None;
        }
        let old = original.get(start..end)?;
        let moved = match self.is_shuffled() {
            false => start..end,
            true => moved(&self.rearranged.pieces, start..end)?,
        };
        let from = self.new_start(moved.start);
        if start == end {
            return Some((from, from));
        }
        let to = self.new_end(moved.end).max(from);
        let new = self.text().get(from..to)?;
        let lead = match old.starts_with(char::is_whitespace) {
            true => 0,
            false => new.len() - new.trim_start().len(),
        };
        let tail = match old.ends_with(char::is_whitespace) {
            true => 0,
            false => new.len() - new.trim_end().len(),
        };
        (lead + tail < new.len()).then(|| (from + lead, to - tail))
    }

    /// The same in characters (Unicode scalar values) of the two texts, as span columns count.
    pub fn map_characters(
        &self,
        original: &str,
        start: usize,
        end: usize,
    ) -> Option<(usize, usize)> {
        let (start, end) = (byte_of(original, start)?, byte_of(original, end)?);
        let (start, end) = self.map_span(original, start, end)?;
        Some((
            character_of(self.text(), start),
            character_of(self.text(), end),
        ))
    }

    /// Where a span that starts at `at` of the shuffled text starts in the new one.
    fn new_start(&self, at: usize) -> usize {
        let done = self.edits.partition_point(|edit| edit.before.end <= at);
        match self.edits.get(done) {
            Some(edit) if edit.before.start < at => edit.after.start,
            _ => self.after(done, at),
        }
    }

    fn new_end(&self, at: usize) -> usize {
        let begun = self.edits.partition_point(|edit| edit.before.start < at);
        match begun.checked_sub(1).map(|last| &self.edits[last]) {
            Some(edit) if edit.before.end > at => edit.after.end,
            _ => self.after(begun, at),
        }
    }

    /// The new place of `at`, which lies outside of all edits and behind `done` of them.
    fn after(&self, done: usize, at: usize) -> usize {
        match done.checked_sub(1).map(|last| &self.edits[last]) {
            Some(edit) => edit.after.end + (at - edit.before.end),
            None => at,
        }
    }
}

/// Where a span stands after a shuffle, if its words still stand side by side.
fn moved(pieces: &[Piece], span: Range<usize>) -> Option<Range<usize>> {
    let within = |piece: &&Piece| piece.before.start <= span.start && span.end <= piece.before.end;
    if let Some(piece) = pieces.iter().find(within) {
        let shift = |at: usize| piece.after.start + (at - piece.before.start);
        return Some(shift(span.start)..shift(span.end));
    }
    let touches = |at: &usize| {
        let piece = &pieces[*at].before;
        piece.start < span.end && span.start < piece.end
    };
    let words = || (0..pieces.len()).filter(|at| pieces[*at].is_word && touches(at));
    let (first, last) = (words().next()?, words().next_back()?);
    let others = (first..last).any(|at| pieces[at].is_word && !touches(&at));
    let in_order = words().is_sorted_by_key(|at| pieces[at].before.start);
    let whole =
        |at: usize| span.start <= pieces[at].before.start && pieces[at].before.end <= span.end;
    match in_order {
        _ if others => None,
        true => {
            // What stands between words is of the span where the span began or ended in it, and it still
            // stands beside that word.
            let (begin, end) = (pieces[first].before.start, pieces[last].before.end);
            let leads = |at: &usize| span.start < begin && pieces[*at].before.end == begin;
            let follows = |at: &usize| {
                let gap = pieces.get(*at);
                end < span.end && gap.is_some_and(|gap| gap.before.start == end)
            };
            let first = first.checked_sub(1).filter(leads).unwrap_or(first);
            let last = Some(last + 1).filter(follows).unwrap_or(last);
            let (first, last) = (&pieces[first], &pieces[last]);
            let cut_in = span.start.saturating_sub(first.before.start);
            let cut_off = last.before.end.saturating_sub(span.end);
            Some(first.after.start + cut_in..last.after.end - cut_off)
        }
        false if words().all(whole) => Some(pieces[first].after.start..pieces[last].after.end),
        false => None,
    }
}

fn byte_of(text: &str, character: usize) -> Option<usize> {
    if text.is_ascii() {
        return (character <= text.len()).then_some(character);
    }
    let ends = std::iter::once(text.len());
    let mut starts = text.char_indices().map(|(at, _)| at).chain(ends);
    starts.nth(character)
}

fn character_of(text: &str, byte: usize) -> usize {
    let bytes = &text.as_bytes()[..byte];
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

/// Moves ranges to where their bytes stand after a shuffle that moved none of them from its place among
/// the words. They lie in order and have bytes, so that one pass over the pieces finds all.
pub(crate) fn shift(pieces: &[Piece], ranges: &mut [Range<usize>]) {
    let mut pieces = pieces.iter().peekable();
    let mut place = |byte: usize| {
        let holds = |piece: &Piece| piece.before.contains(&byte);
        while pieces.next_if(|piece| !holds(piece)).is_some() {}
        let piece = pieces.peek();
        piece.map_or(byte, |piece| {
            piece.after.start + (byte - piece.before.start)
        })
    };
    for range in ranges {
        let start = place(range.start);
        *range = start..place(range.end - 1) + 1;
    }
}
