//! A chunk while its rows come in.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use crate::chunk::{Carried, Chunk, Places};
use crate::json_row::JsonRow;
use crate::row::{Place, RowError, RowText, Within};
use crate::source::spec::InputLimits;

/// Collects rows until there are enough of them, or enough bytes.
pub(crate) struct Assembly {
    first_row: u64,
    rows: Vec<Result<RowText, RowError>>,
    places: Places,
    columns: Columns,
    bytes: usize,
    max_rows: usize,
    limits: InputLimits,
}

/// The columns that pass through, as each kind of source gathers them.
enum Columns {
    Text(SchemaRef, Vec<StringBuilder>),
    Json(Vec<Option<JsonRow>>),
    Batches(SchemaRef, Vec<RecordBatch>),
}

/// How the columns of a source pass through.
#[derive(Clone, Debug)]
pub(crate) enum CarriedShape {
    /// Cells of text: all fields are Utf8.
    Text(SchemaRef),
    /// Rows of JSON.
    Json,
    /// Arrow columns.
    Batches(SchemaRef),
}

impl Assembly {
    pub(crate) fn new(
        shape: &CarriedShape,
        first_row: u64,
        max_rows: usize,
        limits: InputLimits,
    ) -> Assembly {
        let columns = match shape {
            CarriedShape::Text(schema) => Columns::Text(
                Arc::clone(schema),
                schema
                    .fields()
                    .iter()
                    .map(|_| StringBuilder::new())
                    .collect(),
            ),
            CarriedShape::Json => Columns::Json(Vec::new()),
            CarriedShape::Batches(schema) => Columns::Batches(Arc::clone(schema), Vec::new()),
        };
        Assembly {
            first_row,
            rows: Vec::new(),
            places: Places::default(),
            columns,
            bytes: 0,
            max_rows,
            limits,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that still fit.
    pub(crate) fn room(&self) -> usize {
        if self.bytes >= self.limits.chunk_bytes {
            0
        } else {
            self.max_rows - self.rows.len()
        }
    }

    /// Rows before the next one, in the whole input.
    pub(crate) fn next_row(&self) -> u64 {
        self.first_row + self.rows.len() as u64
    }

    pub(crate) fn limits(&self) -> InputLimits {
        self.limits
    }

    /// The place of the next row, for its messages.
    pub(crate) fn place(&self, file: &Arc<str>, within: Within) -> Place {
        Place {
            row: self.next_row() + 1,
            file: Arc::clone(file),
            within,
        }
    }

    /// Adds a row; its carried cells come with [`Assembly::push_cells`] or [`Assembly::push_json`].
    pub(crate) fn push(&mut self, file: &Arc<str>, within: Within, row: Result<RowText, RowError>) {
        self.bytes += match &row {
            Ok(row) => row.text.len() + row.pair.as_ref().map_or(0, String::len),
            Err(error) => error.message.len(),
        };
        self.rows.push(row);
        self.places.push(file, within);
    }

    /// Adds the carried cells of one row: one for each field; `None` is null.
    pub(crate) fn push_cells<'a>(&mut self, cells: impl Iterator<Item = Option<CellText<'a>>>) {
        let Columns::Text(_, builders) = &mut self.columns else {
            return;
        };
        let mut cells = cells;
        for builder in builders {
            let cell = cells.next().flatten();
            self.bytes += cell.as_ref().map_or(0, |cell| cell.len());
            builder.append_option(cell);
        }
    }

    /// Adds the carried JSON of one row.
    pub(crate) fn push_json(&mut self, row: Option<JsonRow>) {
        let Columns::Json(rows) = &mut self.columns else {
            return;
        };
        self.bytes += row.as_ref().map_or(0, JsonRow::bytes);
        rows.push(row);
    }

    /// Adds the carried columns of several rows.
    pub(crate) fn push_batch(&mut self, batch: RecordBatch) {
        let Columns::Batches(_, batches) = &mut self.columns else {
            return;
        };
        self.bytes += batch.get_array_memory_size();
        batches.push(batch);
    }

    /// The finished chunk.
    pub(crate) fn finish(self) -> Result<Chunk, ArrowError> {
        let rows = self.rows.len();
        let carried = match self.columns {
            Columns::Text(schema, builders) => {
                let arrays: Vec<ArrayRef> = builders
                    .into_iter()
                    .map(|mut builder| Arc::new(builder.finish()) as ArrayRef)
                    .collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                Carried::Table(RecordBatch::try_new_with_options(schema, arrays, &options)?)
            }
            Columns::Json(rows) => Carried::Json(rows),
            Columns::Batches(schema, batches) => Carried::Table(joined(&schema, batches)?),
        };
        Ok(Chunk {
            first_row: self.first_row,
            rows: self.rows,
            carried,
            places: self.places,
        })
    }
}

/// A text cell; not UTF-8 becomes U+FFFD.
pub(crate) type CellText<'a> = std::borrow::Cow<'a, str>;

/// One batch of many; a single one is passed on as it is.
fn joined(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<RecordBatch, ArrowError> {
    if batches.len() == 1
        && let Some(only) = batches.pop()
    {
        return Ok(only);
    }
    arrow_select::concat::concat_batches(schema, &batches)
}

/// The schema of text columns called `names`.
pub(crate) fn text_schema<S: AsRef<str>>(names: &[S]) -> SchemaRef {
    let fields: Vec<arrow_schema::Field> = names
        .iter()
        .map(|name| arrow_schema::Field::new(name.as_ref(), arrow_schema::DataType::Utf8, true))
        .collect();
    Arc::new(Schema::new(fields))
}
