//! Jobs: rows out as rows in, whatever happens in between.
//!
//! # The parts
//!
//! While a job over `OUT` runs, `OUT.parts/` holds
//!
//! | file | what | written |
//! |---|---|---|
//! | `manifest.json` | what the job is: fingerprints, format, columns, rows of a shard | once, by rename |
//! | `00000000.part` … | complete shards, each a file of the output's format | by rename |
//! | `shards.jsonl` | rows, bytes and BLAKE3 of each complete shard | a line appended a shard |
//! | `open.rows` | rows of the shard in hand | appended every two seconds |
//! | `rows` | the rows of an array so far, in place of shards | a line of `shards.jsonl` every two seconds |
//! | `errors.jsonl` | what is wrong with rows of an array | made durable with the rows |
//! | `companion` | the file that belongs to the output, such as a vocabulary | once, by rename |
//! | `joined` | the whole output, on its way to its place | at the end |
//! | `lock` | keeps other processes out | |
//!
//! Each is made durable before the next step relies on it, so that a kill or a power cut at any
//! moment leaves a state from which the job goes on. At the end the shards are joined without
//! being decoded, the result is renamed to `OUT` (what belongs to it just before), the manifest to `OUT.manifest.json`, and the
//! directory is removed. By that manifest the same command knows that its work is done.
//!
//! # The same bytes
//!
//! Where a shard ends depends on rows alone, never on time, memory or how rows came in chunks; and
//! a shard's bytes on its rows alone. So a job that was stopped any number of times writes what
//! one that was never stopped writes. Joining needs as much disk space again as the output.

mod array_errors;
mod array_job;
mod claim;
mod durable;
mod file_job;
mod join;
mod journal;
mod manifest;
mod npy;
mod parts;
mod publish;
mod saved;
mod spec;
mod stream_job;

use std::path::{Path, PathBuf};

pub use array_job::{ArrayBegun, ArrayJob, ArraySpec};
pub use npy::Element;
pub use spec::{Companion, INPUT_FINGERPRINT, JobSpec, JobSummary, Output, Restart, short_hash};

use crate::chunk::Chunk;
use crate::sink::{AnswerColumns, Sink};
use crate::{DataError, SinkFormat};
use file_job::FileJob;
use stream_job::StreamJob;

/// An output being written, row by row, in input order.
///
/// Dropping a job loses nothing that was made safe: beginning it again continues it. To stop on
/// purpose, [`pause`](Job::pause) makes every row safe.
#[derive(Debug)]
pub struct Job {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(Box<FileJob>),
    Stream(Box<StreamJob>),
}

/// What [`Job::begin`] found.
#[derive(Debug)]
pub enum Begun {
    /// There are rows to write: all of them, or those after [`Job::rows_done`].
    Ready(Job),
    /// The very same job has finished before: there is nothing to do.
    Complete(JobSummary),
}

/// What [`Job::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows written.
    pub rows: u64,
    /// Rows among them that carry an error, be it the input's, the answer's, or that of a value
    /// which has no place in the output.
    pub failed_rows: u64,
    /// Rows among these with which nothing is wrong but what an earlier job said of them.
    pub failed_before: u64,
}

impl Job {
    /// Begins a job, or continues it where an earlier process was stopped.
    ///
    /// # Errors
    /// [`DataError::NoOutputDirectory`], [`DataError::OutputFormat`], [`DataError::NameCollision`]
    /// before anything is written; [`DataError::OutputExists`] where a file of that name is not
    /// this very job's; [`DataError::JobDiffers`] and [`DataError::NotResumable`] where an
    /// unfinished job lies there that cannot be continued; [`DataError::Locked`] where another
    /// process is at it.
    pub fn begin(spec: JobSpec) -> Result<Begun, DataError> {
        match &spec.output {
            Output::Stdout(format) => {
                let sink = Sink::new(*format, &spec.carried, &spec.answer_fields)?;
                let out = Box::new(std::io::stdout());
                Ok(stream(StreamJob::begin(
                    out,
                    "standard output",
                    sink,
                    &spec,
                )?))
            }
            Output::File { path, format } if is_stream(path) => {
                let told = SinkFormat::of_path(path).unwrap_or(SinkFormat::JSONL);
                let sink = sink(path, format.or(Some(told)), &spec)?;
                let file = std::fs::OpenOptions::new().write(true).open(path);
                let file = file.map_err(|error| DataError::writing(path, &error))?;
                let name = path.display().to_string();
                Ok(stream(StreamJob::begin(
                    Box::new(file),
                    &name,
                    sink,
                    &spec,
                )?))
            }
            Output::File { path, format } => {
                let sink = sink(path, *format, &spec)?;
                FileJob::begin(&behind_links(path), sink, &spec)
            }
        }
    }

