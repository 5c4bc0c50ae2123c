//! Rows as JSON Lines, CSV or TSV.

use std::io::{self, Write};
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::Field;

use crate::chunk::{Carried, CarriedColumns};
use crate::json_row::JsonRow;
use crate::sink::cells::{json, write_json, write_text};
use crate::sink::json_columns::{JsonColumns, cell_text};
use crate::sink::{Accepted, ERROR_COLUMN, RowsBody, is_json};
use crate::{Compression, DataError, Format, SinkFormat};

/// Encodes rows as lines of text.
pub(crate) struct TextSink {
    layout: Layout,
    header: Vec<u8>,
    /// For JSON: each carried column's and each answer's name with its colon.
    carried_keys: Vec<Vec<u8>>,
    answer_keys: Vec<Vec<u8>>,
    error_key: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Layout {
    Json,
    Delimited(u8),
}

impl TextSink {
    pub(crate) fn new(format: SinkFormat, carried: &CarriedColumns, answers: &[Field]) -> TextSink {
        let layout = match format.format() {
            Format::Csv => Layout::Delimited(b','),
            Format::Tsv => Layout::Delimited(b'\t'),
            Format::Jsonl | Format::Lines | Format::Parquet | Format::Arrow => Layout::Json,
        };
        let names = carried
            .fields()
            .iter()
            .chain(answers)
            .map(|field| field.name().as_str());
        let header = match layout {
            Layout::Json => Vec::new(),
            Layout::Delimited(delimiter) => {
                let mut writer = delimited(delimiter);
                let names: Vec<&str> = names.chain([ERROR_COLUMN]).collect();
                // Writing into memory has no way to fail.
                let _ = writer.write_record(&names);
                writer.into_inner().unwrap_or_default()
            }
        };
        let keys = |fields: &[Field]| fields.iter().map(|field| key(field.name())).collect();
        TextSink {
            layout,
            header,
            carried_keys: keys(carried.fields()),
            answer_keys: keys(answers),
            error_key: key(ERROR_COLUMN),
        }
    }

    /// The line of column names, where the format has one.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The lines of rows `range`.
    pub(crate) fn rows(
        &self,
        accepted: &Accepted<'_>,
        range: Range<usize>,
        columns: Option<&JsonColumns>,
    ) -> Result<RowsBody, DataError> {
        match self.layout {
            Layout::Json => Ok(self.json_rows(accepted, range, columns)),
            Layout::Delimited(delimiter) => delimited_rows(delimiter, accepted, range, columns)
                .map_err(|error| DataError::Answers {
                    reason: error.to_string(),
                }),
        }
    }

    fn json_rows(
        &self,
        accepted: &Accepted<'_>,
        range: Range<usize>,
        columns: Option<&JsonColumns>,
    ) -> RowsBody {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(range.len());
        for at in range {
            let mut object = Object::open(&mut bytes);
            match accepted.carried.as_ref() {
                Carried::Table(batch) => self.put_columns(batch, at, &mut object),
                Carried::Json(rows) => put_members(rows[at].as_ref(), columns, &mut object),
            }
            for (key, (field, array)) in self.answer_keys.iter().zip(&accepted.answers.columns) {
                let out = object.member(key);
                match array.as_string_opt::<i32>() {
                    Some(texts) if is_json(field) && texts.is_valid(at) => {
                        out.extend_from_slice(texts.value(at).as_bytes());
                    }
                    _ => write_json(array, at, out),
                }
            }
            if let Some(error) = &accepted.errors[at] {
                json(error, object.member(&self.error_key));
            }
            object.close();
            ends.push(bytes.len());
        }
        RowsBody::Text { bytes, ends }
    }

    fn put_columns(&self, batch: &RecordBatch, at: usize, object: &mut Object<'_>) {
        for (key, array) in self.carried_keys.iter().zip(batch.columns()) {
            write_json(array, at, object.member(key));
        }
    }
}

/// The members of the input's object as they were, but for those whose name an answer bears.
fn put_members(row: Option<&JsonRow>, columns: Option<&JsonColumns>, object: &mut Object<'_>) {
    for (raw_key, name, raw) in row.into_iter().flat_map(JsonRow::raw_members) {
        if columns.is_some_and(|columns| columns.is_taken(&name)) {
            continue;
        }
        let out = object.member(raw_key.as_bytes());
        out.push(b':');
        out.extend_from_slice(raw.as_bytes());
    }
}

/// A JSON object on one line, being written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Writes `key` and gives the place for the value.
    fn member(&mut self, key: &[u8]) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.extend_from_slice(key);
        self.out
    }

    fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

fn key(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json(name, &mut out);
    out.push(b':');
    out
}

fn delimited(delimiter: u8) -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new()
        .delimiter(delimiter)
        .from_writer(Vec::new())
}

fn delimited_rows(
    delimiter: u8,
    accepted: &Accepted<'_>,
    range: Range<usize>,
    columns: Option<&JsonColumns>,
) -> csv::Result<RowsBody> {
    let mut writer = delimited(delimiter);
    let mut ends = Vec::with_capacity(range.len());
    let mut cell = Vec::new();
    for at in range {
        let error = accepted.errors[at].as_deref().unwrap_or_default();
        let mut put = |fill: &mut dyn FnMut(&mut Vec<u8>)| {
            cell.clear();
            fill(&mut cell);
            writer.write_field(&cell)
        };
        match (accepted.carried.as_ref(), columns) {
            (Carried::Table(batch), _) => {
                for array in batch.columns() {
                    put(&mut |out| write_text(array, at, out))?;
                }
            }
            (Carried::Json(rows), Some(columns)) => {
                for raw in columns.slots(rows[at].as_ref()) {
                    put(&mut |out| raw.into_iter().for_each(|raw| cell_text(raw, out)))?;
                }
            }
            (Carried::Json(_), None) => {}
        }
        for (_, array) in &accepted.answers.columns {
            put(&mut |out| write_text(array, at, out))?;
        }
        put(&mut |out| out.extend_from_slice(error.as_bytes()))?;
        writer.write_record(None::<&[u8]>)?;
        writer.flush()?;
        ends.push(writer.get_ref().len());
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(RowsBody::Text { bytes, ends })
}

/// Writes `parts` one after the other, packed as one gzip member or Zstandard frame.
///
/// Members and frames may be put one after the other: so shards join without being unpacked.
pub(crate) fn packed(
    compression: Compression,
    parts: &[&[u8]],
    out: &mut dyn Write,
) -> io::Result<()> {
    let write_all = |out: &mut dyn Write| parts.iter().try_for_each(|part| out.write_all(part));
    match compression {
        Compression::None => write_all(out),
        Compression::Gzip => {
            // The header carries no time and no name: the same rows give the same bytes.
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            write_all(&mut encoder)?;
            encoder.finish().map(drop)
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            encoder.include_checksum(true)?;
            write_all(&mut encoder)?;
            encoder.finish().map(drop)
        }
    }
}
