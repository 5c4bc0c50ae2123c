//! Rows into columns beside those that pass through: the edited text, spans, ids.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arrow_array::builder::{StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, UInt16Array, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use data::{AnswerColumns, Carried, Chunk, Job, RowError, Source};
use text::augment::Edited;

use super::chunks::Chunks;
use super::clock::Stage;
use super::edits::Counts;
use super::ending::{self, Fault};
use super::ordered;
use super::spans::{self, Span, SpanColumn};
use super::tally::Tally;
use super::tokens::{Cut, Tokens};
use super::{Ended, Rows};
use crate::args::{IdType, OnError};
use crate::stopping::{first_error, misfit};

/// Number of the row in the input, from 1; of a part of a split file as `--first-row` says.
const SOURCE_ROW: &str = "source_row";
/// 0 for the row as it was, else the number of the edited copy.
const COPY: &str = "copy";
/// Token ids.
const IDS: &str = "ids";

/// Bytes of all versions of a row together: they are in memory at once, and a column tells its texts' places with
/// 31 bits, of which edits may fill more than the row's own text does.
const VERSIONS_BYTES: usize = 256 << 20;

/// Which columns are written, and how.
pub(super) struct Columns<'a> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) tokens: Option<&'a Tokens>,
    pub(super) ids: IdColumn,
    /// Name of the column of text, where it is edited.
    pub(super) text: Option<String>,
    pub(super) spans: Option<SpanColumn>,
}

/// The form of the ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdColumn {
    pub(super) dtype: IdType,
    /// With the padding; lists as long as they are without.
    pub(super) width: Option<(usize, u32)>,
}

/// What a thread makes of a chunk.
#[derive(Default)]
struct Piece {
    written: Option<(Chunk, AnswerColumns)>,
    counts: Counts,
    cut: u64,
    failed: Vec<&'static str>,
    scratch: Edited,
}

/// A chunk's columns while they grow.
#[derive(Default)]
struct Growing {
    text: StringBuilder,
    /// With the row of the chunk that they come from.
    spans: Vec<(usize, Option<Vec<Span>>)>,
    source_row: UInt64Builder,
    copy: UInt32Builder,
    ids: Vec<u32>,
    lengths: Vec<usize>,
    present: Vec<bool>,
    errors: Vec<Option<RowError>>,
    tokenizing: Duration,
}

impl IdColumn {
    fn field(self) -> Field {
        let item = Arc::new(self.item());
        Field::new(
            IDS,
            match self.width {
                Some((width, _)) => DataType::FixedSizeList(item, width as i32),
                None => DataType::List(item),
            },
            true,
        )
    }

    fn item(self) -> Field {
        let kind = match self.dtype {
            IdType::U16 => DataType::UInt16,
            IdType::U32 => DataType::UInt32,
        };
        Field::new("item", kind, true)
    }

    fn array(
        self,
        ids: Vec<u32>,
        lengths: Vec<usize>,
        present: Vec<bool>,
    ) -> anyhow::Result<ArrayRef> {
        let items: ArrayRef = match self.dtype {
            // That they fit was checked with the vocabulary.
            IdType::U16 => Arc::new(UInt16Array::from_iter_values(
                ids.into_iter().map(|id| id as u16),
            )),
            IdType::U32 => Arc::new(UInt32Array::from(ids)),
        };
        let present: NullBuffer = present.into();
        let item = Arc::new(self.item());
        Ok(match self.width {
            Some((width, _)) => Arc::new(FixedSizeListArray::try_new(
                item,
                width as i32,
                items,
                Some(present),
            )?),
            None => Arc::new(ListArray::try_new(
                item,
                OffsetBuffer::from_lengths(lengths),
                items,
                Some(present),
            )?),
        })
    }
}

