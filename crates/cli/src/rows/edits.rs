//! What becomes of a row before it is tokenised or written: itself, or edited copies; and how often what
//! was done.

use text::augment::{Augmenter, Edited, Kind, Place};

/// How rows are edited.
pub(super) struct Edits {
    pub(super) augmenter: Augmenter,
    pub(super) copies: u32,
    pub(super) include_original: bool,
    /// The number of the input's first row, from 0.
    pub(super) first_row: u64,
    pub(super) counting: Counting,
}

/// How much is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// How many edits there were.
    Totals,
    /// Of which kind and length, and how many a row.
    Everything,
}

/// One version of a row.
pub(super) struct Version<'a> {
    /// 0 for the row as it was, else the number of the copy.
    pub(super) copy: u32,
    pub(super) text: &'a str,
    /// How it was edited, if it was to be.
    pub(super) edited: Option<&'a Edited>,
}

impl Edits {
    /// Rows of the output for each row of the input.
    pub(super) fn per_row(&self) -> usize {
        usize::from(self.include_original) + self.copies as usize
    }

    /// Gives all versions of row `row` (counted from 0 in this input), in order.
    pub(super) fn versions(
        &self,
        row: u64,
        text: &str,
        scratch: &mut Edited,
        counts: &mut Counts,
        mut give: impl FnMut(Version<'_>),
    ) {
        if self.include_original {
            give(Version {
                copy: 0,
                text,
                edited: None,
            });
        }
        for copy in 0..self.copies {
            let place = Place {
                row: self.first_row + row,
                copy,
                ..Place::default()
            };
            self.augmenter.edit(place, text, scratch);
            counts.add(text, scratch, self.counting);
            give(Version {
                copy: copy + 1,
                text: scratch.text(),
                edited: Some(scratch),
            });
        }
    }
}

/// Lengths of edits that are told apart: 1 to 7 characters, and more.
pub(super) const LENGTHS: usize = 8;

/// Numbers of edits a row that are told apart: none to 15, and more.
pub(super) const PER_ROW: usize = 17;

/// How often what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Copies that were made.
    pub(super) copies: u64,
    /// Copies among them with an edit.
    pub(super) edited: u64,
    pub(super) edits: u64,
    /// By [`Kind::ALL`], and by how many characters an edit touched: the more of what stood there and of
    /// what stands there now.
    pub(super) by_kind: Vec<[u64; LENGTHS]>,
    /// Copies by their number of edits.
    pub(super) per_row: Vec<u64>,
}

impl Counts {
    fn add(&mut self, text: &str, edited: &Edited, counting: Counting) {
        let total = edited.total();
        self.copies += 1;
        self.edited += u64::from(total > 0);
        self.edits += total as u64;
        if counting == Counting::Totals {
            return;
        }
        self.per_row.resize(PER_ROW, 0);
        self.per_row[total.min(PER_ROW - 1)] += 1;
        let before = edited.shuffled().unwrap_or(text);
        for edit in edited.edits() {
            let characters = |text: Option<&str>| text.map_or(0, |text| text.chars().count());
            let old = characters(before.get(edit.before.clone()));
            let new = characters(edited.text().get(edit.after.clone()));
            self.note(edit.kind, old.max(new));
        }
        if edited.shuffled().is_some() {
            self.note(Kind::ShuffleWords, before.chars().count());
        }
    }

    fn note(&mut self, kind: Kind, length: usize) {
        self.by_kind.resize(Kind::ALL.len(), [0; LENGTHS]);
        let at = Kind::ALL.iter().position(|one| *one == kind);
        if let Some(lengths) = at.and_then(|at| self.by_kind.get_mut(at)) {
            lengths[length.clamp(1, LENGTHS) - 1] += 1;
        }
    }

    /// Adds what another thread counted, and leaves nothing of it there.
    pub(super) fn take(&mut self, other: &mut Counts) {
        self.copies += std::mem::take(&mut other.copies);
        self.edited += std::mem::take(&mut other.edited);
        self.edits += std::mem::take(&mut other.edits);
        self.by_kind
            .resize(self.by_kind.len().max(other.by_kind.len()), [0; LENGTHS]);
        for (own, theirs) in self.by_kind.iter_mut().zip(&mut other.by_kind) {
            for (own, theirs) in own.iter_mut().zip(theirs) {
                *own += std::mem::take(theirs);
            }
        }
        self.per_row
            .resize(self.per_row.len().max(other.per_row.len()), 0);
        for (own, theirs) in self.per_row.iter_mut().zip(&mut other.per_row) {
            *own += std::mem::take(theirs);
        }
    }
}
