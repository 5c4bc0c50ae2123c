//! Deleting, inserting, substituting, repeating and swapping characters.

use super::{Outcome, Site};
use crate::augment::clusters::Clusters;
use crate::augment::plan::Change;
use crate::augment::random::scaled;

/// What inserted and substituted characters are drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Alphabet(Vec<char>);

impl Alphabet {
    pub(crate) fn new(characters: &str) -> Alphabet {
        // Each once: all are as likely.
        let mut characters: Vec<char> = characters.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        Alphabet(characters)
    }

    pub(crate) fn characters(&self) -> &[char] {
        &self.0
    }

    fn draw(&self, number: u64) -> Option<char> {
        self.0.get(scaled(number, self.0.len())).copied()
    }
}

/// Another of some characters than the one given: each is as likely.
pub(super) fn other(characters: &[char], number: u64, than: &str) -> Option<char> {
    let is = |c: char| than.strip_prefix(c) == Some("");
    let at = scaled(number, characters.len());
    let drawn = *characters.get(at)?;
    if !is(drawn) {
        return Some(drawn);
    }
    // The share of the one that may not be is dealt out among the others.
    let others = characters.len() - 1;
    let further = 1 + scaled(number << 32, others);
    let drawn = *characters.get((at + further) % characters.len())?;
    (!is(drawn)).then_some(drawn)
}

pub(super) fn delete<C: Clusters>(site: &Site<'_, C>) -> Outcome {
    site.inked(0).map(|_| (1, Change::Remove))
}

/// Before or after, the one as likely as the other.
pub(super) fn insert<C: Clusters>(alphabet: &Alphabet, site: &Site<'_, C>, number: u64) -> Outcome {
    site.inked(0)?;
    let c = alphabet.draw(number << 1)?;
    let change = match number >> 63 {
        0 => Change::Before(c),
        _ => Change::After(c),
    };
    Some((1, change))
}

pub(super) fn substitute<C: Clusters>(
    alphabet: &Alphabet,
    site: &Site<'_, C>,
    number: u64,
) -> Outcome {
    let c = other(&alphabet.0, number, site.inked(0)?)?;
    Some((1, Change::Character(c)))
}

pub(super) fn repeat<C: Clusters>(site: &Site<'_, C>) -> Outcome {
    site.inked(0).map(|_| (1, Change::Twice))
}

/// Applies where the next is another character of the same word.
pub(super) fn swap<C: Clusters>(site: &Site<'_, C>) -> Outcome {
    let (own, next) = (site.inked(0)?, site.inked(1)?);
    let first = own.len() as u32;
    (own != next).then_some((2, Change::Turn { first }))
}
