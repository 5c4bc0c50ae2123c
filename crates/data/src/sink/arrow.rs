//! Rows as an Arrow IPC file, which other programs map into memory as it is.
//!
//! Each shard is one record batch, so that where batches end depends on rows alone. Dictionaries are
//! written out: a file's batches share one, and shards know nothing of one another.

use std::fs::File;
use std::io::{BufReader, Write};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use crate::DataError;
use crate::chunk::CarriedColumns;
use crate::sink::json_columns::JsonColumns;
use crate::sink::parquet::record_batch;
use crate::sink::size::row_sizes;
use crate::sink::{Accepted, RowsBody, error_field};

/// Encodes rows as columns.
pub(crate) struct ArrowSink {
    /// As the columns come, and as they are written.
    given: SchemaRef,
    written: SchemaRef,
}

impl ArrowSink {
    pub(crate) fn new(carried: &CarriedColumns, answers: &[Field]) -> ArrowSink {
        let mut fields = carried.fields().to_vec();
        fields.extend(answers.iter().cloned());
        fields.push(error_field());
        let plain = |field: &Field| match field.data_type() {
            DataType::Dictionary(_, values) => {
                field.clone().with_data_type(values.as_ref().clone())
            }
            _ => field.clone(),
        };
        let written: Vec<Field> = fields.iter().map(plain).collect();
        ArrowSink {
            given: Arc::new(Schema::new(fields)),
            written: Arc::new(Schema::new(written)),
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.written)
    }

    /// The columns of rows `range`.
    pub(crate) fn rows(
        &self,
        accepted: &Accepted<'_>,
        range: Range<usize>,
        columns: Option<&JsonColumns>,
    ) -> Result<RowsBody, DataError> {
        let batch = record_batch(&self.given, accepted, range, columns)?;
        let cast =
            |(array, field): (&ArrayRef, &Arc<Field>)| arrow_cast::cast(array, field.data_type());
        let arrays: Result<Vec<_>, ArrowError> = batch
            .columns()
            .iter()
            .zip(self.written.fields())
            .map(cast)
            .collect();
        let batch = arrays.and_then(|arrays| RecordBatch::try_new(self.schema(), arrays));
        let batch = batch.map_err(|error| DataError::Answers {
            reason: error.to_string(),
        })?;
        let sizes = row_sizes(&batch);
        Ok(RowsBody::Batch { batch, sizes })
    }

    /// Writes a file of one batch.
    pub(crate) fn write_shard(
        &self,
        batches: &[RecordBatch],
        out: &mut (dyn Write + Send),
    ) -> std::io::Result<()> {
        let mut writer = FileWriter::try_new(out, &self.written).map_err(io_error)?;
        write_batch(&mut writer, &self.written, batches)?;
        writer.finish().map_err(io_error)
    }
}

/// A writer of a whole file of these columns, for outputs that are written in one go.
pub(crate) fn writer<W: Write>(out: W, schema: &SchemaRef) -> std::io::Result<FileWriter<W>> {
    FileWriter::try_new(out, schema).map_err(io_error)
}

/// Writes `batches` as one; nothing where they have no row.
pub(crate) fn write_batch<W: Write>(
    writer: &mut FileWriter<W>,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> std::io::Result<()> {
    let whole = arrow_select::concat::concat_batches(schema, batches.iter()).map_err(io_error)?;
    match whole.num_rows() {
        0 => Ok(()),
        _ => writer.write(&whole).map_err(io_error),
    }
}

/// Joins the batches of `shards` into one file.
pub(crate) fn join<W: Write>(
    shards: impl Iterator<Item = std::io::Result<File>>,
    out: W,
) -> std::io::Result<()> {
    let mut out = Some(out);
    let mut writer: Option<FileWriter<W>> = None;
    for shard in shards {
        let reader = FileReader::try_new(BufReader::new(shard?), None).map_err(io_error)?;
        if let Some(out) = out.take() {
            writer = Some(FileWriter::try_new(out, &reader.schema()).map_err(io_error)?);
        }
        let Some(writer) = &mut writer else { continue };
        for batch in reader {
            writer.write(&batch.map_err(io_error)?).map_err(io_error)?;
        }
    }
    match &mut writer {
        Some(writer) => writer.finish().map_err(io_error),
        None => Ok(()),
    }
}

/// The system's error within Arrow's, where there is one: a full disk must stay known as a full disk.
pub(crate) fn io_error(error: ArrowError) -> std::io::Error {
    match error {
        ArrowError::IoError(_, io) => io,
        other => std::io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{Array, DictionaryArray, RecordBatchOptions};

    use super::*;
    use crate::chunk::{Carried, Chunk, Places};
    use crate::{AnswerColumns, SinkFormat};

    /// Columns of categories would end a job half way, or rows get lost between shards.
    #[test]
    fn shards_with_other_dictionaries_are_joined() {
        let kinds = |names: &[&str]| -> DictionaryArray<Int32Type> {
            names.iter().map(|name| Some(*name)).collect()
        };
        let field = Field::new("kind", kinds(&["a"]).data_type().clone(), true);
        let carried = CarriedColumns::table(vec![field.clone()]);
        let format = SinkFormat::new(crate::Format::Arrow, crate::Compression::None).unwrap();
        let sink = crate::sink::Sink::new(format, &carried, &[]).unwrap();
        let shards = [&["a", "b"][..], &["b", "c", "c"], &[]].map(|names| {
            let schema = Arc::new(Schema::new(vec![field.clone()]));
            let options = RecordBatchOptions::new().with_row_count(Some(names.len()));
            let columns: Vec<ArrayRef> = vec![Arc::new(kinds(names))];
            let batch = RecordBatch::try_new_with_options(schema, columns, &options).unwrap();
            let text = crate::RowText {
                text: String::new(),
                pair: None,
            };
            let chunk = Chunk {
                first_row: 0,
                rows: vec![Ok(text); names.len()],
                carried: Carried::Table(batch),
                places: Places::default(),
            };
            let answers = AnswerColumns {
                columns: Vec::new(),
                errors: vec![None; names.len()],
            };
            let accepted = sink.accept(&chunk, &answers).unwrap();
            let arrow = ArrowSink::new(&carried, &[]);
            let RowsBody::Batch { batch, .. } =
                arrow.rows(&accepted, 0..names.len(), None).unwrap()
            else {
                panic!("columns");
            };
            let mut file = tempfile::tempfile().unwrap();
            arrow.write_shard(&[batch], &mut file).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            Ok(file)
        });
        let mut whole = Vec::new();
        join(shards.into_iter(), &mut whole).unwrap();
        let reader = FileReader::try_new(std::io::Cursor::new(whole), None).unwrap();
        let found: Vec<String> = reader
            .flat_map(|batch| {
                let batch = batch.unwrap();
                let names = batch.column(0).as_string::<i32>();
                names
                    .iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, ["a", "b", "b", "c", "c"]);
    }
}
