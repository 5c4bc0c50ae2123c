//! From a chunk and its answers to rows of the output's format.

mod arrow;
pub(crate) mod cells;
mod json_columns;
mod parquet;
mod shard;
mod size;
mod text;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;
use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};

pub(crate) use arrow::{
    join as join_arrow, write_batch as write_arrow_batch, writer as arrow_writer,
};
pub(crate) use parquet::join as join_parquet;
pub(crate) use parquet::write_group as write_parquet_group;
pub(crate) use parquet::writer as parquet_writer;
pub(crate) use shard::{OpenShard, SavedRows, ShardLimits};
pub(crate) use text::packed;

use crate::chunk::{Carried, CarriedColumns, Chunk};
use crate::error::list_names;
use crate::json_row::{JsonRow, decode};
use crate::row::{RowError, excerpt};
use crate::survey::JsonKind;
use crate::{DataError, Format, SinkFormat};
use arrow::ArrowSink;
use json_columns::{JsonColumns, Needs};
use parquet::ParquetSink;
use text::TextSink;

/// Name of the column that tells what is wrong with a row.
pub const ERROR_COLUMN: &str = "error";

/// The key and the name under which Arrow knows columns of JSON.
const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// A column of strings that are JSON: where JSON Lines are written, they are written as they are.
#[must_use]
pub fn json_field(name: &str) -> Field {
    let mark = [EXTENSION].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Field::new(name, DataType::Utf8, true).with_metadata(mark.into())
}

/// Whether the column is one of [`json_field`].
fn is_json(field: &Field) -> bool {
    let mark = field.metadata().get(EXTENSION.0);
    *field.data_type() == DataType::Utf8 && mark.is_some_and(|name| name == EXTENSION.1)
}

/// What the model has to say about the rows of a chunk.
#[derive(Clone, Debug)]
pub struct AnswerColumns {
    /// The answers, one array for each of the job's answer fields and in their order, with as many
    /// rows as the chunk; null in bad rows.
    pub columns: Vec<(Field, ArrayRef)>,
    /// What is wrong with each row. An error that the chunk's own row has need not be repeated.
    pub errors: Vec<Option<RowError>>,
}

/// A chunk and answers that fit each other and the job.
pub(crate) struct Accepted<'a> {
    /// The columns that pass through.
    carried: Cow<'a, Carried>,
    answers: &'a AnswerColumns,
    /// What the error column says of each row.
    errors: Vec<Option<String>>,
    /// Rows with which nothing is wrong but what an earlier job said.
    pub(crate) failed_before: u64,
}

/// Rows encoded at once. A chunk of embeddings as text is ten times the chunk: 4,096 rows of 384
/// dimensions are 20 MB.
const ROWS_AT_ONCE: usize = 512;

impl Accepted<'_> {
    /// The rows, a few at a time.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.errors.len();
        (0..rows)
            .step_by(ROWS_AT_ONCE)
            .map(move |at| at..rows.min(at + ROWS_AT_ONCE))
    }
}

/// Encoded rows, not yet in a shard.
pub(crate) struct Rows {
    pub(crate) body: RowsBody,
    /// Which rows carry an error.
    pub(crate) failed: Vec<bool>,
}

/// The rows themselves.
pub(crate) enum RowsBody {
    /// Bytes, and where each row ends.
    Text { bytes: Vec<u8>, ends: Vec<usize> },
    /// Columns, and how many bytes each row counts.
    Batch { batch: RecordBatch, sizes: Vec<u64> },
}

/// Encodes rows; knows the output's columns.
pub(crate) struct Sink {
    format: SinkFormat,
    /// The columns that pass through.
    carried: CarriedColumns,
    /// Whether the input has a column of errors besides, which goes into the output's.
    has_errors: bool,
    answers: Vec<Field>,
    json: Option<JsonColumns>,
    encoder: Encoder,
}

enum Encoder {
    Text(TextSink),
    Parquet(Box<ParquetSink>),
    Arrow(Box<ArrowSink>),
}

