//! The user's own errors, found word by word.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use super::{Pool, Spot, WordOutcome};
use crate::augment::clusters::Clusters;
use crate::augment::plan::{Case, Change};
use crate::augment::random::scaled;
use crate::augment::table::Table;

/// What is right, with the places in the pool of what is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Errors {
    wrong: HashMap<String, Vec<u32>>,
    /// Words of the entry that has most.
    most_words: usize,
    /// Bytes of the shortest and the longest entry: what is shorter or longer need not be looked up.
    lengths: RangeInclusive<usize>,
    /// Letters and digits of ASCII with which an entry begins, or would in small letters.
    begins: u128,
}

impl Errors {
    pub(crate) fn new(table: &Table, pool: &mut Pool) -> Errors {
        let mut wrong = HashMap::new();
        for (right, wrongs) in &table.0 {
            let places: Vec<u32> = wrongs.iter().map(|text| pool.add(text)).collect();
            wrong.insert(right.clone(), places);
        }
        let words = |text: &String| text.split_whitespace().count();
        let lengths = || wrong.keys().map(String::len);
        let first = |text: &String| text.bytes().next().filter(u8::is_ascii);
        let begins = wrong.keys().filter_map(first).fold(0, |begins, byte| {
            begins | 1 << byte | 1 << byte.to_ascii_uppercase()
        });
        let (shortest, longest) = (lengths().min(), lengths().max());
        Errors {
            lengths: shortest.unwrap_or(1)..=longest.unwrap_or(0),
            most_words: wrong.keys().map(words).max().unwrap_or(0),
            begins,
            wrong,
        }
    }

    /// One of the errors for the words from the spot on: the longest entry that stands there counts.
    pub(super) fn plan<C: Clusters>(&self, spot: &Spot<'_, C>, number: u64) -> Option<WordOutcome> {
        let start = spot.words[spot.at].start;
        // No mark is left out before one of these: entries begin with it or do not stand here.
        let first = spot.text.as_bytes()[start];
        if first.is_ascii_alphanumeric() && self.begins >> first & 1 == 0 {
            return None;
        }
        let most = self.most_words.min(spot.words.len() - spot.at);
        (1..=most).rev().find_map(|taken| {
            let end = spot.words[spot.at + taken - 1].end;
            let (range, places, case) = self.find(spot, start..end)?;
            let text = *places.get(scaled(number, places.len()))?;
            Some((taken, range, Change::Cased { text, case }))
        })
    }

    /// The entry for a range, with its marks or without, as it is written or in lower case.
    fn find<C: Clusters>(
        &self,
        spot: &Spot<'_, C>,
        range: Range<usize>,
    ) -> Option<(Range<usize>, &[u32], Case)> {
        let whole = &spot.text[range.clone()];
        let bare = whole.trim_matches(|c: char| !c.is_alphanumeric());
        let bare = Some(bare).filter(|bare| bare.len() < whole.len());
        std::iter::once(whole).chain(bare).find_map(|written| {
            let (places, case) = self.look_up(written)?;
            // Both are parts of the text: their addresses say where.
            let start = range.start + (written.as_ptr() as usize - whole.as_ptr() as usize);
            let end = start + written.len();
            // A combining mark is no letter and no mark that stands alone.
            let is_whole = spot.clusters.is_boundary(start) && spot.clusters.is_boundary(end);
            is_whole.then_some((start..end, places, case))
        })
    }

    fn look_up(&self, written: &str) -> Option<(&[u32], Case)> {
        // Beyond ASCII small letters may be longer than their capitals.
        if written.is_ascii() && !self.lengths.contains(&written.len()) {
            return None;
        }
        if let Some(places) = self.wrong.get(written) {
            return Some((places, Case::Same));
        }
        let mut letters = written.chars().filter(|c| c.is_alphabetic());
        let first = letters.next().is_some_and(char::is_uppercase);
        let mut others = letters.peekable();
        let case = match (
            first,
            others.peek().is_some() && others.all(char::is_uppercase),
        ) {
            (false, _) => return None,
            (true, true) => Case::Upper,
            (true, false) => Case::Title,
        };
        let mut memory = [0; 64];
        let small = in_small_letters(written, *self.lengths.end(), &mut memory)?;
        let places = self.wrong.get(&*small)?;
        Some((places, case))
    }
}

/// A text in small letters, in the memory given where it fits; nothing if it has more than `most` bytes.
fn in_small_letters<'a>(text: &str, most: usize, memory: &'a mut [u8; 64]) -> Option<Cow<'a, str>> {
    let small = || text.chars().flat_map(char::to_lowercase);
    let mut used = 0;
    for c in small() {
        let start = used;
        used += c.len_utf8();
        match memory.get_mut(start..used) {
            _ if used > most => return None,
            Some(room) => c.encode_utf8(room),
            None => return Some(Cow::Owned(small().collect())),
        };
    }
    std::str::from_utf8(&memory[..used]).ok().map(Cow::Borrowed)
}
