//! Every input format to every output format: what passes through is what was there.

use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use batchwright_data::{Carried, ColumnChoice, InputSpec, SurveyDepth};

use crate::support::{Files, answers, input_spec, read_all, read_text, run};

const TEXTS: [&str; 8] = [
    "plain",
    "comma, \"quote\" and 'apostrophe'",
    "two\nlines\r\nand a third",
    "tab\tinside",
    " spaces around ",
    "emoji \u{1f600} é \u{0}",
    "{\"json\":[1,2]}",
    "NULL",
];

/// The texts in a file of each format.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let delimited = |delimiter: u8| {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(delimiter)
            .from_writer(Vec::new());
        writer.write_record(["text", "id"]).unwrap();
        for (id, text) in TEXTS.iter().enumerate() {
            writer
                .write_record([text, id.to_string().as_str()])
                .unwrap();
        }
        writer.into_inner().unwrap()
    };
    let json: String = TEXTS
        .iter()
        .enumerate()
        .map(|(id, text)| {
            format!(
                "{}\n",
                serde_json::json!({"text": text, "id": id.to_string()})
            )
        })
        .collect();
    vec![
        ("in.csv", delimited(b',')),
        ("in.csv.gz", delimited(b',')),
        ("in.tsv", delimited(b'\t')),
        ("in.tsv.zst", delimited(b'\t')),
        ("in.jsonl", json.clone().into_bytes()),
        ("in.ndjson.zst", json.into_bytes()),
    ]
}

/// Texts, and another column, of a file.
fn texts_of(path: &std::path::Path) -> Vec<(String, String)> {
    let columns = ColumnChoice {
        text: Some("text".into()),
        pair: Some("id".into()),
        ..ColumnChoice::default()
    };
    let spec = InputSpec {
        columns,
        ..input_spec(&[path.to_str().unwrap().to_owned()], 3)
    };
    let chunks = read_all(&spec);
    let rows = chunks.iter().flat_map(|chunk| &chunk.rows);
    rows.map(|row| {
        let row = row.as_ref().unwrap();
        (row.text.clone(), row.pair.clone().unwrap())
    })
    .collect()
}

/// A text would come out altered: a quote too many, a newline less.
#[test]
fn texts_survive_every_pair_of_formats() {
    let expected: Vec<(String, String)> = TEXTS
        .iter()
        .enumerate()
        .map(|(id, t)| ((*t).to_owned(), id.to_string()))
        .collect();
    for (input, content) in inputs() {
        let files = Files::new();
        let path = files.write(input, &content);
        assert_eq!(texts_of(path.as_ref()), expected, "{input}");
        for output in [
            "o.jsonl",
            "o.jsonl.gz",
            "o.csv",
            "o.csv.zst",
            "o.tsv",
            "o.tsv.gz",
            "o.parquet",
        ] {
            let out = files.path(output);
            let summary = run(&input_spec(std::slice::from_ref(&path), 3), &out).unwrap();
            assert_eq!(
                (summary.rows, summary.failed_rows),
                (8, 0),
                "{input} to {output}"
            );
            assert_eq!(texts_of(&out), expected, "{input} to {output}");
        }
        // And from Parquet on to the others.
        let parquet = files.path("o.parquet").to_str().unwrap().to_owned();
        for output in ["p.jsonl", "p.csv", "p.tsv", "p.parquet"] {
            let columns = ColumnChoice {
                text: Some("text".into()),
                drop: ["label", "score", "embedding", "error"]
                    .map(str::to_owned)
                    .to_vec(),
                ..ColumnChoice::default()
            };
            let spec = InputSpec {
                columns,
                ..input_spec(std::slice::from_ref(&parquet), 3)
            };
            run(&spec, &files.path(output)).unwrap();
            assert_eq!(
                texts_of(&files.path(output)),
                expected,
                "parquet to {output}"
            );
        }
    }
}

/// Digits, escapes or the order of keys would change on the way through.
#[test]
fn json_lines_pass_through_to_the_letter() {
    let members = [
        r#""z":1.10,"text":"a\u0062","a":1e400,"n":{"k": [1, 2.0]},"u":"\u00e9\ud800""#,
        r#""text":"x","big":123456789012345678901234567890,"empty":{},"none":null,"k\u0065y":-0"#,
    ];
    let content: String = members
        .iter()
        .map(|members| format!("{{{members}}}\n"))
        .collect();
    let files = Files::new();
    let path = files.write("in.jsonl", content.as_bytes());
    let out = files.path("o.jsonl");
    run(&input_spec(&[path], 1), &out).unwrap();
    let text = read_text(&out);
    for (line, members) in text.lines().zip(members) {
        assert!(
            line.starts_with(&format!("{{{members},\"label\":")),
            "{line}"
        );
    }
    assert_eq!(text.lines().count(), 2);
}

