//! Where a text's words stand.

use super::clusters::Clusters;

/// A word: clusters that neither are white space nor separators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The number of its first cluster.
    pub(crate) first: usize,
    /// How many it has.
    pub(crate) clusters: usize,
}

/// What ends a word.
#[derive(Clone, Debug)]
pub(crate) struct Separators {
    ascii: [bool; 128],
    others: Vec<char>,
}

impl Separators {
    pub(crate) fn new(separators: &str) -> Separators {
        let is = |c: char| c.is_whitespace() || separators.contains(c);
        Separators {
            ascii: std::array::from_fn(|byte| is(char::from(byte as u8))),
            others: separators.chars().filter(|c| !c.is_ascii()).collect(),
        }
    }

    /// Whether the cluster that begins at a byte separates words.
    pub(crate) fn at(&self, text: &str, byte: usize) -> bool {
        match text.as_bytes().get(byte) {
            Some(ascii) if ascii.is_ascii() => self.ascii[usize::from(*ascii)],
            _ => first(text, byte).is_some_and(|c| c.is_whitespace() || self.others.contains(&c)),
        }
    }

    /// Finds the words.
    pub(crate) fn split(&self, text: &str, clusters: &impl Clusters, words: &mut Vec<Word>) {
        words.clear();
        let mut first = None;
        for at in 0..clusters.count() {
            match (self.at(text, clusters.start(at)), first) {
                (false, None) => first = Some(at),
                (true, Some(from)) => {
                    words.push(word(clusters, from, at));
                    first = None;
                }
                _ => {}
            }
        }
        if let Some(from) = first {
            words.push(word(clusters, from, clusters.count()));
        }
    }
}

fn word(clusters: &impl Clusters, from: usize, to: usize) -> Word {
    Word {
        start: clusters.start(from),
        end: clusters.start(to),
        first: from,
        clusters: to - from,
    }
}

/// The character that begins at a byte.
pub(crate) fn first(text: &str, byte: usize) -> Option<char> {
    text.get(byte..)?.chars().next()
}
