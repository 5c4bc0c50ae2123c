//! What becomes of texts, spans and columns, and what is told of it.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float32Array, Int32Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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

/// Scores and ids of labels would be gone, also from the rows as they were.
#[test]
fn what_else_spans_have_goes_with_them() {
    let place = Workplace::new();
    place.write("shuffle.toml", "[shuffle-words]\np = 1.0\n");
    let line = serde_json::json!({
        "text": "Ann sees Bob",
        "spans": [
            {"id": "first", "start": 0, "end": 3, "label": "A", "score": 0.5},
            {"start": 9, "end": 12, "label": "B", "score": 1.5, "more": {"n": [1]}},
        ],
    });
    place.write("in.jsonl", format!("{line}\n"));
    let run = |input: &str, output: &str| {
        let words = [
            "augment",
            input,
            "--recipe",
            "shuffle.toml",
            "--spans-column",
            "spans",
            "--include-original",
            "--drop",
            "source_row,copy",
            "-o",
            output,
        ];
        // Only an earlier output has those two.
        let first = input == "in.jsonl";
        let words = words
            .iter()
            .filter(|word| !first || !["--drop", "source_row,copy"].contains(word));
        place.run(&words.copied().collect::<Vec<_>>()).ok();
    };
    run("in.jsonl", "out.jsonl");
    let rows = place.rows("out.jsonl");
    assert_eq!(rows[0]["spans"], line["spans"]);
    let moved = rows[1]["spans"].as_array().unwrap();
    assert_eq!(moved.len(), 2);
    for (new, old) in moved.iter().zip(line["spans"].as_array().unwrap()) {
        let (new, old) = (new.as_object().unwrap(), old.as_object().unwrap());
        assert!(new.keys().eq(old.keys()));
        for (key, value) in old {
            let is_place = ["start", "end"].contains(&key.as_str());
            assert!(is_place || new[key] == *value, "{key}");
        }
    }
    // CSV has them as JSON, and they come back from there.
    run("in.jsonl", "out.csv");
    run("out.csv", "again.jsonl");
    let again: Value =
        serde_json::from_value(place.rows("again.jsonl")[0]["spans"].clone()).unwrap();
    assert_eq!(again, line["spans"]);
    // Parquet has types: what has none beforehand is JSON there, and goes on with its type from there.
    run("in.jsonl", "out.parquet");
    run("out.parquet", "typed.jsonl");
    let typed = &place.rows("typed.jsonl")[0]["spans"];
    let other = |at: usize| -> Value {
        serde_json::from_str(typed[at]["other"].as_str().unwrap()).unwrap()
    };
    assert_eq!(other(0), serde_json::json!({"id": "first", "score": 0.5}));
    assert_eq!(
        other(1),
        serde_json::json!({"score": 1.5, "more": {"n": [1]}})
    );
    assert_eq!(
        (&typed[1]["start"], &typed[1]["label"]),
        (&9.into(), &"B".into())
    );
}

/// Commands could not be put one behind the other, or what went wrong first would be forgotten.
#[test]
fn an_output_can_be_the_next_input() {
    let place = Workplace::new();
    place.write("in.txt", "good\n\nalso\n");
    place.write("good.txt", "good\nalso\n");
    for extension in ["jsonl", "csv", "parquet"] {
        let (first, second) = (format!("a.{extension}"), format!("b.{extension}"));
        place.run(&["tokenize", "good.txt", "-o", &first]).ok();
        let next = ["augment", &first, "-o", &second];
        place.run(&next).ok();
        place
            .run(&["tokenize", "in.txt", "-o", &first, "--restart"])
            .code(2);
        place.run(&[&next[..], &["--restart"]].concat()).code(2);
        // In a form that can be looked into.
        place
            .run(&["augment", &second, "-o", "c.jsonl", "--restart"])
            .code(1)
            .says("`source_row`")
            .says("--drop source_row --drop copy");
        let drop = ["--drop", "source_row", "--drop", "copy"];
        let third = ["augment", &second, "-o", "c.jsonl", "--restart"];
        place
            .run(&[&third[..], &drop].concat())
            .code(2)
            .says(match extension {
                "csv" => "1 row: missing_value 1\n",
                _ => "1 row: see the column `error` for 1\n",
            });
        let rows = place.rows("c.jsonl");
        let errors: Vec<&str> = rows
            .iter()
            .map(|row| row["error"].as_str().unwrap_or_default())
            .collect();
        assert_eq!((errors[0], errors[2]), ("", ""));
        let told: Vec<&str> = errors[1].split("; before: ").collect();
        // Only CSV has no difference between an empty text and none.
        let most = if extension == "csv" { 3 } else { 1 };
        assert_eq!(told.len(), most, "{}", errors[1]);
        let first = told.last().unwrap();
        assert!(
            first.starts_with("missing_value: row 2 (in.txt"),
            "{}",
            errors[1]
        );
    }
    // What is no earlier error has no place.
    place.write("own.jsonl", "{\"text\":\"a\",\"error\":0.5}\n");
    place
        .run(&["augment", "own.jsonl", "-o", "d.jsonl"])
        .code(1)
        .says("--drop error");
}

