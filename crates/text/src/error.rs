//! What can go wrong with a tokenizer or a text.

use std::fmt;
use std::path::PathBuf;

/// Why a tokenizer could not be read or a text not be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The file is missing or cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file is not a `tokenizer.json` that the `tokenizers` crate knows.
    #[error("{}: not a tokenizer.json: {why}; save the model again with a current transformers", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// The text has more tokens than the limit, and cutting it was not allowed.
    #[error("{tokens} tokens exceed the limit of {limit}; use --on-long truncate or --max-tokens", limit = grouped(*limit))]
    TooLong {
        /// Tokens of the text, special tokens counted.
        tokens: TokenCount,
        /// The limit in force.
        limit: usize,
    },
    /// The limit does not even hold the special tokens.
    #[error(
        "a limit of {limit} tokens is too low: the model's special tokens alone are {needed}; use --max-tokens {needed} or more"
    )]
    LimitTooLow {
        /// The limit in force.
        limit: usize,
        /// How many special tokens the model's template adds.
        needed: usize,
    },
    /// The tokenizer itself gave up on the text.
    #[error("the text cannot be tokenised: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
}

/// How many tokens a text has, as far as that was found out.
///
/// A text of megabytes is not tokenised to its end just to say by how much it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCount {
    /// So many.
    Exactly(usize),
    /// So many in the part that was read.
    AtLeast(usize),
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenCount::Exactly(n) => f.write_str(&grouped(*n)),
            TokenCount::AtLeast(n) => write!(f, "at least {}", grouped(*n)),
        }
    }
}

/// `9214` as `9,214`.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a user would read an error that names neither the limit nor the way out.
    #[test]
    fn messages_name_the_limit_and_the_remedy() {
        let cases = [
            (
                TextError::TooLong {
                    tokens: TokenCount::Exactly(9214),
                    limit: 512,
                },
                "9,214 tokens exceed the limit of 512; use --on-long truncate or --max-tokens",
            ),
            (
                TextError::TooLong {
                    tokens: TokenCount::AtLeast(1_000_000),
                    limit: 1024,
                },
                "at least 1,000,000 tokens exceed the limit of 1,024; use --on-long truncate or --max-tokens",
            ),
            (
                TextError::LimitTooLow {
                    limit: 1,
                    needed: 2,
                },
                "a limit of 1 tokens is too low: the model's special tokens alone are 2; use --max-tokens 2 or more",
            ),
        ];
        let mut table = testing::CaseTable::new("errors say what, the limit and the remedy");
        for (error, words) in cases {
            table.equal(words, error.to_string().as_str(), words);
        }
        table.finish();
    }
}
