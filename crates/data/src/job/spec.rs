//! What a job is to write, and what makes it the same job again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arrow_schema::Field;

use crate::SinkFormat;
use crate::chunk::CarriedColumns;

/// The key in [`JobSpec::fingerprints`] under which the input's own fingerprint stands.
///
/// A job without it reads something that cannot be read twice, and cannot be continued.
pub const INPUT_FINGERPRINT: &str = "input";

/// The first 128 bits of a hash in hex: enough to tell anything apart, and a message can be read. What is shorter
/// stays as it is.
#[must_use]
pub fn short_hash(hash: &str) -> &str {
    hash.get(..32).unwrap_or(hash)
}

/// A job to begin or to continue.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Where the rows go.
    pub output: Output,
    /// Name and type of each answer. An embedding is a fixed-size list of f32 or f16.
    pub answer_fields: Vec<Field>,
    /// The columns that pass through: [`Source::carried`](crate::Source::carried). One that is called
    /// [`error`](crate::ERROR_COLUMN) and holds what an earlier job says of its rows goes into the job's own.
    pub carried: CarriedColumns,
    /// Everything that determines the output: model, tokenizer, options,
    /// [input](INPUT_FINGERPRINT). Where one differs, an unfinished job is not continued, and the
    /// message names it with both values: so keep each option under its own name.
    pub fingerprints: BTreeMap<String, String>,
    /// A file that belongs to the output; not for streams.
    pub companion: Option<Companion>,
    /// Rows of a shard, and so of a Parquet row group. Determines bytes.
    pub rows_per_shard: u64,
    /// Bytes of rows at which a shard ends before it has all its rows: the rows of a shard wait
    /// in memory. Determines bytes.
    pub shard_bytes: u64,
    /// How long rows may wait in memory before they are safe on disk. Determines no bytes.
    pub checkpoint_every: Duration,
    /// What to do with what lies there already.
    pub restart: Restart,
}

impl JobSpec {
    /// A job with 8,192 rows and at most 8 MiB a shard, made safe every two seconds.
    #[must_use]
    pub fn new(output: Output, answer_fields: Vec<Field>, carried: CarriedColumns) -> JobSpec {
        JobSpec {
            output,
            answer_fields,
            carried,
            fingerprints: BTreeMap::new(),
            companion: None,
            rows_per_shard: 8_192,
            shard_bytes: 8 << 20,
            checkpoint_every: Duration::from_secs(2),
            restart: Restart::No,
        }
    }
}

/// A small file that an output is of no use without, such as the vocabulary of its ids.
///
/// It waits among the parts and takes its place when the output does: so the two always belong together. Where
/// it is missing beside a finished output, it is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// What stands behind the output's name in its own, such as `.vocabulary.json`.
    pub suffix: String,
    /// What it holds: determined by the [fingerprints](JobSpec::fingerprints).
    pub content: Vec<u8>,
}

/// Where the rows of a job go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard output, as they come. Such a job cannot be continued.
    Stdout(SinkFormat),
    /// To a file, which appears when it is whole. Where the path is a link, that is the file behind
    /// it.
    ///
    /// A device or a named pipe is written as standard output is.
    File {
        /// The file.
        path: PathBuf,
        /// Its format; `None` takes it from the extension. A device or a named pipe without one gets
        /// JSON Lines.
        format: Option<SinkFormat>,
    },
}

impl Output {
    /// A file whose extension tells the format.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Output {
        Output::File {
            path: path.into(),
            format: None,
        }
    }
}

/// What to do with an unfinished job or a finished output of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Continue the unfinished job; leave a finished output alone.
    #[default]
    No,
    /// Begin afresh. A finished output stays until the new one takes its place.
    Yes,
}

/// What a finished job wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// The output; `None` for standard output.
    pub path: Option<PathBuf>,
    /// Rows, bad ones included: as many as the input has.
    pub rows: u64,
    /// Rows that carry an error, those of earlier processes included.
    pub failed_rows: u64,
    /// Bytes of the output; of a stream before it is packed.
    pub bytes: u64,
}
