//! Which columns are the text, which the pair, and which pass through.

use std::collections::HashSet;

use arrow_schema::{DataType, Field};

use crate::DataError;
use crate::error::list_names;
use crate::sink::ERROR_COLUMN;
use crate::source::spec::ColumnChoice;
use crate::survey::{JsonKind, Survey};

/// The column that is taken as text where none is named.
const DEFAULT_TEXT: &str = "text";

/// Positions among a file's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) text: usize,
    pub(crate) pair: Option<usize>,
    pub(crate) carried: Vec<usize>,
}

/// Chooses among `fields`, the columns of the first file.
pub(crate) fn select(
    file: &str,
    fields: &[Field],
    choice: &ColumnChoice,
) -> Result<Selection, DataError> {
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    let find = |option: &'static str, name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .ok_or_else(|| unknown(option, name, &names))
    };
    let text = match &choice.text {
        Some(name) => find("--text-column", name)?,
        None => default_text(&names, |i| is_string(fields[i].data_type()))?,
    };
    let pair = choice
        .pair
        .as_ref()
        .map(|name| find("--pair-column", name))
        .transpose()?;
    for (at, option) in [(Some(text), "--text-column"), (pair, "--pair-column")] {
        if let Some(field) = at.map(|at| &fields[at])
            && !holds_text(field.data_type())
        {
            return Err(DataError::NotText {
                column: field.name().clone(),
                actual: field.data_type().to_string(),
                option,
            });
        }
    }
    for name in choice.keep.iter().flatten() {
        find("--keep", name)?;
    }
    for name in &choice.drop {
        find("--drop", name)?;
    }
    let wanted = Wanted::of(choice);
    let carried: Vec<usize> = (0..fields.len())
        .filter(|&i| wanted.has(names[i]))
        .collect();
    let mut used: Vec<usize> = carried
        .iter()
        .chain([&text])
        .chain(pair.iter())
        .copied()
        .collect();
    used.sort_unstable();
    used.dedup();
    let mut seen = HashSet::new();
    if let Some(&twice) = used.iter().find(|&&at| !seen.insert(names[at])) {
        return Err(DataError::DuplicateColumn {
            file: file.to_owned(),
            name: names[twice].to_owned(),
        });
    }
    Ok(Selection {
        text,
        pair,
        carried,
    })
}

/// Finds in `other` the columns which `selection` chose among `first`.
///
/// The order may differ; the names and types must not.
pub(crate) fn find_again(
    first: (&str, &[Field]),
    selection: &Selection,
    other: (&str, &[Field]),
    choice: &ColumnChoice,
) -> Result<Selection, DataError> {
    let differ = |difference: String| DataError::ColumnsDiffer {
        first: first.0.to_owned(),
        other: other.0.to_owned(),
        difference,
    };
    let find = |at: usize| {
        let wanted = &first.1[at];
        let name = wanted.name();
        let mut found = other
            .1
            .iter()
            .enumerate()
            .filter(|(_, field)| field.name() == name);
        let (at, field) = found
            .next()
            .ok_or_else(|| differ(format!("it lacks `{name}`")))?;
        if found.next().is_some() {
            return Err(DataError::DuplicateColumn {
                file: other.0.to_owned(),
                name: name.clone(),
            });
        }
        if field.data_type() != wanted.data_type() {
            let (here, there) = (field.data_type(), wanted.data_type());
            return Err(differ(format!(
                "`{name}` is {here} there, but {there} at first"
            )));
        }
        Ok(at)
    };
    // What is lacking comes first: a file without the texts is not mended by dropping columns.
    let found = Selection {
        text: find(selection.text)?,
        pair: selection.pair.map(find).transpose()?,
        carried: selection
            .carried
            .iter()
            .map(|&at| find(at))
            .collect::<Result<_, _>>()?,
    };
    let wanted = Wanted::of(choice);
    let known: HashSet<&String> = first.1.iter().map(Field::name).collect();
    let added = other
        .1
        .iter()
        .find(|f| wanted.has(f.name()) && !known.contains(f.name()));
    if let Some(field) = added {
        return Err(differ(format!(
            "it has `{0}` besides; leave that out with --drop {0} or --keep",
            field.name()
        )));
    }
    Ok(found)
}

