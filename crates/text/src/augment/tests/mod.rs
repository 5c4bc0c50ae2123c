//! What holds for every text, recipe and seed.

mod golden;
mod operations;
mod properties;
mod recipes;
mod statistics;

use super::{Augmenter, Edited, Kind, Place, Recipe};

/// Every operation at once, which speed is measured with.
const EVERY: &str = include_str!("../../../../../benches/recipes/every.toml");

fn place(row: u64) -> Place {
    Place {
        row,
        ..Place::default()
    }
}

fn edited(recipe: &Recipe, seed: u64, row: u64, text: &str) -> Edited {
    let mut out = Edited::default();
    Augmenter::new(recipe, seed)
        .unwrap()
        .edit(place(row), text, &mut out);
    out
}

/// One operation at every place.
fn always(kind: Kind) -> Recipe {
    Recipe::default().with(kind, 1.0).unwrap()
}
