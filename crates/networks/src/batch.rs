//! A batch of tokenised texts, and the check that makes running it safe.

use crate::directory::EncoderConfig;
use crate::error::RunError;
use crate::families::TokenTypes;

/// Texts as token ids, one after the other without padding.
///
/// ```
/// use batchwright_networks::TokenBatch;
///
/// // Two texts of three and two tokens.
/// let batch = TokenBatch {
///     ids: &[101, 7592, 102, 101, 102],
///     lengths: &[3, 2],
///     ..TokenBatch::default()
/// };
/// assert_eq!(batch.texts(), 2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenBatch<'a> {
    /// The token ids of all texts.
    pub ids: &'a [u32],
    /// The token type (segment) of each token; empty where all are 0.
    pub types: &'a [u8],
    /// The number of tokens of each text; at least 1 each, and together `ids.len()`.
    pub lengths: &'a [usize],
    /// For each text how many of its first tokens pooling leaves out; empty where none are.
    /// Only for models whose [`crate::ModelDirectory::prompt_pooling`] excludes the prompt; it
    /// changes embeddings and nothing else. A text that is left out whole becomes a zero vector.
    pub prompt_tokens: &'a [usize],
}

impl TokenBatch<'_> {
    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.lengths.len()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Checks everything that the kernels rely on.
    pub(crate) fn check(&self, config: &EncoderConfig) -> Result<(), RunError> {
        let limit = config.max_positions();
        let mut total = 0usize;
        for (text, &tokens) in self.lengths.iter().enumerate() {
            if tokens == 0 {
                return Err(RunError::EmptyText { text });
            }
            if tokens > limit {
                return Err(RunError::TooLong {
                    text,
                    tokens,
                    limit,
                });
            }
            // No overflow: a sum beyond `ids` is caught below, and each length is at most `limit`.
            total = total.saturating_add(tokens);
        }
        if total != self.ids.len() {
            return Err(RunError::LengthsDisagree {
                total,
                ids: self.ids.len(),
            });
        }
        let count = |what, found: usize, expected: usize| {
            if found == 0 || found == expected {
                Ok(())
            } else {
                Err(RunError::CountDisagrees {
                    what,
                    found,
                    expected,
                })
            }
        };
        count("token types", self.types.len(), total)?;
        count(
            "prompt tokens",
            self.prompt_tokens.len(),
            self.lengths.len(),
        )?;

        let vocabulary = config.vocabulary;
        if let Some(token) = self.ids.iter().position(|&id| id as usize >= vocabulary) {
            let (text, position) = self.locate(token);
            let id = self.ids.get(token).copied().unwrap_or_default();
            return Err(RunError::UnknownToken {
                text,
                position,
                id,
                vocabulary,
            });
        }
        if config.family.layout().types == TokenTypes::Given
            && let Some(token) = self
                .types
                .iter()
                .position(|&kind| kind as usize >= config.types)
        {
            let (text, position) = self.locate(token);
            let found = self.types.get(token).copied().unwrap_or_default();
            return Err(RunError::UnknownType {
                text,
                position,
                found,
                types: config.types,
            });
        }
        Ok(())
    }

    /// The text that a token of the batch belongs to, and its place there.
    fn locate(&self, token: usize) -> (usize, usize) {
        let mut before = 0;
        for (text, &length) in self.lengths.iter().enumerate() {
            if token < before + length {
                return (text, token - before);
            }
            before += length;
        }
        (self.lengths.len(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Family;
    use kernels::Activation;

    fn config(family: Family) -> EncoderConfig {
        EncoderConfig {
            family,
            hidden: 4,
            layers: 1,
            heads: 1,
            intermediate: 4,
            vocabulary: 10,
            position_rows: 6,
            first_position: 2,
            types: 2,
            pad_id: 1,
            activation: Activation::Relu,
            layer_norm_eps: 1e-12,
        }
    }

    /// One odd row would crash the job, or read another row's memory.
    #[test]
    fn what_does_not_fit_is_an_error_that_names_the_text() {
        let good = TokenBatch {
            ids: &[0, 9, 3],
            lengths: &[1, 2],
            ..TokenBatch::default()
        };
        let bert = config(Family::Bert);
        assert_eq!(good.check(&bert), Ok(()));
        assert_eq!(TokenBatch::default().check(&bert), Ok(()));
        let cases = [
            (
                TokenBatch {
                    lengths: &[1, 1],
                    ..good
                },
                RunError::LengthsDisagree { total: 2, ids: 3 },
            ),
            (
                TokenBatch {
                    lengths: &[3, 0],
                    ..good
                },
                RunError::EmptyText { text: 1 },
            ),
            (
                TokenBatch {
                    lengths: &[1, 5],
                    ..good
                },
                RunError::TooLong {
                    text: 1,
                    tokens: 5,
                    limit: 4,
                },
            ),
            (
                TokenBatch {
                    ids: &[0, 1, 10],
                    ..good
                },
                RunError::UnknownToken {
                    text: 1,
                    position: 1,
                    id: 10,
                    vocabulary: 10,
                },
            ),
            (
                TokenBatch {
                    types: &[0, 1],
                    ..good
                },
                RunError::CountDisagrees {
                    what: "token types",
                    found: 2,
                    expected: 3,
                },
            ),
            (
                TokenBatch {
                    types: &[0, 2, 1],
                    ..good
                },
                RunError::UnknownType {
                    text: 1,
                    position: 0,
                    found: 2,
                    types: 2,
                },
            ),
            (
                TokenBatch {
                    prompt_tokens: &[1],
                    ..good
                },
                RunError::CountDisagrees {
                    what: "prompt tokens",
                    found: 1,
                    expected: 2,
                },
            ),
        ];
        for (batch, error) in cases {
            assert_eq!(batch.check(&bert), Err(error), "{batch:?}");
        }
        // Families without types ignore what a tokenizer says about them, as transformers does.
        let typed = TokenBatch {
            types: &[0, 1, 2],
            ..good
        };
        assert_eq!(typed.check(&config(Family::MpNet)), Ok(()));
    }
}
