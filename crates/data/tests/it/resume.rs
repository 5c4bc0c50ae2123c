//! Jobs stopped at every point and in every state: the output has the same bytes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use batchwright_data::{Begun, DataError, InputSpec, Job, Source};

use crate::support::{Files, answers, begin, input_spec, job_spec, read_text, run, run_spec};

const OUTPUTS: [&str; 6] = [
    "o.jsonl",
    "o.jsonl.gz",
    "o.csv",
    "o.csv.zst",
    "o.tsv.gz",
    "o.parquet",
];

/// 23 rows, some of them bad: four whole shards of five rows and one of three.
fn csv() -> Vec<u8> {
    let mut text = b"text,id\n".to_vec();
    for row in 0..23 {
        let line = match row {
            3 => format!(",{row}\n"),
            9 => "ragged\n".to_owned(),
            row => format!("\"text, number\n{row}\",{row}\n"),
        };
        text.extend_from_slice(line.as_bytes());
    }
    text
}

fn jsonl() -> Vec<u8> {
    let mut text = Vec::new();
    for row in 0..23 {
        let line = match row {
            3 => "not json\n".to_owned(),
            9 => "{\"text\":null,\"late\":1}\n".to_owned(),
            row => format!("{{\"text\":\"number {row}\",\"n\":{row},\"tags\":[\"a\", {row}]}}\n"),
        };
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// Input and the bytes of an output that was never stopped.
fn expected(files: &Files, input: &str, output: &str) -> (String, Vec<u8>) {
    let content = if input.ends_with(".csv") {
        csv()
    } else {
        jsonl()
    };
    let path = files.write(input, &content);
    let whole = files.path(&format!("whole.{input}.{output}"));
    let summary = run(&input_spec(std::slice::from_ref(&path), 4), &whole).unwrap();
    assert_eq!(
        (summary.rows, summary.failed_rows),
        (23, 2),
        "{input} {output}"
    );
    (path, fs::read(whole).unwrap())
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Killed,
    Paused,
}

/// Runs until `chunks` chunks are written, then ends. Chunks have `chunk_rows` rows.
fn run_part(input: &InputSpec, output: &Path, chunks: usize, end: End, every: Duration) -> u64 {
    let mut source = Source::open(input).unwrap();
    let mut spec = job_spec(&source, output);
    spec.checkpoint_every = every;
    let mut job = begin(spec);
    let done = job.rows_done();
    source.skip_rows(done).unwrap();
    for chunk in source.take(chunks) {
        let chunk = chunk.unwrap();
        job.write(&chunk, &answers(&chunk)).unwrap();
    }
    match end {
        End::Killed => drop(job),
        End::Paused => drop(job.pause().unwrap()),
    }
    done
}

/// A night's work would have to be done again, or come out different.
#[test]
fn stopped_once_at_any_chunk() {
    let files = Files::new();
    for input in ["i.csv", "i.jsonl"] {
        for output in OUTPUTS {
            let (path, whole) = expected(&files, input, output);
            for chunks in 0..=6 {
                for (end, every, kept) in [
                    (End::Killed, Duration::ZERO, chunks * 4),
                    (End::Paused, Duration::MAX, chunks * 4),
                    (End::Killed, Duration::MAX, chunks * 4 / 5 * 5),
                ] {
                    let out = files.path(output);
                    let spec = input_spec(std::slice::from_ref(&path), 4);
                    run_part(&spec, &out, chunks, end, every);
                    let mut spec = input_spec(std::slice::from_ref(&path), 3);
                    spec.limits.chunk_bytes = 50;
                    let done = run_part(&spec, &out, 0, End::Killed, every);
                    let kept = if chunks == 6 && end == End::Killed && every > Duration::ZERO {
                        20
                    } else {
                        kept.min(23)
                    };
                    assert_eq!(done, kept as u64, "{output} after {chunks} chunks, {end:?}");
                    let summary = run(&spec, &out).unwrap();
                    assert_eq!((summary.rows, summary.failed_rows), (23, 2));
                    assert_eq!(
                        fs::read(&out).unwrap(),
                        whole,
                        "{input} {output} after {chunks}"
                    );
                    fs::remove_file(&out).unwrap();
                }
            }
        }
    }
}

/// Rows would be lost or doubled where many kills add up.
#[test]
fn stopped_after_every_chunk() {
    let files = Files::new();
    for output in OUTPUTS {
        let (path, whole) = expected(&files, "i.csv", output);
        let out = files.path(output);
        for step in 0..23 {
            let spec = input_spec(std::slice::from_ref(&path), 1);
            assert_eq!(run_part(&spec, &out, 1, End::Killed, Duration::ZERO), step);
        }
        run(&input_spec(std::slice::from_ref(&path), 7), &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), whole, "{output}");
    }
}

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// After a power cut, with any file of the job missing, cut or padded with zeros, the job would
/// stop for good or give other bytes.
#[test]
fn any_part_may_be_missing_or_cut() {
    let files = Files::new();
    for output in ["o.csv.gz", "o.parquet"] {
        let (path, whole) = expected(&files, "i.csv", output);
        let (out, parts) = (files.path(output), files.path(&format!("{output}.parts")));
        let spec = input_spec(std::slice::from_ref(&path), 3);
        for chunks in [1, 2, 4, 8] {
            run_part(&spec, &out, chunks, End::Killed, Duration::ZERO);
            let kept = files.path("kept");
            copy(&parts, &kept);
            let names: Vec<_> = fs::read_dir(&kept)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            for name in &names {
                for damage in ["missing", "empty", "cut", "padded"] {
                    copy(&kept, &parts);
                    let victim = parts.join(name);
                    let content = fs::read(&victim).unwrap();
                    match damage {
                        "missing" => fs::remove_file(&victim).unwrap(),
                        "empty" => fs::write(&victim, b"").unwrap(),
                        "cut" => fs::write(&victim, &content[..content.len() / 2]).unwrap(),
                        _ => fs::write(&victim, [&content[..], &[0; 512]].concat()).unwrap(),
                    }
                    let case = format!("{name:?} {damage} after {chunks} chunks");
                    run(&spec, &out).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(fs::read(&out).unwrap(), whole, "{case}");
                    assert!(!parts.exists());
                    fs::remove_file(&out).unwrap();
                }
            }
            // Leftovers of writes that were never renamed.
            copy(&kept, &parts);
            for name in [
                "00000000.part.tmp",
                "00000009.part.tmp",
                "00000007.part",
                "joined",
                "joined.tmp",
            ] {
                fs::write(parts.join(name), b"half").unwrap();
            }
            run(&spec, &out).unwrap();
            assert_eq!(fs::read(&out).unwrap(), whole);
            fs::remove_file(&out).unwrap();
        }
    }
}

/// A shard that the disk altered would go into the output unseen.
#[test]
fn an_altered_shard_is_noticed_and_computed_again() {
    let files = Files::new();
    for output in ["o.jsonl", "o.parquet"] {
        let (path, whole) = expected(&files, "i.csv", output);
        let out = files.path(output);
        let spec = input_spec(std::slice::from_ref(&path), 4);
        run_part(&spec, &out, 4, End::Killed, Duration::ZERO);
        let shard = files.path(&format!("{output}.parts")).join("00000001.part");
        let mut content = fs::read(&shard).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&shard, content).unwrap();
        let error = run(&spec, &out).unwrap_err();
        assert!(
            matches!(&error, DataError::ShardDamaged { row: 6, .. }),
            "{error}"
        );
        assert!(!out.exists());
        run(&spec, &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), whole, "{output}");
    }
}