impl Sink {
    /// A sink for rows of `carried` columns and `answers`.
    pub(crate) fn new(
        format: SinkFormat,
        carried: &CarriedColumns,
        answers: &[Field],
    ) -> Result<Sink, DataError> {
        // In a bad row every answer is null.
        let answers: Vec<Field> = answers
            .iter()
            .map(|field| field.clone().with_nullable(true))
            .collect();
        refuse_answers(&answers)?;
        let mut taken: Vec<String> = answers.iter().map(|field| field.name().clone()).collect();
        taken.push(ERROR_COLUMN.to_owned());
        let has_errors = has_errors(carried);
        let carried = match has_errors {
            true => carried.without(ERROR_COLUMN),
            false => carried.clone(),
        };
        refuse_collisions(&carried, &taken)?;
        let needs = match format.format() {
            Format::Parquet | Format::Arrow => Needs::Types,
            Format::Csv | Format::Tsv => Needs::Names,
            Format::Jsonl | Format::Lines => Needs::Nothing,
        };
        let encoder = match format.format() {
            Format::Parquet => Encoder::Parquet(Box::new(ParquetSink::new(&carried, &answers)?)),
            Format::Arrow => Encoder::Arrow(Box::new(ArrowSink::new(&carried, &answers))),
            _ => Encoder::Text(TextSink::new(format, &carried, &answers)),
        };
        let json = JsonColumns::new(&carried, taken, needs);
        Ok(Sink {
            format,
            carried,
            has_errors,
            answers,
            json,
            encoder,
        })
    }

    pub(crate) fn format(&self) -> SinkFormat {
        self.format
    }

    /// The columns of the output and their types, in words: part of what makes a job the same job.
    pub(crate) fn describe(&self) -> Vec<String> {
        let fields = self.carried.fields().iter().chain(&self.answers);
        fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect()
    }

