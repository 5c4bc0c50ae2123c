//! What may lie where the output is to go, and what a user is told about it.

use std::fs;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use batchwright_data::{
    Begun, Carried, CarriedColumns, ColumnChoice, DataError, INPUT_FINGERPRINT, InputSpec, Job,
    JobSpec, Output, Restart, Source,
};

use parquet::arrow::ArrowWriter;

use crate::support::{Files, answers, begin, input_spec, job_spec, read_text, run, run_spec};

const INPUT: &[u8] = b"text,id\na,1\nb,2\nc,3\nd,4\ne,5\nf,6\ng,7\n";

fn spec(files: &Files, output: &str) -> (Source, JobSpec) {
    let path = files.write("in.csv", INPUT);
    let source = Source::open(&input_spec(&[path], 3)).unwrap();
    let spec = job_spec(&source, &files.path(output));
    (source, spec)
}

/// Leaves an unfinished job of six rows behind.
fn unfinished(files: &Files, output: &str) {
    let (source, spec) = spec(files, output);
    let mut job = begin(spec);
    for chunk in source.take(2) {
        let chunk = chunk.unwrap();
        job.write(&chunk, &answers(&chunk)).unwrap();
    }
}

fn refusal(spec: JobSpec) -> String {
    Job::begin(spec).map(drop).unwrap_err().to_string()
}

/// An afternoon's file would be overwritten without a question.
#[test]
fn a_file_that_is_not_the_jobs_is_left_alone() {
    let files = Files::new();
    let output = files.path("out.csv");
    files.write("out.csv", b"precious\n");
    let (source, job) = spec(&files, "out.csv");
    let message = refusal(job);
    assert!(message.contains("out.csv: exists already"), "{message}");
    assert!(message.contains("--restart"), "{message}");
    assert!(!files.path("out.csv.parts").exists());

    // The file stays until the new one is whole.
    let (_, mut job) = spec(&files, "out.csv");
    job.restart = Restart::Yes;
    let started = begin(job);
    assert_eq!(fs::read(&output).unwrap(), b"precious\n");
    drop(started);
    let (_, job) = spec(&files, "out.csv");
    run_spec(source, job).unwrap();
    assert!(
        fs::read_to_string(&output)
            .unwrap()
            .starts_with("text,id,label")
    );
}

/// A user who changed an option would get old answers, or lose a finished file.
#[test]
fn a_finished_output_of_another_job_is_left_alone() {
    let files = Files::new();
    let (source, job) = spec(&files, "out.csv");
    run_spec(source, job).unwrap();
    let (_, mut job) = spec(&files, "out.csv");
    job.fingerprints.insert("model".into(), "other".into());
    let message = refusal(job);
    assert!(
        message.contains("from a job that differs: model: hash -> other"),
        "{message}"
    );

    let mut text = fs::read(files.path("out.csv")).unwrap();
    text[20] ^= 1;
    fs::write(files.path("out.csv"), text).unwrap();
    let (_, job) = spec(&files, "out.csv");
    let message = refusal(job);
    assert!(
        message.contains("was changed after the job that wrote it"),
        "{message}"
    );
}

/// Half the rows would come from one model and half from another.
#[test]
fn an_unfinished_job_is_continued_only_as_it_was() {
    let files = Files::new();
    unfinished(&files, "out.csv");
    type Change = fn(&mut JobSpec);
    let changes: [(Change, &str); 6] = [
        (
            |s| drop(s.fingerprints.insert("model".into(), "b".into())),
            "model: hash -> b",
        ),
        (
            |s| drop(s.fingerprints.insert("option top_k".into(), "3".into())),
            "option top_k: (none) -> 3",
        ),
        (
            |s| drop(s.fingerprints.remove(INPUT_FINGERPRINT)),
            "-> (none)",
        ),
        (|s| s.rows_per_shard = 6, "rows per shard: 5 -> 6"),
        (|s| s.answer_fields.truncate(2), "output columns: "),
        (|s| s.carried = CarriedColumns::none(), "output columns: "),
    ];
    for (change, words) in changes {
        let (_, mut job) = spec(&files, "out.csv");
        change(&mut job);
        let message = refusal(job);
        assert!(
            message.contains(words) && message.contains("--restart"),
            "{message}"
        );
    }
    // Nothing was harmed: it goes on.
    let (_, job) = spec(&files, "out.csv");
    assert_eq!(begin(job).rows_done(), 6);
    // And --restart begins afresh.
    let (_, mut job) = spec(&files, "out.csv");
    job.restart = Restart::Yes;
    job.fingerprints.insert("model".into(), "b".into());
    assert_eq!(begin(job).rows_done(), 0);
}