/// A kill in the last second, between joining and clearing up, would cost the whole job.
#[test]
fn killed_while_finishing() {
    let files = Files::new();
    for output in ["o.csv.zst", "o.parquet"] {
        let (path, whole) = expected(&files, "i.csv", output);
        let (out, parts) = (files.path(output), files.path(&format!("{output}.parts")));
        let record = files.path(&format!("{output}.manifest.json"));
        let spec = input_spec(std::slice::from_ref(&path), 4);
        run_part(&spec, &out, 6, End::Paused, Duration::ZERO);
        let before = files.path("before");
        copy(&parts, &before);
        run(&spec, &out).unwrap();
        let finished = fs::read(&record).unwrap();

        let states: [(&str, &dyn Fn()); 6] = [
            ("joining", &|| {
                fs::write(parts.join("joined.tmp"), &whole[..9]).unwrap()
            }),
            ("joined", &|| {
                fs::write(parts.join("joined"), &whole).unwrap()
            }),
            ("recorded", &|| {
                fs::write(parts.join("joined"), &whole).unwrap();
                fs::write(parts.join("manifest.json"), &finished).unwrap();
            }),
            ("renamed", &|| {
                fs::write(&out, &whole).unwrap();
                fs::write(parts.join("manifest.json"), &finished).unwrap();
            }),
            ("record moved", &|| {
                fs::write(&out, &whole).unwrap();
                fs::write(&record, &finished).unwrap();
                fs::remove_file(parts.join("manifest.json")).unwrap();
            }),
            ("recorded, but the joined file is lost", &|| {
                fs::write(parts.join("manifest.json"), &finished).unwrap();
            }),
        ];
        for (state, make) in states {
            let _ = fs::remove_file(&out);
            let _ = fs::remove_file(&record);
            copy(&before, &parts);
            make();
            let summary = run(&spec, &out).unwrap_or_else(|e| panic!("{state}: {e}"));
            assert_eq!((summary.rows, summary.failed_rows), (23, 2), "{state}");
            assert_eq!(fs::read(&out).unwrap(), whole, "{state}");
            assert_eq!(fs::read(&record).unwrap(), finished, "{state}");
            assert!(!parts.exists(), "{state}");
        }
    }
}

