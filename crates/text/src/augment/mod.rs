//! Editing texts at random: misspellings, scanning errors, words in another order, from a seed.
//!
//! What it is: operations on characters and words, each with a probability and bounds, put together in a
//! [`Recipe`]; an [`Augmenter`] that applies one to row after row; and the way from positions in the
//! old text to positions in the new one, so that labelled spans follow. What it is not: a model of
//! language. It knows keyboards, look-alikes and the lists that it is given, no meaning.
//!
//! ```
//! use batchwright_text::augment::{Augmenter, Edited, Place, Recipe};
//!
//! let augmenter = Augmenter::new(&Recipe::named("typing")?, 7)?;
//! let mut edited = Edited::default();
//! for (row, text) in ["fly to New York", "and back to Boston"].into_iter().enumerate() {
//!     let place = Place { row: row as u64, ..Place::default() };
//!     augmenter.edit(place, text, &mut edited);
//!     println!("{} ({} edits)", edited.text(), edited.total());
//! }
//! # Ok::<(), batchwright_text::augment::AugmentError>(())
//! ```
//!
//! # What happens to a row
//!
//! protected words and patterns → words shuffled, if that is drawn → edits of words planned → edits of
//! characters planned → edits added or taken out for the bounds → all written in one pass.
//!
//! *Characters* are extended grapheme clusters. *Words* are runs of characters that are neither white
//! space nor one of the recipe's `separators`.
//!
//! **Chances.** The text is gone through from its start. At each place (character, word) that no edit
//! before has taken, the operation `k` of that unit is drawn with its chance `p_k`, and none with what
//! the chances leave of 1; so a place has at most one edit. Where the drawn operation does not apply (no
//! neighbour on the keyboard, nothing protected), nothing happens: `p_k` is exactly the chance of each
//! place to which it applies. Operations that take two places (a swap, `rn` → `m`, a join) leave none of
//! them to others. Characters of a word that is edited as a word are left alone.
//!
//! **Bounds.** `max`: of too many edits, each is as likely to be taken out. `min`: each free place to
//! which the operation applies is as likely to get one, until there are enough or there is no such
//! place. Those of single operations are kept first, then those of the row, which never undo them. A
//! shuffle is one edit and comes before all others.
//!
//! **Randomness.** Every number is a function of the seed, the [`Place`] and what it is for: see
//! `random.rs`. Where edits fall is drawn from one edit to the next, so a row costs by its edits, not by
//! its length.
//!
//! **Exactness.** Bytes outside of edits are copied. A recipe without chances changes nothing. ASCII, where
//! each byte is a character, takes a shorter way with the same results.

mod alias;
mod augmenter;
mod bounds;
mod clusters;
mod edited;
mod error;
mod kind;
mod operations;
mod plan;
mod process;
mod protect;
mod quick;
mod random;
mod recipe;
mod row;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod words;
mod written;

pub use augmenter::Augmenter;
pub use edited::{Edit, Edited};
pub use error::AugmentError;
pub use kind::{Kind, Unit};
pub use random::Place;
pub use recipe::{Bounds, Recipe};
pub use stream::Augmented;
