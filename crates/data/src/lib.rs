//! Sources and sinks of rows, and jobs that survive being killed.
//!
//! A batch job reads rows, asks a model about each, and writes them out again with its answers.
//! This crate is the reading and the writing:
//!
//! * [`Source`] reads CSV, TSV, JSON Lines, Parquet and plain lines, packed with gzip or Zstandard,
//!   from files, globs or standard input, as one run of [`Chunk`]s.
//! * [`Job`] writes JSON Lines, CSV, TSV and Parquet. Killed at any moment and begun again, it goes
//!   on where it was, and its output has the same bytes as if nothing had happened.
//!
//! * [`ArrayJob`] writes arrays of numbers (`.npy`) under the same promise, without a cost for each row.
//!
//! It knows no model: answers are Arrow columns, made by whoever calls.
//!
//! # What it promises
//!
//! **Rows out are rows in**, in their order. A bad row (not UTF-8, no value, no JSON, too few
//! cells, too long) is an error *in its place*, a [`RowError`] with a stable code; it has its row
//! in the output like any other, and tells in the column [`error`](ERROR_COLUMN) what is wrong with
//! it. An input that has such a column, being the output of an earlier job, passes its errors on there.
//! What stops a job is a [`DataError`]: a file that breaks off, a full disk, a wrong option.
//!
//! **Memory does not grow with the input.** A chunk is bounded in rows and bytes, a row in bytes, a
//! shard in rows and bytes.
//!
//! **What passes through is not altered.** CSV cells stay the text that they are, Parquet columns
//! keep their Arrow types, and JSON Lines written as JSON Lines keep every key, every digit and
//! every escape. (Bytes that are not UTF-8 become U+FFFD: no output format can hold them.)
//!
//! # The flow
//!
//! ```text
//! files ─► unpack ─► rows of a format ─► Chunk ─► (the model) ─► AnswerColumns
//!                                          │                          │
//!                                          └──────► Job::write ◄──────┘
//!                                                       │
//!            joined and renamed ◄─ shards on disk ◄─ rows of the output's format
//! ```
//!
//! # Example
//!
//! The whole of a job which counts the characters of each text, and can be run again after a kill:
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{ArrayRef, UInt64Array};
//! use arrow_schema::{DataType, Field};
//! use batchwright_data::{
//!     AnswerColumns, Begun, INPUT_FINGERPRINT, InputSpec, Job, JobSpec, Output, Source,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let input = directory.path().join("queries.csv");
//! # std::fs::write(&input, "text,id\nturn on the lights,7\n,8\n")?;
//! # let output = directory.path().join("lengths.jsonl");
//! let mut source = Source::open(&InputSpec::new(&input))?;
//!
//! let field = Field::new("characters", DataType::UInt64, true);
//! let mut spec = JobSpec::new(
//!     Output::file(&output),
//!     vec![field.clone()],
//!     source.carried().clone(),
//! );
//! if let Some(fingerprint) = source.fingerprint()? {
//!     spec.fingerprints.insert(INPUT_FINGERPRINT.into(), fingerprint);
//! }
//! spec.fingerprints.insert("model".into(), "counts characters".into());
//!
//! let summary = match Job::begin(spec)? {
//!     Begun::Complete(summary) => summary, // the same command ran before: nothing to do
//!     Begun::Ready(mut job) => {
//!         source.skip_rows(job.rows_done())?;
//!         for chunk in source {
//!             let chunk = chunk?;
//!             let counts = chunk.rows.iter().map(|row| {
//!                 row.as_ref().ok().map(|row| row.text.chars().count() as u64)
//!             });
//!             let counts: ArrayRef = Arc::new(counts.collect::<UInt64Array>());
//!             let answers = AnswerColumns {
//!                 columns: vec![(field.clone(), counts)],
//!                 errors: vec![None; chunk.len()], // a row's own error need not be repeated
//!             };
//!             job.write(&chunk, &answers)?;
//!         }
//!         job.finish()?
//!     }
//! };
//! assert_eq!((summary.rows, summary.failed_rows), (2, 1));
//! # let written = std::fs::read_to_string(&output)?;
//! # let mut lines = written.lines();
//! # assert_eq!(lines.next(), Some(r#"{"text":"turn on the lights","id":"7","characters":18}"#));
//! # assert!(lines.next().unwrap().contains(r#""error":"missing_value: row 2 "#));
//! # Ok(())
//! # }
//! ```
//!
//! # Bad rows
//!
//! | code | when |
//! |---|---|
//! | `missing_value` | the text is null or absent; an empty cell in CSV; an empty line of plain text |
//! | `invalid_utf8` | the text has bytes that are not UTF-8, or half a surrogate pair |
//! | `wrong_type` | the text of a JSON row is not a string |
//! | `invalid_json` | a line is not one JSON object |
//! | `ragged_row` | a CSV row has more or fewer cells than the header |
//! | `unclosed_quote` | a CSV quote is opened and the file ends |
//! | `row_too_large` | a row exceeds the limit (64 MiB by default); it is not read into memory |
//! | `column_type` | from JSON Lines to Parquet: a value does not fit its column |
//! | `column_unknown` | from JSON Lines to CSV or Parquet: a key has no column |
//! | `column_collision` | from JSON Lines: a key bears an answer's name |
//!
//! Rows with the last three have their answer none the less; the value that has no place stands in
//! the message. With [`SurveyDepth::Everything`] they do not occur for files.
//!
//! White lines are no rows in JSON Lines and in CSV, as those formats have it; in plain text every
//! line is a row.

mod chunk;
mod error;
mod format;
mod guard;
mod job;
mod json_row;
mod row;
mod sink;
mod source;
mod survey;

pub use chunk::{Carried, CarriedColumns, Chunk, Places};
pub use error::DataError;
pub use format::{Compression, Format, SinkFormat};
pub use guard::is_guarded;
pub use job::{
    ArrayBegun, ArrayJob, ArraySpec, Begun, Companion, Element, INPUT_FINGERPRINT, Job, JobSpec,
    JobSummary, Output, Restart, Written, behind_links, is_stream, short_hash,
};
pub use json_row::JsonRow;
pub use row::{Place, RowError, RowText, Within};
pub use sink::{AnswerColumns, ERROR_COLUMN, json_field};
pub use source::{
    Block, BlockFacts, Blocks, CarryText, ColumnChoice, Filled, InputLimits, InputProgress,
    InputSpec, Lengths, PlainText, Source, SurveyDepth, rows as block_rows,
};
