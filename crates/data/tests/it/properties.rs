//! Random rows through every format.

use batchwright_data::{ColumnChoice, InputSpec};
use proptest::prelude::*;

use crate::support::{Files, input_spec, read_all, read_text, run};

/// Strings with everything that formats trip over.
fn nasty() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "a",
            "é",
            "\u{1f600}",
            "\"",
            "\"\"",
            ",",
            "\t",
            "\n",
            "\r",
            "\r\n",
            "\\",
            "'",
            " ",
            "\u{feff}",
            "\u{0}",
            "{",
            "}",
            "[",
            ":",
            "null",
            "#",
            ";",
            "=1+1",
            "\u{2028}",
        ]),
        1..8,
    )
    .prop_map(|parts| parts.concat())
}

fn rows() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((nasty(), nasty()), 1..20)
}

/// Reads text and note back.
fn back(path: &std::path::Path) -> Vec<(String, String)> {
    let columns = ColumnChoice {
        text: Some("text".into()),
        pair: Some("note".into()),
        ..ColumnChoice::default()
    };
    let spec = InputSpec {
        columns,
        ..input_spec(&[path.to_str().unwrap().to_owned()], 7)
    };
    let chunks = read_all(&spec);
    chunks
        .iter()
        .flat_map(|chunk| &chunk.rows)
        .map(|row| {
            let row = row.as_ref().unwrap();
            (row.text.clone(), row.pair.clone().unwrap())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Some string would not come out as it went in.
    #[test]
    fn any_text_passes_through_any_format(rows in rows()) {
        let files = Files::new();
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["text", "note"]).unwrap();
        for (text, note) in &rows {
            csv.write_record([text, note]).unwrap();
        }
        let csv = files.write("in.csv", &csv.into_inner().unwrap());
        let json: String = rows
            .iter()
            .map(|(text, note)| format!("{}\n", serde_json::json!({"text": text, "note": note})))
            .collect();
        let json = files.write("in.jsonl", json.as_bytes());
        for (input, label) in [(csv, "csv"), (json, "jsonl")] {
            for output in ["csv", "tsv.gz", "jsonl.zst", "parquet"] {
                let out = files.path(&format!("{label}.{output}"));
                let spec = input_spec(std::slice::from_ref(&input), 3);
                let summary = run(&spec, &out).unwrap();
                prop_assert_eq!(summary.failed_rows, 0);
                prop_assert_eq!(&back(&out), &rows, "{} to {}", label, output);
            }
        }
    }

    /// Some JSON value would be rewritten on its way through.
    #[test]
    fn any_json_passes_through_to_the_letter(
        values in prop::collection::vec(json_value(3), 1..6),
    ) {
        let files = Files::new();
        let members: Vec<String> =
            values.iter().enumerate().map(|(at, value)| format!("\"k{at}\":{value}")).collect();
        let line = format!("{{\"text\":\"t\",{}}}\n", members.join(","));
        let path = files.write("in.jsonl", line.as_bytes());
        let out = files.path("out.jsonl");
        run(&input_spec(&[path], 3), &out).unwrap();
        let text = read_text(&out);
        let expected = format!("{{\"text\":\"t\",{},\"label\":", members.join(","));
        prop_assert!(text.starts_with(&expected), "{text}");
    }

    /// Random bytes as any text format would crash the reader, or a row would be counted
    /// differently from one time to the next.
    #[test]
    fn any_bytes_are_rows_or_words(
        bytes in prop::collection::vec(
            prop::sample::select(b"\"\",,\n\n\r\t{}[]:\\anu1\xff\xc3\xa9 ".to_vec()), 0..200),
    ) {
        let files = Files::new();
        for name in ["a.csv", "a.tsv", "a.jsonl", "a.txt"] {
            let header: &[u8] = if name.ends_with("sv") { b"text\n" } else { b"" };
            let path = files.write(name, &[header, &bytes].concat());
            let spec = input_spec(&[path], 3);
            let count = |chunk_rows: usize| {
                let spec = InputSpec { chunk_rows, ..spec.clone() };
                batchwright_data::Source::open(&spec).map(|source| {
                    source.map(|chunk| chunk.unwrap().len()).sum::<usize>()
                })
            };
            prop_assert_eq!(count(1), count(1_000), "{}", name);
        }
    }
}

/// JSON texts as people write them, with their spaces and digits.
fn json_value(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(
        [
            "null",
            "true",
            "1",
            "-0",
            "1.10",
            "1E5",
            "1e-400",
            "123456789012345678901234567890",
            "\"\"",
            "\"\\u00e9\\/\"",
            "\"é\"",
            "[ ]",
            "{ }",
        ]
        .map(str::to_owned)
        .to_vec(),
    );
    leaf.prop_recursive(depth, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| format!("[{}]", v.join(" , "))),
            prop::collection::vec(inner, 1..4)
                .prop_map(|v| format!("{{\"a\" : {}}}", v.join(", \"b\": "))),
        ]
    })
}
