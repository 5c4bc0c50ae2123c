//! Rows of Parquet: only the columns that are wanted, a few rows at a time.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};

use crate::guard::guarded;
use crate::row::Within;
use crate::source::assembly::Assembly;
use crate::source::columns::Selection;
use crate::source::files::InputFile;
use crate::source::parquet_lenient::{as_declared, is_about_utf8, without_strings};
use crate::source::spec::InputLimits;
use crate::source::stream::{PARQUET_NEEDS_A_FILE, compression, peek};
use crate::source::text_cell::{Cell, row_text};
use crate::source::{RowReader, Step};
use crate::{Compression, DataError};

/// A Parquet file whose footer was read.
pub(crate) struct ParquetFile {
    name: Arc<str>,
    file: File,
    bytes: u64,
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    /// Reads the footer.
    pub(crate) fn open(input: &InputFile) -> Result<ParquetFile, DataError> {
        let Some(path) = input.path() else {
            return Err(DataError::UnreadableFormat {
                path: input.name.to_string(),
                reason: PARQUET_NEEDS_A_FILE.to_owned(),
            });
        };
        let mut file = File::open(path).map_err(|error| DataError::opening(&input.name, &error))?;
        let (magic, _) =
            peek(&mut file, 4).map_err(|error| DataError::opening(&input.name, &error))?;
        if compression(&magic) != Compression::None {
            return Err(DataError::UnreadableFormat {
                path: input.name.to_string(),
                reason: PARQUET_NEEDS_A_FILE.to_owned(),
            });
        }
        let metadata = guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))
            .map_err(|reason| DataError::Read {
                file: input.name.to_string(),
                place: "its beginning".to_owned(),
                reason: format!("not a whole Parquet file: {reason}; copy or write it again"),
            })?;
        Ok(ParquetFile {
            name: Arc::clone(&input.name),
            file,
            bytes: input.bytes,
            metadata,
        })
    }

    /// The columns.
    pub(crate) fn fields(&self) -> Vec<Field> {
        self.metadata
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect()
    }

    /// Number of rows.
    pub(crate) fn row_count(&self) -> u64 {
        let groups = self.metadata.metadata().row_groups();
        groups
            .iter()
            .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
            .sum()
    }

    /// The rows, of the chosen columns.
    pub(crate) fn rows(
        self,
        selection: &Selection,
        carried: &SchemaRef,
        (chunk_rows, limits): (usize, InputLimits),
        read: &Arc<AtomicU64>,
    ) -> ParquetRows {
        let mut roots: Vec<usize> = selection.carried.clone();
        roots.push(selection.text);
        roots.extend(selection.pair);
        roots.sort_unstable();
        roots.dedup();
        // The reader gives the wanted columns in the file's order.
        let at = |column: usize| roots.iter().position(|root| *root == column).unwrap_or(0);
        let projected = Selection {
            text: at(selection.text),
            pair: selection.pair.map(at),
            carried: selection.carried.iter().map(|&column| at(column)).collect(),
        };
        let names = [Some(selection.text), selection.pair]
            .map(|column| column.map(|at| self.metadata.schema().field(at).name().clone()));
        let batch_rows = self.batch_rows(&roots, chunk_rows, limits.chunk_bytes);
        ParquetRows {
            source: self,
            roots,
            projected,
            names,
            carried: Arc::clone(carried),
            batch_rows,
            reader: None,
            pending: None,
            next: 0,
            lenient: false,
            read: Arc::clone(read),
            counted: 0,
        }
    }

    /// Rows of a batch such that the wanted columns of the largest rows fit `bytes`.
    fn batch_rows(&self, roots: &[usize], chunk_rows: usize, bytes: usize) -> usize {
        let metadata = self.metadata.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let bytes_per_row = metadata.row_groups().iter().map(|group| {
            let wanted = (0..group.num_columns())
                .filter(|&leaf| roots.contains(&schema.get_column_root_idx(leaf)))
                .map(|leaf| group.column(leaf).uncompressed_size().max(0) as u64)
                .sum::<u64>();
            wanted / group.num_rows().max(1) as u64
        });
        let largest = bytes_per_row.max().unwrap_or(0).max(1);
        let fitting = usize::try_from(bytes as u64 / largest).unwrap_or(usize::MAX);
        fitting.clamp(1, chunk_rows)
    }
}

/// The rows of one Parquet file.
pub(crate) struct ParquetRows {
    source: ParquetFile,
    roots: Vec<usize>,
    projected: Selection,
    /// Names of text and pair.
    names: [Option<String>; 2],
    carried: SchemaRef,
    batch_rows: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows that were read but did not fit the last chunk.
    pending: Option<RecordBatch>,
    /// Rows of this file given out or skipped so far.
    next: u64,
    /// Whether strings are read as bytes, as some are not UTF-8.
    lenient: bool,
    /// The bytes read of the whole input, and how many of this file are counted in it.
    read: Arc<AtomicU64>,
    counted: u64,
}

impl ParquetRows {
    fn failed(&self, reason: &str) -> DataError {
        DataError::Read {
            file: self.source.name.to_string(),
            place: format!("row {} of it", self.next),
            reason: format!("{reason}; write or copy the file again"),
        }
    }

