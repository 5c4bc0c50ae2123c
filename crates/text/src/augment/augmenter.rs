//! A recipe made ready, and a row's way through it.

use super::bounds::Budget;
use super::clusters::{self, Bytes, Clusters, Starts};
use super::edited::{self, Edit, Edited, Rearranged, Scratch};
use super::error::AugmentError;
use super::kind::{Kind, Unit};
use super::operations::{self, Alphabet, Confusions, Errors, Operations, Pool, Shuffle};
use super::plan;
use super::process::Process;
use super::protect::{self, Protection};
use super::quick::{self, Quick};
use super::random::{Key, Place, Purpose};
use super::recipe::Recipe;
use super::row::Row;
use super::words::{Separators, Word};

/// A recipe made ready for a seed; any number of threads share it by reference.
#[derive(Clone, Debug)]
pub struct Augmenter {
    key: Key,
    words: Option<Process>,
    characters: Option<Process>,
    shuffle: Option<Shuffle>,
    operations: Operations,
    /// For texts of which each byte is a character.
    quick: Option<Quick>,
    budget: Option<Budget>,
    separators: Separators,
    protection: Protection,
}

impl Augmenter {
    /// Makes a recipe ready. Other seeds give other edits.
    pub fn new(recipe: &Recipe, seed: u64) -> Result<Augmenter, AugmentError> {
        let chances = |unit| -> Vec<(Kind, f64)> {
            let of_unit = recipe
                .operations
                .iter()
                .filter(|one| one.kind.unit() == unit);
            of_unit
                .filter(|one| may_act(one.bounds.max))
                .map(|one| (one.kind, one.p))
                .collect()
        };
        let operations = operations(recipe)?;
        let protection = Protection::new(&recipe.protect)?;
        let characters = Process::new(&chances(Unit::Character));
        let has_tables = characters.is_some() && protection.is_empty();
        Ok(Augmenter {
            quick: has_tables.then(|| Quick::new(&operations)),
            key: Key::of_seed(seed),
            words: Process::new(&chances(Unit::Word)),
            characters,
            shuffle: shuffle(recipe),
            operations,
            budget: Budget::new(recipe),
            separators: Separators::new(&recipe.separators),
            protection,
        })
    }

    /// Edits a row's text. The result depends on the recipe, the seed, the place and the text alone.
    pub fn edit(&self, place: Place, text: &str, out: &mut Edited) {
        self.edit_as(Reading::of(text), place, text, out);
    }

    /// The same, with the way to find clusters chosen from outside.
    pub(super) fn edit_as(&self, reading: Reading, place: Place, text: &str, out: &mut Edited) {
        let key = self.key.at(place);
        if self.decide(reading, key, text, Shuffling::AsDrawn, out) {
            return;
        }
        // Shuffling comes first, when nobody knows yet that the other operations have too few places.
        let is_shuffled = !out.rearranged.pieces.is_empty();
        if let Some(budget) = &self.budget
            && budget.is_short(out.scratch.plan.len() + usize::from(is_shuffled))
            && self.shuffle.is_some()
            && !is_shuffled
            && self.decide(reading, key, text, Shuffling::Always, out)
        {
            return;
        }
        let made = plan::Making {
            source: match out.rearranged.pieces.is_empty() {
                true => text,
                false => &out.rearranged.text,
            },
            words: &out.scratch.words,
            pool: &self.operations.pool,
        };
        plan::make(&made, &out.scratch.plan, &mut out.text, &mut out.edits);
    }

    /// Shuffles the words, if that is to be, and plans all other edits; whether they are made already, by tables.
    fn decide(
        &self,
        reading: Reading,
        key: Key,
        text: &str,
        shuffling: Shuffling,
        out: &mut Edited,
    ) -> bool {
        out.clear(text);
        let scratch = &mut out.scratch;
        if !self.protection.is_empty() {
            self.protect(text, reading, scratch);
        }
        let shuffled = &mut out.rearranged;
        let source = match self.rearrange(key, text, reading, shuffling, shuffled, scratch) {
            false => text,
            true => out.rearranged.text.as_str(),
        };
        let made = usize::from(!out.rearranged.pieces.is_empty());
        // A shuffled text has the same characters.
        match reading {
            Reading::Bytes if self.edit_quickly(key, source, made, scratch, &mut out.edits) => {
                return true;
            }
            Reading::Bytes => self.plan(key, source, &Bytes(source.len()), made, scratch),
            Reading::Clusters => {
                let mut starts = std::mem::take(&mut scratch.starts);
                clusters::find(source, &mut starts);
                self.plan(key, source, &Starts(&starts), made, scratch);
                scratch.starts = starts;
            }
        }
        false
    }