    /// Checks a chunk and its answers, and finds the errors of its rows.
    pub(crate) fn accept<'a>(
        &self,
        chunk: &'a Chunk,
        answers: &'a AnswerColumns,
    ) -> Result<Accepted<'a>, DataError> {
        self.check(chunk, answers)?;
        let misfits = match (&self.json, &chunk.carried) {
            (Some(json), Carried::Json(rows)) => json.misfits(chunk, rows),
            _ => Vec::new(),
        };
        let (carried, earlier) = self.without_errors(chunk)?;
        let error = |at| row_error(chunk, answers, misfits.get(at).and_then(Option::as_ref), at);
        let mut failed_before = 0;
        let errors = (0..chunk.len())
            .map(|at| {
                let new = error(at).map(|error| error.to_string());
                let earlier = earlier.get(at).and_then(Option::as_deref);
                failed_before += u64::from(new.is_none() && earlier.is_some());
                with_earlier(new, earlier)
            })
            .collect();
        Ok(Accepted {
            carried,
            answers,
            errors,
            failed_before,
        })
    }

    /// Encodes the rows of `range`.
    pub(crate) fn rows(
        &self,
        accepted: &Accepted<'_>,
        range: Range<usize>,
    ) -> Result<Rows, DataError> {
        let failed = accepted.errors[range.clone()]
            .iter()
            .map(Option::is_some)
            .collect();
        let body = match &self.encoder {
            Encoder::Text(sink) => sink.rows(accepted, range, self.json.as_ref())?,
            Encoder::Parquet(sink) => sink.rows(accepted, range, self.json.as_ref())?,
            Encoder::Arrow(sink) => sink.rows(accepted, range, self.json.as_ref())?,
        };
        Ok(Rows { body, failed })
    }

    /// Writes a whole shard, such that the file is a valid one of its format by itself. The names
    /// of the columns stand in the first shard only where the format has them once.
    pub(crate) fn write_shard(
        &self,
        shard: &OpenShard,
        position: Position,
        out: &mut (dyn Write + Send),
    ) -> std::io::Result<()> {
        match &self.encoder {
            Encoder::Text(sink) => {
                let header = if position == Position::First {
                    sink.header()
                } else {
                    &[]
                };
                packed(self.format.compression(), &[header, shard.text()], out)
            }
            Encoder::Parquet(sink) => sink.write_shard(shard.batches(), out),
            Encoder::Arrow(sink) => sink.write_shard(shard.batches(), out),
        }
    }

    /// What comes before the first row of a stream.
    pub(crate) fn header(&self) -> &[u8] {
        match &self.encoder {
            Encoder::Text(sink) => sink.header(),
            Encoder::Parquet(_) | Encoder::Arrow(_) => &[],
        }
    }

    /// The Arrow schema of a Parquet output.
    pub(crate) fn parquet_schema(&self) -> Option<arrow_schema::SchemaRef> {
        match &self.encoder {
            Encoder::Text(_) | Encoder::Arrow(_) => None,
            Encoder::Parquet(sink) => Some(sink.schema()),
        }
    }

    /// The schema of an Arrow output.
    pub(crate) fn arrow_schema(&self) -> Option<arrow_schema::SchemaRef> {
        match &self.encoder {
            Encoder::Text(_) | Encoder::Parquet(_) => None,
            Encoder::Arrow(sink) => Some(sink.schema()),
        }
    }

    /// What passes through, and what an input's column of errors says of each row; nothing where it says
    /// nothing.
    fn without_errors<'a>(
        &self,
        chunk: &'a Chunk,
    ) -> Result<(Cow<'a, Carried>, Earlier<'a>), DataError> {
        let carried = &chunk.carried;
        match carried {
            Carried::Json(rows) => {
                let said = |row: &'a Option<JsonRow>| decode(row.as_ref()?.get(ERROR_COLUMN)?);
                // What else stands there is a misfit.
                let ours = |text: &Cow<'_, str>| RowError::is_told_by(text);
                let errors = rows.iter().map(|row| said(row).filter(ours));
                // That key gives way where the row is written.
                Ok((Cow::Borrowed(carried), errors.collect()))
            }
            Carried::Table(batch) if self.has_errors => {
                let mut batch = batch.clone();
                let Some((at, _)) = batch.schema_ref().column_with_name(ERROR_COLUMN) else {
                    return Ok((Cow::Borrowed(carried), Vec::new()));
                };
                let column = batch.remove_column(at);
                let errors: Earlier<'_> = (0..column.len())
                    .map(|row| earlier_error(chunk, &column, row))
                    .collect::<Result<_, _>>()?;
                Ok((Cow::Owned(Carried::Table(batch)), errors))
            }
            Carried::Table(_) => Ok((Cow::Borrowed(carried), Vec::new())),
        }
    }

    fn check(&self, chunk: &Chunk, answers: &AnswerColumns) -> Result<(), DataError> {
        let refuse = |reason: String| Err(DataError::Answers { reason });
        let rows = chunk.len();
        if answers.errors.len() != rows {
            return refuse(format!("{} errors for {rows} rows", answers.errors.len()));
        }
        if answers.columns.len() != self.answers.len() {
            let (given, expected) = (answers.columns.len(), self.answers.len());
            return refuse(format!("{given} columns where the job has {expected}"));
        }
        for (expected, (field, array)) in self.answers.iter().zip(&answers.columns) {
            let name = expected.name();
            if field.name() != name || array.data_type() != expected.data_type() {
                let (expected, given) = (expected.data_type(), array.data_type());
                return refuse(format!(
                    "`{name}` of type {expected} is due, not `{}` of type {given}",
                    field.name()
                ));
            }
            if array.len() != rows {
                return refuse(format!(
                    "`{name}` has {} values for {rows} rows",
                    array.len()
                ));
            }
        }
        let carried = match &chunk.carried {
            Carried::Table(batch) => batch.num_rows(),
            Carried::Json(rows) => rows.len(),
        };
        if carried != rows {
            return refuse(format!("{carried} rows pass through beside {rows} rows"));
        }
        if let Carried::Table(batch) = &chunk.carried
            && batch.num_columns() != self.carried.fields().len() + usize::from(self.has_errors)
        {
            let (given, expected) = (batch.num_columns(), self.carried.fields().len());
            return refuse(format!(
                "{given} columns pass through where the job has {expected}"
            ));
        }
        if matches!(chunk.carried, Carried::Json(_)) != self.json.is_some() {
            return refuse("the chunk is of another source than the job".to_owned());
        }
        Ok(())
    }
}

