//! The shard that is being filled.

use arrow_array::RecordBatch;

use crate::job::JobSpec;
use crate::sink::{Rows, RowsBody};

/// When a shard is full. Part of what makes two runs cut the same shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardLimits {
    /// Rows at which a shard is full.
    pub(crate) rows: u64,
    /// Bytes, counted row by row, at which it is full before that.
    pub(crate) bytes: u64,
}

impl ShardLimits {
    /// The limits of a job; a shard holds at least a row.
    pub(crate) fn of(spec: &JobSpec) -> ShardLimits {
        ShardLimits {
            rows: spec.rows_per_shard.max(1),
            bytes: spec.shard_bytes.max(1),
        }
    }
}

/// Rows that wait for their shard to be full.
#[derive(Clone, Debug)]
pub(crate) struct OpenShard {
    text: Vec<u8>,
    batches: Vec<RecordBatch>,
    rows: u64,
    failed: u64,
    bytes: u64,
    limits: ShardLimits,
}

impl OpenShard {
    pub(crate) fn new(limits: ShardLimits) -> OpenShard {
        OpenShard {
            text: Vec::new(),
            batches: Vec::new(),
            rows: 0,
            failed: 0,
            bytes: 0,
            limits,
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows that carry an error.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// Bytes as they count towards the limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// The rows of a text format.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The rows of Parquet.
    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Takes rows, from row `from` on, until full; says before which row it stopped.
    pub(crate) fn take(&mut self, rows: &Rows, from: usize) -> usize {
        let mut next = from;
        while next < rows.failed.len() && !self.is_full() {
            self.bytes += rows.size(next);
            self.failed += u64::from(rows.failed[next]);
            self.rows += 1;
            next += 1;
        }
        match &rows.body {
            RowsBody::Text { bytes, ends } => {
                let at = |row: usize| if row == 0 { 0 } else { ends[row - 1] };
                self.text.extend_from_slice(&bytes[at(from)..at(next)]);
            }
            RowsBody::Batch { batch, .. } if next > from => {
                self.batches.push(batch.slice(from, next - from));
            }
            RowsBody::Batch { .. } => {}
        }
        next
    }

    /// Puts back rows that an earlier process had set aside.
    pub(crate) fn restore(&mut self, saved: SavedRows) {
        self.rows += saved.rows;
        self.failed += saved.failed;
        self.bytes += saved.bytes;
        self.text.extend_from_slice(&saved.text);
        self.batches.extend(saved.batches);
    }
}

/// Rows of an open shard as they were set aside.
#[derive(Clone, Debug, Default)]
pub(crate) struct SavedRows {
    pub(crate) rows: u64,
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
    pub(crate) text: Vec<u8>,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Rows {
    /// The bytes that row `at` counts.
    fn size(&self, at: usize) -> u64 {
        match &self.body {
            RowsBody::Text { ends, .. } => {
                let start = if at == 0 { 0 } else { ends[at - 1] };
                (ends[at] - start) as u64
            }
            RowsBody::Batch { sizes, .. } => sizes[at],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lengths: &[usize]) -> Rows {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for (at, length) in lengths.iter().enumerate() {
            bytes.resize(bytes.len() + length, b'a' + at as u8);
            ends.push(bytes.len());
        }
        Rows {
            body: RowsBody::Text { bytes, ends },
            failed: vec![false; lengths.len()],
        }
    }

    fn cut(chunks: &[&[usize]], limits: ShardLimits) -> Vec<(u64, usize)> {
        let mut shards = Vec::new();
        let mut open = OpenShard::new(limits);
        for chunk in chunks {
            let rows = rows(chunk);
            let mut from = 0;
            while from < chunk.len() {
                from = open.take(&rows, from);
                if open.is_full() {
                    shards.push((open.rows(), open.text().len()));
                    open = OpenShard::new(limits);
                }
            }
        }
        shards.push((open.rows(), open.text().len()));
        shards
    }

    /// A resumed job reads other chunks; its shards, and so its bytes, would differ.
    #[test]
    fn shards_end_at_the_same_rows_however_chunks_are_cut() {
        let limits = ShardLimits { rows: 3, bytes: 10 };
        let expected = [(3, 3), (1, 12), (2, 10), (1, 1)];
        let lengths = [1, 1, 1, 12, 5, 5, 1];
        assert_eq!(cut(&[&lengths], limits), expected);
        for split in 1..lengths.len() {
            let (a, b) = lengths.split_at(split);
            assert_eq!(cut(&[a, b], limits), expected, "split at {split}");
        }
    }
}