/// Somebody would wait for edits that never come.
#[test]
fn a_recipe_that_changes_nothing_is_told() {
    let place = Workplace::new();
    place.write("in.txt", "a b\n");
    place.write("off.toml", "[delete]\np = 0.5\nmax = 0\n");
    place.write("on.toml", "[delete]\np = 0.5\n");
    let run = |recipe| {
        let words = [
            "augment",
            "in.txt",
            "--recipe",
            recipe,
            "--restart",
            "-o",
            "a.jsonl",
        ];
        place.run(&words).ok()
    };
    run("off.toml").says("the recipe changes nothing");
    assert!(!run("on.toml").err.contains("changes nothing"));
}

/// Whoever has spans from another program, with places of 32 bits and scores, would lose the scores or their type.
#[test]
fn spans_of_other_programs_keep_their_fields() {
    let place = Workplace::new();
    place.write("shuffle.toml", "[shuffle-words]\np = 1.0\n");
    let field = |name: &str, kind| Arc::new(Field::new(name, kind, true));
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["A", "B", "C"]));
    let scores: ArrayRef = Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5]));
    let places = |places: [i32; 3]| Arc::new(Int32Array::from(places.to_vec())) as ArrayRef;
    let values = StructArray::from(vec![
        (field("label", DataType::Utf8), labels),
        (field("end", DataType::Int32), places([3, 12, 2])),
        (field("score", DataType::Float32), scores),
        (field("start", DataType::Int32), places([0, 9, 0])),
    ]);
    let item = field("item", values.data_type().clone());
    // Two in the first row, none in the second, one in the third.
    let lengths = OffsetBuffer::from_lengths([2, 0, 1]);
    let spans: ArrayRef = Arc::new(ListArray::new(item, lengths, Arc::new(values), None));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["Ann sees Bob", "no body", "Al is"]));
    let batch = RecordBatch::try_from_iter([("text", texts), ("spans", spans)]).unwrap();
    let file = std::fs::File::create(place.path("in.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let augment = |input: &str, more: &[&str]| {
        let words = [
            "augment",
            input,
            "--recipe",
            "shuffle.toml",
            "--spans-column",
            "spans",
        ];
        place.run(&[&words[..], more].concat()).ok();
    };
    augment("in.parquet", &["-o", "out.parquet"]);
    let file = std::fs::File::open(place.path("out.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let written = reader.schema().field_with_name("spans").unwrap();
    let DataType::List(item) = written.data_type() else {
        panic!("{written}");
    };
    let DataType::Struct(fields) = item.data_type() else {
        panic!("{item}");
    };
    let score = fields.find("score").unwrap().1;
    assert_eq!(score.data_type(), &DataType::Float32);
    let drop = ["--drop", "source_row,copy", "-o", "out.jsonl"];
    augment("out.parquet", &drop);
    let rows = place.rows("out.jsonl");
    assert_eq!(rows[1]["spans"], serde_json::json!([]));
    for (row, expected) in [
        (0, vec![("A", "Ann", 0.5), ("B", "Bob", 1.5)]),
        (2, vec![("C", "Al", 2.5)]),
    ] {
        let text: Vec<char> = rows[row]["text"].as_str().unwrap().chars().collect();
        let found = rows[row]["spans"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (label, word, score) in expected {
            let span = found.iter().find(|span| span["label"] == label).unwrap();
            let at = |name: &str| span[name].as_u64().unwrap() as usize;
            let there: String = text[at("start")..at("end")].iter().collect();
            assert_eq!(
                (there.as_str(), span["score"].as_f64()),
                (word, Some(score))
            );
        }
    }
}
