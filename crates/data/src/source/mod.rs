//! Rows from files: [`Source`] reads any number of them, of any format, as one run of chunks.

mod assembly;
mod blocks;
mod bounded_lines;
mod columns;
mod csv;
mod csv_records;
mod files;
mod jsonl;
mod lines;
mod open;
mod parquet;
mod parquet_lenient;
mod pattern;
mod spec;
mod stream;
mod text_cell;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use blocks::{Block, BlockFacts, Blocks, Filled, Lengths, PlainText, rows};
pub use spec::{CarryText, ColumnChoice, InputLimits, InputSpec, SurveyDepth};
pub use stream::InputProgress;

use assembly::{Assembly, CarriedShape};
use files::InputFile;
use open::Opener;

use crate::chunk::{CarriedColumns, Chunk};
use crate::{DataError, Format};

/// What reading a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// At least one row.
    Read,
    /// Nothing: the file is at its end.
    End,
}

/// Rows of one file, whatever its format.
pub(crate) trait RowReader: Send {
    /// Adds at least one row, and at most as many as there is room for.
    fn read(&mut self, into: &mut Assembly) -> Result<Step, DataError>;

    /// Passes over one row.
    fn pass_over(&mut self) -> Result<Step, DataError>;

    /// Passes over up to `rows` rows and says over how many.
    fn skip(&mut self, rows: u64) -> Result<u64, DataError> {
        for skipped in 0..rows {
            if self.pass_over()? == Step::End {
                return Ok(skipped);
            }
        }
        Ok(rows)
    }
}

/// An iterator over the chunks of the input.
///
/// Rows keep the order of the files and of the rows within them; bad rows keep their place. Memory
/// is bounded by the chunk's rows and bytes, not by the files. Where a file breaks off, the rows
/// before that place come first, then the error, then nothing.
pub struct Source {
    files: Vec<InputFile>,
    opener: Opener,
    next_file: usize,
    current: Option<Box<dyn RowReader>>,
    chunk_rows: usize,
    limits: InputLimits,
    rows: u64,
    /// An error that waits until the rows before it are given out.
    failure: Option<DataError>,
    ended: bool,
    progress: InputProgress,
}

impl Source {
    /// Finds the files, agrees on the format and chooses the columns; reads no row yet.
    ///
    /// The headers of all files are checked here, so that a job does not fail at its last file.
    ///
    /// # Errors
    /// Every [`DataError`] about input: missing files, formats and columns.
    pub fn open(spec: &InputSpec) -> Result<Source, DataError> {
        let files = files::expand(&spec.paths)?;
        let progress = InputProgress {
            read: Arc::new(AtomicU64::new(0)),
            total: if files.iter().all(InputFile::is_repeatable) {
                files.iter().map(|file| file.bytes).sum()
            } else {
                0
            },
        };
        let opener = Opener::new(&files, spec, &progress.read)?;
        // Looking at headers and keys beforehand is not progress.
        progress.read.store(0, Ordering::Relaxed);
        Ok(Source {
            files,
            opener,
            next_file: 0,
            current: None,
            chunk_rows: spec.chunk_rows.max(1),
            limits: spec.limits,
            rows: 0,
            failure: None,
            ended: false,
            progress,
        })
    }

    /// The format of the files.
    #[must_use]
    pub fn format(&self) -> Format {
        self.opener.format()
    }

    /// Whether nothing but the first bytes told the format: neither the caller nor a file's name.
    #[must_use]
    pub fn format_is_guessed(&self) -> bool {
        self.opener.is_guessed()
    }

    /// Name of the text column, and of the pair column where there is one.
    #[must_use]
    pub fn text_columns(&self) -> (&str, Option<&str>) {
        self.opener.text_columns()
    }

    /// The columns that pass through.
    #[must_use]
    pub fn carried(&self) -> &CarriedColumns {
        self.opener.carried()
    }

    /// Number of rows in the whole input, where the format tells without reading all of it.
    #[must_use]
    pub fn row_count(&self) -> Option<u64> {
        self.opener.row_count()
    }

    /// How much has been read; stays valid while the source moves to another thread.
    #[must_use]
    pub fn progress(&self) -> InputProgress {
        self.progress.clone()
    }

