//! Rows on their way through the job: their texts, and the columns that pass through beside them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field};
use arrow_select::take::take_record_batch;

use crate::json_row::{JsonRow, decode};
use crate::row::{Place, RowError, RowText, Within};
use crate::sink::cells::write_json;
use crate::survey::JsonKind;

/// A run of consecutive rows of the input.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Rows of the whole input before this chunk.
    pub first_row: u64,
    /// Each row's text, or what is wrong with it.
    pub rows: Vec<Result<RowText, RowError>>,
    /// The columns that pass through, as many rows as `rows`.
    pub carried: Carried,
    /// Where the rows stood.
    pub places: Places,
}

impl Chunk {
    /// Number of rows, bad ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row `times` times, one after the other; `first_row` counts likewise.
    ///
    /// # Errors
    /// Arrow's, where a column of text becomes larger than its offsets can tell.
    pub fn repeat(self, times: usize) -> Result<Chunk, ArrowError> {
        if times == 1 {
            return Ok(self);
        }
        let rows = self.rows.len();
        let each = |at: usize| std::iter::repeat_n(at, times);
        let carried = match self.carried {
            Carried::Table(batch) => {
                let indices: UInt64Array = (0..rows).flat_map(each).map(|at| at as u64).collect();
                Carried::Table(taken(&batch, &indices)?)
            }
            Carried::Json(lines) => Carried::Json(
                lines
                    .into_iter()
                    .flat_map(|line| std::iter::repeat_n(line, times))
                    .collect(),
            ),
        };
        Ok(Chunk {
            first_row: self.first_row * times as u64,
            rows: self
                .rows
                .into_iter()
                .flat_map(|row| std::iter::repeat_n(row, times))
                .collect(),
            carried,
            places: Places {
                times: self.places.times * times,
                ..self.places
            },
        })
    }

    /// Leaves out the first `count` rows.
    pub fn drop_first(&mut self, count: usize) {
        let count = count.min(self.rows.len());
        self.first_row += count as u64;
        self.rows.drain(..count);
        match &mut self.carried {
            Carried::Table(batch) => *batch = batch.slice(count, batch.num_rows() - count),
            Carried::Json(lines) => drop(lines.drain(..count)),
        }
        self.places.dropped += count;
    }

    /// Takes a column out of those that pass through, each value as JSON: text that is none stays text.
    /// `None` for the column where there is none of that name, and for values that are null.
    pub fn take_column(&mut self, name: &str) -> Option<Vec<Option<String>>> {
        match &mut self.carried {
            Carried::Table(batch) => {
                let (at, _) = batch.schema_ref().column_with_name(name)?;
                let column = batch.remove_column(at);
                Some((0..column.len()).map(|row| as_json(&column, row)).collect())
            }
            Carried::Json(lines) => {
                let take = |line: &mut Option<JsonRow>| {
                    let line = line.as_mut()?;
                    let raw = line.get(name)?;
                    let value = match decode(raw) {
                        Some(text) => text.into_owned(),
                        None => raw.to_owned(),
                    };
                    line.retain(|key| key != name);
                    (value != "null").then_some(value)
                };
                Some(lines.iter_mut().map(take).collect())
            }
        }
    }

    /// Where row `index` of this chunk stood, for messages.
    #[must_use]
    pub fn place(&self, index: usize) -> Place {
        self.places.place(self.first_row, index)
    }
}

fn taken(batch: &RecordBatch, indices: &UInt64Array) -> Result<RecordBatch, ArrowError> {
    if batch.num_columns() > 0 {
        return take_record_batch(batch, indices);
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(indices.len()));
    RecordBatch::try_new_with_options(batch.schema(), Vec::new(), &options)
}

fn as_json(column: &dyn Array, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => column.as_string_view().value(row).to_owned(),
        _ => {
            let mut json = Vec::new();
            write_json(column, row, &mut json);
            String::from_utf8_lossy(&json).into_owned()
        }
    })
}

/// The columns that pass through a job untouched.
#[derive(Clone, Debug)]
pub enum Carried {
    /// CSV, TSV and plain lines as text, Parquet with its own types.
    Table(RecordBatch),
    /// JSON Lines as they were; `None` for a line that could not be parsed.
    Json(Vec<Option<JsonRow>>),
}

/// Where each row of a chunk stood.
#[derive(Clone, Debug)]
pub struct Places {
    /// The first row of the chunk that comes from this file, and the file.
    files: Vec<(usize, Arc<str>)>,
    within: Vec<Within>,
    /// How many rows of the chunk stand for each row of the input.
    times: usize,
    /// Rows that were left out at the chunk's beginning.
    dropped: usize,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            files: Vec::new(),
            within: Vec::new(),
            times: 1,
            dropped: 0,
        }
    }
}

impl Places {
    /// Notes the place of the next row.
    pub(crate) fn push(&mut self, file: &Arc<str>, within: Within) {
        if self
            .files
            .last()
            .is_none_or(|(_, last)| !Arc::ptr_eq(last, file))
        {
            self.files.push((self.within.len(), Arc::clone(file)));
        }
        self.within.push(within);
    }

