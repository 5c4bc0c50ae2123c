//! What becomes of texts, spans and columns, and what is told of it.

use serde_json::Value;

use super::{json, lines, plain_texts};
use crate::workplace::{Workplace, texts};

/// Whoever shares the work among machines would get other edits than one machine.
#[test]
fn a_part_gets_the_edits_that_it_has_in_the_whole() {
    let place = Workplace::new();
    let texts = plain_texts(500);
    place.write("whole.txt", lines(&texts));
    place.write("part-1.txt", lines(&texts[..200]));
    place.write("part-2.txt", lines(&texts[200..]));
    let run = |input: &str, output: &str, first: &str| {
        let words = [
            "augment",
            input,
            "--recipe",
            "ocr",
            "--copies",
            "3",
            "--seed",
            "9",
            "-o",
            output,
            "--first-row",
            first,
        ];
        place.run(&words).ok();
        place.read(output)
    };
    let whole = run("whole.txt", "whole.jsonl", "1");
    let parts = [
        run("part-1.txt", "part-1.jsonl", "1"),
        run("part-2.txt", "part-2.jsonl", "201"),
    ];
    assert!(whole == parts.concat());
    let rows = place.rows("part-2.jsonl");
    assert_eq!(
        (&rows[0]["source_row"], &rows[0]["copy"]),
        (&201.into(), &1.into())
    );
    assert!(run("whole.txt", "shifted.jsonl", "2") != whole);
}

/// Entities would point at other words than before.
#[test]
fn spans_follow_their_words_and_columns_their_rows() {
    let place = Workplace::new();
    // Of operations that leave words whole, so that each span's words are the same.
    place.write(
        "shuffle.toml",
        "[shuffle-words]\np = 1.0\n[space]\np = 0.09\n",
    );
    let rows = (0..200).map(|row| {
        let text = format!("né{row} goes to Paris{row} with Ann{row}");
        let place = |word: &str| {
            let byte = text.find(word).unwrap();
            let start = text[..byte].chars().count();
            serde_json::json!({"start": start, "end": start + word.chars().count(), "label": word})
        };
        let spans = [
            format!("né{row}"),
            format!("Paris{row}"),
            format!("Ann{row}"),
        ];
        let spans: Vec<Value> = spans.iter().map(|word| place(word)).collect();
        serde_json::json!({"id": row, "text": text, "spans": spans, "n": 1.5}).to_string() + "\n"
    });
    place.write("in.jsonl", rows.collect::<String>());
    for output in ["out.jsonl", "out.csv"] {
        let words = [
            "augment",
            "in.jsonl",
            "--recipe",
            "shuffle.toml",
            "--spans-column",
            "spans",
            "--copies",
            "2",
            "--include-original",
            "-o",
            output,
        ];
        place.run(&words).ok();
    }
    let rows = place.rows("out.jsonl");
    assert_eq!(rows.len(), 600);
    let mut moved = 0;
    for (at, row) in rows.iter().enumerate() {
        assert_eq!((&row["id"], &row["n"]), (&(at / 3).into(), &1.5.into()));
        let text: Vec<char> = row["text"].as_str().unwrap().chars().collect();
        let spans = row["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 3, "{row}");
        for span in spans {
            let place = |key: &str| span[key].as_u64().unwrap() as usize;
            let words: String = text[place("start")..place("end")].iter().collect();
            assert_eq!(words, span["label"].as_str().unwrap(), "{row}");
        }
        moved += usize::from(spans[0]["start"] != 0);
    }
    assert!(moved > 200, "{moved}");

    place.write(
        "bad.csv",
        "text,spans\nab,\"[{\"\"start\"\":0,\"\"end\"\":9}]\"\n",
    );
    let words = [
        "augment",
        "bad.csv",
        "--spans-column",
        "spans",
        "-o",
        "bad.jsonl",
    ];
    place.run(&words).code(2);
    let error = place.rows("bad.jsonl")[0]["error"].to_string();
    assert!(
        error.contains("invalid_spans: row 1 (bad.csv line 2)"),
        "{error}"
    );
    assert!(error.contains("from 0 to 9"), "{error}");
}

/// People choose a recipe by what they see.
#[test]
fn edits_are_shown_and_counted() {
    let place = Workplace::new();
    place.write("delete.toml", "[delete]\np = 0.09\n");
    let texts: Vec<String> = texts().take(300).collect();
    place.write("in.txt", lines(&texts));
    let shown = place
        .run(&[
            "augment",
            "in.txt",
            "--recipe",
            "delete.toml",
            "--preview",
            "20",
        ])
        .ok();
    let shown = shown.text();
    assert!(
        shown.contains("[-") && !shown.contains("{+") && !shown.contains('\x1b'),
        "{shown}"
    );
    assert!(
        shown.contains(texts[19].trim()) && !shown.contains(texts[20].split(' ').next().unwrap())
    );
    // It writes nothing: what is to be written would be missed.
    for flag in ["--report", "-o=out.jsonl", "--report-json=r.json"] {
        let both = ["augment", "in.txt", "--preview", "2", flag];
        place.run(&both).code(1).says("--preview");
    }
    let words = [
        "augment",
        "in.txt",
        "--recipe",
        "delete.toml",
        "--report",
        "--report-json",
        "r.json",
        "--report-svg",
        "r.svg",
        "--summary-json",
        "s.json",
        "-o",
        "out.jsonl",
    ];
    place
        .run(&words)
        .ok()
        .says("edits by kind")
        .says("delete")
        .says("█");
    let report = json(&place, "r.json");
    let lost: usize = place
        .rows("out.jsonl")
        .iter()
        .zip(&texts)
        .map(|(row, text)| text.chars().count() - row["text"].as_str().unwrap().chars().count())
        .sum();
    assert_eq!(report["edits"], lost as u64);
    assert_eq!(report["kinds"][0]["edits"], lost as u64);
    let by_edits: u64 = report["copies_by_edits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(by_edits, 300);
    assert!(
        String::from_utf8(place.read("r.svg"))
            .unwrap()
            .contains(">delete</text>")
    );
    let summary = place.summary("s.json");
    assert_eq!(
        (&summary["rows"], &summary["edits"]),
        (&300.into(), &(lost as u64).into())
    );
}