/// Running a finished command again would compute all night, to no effect.
#[test]
fn finished_jobs_are_known() {
    let files = Files::new();
    let (path, whole) = expected(&files, "i.csv", "o.csv");
    let out = files.path("o.csv");
    let spec = input_spec(std::slice::from_ref(&path), 4);
    run(&spec, &out).unwrap();
    let source = Source::open(&spec).unwrap();
    let begun = Job::begin(job_spec(&source, &out)).unwrap();
    let Begun::Complete(summary) = begun else {
        panic!("would run again")
    };
    assert_eq!((summary.rows, summary.failed_rows), (23, 2));
    assert_eq!(summary.bytes, whole.len() as u64);
}

/// Row groups cut otherwise, or text packed otherwise, would still be the same rows: but a limit
/// in bytes has to cut at the same rows as well.
#[test]
fn shards_bounded_in_bytes_are_the_same_too() {
    let files = Files::new();
    let path = files.write("i.csv", &csv());
    for output in ["o.jsonl.gz", "o.parquet"] {
        let bounded = |out: &Path, chunk_rows: usize| {
            let source =
                Source::open(&input_spec(std::slice::from_ref(&path), chunk_rows)).unwrap();
            let mut spec = job_spec(&source, out);
            spec.shard_bytes = 200;
            (source, spec)
        };
        let whole = files.path(&format!("whole.{output}"));
        let (source, spec) = bounded(&whole, 100);
        run_spec(source, spec).unwrap();
        let out = files.path(output);
        for _ in 0..7 {
            let (mut source, spec) = bounded(&out, 3);
            let mut job = begin(spec);
            source.skip_rows(job.rows_done()).unwrap();
            let chunk = source.next().unwrap().unwrap();
            job.write(&chunk, &answers(&chunk)).unwrap();
        }
        let (source, spec) = bounded(&out, 2);
        run_spec(source, spec).unwrap();
        assert_eq!(
            fs::read(&out).unwrap(),
            fs::read(&whole).unwrap(),
            "{output}"
        );
    }
    assert_eq!(read_text(&files.path("o.jsonl.gz")).lines().count(), 23);
}
