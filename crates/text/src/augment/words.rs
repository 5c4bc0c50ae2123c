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
    /// Those of ASCII beside white space, with repetitions; `None` where there are more.
    marks: Option<[u8; MARKS]>,
    others: Vec<char>,
}

/// Marks that are compared one by one.
const MARKS: usize = 2;

impl Separators {
    pub(crate) fn new(separators: &str) -> Separators {
        let is = |c: char| c.is_whitespace() || separators.contains(c);
        let mut marks: Vec<u8> = separators.bytes().filter(u8::is_ascii).collect();
        marks.sort_unstable();
        marks.dedup();
        let few = marks.len() <= MARKS;
        marks.resize(MARKS, marks.last().copied().unwrap_or(b' '));
        Separators {
            ascii: std::array::from_fn(|byte| is(char::from(byte as u8))),
            marks: few.then(|| std::array::from_fn(|at| marks[at])),
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

    /// Finds the words of ASCII behind which white space is set up to a multiple of 64 bytes.
    pub(crate) fn split_padded(&self, text: &[u8], words: &mut Vec<Word>) {
        words.clear();
        self.split_bytes(text, words);
    }

    /// By 64 bytes at once: a bit for each that separates, then from edge to edge.
    fn split_bytes(&self, text: &[u8], words: &mut Vec<Word>) {
        let mut start = 0;
        // As if white space stood before the text and behind it.
        let mut last = 1;
        for (block, bytes) in text.chunks(64).enumerate() {
            let separators = match bytes.as_array() {
                Some(bytes) => self.bits(bytes),
                None => {
                    let mut whole = [b' '; 64];
                    whole[..bytes.len()].copy_from_slice(bytes);
                    self.bits(&whole)
                }
            };
            let before = separators << 1 | last;
            let (mut starts, mut ends) = (before & !separators, separators & !before);
            let place = |bits: u64| 64 * block + bits.trailing_zeros() as usize;
            if last == 0 && ends != 0 {
                words.push(of_bytes(start, place(ends)));
                ends &= ends - 1;
            }
            // Now each end has its start before it.
            while ends != 0 {
                words.push(of_bytes(place(starts), place(ends)));
                (starts, ends) = (starts & (starts - 1), ends & (ends - 1));
            }
            if starts != 0 {
                start = place(starts);
            }
            last = separators >> 63;
        }
        if last == 0 {
            words.push(of_bytes(start, text.len()));
        }
    }

    /// A bit for each byte of ASCII that separates words.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn bits(&self, bytes: &[u8; 64]) -> u64 {
        match &self.marks {
            // SAFETY: every machine of this architecture has SSE2.
            Some(marks) => unsafe { bits_beside(marks, bytes) },
            None => self.bits_by_table(bytes),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn bits(&self, bytes: &[u8; 64]) -> u64 {
        self.bits_by_table(bytes)
    }

    fn bits_by_table(&self, bytes: &[u8; 64]) -> u64 {
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

/// A bit for each byte that is white space or one of the marks.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn bits_beside(marks: &[u8; MARKS], bytes: &[u8; 64]) -> u64 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };
    let mut all = 0;
    for (at, sixteen) in bytes.as_chunks::<16>().0.iter().enumerate() {
        let both = u128::from_le_bytes(*sixteen);
        let sixteen = _mm_set_epi64x((both >> 64) as i64, both as i64);
        // From the tab to the carriage return.
        let from_tab = _mm_sub_epi8(sixteen, _mm_set1_epi8(9));
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
        let mut found = controls;
        for mark in [b' ', marks[0], marks[1]] {
            found = _mm_or_si128(found, _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(mark as i8)));
        }
        all |= u64::from(_mm_movemask_epi8(found) as u16) << (16 * at);
    }
    all
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::augment::clusters::{self, Bytes, Starts};

    proptest! {
        /// Words would be others where a text is long, or has other separators.
        #[test]
        fn words_of_ascii_are_found_alike(text in "[a-c \\t\\n.,:-]{0,200}", separators in "[.,:é-]{0,4}") {
            let separators = Separators::new(&separators);
            let mut starts = Vec::new();
            clusters::find(&text, &mut starts);
            let (mut by_bytes, mut by_clusters, mut by_padded) = (Vec::new(), Vec::new(), Vec::new());
            separators.split(&text, &Bytes(text.len()), &mut by_bytes);
            separators.split(&text, &Starts(&starts), &mut by_clusters);
            prop_assert_eq!(&by_bytes, &by_clusters);
            let padded = text.clone() + &"\n".repeat(text.len().next_multiple_of(64) - text.len());
            separators.split_padded(padded.as_bytes(), &mut by_padded);
            prop_assert_eq!(by_padded, by_bytes);
        }
    }
}