/// The choice for JSON Lines: by key, as every line may have other keys.
#[derive(Clone, Debug)]
pub(crate) struct JsonSelection {
    pub(crate) text: String,
    pub(crate) pair: Option<String>,
    pub(crate) wanted: Wanted,
    /// The keys found beforehand that pass through.
    pub(crate) carried: Vec<(String, JsonKind)>,
}

/// A key that `choice` names and no surveyed row has.
pub(crate) fn lacks_a_named_key(survey: &Survey, choice: &ColumnChoice) -> bool {
    let known = |name: &String| survey.columns().any(|(known, _)| known == name);
    let named = choice.text.iter().chain(&choice.pair);
    !named.chain(choice.keep.iter().flatten()).all(known)
}

/// Chooses among the keys of a survey.
pub(crate) fn select_json(
    survey: &Survey,
    choice: &ColumnChoice,
) -> Result<JsonSelection, DataError> {
    let columns: Vec<(&str, JsonKind)> = survey.columns().collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let check = |option, name: &String| {
        // Where there was no row there is nothing to check against.
        if names.is_empty() || names.contains(&name.as_str()) {
            Ok(())
        } else {
            Err(unknown(option, name, &names))
        }
    };
    let text = match &choice.text {
        Some(name) => {
            check("--text-column", name)?;
            name.clone()
        }
        None if names.is_empty() => DEFAULT_TEXT.to_owned(),
        None => names[default_text(&names, |i| columns[i].1 == JsonKind::Text)?].to_owned(),
    };
    if let Some(pair) = &choice.pair {
        check("--pair-column", pair)?;
    }
    for name in choice.keep.iter().flatten() {
        check("--keep", name)?;
    }
    // A key that no surveyed row has may still come in a later one, and be dropped there.
    if survey.complete {
        for name in &choice.drop {
            check("--drop", name)?;
        }
    }
    let wanted = Wanted::of(choice);
    let kind = |name: &str, surveyed| {
        if name == text || choice.pair.as_deref() == Some(name) {
            JsonKind::Texts
        } else if name == ERROR_COLUMN && survey.foreign_errors {
            // Not the texts of an earlier output, so that the sink refuses the column.
            JsonKind::Json
        } else {
            surveyed
        }
    };
    let carried = columns
        .iter()
        .filter(|(name, _)| wanted.has(name))
        .map(|(name, surveyed)| ((*name).to_owned(), kind(name, *surveyed)))
        .collect();
    Ok(JsonSelection {
        text,
        pair: choice.pair.clone(),
        wanted,
        carried,
    })
}

/// Which names pass through.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    keep: Option<HashSet<String>>,
    drop: HashSet<String>,
}

impl Wanted {
    fn of(choice: &ColumnChoice) -> Wanted {
        Wanted {
            keep: choice
                .keep
                .as_ref()
                .map(|names| names.iter().cloned().collect()),
            drop: choice.drop.iter().cloned().collect(),
        }
    }

    /// Whether `name` passes through.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.contains(name)) && !self.drop.contains(name)
    }
}

/// `text`, or the only column that holds text.
fn default_text(names: &[&str], is_text: impl Fn(usize) -> bool) -> Result<usize, DataError> {
    if let Some(at) = names.iter().position(|name| *name == DEFAULT_TEXT) {
        return Ok(at);
    }
    let mut texts = (0..names.len()).filter(|&at| is_text(at));
    match (texts.next(), texts.next()) {
        (Some(only), None) => Ok(only),
        (first, _) => Err(DataError::NoTextColumn {
            reason: if first.is_none() {
                "no column holds text"
            } else {
                "several hold text"
            },
            available: list_names(names),
        }),
    }
}

fn unknown(option: &'static str, name: &str, names: &[&str]) -> DataError {
    DataError::UnknownColumn {
        option,
        name: name.to_owned(),
        available: list_names(names),
    }
}

/// Strings, and dictionaries of them.
pub(crate) fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_string(value),
        _ => false,
    }
}

