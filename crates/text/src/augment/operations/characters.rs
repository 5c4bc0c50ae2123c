//! Deleting, inserting, substituting, repeating and swapping characters.

use super::{Outcome, Site};
use crate::augment::clusters::Clusters;
use crate::augment::kind::Kind;
use crate::augment::plan::Change;
use crate::augment::random::scaled;

/// What inserted and substituted characters are drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Alphabet(Vec<char>);

impl Alphabet {
    pub(crate) fn new(characters: &str) -> Alphabet {
        Alphabet(characters.chars().collect())
    }

    fn draw(&self, number: u64) -> Option<char> {
        self.0.get(scaled(number, self.0.len())).copied()
    }

    /// Another character than the one given: the next of the alphabet where it is drawn.
    fn other(&self, number: u64, than: &str) -> Option<char> {
        let at = scaled(number, self.0.len());
        let is_other = |c: &&char| than.strip_prefix(**c) != Some("");
        self.0[at.min(self.0.len())..]
            .iter()
            .chain(&self.0)
            .find(is_other)
            .copied()
    }
}

/// What an operation makes of the cluster of a site; nothing where it does not apply.
pub(super) fn plan<C: Clusters>(
    kind: Kind,
    alphabet: &Alphabet,
    site: &Site<'_, C>,
    number: u64,
) -> Outcome {
    let own = site.cluster(0)?;
    if own.starts_with(char::is_whitespace) {
        return None;
    }
    let change = match kind {
        Kind::Delete => Change::Remove,
        Kind::Insert => insert(alphabet, number)?,
        Kind::Substitute => Change::Character(alphabet.other(number, own)?),
        Kind::Repeat => Change::Twice,
        Kind::Swap => return swap(site, own),
        _ => return None,
    };
    Some((1, change))
}

fn insert(alphabet: &Alphabet, number: u64) -> Option<Change> {
    let c = alphabet.draw(number << 1)?;
    Some(match number >> 63 {
        0 => Change::Before(c),
        _ => Change::After(c),
    })
}

fn swap<C: Clusters>(site: &Site<'_, C>, own: &str) -> Outcome {
    let next = site.cluster(1)?;
    let middle = site.clusters.start(site.at + 1);
    let swaps = next != own && !next.starts_with(char::is_whitespace);
    swaps.then_some((2, Change::Turn { middle }))
}