/// A changed input would be continued in the middle.
#[test]
fn a_changed_input_is_another_job() {
    let files = Files::new();
    unfinished(&files, "out.csv");
    let path = files.write("in.csv", &INPUT.replace_first(b'a', b'A'));
    let error = run(&input_spec(&[path], 3), &files.path("out.csv")).unwrap_err();
    let DataError::JobDiffers { differences, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        differences.len() == 1 && differences[0].starts_with("input: "),
        "{error}"
    );
}

trait ReplaceFirst {
    fn replace_first(&self, from: u8, to: u8) -> Vec<u8>;
}

impl ReplaceFirst for [u8] {
    fn replace_first(&self, from: u8, to: u8) -> Vec<u8> {
        let at = self.windows(2).position(|w| w == [b'\n', from]).unwrap();
        let mut changed = self.to_vec();
        changed[at + 1] = to;
        changed
    }
}

/// Standard input is gone: rows would be answered twice or never.
#[test]
fn a_job_over_standard_input_is_not_continued() {
    let files = Files::new();
    let unrepeatable = |restart| {
        let (source, mut job) = spec(&files, "out.csv");
        job.fingerprints.remove(INPUT_FINGERPRINT);
        job.restart = restart;
        (source, job)
    };
    let (source, job) = unrepeatable(Restart::No);
    let mut job = begin(job);
    assert!(!job.is_resumable());
    let chunk = source.take(1).next().unwrap().unwrap();
    job.write(&chunk, &answers(&chunk)).unwrap();
    drop(job);
    let (_, job) = unrepeatable(Restart::No);
    let message = refusal(job);
    assert!(
        message.contains("standard input") && message.contains("--restart"),
        "{message}"
    );
    let (source, job) = unrepeatable(Restart::Yes);
    assert_eq!(run_spec(source, job).unwrap().rows, 7);
    // Finished: whether the next standard input is the same nobody knows.
    let (_, job) = unrepeatable(Restart::No);
    assert!(refusal(job).contains("from an earlier run over standard input"));
}

/// Two processes would write one output.
#[test]
fn one_process_at_a_time() {
    let files = Files::new();
    let (_, job) = spec(&files, "out.csv");
    let first = begin(job);
    let (_, job) = spec(&files, "out.csv");
    assert!(refusal(job).contains("another process is writing this output"));
    drop(first);
    let (_, job) = spec(&files, "out.csv");
    begin(job);
}