/// Strings and bytes: bytes are text once they prove to be UTF-8, row by row.
fn holds_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Dictionary(_, value) => holds_text(value),
        other => is_string(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(columns: &[(&str, DataType)]) -> Vec<Field> {
        columns
            .iter()
            .map(|(name, ty)| Field::new(*name, ty.clone(), true))
            .collect()
    }

    fn strings(names: &[&str]) -> Vec<Field> {
        names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true))
            .collect()
    }

    fn own(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The wrong column would be embedded, for a night, without a word.
    #[test]
    fn the_text_column_is_clear_or_asked_for() {
        use DataType::{Int64, Utf8};
        let named = |name: &str| ColumnChoice {
            text: Some(name.into()),
            ..Default::default()
        };
        let none = ColumnChoice::default();
        let two = fields(&[("id", Int64), ("text", Utf8), ("b", Utf8)]);
        assert_eq!(select("f", &two, &none).unwrap().text, 1);
        assert_eq!(select("f", &two, &named("b")).unwrap().text, 2);
        let only = fields(&[("id", Int64), ("body", Utf8)]);
        assert_eq!(select("f", &only, &none).unwrap().text, 1);

        let cases: [(Vec<Field>, ColumnChoice, &str); 4] = [
            (
                strings(&["a", "b"]),
                none.clone(),
                "several hold text; say --text-column NAME, one of: a, b",
            ),
            (fields(&[("id", Int64)]), none, "no column holds text"),
            (
                only.clone(),
                named("txt"),
                "--text-column txt: the input has no such column; its columns are: id, body",
            ),
            (
                only,
                named("id"),
                "column `id` holds Int64, not text; choose another with --text-column",
            ),
        ];
        for (fields, choice, words) in cases {
            let message = select("f", &fields, &choice).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    /// A typing error in --keep would lose the column; in --drop, keep it.
    #[test]
    fn keep_and_drop_are_checked_and_obeyed() {
        let all = strings(&["text", "a", "b"]);
        type Names<'a> = &'a [&'a str];
        let cases: [(Option<Names<'_>>, Names<'_>, &[usize]); 5] = [
            (None, &[], &[0, 1, 2]),
            (None, &["text", "b"], &[1]),
            (Some(&["b", "a"]), &[], &[1, 2]),
            (Some(&["b", "a"]), &["a"], &[2]),
            (Some(&[]), &[], &[]),
        ];
        for (keep, drop, carried) in cases {
            let choice = ColumnChoice {
                keep: keep.map(own),
                drop: own(drop),
                ..Default::default()
            };
            assert_eq!(
                select("f", &all, &choice).unwrap().carried,
                carried,
                "{choice:?}"
            );
        }
        for choice in [
            ColumnChoice {
                keep: Some(own(&["c"])),
                ..Default::default()
            },
            ColumnChoice {
                drop: own(&["c"]),
                ..Default::default()
            },
            ColumnChoice {
                pair: Some("c".into()),
                ..Default::default()
            },
        ] {
            let message = select("f", &all, &choice).unwrap_err().to_string();
            assert!(
                message.ends_with("c: the input has no such column; its columns are: text, a, b")
            );
        }
    }

    /// Two columns of one name would become one in the output.
    #[test]
    fn duplicate_names_matter_only_where_used() {
        let twice = strings(&["text", "a", "a"]);
        let refused = select("f.csv", &twice, &ColumnChoice::default()).unwrap_err();
        assert_eq!(
            refused,
            DataError::DuplicateColumn {
                file: "f.csv".into(),
                name: "a".into()
            }
        );
        let dropped = ColumnChoice {
            drop: own(&["a"]),
            ..Default::default()
        };
        assert_eq!(select("f.csv", &twice, &dropped).unwrap().carried, [0]);
    }

    /// Cells of the second file would land in the wrong columns.
    #[test]
    fn later_files_must_agree() {
        let first = strings(&["text", "a", "b"]);
        let choice = ColumnChoice {
            drop: own(&["b"]),
            ..Default::default()
        };
        let chosen = select("1", &first, &choice).unwrap();
        let again = |fields: &[Field]| find_again(("1", &first), &chosen, ("2", fields), &choice);
        let turned = again(&strings(&["a", "text"])).unwrap();
        assert_eq!(
            turned,
            Selection {
                text: 1,
                pair: None,
                carried: vec![1, 0]
            }
        );
        let cases: [(Vec<Field>, &str); 3] = [
            (
                strings(&["text"]),
                "2 does not have the columns of 1: it lacks `a`",
            ),
            (strings(&["text", "a", "c"]), "it has `c` besides"),
            (
                fields(&[("text", DataType::Utf8), ("a", DataType::Int64)]),
                "`a` is Int64 there, but Utf8",
            ),
        ];
        for (fields, words) in cases {
            let message = again(&fields).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
