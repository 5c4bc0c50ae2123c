//! A text as the network reads it.

/// Tokens of a text or pair, special tokens included, never padded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Token type ids, one a token; empty where all are zero.
    pub types: Vec<u8>,
    /// One span a token, if they were asked for.
    pub offsets: Option<Vec<TokenSpan>>,
    /// Whether tokens were cut off.
    pub truncated: bool,
}

/// Where a token stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TokenSpan {
    /// First character (Unicode scalar value, not byte) in the text as it was given, the prompt not
    /// counted; for the second text of a pair, in that text. 0 for special tokens.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// Tokens with the same number are parts of one word in the sense of transformers' aggregation
    /// (see [`crate::entities`]). `None` for special tokens.
    pub word: Option<u32>,
    /// Whether the token is not of the text: one that the model's template adds, or of the prompt.
    pub special: bool,
}

impl TokenSpan {
    /// The span of a token that the template adds.
    pub(crate) const SPECIAL: TokenSpan = TokenSpan {
        start: 0,
        end: 0,
        word: None,
        special: true,
    };
}
