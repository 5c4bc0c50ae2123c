//! Rows into an array of token ids: by the block where the input is plain, else from any source. Both ways
//! give the same bytes.

use std::time::Instant;

use anyhow::{Context, bail};
use bytemuck::Pod;
use data::{
    ArrayJob, Block, Chunk, Filled, InputProgress, PlainText, RowError, Source, block_rows,
};
use text::augment::Edited;
use text::characters::TokenId;

use super::chunks::Chunks;
use super::clock::Stage;
use super::edits::Counts;
use super::ending::{self, Fault};
use super::ordered;
use super::tally::Tally;
use super::tokens::{Cut, Tokens};
use super::{Ended, Rows};
use crate::args::OnError;

/// Where the rows come from.
pub(super) enum From {
    Blocks(PlainText),
    Source(Box<Source>),
}

impl From {
    fn progress(&self) -> InputProgress {
        match self {
            From::Blocks(input) => input.progress(),
            From::Source(source) => source.progress(),
        }
    }
}

/// An array's rows, and how they are filled.
pub(super) struct Array<'a> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) tokens: &'a Tokens,
    pub(super) width: usize,
    pub(super) pad: u32,
}

/// What a thread makes of a piece of the input.
#[derive(Default)]
struct Piece<T> {
    values: Vec<T>,
    bad: Vec<(usize, RowError)>,
    counts: Counts,
    cut: u64,
    scratch: Edited,
}

impl Array<'_> {
    /// Writes all rows, or those that are left of an earlier run.
    pub(super) fn write<T: TokenId + Pod + Default>(
        &self,
        mut job: ArrayJob,
        from: From,
        tally: &mut Tally,
    ) -> anyhow::Result<Ended> {
        let per_row = self.rows.per_row;
        // Rows of the output are written by whole pieces: all versions of a row or none.
        let done = job.rows_done() / per_row as u64;
        let clock = self.rows.clock;
        let stop = self.rows.plan.output.on_error == OnError::Stop;
        let mut fault = Fault::Input;
        let watch = self.rows.watch(from.progress(), job.rows_done());
        let take = |piece: &mut Piece<T>| {
            if stop && let Some((_, error)) = piece.bad.first() {
                fault = Fault::Row(format!("{error} (--on-error stop)"));
                bail!("a bad row");
            }
            let bytes: &[u8] = bytemuck::cast_slice(&piece.values);
            // So too where it panics.
            fault = Fault::Output;
            let result = clock.time(Stage::Write, || job.write(bytes, &piece.bad));
            result?;
            fault = Fault::Input;
            let rows = (piece.values.len() / self.width) as u64;
            for (_, error) in &piece.bad {
                tally.failed(error.code);
            }
            tally.rows += rows;
            tally.cut += std::mem::take(&mut piece.cut);
            tally.counts.take(&mut piece.counts);
            watch.wrote(rows, tally.failures());
            Ok(())
        };
        let (threads, interrupt) = (self.rows.plan.threads, self.rows.interrupt);
        let ended = match from {
            From::Blocks(input) => {
                // Blocks of text whose rows of the array are about as many bytes, however wide.
                let share = per_row * self.width.div_ceil(USUAL_WIDTH);
                let mut blocks = input.blocks(share, self.rows_at_once::<T>());
                let next = |block: &mut Block, _: &dyn Fn() -> bool| {
                    clock.time(Stage::Read, || {
                        loop {
                            match blocks.fill(block)? {
                                Filled::Block if block.first_row + block.rows <= done => {}
                                Filled::Block => break,
                                Filled::End => return Ok(false),
                                Filled::NotPlain => bail!(CHANGED),
                            }
                        }
                        block.drop_rows(done.saturating_sub(block.first_row));
                        Ok(true)
                    })
                };
                let work = |block: &mut Block, piece: &mut Piece<T>| self.block(block, piece);
                ordered::run(threads, interrupt, next, work, take)
            }
            From::Source(mut source) => {
                source.limit_chunks(self.rows_at_once::<T>(), usize::MAX);
                let mut chunks = Chunks::of(*source, done);
                let next = |chunk: &mut Option<Chunk>, is_over: &dyn Fn() -> bool| {
                    *chunk = chunks.next(is_over, clock, Stage::Read)?;
                    Ok(chunk.is_some())
                };
                let work = |chunk: &mut Option<Chunk>, piece: &mut Piece<T>| {
                    let chunk = chunk.take().context("there is no chunk")?;
                    self.chunk(&chunk, piece);
                    Ok(())
                };
                ordered::run(threads, interrupt, next, work, take)
            }
        };
        watch.stop();
        tally.failed_rows = job.failed_rows();
        let ended = ended.map(|(stopped, _)| stopped);
        ending::end(job, ended, fault, clock)
    }

    /// Rows of the input whose rows of the array are a piece's bytes, or a row that has more.
    fn rows_at_once<T>(&self) -> usize {
        let bytes = self.rows.per_row * self.width * size_of::<T>();
        (super::PIECE_BYTES / bytes.max(1)).max(1)
    }

    fn block<T: TokenId + Default>(
        &self,
        block: &Block,
        piece: &mut Piece<T>,
    ) -> anyhow::Result<()> {
        let text = block.text().context(CHANGED)?;
        let rows = usize::try_from(block.rows)?;
        let mut writer = self.begin(rows, piece);
        for (at, row) in block_rows(text).enumerate() {
            if at >= rows {
                bail!(CHANGED);
            }
            let number = block.first_row + at as u64;
            writer.row(number, row, &|code, why| RowError {
                code,
                message: format!("row {}: {why}", number + 1),
            });
        }
        writer.end();
        Ok(())
    }

    fn chunk<T: TokenId + Default>(&self, chunk: &Chunk, piece: &mut Piece<T>) {
        let mut writer = self.begin(chunk.len(), piece);
        for (at, row) in chunk.rows.iter().enumerate() {
            match row {
                Ok(row) => {
                    let number = chunk.first_row + at as u64;
                    let error = |code, why| RowError::at(&chunk.place(at), code, why);
                    writer.row(number, &row.text, &error);
                }
                Err(error) => writer.bad(error),
            }
        }
        writer.end();
    }

    fn begin<'p, T: TokenId + Default>(
        &'p self,
        rows: usize,
        piece: &'p mut Piece<T>,
    ) -> Writer<'p, T> {
        // What an earlier piece left there is written over, row by row.
        let values = rows * self.rows.per_row * self.width;
        piece.values.resize(values, T::default());
        piece.bad.clear();
        Writer {
            array: self,
            slots: piece.values.chunks_exact_mut(self.width),
            at: 0,
            bad: &mut piece.bad,
            cut: &mut piece.cut,
            counts: &mut piece.counts,
            scratch: &mut piece.scratch,
            started: Instant::now(),
            tokenizing: std::time::Duration::ZERO,
        }
    }
}

