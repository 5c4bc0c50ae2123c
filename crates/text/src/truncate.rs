//! Cutting texts to the room there is.

use std::ops::Range;

use crate::options::Truncate;

/// How many tokens of each of two texts are kept where together they have `room`.
///
/// The same as `truncate_encodings` with `LongestFirst` of the `tokenizers` crate, which
/// transformers calls: the longer text is cut first; once both are alike they share, and an odd
/// token goes to the one that was longer, to the second where they were equal.
pub(crate) fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let (short, _) = (first.min(second), first.max(second));
    let half = room / 2;
    let (short, long) = if short > half {
        (half, half + room % 2)
    } else {
        (short, room - short)
    };
    if first > second {
        (long, short)
    } else {
        (short, long)
    }
}

/// Whether the split between two texts depends on which of them is longer, both being longer than
/// half of the room.
pub(crate) fn odd_token_matters(first: usize, second: usize, room: usize) -> bool {
    !room.is_multiple_of(2) && first.min(second) > room / 2
}

/// Which of `tokens` are kept if `kept` of them are.
pub(crate) fn kept(tokens: usize, kept: usize, side: Truncate) -> Range<usize> {
    let kept = kept.min(tokens);
    match side {
        Truncate::Right => 0..kept,
        Truncate::Left => tokens - kept..tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::{
        Encoding, Token, TruncationDirection, TruncationParams, TruncationStrategy,
        truncate_encodings,
    };

    fn encoding(tokens: usize) -> Encoding {
        let token = |id| Token::new(id, "x".into(), (0, 1));
        Encoding::from_tokens((0..tokens as u32).map(token).collect(), 0)
    }

    /// Without it pairs would be cut elsewhere than in training, and score differently.
    #[test]
    fn pairs_are_cut_as_transformers_cuts_them() {
        let mut table = testing::CaseTable::new("pairs are cut as transformers cuts them");
        for room in 0..9 {
            for first in 0..12 {
                for second in 0..12 {
                    let params = TruncationParams {
                        max_length: room,
                        strategy: TruncationStrategy::LongestFirst,
                        stride: 0,
                        direction: TruncationDirection::Right,
                    };
                    let (a, b) =
                        truncate_encodings(encoding(first), Some(encoding(second)), &params)
                            .unwrap();
                    let want = (a.len(), b.unwrap().len());
                    let case = format!("{first} + {second} in {room}");
                    table.equal(case, &longest_first(first, second, room), &want);
                }
            }
        }
        table.finish();
    }
}
