//! Keyboard neighbours, optical confusions, lookalikes and accents: one lookup in different tables.

use std::collections::HashMap;
use std::ops::Range;

use super::{Outcome, Pool, Site};
use crate::augment::clusters::Clusters;
use crate::augment::plan::Change;
use crate::augment::random::scaled;
use crate::augment::table::Table;
use crate::augment::words::first;

/// A table made ready to be asked what may come for the text at a place.
#[derive(Clone, Debug)]
pub(crate) struct Confusions {
    /// The entries that begin with each character of ASCII.
    ascii: Box<[Range<u32>; 128]>,
    others: HashMap<char, Range<u32>>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    from: String,
    /// Texts of the pool.
    replacements: Range<u32>,
}

impl Confusions {
    pub(crate) fn new(table: &Table, pool: &mut Pool) -> Confusions {
        let mut confusions = Confusions {
            ascii: Box::new([const { 0..0 }; 128]),
            others: HashMap::new(),
            entries: Vec::new(),
        };
        // The table is sorted: entries with one first character lie together.
        for (from, to) in &table.0 {
            let replacements: Vec<u32> = to.iter().map(|text| pool.add(text)).collect();
            let first_of = replacements.first().copied().unwrap_or(0);
            let entry = confusions.entries.len() as u32;
            let Some(first) = from.chars().next() else {
                continue;
            };
            let range = match first.is_ascii() {
                true => &mut confusions.ascii[first as usize],
                false => confusions.others.entry(first).or_insert(entry..entry),
            };
            if range.start == range.end {
                range.start = entry;
            }
            range.end = entry + 1;
            confusions.entries.push(Entry {
                from: from.clone(),
                // They were put into the pool one after the other.
                replacements: first_of..first_of + replacements.len() as u32,
            });
        }
        confusions
    }

    /// The entries that begin with a byte of ASCII, each with its texts in the pool.
    pub(crate) fn of_ascii(&self, byte: u8) -> impl Iterator<Item = (&str, Range<u32>)> {
        let Range { start, end } = self.ascii[usize::from(byte & 127)];
        let entries = &self.entries[start as usize..end as usize];
        entries
            .iter()
            .map(|entry| (entry.from.as_str(), entry.replacements.clone()))
    }

    /// One of the replacements of whatever stands at the site: each is as likely.
    pub(crate) fn plan<C: Clusters>(&self, site: &Site<'_, C>, number: u64) -> Outcome {
        let at = site.clusters.start(site.at);
        let entries = match site.text.as_bytes().get(at)? {
            ascii if ascii.is_ascii() => &self.ascii[usize::from(*ascii)],
            _ => self.others.get(&first(site.text, at)?)?,
        };
        let entries = &self.entries[entries.start as usize..entries.end as usize];
        let matching = || {
            let taken = entries
                .iter()
                .map(|entry| (entry, site.taken_by(&entry.from)));
            taken.filter_map(|(entry, taken)| Some((entry, taken?)))
        };
        let choices = matching().map(|(entry, _)| entry.replacements.len()).sum();
        let mut choice = scaled(number, choices);
        for (entry, taken) in matching() {
            if choice < entry.replacements.len() {
                let text = entry.replacements.start + choice as u32;
                return Some((taken as u32, Change::Text(text)));
            }
            choice -= entry.replacements.len();
        }
        None
    }
}

impl<C: Clusters> Site<'_, C> {
    /// How many whole clusters from here on are the text given.
    fn taken_by(&self, text: &str) -> Option<usize> {
        let start = self.clusters.start(self.at);
        if !self.text.as_bytes()[start..].starts_with(text.as_bytes()) {
            return None;
        }
        let end = start + text.len();
        let mut taken = 1;
        while self.clusters.start(self.at + taken) < end {
            taken += 1;
        }
        (self.clusters.start(self.at + taken) == end).then_some(taken)
    }
}
