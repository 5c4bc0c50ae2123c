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
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::augment::{Augmenter, Edited, Place};

    /// Every operation at once.
    const EVERY: &str = include_str!("../../../../benches/recipes/every.toml");

    /// The recipes that ship, each operation alone with each of its tables, and every operation at once; with
    /// many more edits than anybody wants.
    static RECIPES: LazyLock<Vec<(String, Recipe, Augmenter)>> = LazyLock::new(|| {
        let mut all: Vec<(String, Recipe)> = Recipe::names()
            .map(|name| (name.to_owned(), Recipe::named(name).unwrap()))
            .chain([("every".to_owned(), Recipe::parse(EVERY).unwrap())])
            .map(|(name, recipe)| (name, often(recipe)))
            .collect();
        for kind in Kind::ALL {
            let tables: Vec<&str> = super::super::table::names(*kind).collect();
            let named = tables.iter().map(|table| format!("\ntable = {table:?}"));
            let named: Vec<String> = match tables.is_empty() {
                true => vec![String::new()],
                false => named.collect(),
            };
            for table in named {
                let text = format!("separators = \"-\"\n[{kind}]\np = 0.6{table}");
                all.push((text.clone(), Recipe::parse(&text).unwrap()));
            }
        }
        let ready = |(name, recipe): (String, Recipe)| {
            let augmenter = Augmenter::new(&recipe, 1).unwrap();
            (name, recipe, augmenter)
        };
        all.into_iter().map(ready).collect()
    });

    fn often(mut recipe: Recipe) -> Recipe {
        for kind in Kind::ALL {
            let p = recipe.p(*kind);
            if p > 0.0 {
                recipe = recipe.with(*kind, (p * 10.0).min(0.08)).unwrap();
            }
        }
        recipe
    }

    /// Texts with what tables know, capitals of all kinds, and letters that have odd ones.
    fn texts() -> impl Strategy<Value = String> {
        let words = prop::sample::select(
            &[
                "their",
                "Receipt",
                "RECEIPT",
                "A LOT",
                "a lot",
                "rn",
                "ǅ",
                "ŉ",
                "ß",
                "İ",
                "ı",
                "ﬁ",
                "ΑΣ",
                "e\u{301}",
                "Å",
                "0O1l",
                "«a»",
                "don't",
                "x-y",
                "-",
                "...",
                "\u{a0}",
                "日本",
                "👩‍👧",
            ][..],
        );
        let words = prop::collection::vec(words, 0..10).prop_map(|words| words.join(" "));
        prop_oneof![any::<String>(), "([A-Za-zßéÉ]{1,9}[ ,.'-]?){0,12}", words]
    }

    proptest! {
        /// Characters that a recipe brings in would all become the unknown token.
        #[test]
        fn no_edit_brings_in_another_character(text in texts(), row in any::<u64>()) {
            let mut seen = CharacterSet::default();
            seen.add(&text);
            let mut edited = Edited::default();
            for (name, recipe, augmenter) in &*RECIPES {
                let all = recipe.may_write(&seen).unwrap();
                let place = Place { row, ..Place::default() };
                augmenter.edit(place, &text, &mut edited);
                for c in edited.text().chars() {
                    prop_assert!(all.contains(c), "{name}: {c:?} in {:?}", edited.text());
                }
            }
        }
    }
}