/// The model would be loaded and the first shard computed before the typing error shows.
#[test]
fn impossible_outputs_are_refused_at_once() {
    let files = Files::new();
    fs::create_dir(files.path("dir.csv")).unwrap();
    fs::create_dir(files.path("theirs.csv.parts")).unwrap();
    fs::write(files.path("theirs.csv.parts/thesis.doc"), "x").unwrap();
    files.write("mine.csv.manifest.json", b"{\"mine\":1}");
    let cases = [
        (
            "no/such/out.csv",
            "there is no such directory to write into; create it with `mkdir -p",
        ),
        ("out.xyz", "its extension names no known format"),
        ("out.txt", "plain lines cannot hold answers"),
        ("dir.csv", "it is a directory"),
        ("mine.csv", "another file has it; move that away"),
        (
            "theirs.csv",
            "holds `thesis.doc`, which is no part of a job",
        ),
    ];
    for (output, words) in cases {
        let (_, job) = spec(&files, output);
        let message = refusal(job);
        assert!(message.contains(words), "{message}");
    }
    let left: Vec<_> = fs::read_dir(files.path("theirs.csv.parts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["thesis.doc"], "nothing of ours is put there");
}

/// Everything would be computed, and then the record of it find no place.
#[test]
fn a_name_that_is_too_long_is_refused_at_once() {
    let files = Files::new();
    let (_, job) = spec(&files, &format!("{}.csv", "n".repeat(240)));
    let message = refusal(job);
    assert!(
        message.contains("too long") && message.contains("shorter -o"),
        "{message}"
    );
}

/// A desktop's or a network file system's file among the parts would make a finished job fail, now
/// and whenever the same command runs.
#[test]
fn a_stray_file_among_the_parts_is_no_failure() {
    let files = Files::new();
    let (source, job) = spec(&files, "out.csv");
    let mut job = begin(job);
    for chunk in source {
        let chunk = chunk.unwrap();
        job.write(&chunk, &answers(&chunk)).unwrap();
    }
    files.write("out.csv.parts/.DS_Store", b"x");
    assert_eq!(job.finish().unwrap().rows, 7);
    let left: Vec<_> = fs::read_dir(files.path("out.csv.parts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".DS_Store"], "it stays, the shards do not");
    let (_, job) = spec(&files, "out.csv");
    assert!(matches!(Job::begin(job), Ok(Begun::Complete(_))));
}

/// The link, say to a larger disk, would become a file on the small one.
#[cfg(unix)]
#[test]
fn an_output_behind_a_link_goes_where_the_link_points() {
    let files = Files::new();
    fs::create_dir(files.path("large")).unwrap();
    std::os::unix::fs::symlink("large/real.csv", files.path("out.csv")).unwrap();
    let (source, job) = spec(&files, "out.csv");
    let summary = run_spec(source, job).unwrap();
    assert!(files.path("out.csv").is_symlink());
    assert_eq!(summary.path, Some(files.path("large/real.csv")));
    assert!(files.path("large/real.csv.manifest.json").exists());
    let (_, job) = spec(&files, "out.csv");
    assert!(matches!(Job::begin(job), Ok(Begun::Complete(_))));
}

/// A column of the input would be taken for an answer, or overwrite it.
#[test]
fn names_of_answers_are_not_for_the_input() {
    let files = Files::new();
    let earlier = "missing_value: row 1 (a.txt line 1): `text` has no value";
    let path = files.write(
        "in.csv",
        format!("text,label,error\na,x,{earlier}\n").as_bytes(),
    );
    let error = run(
        &input_spec(std::slice::from_ref(&path), 3),
        &files.path("o.csv"),
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("columns called `label`, "), "{message}");
    assert!(message.contains("--drop label"), "{message}");
    // An earlier job's error goes on in this one's column, unless it is left out.
    let told = format!(",{earlier}\n");
    for (drop, ending, failed) in [
        (&["label"][..], told.as_str(), 1),
        (&["label", "error"], ",\n", 0),
    ] {
        let columns = ColumnChoice {
            drop: drop.iter().map(|name| (*name).to_owned()).collect(),
            ..ColumnChoice::default()
        };
        let input = InputSpec {
            columns,
            ..input_spec(std::slice::from_ref(&path), 3)
        };
        let output = files.path(&format!("{}.csv", drop.len()));
        assert_eq!(run(&input, &output).unwrap().failed_rows, failed);
        let text = read_text(&output);
        assert!(
            text.starts_with("text,label,score,embedding,error\n"),
            "{text}"
        );
        assert!(text.ends_with(ending), "{text}");
    }
}

/// Somebody's measurements would be lost, and every row count as failed.
#[test]
fn a_column_called_error_that_holds_no_errors_is_refused() {
    let texts = |array: ArrayRef| {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let batch = RecordBatch::try_from_iter([("text", text), ("error", array)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    };
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["yes"]));
    let ours: ArrayRef = Arc::new(LargeStringArray::from(vec!["too_long: row 1: x"]));
    let dictionary: DictionaryArray<Int32Type> = ["too_long: row 1: x"].into_iter().collect();
    let files = Files::new();
    let later = "{\"text\":\"a\"}\n".repeat(1_100) + "{\"text\":\"a\",\"error\":\"yes\"}\n";
    // A later row in JSON Lines is a bad one; the others end the job.
    let cases: [(&str, Vec<u8>, Result<u64, &str>); 10] = [
        ("number.csv", b"text,error\na,0.05\n".into(), Err("row 1 (")),
        ("word.tsv", b"text\terror\na\tyes\n".into(), Err("`yes`")),
        ("empty.csv", b"text,error\na,\n".into(), Ok(0)),
        (
            "number.jsonl",
            b"{\"text\":\"a\",\"error\":0.05}\n".into(),
            Err("columns called `error`"),
        ),
        (
            "word.jsonl",
            b"{\"text\":\"a\",\"error\":\"TypeError: x\"}\n".into(),
            Err("columns called `error`"),
        ),
        (
            "null.jsonl",
            b"{\"text\":\"a\",\"error\":null}\n".into(),
            Ok(0),
        ),
        ("later.jsonl", later.into(), Ok(1)),
        ("large.parquet", texts(large), Err("`yes`")),
        ("ours.parquet", texts(ours), Ok(1)),
        (
            "dictionary.parquet",
            texts(Arc::new(dictionary)),
            Err("columns called `error`"),
        ),
    ];
    for (name, content, expected) in cases {
        let path = files.path(name);
        fs::write(&path, content).unwrap();
        let mut input = input_spec(&[path.to_str().unwrap().to_owned()], 3);
        input.columns.text = Some("text".to_owned());
        let output = files.path(&format!("{name}.out.jsonl"));
        match (run(&input, &output), expected) {
            (Ok(summary), Ok(failed)) => assert_eq!(summary.failed_rows, failed, "{name}"),
            (Err(error), Err(words)) => {
                let message = error.to_string();
                assert!(message.contains(words), "{name}: {message}");
                assert!(message.ends_with("--drop error"), "{name}: {message}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
        input.columns.drop = vec!["error".to_owned()];
        let again = run(&input, &files.path(&format!("{name}.again.jsonl")));
        assert_eq!(again.unwrap().failed_rows, 0, "{name}");
    }
}

/// Readers would find one of two columns of a name.
#[test]
fn answers_have_names_of_their_own() {
    let files = Files::new();
    let (_, job) = spec(&files, "out.jsonl");
    for name in ["error", "label"] {
        let mut job = job.clone();
        job.answer_fields
            .push(Field::new(name, DataType::Utf8, true));
        let message = Job::begin(job).map(|_| ()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("two columns called `{name}`")),
            "{message}"
        );
    }
    assert!(!files.path("out.jsonl.parts").exists());
}

/// A file that another program wrote meanwhile would be lost.
#[test]
fn a_file_that_appears_meanwhile_is_kept() {
    let files = Files::new();
    let (source, job) = spec(&files, "out.csv");
    let mut job = begin(job);
    for chunk in source {
        let chunk = chunk.unwrap();
        job.write(&chunk, &answers(&chunk)).unwrap();
    }
    files.write("out.csv", b"new and precious\n");
    let message = job.finish().unwrap_err().to_string();
    assert!(
        message.contains("move it away and run the same command again"),
        "{message}"
    );
    assert_eq!(
        fs::read(files.path("out.csv")).unwrap(),
        b"new and precious\n"
    );
    fs::remove_file(files.path("out.csv")).unwrap();
    let (_, job) = spec(&files, "out.csv");
    let Begun::Complete(summary) = Job::begin(job).unwrap() else {
        panic!("rows were lost")
    };
    assert_eq!(summary.rows, 7);
}

/// A caller's slip would shift answers against rows.
#[test]
fn answers_that_do_not_fit_are_refused() {
    let files = Files::new();
    let (source, job) = spec(&files, "out.csv");
    let chunks: Vec<_> = source.collect::<Result<_, _>>().unwrap();
    let mut job = begin(job);
    let refused = |job: &mut Job, chunk, answers: &_, words: &str| {
        let message = job.write(chunk, answers).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(
        &mut job,
        &chunks[1],
        &answers(&chunks[1]),
        "begins at row 4, but row 1 is due",
    );
    refused(
        &mut job,
        &chunks[0],
        &answers(&chunks[2]),
        "errors for 3 rows",
    );
    let mut fewer = answers(&chunks[0]);
    fewer.columns.pop();
    refused(
        &mut job,
        &chunks[0],
        &fewer,
        "2 columns where the job has 3",
    );
    let mut turned = answers(&chunks[0]);
    turned.columns.swap(0, 1);
    refused(
        &mut job,
        &chunks[0],
        &turned,
        "`label` of type Utf8 is due, not `score`",
    );
    let mut narrow = chunks[0].clone();
    let Carried::Table(table) = &mut narrow.carried else {
        panic!("no table")
    };
    table.remove_column(0);
    refused(
        &mut job,
        &narrow,
        &answers(&narrow),
        "1 columns pass through where the job has 2",
    );
    assert_eq!(job.rows_done(), 0);
    job.write(&chunks[0], &answers(&chunks[0])).unwrap();
}

/// An output without rows would be no file of its format.
#[test]
fn no_rows_are_an_output_too() {
    let files = Files::new();
    let path = files.write("in.csv", b"text,id\n");
    for (output, content) in [
        ("out.jsonl", Some("")),
        ("out.csv", Some("text,id,label,score,embedding,error\n")),
        (
            "out.tsv.gz",
            Some("text\tid\tlabel\tscore\tembedding\terror\n"),
        ),
        ("out.parquet", None),
    ] {
        let out = files.path(output);
        let summary = run(&input_spec(std::slice::from_ref(&path), 3), &out).unwrap();
        assert_eq!(summary.rows, 0);
        match content {
            Some(content) => assert_eq!(crate::support::read_text(&out), content, "{output}"),
            None => {
                let columns = ColumnChoice {
                    text: Some("text".into()),
                    ..ColumnChoice::default()
                };
                let spec = InputSpec {
                    columns,
                    ..input_spec(&[out.to_str().unwrap().to_owned()], 3)
                };
                let source = Source::open(&spec).unwrap();
                assert_eq!(source.row_count(), Some(0));
                assert_eq!(source.carried().fields().len(), 6);
            }
        }
    }
}

/// A user would find odd files beside the output, or none that says how it was made.
#[test]
fn what_is_left_beside_the_output() {
    let files = Files::new();
    let (source, job) = spec(&files, "out.parquet");
    run_spec(source, job).unwrap();
    assert_eq!(
        files.names(),
        ["in.csv", "out.parquet", "out.parquet.manifest.json"]
    );
    let record = fs::read_to_string(files.path("out.parquet.manifest.json")).unwrap();
    assert!(
        record.contains("\"model\": \"hash\"") && record.contains("\"rows\": 7"),
        "{record}"
    );
}

/// Output to another format than the name says would be refused or written wrongly.
#[test]
fn the_format_can_be_said() {
    let files = Files::new();
    let (source, mut job) = spec(&files, "ignored.csv");
    let path = files.path("out.data");
    job.output = Output::File {
        path: path.clone(),
        format: Some(batchwright_data::SinkFormat::JSONL),
    };
    run_spec(source, job).unwrap();
    assert!(
        fs::read_to_string(path)
            .unwrap()
            .starts_with("{\"text\":\"a\"")
    );
}