/// Tokens of a row for which blocks have their usual size.
const USUAL_WIDTH: usize = 128;

const CHANGED: &str = "the input has changed while it was read";

/// Fills a piece, row by row.
struct Writer<'p, T> {
    array: &'p Array<'p>,
    slots: std::slice::ChunksExactMut<'p, T>,
    /// Rows of the output so far.
    at: usize,
    bad: &'p mut Vec<(usize, RowError)>,
    cut: &'p mut u64,
    counts: &'p mut Counts,
    scratch: &'p mut Edited,
    started: Instant,
    tokenizing: std::time::Duration,
}

impl<T: TokenId> Writer<'_, T> {
    /// Fills the slots of all versions of a row.
    fn row(&mut self, number: u64, text: &str, error: &dyn Fn(&'static str, String) -> RowError) {
        let Array {
            rows, tokens, pad, ..
        } = self.array;
        let each_row = rows.clock.each_row;
        let mut fill = |text: &str| {
            let Some(slot) = self.slots.next() else {
                return;
            };
            let started = each_row.then(Instant::now);
            match tokens.fill(text, *pad, slot) {
                Ok(cut) => *self.cut += u64::from(cut == Cut::Yes),
                Err(none) => {
                    slot.fill(T::of(*pad));
                    self.bad.push((self.at, error(none.code, none.why)));
                }
            }
            self.at += 1;
            if let Some(started) = started {
                self.tokenizing += started.elapsed();
            }
        };
        match &rows.plan.edits {
            None => fill(text),
            Some(edits) => {
                edits.versions(number, text, self.scratch, self.counts, |version| {
                    fill(version.text);
                });
            }
        }
    }

    /// Fills the slots of a row that has no text.
    fn bad(&mut self, error: &RowError) {
        for _ in 0..self.array.rows.per_row {
            if let Some(slot) = self.slots.next() {
                slot.fill(T::of(self.array.pad));
            }
            self.bad.push((self.at, error.clone()));
            self.at += 1;
        }
    }

    fn end(self) {
        let clock = self.array.rows.clock;
        let time = self.started.elapsed();
        let edits = self.array.rows.plan.edits.is_some();
        let tokenizing = if edits { self.tokenizing } else { time };
        clock.add(Stage::Tokenize, tokenizing);
        clock.add(Stage::Edit, time.saturating_sub(tokenizing));
    }
}
