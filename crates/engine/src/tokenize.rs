//! What a model's tokenizer makes of a text, for people who want to see or count it.

use std::borrow::Cow;
use std::panic::catch_unwind;

use networks::LetterCase;
use text::{Encode, Input, Offsets, TextError, TokenSpan};

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
        let preparer = &self.core().preparer;
        let how = Encode {
            offsets: Offsets::Keep,
            ..preparer.encode.clone()
        };
        let read = match preparer.letter_case {
            LetterCase::Kept => Cow::Borrowed(input),
            LetterCase::Lowered => Cow::Owned(lowered(input)),
        };
        let encoded = catch_unwind(|| preparer.tokenizer.encode(&read, &how));
        let encoded = match encoded {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error @ TextError::TooLong { .. })) => {
                return Err(RowError::new(codes::TOO_LONG, error.to_string()));
            }
            Ok(Err(error)) => return Err(RowError::new(codes::TOKENIZE, error.to_string())),
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
