//! Where a text's characters begin: extended grapheme clusters (Unicode Standard Annex 29).

use unicode_segmentation::UnicodeSegmentation;

/// The boundaries of a text's clusters.
pub(crate) trait Clusters {
    /// How many there are.
    fn count(&self) -> usize;
    /// The byte where one begins; the text's length for the one after the last.
    fn start(&self, at: usize) -> usize;
    /// Whether one begins at a byte, or the text ends there.
    fn is_boundary(&self, byte: usize) -> bool;
}

/// A text of ASCII without carriage returns: every byte is a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) usize);

impl Clusters for Bytes {
    fn count(&self) -> usize {
        self.0
    }

    fn start(&self, at: usize) -> usize {
        at
    }

    fn is_boundary(&self, byte: usize) -> bool {
        byte <= self.0
    }
}

/// Any text, by the starts of its clusters and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a>(pub(crate) &'a [usize]);

impl Clusters for Starts<'_> {
    fn count(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    fn start(&self, at: usize) -> usize {
        self.0[at]
    }

    fn is_boundary(&self, byte: usize) -> bool {
        self.0.binary_search(&byte).is_ok()
    }
}

/// Whether every byte of a text is a cluster of its own: CR LF is the one pair of ASCII that is not.
pub(crate) fn is_bytes(text: &str) -> bool {
    // Both loops without an exit: they are compiled to vectors, and texts are short.
    let bytes = text.as_bytes();
    bytes.is_ascii() && !bytes.iter().fold(false, |any, byte| any | (*byte == b'\r'))
}

/// Finds the clusters' starts, with the text's length behind them.
pub(crate) fn find(text: &str, starts: &mut Vec<usize>) {
    starts.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        starts.push(at);
        // Two characters of ASCII are two clusters, but for CR LF.
        let alone = |next: &u8| next.is_ascii() && bytes[at] != b'\r';
        if bytes[at].is_ascii() && bytes.get(at + 1).is_none_or(alone) {
            at += 1;
        } else {
            // What comes after a boundary does not depend on what lies before it.
            let cluster = text[at..].graphemes(true).next();
            at += cluster.map_or(1, str::len);
        }
    }
    starts.push(bytes.len());
}
