//! WordPiece at the speed of the text: the tokens of the `tokenizers` crate, some thirty times sooner.
//!
//! The library builds a string with alignments for every stage and every word. Here a text is read
//! once: characters are looked up in a table ([`alphabet`]), words are gathered in one buffer and
//! looked up in another ([`vocabulary`]). Nothing is allocated for a word.
//!
//! It is an optimisation and nothing else: wherever it is not certain to give what the library
//! gives, it gives nothing and the library is asked. Files are left to the library unless they are
//! BERT's in every part; texts, if they hold an added token such as `[MASK]`, or a character that
//! depends on its neighbours or lies beyond the first two planes of Unicode.

mod alphabet;
mod scan;
#[cfg(test)]
mod tests;
mod vocabulary;

use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::{AddedToken, Model, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::tokens::{Tokens, Unit};
use alphabet::{Alphabet, Glyph};
use scan::Scan;
use vocabulary::Vocabulary;

/// A BERT tokenizer that is understood in every part.
pub(crate) struct WordPiece {
    alphabet: Alphabet,
    /// What a byte becomes within a word, for ASCII where that is all that happens; otherwise 0.
    plain: [u8; 256],
    vocabulary: Vocabulary,
    unknown: Unknown,
    /// Characters of the mark of continuation, `##`.
    prefix: usize,
    /// A word with more characters is unknown.
    most_characters: usize,
    added: Vec<String>,
    /// Whether an added token begins with that byte.
    begins_added: [bool; 256],
}

/// The token of words that the vocabulary cannot spell.
#[derive(Clone, Copy)]
struct Unknown {
    id: u32,
    /// Its characters.
    written: usize,
}

/// The part of a `tokenizer.json` that the library does not give back whole.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

impl WordPiece {
    /// The fast path for a tokenizer, or nothing where some part of it is not BERT's.
    pub(crate) fn of(
        inner: &tokenizers::Tokenizer,
        post: Option<&PostProcessorWrapper>,
        file: &[u8],
    ) -> Option<WordPiece> {
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = inner.get_normalizer() else {
            return None;
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = inner.get_pre_tokenizer() else {
            return None;
        };
        let ModelWrapper::WordPiece(model) = inner.get_model() else {
            return None;
        };
        let added = added(file)?;
        // By number, which takes half the time of having the library's map copied. Where the numbers
        // have gaps, a token is missing here.
        let tokens: Option<Vec<String>> = (0..model.get_vocab_size() as u32)
            .map(|id| model.id_to_token(id))
            .collect();
        let tokens = tokens?;
        if tokens.iter().any(|token| trimmed(token)) && !leaves_offsets(post) {
            return None;
        }
        let prefix = model.continuing_subword_prefix.as_str();
        let alphabet = Alphabet::new(*normalizer);
        let mut begins_added = [false; 256];
        for token in &added {
            begins_added[usize::from(token.as_bytes()[0])] = true;
        }
        let plain = std::array::from_fn(|byte| match alphabet.glyph(char::from(byte as u8)) {
            Glyph::Part(spelling) if byte < 128 && !begins_added[byte] => match spelling.bytes() {
                [folded] => *folded,
                _ => 0,
            },
            _ => 0,
        });
        Some(WordPiece {
            plain,
            vocabulary: Vocabulary::new(&tokens, prefix),
            unknown: Unknown {
                id: model.token_to_id(&model.unk_token)?,
                written: model.unk_token.chars().count(),
            },
            prefix: prefix.chars().count(),
            most_characters: model.max_input_chars_per_word,
            alphabet,
            added,
            begins_added,
        })
    }

    /// The tokens of a text, and where they stand if that is wanted; or nothing where the library
    /// must be asked.
    pub(crate) fn tokens(&self, text: &str, places: Option<Unit>) -> Option<Tokens> {
        Scan::new(self, places).tokens(text)
    }

    /// Whether an added token stands at the head of a text. The library decides by its flags what to
    /// make of it.
    fn adds(&self, text: &str) -> bool {
        self.added
            .iter()
            .any(|token| text.starts_with(token.as_str()))
    }
}

/// The added tokens that are looked for in the text as it stands; nothing if some are looked for in
/// what normalising makes of it, of which a [`Scan`] sees one word at a time.
fn added(file: &[u8]) -> Option<Vec<String>> {
    let file: File = serde_json::from_slice(file).ok()?;
    let raw = file.added_tokens.iter().all(|token| !token.normalized);
    let tokens = file.added_tokens.into_iter();
    let tokens = tokens.filter(|token| !token.content.is_empty());
    raw.then(|| tokens.map(|token| token.content).collect())
}

/// Whether a post-processor never moves offsets. The others take the blanks of byte-level tokens off
/// them, and by the looks of the tokens alone.
fn leaves_offsets(post: Option<&PostProcessorWrapper>) -> bool {
    matches!(
        post,
        None | Some(PostProcessorWrapper::Bert(_) | PostProcessorWrapper::Template(_))
    )
}

/// Whether a token has what those take for a blank, at either end.
fn trimmed(token: &str) -> bool {
    let blank = |c: char| c == 'Ġ' || c.is_whitespace();
    token.starts_with(blank) || token.ends_with(blank)
}
