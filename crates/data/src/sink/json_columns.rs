//! JSON rows as columns: what fits, and what to say of what does not.
//!
//! A column's type was decided beforehand (see [`survey`](crate::survey)). A value that does not
//! fit becomes null there, and the row's error holds the value: seen by whoever reads the row or
//! counts the errors, never lost without a word.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};

use crate::chunk::{CarriedColumns, Chunk};
use crate::json_row::{JsonRow, decode};
use crate::row::RowError;
use crate::sink::ERROR_COLUMN;
use crate::survey::{JsonKind, exact_float};

/// How strict the output's format is about JSON columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// JSON Lines: any key, any value.
    Nothing,
    /// CSV: keys known beforehand, any value.
    Names,
    /// Parquet: keys and types known beforehand.
    Types,
}

/// The columns of an output fed from JSON Lines.
#[derive(Clone, Debug)]
pub(crate) struct JsonColumns {
    names: Vec<String>,
    kinds: Vec<JsonKind>,
    by_name: HashMap<String, usize>,
    /// Names that answers bear.
    taken: Vec<String>,
    needs: Needs,
}

impl JsonColumns {
    /// `None` where the columns do not come from JSON.
    pub(crate) fn new(
        carried: &CarriedColumns,
        taken: Vec<String>,
        needs: Needs,
    ) -> Option<JsonColumns> {
        let kinds = carried.kinds()?.to_vec();
        let names: Vec<String> = carried.fields().iter().map(|f| f.name().clone()).collect();
        let by_name = names
            .iter()
            .cloned()
            .enumerate()
            .map(|(at, name)| (name, at))
            .collect();
        Some(JsonColumns {
            names,
            kinds,
            by_name,
            taken,
            needs,
        })
    }

    /// Whether an answer bears this name, so that the input's value cannot stand beside it.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.taken.iter().any(|taken| taken == name)
    }

    /// For each row what does not fit.
    pub(crate) fn misfits(&self, chunk: &Chunk, rows: &[Option<JsonRow>]) -> Vec<Option<RowError>> {
        let check = |(at, row): (usize, &Option<JsonRow>)| {
            let row = row.as_ref()?;
            let mut found: Option<(&'static str, String)> = None;
            for (name, raw) in row.members() {
                let Some((code, words)) = self.misfit(&name, raw) else {
                    continue;
                };
                match &mut found {
                    Some((_, all)) => all.push_str(&format!("; {words}")),
                    None => found = Some((code, words)),
                }
            }
            found.map(|(code, words)| RowError::at(&chunk.place(at), code, words))
        };
        rows.iter().enumerate().map(check).collect()
    }

    /// The whole value stands in the message, however long: it stands nowhere else.
    fn misfit(&self, name: &str, raw: &str) -> Option<(&'static str, String)> {
        // An earlier job's error goes into the new one's column.
        if name == ERROR_COLUMN && is_earlier_error(raw) {
            return None;
        }
        if self.is_taken(name) {
            let words =
                format!("the input's `{name}` gives way to the answer of that name; it was {raw}");
            return Some((RowError::COLUMN_COLLISION, words));
        }
        if self.needs == Needs::Nothing || raw == "null" {
            return None;
        }
        let Some(&at) = self.by_name.get(name) else {
            let words = format!(
                "`{name}` was in no row that was looked at beforehand, so that the output has no \
                 column for it; it is {raw}; write .jsonl to have it"
            );
            return Some((RowError::COLUMN_UNKNOWN, words));
        };
        let kind = self.kinds[at];
        if self.needs == Needs::Names || fits(kind, raw) {
            return None;
        }
        let words = format!(
            "`{name}` is {raw} but its column is {}; write .jsonl to have it, or --drop {name}",
            kind.name()
        );
        Some((RowError::COLUMN_TYPE, words))
    }

    /// The raw value of each column in `row`; null and absent are `None`.
    pub(crate) fn slots<'a>(&self, row: Option<&'a JsonRow>) -> Vec<Option<&'a str>> {
        let mut slots = vec![None; self.names.len()];
        for (name, raw) in row.into_iter().flat_map(JsonRow::members) {
            if let Some(&at) = self.by_name.get(name.as_ref()) {
                slots[at] = (raw != "null").then_some(raw);
            }
        }
        slots
    }

    /// Arrow arrays with the columns' types.
    pub(crate) fn arrays(&self, rows: &[Option<JsonRow>]) -> Vec<ArrayRef> {
        let mut builders: Vec<ColumnBuilder> = self
            .kinds
            .iter()
            .map(|kind| ColumnBuilder::new(*kind))
            .collect();
        for row in rows {
            for (builder, raw) in builders.iter_mut().zip(self.slots(row.as_ref())) {
                builder.append(raw);
            }
        }
        builders.into_iter().map(ColumnBuilder::finish).collect()
    }
}

/// A raw value as the text of a CSV cell: strings as they are, all else as JSON.
pub(crate) fn cell_text(raw: &str, out: &mut Vec<u8>) {
    match decode(raw) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => out.extend_from_slice(raw.as_bytes()),
    }
}

/// Whether an earlier output says this of a row, or nothing.
fn is_earlier_error(raw: &str) -> bool {
    raw == "null" || decode(raw).is_some_and(|text| text.is_empty() || RowError::is_told_by(&text))
}

