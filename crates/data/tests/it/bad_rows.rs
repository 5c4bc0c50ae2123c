//! Every kind of bad row, in every format: it keeps its place, and the rows around it are untouched.

use batchwright_data::{ColumnChoice, Format, InputLimits, InputSpec, Source, SurveyDepth};

use crate::support::{Files, input_spec, read_all, read_text, run};

/// Each row's text, or the code of what is wrong with it.
fn rows(spec: &InputSpec) -> Vec<String> {
    let of = |row: &Result<batchwright_data::RowText, batchwright_data::RowError>| match row {
        Ok(row) => row.text.clone(),
        Err(error) => format!("!{}", error.code),
    };
    read_all(spec)
        .iter()
        .flat_map(|chunk| chunk.rows.iter().map(of))
        .collect()
}

/// A job would stop at the first bad row, lose it, or shift the answers of those after it.
#[test]
fn bad_rows_keep_their_place() {
    let long = "x".repeat(9_000);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "a.csv",
            b"id,text\n1,a\n2,\n3,b\n".to_vec(),
            &["a", "!missing_value", "b"],
        ),
        (
            "a.csv",
            b"id,text\n1,a\n2\n3,b\n".to_vec(),
            &["a", "!ragged_row", "b"],
        ),
        (
            "a.csv",
            b"id,text\n1,a\n2,x,y\n3,b\n".to_vec(),
            &["a", "!ragged_row", "b"],
        ),
        (
            "a.csv",
            b"id,text\n1,a\n2,\xff\n3,b\n".to_vec(),
            &["a", "!invalid_utf8", "b"],
        ),
        (
            "a.csv",
            b"id,text\n1,a\n\xff,x\n3,b\n".to_vec(),
            &["a", "x", "b"],
        ),
        // Two halves of one character: valid together, but neither cell is.
        (
            "a.csv",
            b"id,text\n1,a\n\xc3,\xa9\n3,b\n".to_vec(),
            &["a", "!invalid_utf8", "b"],
        ),
        (
            "a.csv",
            b"id,text\n1,a\n2,\"x\n3,b\n".to_vec(),
            &["a", "!unclosed_quote"],
        ),
        ("a.csv", b"id,text\n1,a\n\n\r\n2,b".to_vec(), &["a", "b"]),
        ("a.csv", b"\xef\xbb\xbftext,id\nb,1\n".to_vec(), &["b"]),
        (
            "a.csv",
            format!("text\na\n{long}\nb\n").into_bytes(),
            &["a", "!row_too_large", "b"],
        ),
        (
            "a.tsv",
            b"id\ttext\n1\ta,b\n2\t\n".to_vec(),
            &["a,b", "!missing_value"],
        ),
        (
            "a.txt",
            b"a\n\n \n\xff\nb\r\nc".to_vec(),
            &["a", "!missing_value", " ", "!invalid_utf8", "b", "c"],
        ),
        (
            "a.txt",
            format!("a\n{long}\nb").into_bytes(),
            &["a", "!row_too_large", "b"],
        ),
        ("a.txt", b"".to_vec(), &[]),
        (
            "a.jsonl",
            b"{\"text\":\"a\"}\n{\"text\":null}\n{\"id\":1}\n".to_vec(),
            &["a", "!missing_value", "!missing_value"],
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\"}\n{\"text\":7}\n{\"text\":[\"x\"]}\n".to_vec(),
            &["a", "!wrong_type", "!wrong_type"],
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\"}\n{\"text\":\n[1]\nnull\n\"x\"\n{}\n".to_vec(),
            &[
                "a",
                "!invalid_json",
                "!invalid_json",
                "!invalid_json",
                "!invalid_json",
                "!missing_value",
            ],
        ),
        (
            "a.jsonl",
            b"\n{\"text\":\"a\"}\n  \n\r\n{\"text\":\"\"}".to_vec(),
            &["a", ""],
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\xff\"}\n{\"text\":\"b\",\"n\":\"\xff\"}\n".to_vec(),
            &["!invalid_utf8", "b"],
        ),
        (
            "a.jsonl",
            b"{\"text\":\"\\ud800\"}\n{\"text\":\"\\ud83d\\ude00\"}\n".to_vec(),
            &["!invalid_utf8", "\u{1f600}"],
        ),
        (
            "a.jsonl",
            format!("{{\"text\":\"a\"}}\n{{\"text\":\"{long}\"}}\n{{\"text\":\"b\"}}").into_bytes(),
            &["a", "!row_too_large", "b"],
        ),
        (
            "a.jsonl",
            b"{\"text\":\"a\",\"text\":\"b\"}\n".to_vec(),
            &["b"],
        ),
        (
            "a.ndjson.gz",
            b"{\"text\":\"a\"}\n{\n".to_vec(),
            &["a", "!invalid_json"],
        ),
        (
            "a.csv.zst",
            b"text\na\n\"\"\n".to_vec(),
            &["a", "!missing_value"],
        ),
    ];
    for (name, content, expected) in cases {
        let files = Files::new();
        let path = files.write(name, &content);
        for chunk_rows in [1, 2, 100] {
            let limits = InputLimits {
                row_bytes: 8_192,
                ..InputLimits::default()
            };
            let spec = InputSpec {
                limits,
                ..input_spec(std::slice::from_ref(&path), chunk_rows)
            };
            assert_eq!(
                rows(&spec),
                expected,
                "{name} {}",
                String::from_utf8_lossy(&content)
            );
        }
    }
}

