//! A job whose rows leave at once, for standard output and devices.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use arrow_ipc::writer::FileWriter;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;

use crate::chunk::Chunk;
use crate::job::spec::{JobSpec, JobSummary};
use crate::sink::{
    AnswerColumns, OpenShard, Rows, RowsBody, ShardLimits, Sink, arrow_writer, parquet_writer,
    write_arrow_batch, write_parquet_group,
};
use crate::{Compression, DataError};

type Out = BufWriter<Box<dyn Write + Send>>;

/// Rows on their way into a stream.
pub(crate) struct StreamJob {
    name: PathBuf,
    sink: Sink,
    writer: Writer,
    rows: u64,
    failed: u64,
    bytes: u64,
}

enum Writer {
    Plain(Out),
    Gzip(Box<GzEncoder<Out>>),
    Zstd(zstd::Encoder<'static, Out>),
    /// Rows gather until they are a row group.
    Parquet(Box<ArrowWriter<Out>>, Box<OpenShard>, ShardLimits),
    /// The same, until they are a batch.
    Arrow(Box<FileWriter<Out>>, Box<OpenShard>, ShardLimits),
}

impl StreamJob {
    pub(crate) fn begin(
        out: Box<dyn Write + Send>,
        name: &str,
        sink: Sink,
        spec: &JobSpec,
    ) -> Result<StreamJob, DataError> {
        let name = PathBuf::from(name);
        let failed = |error: io::Error| stream_error(&name, &error);
        let out = BufWriter::with_capacity(256 << 10, out);
        let limits = ShardLimits::of(spec);
        let writer = match (sink.parquet_schema(), sink.format().compression()) {
            _ if let Some(schema) = sink.arrow_schema() => {
                let writer = arrow_writer(out, &schema).map_err(failed)?;
                Writer::Arrow(Box::new(writer), Box::new(OpenShard::new(limits)), limits)
            }
            (Some(schema), _) => {
                let writer = parquet_writer(out, &schema).map_err(failed)?;
                Writer::Parquet(Box::new(writer), Box::new(OpenShard::new(limits)), limits)
            }
            (None, Compression::None) => Writer::Plain(out),
            (None, Compression::Gzip) => Writer::Gzip(Box::new(GzEncoder::new(
                out,
                flate2::Compression::default(),
            ))),
            (None, Compression::Zstd) => {
                let level = zstd::DEFAULT_COMPRESSION_LEVEL;
                let mut encoder = zstd::Encoder::new(out, level).map_err(failed)?;
                // As in files: a reader notices what the pipe or the disk damaged.
                encoder.include_checksum(true).map_err(failed)?;
                Writer::Zstd(encoder)
            }
        };
        let mut job = StreamJob {
            name,
            sink,
            writer,
            rows: 0,
            failed: 0,
            bytes: 0,
        };
        let header = job.sink.header().to_vec();
        job.put(&header)?;
        Ok(job)
    }

    pub(crate) fn rows_done(&self) -> u64 {
        self.rows
    }

    pub(crate) fn failed_rows(&self) -> u64 {
        self.failed
    }

    pub(crate) fn write(
        &mut self,
        chunk: &Chunk,
        answers: &AnswerColumns,
    ) -> Result<u64, DataError> {
        let accepted = self.sink.accept(chunk, answers)?;
        for piece in accepted.pieces() {
            let rows = self.sink.rows(&accepted, piece)?;
            self.put_rows(&rows)?;
            self.rows += rows.failed.len() as u64;
            self.failed += rows.failed.iter().filter(|failed| **failed).count() as u64;
        }
        Ok(accepted.failed_before)
    }

    fn put_rows(&mut self, rows: &Rows) -> Result<(), DataError> {
        if let RowsBody::Text { bytes, .. } = &rows.body {
            return self.put(bytes);
        }
        let mut from = 0;
        while from < rows.failed.len() {
            let written = match &mut self.writer {
                Writer::Parquet(writer, open, limits) => {
                    from = open.take(rows, from);
                    when_full(open, *limits, |open| write_group(writer, &self.sink, open))
                }
                Writer::Arrow(writer, open, limits) => {
                    from = open.take(rows, from);
                    when_full(open, *limits, |open| write_batch(writer, &self.sink, open))
                }
                Writer::Plain(_) | Writer::Gzip(_) | Writer::Zstd(_) => return Ok(()),
            };
            written.map_err(|error| stream_error(&self.name, &error))?;
        }
        Ok(())
    }

    /// Writes text; what is not packed leaves at once, so that a reader sees rows as they come.
    fn put(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        let written = match &mut self.writer {
            Writer::Plain(out) => out.write_all(bytes).and_then(|()| out.flush()),
            Writer::Gzip(out) => out.write_all(bytes),
            Writer::Zstd(out) => out.write_all(bytes),
            Writer::Parquet(..) | Writer::Arrow(..) => Ok(()),
        };
        self.bytes += bytes.len() as u64;
        written.map_err(|error| stream_error(&self.name, &error))
    }

    pub(crate) fn finish(self) -> Result<JobSummary, DataError> {
        let mut bytes = self.bytes;
        let finished = match self.writer {
            Writer::Plain(out) => Ok(out),
            Writer::Gzip(out) => out.finish(),
            Writer::Zstd(out) => out.finish(),
            Writer::Parquet(mut writer, open, _) => write_group(&mut writer, &self.sink, &open)
                .and_then(|()| {
                    bytes = writer.bytes_written() as u64;
                    writer.into_inner().map_err(io::Error::other)
                }),
            Writer::Arrow(mut writer, open, _) => write_batch(&mut writer, &self.sink, &open)
                .and_then(|()| {
                    writer.finish().map_err(io::Error::other)?;
                    writer.into_inner().map_err(io::Error::other)
                }),
        };
        finished
            .and_then(|mut out| out.flush())
            .map_err(|error| stream_error(&self.name, &error))?;
        Ok(JobSummary {
            path: None,
            rows: self.rows,
            failed_rows: self.failed,
            bytes,
        })
    }
}

/// Writes the rows that gathered, once they are as many as belong together.
fn when_full(
    open: &mut OpenShard,
    limits: ShardLimits,
    write: impl FnOnce(&OpenShard) -> io::Result<()>,
) -> io::Result<()> {
    if open.is_full() {
        write(open)?;
        *open = OpenShard::new(limits);
    }
    Ok(())
}

fn write_batch(writer: &mut FileWriter<Out>, sink: &Sink, open: &OpenShard) -> io::Result<()> {
    match sink.arrow_schema() {
        Some(schema) => write_arrow_batch(writer, &schema, open.batches()),
        None => Ok(()),
    }
}

fn write_group(writer: &mut ArrowWriter<Out>, sink: &Sink, open: &OpenShard) -> io::Result<()> {
    match sink.parquet_schema() {
        Some(schema) => write_parquet_group(writer, &schema, open.batches()),
        None => Ok(()),
    }
}

/// Nothing of a stream is kept, so a full disk has no other remedy than any failed write.
fn stream_error(name: &std::path::Path, error: &io::Error) -> DataError {
    match DataError::writing(name, error) {
        DataError::DiskFull { path, .. } => DataError::Write {
            path,
            reason: error.to_string(),
        },
        other => other,
    }
}

impl fmt::Debug for StreamJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamJob")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
