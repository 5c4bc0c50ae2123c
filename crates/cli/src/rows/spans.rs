//! Labelled spans of a text, moved along with it.
//!
//! A cell is a list of objects, `[{"start": 0, "end": 6, "label": "LOC"}]`, or one object of lists,
//! `{"start": [0], "end": [6], "label": ["LOC"]}`, as data sets on the hub have it; in Parquet as lists and
//! structs, elsewhere as JSON. Places count characters. Whichever it was, lists of objects are written.
//!
//! What else an object holds (a score, an id) goes with its span: as it was written where JSON is written,
//! with its type where Parquet was read, and else as JSON in the field `other`.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder, UInt64Builder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, StringArray, StructArray, UInt64Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields};
use arrow_select::take::take;
use data::JsonRow;
use serde_json::value::RawValue;
use text::augment::Edited;

/// The code of a row whose spans cannot be read.
pub(super) const CODE: &str = "invalid_spans";

const START: &str = "start";
const END: &str = "end";
const LABEL: &str = "label";
/// What else an object holds, as JSON, where columns have types and JSON has none.
const OTHER: &str = "other";

const FORM: &str = "it is neither a list of objects with the numbers `start` and `end` and a `label` that is a text, nor \
                    an object of lists of them";

/// Where in a text something stands, in characters, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u64,
    end: u64,
    /// Its place in the cell that it comes from.
    at: usize,
    /// Keys and values as they were written, those of the places included.
    members: Arc<[(String, String)]>,
}

impl Span {
    fn of(at: usize, members: Vec<(String, String)>) -> Option<Self> {
        let raw = |name: &str| {
            let mut named = members.iter().rev().filter(|(key, _)| key == name);
            named.next().map(|(_, raw)| raw.as_str())
        };
        if raw(LABEL).is_some_and(|raw| serde_json::from_str::<Option<String>>(raw).is_err()) {
            return None;
        }
        Some(Self {
            start: raw(START)?.parse().ok()?,
            end: raw(END)?.parse().ok()?,
            at,
            members: members.into(),
        })
    }

    fn label(&self) -> Option<String> {
        let mut named = self.members.iter().rev().filter(|(key, _)| key == LABEL);
        serde_json::from_str(&named.next()?.1).ok()?
    }

    /// Appends the object as it was, with its places as they are now.
    fn write(&self, out: &mut String) {
        let members = self.members.iter().map(|(key, raw)| match key.as_str() {
            START => (key, self.start.to_string()),
            END => (key, self.end.to_string()),
            _ => (key, raw.clone()),
        });
        write_object(members, out);
    }

    /// All members but the places and the label, as JSON; none where there are no others.
    fn other(&self) -> Option<String> {
        let is_other = |key: &str| ![START, END, LABEL].contains(&key);
        let others = self.members.iter().filter(|(key, _)| is_other(key));
        let mut out = String::new();
        others.clone().next()?;
        write_object(others.map(|(key, raw)| (key, raw.clone())), &mut out);
        Some(out)
    }
}

fn write_object<'a>(members: impl Iterator<Item = (&'a String, String)>, out: &mut String) {
    out.push('{');
    for (at, (key, raw)) in members.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&serde_json::Value::from(key.as_str()).to_string());
        out.push(':');
        out.push_str(&raw);
    }
    out.push('}');
}

