//! Words change places.

use crate::augment::edited::Piece;
use crate::augment::random::Numbers;
use crate::augment::words::Word;

/// How often an order is drawn until one is not that of the text. For two words, half of the draws
/// are: so many in a row never come.
const DRAWS: usize = 64;

/// Draws another order of the words that may move: every one is as likely. False if there is none.
pub(crate) fn shuffle(
    words: &[Word],
    fixed: impl Fn(&Word) -> bool,
    numbers: &mut Numbers,
    order: &mut Vec<usize>,
) -> bool {
    order.clear();
    order.extend((0..words.len()).filter(|at| !fixed(&words[*at])));
    let movable = order.len();
    if movable < 2 {
        return false;
    }
    for _ in 0..DRAWS {
        for last in (1..movable).rev() {
            order.swap(last, numbers.below(last + 1));
        }
        if !order.is_sorted() {
            return true;
        }
    }
    false
}

/// Writes the text in a new order: `order` holds the words that move, by the places they get.
pub(crate) fn arrange(
    source: &str,
    words: &[Word],
    fixed: impl Fn(&Word) -> bool,
    order: &[usize],
    text: &mut String,
    pieces: &mut Vec<Piece>,
) {
    let mut copied = 0;
    let mut put = |range: std::ops::Range<usize>, is_word, text: &mut String| {
        if !range.is_empty() {
            let from = text.len();
            text.push_str(&source[range.clone()]);
            pieces.push(Piece {
                before: range,
                after: from..text.len(),
                is_word,
            });
        }
    };
    let mut next = order.iter();
    for word in words {
        put(copied..word.start, false, text);
        let here = match fixed(word) {
            true => word,
            false => next.next().map_or(word, |at| &words[*at]),
        };
        put(here.start..here.end, true, text);
        copied = word.end;
    }
    put(copied..source.len(), false, text);
}
