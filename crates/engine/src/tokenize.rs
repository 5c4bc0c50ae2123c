//! What a model's tokenizer makes of a text, for people who want to see or count it.

use std::borrow::Cow;
use std::panic::catch_unwind;

use networks::LetterCase;
use text::{Encode, Input, Offsets, TokenSpan};

use crate::error::{RowError, codes};
use crate::model::Model;
use crate::prepare::{lowered, places_as_given};

/// A row as the network reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids, special ones and the prompt's included.
    pub ids: Vec<u32>,
    /// Each token as the vocabulary writes it.
    pub tokens: Vec<String>,
    /// Where each token stands in the text.
    pub spans: Vec<TokenSpan>,
    /// Whether the row was cut to the model's or the caller's limit.
    pub truncated: bool,
}

impl Model {
    /// Tokenises a row as predicting would, be it a text or a pair.
    ///
    /// # Errors
    /// As the row's error when it is predicted.
    pub fn tokenize(&self, input: &Input) -> Result<Tokens, RowError> {
        self.tokenize_as(input, &self.core().preparer.encode)
    }

    /// The same with a prompt other than the model's own; an empty one is none.
    ///
    /// # Errors
    /// As [`tokenize`](Self::tokenize).
    pub fn tokenize_with_prompt(&self, input: &Input, prompt: &str) -> Result<Tokens, RowError> {
        let how = self.core().preparer.prompted(prompt);
        self.tokenize_as(input, &how)
    }

    fn tokenize_as(&self, input: &Input, how: &Encode) -> Result<Tokens, RowError> {
        let preparer = &self.core().preparer;
        let how = Encode {
            offsets: Offsets::Keep,
            ..how.clone()
        };
        let read = match preparer.letter_case {
            LetterCase::Kept => Cow::Borrowed(input),
            LetterCase::Lowered => Cow::Owned(lowered(input)),
        };
        let encoded = catch_unwind(|| preparer.tokenizer.encode(&read, &how));
        let encoded = match encoded {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error)) => return Err(RowError::of_text(&error)),
            Err(_) => {
                let why = "the tokenizer panicked; please report this";
                return Err(RowError::new(codes::TOKENIZE, why));
            }
        };
        let mut spans = encoded.offsets.unwrap_or_default();
        if let (Cow::Owned(_), Input::Text(text)) = (&read, input) {
            places_as_given(text, &mut spans);
        }
        let name = |&id: &u32| preparer.tokenizer.token(id).unwrap_or_default();
        Ok(Tokens {
            tokens: encoded.ids.iter().map(name).collect(),
            ids: encoded.ids,
            spans,
            truncated: encoded.truncated,
        })
    }
}