/// Reads a cell, and says what is wrong with it for a text of so many characters.
pub(super) fn read(cell: Option<&str>, characters: usize) -> Result<Vec<Span>, String> {
    let Some(cell) = cell.filter(|cell| !cell.trim().is_empty()) else {
        return Ok(Vec::new());
    };
    let spans = match serde_json::from_str::<Vec<&RawValue>>(cell) {
        Ok(objects) => objects
            .iter()
            .enumerate()
            .map(|(at, raw)| Span::of(at, members(raw.get())?))
            .collect(),
        Err(_) => match members(cell) {
            Some(lists) => of_lists(&lists)?,
            None => None,
        },
    };
    let spans: Vec<Span> = spans.ok_or(FORM)?;
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

fn members(object: &str) -> Option<Vec<(String, String)>> {
    let object = JsonRow::parse(object).ok()?;
    let members = object.members();
    Some(
        members
            // A row of JSON Lines is one line; a string has no line feed as it stands.
            .map(|(key, raw)| (key.into_owned(), raw.replace(['\n', '\r'], " ")))
            .collect(),
    )
}

/// What a member of an object of lists has for the spans.
enum Member<'a> {
    /// One value for each.
    List(Vec<&'a RawValue>),
    /// The same for all: what is no list is said of all of them.
    Value(&'a str),
}

impl<'a> Member<'a> {
    fn of(raw: &'a str) -> Self {
        serde_json::from_str(raw).map_or(Member::Value(raw), Member::List)
    }

    fn at(&self, at: usize) -> &'a str {
        match self {
            Member::List(list) => list[at].get(),
            Member::Value(raw) => raw,
        }
    }
}

/// The spans of an object of lists, as many as it has places; none where it has no places.
///
/// # Errors
/// Words on a list of another length.
fn of_lists(members: &[(String, String)]) -> Result<Option<Vec<Span>>, String> {
    let members: Vec<(&String, Member<'_>)> = members
        .iter()
        .map(|(key, raw)| (key, Member::of(raw)))
        .collect();
    let starts = members.iter().rev().find_map(|(key, member)| match member {
        Member::List(list) if *key == START => Some(list.len()),
        _ => None,
    });
    let Some(spans) = starts else {
        return Ok(None);
    };
    for (key, member) in &members {
        if let Member::List(list) = member
            && list.len() != spans
        {
            let length = list.len();
            return Err(format!(
                "`{key}` is a list of {length}, where `{START}` has {spans}: they must be of one length"
            ));
        }
    }
    let members = |at: usize| {
        let members = members.iter();
        members.map(move |(key, member)| ((*key).clone(), member.at(at).to_owned()))
    };
    Ok((0..spans)
        .map(|at| Span::of(at, members(at).collect()))
        .collect())
}

/// The spans where they stand now; those of which nothing is left are left out.
pub(super) fn moved(spans: &[Span], original: &str, edited: &Edited) -> Vec<Span> {
    let place = |span: &Span| {
        let (start, end) =
            edited.map_characters(original, span.start as usize, span.end as usize)?;
        Some(Span {
            start: start as u64,
            end: end as u64,
            ..span.clone()
        })
    };
    spans.iter().filter_map(place).collect()
}

/// The column of spans as it is written.
#[derive(Clone, Debug)]
pub(super) struct SpanColumn {
    pub(super) name: String,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// JSON, each object with its members as they were.
    Json,
    /// Lists of structs, with other members as JSON in one field.
    Structs,
    /// Lists of structs, with the other fields of the input's.
    Typed(Fields),
}

/// How the output has values that are lists of structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nested {
    AsJson,
    AsTypes,
}

impl SpanColumn {
    /// Of an input's column of this name and type.
    pub(super) fn new(input: &Field, nested: Nested) -> Self {
        let form = match (others(input.data_type()), nested) {
            (Some(fields), _) => Form::Typed(fields),
            (None, Nested::AsJson) => Form::Json,
            (None, Nested::AsTypes) => Form::Structs,
        };
        Self {
            name: input.name().clone(),
            form,
        }
    }

    /// Name and type.
    pub(super) fn field(&self) -> Field {
        if let Form::Json = self.form {
            return data::json_field(&self.name);
        }
        let item = Field::new("item", DataType::Struct(self.fields()), true);
        Field::new(&self.name, DataType::List(Arc::new(item)), true)
    }

    fn fields(&self) -> Fields {
        let others: Vec<Field> = match &self.form {
            Form::Json => Vec::new(),
            Form::Structs => vec![Field::new(OTHER, DataType::Utf8, true)],
            // Like the fields beside them.
            Form::Typed(others) => others
                .iter()
                .map(|field| field.as_ref().clone().with_nullable(true))
                .collect(),
        };
        let own = [
            Field::new(START, DataType::UInt64, true),
            Field::new(END, DataType::UInt64, true),
            Field::new(LABEL, DataType::Utf8, true),
        ];
        own.into_iter().chain(others).collect()
    }

    /// The column's values, each with its row of the input's column `from`; null in bad rows.
    pub(super) fn array(
        &self,
        rows: &[(usize, Option<Vec<Span>>)],
        from: Option<&ArrayRef>,
    ) -> Result<ArrayRef, ArrowError> {
        match (&self.form, from) {
            (Form::Json, _) => Ok(json(rows)),
            (Form::Structs, _) => Ok(self.structs(rows)),
            (Form::Typed(others), Some(from)) => self.typed(rows, others, from),
            (Form::Typed(_), None) => Err(ArrowError::SchemaError(format!(
                "`{}` is not there",
                self.name
            ))),
        }
    }

    fn structs(&self, rows: &[(usize, Option<Vec<Span>>)]) -> ArrayRef {
        let mut lists = ListBuilder::new(StructBuilder::from_fields(self.fields(), rows.len()));
        for (_, row) in rows {
            let values = lists.values();
            for span in row.iter().flatten() {
                for (at, place) in [span.start, span.end].into_iter().enumerate() {
                    if let Some(places) = values.field_builder::<UInt64Builder>(at) {
                        places.append_value(place);
                    }
                }
                for (at, text) in [(2, span.label()), (3, span.other())] {
                    if let Some(texts) = values.field_builder::<StringBuilder>(at) {
                        texts.append_option(text);
                    }
                }
                values.append(true);
            }
            lists.append(row.is_some());
        }
        Arc::new(lists.finish())
    }

    fn typed(
        &self,
        rows: &[(usize, Option<Vec<Span>>)],
        others: &Fields,
        from: &ArrayRef,
    ) -> Result<ArrayRef, ArrowError> {
        let all = || {
            rows.iter().flat_map(|(row, spans)| {
                let spans = spans.iter().flatten();
                spans.map(move |span| (*row, span))
            })
        };
        let places = |of: fn(&Span) -> u64| -> ArrayRef {
            Arc::new(all().map(|(_, span)| of(span)).collect::<UInt64Array>())
        };
        let labels: StringArray = all().map(|(_, span)| span.label()).collect();
        let mut columns = vec![
            places(|span| span.start),
            places(|span| span.end),
            Arc::new(labels),
        ];
        for field in others {
            let values = Values::of(from, field.name()).ok_or_else(|| {
                ArrowError::SchemaError(format!("the spans have lost `{}`", field.name()))
            })?;
            let indices: UInt64Array = all()
                .map(|(row, span)| Some((values.first(row)? + span.at) as u64))
                .collect();
            columns.push(take(&values.of_all, &indices, None)?);
        }
        let structs = StructArray::try_new(self.fields(), columns, None)?;
        let lengths = rows
            .iter()
            .map(|(_, spans)| spans.as_ref().map_or(0, Vec::len));
        let present: NullBuffer = rows.iter().map(|(_, spans)| spans.is_some()).collect();
        let item = Field::new("item", DataType::Struct(self.fields()), true);
        let lists = ListArray::try_new(
            Arc::new(item),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(structs),
            Some(present),
        )?;
        Ok(Arc::new(lists))
    }
}

fn json(rows: &[(usize, Option<Vec<Span>>)]) -> ArrayRef {
    let cell = |(_, spans): &(usize, Option<Vec<Span>>)| {
        let mut out = String::from("[");
        for (at, span) in spans.as_ref()?.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            span.write(&mut out);
        }
        out.push(']');
        Some(out)
    };
    Arc::new(rows.iter().map(cell).collect::<StringArray>())
}

