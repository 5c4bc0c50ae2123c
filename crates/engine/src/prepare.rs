//! From rows of text to rows of tokens: tokenising, keys, and finding rows that are equal.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::catch_unwind;
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
        self.window_as(rows, &self.encode)
    }

    /// The same with other options. Another prompt must not be one that is left out of pooling: the executor
    /// knows the length of the model's own alone.
    pub(crate) fn window_as(
        &self,
        rows: Vec<Result<Input, RowError>>,
        encode: &Encode,
    ) -> PreparedWindow {
        let mut window = PreparedWindow {
            rows: Vec::with_capacity(rows.len()),
            unique: Vec::new(),
        };
        let mut known: HashMap<Key, u32> = HashMap::with_capacity(rows.len());
        for row in rows {
            let prepared = row.and_then(|input| {
                let (tokens, truncated, source) = self.row(input, encode)?;
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

    /// The options with this prompt; an empty one is none.
    pub(crate) fn prompted(&self, prompt: &str) -> Encode {
        let prompt = match self.letter_case {
            LetterCase::Kept => prompt.to_owned(),
            LetterCase::Lowered => prompt.to_lowercase(),
        };
        Encode {
            prompt: Some(prompt).filter(|prompt| !prompt.is_empty()),
            ..self.encode.clone()
        }
    }

    fn row(
        &self,
        input: Input,
        encode: &Encode,
    ) -> Result<(TokenRow, bool, Option<Arc<Source>>), RowError> {
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
        let read = match self.letter_case {
            LetterCase::Kept => Cow::Borrowed(&input),
            LetterCase::Lowered => Cow::Owned(lowered(&input)),
        };
        let encoded = catch_unwind(|| self.tokenizer.encode(&read, encode));
        let encoded = encoded.unwrap_or_else(|_| {
            // The `tokenizers` crate is large: a bug in it costs this row, not its window.
            let why = "the tokenizer panicked; please report this".to_owned();
            Err(TextError::Refused { why })
        });
        let encoded = encoded.map_err(|error| RowError::of_text(&error))?;
        let lowered = matches!(read, Cow::Owned(_));
        let source = match (encoded.offsets, input) {
            (Some(mut spans), Input::Text(text)) => {
                if lowered {
                    places_as_given(&text, &mut spans);
                }
                Some(Arc::new(Source { text, spans }))
            }
            _ => None,
        };
        let tokens = TokenRow {
            ids: encoded.ids,
            types: encoded.types,
        };
        Ok((tokens, encoded.truncated, source))
    }
}

pub(crate) fn lowered(input: &Input) -> Input {
    match input {
        Input::Text(text) => Input::Text(text.to_lowercase()),
        Input::Pair(first, second) => Input::Pair(first.to_lowercase(), second.to_lowercase()),
    }
}

/// From places in a text's lower case to places in the text: a few characters become two, as `İ` does.
pub(crate) fn places_as_given(text: &str, spans: &mut [TokenSpan]) {
    let given: Vec<usize> = text
        .chars()
        .enumerate()
        .flat_map(|(at, character)| character.to_lowercase().map(move |_| at))
        .collect();
    for span in spans.iter_mut().filter(|span| span.end > span.start) {
        let place = |at: usize| given.get(at).copied().unwrap_or(at);
        (span.start, span.end) = (place(span.start), place(span.end - 1) + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entities of a model that reads lower case would be cut out of the wrong place.
    #[test]
    fn places_are_those_of_the_text_as_it_was_given() {
        let text = "İzmir ΣΑΣ";
        let Input::Text(lower) = lowered(&text.into()) else {
            panic!("a text");
        };
        let lower: Vec<char> = lower.chars().collect();
        assert_eq!(lower.len(), text.chars().count() + 1);
        let span = |start, end| TokenSpan {
            start,
            end,
            ..TokenSpan::default()
        };
        let mut spans = [span(0, 2), span(1, 6), span(7, 10), span(0, 0)];
        assert_eq!(lower[7..10], ['σ', 'α', 'ς']);
        places_as_given(text, &mut spans);
        assert_eq!(spans, [span(0, 1), span(0, 5), span(6, 9), span(0, 0)]);
    }
}
