//! A recipe made ready, and the passes over a row.

use std::ops::Range;

use regex::Regex;

use super::clusters::{self, Bytes, Clusters, Starts};
use super::edited::{Edited, Scratch};
use super::error::AugmentError;
use super::kind::{Kind, Unit};
use super::operations::{self, Alphabet, Site};
use super::plan::{self, Planned, overlaps};
use super::process::Process;
use super::random::{Key, Place, Purpose};
use super::recipe::{Recipe, contradiction};
use super::words::{Separators, Word};

/// A recipe made ready for a seed; any number of threads share it by reference.
#[derive(Clone, Debug)]
pub struct Augmenter {
    key: Key,
    words: Option<Process>,
    characters: Option<Process>,
    shuffle: f64,
    separators: Separators,
    alphabet: Alphabet,
    patterns: Vec<Regex>,
}

impl Augmenter {
    /// Makes a recipe ready. Other seeds give other edits.
    pub fn new(recipe: &Recipe, seed: u64) -> Result<Augmenter, AugmentError> {
        let chances = |unit| -> Vec<(Kind, f64)> {
            let of_unit = recipe
                .operations
                .iter()
                .filter(|one| one.kind.unit() == unit);
            of_unit.map(|one| (one.kind, one.p)).collect()
        };
        Ok(Augmenter {
            key: Key::of_seed(seed),
            words: Process::new(&chances(Unit::Word)),
            characters: Process::new(&chances(Unit::Character)),
            shuffle: recipe.p(Kind::ShuffleWords),
            separators: Separators::new(&recipe.separators),
            alphabet: Alphabet::new(&recipe.alphabet),
            patterns: patterns(recipe)?,
        })
    }

    /// Edits a row's text. The result depends on the recipe, the seed, the place and the text alone.
    pub fn edit(&self, place: Place, text: &str, out: &mut Edited) {
        let key = self.key.at(place);
        out.text.clear();
        out.edits.clear();
        out.pieces.clear();
        out.source = text.len();
        let mut scratch = std::mem::take(&mut out.scratch);
        scratch.plan.clear();
        self.protect(text, &mut scratch.protected);
        self.rearrange(key, text, out, &mut scratch);
        let source = match out.pieces.is_empty() {
            true => text,
            false => out.shuffled.as_str(),
        };
        if clusters::is_bytes(source) {
            self.plan(key, source, &Bytes(source.len()), &mut scratch);
        } else {
            let mut starts = std::mem::take(&mut scratch.starts);
            clusters::find(source, &mut starts);
            self.plan(key, source, &Starts(&starts), &mut scratch);
            scratch.starts = starts;
        }
        plan::make(source, &scratch.plan, &mut out.text, &mut out.edits);
        out.scratch = scratch;
    }

    /// Finds what the patterns protect.
    fn protect(&self, text: &str, protected: &mut Vec<Range<usize>>) {
        protected.clear();
        for pattern in &self.patterns {
            protected.extend(pattern.find_iter(text).map(|found| found.range()));
        }
    }

    /// Shuffles the words into `out.shuffled`, if that is drawn.
    fn rearrange(&self, key: Key, text: &str, out: &mut Edited, scratch: &mut Scratch) {
        if self.shuffle == 0.0 {
            return;
        }
        let mut numbers = key.numbers(Purpose::Detail(Kind::ShuffleWords));
        if !happens(numbers.draw(), self.shuffle) {
            return;
        }
        self.split(text, scratch);
        let protected = std::mem::take(&mut scratch.protected);
        let fixed = |word: &Word| {
            let range = word.start..word.end;
            protected.iter().any(|one| overlaps(one, &range))
        };
        if operations::shuffle(&scratch.words, fixed, &mut numbers, &mut scratch.order) {
            out.shuffled.clear();
            let (words, order) = (&scratch.words, &scratch.order);
            operations::arrange(
                text,
                words,
                fixed,
                order,
                &mut out.shuffled,
                &mut out.pieces,
            );
        }
        scratch.protected = protected;
        // What is protected may stand elsewhere now.
        if !out.pieces.is_empty() && !self.patterns.is_empty() {
            for range in &mut scratch.protected {
                *range = super::edited::shifted(&out.pieces, range);
            }
        }
    }