/// A user could not find the row, or would not know what to do about it.
#[test]
fn messages_name_row_line_and_cause() {
    let files = Files::new();
    let csv = files.write("a.csv", b"text,id\n\"two\nlines\",1\nx,2,3\n");
    let json = files.write("b.jsonl", b"\n{\"text\":\"a\"}\n{\"text\":{\"a\":1}}\n");
    let message =
        |spec: &InputSpec, row: usize| read_all(spec)[0].rows[row].clone().unwrap_err().message;
    assert_eq!(
        message(&input_spec(std::slice::from_ref(&csv), 10), 1),
        format!("row 2 ({csv} line 4): 3 cells, but the header has 2; beyond them: 3")
    );
    assert_eq!(
        message(&input_spec(std::slice::from_ref(&json), 10), 1),
        format!("row 2 ({json} line 3): `text` is an object, not a string: {{\"a\":1}}")
    );
}

/// The output would have fewer rows than the input, or wrong ones, or keep quiet about errors.
#[test]
fn bad_rows_come_out_with_their_error() {
    let files = Files::new();
    let input = files.write("a.csv", b"text,id\na,1\n,2\nx\n\xff,4\nb,5\n");
    let output = files.path("out.csv");
    let summary = run(&input_spec(&[input], 2), &output).unwrap();
    assert_eq!((summary.rows, summary.failed_rows), (5, 3));
    let text = read_text(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "text,id,label,score,embedding,error");
    assert!(
        lines[1].starts_with("a,1,label ") && lines[1].ends_with(','),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with(",2,,,,missing_value: row 2 ("),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].starts_with("x,,,,,\"ragged_row: ") || lines[3].starts_with("x,,,,,ragged_row: ")
    );
    assert!(
        lines[4].starts_with("\u{fffd},4,,,,invalid_utf8: "),
        "{}",
        lines[4]
    );
    assert!(lines[5].starts_with("b,5,label "));

    let output = files.path("out.jsonl");
    let input = files.write("b.jsonl", b"{\"text\":\"a\"}\noops\n");
    run(&input_spec(&[input], 2), &output).unwrap();
    let text = read_text(&output);
    assert!(!text.lines().next().unwrap().contains("error"));
    let bad: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert!(
        bad["error"]
            .as_str()
            .unwrap()
            .starts_with("invalid_json: row 2 ")
    );
    assert!(bad["label"].is_null() && bad["embedding"].is_null());
}

/// One bad row among a million would put quotes around the texts of all the others.
#[test]
fn a_bad_text_does_not_change_how_good_ones_look() {
    let files = Files::new();
    let path = files.write(
        "a.jsonl",
        b"{\"text\":\"a\"}\n{\"text\":[\"b\",1]}\n{\"text\":\"c\"}\n",
    );
    let spec = InputSpec {
        survey: SurveyDepth::Everything,
        ..input_spec(&[path], 10)
    };
    let output = files.path("out.parquet");
    assert_eq!(run(&spec, &output).unwrap().failed_rows, 1);
    let written = input_spec(&[output.to_str().unwrap().to_owned()], 10);
    let texts: Vec<String> = read_all(&written)[0]
        .rows
        .iter()
        .map(|row| row.as_ref().unwrap().text.clone())
        .collect();
    assert_eq!(texts, ["a", "[\"b\",1]", "c"], "and nothing is lost");
}

/// A column that is rare would be refused as if it were misspelt, or a misspelt one be taken.
#[test]
fn a_key_that_comes_late_can_be_kept() {
    let files = Files::new();
    let mut text = "{\"text\":\"a\"}\n".repeat(1_050);
    text.push_str("{\"text\":\"b\",\"note\":\"n\"}\n");
    let path = files.write("a.jsonl", text.as_bytes());
    let keeping = |name: &str| InputSpec {
        columns: ColumnChoice {
            keep: Some(vec![name.to_owned()]),
            ..ColumnChoice::default()
        },
        ..input_spec(std::slice::from_ref(&path), 2_000)
    };
    let output = files.path("out.jsonl");
    run(&keeping("note"), &output).unwrap();
    assert!(
        read_text(&output)
            .lines()
            .last()
            .unwrap()
            .starts_with("{\"note\":\"n\",")
    );
    let refused = Source::open(&keeping("nope")).unwrap_err().to_string();
    assert!(refused.contains("its columns are: text, note"), "{refused}");
}

/// A pair with one half missing would be scored against nothing.
#[test]
fn both_halves_of_a_pair_are_needed() {
    let files = Files::new();
    let columns = ColumnChoice {
        text: Some("q".into()),
        pair: Some("d".into()),
        ..ColumnChoice::default()
    };
    let csv = files.write("a.csv", b"d,q\nd1,q1\n,q2\nd3,\n");
    let json = files.write(
        "a.jsonl",
        b"{\"q\":\"q1\",\"d\":\"d1\"}\n{\"q\":\"q2\"}\n{\"d\":\"d3\"}\n",
    );
    for path in [csv, json] {
        let spec = InputSpec {
            columns: columns.clone(),
            ..input_spec(&[path], 10)
        };
        let chunk = &read_all(&spec)[0];
        let first = chunk.rows[0].as_ref().unwrap();
        assert_eq!(
            (first.text.as_str(), first.pair.as_deref()),
            ("q1", Some("d1"))
        );
        assert!(
            chunk.rows[1]
                .as_ref()
                .unwrap_err()
                .message
                .contains("`d` has no value")
        );
        assert!(
            chunk.rows[2]
                .as_ref()
                .unwrap_err()
                .message
                .contains("`q` has no value")
        );
    }
}

/// Lines of a CSV read as plain text, because the user said so, would be refused.
#[test]
fn the_format_can_be_said() {
    let files = Files::new();
    let path = files.write("a.csv", b"text\na,b\n");
    let spec = InputSpec {
        format: Some(Format::Lines),
        ..input_spec(&[path], 10)
    };
    assert_eq!(rows(&spec), ["text", "a,b"]);
}
