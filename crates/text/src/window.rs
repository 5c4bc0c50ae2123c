//! Parts of long texts that hold the tokens that are kept.
//!
//! A model takes some hundreds of tokens; a row may hold megabytes. Tokenising all of it costs the
//! `tokenizers` crate some 60 bytes of memory and half a microsecond a byte, to throw nearly all
//! away. So a long text is cut at a space well beyond the need, and only tokens well away from that
//! cut are believed. If they are too few, the part grows fourfold, up to the whole text: a text of
//! blanks, or of one endless word that WordPiece gives up on, is read to its end.
//!
//! At a space this is certain: words are tokenised one by one. A text in which there is no space for
//! thousands of bytes (Chinese, a data URL) is cut anywhere, and the tokens of the far half of the part
//! are believed. They are those of the whole text but in one case: where the far half itself repeats
//! one pattern, as a line of ten thousand dashes does, and a tokenizer that weighs all of a word
//! (Unigram, BPE) can cut the pattern in ways that weigh the same, the odd piece may stand elsewhere.
//! To read every such text to its end for that would cost 60 times its size in memory.

use std::ops::Range;

use crate::options::Truncate;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Bytes of the text that are tokenised.
    pub(crate) bytes: Range<usize>,
    /// Of these, the bytes (counted in the text) whose tokens are those of the whole text.
    pub(crate) safe: Range<usize>,
}

/// How far, in bytes, a token must be from a cut at a space. Words end at spaces; what may cross one
/// are added tokens and rewritings of a few characters.
const MARGIN: usize = 256;

/// The first window for so many tokens, in bytes. English has 4 to 5 bytes a token.
pub(crate) fn first_size(tokens: usize) -> usize {
    tokens.saturating_mul(8).saturating_add(4096)
}

/// A window of about `size` bytes at the end of the text that is kept, or `None` where the whole
/// text is hardly longer.
pub(crate) fn window(text: &str, size: usize, side: Truncate) -> Option<Window> {
    // Half as much again is looked through for a space.
    let reach = size.saturating_add(size / 2);
    if reach.saturating_add(size / 2) >= text.len() {
        return None;
    }
    let bytes = text.as_bytes();
    let letter = |at: usize| !matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\r');
    let window = match side {
        // The space itself stays outside: what is inside ends with a word.
        Truncate::Right => match (size..reach).find(|&at| bytes[at] == b' ' && letter(at - 1)) {
            Some(cut) => Window {
                bytes: 0..cut,
                safe: 0..cut - MARGIN.min(cut),
            },
            None => {
                // No space far and wide. A word so long is tokenised from its beginning, and what
                // stands half a window further on has no influence, patterns apart.
                let cut = text.floor_char_boundary(reach);
                Window {
                    bytes: 0..cut,
                    safe: 0..cut / 2,
                }
            }
        },
        // Mirrored; here the space is inside, where it belongs to the word after it.
        Truncate::Left => {
            let end = text.len();
            let space = (end - reach..end - size).rev();
            match space
                .into_iter()
                .find(|&at| bytes[at] == b' ' && letter(at - 1))
            {
                Some(cut) => Window {
                    bytes: cut..end,
                    safe: (cut + MARGIN).min(end)..end,
                },
                None => {
                    let cut = text.ceil_char_boundary(end - reach);
                    Window {
                        bytes: cut..end,
                        safe: cut + (end - cut) / 2..end,
                    }
                }
            }
        }
    };
    Some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a text could be cut within a word, or within a character, and panic.
    #[test]
    fn windows_are_cut_at_spaces_and_between_characters() {
        let words = "word ".repeat(4000);
        let unspaced = "日本語".repeat(4000);
        let mut table = testing::CaseTable::new("windows are cut where it is safe");
        for (name, text) in [("words", &words), ("unspaced", &unspaced)] {
            for size in [1000, 1001, 1002, 4000] {
                for side in [Truncate::Right, Truncate::Left] {
                    let w = window(text, size, side).unwrap();
                    let inside = text.get(w.bytes.clone()).unwrap();
                    let within = w.safe.start >= w.bytes.start && w.safe.end <= w.bytes.end;
                    let long = inside.len() >= size && inside.len() <= size * 3 / 2 + 3;
                    let cut = name != "words"
                        || match side {
                            Truncate::Right => inside.ends_with("word"),
                            Truncate::Left => inside.starts_with(" word"),
                        };
                    let ok = within && long && cut;
                    table.check(
                        format!("{name} {size} {side:?}"),
                        ok.then_some(()).ok_or(format!("{w:?}")),
                    );
                }
            }
        }
        table.equal("short", &window("a b c", 4096, Truncate::Right), &None);
        table.finish();
    }
}
