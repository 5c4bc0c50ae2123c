//! Which tokens are parts of one word.

use tokenizers::models::ModelWrapper;

use crate::tokens::Place;

/// How the tokens of a word are told from the next word's, in transformers' aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// The model marks continuations (`##ing`): a token continues a word if it is written otherwise,
    /// in length, than the part of the text it stands for. `unknown` never does.
    Marked { unknown: Option<u32> },
    /// A token continues a word unless there is a space before it. `unknown` never does.
    Spaced { unknown: Option<u32> },
}

impl Words {
    /// Reads it off the tokenizer's model.
    pub(crate) fn of(inner: &tokenizers::Tokenizer) -> Words {
        let named = |name: &str| inner.token_to_id(name);
        let usual = || ["<unk>", "[UNK]", "<UNK>"].into_iter().find_map(named);
        match inner.get_model() {
            ModelWrapper::WordPiece(model) if !model.continuing_subword_prefix.is_empty() => {
                Words::Marked {
                    unknown: named(&model.unk_token),
                }
            }
            ModelWrapper::BPE(model) => {
                let unknown = model.unk_token.as_deref().and_then(named).or_else(usual);
                match model.continuing_subword_prefix.as_deref() {
                    None | Some("") => Words::Spaced { unknown },
                    Some(_) => Words::Marked { unknown },
                }
            }
            _ => Words::Spaced { unknown: usual() },
        }
    }

    /// Where the text has spaces, by character, if that is needed.
    pub(crate) fn spaces(self, text: &str) -> Vec<bool> {
        match self {
            Words::Marked { .. } => Vec::new(),
            Words::Spaced { .. } => text.chars().map(|c| c == ' ').collect(),
        }
    }

    /// Whether a token is of the same word as the one before it.
    pub(crate) fn continues(self, id: u32, place: Place, spaces: &[bool]) -> bool {
        match self {
            Words::Marked { unknown } | Words::Spaced { unknown } if unknown == Some(id) => false,
            Words::Marked { .. } => place.written != (place.start..place.end).len(),
            Words::Spaced { .. } => {
                let space = |at: usize| spaces.get(at).copied().unwrap_or(false);
                place.start > 0 && !space(place.start - 1) && !space(place.start)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it parts of one word would become entities of their own, or two words one.
    #[test]
    fn words_are_told_apart_as_transformers_tells_them() {
        let (marked, spaced) = (
            Words::Marked { unknown: Some(1) },
            Words::Spaced { unknown: Some(1) },
        );
        let text = "un lock";
        let cases = [
            (marked, (7, "##ck"), 5..7, true),
            (marked, (7, "lo"), 3..5, false),
            (marked, (1, "[UNK]"), 3..5, false),
            (spaced, (7, "lo"), 3..5, false),
            (spaced, (7, "\u{2581}lo"), 2..5, false),
            (spaced, (7, "ck"), 5..7, true),
            (spaced, (1, "<unk>"), 5..7, false),
            (spaced, (7, "u"), 0..1, false),
            (spaced, (7, "beyond"), 9..12, true),
        ];
        let mut table = testing::CaseTable::new("words are told apart as in transformers");
        for (words, token, place, want) in cases {
            let at = Place {
                start: place.start,
                end: place.end,
                written: token.1.chars().count(),
            };
            let got = words.continues(token.0, at, &words.spaces(text));
            table.equal(format!("{words:?} {token:?} {place:?}"), &got, &want);
        }
        table.finish();
    }
}
