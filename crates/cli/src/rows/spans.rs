//! Labelled spans of a text, moved along with it.
//!
//! A cell is a list of objects, `[{"start": 0, "end": 6, "label": "LOC"}]`, or one object of three lists,
//! `{"start": [0], "end": [6], "label": ["LOC"]}`, as data sets on the hub have it; in Parquet as lists and
//! structs, elsewhere as JSON. Places count characters. Whichever it was, lists of objects are written.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder, UInt64Builder};
use arrow_schema::{DataType, Field, Fields};
use serde::Deserialize;
use text::augment::Edited;

/// The code of a row whose spans cannot be read.
pub(super) const CODE: &str = "invalid_spans";

/// Where in a text something stands, in characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Span {
    start: u64,
    end: u64,
    label: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cell {
    Spans(Vec<Span>),
    Lists {
        start: Vec<u64>,
        end: Vec<u64>,
        label: Vec<Option<String>>,
    },
}

/// Reads a cell, and says what is wrong with it for a text of so many characters.
pub(super) fn read(cell: Option<&str>, characters: usize) -> Result<Vec<Span>, String> {
    let Some(cell) = cell.filter(|cell| !cell.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let form = "it is neither a list of objects with `start`, `end` and `label`, nor an object of three lists \
                of one length";
    let spans = match serde_json::from_str(cell) {
        Ok(Cell::Spans(spans)) => spans,
        Ok(Cell::Lists { start, end, label })
            if start.len() == end.len() && start.len() == label.len() =>
        {
            let places = start.into_iter().zip(end);
            let spans = places.zip(label);
            spans
                .map(|((start, end), label)| Span { start, end, label })
                .collect()
        }
        _ => return Err(form.to_owned()),
    };
    for span in &spans {
        if span.start > span.end || span.end > characters as u64 {
            return Err(format!(
                "the span from {} to {} does not lie in a text of {characters} characters",
                span.start, span.end
            ));
        }
    }
    Ok(spans)
}

/// The spans where they stand now; those of which nothing is left are left out.
pub(super) fn moved(spans: &[Span], original: &str, edited: &Edited) -> Vec<Span> {
    let place = |span: &Span| {
        let (start, end) =
            edited.map_characters(original, span.start as usize, span.end as usize)?;
        Some(Span {
            start: start as u64,
            end: end as u64,
            label: span.label.clone(),
        })
    };
    spans.iter().filter_map(place).collect()
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("start", DataType::UInt64, true),
        Field::new("end", DataType::UInt64, true),
        Field::new("label", DataType::Utf8, true),
    ])
}

/// The column of this name.
pub(super) fn field(name: &str) -> Field {
    let item = Field::new("item", DataType::Struct(fields()), true);
    Field::new(name, DataType::List(Arc::new(item)), true)
}

/// The column's values; null in bad rows.
pub(super) fn array(rows: &[Option<Vec<Span>>]) -> ArrayRef {
    let mut lists = ListBuilder::new(StructBuilder::from_fields(fields(), rows.len()));
    for row in rows {
        let values = lists.values();
        for span in row.iter().flatten() {
            // The fields are the three above.
            if let Some(start) = values.field_builder::<UInt64Builder>(0) {
                start.append_value(span.start);
            }
            if let Some(end) = values.field_builder::<UInt64Builder>(1) {
                end.append_value(span.end);
            }
            if let Some(label) = values.field_builder::<StringBuilder>(2) {
                label.append_option(span.label.as_ref());
            }
            values.append(true);
        }
        lists.append(row.is_some());
    }
    Arc::new(lists.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64, label: &str) -> Span {
        Span {
            start,
            end,
            label: Some(label.to_owned()),
        }
    }

    /// Labels would be lost without a word, or a text be read beyond its end.
    #[test]
    fn both_forms_are_read_and_others_refused() {
        let both = vec![span(0, 2, "A"), span(3, 5, "B")];
        for (cell, expected) in [
            (None, Some(vec![])),
            (Some(""), Some(vec![])),
            (Some("[]"), Some(vec![])),
            (
                Some(
                    r#"[{"start":0,"end":2,"label":"A"},{"label":"B","start":3,"end":5,"score":1}]"#,
                ),
                Some(both.clone()),
            ),
            (
                Some(r#"{"start":[0,3],"end":[2,5],"label":["A","B"]}"#),
                Some(both),
            ),
            (Some(r#"{"start":[0,3],"end":[2],"label":["A","B"]}"#), None),
            (Some(r#"[{"start":3,"end":2,"label":"A"}]"#), None),
            (Some(r#"[{"start":0,"end":6,"label":"A"}]"#), None),
            (Some(r#"[{"start":-1,"end":6,"label":"A"}]"#), None),
            (Some("PER"), None),
        ] {
            assert_eq!(read(cell, 5).ok(), expected, "{cell:?}");
        }
    }

    /// A reader would find other columns than the header says.
    #[test]
    fn the_array_has_the_columns_type() {
        let rows = [Some(vec![span(0, 2, "A")]), None, Some(vec![])];
        let array = array(&rows);
        assert_eq!(array.data_type(), field("s").data_type());
        assert_eq!((array.len(), array.null_count()), (3, 1));
    }
}