fn fits(kind: JsonKind, raw: &str) -> bool {
    match kind {
        JsonKind::Null | JsonKind::Json | JsonKind::Texts => true,
        JsonKind::Float => exact_float(raw).is_some(),
        JsonKind::Bool | JsonKind::Int | JsonKind::Text => JsonKind::of(raw) == kind,
    }
}

enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Json(StringBuilder),
    Texts(StringBuilder),
}

impl ColumnBuilder {
    fn new(kind: JsonKind) -> ColumnBuilder {
        match kind {
            JsonKind::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            JsonKind::Int => ColumnBuilder::Int(Int64Builder::new()),
            JsonKind::Float => ColumnBuilder::Float(Float64Builder::new()),
            JsonKind::Text => ColumnBuilder::Text(StringBuilder::new()),
            JsonKind::Null | JsonKind::Json => ColumnBuilder::Json(StringBuilder::new()),
            JsonKind::Texts => ColumnBuilder::Texts(StringBuilder::new()),
        }
    }

    /// Appends what fits, and null for what does not: [`JsonColumns::misfits`] tells of that.
    fn append(&mut self, raw: Option<&str>) {
        match self {
            ColumnBuilder::Bool(builder) => {
                builder.append_option(raw.and_then(|raw| raw.parse().ok()));
            }
            ColumnBuilder::Int(builder) => {
                let raw = raw.filter(|raw| fits(JsonKind::Int, raw));
                builder.append_option(raw.and_then(|raw| raw.parse().ok()));
            }
            ColumnBuilder::Float(builder) => builder.append_option(raw.and_then(exact_float)),
            ColumnBuilder::Text(builder) => builder.append_option(raw.and_then(decode)),
            ColumnBuilder::Json(builder) => builder.append_option(raw),
            ColumnBuilder::Texts(builder) => {
                builder.append_option(raw.map(|raw| decode(raw).unwrap_or(Cow::Borrowed(raw))));
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            ColumnBuilder::Bool(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Text(mut builder)
            | ColumnBuilder::Json(mut builder)
            | ColumnBuilder::Texts(mut builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{Carried, Places};

    fn columns(needs: Needs) -> JsonColumns {
        let carried = CarriedColumns::json(vec![
            ("n".into(), JsonKind::Int),
            ("x".into(), JsonKind::Float),
            ("s".into(), JsonKind::Text),
            ("b".into(), JsonKind::Bool),
            ("j".into(), JsonKind::Json),
        ]);
        JsonColumns::new(&carried, vec!["label".into()], needs).unwrap()
    }

    /// A value that has no place would vanish without a word.
    #[test]
    fn what_does_not_fit_is_told_with_its_value() {
        let cases = [
            (
                r#"{"n":1,"x":2,"s":"a","b":true,"j":[1]}"#,
                [None, None, None],
            ),
            (
                r#"{"n":null,"x":null,"s":null,"b":null,"j":null,"new":null}"#,
                [None, None, None],
            ),
            (r#"{"n":1.5}"#, [None, None, Some("column_type")]),
            (r#"{"n":"1"}"#, [None, None, Some("column_type")]),
            (
                r#"{"x":9007199254740993}"#,
                [None, None, Some("column_type")],
            ),
            (r#"{"s":7}"#, [None, None, Some("column_type")]),
            (r#"{"b":"true"}"#, [None, None, Some("column_type")]),
            (
                r#"{"new":3}"#,
                [None, Some("column_unknown"), Some("column_unknown")],
            ),
            (r#"{"label":3}"#, [Some("column_collision"); 3]),
        ];
        for (line, codes) in cases {
            let rows = vec![Some(JsonRow::parse(line).unwrap())];
            let chunk = Chunk {
                first_row: 0,
                rows: Vec::new(),
                carried: Carried::Json(Vec::new()),
                places: Places::default(),
            };
            for (needs, code) in [Needs::Nothing, Needs::Names, Needs::Types]
                .into_iter()
                .zip(codes)
            {
                let found = columns(needs).misfits(&chunk, &rows).remove(0);
                assert_eq!(found.as_ref().map(|e| e.code), code, "{line} {needs:?}");
                if let Some(error) = found {
                    let (_, value) = line.trim_end_matches('}').split_once(':').unwrap();
                    assert!(error.message.contains(value), "{}", error.message);
                }
            }
        }
    }

    /// Values would land in another column or with another value.
    #[test]
    fn arrays_hold_the_values() {
        let lines = [
            r#"{"j":{"a": 1},"b":false,"s":"\u00e9","x":2,"n":-3}"#,
            r#"{"n":1,"n":2,"j":"text","x":"no"}"#,
        ];
        let rows: Vec<_> = lines
            .iter()
            .map(|line| JsonRow::parse(line).ok())
            .chain([None])
            .collect();
        let shown: Vec<Vec<String>> = columns(Needs::Types)
            .arrays(&rows)
            .iter()
            .map(|array| {
                (0..array.len())
                    .map(|row| {
                        let mut out = Vec::new();
                        crate::sink::cells::write_text(array, row, &mut out);
                        String::from_utf8(out).unwrap()
                    })
                    .collect()
            })
            .collect();
        assert_eq!(shown[0], ["-3", "2", ""]);
        assert_eq!(shown[1], ["2.0", "", ""]);
        assert_eq!(shown[2], ["é", "", ""]);
        assert_eq!(shown[3], ["false", "", ""]);
        assert_eq!(shown[4], ["{\"a\": 1}", "\"text\"", ""]);
    }
}
