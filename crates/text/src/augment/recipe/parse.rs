//! Recipes from TOML, with the line of whatever is wrong.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Bounds, Conflict, Operation, Recipe};
use crate::augment::error::AugmentError;
use crate::augment::kind::Kind;
use crate::augment::protect;
use crate::augment::table::{self, Keys, Source, Table};

type Value<'a> = Spanned<DeValue<'a>>;

/// The recipe of a text, and the files that were read for it; `directory` is where those lie that it names.
pub(super) fn recipe(text: &str, directory: &Path) -> Result<(Recipe, Vec<PathBuf>), AugmentError> {
    let reader = Reader::new(text, directory);
    let mut recipe = Recipe::default();
    let parsed = reader.parsed()?;
    for (key, value) in parsed.get_ref() {
        reader.entry(&mut recipe, key, value)?;
    }
    recipe.operations.sort_by_key(|one| one.kind);
    if let Some(Conflict { about, what }) = recipe.conflict() {
        let mut keys = parsed.get_ref().iter().map(|(key, _)| key);
        let key = keys.find(|key| key.get_ref() == about);
        return Err(reader.wrong(key.map_or(0, |key| key.span().start), what));
    }
    Ok((recipe, reader.files.into_inner()))
}

struct Reader<'a> {
    text: &'a str,
    directory: &'a Path,
    /// Files that were read.
    files: RefCell<Vec<PathBuf>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, directory: &'a Path) -> Reader<'a> {
        Reader {
            text,
            directory,
            files: RefCell::default(),
        }
    }

    fn parsed(&self) -> Result<Spanned<DeTable<'a>>, AugmentError> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, format!("not TOML: {}", error.message()))
        })
    }

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

    /// `0.02`, or a table with `p`, bounds and what else the operation has.
    fn operation(&self, kind: Kind, value: &Value<'_>) -> Result<Operation, AugmentError> {
        let Some(table) = value.get_ref().as_table() else {
            return Ok(Operation::new(kind, self.chance(kind.name(), value)?));
        };
        let mut operation = Operation::new(kind, 0.0);
        let mut chance = None;
        let mut own = OwnTable::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "p" => chance = Some(self.chance(kind.name(), value)?),
                "min" => operation.bounds.min = self.count("min", value)?,
                "max" => operation.bounds.max = Some(self.count("max", value)?),
                "distance" if kind == Kind::ShuffleWords => {
                    operation.distance = Some(self.count("distance", value)?);
                }
                "table" if operation.table.is_some() => {
                    operation.table = Some(self.named_table(kind, value)?);
                }
                name if operation.table.is_some() && OwnTable::KEYS.contains(&name) => {
                    self.own_table(&mut own, name, value)?;
                }
                other => return Err(self.wrong(key.span().start, unknown_part(kind, other))),
            }
        }
        if let Some(table) = own.finish() {
            operation.table = Some(Source::Own(table));
        }
        operation.p = chance.ok_or_else(|| {
            let what = format!("`{kind}` has no `p`; write the chance per place, such as p = 0.02");
            self.wrong(value.span().start, what)
        })?;
        Ok(operation)
    }

    /// A table that ships, or one in a file.
    fn named_table(&self, kind: Kind, value: &Value<'_>) -> Result<Source, AugmentError> {
        let name = self.string("table", value)?;
        if let Some(known) = table::names(kind).find(|known| *known == name) {
            return Ok(Source::BuiltIn(known));
        }
        let at = value.span().start;
        let path = self.directory.join(&name);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let known = table::names(kind).collect::<Vec<_>>().join(", ");
            let what = format!(
                "`{kind}`: cannot read the table {}: {error}; name a file, or a table that ships: {known}",
                path.display()
            );
            self.wrong(at, what)
        })?;
        self.files.borrow_mut().push(path.clone());
        let table = table_file(&name, &text).map_err(|(line, what)| {
            self.wrong(
                at,
                format!("`{kind}`: {}, line {line}: {what}", path.display()),
            )
        })?;
        if table.0.is_empty() {
            let what = format!("`{kind}`: the table {} has no entry", path.display());
            return Err(self.wrong(at, what));
        }
        Ok(Source::Own(table))
    }

    /// A part of a table written into the recipe or into a file.
    fn own_table(
        &self,
        own: &mut OwnTable,
        name: &str,
        value: &Value<'_>,
    ) -> Result<(), AugmentError> {
        own.is_given = true;
        match name {
            "pairs" => {
                for (from, to) in self.table(name, value)? {
                    for to in self.one_or_more(name, to)? {
                        own.table.add(from.get_ref(), &to);
                    }
                }
            }
            "groups" => {
                for group in self.array(name, value)? {
                    own.table.add_group(&self.strings(name, group)?);
                }
            }
            "rows" => own.keys.rows = self.strings(name, value)?,
            "shifted" => own.keys.shifted = self.strings(name, value)?,
            _ => {
                let offsets = self.array(name, value)?.iter();
                own.keys.offsets = offsets
                    .map(|one| self.number(name, one))
                    .collect::<Result<_, _>>()?;
            }
        }
        Ok(())
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
                "patterns" => recipe.protect.patterns = self.patterns(value)?,
                other => {
                    let what = format!("`protect` has no `{other}`; it has `words` and `patterns`");
                    return Err(self.wrong(key.span().start, what));
                }
            }
        }
        Ok(())
    }

    fn patterns(&self, value: &Value<'_>) -> Result<Vec<String>, AugmentError> {
        let patterns = self.array("patterns", value)?.iter();
        let checked = patterns.map(|value| {
            let pattern = self.string("patterns", value)?;
            let compiled = protect::compile(&pattern);
            compiled.map_err(|what| self.wrong(value.span().start, what))?;
            Ok(pattern)
        });
        checked.collect()
    }

    fn chance(&self, name: &str, value: &Value<'_>) -> Result<f64, AugmentError> {
        float(value)
            .filter(|p| (0.0..=1.0).contains(p))
            .ok_or_else(|| {
                let what = format!(
                    "`{name}`: the chance is {}; write a number from 0 to 1, such as 0.02",
                    self.shown(value)
                );
                self.wrong(value.span().start, what)
            })
    }

    fn number(&self, name: &str, value: &Value<'_>) -> Result<f64, AugmentError> {
        float(value)
            .filter(|number| number.is_finite())
            .ok_or_else(|| {
                let what = format!(
                    "`{name}` has {}; write numbers such as 1.5",
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
        let list = self.array(name, value)?;
        list.iter().map(|one| self.string(name, one)).collect()
    }

    /// A text, or a list of texts.
    fn one_or_more(&self, name: &str, value: &Value<'_>) -> Result<Vec<String>, AugmentError> {
        match value.get_ref().as_str() {
            Some(text) => Ok(vec![text.to_owned()]),
            None => self.strings(name, value),
        }
    }

    fn array<'v, 'i>(
        &self,
        name: &str,
        value: &'v Value<'i>,
    ) -> Result<&'v [Value<'i>], AugmentError> {
        let list = value.get_ref().as_array().map(|list| &list[..]);
        list.ok_or_else(|| {
            let what = format!(
                "`{name}` is {}; write a list in brackets",
                self.shown(value)
            );
            self.wrong(value.span().start, what)
        })
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

/// A table written out: replacements, groups, or the rows of a keyboard.
#[derive(Default)]
struct OwnTable {
    table: Table,
    keys: Keys,
    is_given: bool,
}

impl OwnTable {
    const KEYS: &[&str] = &["pairs", "groups", "rows", "shifted", "offsets"];

    fn finish(mut self) -> Option<Table> {
        for (from, to) in table::neighbours(&self.keys).0 {
            to.iter().for_each(|to| self.table.add(&from, to));
        }
        self.is_given.then_some(self.table)
    }
}

/// A table's file: TOML by its name, else a list of misspellings.
fn table_file(name: &str, text: &str) -> Result<Table, (usize, String)> {
    if !name.ends_with(".toml") {
        return table::misspellings(text);
    }
    let reader = Reader::new(text, Path::new(""));
    let read = || -> Result<Table, AugmentError> {
        let mut own = OwnTable::default();
        for (key, value) in reader.parsed()?.get_ref() {
            let name = key.get_ref().as_ref();
            if !OwnTable::KEYS.contains(&name) {
                let what = format!(
                    "a table has no `{name}`; it has {}",
                    OwnTable::KEYS.join(", ")
                );
                return Err(reader.wrong(key.span().start, what));
            }
            reader.own_table(&mut own, name, value)?;
        }
        Ok(own.finish().unwrap_or_default())
    };
    read().map_err(|error| match error {
        AugmentError::Recipe { line, what } => (line, what),
        other => (1, other.to_string()),
    })
}

/// A table that ships.
pub(super) fn built_in(one: &table::BuiltIn) -> Result<Table, AugmentError> {
    let is_list = one.kind == Kind::Errors;
    let name = if is_list { "txt" } else { ".toml" };
    table_file(name, one.text).map_err(|(line, what)| AugmentError::Recipe { line, what })
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value.get_ref() {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        _ => None,
    }
}

fn unknown_part(kind: Kind, name: &str) -> String {
    let further = match (kind, table::names(kind).next()) {
        (Kind::ShuffleWords, _) => ", `max` and `distance`",
        (_, Some(_)) => ", `max`, `table`, `pairs`, `groups`, `rows`, `shifted` and `offsets`",
        _ => " and `max`",
    };
    format!("`{kind}` has no `{name}`; it has `p`, `min`{further}")
}

fn unknown_key(name: &str) -> String {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    format!(
        "there is no operation or setting `{name}`; operations are {}; settings are alphabet, separators, \
         edits, protect and description",
        kinds.join(", ")
    )
}
