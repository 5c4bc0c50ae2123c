//! One row's text under edit: the passes that decide what happens to it.

use std::ops::Range;

use super::clusters::Clusters;
use super::kind::{Kind, Unit};
use super::operations::{Operations, Site, Spot};
use super::plan::{Change, Planned};
use super::process::Process;
use super::protect;
use super::random::{Key, Purpose};
use super::words::Word;

/// A row's text with all that the decisions about it depend on.
pub(crate) struct Row<'a, C> {
    pub(crate) operations: &'a Operations,
    pub(crate) key: Key,
    pub(crate) text: &'a str,
    pub(crate) clusters: &'a C,
    /// Empty if no operation acts on words.
    pub(crate) words: &'a [Word],
    pub(crate) protected: &'a [Range<usize>],
}

impl<C: Clusters> Row<'_, C> {
    /// Plans the edits of words, from the first to the last.
    pub(crate) fn plan_words(&self, process: &Process, plan: &mut Vec<Planned>) {
        let mut numbers = self.key.numbers(Purpose::Words);
        let (mut at, mut dropped) = (0, 0);
        while let Some((found, kind)) = process.next(&mut numbers, at, self.words.len()) {
            at = found + 1;
            let leads = dropped == found;
            let Some((taken, planned)) = self.word(kind, found, leads) else {
                continue;
            };
            dropped += usize::from(leads && kind == Kind::DropWords);
            at = found + taken;
            plan.push(planned);
        }
    }

    /// Plans the edits of characters that no edit of a word has taken, and brings all into order.
    pub(crate) fn plan_characters(&self, process: &Process, plan: &mut Vec<Planned>) {
        let of_words = plan.len();
        let mut passed = 0;
        let mut numbers = self.key.numbers(Purpose::Characters);
        let mut at = 0;
        while let Some((found, kind)) = process.next(&mut numbers, at, self.clusters.count()) {
            at = found + 1;
            let Some((taken, planned)) = self.character(kind, found) else {
                continue;
            };
            while passed < of_words && plan[passed].range.end <= planned.range.start {
                passed += 1;
            }
            let near = plan[passed..of_words]
                .iter()
                .take_while(|word| word.range.start < planned.range.end);
            if near.into_iter().any(|word| word.overlaps(&planned)) {
                continue;
            }
            at = found + taken;
            plan.push(planned);
        }
        if of_words > 0 {
            plan.sort_unstable_by_key(Planned::order);
        }
    }

    /// How many places an operation could act at.
    pub(crate) fn places(&self, kind: Kind) -> usize {
        match kind.unit() {
            Unit::Character => self.clusters.count(),
            Unit::Word => self.words.len(),
            Unit::Row => 0,
        }
    }

    /// What an operation makes of a place, if it applies there and nothing is protected.
    pub(crate) fn at(&self, kind: Kind, place: usize) -> Option<Planned> {
        let planned = match kind.unit() {
            Unit::Character => self.character(kind, place),
            Unit::Word => self.word(kind, place, place == 0),
            Unit::Row => None,
        };
        planned.map(|(_, planned)| planned)
    }

    #[inline(always)]
    fn character(&self, kind: Kind, at: usize) -> Option<(usize, Planned)> {
        let number = self.key.number(Purpose::Detail(kind), at as u64);
        let site = Site {
            text: self.text,
            clusters: self.clusters,
            at,
        };
        let (taken, change) = self.operations.character(kind, &site, number)?;
        let taken = taken as usize;
        let range = self.clusters.start(at)..self.clusters.start(at + taken);
        let planned = Planned {
            range,
            kind,
            change,
        };
        (!self.is_protected(&planned)).then_some((taken, planned))
    }

    fn word(&self, kind: Kind, at: usize, leads: bool) -> Option<(usize, Planned)> {
        let number = self.key.number(Purpose::Detail(kind), at as u64);
        let spot = Spot {
            text: self.text,
            clusters: self.clusters,
            words: self.words,
            at,
            leads,
        };
        let (taken, planned) = self.operations.word(kind, &spot, number)?;
        (!self.is_protected(&planned)).then_some((taken, planned))
    }

    /// Whether an edit would change what is protected, or set something right beside it.
    fn is_protected(&self, planned: &Planned) -> bool {
        if self.protected.is_empty() {
            return false;
        }
        let Range { start, end } = planned.range;
        let beside = match (&planned.change, planned.kind) {
            (Change::Before(_), _) => Some(start..start),
            (Change::After(_), _) => Some(end..end),
            (_, Kind::Space | Kind::JoinWords) => Some(start..end),
            // What replaces nothing is put in, such as the space of a word that is split.
            _ if start == end => Some(start..end),
            _ => None,
        };
        protect::overlaps(self.protected, &planned.range)
            || beside.is_some_and(|range| protect::touches(self.protected, &range))
    }
}
