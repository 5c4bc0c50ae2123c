//! What is left as it is: words that are named, and what patterns match.

use std::collections::HashSet;
use std::ops::Range;

use regex::Regex;

use super::error::AugmentError;
use super::recipe::{self, contradiction};
use super::words::Word;

/// What a recipe protects, made ready.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    words: HashSet<String>,
    patterns: Vec<Regex>,
}

/// A pattern made ready, or what is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| {
        format!(
            "`protect`: the pattern {pattern} is not a regular expression as the regex crate has them: {error}"
        )
    })
}

impl Protection {
    pub(crate) fn new(protect: &recipe::Protect) -> Result<Protection, AugmentError> {
        let patterns = protect.patterns.iter();
        let compiled = patterns.map(|pattern| compile(pattern).map_err(contradiction));
        Ok(Protection {
            words: protect.words.iter().cloned().collect(),
            patterns: compiled.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.patterns.is_empty()
    }

    /// Whether the words of a text must be known.
    pub(crate) fn names_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// Finds what is protected in a text, in order and without overlaps.
    pub(crate) fn find(&self, text: &str, words: &[Word], found: &mut Vec<Range<usize>>) {
        found.clear();
        for pattern in &self.patterns {
            let matches = pattern.find_iter(text).map(|found| found.range());
            found.extend(matches.filter(|range| !range.is_empty()));
        }
        if self.names_words() {
            let named = words.iter().map(|word| word.start..word.end);
            found.extend(named.filter(|range| self.names(&text[range.clone()])));
        }
        found.sort_unstable_by_key(|range| range.start);
        found.dedup_by(|next, last| {
            let joins = next.start < last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
    }

    /// Whether a word is named as it stands or without the marks around it.
    fn names(&self, word: &str) -> bool {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        self.words.contains(word) || self.words.contains(bare)
    }
}

/// Whether some of the ranges, which lie in order, holds a byte of another.
pub(crate) fn overlaps(protected: &[Range<usize>], range: &Range<usize>) -> bool {
    let next = protected.partition_point(|one| one.end <= range.start);
    protected.get(next).is_some_and(|one| one.start < range.end)
}

/// Whether some of the ranges holds a byte of another or begins or ends where it does.
pub(crate) fn touches(protected: &[Range<usize>], range: &Range<usize>) -> bool {
    let next = protected.partition_point(|one| one.end < range.start);
    protected
        .get(next)
        .is_some_and(|one| one.start <= range.end)
}
