//! The list of complete shards: one line each, appended, never rewritten.
//!
//! Rewriting a list with every shard costs the square of their number: 7 GB for the 12,000 shards
//! of a hundred million rows. A line that was cut by a power cut is no line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DataError;

/// A complete shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardLine {
    pub(crate) shard: u64,
    pub(crate) rows: u64,
    pub(crate) failed_rows: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

/// The complete shards of a job, on disk and in memory.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    shards: Vec<ShardLine>,
    /// Where each line ends.
    ends: Vec<u64>,
}

impl Journal {
    /// Reads the journal, up to the first line that is not whole or does not follow the one before
    /// it; what comes after is cut off.
    pub(crate) fn open(path: &Path) -> Result<Journal, DataError> {
        let failed = |error: io::Error| DataError::writing(path, &error);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let mut journal = Journal {
            path: path.to_path_buf(),
            file,
            shards: Vec::new(),
            ends: Vec::new(),
        };
        let mut lines = BufReader::new(journal.file.try_clone().map_err(failed)?);
        let mut line = Vec::new();
        let mut end = 0;
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).map_err(failed)?;
            let parsed = serde_json::from_slice::<ShardLine>(&line).ok();
            let next = journal.shards.len() as u64;
            let Some(shard) = parsed.filter(|shard| line.ends_with(b"\n") && shard.shard == next)
            else {
                break;
            };
            end += read as u64;
            journal.shards.push(shard);
            journal.ends.push(end);
        }
        journal.cut(journal.shards.len())?;
        Ok(journal)
    }

    pub(crate) fn shards(&self) -> &[ShardLine] {
        &self.shards
    }

    /// Rows of all complete shards.
    pub(crate) fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.rows).sum()
    }

    /// Rows among them that carry an error.
    pub(crate) fn failed_rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.failed_rows).sum()
    }

    /// Appends a shard whose file is in its place, and makes that durable.
    pub(crate) fn append(&mut self, shard: ShardLine) -> Result<(), DataError> {
        let mut line = Vec::new();
        let written = serde_json::to_writer(&mut line, &shard)
            .map_err(io::Error::from)
            .and_then(|()| {
                line.push(b'\n');
                self.file.write_all(&line)
            })
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| DataError::writing(&self.path, &error))?;
        self.ends
            .push(self.ends.last().copied().unwrap_or(0) + line.len() as u64);
        self.shards.push(shard);
        Ok(())
    }

    /// Keeps the first `count` shards and forgets the rest.
    pub(crate) fn cut(&mut self, count: usize) -> Result<(), DataError> {
        self.shards.truncate(count);
        self.ends.truncate(count);
        let end = self.ends.last().copied().unwrap_or(0);
        self.file
            .set_len(end)
            .and_then(|()| self.file.seek(SeekFrom::Start(end)))
            .and_then(|_| self.file.sync_data())
            .map_err(|error| DataError::writing(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(shard: u64) -> ShardLine {
        ShardLine {
            shard,
            rows: 10 + shard,
            failed_rows: shard,
            bytes: 7,
            blake3: "h".into(),
        }
    }

    /// After a power cut a job would count rows that are not there, or forget all that are.
    #[test]
    fn any_cut_keeps_the_whole_lines() {
        let directory = crate::job::durable::tests::in_memory();
        let path = directory.path().join("shards.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        for shard in 0..3 {
            journal.append(line(shard)).unwrap();
        }
        assert_eq!((journal.rows(), journal.failed_rows()), (33, 3));
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let lines: Vec<usize> = whole
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .map(|(at, _)| at)
            .collect();
        for cut in 0..=whole.len() {
            // A file system may leave zeros where the last block was not yet written.
            for tail in [&b""[..], b"\0\0\0\0"] {
                std::fs::write(&path, [&whole[..cut], tail].concat()).unwrap();
                let mut journal = Journal::open(&path).unwrap();
                let expected = lines.iter().filter(|at| **at < cut).count();
                assert_eq!(journal.shards().len(), expected, "cut at {cut}");
                journal.append(line(expected as u64)).unwrap();
                drop(journal);
                assert_eq!(Journal::open(&path).unwrap().shards().len(), expected + 1);
            }
        }
    }
}