    fn split(&self, text: &str, scratch: &mut Scratch) {
        if clusters::is_bytes(text) {
            self.separators
                .split(text, &Bytes(text.len()), &mut scratch.words);
        } else {
            clusters::find(text, &mut scratch.starts);
            self.separators
                .split(text, &Starts(&scratch.starts), &mut scratch.words);
        }
    }

    fn plan(&self, key: Key, text: &str, clusters: &impl Clusters, scratch: &mut Scratch) {
        if let Some(process) = &self.words {
            self.separators.split(text, clusters, &mut scratch.words);
            plan_words(process, key, scratch);
        }
        if let Some(process) = &self.characters {
            self.plan_characters(process, key, text, clusters, scratch);
        }
    }

    fn plan_characters(
        &self,
        process: &Process,
        key: Key,
        text: &str,
        clusters: &impl Clusters,
        scratch: &mut Scratch,
    ) {
        let of_words = scratch.plan.len();
        let mut passed = 0;
        let mut numbers = key.numbers(Purpose::Characters);
        let mut at = 0;
        while let Some((found, kind)) = process.next(&mut numbers, at, clusters.count()) {
            let site = Site {
                text,
                clusters,
                at: found,
            };
            let number = key.number(Purpose::Detail(kind), found as u64);
            at = found + 1;
            let Some((taken, change)) = operations::character(kind, &self.alphabet, &site, number)
            else {
                continue;
            };
            let range = clusters.start(found)..clusters.start(found + taken);
            while passed < of_words && scratch.plan[passed].range.end <= range.start {
                passed += 1;
            }
            let words = &scratch.plan[passed..of_words];
            let mut near = words.iter().take_while(|word| word.range.start < range.end);
            if near.any(|word| overlaps(&word.range, &range)) || is_protected(scratch, &range) {
                continue;
            }
            at = found + taken;
            scratch.plan.push(Planned {
                range,
                kind,
                change,
            });
        }
        if of_words > 0 {
            let order = |one: &Planned| (one.range.start, one.range.end);
            scratch.plan.sort_unstable_by_key(order);
        }
    }
}

fn plan_words(process: &Process, key: Key, scratch: &mut Scratch) {
    let mut numbers = key.numbers(Purpose::Words);
    let (mut at, mut gone) = (0, 0);
    while let Some((found, kind)) = process.next(&mut numbers, at, scratch.words.len()) {
        at = found + 1;
        let planned = operations::word(kind, &scratch.words, found, gone == found);
        let Some((taken, planned)) = planned else {
            continue;
        };
        if is_protected(scratch, &planned.range) {
            continue;
        }
        if kind == Kind::DropWords && gone == found {
            gone += 1;
        }
        at = found + taken;
        scratch.plan.push(planned);
    }
}

/// Whether an edit would touch what is protected, or come right beside it.
fn is_protected(scratch: &Scratch, range: &Range<usize>) -> bool {
    let touches = |one: &Range<usize>| overlaps(one, range);
    scratch.protected.iter().any(touches)
}

/// Whether something with a chance happens, to within 2⁻⁵³.
fn happens(number: u64, p: f64) -> bool {
    ((number >> 11) as f64) < p * (1u64 << 53) as f64
}

fn patterns(recipe: &Recipe) -> Result<Vec<Regex>, AugmentError> {
    let patterns = recipe.protect.patterns.iter();
    let compiled = patterns.map(|pattern| {
        Regex::new(pattern).map_err(|error| {
            contradiction(format!(
                "`protect`: the pattern {pattern} is not a regular expression of the regex crate: {error}"
            ))
        })
    });
    compiled.collect()
}