impl Columns<'_> {
    /// Name and type of each column that is added.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(text) = &self.text {
            fields.push(Field::new(text, DataType::Utf8, true));
            fields.extend(self.spans.as_ref().map(SpanColumn::field));
            fields.push(Field::new(SOURCE_ROW, DataType::UInt64, true));
            fields.push(Field::new(COPY, DataType::UInt32, true));
        }
        if self.tokens.is_some() {
            fields.push(self.ids.field());
        }
        fields
    }

    /// Writes all rows, or those that are left of an earlier run.
    pub(super) fn write(
        &self,
        mut job: Job,
        mut source: Source,
        tally: &mut Tally,
    ) -> anyhow::Result<Ended> {
        let per_row = self.rows.per_row as u64;
        let done = job.rows_done();
        let clock = self.rows.clock;
        let stop = self.rows.plan.output.on_error == OnError::Stop;
        let mut fault = Fault::Input;
        if let (Some(_), Some((width, _))) = (self.tokens, self.ids.width) {
            let bytes = self.rows.per_row * width * size_of::<u32>();
            source.limit_chunks((super::PIECE_BYTES / bytes.max(1)).max(1), usize::MAX);
        }
        // A shard may end between the versions of a row.
        let mut dropped = (done % per_row) as usize;
        let watch = self.rows.watch(source.progress(), done);
        let take = |piece: &mut Piece| {
            let (mut chunk, mut answers) = piece.written.take().context("nothing was made")?;
            if dropped > 0 {
                chunk.drop_first(dropped);
                answers.errors.drain(..dropped);
                for (_, array) in &mut answers.columns {
                    *array = array.slice(dropped, array.len() - dropped);
                }
                dropped = 0;
            }
            if stop && let Some(error) = first_error(&chunk, &answers) {
                fault = Fault::Row(error);
                bail!("a bad row");
            }
            // So too where it panics.
            fault = Fault::Output;
            let result = clock.time(Stage::Write, || job.write(&chunk, &answers));
            let written = result?;
            fault = Fault::Input;
            tally.rows += written.rows;
            piece.failed.drain(..).for_each(|code| tally.failed(code));
            tally.cut += std::mem::take(&mut piece.cut);
            tally.counts.take(&mut piece.counts);
            watch.wrote(written.rows, job.failed_rows());
            if stop && let Some(error) = misfit(&chunk, written) {
                fault = Fault::Row(error);
                bail!("a value without a place");
            }
            Ok(())
        };
        let (threads, interrupt) = (self.rows.plan.threads, self.rows.interrupt);
        let mut chunks = Chunks::of(source, done / per_row);
        let next = |chunk: &mut Option<Chunk>, is_over: &dyn Fn() -> bool| {
            *chunk = chunks.next(is_over, clock, Stage::Read)?;
            Ok(chunk.is_some())
        };
        let work = |chunk: &mut Option<Chunk>, piece: &mut Piece| {
            let chunk = chunk.take().context("there is no chunk")?;
            self.chunk(chunk, piece)
        };
        let ended = ordered::run(threads, interrupt, next, work, take);
        watch.stop();
        tally.failed_rows = job.failed_rows();
        let ended = ended.map(|(stopped, _)| stopped);
        ending::end(job, ended, fault, clock)
    }

    fn chunk(&self, mut chunk: Chunk, piece: &mut Piece) -> anyhow::Result<()> {
        let started = Instant::now();
        let name = self.spans.as_ref().map(|spans| spans.name.as_str());
        let typed = match (name, &chunk.carried) {
            (Some(name), Carried::Table(batch)) => batch.column_by_name(name).cloned(),
            _ => None,
        };
        let cells = name.and_then(|name| chunk.take_column(name));
        let mut growing = Growing::default();
        for at in 0..chunk.len() {
            let cell = cells.as_ref().map(|cells| cells[at].as_deref());
            self.row(&chunk, at, cell, &mut growing, piece);
        }
        // The texts stand in the columns now; copies of them would cost memory alone.
        for row in chunk.rows.iter_mut().flatten() {
            row.text = String::new();
        }
        let chunk = chunk.repeat(self.rows.per_row)?;
        let tokenizing = growing.tokenizing;
        let answers = self.answers(growing, typed.as_ref())?;
        for at in 0..chunk.len() {
            match (&chunk.rows[at], &answers.errors[at]) {
                (Err(error), _) | (_, Some(error)) => piece.failed.push(error.code),
                _ => {}
            }
        }
        piece.written = Some((chunk, answers));
        let clock = self.rows.clock;
        let tokenizing = match self.rows.plan.edits {
            Some(_) => tokenizing,
            None => started.elapsed(),
        };
        clock.add(Stage::Tokenize, tokenizing);
        clock.add(Stage::Edit, started.elapsed().saturating_sub(tokenizing));
        Ok(())
    }

    /// Adds all versions of a row.
    fn row(
        &self,
        chunk: &Chunk,
        at: usize,
        cell: Option<Option<&str>>,
        growing: &mut Growing,
        piece: &mut Piece,
    ) {
        let number = chunk.first_row + at as u64;
        let error = |code, why: String| RowError::at(&chunk.place(at), code, why);
        let bad = |error: Option<RowError>, growing: &mut Growing| {
            for version in 0..self.rows.per_row {
                self.bad(number, version, error.clone(), growing);
                if self.spans.is_some() {
                    growing.spans.push((at, None));
                }
            }
        };
        let Ok(row) = &chunk.rows[at] else {
            return bad(None, growing);
        };
        let text = row.text.as_str();
        let Some(edits) = &self.rows.plan.edits else {
            self.version(number, 0, text, &error, growing, &mut piece.cut);
            return;
        };
        let old = match cell.map(|cell| spans::read(cell, text.chars().count())) {
            Some(Err(why)) => {
                let name = self.spans.as_ref().map_or("", |spans| spans.name.as_str());
                let error = error(spans::CODE, format!("`{name}`: {why}"));
                return bad(Some(error), growing);
            }
            Some(Ok(spans)) => Some(spans),
            None => None,
        };
        if text.len().saturating_mul(self.rows.per_row) > VERSIONS_BYTES {
            let why = format!(
                "its {} versions of {} bytes are more than {} MiB together; use fewer --copies, or a shorter text",
                self.rows.per_row,
                text.len(),
                VERSIONS_BYTES >> 20
            );
            return bad(Some(error(RowError::ROW_TOO_LARGE, why)), growing);
        }
        let (scratch, counts, cut) = (&mut piece.scratch, &mut piece.counts, &mut piece.cut);
        edits.versions(number, text, scratch, counts, |version| {
            if let Some(old) = &old {
                let spans = match version.edited {
                    Some(edited) => spans::moved(old, text, edited),
                    None => old.clone(),
                };
                growing.spans.push((at, Some(spans)));
            }
            self.version(number, version.copy, version.text, &error, growing, cut);
        });
    }

    fn version(
        &self,
        number: u64,
        copy: u32,
        text: &str,
        error: &dyn Fn(&'static str, String) -> RowError,
        growing: &mut Growing,
        cut: &mut u64,
    ) {
        if self.text.is_some() {
            growing.text.append_value(text);
            self.number(number, copy, growing);
        }
        let Some(tokens) = self.tokens else {
            growing.errors.push(None);
            return;
        };
        let started = self.rows.clock.each_row.then(Instant::now);
        let first = growing.ids.len();
        let added = match self.ids.width {
            Some((width, pad)) => {
                growing.ids.resize(first + width, pad);
                tokens.fill(text, pad, &mut growing.ids[first..])
            }
            None => tokens.append(text, &mut growing.ids),
        };
        growing.errors.push(match added {
            Ok(lost) => {
                *cut += u64::from(lost == Cut::Yes);
                None
            }
            Err(none) => Some(error(none.code, none.why)),
        });
        let is_good = matches!(growing.errors.last(), Some(None));
        growing.present.push(is_good);
        growing.lengths.push(growing.ids.len() - first);
        if let Some(started) = started {
            growing.tokenizing += started.elapsed();
        }
    }

    fn number(&self, number: u64, copy: u32, growing: &mut Growing) {
        let first = self.rows.plan.edits.as_ref().map_or(0, |one| one.first_row);
        growing.source_row.append_value(first + number + 1);
        growing.copy.append_value(copy);
    }

    /// Adds a version of a row that has no text.
    fn bad(&self, number: u64, version: usize, error: Option<RowError>, growing: &mut Growing) {
        if self.text.is_some() {
            let original = self
                .rows
                .plan
                .edits
                .as_ref()
                .is_some_and(|edits| edits.include_original);
            growing.text.append_null();
            self.number(number, version as u32 + u32::from(!original), growing);
        }
        if self.tokens.is_some() {
            let width = self.ids.width.map_or(0, |(width, _)| width);
            // A null in a fixed-size list takes its space.
            growing.ids.resize(growing.ids.len() + width, 0);
            growing.lengths.push(width);
            growing.present.push(false);
        }
        growing.errors.push(error);
    }

    /// The columns, with what spans have beside their places from the input's column `typed`.
    fn answers(
        &self,
        mut growing: Growing,
        typed: Option<&ArrayRef>,
    ) -> anyhow::Result<AnswerColumns> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if self.text.is_some() {
            arrays.push(Arc::new(growing.text.finish()));
            if let Some(spans) = &self.spans {
                arrays.push(spans.array(&growing.spans, typed)?);
            }
            arrays.push(Arc::new(growing.source_row.finish()));
            arrays.push(Arc::new(growing.copy.finish()));
        }
        if self.tokens.is_some() {
            let Growing {
                ids,
                lengths,
                present,
                ..
            } = &mut growing;
            let take = (
                std::mem::take(ids),
                std::mem::take(lengths),
                std::mem::take(present),
            );
            arrays.push(self.ids.array(take.0, take.1, take.2)?);
        }
        Ok(AnswerColumns {
            columns: self.fields().into_iter().zip(arrays).collect(),
            errors: growing.errors,
        })
    }
}
