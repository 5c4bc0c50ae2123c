//! Standard input and pipes.

use super::{array, lines, plain_texts};
use crate::workplace::Workplace;

/// Standard input is what pipes bring, and what a user stops at any time.
#[test]
fn standard_input_is_read_once() {
    let place = Workplace::new();
    place.write("in.txt", "ab\nba\n");
    place.run(&["tokenize", "in.txt", "-o", "a.npy"]).ok();
    let words = [
        "tokenize",
        "-",
        "--input-format",
        "lines",
        "--vocabulary",
        "a.npy.vocabulary.json",
    ];
    let to = ["--width", "4", "-o", "b.npy"];
    place
        .run_with(&[&words[..], &to].concat(), b"ab\nba\n")
        .ok();
    assert_eq!(array(&place, "b.npy"), array(&place, "a.npy"));
    let ran = place.run_with(&words, b"ab\n").ok();
    assert_eq!(ran.rows()[0]["ids"], serde_json::json!([2, 4, 5, 3]));
}

/// Rows would be lost, or a part of one be taken for a row, and nothing said.
#[cfg(unix)]
#[test]
fn every_row_of_standard_input_and_of_pipes_is_edited() {
    let place = Workplace::new();
    let texts = plain_texts(20_000);
    let objects = texts
        .iter()
        .map(|text| serde_json::json!({"text": text, "n": 1}));
    let cases = [
        ("lines", "txt", lines(&texts)),
        (
            "csv",
            "csv",
            "text,n\n".to_owned() + &lines(&texts).replace('\n', ",1\n"),
        ),
        (
            "jsonl",
            "jsonl",
            objects.map(|object| format!("{object}\n")).collect(),
        ),
    ];
    let mut table = testing::CaseTable::new("a stream gives what a file gives");
    for (format, extension, content) in cases {
        assert!(content.len() > 2 * (64 << 10));
        let (file, pipe) = (format!("in.{extension}"), format!("pipe.{extension}"));
        place.write(&file, &content);
        let words = |input: &str, output: &str| -> Vec<String> {
            let words = ["augment", input, "--recipe", "typing", "-o", output];
            words.map(str::to_owned).to_vec()
        };
        let run = |words: &[String], input: &[u8]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            place.run_with(&words, input).ok();
        };
        let whole = format!("{format}-whole.jsonl");
        run(&words(&file, &whole), b"");
        let whole = place.read(&whole);
        assert_eq!(whole.split(|byte| *byte == b'\n').count(), texts.len() + 1);
        let mut same = |how: &str, output: &str| {
            let same = place.read(output) == whole;
            table.check(
                format!("{format} {how}"),
                same.then_some(()).ok_or("other bytes".to_owned()),
            );
        };
        // CSV looks like lines where nobody says what it is.
        if format != "csv" {
            let sniffed = format!("{format}-sniffed.jsonl");
            run(&words("-", &sniffed), content.as_bytes());
            same("sniffed", &sniffed);
        }
        let named = format!("{format}-named.jsonl");
        let said = ["--input-format".to_owned(), format.to_owned()];
        run(
            &[&words("-", &named)[..], &said].concat(),
            content.as_bytes(),
        );
        same("named", &named);
        let made = std::process::Command::new("mkfifo")
            .arg(place.path(&pipe))
            .status();
        assert!(made.unwrap().success());
        let piped = format!("{format}-piped.jsonl");
        let piped_words = words(&pipe, &piped);
        let piped_words: Vec<&str> = piped_words.iter().map(String::as_str).collect();
        let child = place.command(&piped_words).spawn().unwrap();
        std::fs::write(place.path(&pipe), &content).unwrap();
        crate::workplace::finish(child).ok();
        same("by a pipe", &piped);
    }
    table.finish();
}

/// The header of a table would be edited as a text, its cells as one, and nothing said.
#[test]
fn what_standard_input_is_taken_for_is_told() {
    let place = Workplace::new();
    let table = b"text,n\nab,1\n";
    for words in [
        &["augment", "-", "-o", "-"][..],
        &["augment", "-", "--preview", "2"],
        &[
            "tokenize",
            "-",
            "-o",
            "a.npy",
            "--vocabulary",
            "v.json",
            "--width",
            "9",
        ],
    ] {
        place.write("seen.txt", "ab");
        place
            .run(&["tokenize", "seen.txt", "-o", "v.npy", "--restart"])
            .ok();
        std::fs::rename(place.path("v.npy.vocabulary.json"), place.path("v.json")).unwrap();
        let told = "standard input is taken as plain lines";
        place
            .run_with(words, table)
            .ok()
            .says(told)
            .says("--input-format");
        let said = [words, &["--input-format", "csv", "--restart"]].concat();
        assert!(!place.run_with(&said, table).ok().err.contains(told));
        let object = b"{\"text\":\"ab\"}\n";
        let again = [words, &["--restart"]].concat();
        assert!(!place.run_with(&again, object).ok().err.contains(told));
    }
}
