//! Rows on their way through the job: their texts, and the columns that pass through beside them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Field;

use crate::json_row::JsonRow;
use crate::row::{Place, RowError, RowText, Within};
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

    /// Where row `index` of this chunk stood, for messages.
    #[must_use]
    pub fn place(&self, index: usize) -> Place {
        self.places.place(self.first_row, index)
    }
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
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The first row of the chunk that comes from this file, and the file.
    files: Vec<(usize, Arc<str>)>,
    within: Vec<Within>,
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
    use super::*;

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
