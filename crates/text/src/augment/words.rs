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

    /// By 64 bytes at once: a bit for each that separates, then from edge to edge.
    fn split_bytes(&self, text: &[u8], words: &mut Vec<Word>) {
        let mut start = 0;
        // As if white space stood before the text and behind it.
        let mut last = 1;
        for (block, bytes) in text.chunks(64).enumerate() {
            // Behind the text there is white space, too.
            let beyond = u64::MAX.checked_shl(bytes.len() as u32).unwrap_or(0);
            let separators = self.bits(bytes) | beyond;
            let before = separators << 1 | last;
            let (mut starts, mut ends) = (before & !separators, separators & !before);
            let place = |bits: u64| 64 * block + bits.trailing_zeros() as usize;
            if last == 0 && ends != 0 {
                words.push(of_bytes(start, place(ends)));
                ends &= ends - 1;
            }
            // Now each end has its start before it.
            words.reserve(32);
            while ends != 0 {
                words.push(of_bytes(place(starts), place(ends)));
                (starts, ends) = (starts & starts.wrapping_sub(1), ends & (ends - 1));
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

    /// A bit for each of at most 64 bytes of ASCII that separates words.
    #[inline(always)]
    fn bits(&self, bytes: &[u8]) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if let (Some(marks), Some(last)) = (&self.marks, bytes.last_chunk::<16>()) {
            let mut all = 0;
            for (at, sixteen) in bytes.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: every machine of this architecture has SSE2.
                all |= u64::from(unsafe { bits_beside(marks, sixteen) }) << (16 * at);
            }
            // The last sixteen overlap with those before: a copy of the rest would be waited for.
            // SAFETY: as above.
            let last = u64::from(unsafe { bits_beside(marks, last) });
            return all | last << (bytes.len() - 16);
        }
        let bit = |(at, byte): (usize, &u8)| u64::from(self.ascii[usize::from(byte & 127)]) << at;
        let bits = bytes.iter().enumerate().map(bit);
        bits.fold(0, |bits, bit| bits | bit)
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
fn bits_beside(marks: &[u8; MARKS], sixteen: &[u8; 16]) -> u16 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };
    // SAFETY: sixteen bytes are read.
    let sixteen = unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) };
    // From the tab to the carriage return.
    let from_tab = _mm_sub_epi8(sixteen, _mm_set1_epi8(9));
    let mut found = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
    for mark in [b' ', marks[0], marks[1]] {
        found = _mm_or_si128(found, _mm_cmpeq_epi8(sixteen, _mm_set1_epi8(mark as i8)));
    }
    _mm_movemask_epi8(found) as u16
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
            let (mut by_bytes, mut by_clusters) = (Vec::new(), Vec::new());
            separators.split(&text, &Bytes(text.len()), &mut by_bytes);
            separators.split(&text, &Starts(&starts), &mut by_clusters);
            prop_assert_eq!(by_bytes, by_clusters);
        }
    }
}