/// A column would get another type with every run, or lose what does not fit without a word.
#[test]
fn json_columns_get_types_in_parquet() {
    let mut content = String::new();
    for row in 0..1_500 {
        content.push_str(&format!(
            "{{\"text\":\"t{row}\",\"i\":{row},\"f\":{row}.5,\"b\":true,\"m\":{}}}\n",
            if row % 2 == 0 { "1" } else { "\"x\"" }
        ));
    }
    content.push_str("{\"text\":\"last\",\"i\":\"seven\",\"late\":[1]}\n");
    let files = Files::new();
    let path = files.write("in.jsonl", content.as_bytes());
    let types = |depth: SurveyDepth, output: &str| {
        let spec = InputSpec {
            survey: depth,
            ..input_spec(std::slice::from_ref(&path), 100)
        };
        let out = files.path(output);
        let summary = run(&spec, &out).unwrap();
        let columns = ColumnChoice {
            text: Some("text".into()),
            ..ColumnChoice::default()
        };
        let spec = InputSpec {
            columns,
            ..input_spec(&[out.to_str().unwrap().to_owned()], 5_000)
        };
        let chunk = read_all(&spec).remove(0);
        let Carried::Table(table) = chunk.carried else {
            panic!("no table")
        };
        (summary.failed_rows, table)
    };
    use DataType::{Boolean, Float64, Int64, Utf8};
    let type_of = |table: &arrow_array::RecordBatch, name: &str| {
        table
            .schema()
            .field_with_name(name)
            .map(|field| field.data_type().clone())
            .ok()
    };

    let (failed, first) = types(SurveyDepth::FirstRows, "first.parquet");
    for (name, data_type) in [("i", Int64), ("f", Float64), ("b", Boolean), ("m", Utf8)] {
        assert_eq!(type_of(&first, name), Some(data_type), "{name}");
    }
    assert_eq!(failed, 1);
    let errors = first.column_by_name("error").unwrap().as_string::<i32>();
    let error = errors.value(1_500);
    assert!(error.starts_with("column_type: row 1501 "), "{error}");
    assert!(
        error.contains("`i` is \"seven\" but its column is int64"),
        "{error}"
    );
    assert!(error.contains("`late`") && error.contains("[1]"), "{error}");
    // The answer is there none the less.
    assert!(arrow_array::Array::is_valid(
        first.column_by_name("label").unwrap(),
        1_500
    ));

    let (failed, all) = types(SurveyDepth::Everything, "all.parquet");
    assert_eq!(failed, 0);
    assert_eq!(type_of(&all, "i"), Some(Utf8));
    assert_eq!(
        all.column_by_name("i")
            .unwrap()
            .as_string::<i32>()
            .value(1_500),
        "\"seven\""
    );
    assert_eq!(
        all.column_by_name("late")
            .unwrap()
            .as_string::<i32>()
            .value(1_500),
        "[1]"
    );
}

/// Keys of JSON rows would be missing from the CSV, or nested values be cut.
#[test]
fn json_to_csv_has_every_key() {
    let files = Files::new();
    let path = files.write(
        "in.jsonl",
        b"{\"text\":\"a\",\"n\":1.50}\n{\"text\":\"b\",\"o\":{\"k\":[1, \"x\"]},\"s\":\"q\\\"\"}\n",
    );
    let out = files.path("o.csv");
    run(&input_spec(&[path], 10), &out).unwrap();
    let text = read_text(&out);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("text,n,o,s,label,"), "{}", lines[0]);
    assert!(lines[1].starts_with("a,1.50,,,label "), "{}", lines[1]);
    assert!(
        lines[2].starts_with("b,,\"{\"\"k\"\":[1, \"\"x\"\"]}\",\"q\"\"\",label "),
        "{}",
        lines[2]
    );
}

/// Answers would be rounded on their way through text.
#[test]
fn embeddings_read_back_to_the_same_bits() {
    let files = Files::new();
    let path = files.write("in.txt", b"a\nb\nc\n");
    let chunk = read_all(&input_spec(std::slice::from_ref(&path), 10)).remove(0);
    let expected = answers(&chunk);
    let expected = expected.columns[2].1.as_fixed_size_list();
    for output in ["o.jsonl", "o.parquet"] {
        let out = files.path(output);
        run(&input_spec(std::slice::from_ref(&path), 2), &out).unwrap();
        let spec = InputSpec {
            columns: ColumnChoice {
                text: Some("text".into()),
                ..ColumnChoice::default()
            },
            ..input_spec(&[out.to_str().unwrap().to_owned()], 10)
        };
        match read_all(&spec).remove(0).carried {
            Carried::Table(table) => {
                let column = table.column_by_name("embedding").unwrap();
                assert_eq!(column.as_fixed_size_list(), expected);
            }
            Carried::Json(rows) => {
                for (at, row) in rows.into_iter().flatten().enumerate() {
                    let values: Vec<f32> =
                        serde_json::from_str(row.get("embedding").unwrap()).unwrap();
                    let expected = expected.value(at);
                    let expected = expected
                        .as_primitive::<arrow_array::types::Float32Type>()
                        .values();
                    assert_eq!(values, expected.to_vec());
                }
            }
        }
    }
}

/// The text column could not be left out of an output that has it already.
#[test]
fn keep_and_drop_reach_the_output() {
    let files = Files::new();
    let path = files.write("in.csv", b"text,id,note\na,1,x\n");
    type Names<'a> = &'a [&'a str];
    let cases: [(Option<Names<'_>>, Names<'_>, &str); 4] = [
        (None, &["text"], "id,note,label"),
        (Some(&["note"]), &[], "note,label"),
        (Some(&[]), &[], "label,score"),
        (None, &[], "text,id,note,label"),
    ];
    for (at, (keep, drop, header)) in cases.into_iter().enumerate() {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let columns = ColumnChoice {
            keep: keep.map(own),
            drop: own(drop),
            ..ColumnChoice::default()
        };
        let spec = InputSpec {
            columns,
            ..input_spec(std::slice::from_ref(&path), 10)
        };
        let out = files.path(&format!("{at}.csv"));
        run(&spec, &out).unwrap();
        assert!(read_text(&out).starts_with(header), "{keep:?} {drop:?}");
    }
}
