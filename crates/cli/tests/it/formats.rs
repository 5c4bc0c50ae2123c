//! Every way in and every way out.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::io::Write;
use std::sync::Arc;

use crate::workplace::{Workplace, floats, model};

const TEXTS: [&str; 3] = [
    "turn on the lights",
    "what is my balance",
    "so, \"it\" rains?",
];

fn reference() -> Vec<Vec<f32>> {
    let place = Workplace::new();
    place.write("in.txt", TEXTS.join("\n"));
    let ran = place
        .run(&["embed", "in.txt", "-m", &model("bert-embed")])
        .ok();
    ran.rows()
        .iter()
        .map(|row| floats(&row["embedding"]))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parquet(path: &std::path::Path) {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        (
            "text",
            Arc::new(StringArray::from(TEXTS.to_vec())) as ArrayRef,
        ),
    ])
    .unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A format that is read differently would give the same text another vector.
#[test]
fn every_input_gives_the_same_vectors() {
    let place = Workplace::new();
    let csv = "id,text\n1,turn on the lights\n2,what is my balance\n3,\"so, \"\"it\"\" rains?\"\n";
    let tsv =
        "id\ttext\n1\tturn on the lights\n2\twhat is my balance\n3\t\"so, \"\"it\"\" rains?\"\n";
    let jsonl: String = TEXTS
        .iter()
        .map(|text| serde_json::json!({"text": text}).to_string() + "\n")
        .collect();
    place.write("in.csv", csv);
    place.write("marked.csv", format!("\u{feff}{csv}"));
    place.write("in.tsv", tsv);
    place.write("in.jsonl", &jsonl);
    place.write("in.txt", TEXTS.join("\n"));
    place.write("in.csv.gz", gzip(csv.as_bytes()));
    place.write(
        "in.jsonl.zst",
        zstd::encode_all(jsonl.as_bytes(), 1).unwrap(),
    );
    place.write("odd.name", csv);
    parquet(&place.path("in.parquet"));
    let expected = reference();
    let model = model("bert-embed");
    let cases: [&[&str]; 9] = [
        &["in.csv"],
        &["marked.csv"],
        &["in.tsv"],
        &["in.jsonl"],
        &["in.txt"],
        &["in.csv.gz"],
        &["in.jsonl.zst"],
        &["in.parquet"],
        &["odd.name", "--input-format", "csv"],
    ];
    for case in cases {
        let words = [&["embed", "-m", &model], case].concat();
        let rows = place.run(&words).ok().rows();
        let found: Vec<Vec<f32>> = rows.iter().map(|row| floats(&row["embedding"])).collect();
        assert_eq!(found, expected, "{case:?}");
    }
    let stdin = place
        .run_with(&["embed", "-", "-m", &model], jsonl.as_bytes())
        .ok()
        .rows();
    assert_eq!(stdin.len(), 3);
    assert_eq!(floats(&stdin[2]["embedding"]), expected[2]);
    let words = ["embed", "-", "-m", &model, "--input-format", "lines"];
    let lines = place
        .run_with(&words, TEXTS.join("\n").as_bytes())
        .ok()
        .rows();
    assert_eq!(floats(&lines[1]["embedding"]), expected[1]);
}

