//! How texts are tokenised.

/// What the model allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens that the model takes at once, special tokens counted.
    pub max_tokens: usize,
}

/// Options of one encoding. The default: all that the model takes, longer texts cut at their end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Encode {
    /// Which end of a long text is cut off.
    pub truncate: Truncate,
    /// What becomes of a long text.
    pub on_long: OnLong,
    /// A limit below the model's, in tokens, special tokens counted. A higher one has no effect.
    pub max_tokens: Option<usize>,
    /// Words set before the text (the first of a pair) prior to tokenising, with nothing between,
    /// as sentence-transformers does.
    pub prompt: Option<String>,
    /// Whether the tokens' places in the text are wanted.
    pub offsets: Offsets,
}

/// Which end of a text that is too long is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Truncate {
    /// The end: the beginning is kept.
    #[default]
    Right,
    /// The beginning: the end is kept.
    Left,
}

/// What becomes of a text with more tokens than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnLong {
    /// It is cut; a pair is cut longest first, as in transformers.
    #[default]
    Truncate,
    /// It is refused with [`TextError::TooLong`](crate::TextError::TooLong).
    Error,
}

/// Whether the tokens' places in the text are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Offsets {
    /// No; tokenising is faster without.
    #[default]
    Skip,
    /// Yes.
    Keep,
}