    /// Writes to `out` what a job with standard output would write there.
    ///
    /// # Errors
    /// As [`Job::begin`].
    pub fn begin_stream(
        out: Box<dyn std::io::Write + Send>,
        format: SinkFormat,
        spec: &JobSpec,
    ) -> Result<Job, DataError> {
        let sink = Sink::new(format, &spec.carried, &spec.answer_fields)?;
        let job = StreamJob::begin(out, "the stream", sink, spec)?;
        Ok(Job {
            kind: Kind::Stream(Box::new(job)),
        })
    }

    /// Rows of the input that are done, by this process or earlier ones: the caller goes on with
    /// the row after them, by [`Source::skip_rows`](crate::Source::skip_rows).
    #[must_use]
    pub fn rows_done(&self) -> u64 {
        match &self.kind {
            Kind::File(job) => job.rows_done(),
            Kind::Stream(job) => job.rows_done(),
        }
    }

    /// Rows among [`rows_done`](Job::rows_done) that carry an error.
    #[must_use]
    pub fn failed_rows(&self) -> u64 {
        match &self.kind {
            Kind::File(job) => job.failed_rows(),
            Kind::Stream(job) => job.failed_rows(),
        }
    }

    /// Whether the job can be continued after a kill.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        match &self.kind {
            Kind::File(job) => job.is_resumable(),
            Kind::Stream(_) => false,
        }
    }

    /// Writes the next chunk and its answers.
    ///
    /// # Errors
    /// [`DataError::Answers`] where these do not fit the job or are not the next rows, and
    /// [`DataError::ForeignError`] where a column `error` holds something else than errors of an
    /// earlier job; then nothing was written. [`DataError::DiskFull`] and [`DataError::Write`] from the disk, after
    /// which the job must be dropped and can be begun again. [`DataError::BrokenPipe`] where
    /// nobody reads the stream any more.
    pub fn write(&mut self, chunk: &Chunk, answers: &AnswerColumns) -> Result<Written, DataError> {
        if chunk.first_row != self.rows_done() {
            let (given, due) = (chunk.first_row + 1, self.rows_done() + 1);
            return Err(DataError::Answers {
                reason: format!("the chunk begins at row {given}, but row {due} is due"),
            });
        }
        let before = self.failed_rows();
        let failed_before = match &mut self.kind {
            Kind::File(job) => job.write(chunk, answers)?,
            Kind::Stream(job) => job.write(chunk, answers)?,
        };
        Ok(Written {
            rows: chunk.len() as u64,
            failed_rows: self.failed_rows() - before,
            failed_before,
        })
    }

    /// Puts the finished output in its place.
    ///
    /// # Errors
    /// As [`write`](Job::write); besides [`DataError::ShardDamaged`] where a shard was altered,
    /// and [`DataError::OutputExists`] where a file of that name has appeared since the beginning.
    /// In all cases the same job can be begun again and goes on from there.
    pub fn finish(self) -> Result<JobSummary, DataError> {
        match self.kind {
            Kind::File(job) => job.finish(),
            Kind::Stream(job) => job.finish(),
        }
    }

    /// Makes every row written so far safe and stops; the same job can be begun again.
    ///
    /// Takes a moment, not until the end of a shard. Returns the rows that are safe. A stream
    /// ends here for good.
    ///
    /// # Errors
    /// [`DataError::DiskFull`] and [`DataError::Write`] from the disk.
    pub fn pause(self) -> Result<u64, DataError> {
        match self.kind {
            Kind::File(job) => job.pause(),
            Kind::Stream(job) => job.finish().map(|summary| summary.rows),
        }
    }
}

fn stream(job: StreamJob) -> Begun {
    Begun::Ready(Job {
        kind: Kind::Stream(Box::new(job)),
    })
}

fn sink(path: &Path, format: Option<SinkFormat>, spec: &JobSpec) -> Result<Sink, DataError> {
    let format = format.map_or_else(|| SinkFormat::of_path(path), Ok)?;
    Sink::new(format, &spec.carried, &spec.answer_fields)
}

/// Whether an output at `path` is written as it comes: devices and named pipes cannot be renamed
/// into place.
#[must_use]
pub fn is_stream(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|facts| !facts.is_file() && !facts.is_dir())
}

/// Where a write to `path` would go: the finished file is to take the place of what a link points
/// to, not of the link.
#[must_use]
pub fn behind_links(path: &Path) -> PathBuf {
    /// As many as Linux follows.
    const MOST: usize = 40;
    let mut place = path.to_path_buf();
    for _ in 0..MOST {
        let Ok(next) = place.read_link() else { break };
        place = durable::directory_of(&place).join(next);
    }
    place
}
