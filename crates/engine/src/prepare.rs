//! From rows of text to rows of tokens: tokenising, keys, and finding rows that are equal.

use std::collections::HashMap;
use std::sync::Arc;

use networks::LetterCase;
use text::{Encode, Input, TextError, TokenSpan, Tokenizer};

use crate::cache::{Key, Scope};
use crate::error::{RowError, codes};
use crate::execute::TokenRow;

/// Turns rows into tokens under one set of options; shared by all threads.
pub(crate) struct Preparer {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) encode: Encode,
    pub(crate) scope: Scope,
    pub(crate) takes: Takes,
    pub(crate) letter_case: LetterCase,
}

/// What the model's task takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Single texts or pairs.
    Either,
    /// Single texts alone: a pair has no one vector, and no one text that entities point into.
    Texts,
    /// Pairs alone.
    Pairs,
}

/// A row after preparation.
#[derive(Debug)]
pub(crate) struct PreparedRow {
    /// Which of the window's distinct rows this is.
    pub(crate) unique: u32,
    pub(crate) tokens: u32,
    pub(crate) truncated: bool,
    /// Text and spans, for tasks that point into the text.
    pub(crate) source: Option<Arc<Source>>,
}

/// The text of a row and where its tokens stand in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The text as it was given.
    pub text: String,
    /// One span a token.
    pub spans: Vec<TokenSpan>,
}

/// A window after preparation: its rows, and the distinct ones among them.
#[derive(Debug, Default)]
pub(crate) struct PreparedWindow {
    pub(crate) rows: Vec<Result<PreparedRow, RowError>>,
    pub(crate) unique: Vec<Unique>,
}

/// A row that stands for all that are equal to it after preparation.
#[derive(Debug)]
pub(crate) struct Unique {
    pub(crate) key: Key,
    pub(crate) tokens: TokenRow,
    /// How many rows of the window it stands for.
    pub(crate) count: u32,
}

impl Preparer {
    /// Prepares a window. Rows that are equal after preparation (same tokens, whatever their text)
    /// become one [`Unique`].
    pub(crate) fn window(&self, rows: Vec<Result<Input, RowError>>) -> PreparedWindow {
        let mut window = PreparedWindow {
            rows: Vec::with_capacity(rows.len()),
            unique: Vec::new(),
        };
        let mut known: HashMap<Key, u32> = HashMap::with_capacity(rows.len());
        for row in rows {
            let prepared = row.and_then(|input| {
                let (tokens, truncated, source) = self.row(input)?;
                let length = tokens.ids.len() as u32;
                let key = self.scope.key(&tokens.ids, &tokens.types);
                let unique = *known.entry(key).or_insert_with(|| {
                    window.unique.push(Unique {
                        key,
                        tokens,
                        count: 0,
                    });
                    window.unique.len() as u32 - 1
                });
                window.unique[unique as usize].count += 1;
                Ok(PreparedRow {
                    unique,
                    tokens: length,
                    truncated,
                    source,
                })
            });
            window.rows.push(prepared);
        }
        window
    }

    fn row(&self, input: Input) -> Result<(TokenRow, bool, Option<Arc<Source>>), RowError> {
        match (&input, self.takes) {
            (Input::Text(_), Takes::Pairs) => {
                return Err(RowError::new(
                    codes::WRONG_INPUT,
                    "this model scores pairs, and the row is a single text; give both texts",
                ));
            }
            (Input::Pair(..), Takes::Texts) => {
                return Err(RowError::new(
                    codes::WRONG_INPUT,
                    "this model takes single texts, and the row is a pair; leave the second out",
                ));
            }
            _ => {}
        }
        let input = match self.letter_case {
            LetterCase::Kept => input,
            LetterCase::Lowered => lowered(input),
        };
        let encoded = self
            .tokenizer
            .encode(&input, &self.encode)
            .map_err(|error| {
                let code = match error {
                    TextError::TooLong { .. } => codes::TOO_LONG,
                    _ => codes::TOKENIZE,
                };
                RowError::new(code, error.to_string())
            })?;
        let source = match (encoded.offsets, input) {
            (Some(spans), Input::Text(text)) => Some(Arc::new(Source { text, spans })),
            _ => None,
        };
        let tokens = TokenRow {
            ids: encoded.ids,
            types: encoded.types,
        };
        Ok((tokens, encoded.truncated, source))
    }
}

fn lowered(input: Input) -> Input {
    match input {
        Input::Text(text) => Input::Text(text.to_lowercase()),
        Input::Pair(first, second) => Input::Pair(first.to_lowercase(), second.to_lowercase()),
    }
}
