//! Editing texts at random: misspellings, scanning errors, shuffled words, from a seed.

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
mod random;
mod recipe;
mod row;
mod table;
mod words;
mod written;

pub use augmenter::Augmenter;
pub use edited::{Edit, Edited};
pub use error::AugmentError;
pub use kind::{Kind, Unit};
pub use random::Place;
pub use recipe::{Bounds, Recipe};