/// Rows of several files would come in an order that nobody can match with the files.
#[test]
fn globs_and_several_files_are_one_input() {
    let place = Workplace::new();
    place.write("b.csv", "text\nsecond\n");
    place.write("a.csv", "text\nfirst\n");
    place.write("c.csv", "text\nthird\n");
    let model = model("bert-embed");
    let texts = |words: &[&str]| {
        let words = [&["embed", "-m", &model, "--keep", "text"], words].concat();
        let rows = place.run(&words).ok().rows();
        rows.iter()
            .map(|row| row["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&["*.csv"]), ["first", "second", "third"]);
    assert_eq!(texts(&["c.csv", "a.csv"]), ["third", "first"]);
}

/// A column that is lost, or one that was to be left out, in the output.
#[test]
fn columns_pass_through_as_asked() {
    let place = Workplace::new();
    place.write("in.csv", "id,text,note\n7,turn on the lights,x\n");
    let model = model("bert-embed");
    let columns = |flags: &[&str]| {
        let words = [&["embed", "in.csv", "-m", &model], flags].concat();
        let rows = place.run(&words).ok().rows();
        let names = rows[0]
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "error");
        names.cloned().collect::<Vec<_>>()
    };
    assert_eq!(columns(&[]), ["id", "text", "note", "embedding"]);
    assert_eq!(columns(&["--keep", "id,note"]), ["id", "note", "embedding"]);
    assert_eq!(
        columns(&["--keep", "id", "--keep", "note"]),
        ["id", "note", "embedding"]
    );
    assert_eq!(columns(&["--keep", ""]), ["embedding"]);
    assert_eq!(columns(&["--drop", "text"]), ["id", "note", "embedding"]);
    place
        .run(&["embed", "in.csv", "-m", &model, "--keep", "nope"])
        .code(1)
        .says("id, text, note");
}

/// The text would be taken from a column that was not meant.
#[test]
fn the_text_column_is_found_or_asked_for() {
    let place = Workplace::new();
    place.write("text.csv", "other,text\nx,turn on the lights\n");
    place.write("only.csv", "words\nturn on the lights\n");
    place.write("two.csv", "title,body\nx,turn on the lights\n");
    let model = model("bert-embed");
    let expected = reference()[0].clone();
    for words in [
        &["text.csv"][..],
        &["only.csv"],
        &["two.csv", "--text-column", "body"],
    ] {
        let words = [&["embed", "-m", &model], words].concat();
        let rows = place.run(&words).ok().rows();
        assert_eq!(floats(&rows[0]["embedding"]), expected, "{words:?}");
    }
    place
        .run(&["embed", "two.csv", "-m", &model])
        .code(1)
        .says("--text-column")
        .says("title, body");
}

/// Parquet with other types than promised could not be loaded by what reads it.
#[test]
fn parquet_has_fixed_size_lists_and_the_input_s_types() {
    let place = Workplace::new();
    parquet(&place.path("in.parquet"));
    let model = model("bert-embed");
    let expected = reference();
    for (vector_type, half) in [("f32", false), ("f16", true)] {
        let words = [
            "embed",
            "in.parquet",
            "-m",
            &model,
            "--vector-type",
            vector_type,
            "-o",
            "out.parquet",
            "--restart",
        ];
        place.run(&words).ok();
        let file = std::fs::File::open(place.path("out.parquet")).unwrap();
        let mut batches = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        let batch = batches.next().unwrap().unwrap();
        let ids = batch.column_by_name("id").unwrap();
        assert_eq!(ids.as_primitive::<Int64Type>().values().as_ref(), [1, 2, 3]);
        let vectors = batch
            .column_by_name("embedding")
            .unwrap()
            .as_fixed_size_list();
        assert_eq!((vectors.len(), vectors.value_length()), (3, 32));
        let first = vectors.value(0);
        if half {
            let first = first.as_primitive::<Float16Type>();
            assert!((first.value(0).to_f32() - expected[0][0]).abs() < 1e-3);
        } else {
            assert_eq!(
                first.as_primitive::<Float32Type>().values().as_ref(),
                expected[0]
            );
        }
    }
}

/// A table that a spreadsheet cannot read.
#[test]
fn text_outputs_hold_all_rows() {
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights\nwhat is my balance\n");
    let classifier = model("bert-classify");
    let run = |output: &str| {
        place
            .run(&["classify", "in.csv", "-m", &classifier, "-o", output])
            .ok()
    };
    run("out.csv");
    let text = String::from_utf8(place.read("out.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("text,label,score"), "{text}");
    assert!(
        lines.len() == 3 && lines[1].starts_with("turn on the lights,"),
        "{text}"
    );
    run("out.tsv");
    assert!(
        String::from_utf8(place.read("out.tsv"))
            .unwrap()
            .starts_with("text\tlabel\tscore")
    );
    run("out.jsonl.gz");
    let mut unpacked = String::new();
    let packed = place.read("out.jsonl.gz");
    let mut decoder = flate2::read::MultiGzDecoder::new(packed.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked.lines().count(), 2);
    run("out.csv.zst");
    let unpacked = zstd::decode_all(place.read("out.csv.zst").as_slice()).unwrap();
    assert_eq!(unpacked, text.as_bytes());
    // To standard output in a format of one's own choice.
    let words = [
        "classify",
        "in.csv",
        "-m",
        &classifier,
        "--output-format",
        "csv",
    ];
    assert_eq!(place.run(&words).ok().text(), text);
    let named = [
        "classify",
        "in.csv",
        "-m",
        &classifier,
        "-o",
        "out.dat",
        "--output-format",
        "csv",
    ];
    place.run(&named).ok();
    assert_eq!(place.read("out.dat"), text.as_bytes());
    assert_eq!(
        place
            .run(&["classify", "in.csv", "-m", &classifier, "-o", "-"])
            .ok()
            .rows()
            .len(),
        2
    );
}

/// An input without rows is no failure: nightly jobs meet empty files.
#[test]
fn no_rows_in_no_rows_out() {
    let place = Workplace::new();
    place.write("in.csv", "id,text\n");
    let model = model("bert-embed");
    for output in ["out.csv", "out.jsonl", "out.parquet"] {
        place
            .run(&["embed", "in.csv", "-m", &model, "-o", output])
            .ok();
        assert!(place.path(output).exists(), "{output}");
    }
    assert!(
        String::from_utf8(place.read("out.csv"))
            .unwrap()
            .starts_with("id,text,embedding")
    );
    place.write("none.jsonl", "");
    place.write("none.txt", "");
    for input in ["none.txt", "none.jsonl"] {
        place.run(&["embed", input, "-m", &model]).ok();
    }
}

/// Rows from files with odd names would be missing, or refused without a word on which file.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Workplace::new();
    std::fs::create_dir(place.path("in")).unwrap();
    let odd = place.path("in").join(OsStr::from_bytes(b"a\xff.csv"));
    std::fs::write(&odd, "text\ngood\n\n\"\"\n").unwrap();
    place.write("in/b.csv", "text\ngood\n");
    let model = model("bert-embed");
    let ran = place.run(&["embed", "in/*.csv", "-m", &model]).code(2);
    let rows = ran.rows();
    assert_eq!(rows.len(), 3);
    let error = rows[1]["error"].as_str().unwrap();
    assert!(error.contains("in/a\u{fffd}.csv line"), "{error}");
    let mut command = place.command(&["embed", "-m", &model]);
    let ran = crate::workplace::finish(command.arg(&odd).spawn().unwrap());
    assert_eq!(ran.code(2).rows().len(), 2);
}

/// A header that is embedded as a text, without a word, shifts every answer by one row.
#[test]
fn unnamed_standard_input_says_what_it_is_taken_for() {
    let place = Workplace::new();
    let model = model("bert-embed");
    let words = ["embed", "-", "-m", &model];
    place
        .run_with(&words, b"id,text\n1,good\n")
        .ok()
        .says("is taken as plain lines");
    let said = [&words[..], &["--input-format", "csv"]].concat();
    let ran = place.run_with(&said, b"id,text\n1,good\n").ok();
    assert_eq!(ran.rows().len(), 1);
    assert!(!ran.err.contains("plain lines"), "{}", ran.err);
    // The pattern has no ending, and what it finds has.
    std::fs::create_dir(place.path("in")).unwrap();
    place.write("in/a.txt", "good\n");
    let ran = place.run(&["embed", "in/*", "-m", &model]).ok();
    assert!(!ran.err.contains("plain lines"), "{}", ran.err);
}

/// A reader of a pipe called `out.csv` would get JSON Lines.
#[cfg(unix)]
#[test]
fn a_named_pipe_has_the_format_of_its_name() {
    let place = Workplace::new();
    place.write("in.csv", "text\ngood\n");
    let made = std::process::Command::new("mkfifo")
        .arg(place.path("out.csv"))
        .status();
    assert!(made.unwrap().success());
    let model = model("bert-embed");
    let words = crate::workplace::embed(&model, "out.csv");
    let child = place.command(&words).spawn().unwrap();
    let text = std::fs::read_to_string(place.path("out.csv")).unwrap();
    crate::workplace::finish(child).ok();
    assert!(text.starts_with("text,embedding,error\n"), "{text}");
}