/// The fields beside places and label of spans that are structs; none where they are something else.
fn others(spans: &DataType) -> Option<Fields> {
    let fields = match (list_of(spans), spans) {
        (Some(DataType::Struct(fields)), _) => fields,
        (None, DataType::Struct(fields))
            if fields.iter().all(|f| list_of(f.data_type()).is_some()) =>
        {
            fields
        }
        _ => return None,
    };
    let is_other = |name: &String| ![START, END, LABEL].contains(&name.as_str());
    let others = fields.iter().filter(|field| is_other(field.name()));
    let of_one = |field: &Field| {
        let kind = list_of(field.data_type()).filter(|_| list_of(spans).is_none());
        field
            .clone()
            .with_data_type(kind.unwrap_or(field.data_type()).clone())
    };
    Some(others.map(|field| of_one(field)).collect())
}

/// What a list has.
fn list_of(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// A field's values of all spans of a column, one row after the other.
struct Values<'a> {
    list: &'a dyn Array,
    of_all: ArrayRef,
}

impl<'a> Values<'a> {
    fn of(spans: &'a ArrayRef, name: &str) -> Option<Self> {
        match spans.as_struct_opt() {
            Some(lists) => {
                let list = lists.column_by_name(name)?;
                Some(Self {
                    list,
                    of_all: values(list)?,
                })
            }
            None => Some(Self {
                list: spans,
                of_all: values(spans)?
                    .as_struct_opt()?
                    .column_by_name(name)?
                    .clone(),
            }),
        }
    }

