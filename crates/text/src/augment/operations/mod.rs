//! What each operation does at a place.

mod case;
mod characters;
mod confusions;
mod errors;
mod marks;
mod shuffle;
mod words;

pub(crate) use characters::Alphabet;
pub(crate) use confusions::Confusions;
pub(crate) use errors::Errors;
pub(crate) use marks::MARKS;
pub(crate) use shuffle::{Shuffle, arrange};

use super::clusters::Clusters;
use super::kind::Kind;
use super::plan::{Change, Planned};
use super::words::Word;

/// What the operations need to know beside the text: the recipe's alphabet and tables, made ready.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    pub(crate) alphabet: Alphabet,
    pub(crate) keyboard: Option<Confusions>,
    pub(crate) optical: Option<Confusions>,
    pub(crate) similar: Option<Confusions>,
    pub(crate) accent: Option<Confusions>,
    pub(crate) errors: Option<Errors>,
    pub(crate) pool: Pool,
}

/// The replacements of all tables by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    texts: String,
    ends: Vec<usize>,
}

impl Pool {
    fn add(&mut self, text: &str) -> u32 {
        self.texts.push_str(text);
        self.ends.push(self.texts.len());
        (self.ends.len() - 1) as u32
    }

    pub(crate) fn text(&self, at: u32) -> &str {
        let at = at as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[at]]
    }
}

/// A cluster at which an operation is to act.
pub(crate) struct Site<'a, C> {
    pub(crate) text: &'a str,
    pub(crate) clusters: &'a C,
    pub(crate) at: usize,
}

impl<C: Clusters> Site<'_, C> {
    /// The cluster so many after this one.
    fn cluster(&self, further: usize) -> Option<&str> {
        let at = self.at + further;
        if at >= self.clusters.count() {
            return None;
        }
        self.text
            .get(self.clusters.start(at)..self.clusters.start(at + 1))
    }

    /// The cluster so many after this one, if it is not white space.
    fn inked(&self, further: usize) -> Option<&str> {
        let is_inked = |own: &&str| !own.starts_with(char::is_whitespace);
        self.cluster(further).filter(is_inked)
    }
}

/// What an operation makes of a place: how many clusters it takes, and what becomes of them. Nothing
/// where it does not apply.
pub(crate) type Outcome = Option<(u32, Change)>;

impl Operations {
    /// What an operation on characters makes of a site.
    ///
    /// One `match` for all of them: which way it goes is random, and each such branch costs as much as
    /// what is done behind it.
    #[inline(always)]
    pub(crate) fn character<C: Clusters>(
        &self,
        kind: Kind,
        site: &Site<'_, C>,
        number: u64,
    ) -> Outcome {
        let table = match kind {
            Kind::Delete => return characters::delete(site),
            Kind::Insert => return characters::insert(&self.alphabet, site, number),
            Kind::Substitute => return characters::substitute(&self.alphabet, site, number),
            Kind::Repeat => return characters::repeat(site),
            Kind::Swap => return characters::swap(site),
            Kind::Keyboard => &self.keyboard,
            Kind::Optical => &self.optical,
            Kind::Similar => &self.similar,
            Kind::Accent => &self.accent,
            Kind::Case => return case::flip(site),
            Kind::Space => return marks::space(site, number),
            Kind::Punctuation => return marks::punctuation(site, number),
            _ => return None,
        };
        table.as_ref()?.plan(site, number)
    }
}

/// A word on which an operation is to act.
pub(crate) struct Spot<'a, C> {
    pub(crate) text: &'a str,
    pub(crate) clusters: &'a C,
    pub(crate) words: &'a [Word],
    pub(crate) at: usize,
    /// Whether all words before it are dropped.
    pub(crate) leads: bool,
}

impl Operations {
    /// What an operation on words makes of one: how many words it takes, and the edit.
    pub(crate) fn word<C: Clusters>(
        &self,
        kind: Kind,
        spot: &Spot<'_, C>,
        number: u64,
    ) -> Option<(usize, Planned)> {
        let (taken, range, change) = match kind {
            Kind::Errors => self.errors.as_ref()?.plan(spot, number)?,
            Kind::DropWords => words::drop(spot)?,
            Kind::RepeatWords => words::repeat(spot)?,
            Kind::SplitWords => words::split(spot, number)?,
            Kind::JoinWords => words::join(spot)?,
            Kind::Capitals => case::capitals(spot, number)?,
            _ => return None,
        };
        Some((
            taken,
            Planned {
                range,
                kind,
                change,
            },
        ))
    }
}

/// How many words an operation takes, of which bytes, and what becomes of those.
type WordOutcome = (usize, std::ops::Range<usize>, Change);
