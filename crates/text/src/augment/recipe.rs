//! What is to be done to rows of text: operations, chances, bounds, what is left alone.

mod parse;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error::AugmentError;
use super::kind::{Kind, Unit};
use super::table::{self, Source, Table};

/// How many edits a row may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many, as far as the row has places for them.
    pub min: u32,
    /// At most so many; without it there is no limit.
    pub max: Option<u32>,
}

impl Bounds {
    pub(crate) fn is_open(self) -> bool {
        self == Bounds::default()
    }
}

/// One operation of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    /// The chance for each place to which it applies, from 0 to 1.
    pub(crate) p: f64,
    pub(crate) bounds: Bounds,
    /// Of operations that replace by a table.
    pub(crate) table: Option<Source>,
    /// How many places a shuffled word moves at most.
    pub(crate) distance: Option<u32>,
}

impl Operation {
    /// With the first of its tables that ship, where it needs one.
    pub(crate) fn new(kind: Kind, p: f64) -> Operation {
        Operation {
            kind,
            p,
            bounds: Bounds::default(),
            table: table::names(kind).next().map(Source::BuiltIn),
            distance: None,
        }
    }
}

/// What is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Protect {
    pub(crate) words: Vec<String>,
    pub(crate) patterns: Vec<String>,
}

/// Which operations edit a row, how likely, within which bounds, and what they leave alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    pub(crate) operations: Vec<Operation>,
    pub(crate) bounds: Bounds,
    /// Characters that end a word beside white space.
    pub(crate) separators: String,
    /// What inserted and substituted characters are drawn from.
    pub(crate) alphabet: String,
    pub(crate) protect: Protect,
}

/// The recipes that ship.
const BUILT_IN: &[(&str, &str)] = &[
    ("light", include_str!("recipes/light.toml")),
    ("typing", include_str!("recipes/typing.toml")),
    ("ocr", include_str!("recipes/ocr.toml")),
];

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";

impl Default for Recipe {
    /// A recipe that changes nothing.
    fn default() -> Recipe {
        Recipe {
            operations: Vec::new(),
            bounds: Bounds::default(),
            separators: String::new(),
            alphabet: ALPHABET.to_owned(),
            protect: Protect::default(),
        }
    }
}

impl Recipe {
    /// Reads a recipe written as TOML. Files that it names are looked for in the current directory.
    pub fn parse(text: &str) -> Result<Recipe, AugmentError> {
        parse::recipe(text, Path::new("")).map(|(recipe, _)| recipe)
    }

    /// Reads a recipe's file. Files that it names are looked for beside it.
    pub fn read(path: &Path) -> Result<Recipe, AugmentError> {
        Recipe::read_with_files(path).map(|(recipe, _)| recipe)
    }