    /// Where those of a row begin; none where it has none.
    fn first(&self, row: usize) -> Option<usize> {
        if self.list.is_null(row) {
            return None;
        }
        Some(match self.list.data_type() {
            DataType::LargeList(_) => self.list.as_list::<i64>().value_offsets()[row] as usize,
            DataType::FixedSizeList(..) => {
                self.list.as_fixed_size_list().value_offset(row) as usize
            }
            _ => self.list.as_list::<i32>().value_offsets()[row] as usize,
        })
    }
}

fn values(list: &dyn Array) -> Option<ArrayRef> {
    match list.data_type() {
        DataType::List(_) => Some(list.as_list::<i32>().values().clone()),
        DataType::LargeList(_) => Some(list.as_list::<i64>().values().clone()),
        DataType::FixedSizeList(..) => Some(list.as_fixed_size_list().values().clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::Float64Builder;

    use super::*;

    fn span(at: usize, members: &[(&str, &str)]) -> Span {
        let owned = members
            .iter()
            .map(|(key, raw)| ((*key).to_owned(), (*raw).to_owned()));
        Span::of(at, owned.collect()).unwrap()
    }

    /// Labels would be lost without a word, or a text be read beyond its end.
    #[test]
    fn both_forms_are_read_and_others_refused() {
        let first = span(0, &[("start", "0"), ("end", "2"), ("label", "\"A\"")]);
        let second = span(1, &[("start", "3"), ("end", "5"), ("label", "\"B\"")]);
        let scored = span(
            1,
            &[
                ("label", "\"B\""),
                ("start", "3"),
                ("end", "5"),
                ("score", "1.10"),
            ],
        );
        for (cell, expected) in [
            (None, Some(vec![])),
            (Some(""), Some(vec![])),
            (Some("[]"), Some(vec![])),
            (
                Some(
                    r#"[{"start":0,"end":2,"label":"A"},{"label":"B","start":3,"end":5,"score":1.10}]"#,
                ),
                Some(vec![first.clone(), scored]),
            ),
            (
                Some(r#"{"start":[0,3],"end":[2,5],"label":["A","B"]}"#),
                Some(vec![first, second]),
            ),
            (
                Some(r#"{"start":[0],"end":[2],"label":null,"source":"wiki"}"#),
                Some(vec![span(
                    0,
                    &[
                        ("start", "0"),
                        ("end", "2"),
                        ("label", "null"),
                        ("source", "\"wiki\""),
                    ],
                )]),
            ),
            (
                Some(r#"{"start":[],"end":[],"label":[],"source":"wiki"}"#),
                Some(vec![]),
            ),
            (Some(r#"{"start":[0,3],"end":[2],"label":["A","B"]}"#), None),
            (Some(r#"{"start":0,"end":2,"label":"A"}"#), None),
            (Some(r#"{"start":[0],"end":null,"label":["A"]}"#), None),
            (
                Some(r#"{"start":[0],"end":[2],"label":["A"],"score":[]}"#),
                None,
            ),
            (Some(r#"[{"start":3,"end":2,"label":"A"}]"#), None),
            (Some(r#"[{"start":0,"end":6,"label":"A"}]"#), None),
            (Some(r#"[{"start":0,"end":2,"label":7}]"#), None),
            (Some(r#"[{"start":-1,"end":6,"label":"A"}]"#), None),
            (Some("PER"), None),
        ] {
            assert_eq!(read(cell, 5).ok(), expected, "{cell:?}");
        }
        let why = read(Some(r#"{"start":[0],"end":[2],"score":[]}"#), 5).unwrap_err();
        assert!(why.starts_with("`score` is a list of 0"), "{why}");
    }

    /// A row without scores would have those of the next one.
    #[test]
    fn a_null_list_of_one_row_is_null_for_its_spans() {
        let mut scores = ListBuilder::new(Float64Builder::new());
        scores.append(false);
        scores.values().append_value(0.5);
        scores.append(true);
        let scores: ArrayRef = Arc::new(scores.finish());
        let field = Field::new("score", scores.data_type().clone(), true);
        let from: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(field), scores)]));
        let input = Field::new("s", from.data_type().clone(), true);
        let column = SpanColumn::new(&input, Nested::AsTypes);
        let only = span(0, &[("start", "0"), ("end", "1")]);
        let rows = [(0, Some(vec![only.clone()])), (1, Some(vec![only]))];
        let array = column.array(&rows, Some(&from)).unwrap();
        let all = array.as_list::<i32>().values().clone();
        let found = all.as_struct().column_by_name("score").unwrap().clone();
        let expected: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![None, Some(0.5)]));
        assert_eq!(&found, &expected);
    }

    /// A reader would find other columns than the header says, or no scores.
    #[test]
    fn the_array_has_the_columns_type_and_what_else_spans_have() {
        let text = Field::new("s", DataType::Utf8, true);
        let spans = read(Some(r#"[{"start":0,"end":2,"label":"A","score":1.10}]"#), 5).unwrap();
        let rows = [(0, Some(spans)), (1, None), (2, Some(vec![]))];
        for nested in [Nested::AsJson, Nested::AsTypes] {
            let column = SpanColumn::new(&text, nested);
            let array = column.array(&rows, None).unwrap();
            assert_eq!(array.data_type(), column.field().data_type());
            assert_eq!((array.len(), array.null_count()), (3, 1));
            let found = match nested {
                Nested::AsJson => array.as_string::<i32>().value(0).to_owned(),
                Nested::AsTypes => {
                    let structs = array.as_list::<i32>().value(0);
                    let other = structs.as_struct().column_by_name(OTHER).unwrap();
                    other.as_string::<i32>().value(0).to_owned()
                }
            };
            assert!(found.contains(r#""score":1.10"#), "{found}");
        }
    }

    /// A score would go to another span, or lose its type.
    #[test]
    fn typed_fields_follow_their_spans() {
        let scores = |rows: &[&[f64]]| {
            let mut lists = ListBuilder::new(Float64Builder::new());
            for row in rows {
                lists.values().append_slice(row);
                lists.append(true);
            }
            lists.finish()
        };
        let scores = scores(&[&[0.5], &[1.5, 2.5, 3.5]]);
        let score = |kind: &DataType| Field::new("score", kind.clone(), true);
        // Lists of structs, and a struct of lists.
        let structs = StructArray::from(vec![(
            Arc::new(score(&DataType::Float64)),
            scores.values().clone(),
        )]);
        let item = Field::new("item", structs.data_type().clone(), true);
        let of_structs = ListArray::new(
            Arc::new(item),
            scores.offsets().clone(),
            Arc::new(structs),
            None,
        );
        let lists: ArrayRef = Arc::new(scores.clone());
        let of_lists = StructArray::from(vec![(Arc::new(score(scores.data_type())), lists)]);
        let arrays: [ArrayRef; 2] = [Arc::new(of_structs), Arc::new(of_lists)];
        for from in arrays {
            // Without its first row, as a slice has it.
            let from = from.slice(1, 1);
            let input = Field::new("s", from.data_type().clone(), true);
            let column = SpanColumn::new(&input, Nested::AsJson);
            let last = span(2, &[("start", "0"), ("end", "1")]);
            let first = span(0, &[("start", "1"), ("end", "2")]);
            let rows = [
                (0, Some(vec![last.clone(), first])),
                (0, None),
                (0, Some(vec![last])),
            ];
            let array = column.array(&rows, Some(&from)).unwrap();
            assert_eq!(array.data_type(), column.field().data_type());
            assert_eq!((array.len(), array.null_count()), (3, 1));
            let all = array.as_list::<i32>().values().clone();
            let found = all.as_struct().column_by_name("score").unwrap().clone();
            let expected: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![3.5, 1.5, 3.5]));
            assert_eq!(&found, &expected);
        }
    }
}