    /// A reader from row `next` on: whole row groups are left out, the rest is skipped in pages.
    fn reader(&self) -> Result<ParquetRecordBatchReader, DataError> {
        let mut before = self.next;
        let mut groups = Vec::new();
        for (at, group) in self
            .source
            .metadata
            .metadata()
            .row_groups()
            .iter()
            .enumerate()
        {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if groups.is_empty() && before >= rows {
                before -= rows;
            } else {
                groups.push(at);
            }
        }
        let file = self
            .source
            .file
            .try_clone()
            .map_err(|e| self.failed(&e.to_string()))?;
        let metadata = self.source.metadata.clone();
        let schema = metadata.metadata().file_metadata().schema_descr_ptr();
        let mask = ProjectionMask::roots(&schema, self.roots.iter().copied());
        let offset = usize::try_from(before).unwrap_or(usize::MAX);
        guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_projection(mask)
                .with_row_groups(groups)
                .with_offset(offset)
                .with_batch_size(self.batch_rows)
                .build()
        })
        .map_err(|reason| self.failed(&reason))
    }

    /// Counts bytes by the share of the rows: the reader jumps about in the file.
    fn count_bytes(&mut self) {
        let rows = self.source.row_count().max(1) as f64;
        let done = (self.source.bytes as f64 * (self.next as f64 / rows)) as u64;
        self.read
            .fetch_add(done.saturating_sub(self.counted), Ordering::Relaxed);
        self.counted = done;
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, DataError> {
        if let Some(batch) = self.pending.take() {
            return Ok(Some(batch));
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.reader()?,
        };
        match guarded(|| reader.next().transpose()) {
            Ok(batch) => {
                self.reader = Some(reader);
                Ok(batch)
            }
            // One row that is not UTF-8 is no reason to lose all that follow.
            Err(reason) if !self.lenient && is_about_utf8(&reason) => {
                let metadata = guarded(|| without_strings(&self.source.metadata));
                self.source.metadata = metadata.map_err(|reason| self.failed(&reason))?;
                self.lenient = true;
                self.next_batch()
            }
            Err(reason) => Err(self.failed(&reason)),
        }
    }
}

impl RowReader for ParquetRows {
    fn read(&mut self, into: &mut Assembly) -> Result<Step, DataError> {
        let Some(mut batch) = self.next_batch()? else {
            return Ok(Step::End);
        };
        let room = into.room();
        if batch.num_rows() > room {
            self.pending = Some(batch.slice(room, batch.num_rows() - room));
            batch = batch.slice(0, room);
        }
        let column = |at: usize| {
            without_dictionary(batch.column(at)).map_err(|error| self.failed(&error.to_string()))
        };
        let text = column(self.projected.text)?;
        let pair = self.projected.pair.map(column).transpose()?;
        let [text_name, pair_name] = &self.names;
        let text_name = text_name.as_deref().unwrap_or_default();
        let limit = into.limits().row_bytes;
        for row in 0..batch.num_rows() {
            let within = Within::Row(self.next + row as u64 + 1);
            let place = into.place(&self.source.name, within);
            let second = pair
                .as_ref()
                .map(|array| (pair_name.as_deref().unwrap_or_default(), cell(array, row)));
            let row = row_text(&place, limit, (text_name, cell(&text, row)), second);
            into.push(&self.source.name, within, row);
        }
        let fields = self.carried.fields().iter();
        let columns = fields
            .zip(&self.projected.carried)
            .map(|(field, &at)| as_declared(batch.column(at), field.data_type()))
            .collect::<Result<Vec<ArrayRef>, ArrowError>>()
            .map_err(|error| self.failed(&error.to_string()))?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let carried =
            RecordBatch::try_new_with_options(Arc::clone(&self.carried), columns, &options)
                .map_err(|error| self.failed(&error.to_string()))?;
        self.next += batch.num_rows() as u64;
        self.count_bytes();
        into.push_batch(carried);
        Ok(Step::Read)
    }

    fn pass_over(&mut self) -> Result<Step, DataError> {
        Ok(match self.skip(1)? {
            0 => Step::End,
            _ => Step::Read,
        })
    }

    fn skip(&mut self, rows: u64) -> Result<u64, DataError> {
        let left = self.source.row_count() - self.next;
        let skipped = rows.min(left);
        self.next += skipped;
        self.count_bytes();
        self.reader = None;
        self.pending = None;
        Ok(skipped)
    }
}

/// A dictionary's values, one for each row; other arrays as they are.
fn without_dictionary(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, value) => arrow_cast::cast(array, value),
        _ => Ok(Arc::clone(array)),
    }
}

/// The bytes of one row of a string or binary column.
fn cell(array: &ArrayRef, row: usize) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Missing;
    }
    match array.data_type() {
        DataType::Utf8 => Cell::Bytes(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => Cell::Bytes(array.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => Cell::Bytes(array.as_string_view().value(row).as_bytes()),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Cell::Bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => Cell::Bytes(array.as_binary_view().value(row)),
        // The choice of the text column lets no other type through.
        _ => Cell::Missing,
    }
}