    /// The same, and the files of tables that it names: nobody should write over them.
    pub fn read_with_files(path: &Path) -> Result<(Recipe, Vec<PathBuf>), AugmentError> {
        let text = std::fs::read_to_string(path).map_err(|error| AugmentError::Unreadable {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
        parse::recipe(&text, path.parent().unwrap_or(Path::new("")))
    }

    /// A recipe that ships, by its name.
    pub fn named(name: &str) -> Result<Recipe, AugmentError> {
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Recipe::parse(text),
            None => Err(AugmentError::Unknown {
                name: name.to_owned(),
                known: Recipe::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The names of the recipes that ship.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The recipe with an operation's chance set; its bounds and tables stay.
    pub fn with(mut self, kind: Kind, p: f64) -> Result<Recipe, AugmentError> {
        let at = self.operations.iter().position(|one| one.kind == kind);
        match at {
            Some(at) => self.operations[at].p = p,
            None => self.operations.push(Operation::new(kind, p)),
        }
        self.operations.sort_by_key(|one| one.kind);
        self.checked()
    }

    /// The recipe with the bounds set of an operation that it has.
    pub fn within(mut self, kind: Kind, bounds: Bounds) -> Result<Recipe, AugmentError> {
        let one = self.operations.iter_mut().find(|one| one.kind == kind);
        let one = one.ok_or_else(|| {
            contradiction(format!(
                "`{kind}`: bounds without a chance; give the operation its `p` first"
            ))
        })?;
        one.bounds = bounds;
        self.checked()
    }

    /// The recipe with bounds on the edits of a row altogether.
    pub fn within_all(mut self, bounds: Bounds) -> Result<Recipe, AugmentError> {
        self.bounds = bounds;
        self.checked()
    }

    /// The recipe with other characters that separate words, beside white space.
    pub fn separated_by(mut self, separators: &str) -> Recipe {
        separators.clone_into(&mut self.separators);
        self
    }

    /// An operation's chance; 0 for one that is not in the recipe.
    pub fn p(&self, kind: Kind) -> f64 {
        let one = self.operations.iter().find(|one| one.kind == kind);
        one.map_or(0.0, |one| one.p)
    }

    /// Whether any operation can act: has a chance, and no `max` of 0 above it.
    #[must_use]
    pub fn acts(&self) -> bool {
        let can = |one: &Operation| one.p > 0.0 && one.bounds.max != Some(0);
        self.bounds.max != Some(0) && self.operations.iter().any(can)
    }

    /// The table of an operation, if it has one.
    pub(crate) fn table(&self, kind: Kind) -> Result<Option<Table>, AugmentError> {
        let one = self.operations.iter().find(|one| one.kind == kind);
        match one.and_then(|one| one.table.as_ref()) {
            None => Ok(None),
            Some(Source::Own(table)) => Ok(Some(table.clone())),
            Some(Source::BuiltIn(name)) => {
                let of_kind = |one: &&table::BuiltIn| one.kind == kind && one.name == *name;
                table::BUILT_IN
                    .iter()
                    .find(of_kind)
                    .map(parse::built_in)
                    .transpose()
            }
        }
    }

    /// The recipe as TOML, with every table written out: equal recipes give equal texts.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(out, "alphabet = {}", quoted(&self.alphabet));
        let _ = writeln!(out, "separators = {}", quoted(&self.separators));
        if !self.bounds.is_open() {
            out.push_str("\n[edits]\n");
            write_bounds(&mut out, self.bounds);
        }
        if self.protect != Protect::default() {
            let _ = writeln!(out, "\n[protect]\nwords = {}", listed(&self.protect.words));
            let _ = writeln!(out, "patterns = {}", listed(&self.protect.patterns));
        }
        for one in &self.operations {
            let _ = writeln!(out, "\n[{}]\np = {:?}", one.kind, one.p);
            write_bounds(&mut out, one.bounds);
            if let Some(distance) = one.distance {
                let _ = writeln!(out, "distance = {distance}");
            }
            match &one.table {
                None => {}
                Some(Source::BuiltIn(name)) => {
                    let _ = writeln!(out, "table = {}", quoted(name));
                }
                Some(Source::Own(table)) => {
                    let _ = writeln!(out, "[{}.pairs]", one.kind);
                    for (from, to) in &table.0 {
                        let _ = writeln!(out, "{} = {}", quoted(from), listed(to));
                    }
                }
            }
        }
        out
    }

    /// Whether the parts agree with one another.
    pub(crate) fn checked(self) -> Result<Recipe, AugmentError> {
        match self.conflict() {
            None => Ok(self),
            Some(conflict) => Err(contradiction(conflict.what)),
        }
    }

    /// What does not agree, if anything does not.
    fn conflict(&self) -> Option<Conflict> {
        let mut each = self.operations.iter();
        each.find_map(Operation::conflict)
            .or_else(|| self.conflict_of_chances())
            .or_else(|| self.conflict_of_bounds())
    }

    fn conflict_of_chances(&self) -> Option<Conflict> {
        let units = [(Unit::Character, "characters"), (Unit::Word, "words")];
        units.into_iter().find_map(|(unit, words)| {
            let of_unit = || self.operations.iter().filter(|one| one.kind.unit() == unit);
            let sum: f64 = of_unit().map(|one| one.p).sum();
            // Ten tenths may be more than one by a rounding.
            if sum <= 1.0 + 1e-9 {
                return None;
            }
            let most = of_unit().max_by(|a, b| a.p.total_cmp(&b.p))?;
            Some(Conflict {
                about: most.kind.name(),
                what: format!(
                    "the chances of the operations on {words} add up to {sum:.3}, but one place has at most one \
                     edit; lower them so that they add up to 1 or less"
                ),
            })
        })
    }

    fn conflict_of_bounds(&self) -> Option<Conflict> {
        let all = self
            .operations
            .iter()
            .map(|one| (one.kind.name(), one.bounds));
        for (about, bounds) in all.chain([(EDITS, self.bounds)]) {
            if let Some(max) = bounds.max.filter(|max| *max < bounds.min) {
                let what = format!(
                    "`{about}`: `min` {} is more than `max` {max}; raise `max` or lower `min`",
                    bounds.min
                );
                return Some(Conflict { about, what });
            }
        }
        let own = self.operations.iter().map(|one| u64::from(one.bounds.min));
        let least: u64 = own.sum();
        let max = self.bounds.max.filter(|max| u64::from(*max) < least)?;
        Some(Conflict {
            about: EDITS,
            what: format!(
                "`{EDITS}`: `max` {max} is less than the operations' own `min`, {least} together; raise it or \
                 lower those"
            ),
        })
    }
}

impl Operation {
    fn conflict(&self) -> Option<Conflict> {
        let about = self.kind.name();
        let what = if !(0.0..=1.0).contains(&self.p) {
            format!(
                "`{about}`: a chance of {} is not from 0 to 1; write a number such as 0.02",
                self.p
            )
        } else if self.p == 0.0 && self.bounds.min > 0 {
            format!(
                "`{about}`: at least {} edits with a chance of 0; give `p` a value above 0 or leave `min` out",
                self.bounds.min
            )
        } else {
            return None;
        };
        Some(Conflict { about, what })
    }
}

/// Parts of a recipe that do not agree.
struct Conflict {
    /// The key at the recipe's top that it is about.
    about: &'static str,
    what: String,
}

/// The key of the bounds of a row.
const EDITS: &str = "edits";

/// A text in quotes, on one line: a value or a key.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn listed(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn write_bounds(out: &mut String, bounds: Bounds) {
    if bounds.min > 0 {
        let _ = writeln!(out, "min = {}", bounds.min);
    }
    if let Some(max) = bounds.max {
        let _ = writeln!(out, "max = {max}");
    }
}

pub(crate) fn contradiction(what: String) -> AugmentError {
    AugmentError::Contradiction { what }
}
