//! A job with a model that hashes its text.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, StringBuilder};
use arrow_array::{ArrayRef, Float64Array};
use arrow_schema::{DataType, Field};
use batchwright_data::{
    AnswerColumns, Begun, Chunk, DataError, INPUT_FINGERPRINT, InputSpec, Job, JobSpec, JobSummary,
    Output, Source,
};

/// A directory for the files of one test.
pub(crate) struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Files {
        // Every shard is made durable: on a disk the tests would wait for nothing else.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        Files {
            directory: directory.unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, packed as its name says, and returns its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, pack(name, content)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The names of all files and directories, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Packs by extension.
pub(crate) fn pack(name: &str, content: &[u8]) -> Vec<u8> {
    if name.ends_with(".gz") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    } else if name.ends_with(".zst") {
        zstd::encode_all(content, 1).unwrap()
    } else {
        content.to_vec()
    }
}

/// Label, score and embedding.
pub(crate) fn answer_fields() -> Vec<Field> {
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    vec![
        Field::new("label", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
        Field::new("embedding", DataType::FixedSizeList(item, 3), true),
    ]
}

/// What the model says: depends on each row's text alone.
pub(crate) fn answers(chunk: &Chunk) -> AnswerColumns {
    let mut labels = StringBuilder::new();
    let mut scores = Vec::new();
    let mut embeddings = FixedSizeListBuilder::new(Float32Builder::new(), 3);
    for row in &chunk.rows {
        let hash = row.as_ref().ok().map(|row| {
            let pair = row.pair.as_deref().unwrap_or_default();
            *blake3::hash(format!("{}\0{pair}", row.text).as_bytes()).as_bytes()
        });
        labels.append_option(hash.map(|hash| format!("label {}", hash[0] % 5)));
        scores.push(hash.map(|hash| f64::from(hash[1]) / 255.0));
        for byte in hash.unwrap_or_default().iter().take(3) {
            embeddings.values().append_value(f32::from(*byte) / 255.0);
        }
        embeddings.append(hash.is_some());
    }
    let arrays: [ArrayRef; 3] = [
        Arc::new(labels.finish()),
        Arc::new(Float64Array::from(scores)),
        Arc::new(embeddings.finish()),
    ];
    AnswerColumns {
        columns: answer_fields().into_iter().zip(arrays).collect(),
        errors: vec![None; chunk.len()],
    }
}

/// A job over `source`, small shards, every row made safe at once.
pub(crate) fn job_spec(source: &Source, output: &Path) -> JobSpec {
    let mut spec = JobSpec::new(
        Output::file(output),
        answer_fields(),
        source.carried().clone(),
    );
    spec.rows_per_shard = 5;
    spec.checkpoint_every = Duration::ZERO;
    if let Some(input) = source.fingerprint().unwrap() {
        spec.fingerprints
            .insert(INPUT_FINGERPRINT.to_owned(), input);
    }
    spec.fingerprints
        .insert("model".to_owned(), "hash".to_owned());
    spec
}

/// The input, in chunks of a few rows.
pub(crate) fn input_spec(paths: &[String], chunk_rows: usize) -> InputSpec {
    InputSpec {
        paths: paths.iter().map(PathBuf::from).collect(),
        chunk_rows,
        ..InputSpec::default()
    }
}

/// Runs the job to its end, from wherever it is.
pub(crate) fn run(input: &InputSpec, output: &Path) -> Result<JobSummary, DataError> {
    let source = Source::open(input)?;
    let spec = job_spec(&source, output);
    run_spec(source, spec)
}

/// The same with a job of one's own.
pub(crate) fn run_spec(mut source: Source, spec: JobSpec) -> Result<JobSummary, DataError> {
    match Job::begin(spec)? {
        Begun::Complete(summary) => Ok(summary),
        Begun::Ready(mut job) => {
            source.skip_rows(job.rows_done())?;
            for chunk in source {
                let chunk = chunk?;
                job.write(&chunk, &answers(&chunk))?;
            }
            job.finish()
        }
    }
}

/// Begins a job that has something to do.
pub(crate) fn begin(spec: JobSpec) -> Job {
    match Job::begin(spec).unwrap() {
        Begun::Ready(job) => job,
        Begun::Complete(summary) => panic!("nothing left to do: {summary:?}"),
    }
}

/// All chunks of an input.
pub(crate) fn read_all(spec: &InputSpec) -> Vec<Chunk> {
    Source::open(spec)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// A file's text, unpacked.
pub(crate) fn read_text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let name = path.to_str().unwrap();
    let bytes = if name.ends_with(".gz") {
        let mut out = Vec::new();
        std::io::copy(&mut flate2::read::MultiGzDecoder::new(&*bytes), &mut out).unwrap();
        out
    } else if name.ends_with(".zst") {
        zstd::decode_all(&*bytes).unwrap()
    } else {
        bytes
    };
    String::from_utf8(bytes).unwrap()
}
