//! A job whose output is a file: begun, continued, finished.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::DataError;
use crate::chunk::Chunk;
use crate::job::claim::{Claim, Claimed, claim};
use crate::job::durable::{Hashing, sync_directory, write_whole};
use crate::job::join::{JoinError, join};
use crate::job::journal::{Journal, ShardLine};
use crate::job::manifest::{Finished, Layout, Manifest};
use crate::job::parts::Parts;
use crate::job::publish::{Place, Stage};
use crate::job::saved::SavedFile;
use crate::job::spec::{JobSpec, JobSummary};
use crate::job::{Begun, Job, Kind};
use crate::sink::{AnswerColumns, OpenShard, Position, ShardLimits, Sink};

/// Rows on their way into shards.
pub(crate) struct FileJob {
    output: PathBuf,
    parts: Parts,
    manifest: Manifest,
    sink: Sink,
    journal: Journal,
    open: OpenShard,
    saved: SavedFile,
    limits: ShardLimits,
    /// Rows, and failed rows, of complete shards.
    complete: (u64, u64),
    checkpoint_every: Duration,
    checkpoint: Instant,
    /// Keeps other processes out while it lives.
    _lock: File,
}

/// What earlier processes left: complete shards, and rows of the open one.
struct LeftBehind {
    journal: Journal,
    open: OpenShard,
    saved: SavedFile,
}

impl LeftBehind {
    fn take_up(parts: &Parts, limits: ShardLimits) -> Result<LeftBehind, DataError> {
        let mut journal = Journal::open(&parts.journal())?;
        let whole = |shard: &ShardLine| {
            let facts = parts.shard(shard.shard).metadata();
            facts.is_ok_and(|facts| facts.len() == shard.bytes)
        };
        let count = journal
            .shards()
            .iter()
            .take_while(|shard| whole(shard))
            .count();
        if count < journal.shards().len() {
            journal.cut(count)?;
        }
        let mut open = OpenShard::new(limits);
        let saved = SavedFile::open(&parts.saved_rows(), count as u64, &mut open)?;
        // Rows are told to be safe once they are in these files: so their names must be.
        sync_directory(&parts.directory)?;
        Ok(LeftBehind {
            journal,
            open,
            saved,
        })
    }
}

impl FileJob {
    pub(crate) fn begin(output: &Path, sink: Sink, spec: &JobSpec) -> Result<Begun, DataError> {
        let limits = ShardLimits::of(spec);
        let layout = Layout {
            format: sink.format().to_string(),
            columns: sink.describe(),
            rows_per_shard: limits.rows,
            shard_bytes: limits.bytes,
        };
        let wanted = Manifest::new(layout, spec.fingerprints.clone());
        let Claimed {
            parts,
            manifest,
            lock,
        } = match claim(output, wanted, spec.companion.as_ref(), spec.restart)? {
            Claim::Complete(summary) => return Ok(Begun::Complete(summary)),
            Claim::Ready(claimed) => claimed,
        };
        let LeftBehind {
            journal,
            open,
            saved,
        } = LeftBehind::take_up(&parts, limits)?;
        let mut job = FileJob {
            output: output.to_path_buf(),
            parts,
            manifest,
            sink,
            complete: (journal.rows(), journal.failed_rows()),
            journal,
            open,
            saved,
            limits,
            checkpoint_every: spec.checkpoint_every,
            checkpoint: Instant::now(),
            _lock: lock,
        };
        // Killed after the last row of a shard was set aside, before the shard was written.
        if job.open.is_full() {
            job.close_shard()?;
        }
        Ok(Begun::Ready(Job {
            kind: Kind::File(Box::new(job)),
        }))
    }

    pub(crate) fn rows_done(&self) -> u64 {
        self.complete.0 + self.open.rows()
    }

    pub(crate) fn failed_rows(&self) -> u64 {
        self.complete.1 + self.open.failed()
    }

    pub(crate) fn is_resumable(&self) -> bool {
        self.manifest.is_repeatable()
    }

    pub(crate) fn write(
        &mut self,
        chunk: &Chunk,
        answers: &AnswerColumns,
    ) -> Result<u64, DataError> {
        let accepted = self.sink.accept(chunk, answers)?;
        for piece in accepted.pieces() {
            let rows = self.sink.rows(&accepted, piece)?;
            let mut from = 0;
            while from < rows.failed.len() {
                from = self.open.take(&rows, from);
                if self.open.is_full() {
                    self.close_shard()?;
                }
            }
        }
        if self.checkpoint.elapsed() >= self.checkpoint_every {
            self.save()?;
        }
        Ok(accepted.failed_before)
    }

    pub(crate) fn pause(mut self: Box<Self>) -> Result<u64, DataError> {
        self.save()?;
        Ok(self.rows_done())
    }

    pub(crate) fn finish(mut self: Box<Self>) -> Result<JobSummary, DataError> {
        // An output without rows still has its header, or its schema.
        if self.open.rows() > 0 || self.journal.shards().is_empty() {
            self.close_shard()?;
        }
        let format = self.sink.format().format();
        let (bytes, blake3) = match join(&self.parts, format, self.journal.shards()) {
            Ok(facts) => facts,
            Err(JoinError::Disk(error)) => return Err(error.with_safe_rows(self.complete.0)),
            Err(JoinError::Damaged(shard, error)) => {
                self.journal.cut(shard)?;
                return Err(error);
            }
        };
        let (rows, failed_rows) = self.complete;
        let finished = Finished {
            rows,
            failed_rows,
            bytes,
            blake3,
        };
        self.manifest.finished = Some(finished.clone());
        self.manifest
            .write(&self.parts.manifest())
            .map_err(|e| e.with_safe_rows(rows))?;
        let place = Place {
            parts: &self.parts,
            output: &self.output,
        };
        place.publish(&self.manifest, &finished, Stage::Joined)
    }

    fn index(&self) -> u64 {
        self.journal.shards().len() as u64
    }

    /// Rows that a kill does not touch.
    fn safe_rows(&self) -> u64 {
        self.complete.0 + self.saved.rows()
    }

    fn save(&mut self) -> Result<(), DataError> {
        let index = self.index();
        let saved = self.saved.save(index, &self.open);
        self.checkpoint = Instant::now();
        saved.map_err(|error| error.with_safe_rows(self.safe_rows()))
    }

    /// Writes the open shard and opens the next one.
    fn close_shard(&mut self) -> Result<(), DataError> {
        let index = self.index();
        let position = if index == 0 {
            Position::First
        } else {
            Position::Later
        };
        let mut facts = (0, String::new());
        let written = write_whole(&self.parts.shard(index), |file| {
            let mut out = Hashing::new(file);
            self.sink.write_shard(&self.open, position, &mut out)?;
            facts = out.finish();
            Ok(())
        });
        let (bytes, blake3) = facts;
        let line = ShardLine {
            shard: index,
            rows: self.open.rows(),
            failed_rows: self.open.failed(),
            bytes,
            blake3,
        };
        written
            .and_then(|()| self.journal.append(line))
            .map_err(|error| error.with_safe_rows(self.safe_rows()))?;
        self.complete.0 += self.open.rows();
        self.complete.1 += self.open.failed();
        self.open = OpenShard::new(self.limits);
        self.checkpoint = Instant::now();
        self.saved.clear()
    }
}

impl fmt::Debug for FileJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileJob")
            .field("output", &self.output)
            .field("rows", &self.rows_done())
            .finish_non_exhaustive()
    }
}
