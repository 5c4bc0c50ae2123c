//! Words change places.

use std::ops::Range;

use crate::augment::edited::{Piece, Rearranged};
use crate::augment::random::{Numbers, happens};
use crate::augment::words::Word;

/// How often an order is drawn until one is not that of the text. For two words, half of the draws
/// are: so many in a row never come.
const DRAWS: usize = 64;

/// Whether and how far words change places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shuffle {
    /// The chance for a row.
    pub(crate) p: f64,
    /// A row that has an order left is shuffled, whatever the chance.
    pub(crate) always: bool,
    /// How many places a word moves at most.
    pub(crate) distance: Option<u32>,
}

impl Shuffle {
    /// Whether a row is to be shuffled.
    pub(crate) fn happens(self, numbers: &mut Numbers) -> bool {
        let drawn = happens(numbers.draw(), self.p);
        self.always || drawn
    }

    /// Draws an order of the words that may move, other than the one they have: `order` gets the
    /// words by the places that they come to. False if there is no other.
    pub(crate) fn order(
        self,
        words: &[Word],
        fixed: impl Fn(&Word) -> bool,
        numbers: &mut Numbers,
        order: &mut Vec<(u64, usize)>,
    ) -> bool {
        order.clear();
        order.extend(
            (0..words.len())
                .filter(|at| !fixed(&words[*at]))
                .map(|at| (0, at)),
        );
        if order.len() < 2 || self.distance == Some(0) {
            return false;
        }
        (0..DRAWS).any(|_| {
            match self.distance {
                None => anywhere(order, numbers),
                Some(distance) => nearby(order, u64::from(distance), numbers),
            }
            !order.is_sorted_by_key(|(_, at)| *at)
        })
    }
}

/// Every order is as likely (Fisher and Yates, as Durstenfeld has it).
fn anywhere(order: &mut [(u64, usize)], numbers: &mut Numbers) {
    for last in (1..order.len()).rev() {
        order.swap(last, numbers.below(last + 1));
    }
}

/// No word moves further than `distance`: sorted by their places, each with a number from 0 up to
/// `distance + 1` added (Lample et al., "Unsupervised Machine Translation Using Monolingual Corpora
/// Only", ICLR 2018).
fn nearby(order: &mut [(u64, usize)], distance: u64, numbers: &mut Numbers) {
    order.sort_unstable_by_key(|(_, at)| *at);
    let distance = distance.min(order.len() as u64);
    for (place, (key, _)) in order.iter_mut().enumerate() {
        // In parts of 2³²: exact for as many words as memory holds.
        let further = (numbers.draw() >> 32).saturating_mul(distance + 1);
        *key = ((place as u64) << 32).saturating_add(further);
    }
    order.sort_unstable();
}

/// Writes the text in a new order. What stands between the words stays where it is.
pub(crate) fn arrange(
    source: &str,
    words: &[Word],
    fixed: impl Fn(&Word) -> bool,
    order: &[(u64, usize)],
    out: &mut Rearranged,
) {
    out.text.clear();
    let mut put = |range: Range<usize>, is_word| {
        if !range.is_empty() {
            let from = out.text.len();
            out.text.push_str(&source[range.clone()]);
            out.pieces.push(Piece {
                before: range,
                after: from..out.text.len(),
                is_word,
            });
        }
    };
    let mut copied = 0;
    let mut next = order.iter();
    for word in words {
        put(copied..word.start, false);
        let here = match fixed(word) {
            true => word,
            false => next.next().map_or(word, |(_, at)| &words[*at]),
        };
        put(here.start..here.end, true);
        copied = word.end;
    }
    put(copied..source.len(), false);
}
