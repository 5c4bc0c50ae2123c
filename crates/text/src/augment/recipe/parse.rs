//! Recipes from TOML, with the line of whatever is wrong.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Bounds, Operation, Recipe};
use crate::augment::error::AugmentError;
use crate::augment::kind::Kind;

type Value<'a> = Spanned<DeValue<'a>>;

/// The recipe of a text; `directory` is where the files lie that it names.
pub(super) fn recipe(text: &str, directory: &Path) -> Result<Recipe, AugmentError> {
    let reader = Reader { text, directory };
    let table = DeTable::parse(text).map_err(|error| AugmentError::Recipe {
        line: reader.line(error.span().map_or(0, |span| span.start)),
        what: format!("not TOML: {}", error.message()),
    })?;
    let mut recipe = Recipe::default();
    for (key, value) in table.get_ref() {
        reader.entry(&mut recipe, key, value)?;
    }
    recipe.operations.sort_by_key(|one| one.kind);
    recipe.checked()
}

struct Reader<'a> {
    text: &'a str,
    #[expect(
        dead_code,
        reason = "tables in files come with the operations that have them"
    )]
    directory: &'a Path,
}

impl Reader<'_> {
    /// One key of the file's top.
    fn entry(
        &self,
        recipe: &mut Recipe,
        key: &Spanned<impl AsRef<str>>,
        value: &Value<'_>,
    ) -> Result<(), AugmentError> {
        match key.get_ref().as_ref() {
            "description" => self.string("description", value).map(drop),
            "alphabet" => {
                recipe.alphabet = self.string("alphabet", value)?;
                Ok(())
            }
            "separators" => {
                recipe.separators = self.string("separators", value)?;
                Ok(())
            }
            "edits" => {
                recipe.bounds = self.bounds("edits", value)?;
                Ok(())
            }
            "protect" => self.protect(recipe, value),
            name => match Kind::from_name(name) {
                Some(kind) => {
                    recipe.operations.push(self.operation(kind, value)?);
                    Ok(())
                }
                None => Err(self.wrong(key.span().start, unknown_key(name))),
            },
        }
    }

    /// `0.02`, or a table with `p`, `min` and `max`.
    fn operation(&self, kind: Kind, value: &Value<'_>) -> Result<Operation, AugmentError> {
        let mut operation = Operation {
            kind,
            p: 0.0,
            bounds: Bounds::default(),
        };
        let Some(table) = value.get_ref().as_table() else {
            operation.p = self.chance(kind.name(), value)?;
            return Ok(operation);
        };
        let mut chance = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "p" => chance = Some(self.chance(kind.name(), value)?),
                "min" => operation.bounds.min = self.count("min", value)?,
                "max" => operation.bounds.max = Some(self.count("max", value)?),
                other => {
                    let what = format!("`{kind}` has no `{other}`; it has `p`, `min` and `max`");
                    return Err(self.wrong(key.span().start, what));
                }
            }
        }
        operation.p = chance.ok_or_else(|| {
            let what = format!("`{kind}` has no `p`; write the chance per place, such as p = 0.02");
            self.wrong(value.span().start, what)
        })?;
        Ok(operation)
    }

    fn bounds(&self, name: &str, value: &Value<'_>) -> Result<Bounds, AugmentError> {
        let mut bounds = Bounds::default();
        for (key, value) in self.table(name, value)? {
            match key.get_ref().as_ref() {
                "min" => bounds.min = self.count("min", value)?,
                "max" => bounds.max = Some(self.count("max", value)?),
                other => {
                    let what = format!("`{name}` has no `{other}`; it has `min` and `max`");
                    return Err(self.wrong(key.span().start, what));
                }
            }
        }
        Ok(bounds)
    }

    fn protect(&self, recipe: &mut Recipe, value: &Value<'_>) -> Result<(), AugmentError> {
        for (key, value) in self.table("protect", value)? {
            match key.get_ref().as_ref() {
                "words" => recipe.protect.words = self.strings("words", value)?,
                "patterns" => recipe.protect.patterns = self.strings("patterns", value)?,
                other => {
                    let what = format!("`protect` has no `{other}`; it has `words` and `patterns`");
                    return Err(self.wrong(key.span().start, what));
                }
            }
        }
        Ok(())
    }

    fn chance(&self, name: &str, value: &Value<'_>) -> Result<f64, AugmentError> {
        let p: Option<f64> = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => None,
        };
        p.filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| {
            let what = format!(
                "`{name}`: the chance is {}; write a number from 0 to 1, such as 0.02",
                self.shown(value)
            );
            self.wrong(value.span().start, what)
        })
    }

    fn count(&self, name: &str, value: &Value<'_>) -> Result<u32, AugmentError> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        number.ok_or_else(|| {
            let what = format!(
                "`{name}` is {}; write a whole number from 0 to {}",
                self.shown(value),
                u32::MAX
            );
            self.wrong(value.span().start, what)
        })
    }

    fn string(&self, name: &str, value: &Value<'_>) -> Result<String, AugmentError> {
        let text = value.get_ref().as_str().map(str::to_owned);
        text.ok_or_else(|| {
            let what = format!("`{name}` is {}; write a text in quotes", self.shown(value));
            self.wrong(value.span().start, what)
        })
    }

    fn strings(&self, name: &str, value: &Value<'_>) -> Result<Vec<String>, AugmentError> {
        let list = value.get_ref().as_array().ok_or_else(|| {
            let what = format!(
                "`{name}` is {}; write a list of texts, such as [\"one\", \"two\"]",
                self.shown(value)
            );
            self.wrong(value.span().start, what)
        })?;
        list.iter().map(|one| self.string(name, one)).collect()
    }

    fn table<'v, 'i>(
        &self,
        name: &str,
        value: &'v Value<'i>,
    ) -> Result<&'v DeTable<'i>, AugmentError> {
        value.get_ref().as_table().ok_or_else(|| {
            let what = format!("`{name}` is {}; write a table, [{name}]", self.shown(value));
            self.wrong(value.span().start, what)
        })
    }

    /// A value as it was written, if it is short, or else what kind of value it is.
    fn shown(&self, value: &Value<'_>) -> String {
        match self.text.get(value.span()) {
            Some(text) if text.len() <= 24 && !text.contains('\n') => text.to_owned(),
            _ => format!("a {}", value.get_ref().type_str()),
        }
    }

    fn wrong(&self, at: usize, what: String) -> AugmentError {
        let line = self.line(at);
        AugmentError::Recipe { line, what }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

fn unknown_key(name: &str) -> String {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    format!(
        "there is no operation or setting `{name}`; operations are {}; settings are alphabet, separators, \
         edits, protect and description",
        kinds.join(", ")
    )
}
