//! Which characters a recipe can bring into texts: a vocabulary of the data alone would have no ids for them.

use super::error::AugmentError;
use super::kind::Kind;
use super::operations::MARKS;
use super::recipe::Recipe;
use crate::characters::CharacterSet;

impl Recipe {
    /// The characters of edited texts, of which `seen` has those of the texts before: what `seen` has, and
    /// whatever an operation of the recipe with a chance can put there. It may have a few that no row
    /// happens to get, and lacks none; it depends on the recipe and on `seen` alone.
    ///
    /// # Errors
    /// [`AugmentError`] where one of the recipe's tables cannot be made.
    pub fn may_write(&self, seen: &CharacterSet) -> Result<CharacterSet, AugmentError> {
        let mut all = seen.clone();
        let acts = |kind| self.p(kind) > 0.0 || self.has_minimum(kind);
        let any = |kinds: &[Kind]| kinds.iter().any(|kind| acts(*kind));
        if any(&[Kind::Insert, Kind::Substitute]) {
            all.extend(self.alphabet.chars());
        }
        if any(&[Kind::SplitWords, Kind::RepeatWords]) {
            all.insert(' ');
        }
        if acts(Kind::Punctuation) {
            all.extend(MARKS.iter().copied());
        }
        for kind in [Kind::Keyboard, Kind::Optical, Kind::Similar, Kind::Accent] {
            if !acts(kind) {
                continue;
            }
            let table = self.table(kind)?.unwrap_or_default();
            for (from, to) in &table.0 {
                if from.chars().all(|c| seen.contains(c)) {
                    all.extend(to.iter().flat_map(|text| text.chars()));
                }
            }
        }
        if acts(Kind::Errors) {
            let capitals = seen.iter().any(char::is_uppercase);
            let table = self.table(Kind::Errors)?.unwrap_or_default();
            for c in table.0.values().flatten().flat_map(|text| text.chars()) {
                all.insert(c);
                if capitals {
                    add_cases(c, &mut all);
                }
            }
        }
        if any(&[Kind::Case, Kind::Capitals]) {
            seen.iter().for_each(|c| add_cases(c, &mut all));
        }
        Ok(all)
    }

    fn has_minimum(&self, kind: Kind) -> bool {
        let mut of_kind = self.operations.iter().filter(|one| one.kind == kind);
        of_kind.any(|one| one.bounds.min > 0)
    }
}

fn add_cases(c: char, all: &mut CharacterSet) {
    all.extend(c.to_uppercase());
    all.extend(c.to_lowercase());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::augment::{Augmenter, Edited, Place};

    proptest! {
        /// Characters that a recipe brings in would all become the unknown token.
        #[test]
        fn no_edit_brings_in_another_character(
            text in prop_oneof![any::<String>(), "([A-Za-zßéÉ]{1,9}[ ,.'-]?){0,12}"],
            seed in any::<u64>(),
        ) {
            let mut seen = CharacterSet::default();
            seen.add(&text);
            let mut edited = Edited::default();
            for name in Recipe::names() {
                let mut recipe = Recipe::named(name).unwrap();
                // Many more edits than anybody wants.
                for kind in Kind::ALL {
                    let p = recipe.p(*kind);
                    if p > 0.0 {
                        recipe = recipe.with(*kind, (p * 10.0).min(0.09)).unwrap();
                    }
                }
                let all = recipe.may_write(&seen).unwrap();
                let augmenter = Augmenter::new(&recipe, seed).unwrap();
                augmenter.edit(Place::default(), &text, &mut edited);
                for c in edited.text().chars() {
                    prop_assert!(all.contains(c), "{name}: {c:?} in {:?}", edited.text());
                }
            }
        }
    }
}