    fn place(&self, first_row: u64, index: usize) -> Place {
        let first_row = (first_row - self.dropped as u64) / self.times as u64;
        let index = (self.dropped + index) / self.times;
        let file = self.files.iter().rev().find(|(first, _)| *first <= index);
        Place {
            row: first_row + index as u64 + 1,
            file: file.map_or_else(|| Arc::from("?"), |(_, file)| Arc::clone(file)),
            within: self.within.get(index).copied().unwrap_or(Within::Row(0)),
        }
    }
}

/// Names and types of the columns that pass through; made by [`Source`](crate::Source), needed by
/// [`Job`](crate::Job).
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedColumns {
    fields: Vec<Field>,
    /// For JSON Lines: how each field is made from raw values.
    json: Option<Vec<JsonKind>>,
}

impl CarriedColumns {
    /// No column passes through.
    #[must_use]
    pub fn none() -> CarriedColumns {
        CarriedColumns {
            fields: Vec::new(),
            json: None,
        }
    }

    /// Columns with Arrow types.
    #[must_use]
    pub fn table(fields: Vec<Field>) -> CarriedColumns {
        CarriedColumns { fields, json: None }
    }

    /// Keys of JSON Lines, with the types they take in formats that need one.
    pub(crate) fn json(columns: Vec<(String, JsonKind)>) -> CarriedColumns {
        let fields = columns
            .iter()
            .map(|(name, kind)| Field::new(name, kind.arrow(), true))
            .collect();
        let kinds = columns.into_iter().map(|(_, kind)| kind).collect();
        CarriedColumns {
            fields,
            json: Some(kinds),
        }
    }

    /// The same without the column of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> CarriedColumns {
        let kept = |at: &usize| self.fields[*at].name() != name;
        let places: Vec<usize> = (0..self.fields.len()).filter(kept).collect();
        CarriedColumns {
            fields: places.iter().map(|&at| self.fields[at].clone()).collect(),
            json: self
                .json
                .as_ref()
                .map(|kinds| places.iter().map(|&at| kinds[at]).collect()),
        }
    }

    /// Name and Arrow type of each column, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// For JSON Lines the kinds of the fields.
    pub(crate) fn kinds(&self) -> Option<&[JsonKind]> {
        self.json.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;

    use super::*;

    fn chunk(carried: Carried) -> Chunk {
        let file: Arc<str> = "a.csv".into();
        let mut places = Places::default();
        let rows = ["a", "b", "c"].map(|text| {
            places.push(&file, Within::Line(text.as_bytes()[0].into()));
            Ok(RowText {
                text: text.into(),
                pair: None,
            })
        });
        Chunk {
            first_row: 10,
            rows: rows.into(),
            carried,
            places,
        }
    }

    /// A copy would have the columns of another row, or be looked for in another place.
    #[test]
    fn copies_stand_beside_their_rows() {
        let names: arrow_array::ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
        let batch = RecordBatch::try_from_iter([("n", names)]).unwrap();
        let lines = ["x", "y", "z"].map(|n| JsonRow::parse(&format!("{{\"n\":{n:?}}}")).ok());
        for carried in [Carried::Table(batch), Carried::Json(lines.into())] {
            let mut chunk = chunk(carried).repeat(2).unwrap();
            chunk.drop_first(3);
            assert_eq!((chunk.first_row, chunk.len()), (23, 3));
            let texts = chunk
                .rows
                .iter()
                .map(|row| row.as_ref().unwrap().text.as_str());
            assert_eq!(texts.collect::<String>(), "bcc");
            assert_eq!(chunk.place(0).to_string(), "row 12 (a.csv line 98)");
            assert_eq!(chunk.place(2).to_string(), "row 13 (a.csv line 99)");
            let taken = chunk.take_column("n").unwrap();
            let taken: Vec<&str> = taken.iter().map(|n| n.as_deref().unwrap()).collect();
            assert_eq!(taken, ["y", "z", "z"]);
            match chunk.carried {
                Carried::Table(batch) => {
                    assert_eq!((batch.num_columns(), batch.num_rows()), (0, 3))
                }
                Carried::Json(lines) => {
                    assert!(lines.iter().flatten().all(|line| line.get("n").is_none()));
                }
            }
        }
    }

    /// An error would be looked for in the wrong file.
    #[test]
    fn places_follow_the_files() {
        let (a, b): (Arc<str>, Arc<str>) = ("a.csv".into(), "b.csv".into());
        let mut places = Places::default();
        places.push(&a, Within::Line(2));
        places.push(&a, Within::Line(3));
        places.push(&b, Within::Line(2));
        let shown: Vec<String> = (0..3).map(|i| places.place(10, i).to_string()).collect();
        assert_eq!(
            shown,
            [
                "row 11 (a.csv line 2)",
                "row 12 (a.csv line 3)",
                "row 13 (b.csv line 2)"
            ]
        );
    }
}
