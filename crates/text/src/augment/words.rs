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

    /// Finds the words.
    pub(crate) fn split<C: Clusters>(&self, text: &str, clusters: &C, words: &mut Vec<Word>) {
        words.clear();
        match C::ARE_BYTES {
            true => self.split_bytes(text.as_bytes(), words),
            false => self.split_clusters(text, clusters, words),
        }
    }

    /// By 64 bytes at once: a bit for each that separates, then from edge to edge.
    fn split_bytes(&self, text: &[u8], words: &mut Vec<Word>) {
        let mut start = 0;
        // As if white space stood before the text and behind it.
        let mut last = 1;
        for (block, bytes) in text.chunks(64).enumerate() {
            let mut separators = u64::MAX.checked_shl(bytes.len() as u32).unwrap_or(0);
            let (eights, rest) = bytes.as_chunks::<8>();
            for (at, eight) in eights.iter().enumerate() {
                separators |= self.bits(eight) << (8 * at);
            }
            separators |= self
                .bits(rest)
                .checked_shl(8 * eights.len() as u32)
                .unwrap_or(0);
            let mut edges = separators ^ (separators << 1 | last);
            last = separators >> 63;
            while edges != 0 {
                let bit = edges.trailing_zeros();
                let at = 64 * block + bit as usize;
                match separators >> bit & 1 {
                    0 => start = at,
                    _ => words.push(of_bytes(start, at)),
                }
                edges &= edges - 1;
            }
        }
        if last == 0 {
            words.push(of_bytes(start, text.len()));
        }
    }

    /// A bit for each of at most 64 bytes of ASCII that separates words.
    #[inline(always)]
    fn bits(&self, bytes: &[u8]) -> u64 {
        let bit = |(at, byte): (usize, &u8)| u64::from(self.ascii[usize::from(byte & 127)]) << at;
        bytes
            .iter()
            .enumerate()
            .map(bit)
            .fold(0, |bits, bit| bits | bit)
    }

    fn split_clusters(&self, text: &str, clusters: &impl Clusters, words: &mut Vec<Word>) {
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

    /// Whether the cluster that begins at a byte separates words.
    fn at(&self, text: &str, byte: usize) -> bool {
        match text.as_bytes().get(byte) {
            Some(ascii) if ascii.is_ascii() => self.ascii[usize::from(*ascii)],
            _ => first(text, byte).is_some_and(|c| c.is_whitespace() || self.others.contains(&c)),
        }
    }
}

fn of_bytes(start: usize, end: usize) -> Word {
    Word {
        start,
        end,
        first: start,
        clusters: end - start,
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
