//! Tokens, offsets and entities against transformers, and what must hold for any text.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at whatever it did not expect"
)]

mod allocations;
mod golden;
mod library;
mod long;
mod properties;

use batchwright_text::{Limits, Tokenizer};
use testing::golden::Golden;

/// The tokenizer of a golden model.
fn tokenizer(model: &Golden) -> Tokenizer {
    let limits = Limits {
        max_tokens: model.max_tokens,
    };
    Tokenizer::from_file(model.directory.join("tokenizer.json"), limits).unwrap()
}
