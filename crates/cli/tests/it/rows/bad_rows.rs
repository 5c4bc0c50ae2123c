//! Bad rows, and rows that are too large.

use serde_json::Value;

use super::{array, json, read_back};
use crate::workplace::Workplace;

/// A bad row would be lost, or take the place of the next, or nobody learn of it.
#[test]
fn bad_rows_keep_their_place_and_are_told() {
    let place = Workplace::new();
    place.write("in.txt", b"good\n\n\xff\xfe\nlast\n");
    place
        .run(&["tokenize", "in.txt", "-o", "a.npy"])
        .code(2)
        .says("2 rows");
    let vocabulary = json(&place, "a.npy.vocabulary.json");
    let rows = array(&place, "a.npy");
    assert_eq!(rows.len(), 4);
    assert_eq!(read_back(&rows[0], &vocabulary), "good");
    assert_eq!((&rows[1], &rows[2]), (&vec![0; 6], &vec![0; 6]));
    assert_eq!(read_back(&rows[3], &vocabulary), "last");
    let errors = place.rows("a.npy.errors.jsonl");
    let told: Vec<_> = errors
        .iter()
        .map(|row| (&row["index"], row["error"].as_str().unwrap()))
        .collect();
    assert_eq!(told[0].0, &Value::from(1));
    assert!(
        told[0]
            .1
            .starts_with("missing_value: row 2 (in.txt line 2)"),
        "{}",
        told[0].1
    );
    assert!(
        told[1].1.starts_with("invalid_utf8: row 3"),
        "{}",
        told[1].1
    );

    let words = [
        "augment",
        "in.txt",
        "--include-original",
        "--copies",
        "1",
        "-o",
        "a.jsonl",
    ];
    place
        .run(&[&words[..], &["--tokenize", "characters"]].concat())
        .code(2);
    let rows = place.rows("a.jsonl");
    assert_eq!(rows.len(), 8);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row["source_row"], (at / 2 + 1) as u64);
        assert_eq!(row["copy"], (at % 2) as u64);
        let bad = (2..6).contains(&at);
        assert_eq!((row["text"].is_null(), row["ids"].is_null()), (bad, bad));
        assert_eq!(row["error"].is_string(), bad);
    }
    let stop = ["tokenize", "in.txt", "-o", "b.npy", "--on-error", "stop"];
    place
        .run(&stop)
        .code(1)
        .says("missing_value: row 2")
        .says("--on-error stop");
    assert!(!place.path("b.npy").exists());
}

/// A file of errors that are known would never be gone through with `--on-error stop`, or new ones be.
#[test]
fn only_new_errors_stop() {
    let place = Workplace::new();
    let earlier = "{\"text\":\"a\",\"error\":\"too_long: row 7 (a.txt line 7): x\"}\n";
    // A key that is found late has no place.
    let many = "{\"text\":\"a\"}\n".repeat(1_100) + earlier;
    place.write("known.jsonl", &many);
    let model = crate::workplace::model("bert-embed");
    let embed = ["embed", "-m", &model];
    for (words, answer) in [(&embed[..], "embedding"), (&["augment"][..], "copy")] {
        place.write(
            "new.jsonl",
            format!("{many}{{\"text\":\"b\",\"{answer}\":1}}\n"),
        );
        let output = ["--restart", "--on-error", "stop", "-o", "out.jsonl"];
        place
            .run(&[words, &["known.jsonl"], &output].concat())
            .code(2)
            .says("1 row: see the column `error` for 1\n");
        place
            .run(&[words, &["new.jsonl"], &output].concat())
            .code(1)
            .says("a value has no place in the output")
            .says("--on-error stop");
    }
}

/// Texts would be taken for errors, or two columns have one name.
#[test]
fn texts_called_error_are_refused() {
    let place = Workplace::new();
    place.write("in.csv", "error\nsomething\n");
    place.write("spans.csv", "text,error\na,[]\n");
    let model = crate::workplace::model("bert-embed");
    let embed = ["embed", "in.csv", "-m", &model, "-o", "a.jsonl"];
    let cases: [(&[&str], &str); 4] = [
        (&embed, "--drop error"),
        (
            &["tokenize", "in.csv", "--width", "8", "-o", "a.parquet"],
            "--drop error",
        ),
        (&["augment", "in.csv", "-o", "a.csv"], "holds the texts"),
        (
            &[
                "augment",
                "spans.csv",
                "--spans-column",
                "error",
                "-o",
                "a.csv",
            ],
            "holds the spans",
        ),
    ];
    for (words, said) in cases {
        place
            .run(words)
            .code(1)
            .says(said)
            .says("rename it in the input");
    }
    place.run(&[&embed[..], &["--drop", "error"]].concat()).ok();
    place
        .run(&["tokenize", "in.csv", "--width", "8", "-o", "a.npy"])
        .ok();
}

/// Short rows that become long ones, many times over, would fill the memory.
#[test]
fn memory_does_not_grow_with_what_is_made_of_a_block() {
    let place = Workplace::new();
    place.write("in.txt", "a\n".repeat(1_000));
    place.write("in.csv", "text,n\n".to_owned() + &"a,1\n".repeat(1_000));
    for (input, output) in [
        ("in.txt", "a.npy"),
        ("in.csv", "b.npy"),
        ("in.csv", "c.arrow"),
    ] {
        let words = [
            "augment",
            input,
            "--copies",
            "8",
            "--width",
            "8192",
            "--tokenize",
            "characters",
            "--threads",
            "1",
            "-o",
            output,
            "--summary-json",
            "s.json",
        ];
        place.run(&words).ok();
        // 125 MiB of ids.
        let peak = place.summary("s.json")["peak_resident_bytes"].as_u64();
        assert!(peak.unwrap() < 100 << 20, "{input} to {output}: {peak:?}");
    }
}

/// All later rows would be lost with one that is too large for its copies.
#[test]
fn a_row_too_large_for_its_copies_is_a_bad_one() {
    let place = Workplace::new();
    place.write("in.txt", "x".repeat(1_500_000) + "\ngood\n");
    let words = ["augment", "in.txt", "--copies", "200", "-o", "out.jsonl"];
    place.run(&words).code(2);
    let rows = place.rows("out.jsonl");
    assert_eq!(rows.len(), 400);
    for (at, row) in rows.iter().enumerate() {
        let error = row["error"].as_str().unwrap_or_default();
        assert_eq!(error.contains("fewer --copies"), at < 200, "{row}");
        assert_eq!(row["text"].is_null(), at < 200, "{row}");
    }
}
