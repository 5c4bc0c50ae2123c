//! What types the keys of JSON Lines have, found by reading rows before the job begins.
//!
//! JSON Lines have no header. CSV and Parquet need one, and Parquet types as well; a key's kind is
//! the narrowest that holds every surveyed value exactly.

use std::collections::HashMap;

use arrow_schema::DataType;

use crate::json_row::{JsonRow, decode};
use crate::row::RowError;
use crate::sink::ERROR_COLUMN;

/// What the values of one key are, null aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonKind {
    /// Nothing but null so far.
    Null,
    /// true and false.
    Bool,
    /// Whole numbers within 64 bits.
    Int,
    /// Numbers of which whole ones lie within ±2^53, so that f64 holds them exactly.
    Float,
    /// Strings.
    Text,
    /// Anything: kept as JSON text.
    Json,
    /// Strings as they are, anything else as JSON: the column of the texts. What is no string there
    /// is its row's error already, and must not change how all other rows look.
    Texts,
}

/// Whole numbers up to here are exact in f64.
const EXACT_IN_F64: u64 = 1 << 53;

impl JsonKind {
    /// The kind of one raw value.
    pub(crate) fn of(raw: &str) -> JsonKind {
        match raw.as_bytes().first() {
            Some(b'n') => JsonKind::Null,
            Some(b't' | b'f') => JsonKind::Bool,
            Some(b'"') if decode(raw).is_some() => JsonKind::Text,
            Some(b'-' | b'0'..=b'9') => {
                // i64 has no minus zero.
                if raw != "-0" && raw.parse::<i64>().is_ok() {
                    JsonKind::Int
                } else if exact_float(raw).is_some() {
                    JsonKind::Float
                } else {
                    JsonKind::Json
                }
            }
            _ => JsonKind::Json,
        }
    }

    /// The narrowest kind that holds both.
    fn join(self, other: JsonKind, integers: Integers) -> JsonKind {
        match (self, other) {
            (JsonKind::Null, kind) | (kind, JsonKind::Null) => kind,
            (a, b) if a == b => a,
            (JsonKind::Int, JsonKind::Float) | (JsonKind::Float, JsonKind::Int)
                if integers == Integers::Exact =>
            {
                JsonKind::Float
            }
            _ => JsonKind::Json,
        }
    }

    /// The Arrow type of a column of this kind.
    pub(crate) fn arrow(self) -> DataType {
        match self {
            JsonKind::Bool => DataType::Boolean,
            JsonKind::Int => DataType::Int64,
            JsonKind::Float => DataType::Float64,
            JsonKind::Null | JsonKind::Text | JsonKind::Json | JsonKind::Texts => DataType::Utf8,
        }
    }

    /// Words for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            JsonKind::Bool => "boolean",
            JsonKind::Int => "int64",
            JsonKind::Float => "float64",
            JsonKind::Text | JsonKind::Texts => "text",
            JsonKind::Null | JsonKind::Json => "JSON text",
        }
    }
}

/// Whether f64 holds every whole number of a column exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Integers {
    Exact,
    /// Some lie beyond ±2^53.
    Wide,
}

/// The number as f64, where that loses no digit of a whole number and no magnitude.
pub(crate) fn exact_float(raw: &str) -> Option<f64> {
    let value: f64 = raw.parse().ok()?;
    let whole = !raw.contains(['.', 'e', 'E']);
    let exact = !whole
        || raw
            .parse::<i64>()
            .is_ok_and(|value| value.unsigned_abs() <= EXACT_IN_F64);
    (value.is_finite() && exact).then_some(value)
}

/// The keys met so far, in order of their first appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    /// Whether every row of the input was looked at.
    pub(crate) complete: bool,
    /// Whether the key of errors has texts that no output says of a row.
    pub(crate) foreign_errors: bool,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: JsonKind,
    integers: Integers,
}

impl Survey {
    /// Takes one row into account.
    pub(crate) fn add(&mut self, row: &JsonRow) {
        for (name, raw) in row.members() {
            if name == ERROR_COLUMN
                && decode(raw).is_some_and(|text| !text.is_empty() && !RowError::is_told_by(&text))
            {
                self.foreign_errors = true;
            }
            let at = match self.by_name.get(name.as_ref()) {
                Some(&at) => at,
                None => {
                    let name = name.into_owned();
                    self.by_name.insert(name.clone(), self.columns.len());
                    self.columns.push(Column {
                        name,
                        kind: JsonKind::Null,
                        integers: Integers::Exact,
                    });
                    self.columns.len() - 1
                }
            };
            let column = &mut self.columns[at];
            let kind = JsonKind::of(raw);
            if kind == JsonKind::Int && exact_float(raw).is_none() {
                column.integers = Integers::Wide;
            }
            column.kind = column.kind.join(kind, column.integers);
        }
    }

    /// Every key and its kind.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, JsonKind)> {
        self.columns
            .iter()
            .map(|column| (column.name.as_str(), column.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(lines: &[&str]) -> Vec<(String, JsonKind)> {
        let mut survey = Survey::default();
        for line in lines {
            survey.add(&JsonRow::parse(line).unwrap());
        }
        survey
            .columns()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect()
    }

    /// A column would get a type that cannot hold its values: digits of an id would be lost.
    #[test]
    fn kinds_hold_every_value_exactly() {
        use JsonKind::*;
        let cases: &[(&[&str], JsonKind)] = &[
            (&["1", "2"], Int),
            (&["1", "null"], Int),
            (&["null", "null"], Null),
            (&["1", "2.5"], Float),
            (&["2.5", "9007199254740992"], Float),
            (&["2.5", "9007199254740993"], Json),
            (&["9007199254740993", "2.5"], Json),
            (&["9007199254740993", "1"], Int),
            (&["9223372036854775808"], Json),
            (&["1e400"], Json),
            (&["-0"], Float),
            (&["true", "false"], Bool),
            (&["true", "1"], Json),
            (&["\"a\"", "\"\""], Text),
            (&["\"a\"", "1"], Json),
            (&["\"\\ud800\""], Json),
            (&["[1]"], Json),
            (&["{}"], Json),
        ];
        for (values, kind) in cases {
            let lines: Vec<String> = values.iter().map(|v| format!("{{\"a\":{v}}}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(kinds(&lines), [("a".to_owned(), *kind)], "{values:?}");
        }
    }

    /// Columns would come in another order than the rows have them.
    #[test]
    fn keys_come_in_order_of_appearance() {
        let found = kinds(&[r#"{"b":1}"#, r#"{"a":"x","b":2}"#]);
        assert_eq!(
            found,
            [
                ("b".to_owned(), JsonKind::Int),
                ("a".to_owned(), JsonKind::Text)
            ]
        );
    }
}
