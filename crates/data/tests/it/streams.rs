//! Standard output and devices: rows leave as they come, and nothing is kept.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use batchwright_data::{Compression, DataError, Format, Job, JobSpec, Output, SinkFormat, Source};

use crate::support::{Files, answer_fields, answers, input_spec, job_spec, read_all, run};

/// A stream whose content can be looked at, and which breaks after some bytes.
#[derive(Clone)]
struct Pipe {
    content: Arc<Mutex<Vec<u8>>>,
    room: usize,
    error: io::ErrorKind,
}

impl Pipe {
    fn new(room: usize, error: io::ErrorKind) -> Pipe {
        Pipe {
            content: Arc::default(),
            room,
            error,
        }
    }

    fn content(&self) -> Vec<u8> {
        self.content.lock().unwrap().clone()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = self.content.lock().unwrap();
        if content.len() + bytes.len() > self.room {
            return Err(self.error.into());
        }
        content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn format(format: Format, compression: Compression) -> SinkFormat {
    SinkFormat::new(format, compression).unwrap()
}

fn input(files: &Files) -> Source {
    let text: String = (0..17).map(|row| format!("row {row}\n")).collect();
    let path = files.write("in.txt", text.as_bytes());
    Source::open(&input_spec(&[path], 3)).unwrap()
}

fn spec(source: &Source) -> JobSpec {
    let mut spec = JobSpec::new(
        Output::Stdout(SinkFormat::JSONL),
        answer_fields(),
        source.carried().clone(),
    );
    spec.rows_per_shard = 5;
    spec
}

/// What comes by pipe would differ from what is written to a file.
#[test]
fn a_stream_has_the_rows_of_the_file() {
    for (kind, name) in [
        (format(Format::Jsonl, Compression::None), "o.jsonl"),
        (format(Format::Csv, Compression::Gzip), "o.csv.gz"),
        (format(Format::Tsv, Compression::Zstd), "o.tsv.zst"),
        (format(Format::Parquet, Compression::None), "o.parquet"),
    ] {
        let files = Files::new();
        let source = input(&files);
        let pipe = Pipe::new(usize::MAX, io::ErrorKind::Other);
        let mut job = Job::begin_stream(Box::new(pipe.clone()), kind, &spec(&source)).unwrap();
        let mut seen = 0;
        for chunk in source {
            let chunk = chunk.unwrap();
            job.write(&chunk, &answers(&chunk)).unwrap();
            if kind == SinkFormat::JSONL {
                // A reader at the other end need not wait for the end of the job.
                let lines = pipe.content().iter().filter(|b| **b == b'\n').count();
                assert_eq!(lines as u64, job.rows_done());
            }
            seen += chunk.len();
        }
        assert_eq!(seen, 17);
        assert!(!job.is_resumable());
        assert_eq!(job.finish().unwrap().rows, 17);

        let out = files.path(name);
        let whole = files.path(&format!("file.{name}"));
        std::fs::write(&out, pipe.content()).unwrap();
        run(
            &input_spec(&[files.path("in.txt").to_str().unwrap().to_owned()], 4),
            &whole,
        )
        .unwrap();
        if kind.format() == Format::Parquet {
            let rows = |path: &Path| {
                let mut spec = input_spec(&[path.to_str().unwrap().to_owned()], 100);
                spec.columns.text = Some("text".to_owned());
                format!("{:?}", read_all(&spec)[0].carried)
            };
            assert_eq!(rows(&out), rows(&whole));
        } else {
            assert_eq!(
                crate::support::read_text(&out),
                crate::support::read_text(&whole),
                "{name}"
            );
        }
    }
}

/// `… | head` would end with an error message.
#[test]
fn a_closed_pipe_is_no_fault() {
    for kind in [Format::Jsonl, Format::Parquet] {
        let files = Files::new();
        let source = input(&files);
        let pipe = Pipe::new(200, io::ErrorKind::BrokenPipe);
        let kind = format(kind, Compression::None);
        let mut job = Job::begin_stream(Box::new(pipe), kind, &spec(&source)).unwrap();
        let mut result = Ok(());
        for chunk in source {
            let chunk = chunk.unwrap();
            result = result.and_then(|()| job.write(&chunk, &answers(&chunk)).map(drop));
        }
        let result = result.and_then(|()| job.finish().map(drop));
        assert!(result.unwrap_err().is_broken_pipe());
    }
}

/// A user would be told to run the same command again, though nothing was kept.
#[test]
fn a_full_device_is_told_without_false_hope() {
    let files = Files::new();
    let source = input(&files);
    let pipe = Pipe::new(200, io::ErrorKind::StorageFull);
    let mut job = Job::begin_stream(Box::new(pipe), SinkFormat::JSONL, &spec(&source)).unwrap();
    let results: Vec<_> = source
        .map(|chunk| {
            let chunk = chunk.unwrap();
            job.write(&chunk, &answers(&chunk))
        })
        .collect();
    let Err(error) = results.into_iter().collect::<Result<Vec<_>, _>>() else {
        panic!("no error")
    };
    assert!(matches!(error, DataError::Write { .. }), "{error}");
}

/// `-o /dev/null` would try to make a directory beside the device.
#[cfg(unix)]
#[test]
fn devices_are_written_as_streams() {
    for (device, full) in [("/dev/null", false), ("/dev/full", true)] {
        if !Path::new(device).exists() {
            continue;
        }
        let files = Files::new();
        let source = input(&files);
        let job = job_spec(&source, Path::new(device));
        let result = crate::support::run_spec(source, job);
        match result {
            Ok(summary) => assert!(!full && summary.rows == 17),
            Err(error) => assert!(full && error.to_string().contains("/dev/full"), "{error}"),
        }
    }
}