    /// A hash (BLAKE3, hex) of the contents of all files in their order, whatever their names.
    ///
    /// `None` where standard input or a pipe is among them: it cannot be read twice, so a job over
    /// it cannot be continued. Reads all files once, at the disk's speed.
    ///
    /// # Errors
    /// [`DataError::Open`] where a file cannot be read.
    pub fn fingerprint(&self) -> Result<Option<String>, DataError> {
        self.fingerprint_unless(&|| false)
    }

    /// The same, given up as soon as `stop` says so.
    ///
    /// # Errors
    /// As [`fingerprint`](Self::fingerprint), and [`DataError::Stopped`].
    pub fn fingerprint_unless(&self, stop: &dyn Fn() -> bool) -> Result<Option<String>, DataError> {
        files::fingerprint(&self.files, stop)
    }

    /// Makes chunks smaller, for programs that know only after opening how much they make of a row: at most
    /// so many rows, and so many bytes where it is more than one row.
    pub fn limit_chunks(&mut self, rows: usize, bytes: usize) {
        self.chunk_rows = self.chunk_rows.min(rows).max(1);
        self.limits.chunk_bytes = self.limits.chunk_bytes.min(bytes);
        self.opener
            .limit_chunks(self.chunk_rows, self.limits.chunk_bytes);
    }

    /// Whether the input can be read again, as standard input and pipes cannot.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.files.iter().all(InputFile::is_repeatable)
    }

    /// The same input by the block, if its files' beginnings are those of plain text.
    ///
    /// # Errors
    /// [`DataError::Open`] where a file cannot be read.
    pub fn plain_text(&self) -> Result<Option<PlainText>, DataError> {
        PlainText::of(self)
    }

    /// Passes over the next `rows` rows, bad ones included, without making chunks of them.
    ///
    /// Returns how many there were: fewer than `rows` at the end of the input.
    ///
    /// # Errors
    /// [`DataError::Read`] where a file breaks off before.
    pub fn skip_rows(&mut self, rows: u64) -> Result<u64, DataError> {
        let mut left = rows;
        while left > 0 {
            let Some(reader) = self.reader()? else { break };
            let skipped = reader.skip(left)?;
            if skipped < left {
                self.end_file();
            }
            left -= skipped;
            self.rows += skipped;
        }
        Ok(rows - left)
    }

    /// The reader of the current file, or of the next one; `None` after the last.
    fn reader(&mut self) -> Result<Option<&mut Box<dyn RowReader>>, DataError> {
        if self.current.is_none() {
            let Some(file) = self.files.get(self.next_file) else {
                return Ok(None);
            };
            let reader = self
                .opener
                .open(self.next_file, file, &self.progress.read)?;
            self.current = Some(reader);
            self.next_file += 1;
        }
        Ok(self.current.as_mut())
    }

    fn end_file(&mut self) {
        self.current = None;
        // Formats that jump about in their file, such as Parquet, count their bytes here.
        let done: u64 = self.files[..self.next_file]
            .iter()
            .map(|file| file.bytes)
            .sum();
        self.progress.read.store(done, Ordering::Relaxed);
    }

    /// Reads rows until the chunk is full, the input ends or breaks off.
    fn fill(&mut self, assembly: &mut Assembly) -> Result<(), DataError> {
        while assembly.room() > 0 {
            let Some(reader) = self.reader()? else { break };
            if reader.read(assembly)? == Step::End {
                self.end_file();
            }
        }
        Ok(())
    }
}

impl Iterator for Source {
    type Item = Result<Chunk, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let shape: &CarriedShape = self.opener.shape();
        let mut assembly = Assembly::new(shape, self.rows, self.chunk_rows, self.limits);
        if self.failure.is_none() {
            self.failure = self.fill(&mut assembly).err();
        }
        if assembly.is_empty() {
            self.ended = true;
            return self.failure.take().map(Err);
        }
        self.rows = assembly.next_row();
        Some(assembly.finish().map_err(|error| {
            self.ended = true;
            DataError::Read {
                file: self
                    .files
                    .first()
                    .map_or_else(String::new, |f| f.name.to_string()),
                place: format!("row {}", self.rows),
                reason: error.to_string(),
            }
        }))
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("files", &self.files)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