/// What an input's column of errors says of each row.
type Earlier<'a> = Vec<Option<Cow<'a, str>>>;

/// What a table's column of errors says of a row. All else than errors would be lost there.
fn earlier_error<'a>(
    chunk: &Chunk,
    column: &dyn Array,
    row: usize,
) -> Result<Option<Cow<'a, str>>, DataError> {
    let mut text = Vec::new();
    cells::write_text(column, row, &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.as_str() {
        "" => Ok(None),
        told if RowError::is_told_by(told) => Ok(Some(Cow::Owned(text))),
        other => Err(DataError::ForeignError {
            place: chunk.place(row).to_string(),
            value: excerpt(other),
        }),
    }
}

/// Where a shard stands in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    First,
    Later,
}

/// The row's own error, else the answer's; a misfit joins in.
fn row_error<'a>(
    chunk: &'a Chunk,
    answers: &'a AnswerColumns,
    misfit: Option<&'a RowError>,
    at: usize,
) -> Option<Cow<'a, RowError>> {
    let own = chunk.rows[at].as_ref().err();
    let first = own.or(answers.errors[at].as_ref());
    match (first, misfit) {
        (Some(error), Some(misfit)) => Some(Cow::Owned(RowError {
            code: error.code,
            message: format!("{}; besides, {misfit}", error.message),
        })),
        (error, misfit) => error.or(misfit).map(Cow::Borrowed),
    }
}

/// The new error with what an earlier job said of the row.
fn with_earlier(new: Option<String>, earlier: Option<&str>) -> Option<String> {
    match (new, earlier) {
        (Some(new), Some(earlier)) => Some(format!("{new}; before: {earlier}")),
        (new, earlier) => new.or(earlier.map(str::to_owned)),
    }
}

/// Whether the input may have a column of errors as outputs have it: texts, whose form is looked at row by
/// row. A column of that name with other values is something else, and no place is left for it.
fn has_errors(carried: &CarriedColumns) -> bool {
    let fields = carried.fields();
    let Some(at) = fields.iter().position(|f| f.name() == ERROR_COLUMN) else {
        return false;
    };
    match carried.kinds().and_then(|kinds| kinds.get(at)) {
        Some(kind) => matches!(kind, JsonKind::Null | JsonKind::Text),
        None => matches!(
            fields[at].data_type(),
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ),
    }
}

/// Refuses answers that could not be told from one another, or from the column of errors.
fn refuse_answers(answers: &[Field]) -> Result<(), DataError> {
    let mut seen = HashSet::from([ERROR_COLUMN]);
    match answers.iter().find(|field| !seen.insert(field.name())) {
        None => Ok(()),
        Some(twice) => Err(DataError::Answers {
            reason: format!(
                "the output would have two columns called `{}`; rename the input's",
                twice.name()
            ),
        }),
    }
}

fn refuse_collisions(carried: &CarriedColumns, taken: &[String]) -> Result<(), DataError> {
    let names: Vec<&String> = carried
        .fields()
        .iter()
        .map(Field::name)
        .filter(|name| taken.contains(name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let bare: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    Err(DataError::NameCollision {
        names: list_names(&quoted),
        drop: bare.join(" --drop "),
    })
}

/// The type of the error column.
pub(crate) fn error_field() -> Field {
    Field::new(ERROR_COLUMN, DataType::Utf8, true)
}
