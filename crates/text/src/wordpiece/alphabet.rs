//! What becomes of each character before words are looked up.

use std::sync::OnceLock;

use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

/// What normalising and splitting make of each character, wherever it stands.
///
/// All that BERT's normaliser and splitter do, they do character by character: drop, blank out, set
/// apart, decompose, strip, lower-case. So the library is asked once about each character and its
/// answer is kept. There is one exception, which [`steady`] finds and the table leaves open:
/// decomposing sorts combining marks that stand side by side.
pub(super) struct Alphabet {
    normalizer: BertNormalizer,
    /// Asked for when a text first needs them: 128 characters cost some 0.3 ms.
    pages: Box<[OnceLock<Box<Page>>]>,
}

type Page = [Glyph; PAGE];

/// Characters of a page.
const PAGE: usize = 128;
/// The first two planes: all living scripts, emoji.
const PAGES: usize = 0x2_0000 / PAGE;

/// What becomes of one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glyph {
    /// Part of a word, spelled so.
    Part(Spelling),
    /// A word of its own, whatever stands beside it: punctuation, Chinese characters.
    Alone(Spelling),
    /// The end of a word.
    Space,
    /// Nothing: the word goes on behind it.
    Gone,
    /// What becomes of it is not known, or depends on its neighbours.
    Unsure,
}

/// Normalised bytes of one character; a Hangul syllable has nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    length: u8,
    bytes: [u8; 9],
}

impl Spelling {
    fn new(text: &str) -> Option<Spelling> {
        let mut bytes = [0; 9];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Spelling {
            length: text.len() as u8,
            bytes,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Alphabet {
    pub(super) fn new(normalizer: BertNormalizer) -> Alphabet {
        Alphabet {
            normalizer,
            pages: (0..PAGES).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(super) fn glyph(&self, character: char) -> Glyph {
        let at = character as usize;
        match self.pages.get(at / PAGE) {
            Some(page) => page.get_or_init(|| self.page(at / PAGE))[at % PAGE],
            None => Glyph::Unsure,
        }
    }

    fn page(&self, number: usize) -> Box<Page> {
        let character = |at: usize| char::from_u32((number * PAGE + at) as u32);
        Box::new(std::array::from_fn(|at| {
            character(at)
                .and_then(|character| self.probe(character))
                .unwrap_or(Glyph::Unsure)
        }))
    }

    /// Asks the library what it makes of a character, between two letters that stay what they are.
    fn probe(&self, character: char) -> Option<Glyph> {
        let mut text = NormalizedString::from(format!("a{character}a"));
        self.normalizer.normalize(&mut text).ok()?;
        let mut words = PreTokenizedString::from(text);
        BertPreTokenizer.pre_tokenize(&mut words).ok()?;
        let words = words.get_splits(OffsetReferential::Original, OffsetType::None);
        let words: Vec<&str> = words.into_iter().map(|(word, ..)| word).collect();
        let glyph = match words[..] {
            ["aa"] => Glyph::Gone,
            ["a", "a"] => Glyph::Space,
            ["a", alone, "a"] => Glyph::Alone(self.spelling(alone)?),
            [word] => {
                let part = word.strip_prefix('a')?.strip_suffix('a')?;
                Glyph::Part(self.spelling(part)?)
            }
            _ => Glyph::Unsure,
        };
        Some(glyph)
    }

    fn spelling(&self, text: &str) -> Option<Spelling> {
        let sorts = self
            .normalizer
            .strip_accents
            .unwrap_or(self.normalizer.lowercase);
        let safe = !sorts || text.chars().all(steady);
        safe.then(|| Spelling::new(text)).flatten()
    }
}

/// Whether no combining mark behind a character is ever sorted before it.
///
/// The mark here has the lowest class of all, so that it passes everything that can be passed. The
/// marks which the normaliser strips may be sorted as they like; what it leaves must stay in place.
fn steady(character: char) -> bool {
    let text = format!("a{character}\u{334}");
    NormalizedString::from(text.as_str()).nfd().get() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Glyph {
        Glyph::Part(Spelling::new(text).unwrap())
    }

    fn alone(text: &str) -> Glyph {
        Glyph::Alone(Spelling::new(text).unwrap())
    }

    /// Without it a character would be dropped, kept or set apart where the model's training did
    /// otherwise.
    #[test]
    fn characters_become_what_the_normaliser_makes_of_them() {
        let uncased = Alphabet::new(BertNormalizer::new(true, true, None, true));
        let cased = Alphabet::new(BertNormalizer::new(true, true, None, false));
        let raw = Alphabet::new(BertNormalizer::new(false, false, None, false));
        let cases = [
            ("uncased", &uncased, 'A', part("a")),
            ("uncased", &uncased, 'É', part("e")),
            ("uncased", &uncased, 'ß', part("ß")),
            ("uncased", &uncased, 'Ж', part("ж")),
            ("uncased", &uncased, '각', part("\u{1100}\u{1161}\u{11a8}")),
            ("uncased", &uncased, '\u{301}', Glyph::Gone),
            ("uncased", &uncased, '\0', Glyph::Gone),
            ("uncased", &uncased, '\u{b}', Glyph::Gone),
            ("uncased", &uncased, '\u{200d}', Glyph::Gone),
            ("uncased", &uncased, '\u{fffd}', Glyph::Gone),
            ("uncased", &uncased, '\t', Glyph::Space),
            ("uncased", &uncased, '\u{a0}', Glyph::Space),
            ("uncased", &uncased, '$', alone("$")),
            ("uncased", &uncased, '…', alone("…")),
            ("uncased", &uncased, '≠', alone("=")),
            ("uncased", &uncased, '東', alone("東")),
            ("uncased", &uncased, '🙂', part("🙂")),
            // A mark that is no accent to the normaliser, and that sorting moves.
            ("uncased", &uncased, '\u{302e}', Glyph::Unsure),
            ("uncased", &uncased, '\u{20000}', Glyph::Unsure),
            ("cased", &cased, 'A', part("A")),
            ("cased", &cased, 'É', part("É")),
            ("cased", &cased, '\u{302e}', part("\u{302e}")),
            ("raw", &raw, '\0', part("\0")),
            ("raw", &raw, '\u{b}', Glyph::Space),
            ("raw", &raw, '東', part("東")),
        ];
        let mut table = testing::CaseTable::new("characters become what BERT makes of them");
        for (name, alphabet, character, want) in cases {
            let got = alphabet.glyph(character);
            table.equal(format!("{name} {character:?}"), &got, &want);
        }
        table.finish();
    }
}
