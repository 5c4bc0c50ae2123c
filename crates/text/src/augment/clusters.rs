//! Where a text's characters begin: extended grapheme clusters (Unicode Standard Annex 29).

use unicode_segmentation::UnicodeSegmentation;

/// The boundaries of a text's clusters.
pub(crate) trait Clusters {
    /// Whether every byte is one.
    const ARE_BYTES: bool;
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
    const ARE_BYTES: bool = true;

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
    const ARE_BYTES: bool = false;

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
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut other = 0;
    let mut look = |eight: [u8; 8]| {
        let eight = u64::from_le_bytes(eight);
        // A byte is zero here where it is a carriage return, and only then borrows from above itself,
        // or else some other byte has been found before.
        let returns = eight ^ 0x0D0D_0D0D_0D0D_0D0D;
        other |= (eight | returns.wrapping_sub(0x0101_0101_0101_0101) & !returns) & HIGH;
    };
    let bytes = text.as_bytes();
    // The last eight overlap with those before: copied into a block of their own they would take longer
    // than all others.
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().all(|byte| byte.is_ascii() && *byte != b'\r');
    };
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .for_each(|eight| look(*eight));
    look(*last);
    other == 0
}

/// Finds the clusters' starts, with the text's length behind them.
pub(crate) fn find(text: &str, starts: &mut Vec<usize>) {
    starts.clear();
    starts.reserve(text.len() + 1);
    let mut rest = text;
    while !rest.is_empty() {
        rest = find_plain(text.len(), rest, starts);
        // What comes after a boundary does not depend on what lies before it.
        if let Some(cluster) = rest.graphemes(true).next() {
            starts.push(text.len() - rest.len());
            rest = &rest[cluster.len()..];
        }
    }
    starts.push(text.len());
}

/// Passes over characters that are clusters of their own, as long as the next is one as well; gives
/// what is left of a text of `end` bytes.
fn find_plain<'a>(end: usize, text: &'a str, starts: &mut Vec<usize>) -> &'a str {
    let mut characters = text.chars();
    let mut next = characters.next();
    let mut left = text;
    while next.is_some_and(is_plain) {
        let behind = characters.as_str();
        next = characters.next();
        if !next.is_none_or(is_plain) {
            break;
        }
        starts.push(end - left.len());
        left = behind;
    }
    left
}

/// Whether a character neither joins the one before nor one behind it, if that does neither as well:
/// its break property is Other or, for ASCII but CR, Control or LF, and it is no pictograph. Not all
/// such are here, but the letters of most texts.
fn is_plain(c: char) -> bool {
    match c {
        '\r' => false,
        '\0'..='\u{7f}' => true,
        // Latin, phonetic letters; Greek, Cyrillic; Cyrillic, Armenian.
        '\u{c0}'..='\u{2ff}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{556}' => true,
        // Hebrew; Arabic.
        '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}' => true,
        // Dashes and quotation marks.
        '\u{2010}'..='\u{2027}' => true,
        // Hiragana, Katakana, Chinese characters.
        '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{4e00}'..='\u{9fff}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a text would be cut between the bytes of a letter, or between CR and LF.
    #[test]
    fn the_short_way_is_taken_for_plain_ascii_alone() {
        let mut table = testing::CaseTable::new("where something else stands");
        for length in 0..40 {
            let plain = "ab\u{c}\u{e}\n~ \0".repeat(5)[..length].to_owned();
            table.equal(format!("plain, {length}"), &is_bytes(&plain), &true);
            for at in 0..=length {
                for other in ["\r", "é", "\u{80}"] {
                    let text = format!("{}{other}{}", &plain[..at], &plain[at..]);
                    table.equal(
                        format!("{other:?} at {at} of {length}"),
                        &is_bytes(&text),
                        &false,
                    );
                }
            }
        }
        table.finish();
    }

    /// Without it an edit would cut a character in two wherever the short way is wrong.
    #[test]
    fn plain_characters_are_clusters_beside_plain_characters() {
        let plain: Vec<char> = ('\0'..=char::MAX).filter(|c| is_plain(*c)).collect();
        assert!(plain.len() > 20_000, "{}", plain.len());
        for c in plain {
            for other in ['a', '\n', 'ж', 'א', 'ب', '’', 'か', '中'] {
                let text: String = [other, c, other].iter().collect();
                assert_eq!(text.graphemes(true).count(), 3, "{text:?}");
            }
        }
    }

    /// Without it some mixture of scripts would have other characters than Unicode says.
    #[test]
    fn clusters_are_those_of_unicode() {
        let cases = [
            "",
            "a",
            "\r\n",
            "a\r\nb\r",
            "e\u{301}",
            "\u{301}a",
            "ae\u{301}b",
            "🇩🇪🇫🇷🇬",
            "👩‍👩‍👧‍👦 family",
            "x👍🏽y",
            "नमस्ते",
            "각 각",
            "한국어",
            "שלום עולם",
            "مَرْحَبًا",
            "日本語テキスト",
            "が\u{3099}",
            "naïve café",
            "\u{600}5",
            "a\u{200d}b",
            "☺\u{fe0f}.",
        ];
        let mut table = testing::CaseTable::new("boundaries of clusters");
        let mut starts = Vec::new();
        for text in cases {
            find(text, &mut starts);
            let ends = std::iter::once(text.len());
            let expected: Vec<usize> = text
                .grapheme_indices(true)
                .map(|(at, _)| at)
                .chain(ends)
                .collect();
            table.equal(text, &starts, &expected);
        }
        table.finish();
    }
}