    /// Edits a text by tables; false where that is not possible, and nothing is done.
    fn edit_quickly(
        &self,
        key: Key,
        source: &str,
        made: usize,
        scratch: &mut Scratch,
        edits: &mut Vec<Edit>,
    ) -> bool {
        let (Some(quick), Some(process)) = (&self.quick, &self.characters) else {
            return false;
        };
        if source.len() > quick::LONGEST {
            return false;
        }
        let clusters = Bytes(source.len());
        let Scratch {
            plan,
            words,
            quickly,
            ..
        } = scratch;
        quickly.begin(source);
        words.clear();
        if self.words.is_some() {
            self.separators.split(source, &clusters, words);
        }
        let row = Row {
            operations: &self.operations,
            key,
            text: source,
            clusters: &clusters,
            words,
            protected: &[],
        };
        if let Some(process) = &self.words {
            row.plan_words(process, plan);
        }
        let done = quick.edit(&row, process, plan, quickly, edits) && {
            let kinds = edits.iter().map(|edit| edit.kind);
            let budget = self.budget.as_ref();
            budget.is_none_or(|budget| budget.holds(edits.len() + made, kinds))
        };
        if !done {
            plan.clear();
            quickly.clear();
            edits.clear();
        }
        done
    }

    fn plan(
        &self,
        key: Key,
        text: &str,
        clusters: &impl Clusters,
        made: usize,
        scratch: &mut Scratch,
    ) {
        scratch.words.clear();
        if self.words.is_some() {
            self.separators.split(text, clusters, &mut scratch.words);
        }
        let row = Row {
            operations: &self.operations,
            key,
            text,
            clusters,
            words: &scratch.words,
            protected: &scratch.protected,
        };
        if let Some(process) = &self.words {
            row.plan_words(process, &mut scratch.plan);
        }
        if let Some(process) = &self.characters {
            row.plan_characters(process, &mut scratch.plan);
        }
        if let Some(budget) = &self.budget {
            budget.keep(&row, made, &mut scratch.plan);
        }
    }

    /// Finds what is left as it is.
    fn protect(&self, text: &str, reading: Reading, scratch: &mut Scratch) {
        if self.protection.names_words() {
            self.split(text, reading, scratch);
        }
        self.protection
            .find(text, &scratch.words, &mut scratch.protected);
    }

    /// Shuffles the words, if that is to be; whether they were.
    fn rearrange(
        &self,
        key: Key,
        text: &str,
        reading: Reading,
        shuffling: Shuffling,
        out: &mut Rearranged,
        scratch: &mut Scratch,
    ) -> bool {
        let Some(shuffle) = self.shuffle else {
            return false;
        };
        let mut numbers = key.numbers(Purpose::Detail(Kind::ShuffleWords));
        if !shuffle.happens(&mut numbers) && shuffling == Shuffling::AsDrawn {
            return false;
        }
        self.split(text, reading, scratch);
        let (words, protected) = (&scratch.words, &scratch.protected);
        let fixed = |word: &Word| protect::overlaps(protected, &(word.start..word.end));
        if !shuffle.order(words, fixed, &mut numbers, &mut scratch.order) {
            return false;
        }
        operations::arrange(text, words, fixed, &scratch.order, out);
        // What is protected stays in its place among the words, which may begin elsewhere now.
        edited::shift(&out.pieces, &mut scratch.protected);
        true
    }

    fn split(&self, text: &str, reading: Reading, scratch: &mut Scratch) {
        match reading {
            Reading::Bytes => {
                let clusters = Bytes(text.len());
                self.separators.split(text, &clusters, &mut scratch.words);
            }
            Reading::Clusters => {
                clusters::find(text, &mut scratch.starts);
                let clusters = Starts(&scratch.starts);
                self.separators.split(text, &clusters, &mut scratch.words);
            }
        }
    }
}

/// Whether words change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shuffling {
    AsDrawn,
    /// Wherever there is another order.
    Always,
}

/// How a text's clusters are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Each byte is one.
    Bytes,
    /// They are looked for.
    Clusters,
}

impl Reading {
    fn of(text: &str) -> Reading {
        match clusters::is_bytes(text) {
            true => Reading::Bytes,
            false => Reading::Clusters,
        }
    }
}

fn may_act(max: Option<u32>) -> bool {
    max != Some(0)
}

/// The shuffle of a recipe, unless the bounds leave no room for one.
fn shuffle(recipe: &Recipe) -> Option<Shuffle> {
    let of_kind = |kind| recipe.operations.iter().find(move |one| one.kind == kind);
    let one = of_kind(Kind::ShuffleWords).filter(|one| one.p > 0.0 && may_act(one.bounds.max))?;
    let others = recipe
        .operations
        .iter()
        .filter(|one| one.kind != Kind::ShuffleWords);
    let needed: u64 = others.map(|one| u64::from(one.bounds.min)).sum();
    let has_room = recipe.bounds.max.is_none_or(|max| u64::from(max) > needed);
    has_room.then_some(Shuffle {
        p: one.p,
        always: one.bounds.min > 0,
        distance: one.distance,
    })
}

fn operations(recipe: &Recipe) -> Result<Operations, AugmentError> {
    let mut pool = Pool::default();
    let mut confusions = |kind| -> Result<Option<Confusions>, AugmentError> {
        let table = recipe.table(kind)?;
        Ok(table.map(|table| Confusions::new(&table, &mut pool)))
    };
    let keyboard = confusions(Kind::Keyboard)?;
    let optical = confusions(Kind::Optical)?;
    let similar = confusions(Kind::Similar)?;
    let accent = confusions(Kind::Accent)?;
    let errors = recipe.table(Kind::Errors)?;
    Ok(Operations {
        alphabet: Alphabet::new(&recipe.alphabet),
        keyboard,
        optical,
        similar,
        accent,
        errors: errors.map(|table| Errors::new(&table, &mut pool)),
        pool,
    })
}
