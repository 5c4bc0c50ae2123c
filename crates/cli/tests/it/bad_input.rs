//! Every kind of bad input that was thought of, and what comes of it.
//!
//! Two tables: bad rows, which become rows with an error and exit code 2; and inputs, models and flags
//! with which no job can run, which end with exit code 1 and words that name the remedy.

use std::io::Write;

use testing::CaseTable;

use crate::workplace::{Workplace, copy_of_model, model};

/// A bad row: what is in the file, which row carries which code.
struct BadRow {
    name: &'static str,
    file: &'static str,
    content: &'static [u8],
    flags: &'static [&'static str],
    /// The code of each row; empty for a row that is answered.
    codes: &'static [&'static str],
}

const BAD_ROWS: &[BadRow] = &[
    BadRow {
        name: "not UTF-8 in CSV",
        file: "in.csv",
        content: b"id,text\n1,good\n2,b\xffd\n3,good\n",
        flags: &[],
        codes: &["", "invalid_utf8", ""],
    },
    BadRow {
        name: "not UTF-8 in plain lines",
        file: "in.txt",
        content: b"good\n\xc3\x28\ngood\n",
        flags: &[],
        codes: &["", "invalid_utf8", ""],
    },
    BadRow {
        name: "empty CSV cell",
        file: "in.csv",
        content: b"id,text\n1,\n2,good\n",
        flags: &[],
        codes: &["missing_value", ""],
    },
    BadRow {
        name: "CSV row with too few cells",
        file: "in.csv",
        content: b"id,text\n1,good\n2\n3,good\n",
        flags: &[],
        codes: &["", "ragged_row", ""],
    },
    BadRow {
        name: "CSV row with too many cells",
        file: "in.csv",
        content: b"id,text\n1,good,better\n2,good\n",
        flags: &[],
        codes: &["ragged_row", ""],
    },
    BadRow {
        name: "CSV quote that is never closed",
        file: "in.csv",
        content: b"id,text\n1,good\n2,\"opened\n3,good\n",
        flags: &[],
        codes: &["", "unclosed_quote"],
    },
    BadRow {
        name: "line that is no JSON",
        file: "in.jsonl",
        content: b"{\"text\": \"good\"}\n{\"text\": \ngood\n{\"text\": \"good\"}\n",
        flags: &[],
        codes: &["", "invalid_json", "invalid_json", ""],
    },
    BadRow {
        name: "JSON that is no object",
        file: "in.jsonl",
        content: b"{\"text\": \"good\"}\n[1, 2]\n",
        flags: &[],
        codes: &["", "invalid_json"],
    },
    BadRow {
        name: "JSON null and a key that is not there",
        file: "in.jsonl",
        content: b"{\"text\": null}\n{\"other\": \"x\"}\n{\"text\": \"good\"}\n",
        flags: &[],
        codes: &["missing_value", "missing_value", ""],
    },
    BadRow {
        name: "number where a text is wanted",
        file: "in.jsonl",
        content: b"{\"text\": 7}\n{\"text\": \"good\"}\n",
        flags: &[],
        codes: &["wrong_type", ""],
    },
    BadRow {
        name: "more tokens than the limit, with --on-long error",
        file: "in.csv",
        content: b"text\ngood\nthis text has many more tokens than the limit says\n",
        flags: &["--on-long", "error", "--max-tokens", "8"],
        codes: &["", "too_long"],
    },
];

/// A bad row would stop a night's job, or vanish, or take its neighbours with it.
#[test]
fn bad_rows_become_errors_and_nothing_else_changes() {
    let model = model("bert-embed");
    let mut table = CaseTable::new("a bad row is a row with an error");
    for case in BAD_ROWS {
        let place = Workplace::new();
        place.write(case.file, case.content);
        let words = [
            &["embed", case.file, "-m", &model, "-o", "out.jsonl"],
            case.flags,
        ]
        .concat();
        let ran = place.run(&words);
        table.equal(format!("{}: exit code", case.name), &ran.code, &Some(2));
        if ran.code != Some(2) {
            table.check(case.name, Err(ran.err));
            continue;
        }
        let rows = place.rows("out.jsonl");
        let codes: Vec<String> = rows
            .iter()
            .map(|row| match row["error"].as_str() {
                Some(error) => error.split(':').next().unwrap_or_default().to_owned(),
                None => String::new(),
            })
            .collect();
        table.equal(
            format!("{}: codes", case.name),
            &codes,
            &case.codes.iter().map(|code| (*code).to_owned()).collect(),
        );
        for (row, code) in rows.iter().zip(case.codes) {
            let answered = !row["embedding"].is_null();
            let expected = code.is_empty();
            table.equal(format!("{}: answered", case.name), &answered, &expected);
        }
        let code = case.codes.iter().find(|code| !code.is_empty()).unwrap();
        let counted = case.codes.iter().filter(|other| other == &code).count();
        let words = format!("{code} {counted}");
        let said = ran.err.contains(&words);
        table.check(
            format!("{}: the end counts {words:?}", case.name),
            said.then_some(()).ok_or(ran.err),
        );
    }
    table.finish();
}

/// A pair of which one text is missing must not be scored as if it were whole.
#[test]
fn half_a_pair_is_a_bad_row() {
    let place = Workplace::new();
    place.write(
        "in.csv",
        "query,passage\nlights,turn on\nlights,\n,turn on\n",
    );
    let model = model("bert-rerank");
    let words = [
        "rerank",
        "in.csv",
        "-m",
        &model,
        "--text-column",
        "query",
        "--pair-column",
        "passage",
    ];
    let rows = place.run(&words).code(2).says("missing_value 2").rows();
    let scored: Vec<bool> = rows.iter().map(|row| row["score"].is_f64()).collect();
    assert_eq!(scored, [true, false, false]);
}

/// NaN in a score looks like a score to whatever reads it.
#[test]
fn a_model_that_computes_nan_fails_its_rows() {
    let place = Workplace::new();
    copy_of_model("bert-classify", &place.path("broken"));
    let weights = place.path("broken/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let bias = &header["classifier.bias"];
    assert_eq!(bias["dtype"], "F16", "the test writes 16-bit NaN");
    let start = 8 + length + usize::try_from(bias["data_offsets"][0].as_u64().unwrap()).unwrap();
    bytes[start..start + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    place.write("in.csv", "text\nturn on the lights\n");
    let ran = place
        .run(&["classify", "in.csv", "-m", "broken"])
        .code(2)
        .says("not_finite 1");
    assert!(
        ran.rows()[0]["error"]
            .as_str()
            .unwrap()
            .starts_with("not_finite: row 1 (in.csv line 2)")
    );
}

/// The message of a bad row must lead to its place in the file.
#[test]
fn errors_name_row_file_and_line() {
    let place = Workplace::new();
    place.write("a.csv", "text\ngood\n\"two\nlines\"\n");
    place.write(
        "b.csv",
        "text\ngood\nthis text has many more tokens than the limit says\n",
    );
    let model = model("bert-embed");
    let words = [
        "embed",
        "a.csv",
        "b.csv",
        "-m",
        &model,
        "--on-long",
        "error",
        "--max-tokens",
        "16",
    ];
    let rows = place.run(&words).code(2).rows();
    let error = rows[3]["error"].as_str().unwrap();
    assert!(
        error.starts_with("too_long: row 4 (b.csv line 3): "),
        "{error}"
    );
}

/// Who asks to stop at a bad row must learn which, and keep what is computed.
#[test]
fn on_error_stop_names_the_row_and_the_job_can_go_on() {
    let place = Workplace::new();
    let mut csv = crate::workplace::csv(100);
    csv.push_str("100,\n101,good\n");
    place.write("in.csv", &csv);
    let model = model("bert-embed");
    let job = [
        "embed",
        "in.csv",
        "-m",
        &model,
        "-o",
        "out.jsonl",
        "--window",
        "16",
    ];
    let stop = [&job[..], &["--on-error", "stop"]].concat();
    place
        .run(&stop)
        .code(1)
        .says("row 101 (in.csv line 102)")
        .says("96 rows are saved");
    assert!(
        !place.path("out.jsonl").exists(),
        "an output that is there is whole"
    );
    place.run(&job).code(2).says("96 rows of an earlier run");
    assert_eq!(place.rows("out.jsonl").len(), 102);
}

/// A run that cannot be: the flags and what the message must say.
type Refused<'a> = (&'a str, Vec<&'a str>, &'a [&'a str]);

/// A job that cannot run must say why and what to do, before it has cost anything.
#[test]
fn what_cannot_run_says_why() {
    let place = Workplace::new();
    place.write("in.csv", "id,text\n1,good\n");
    place.write("two.csv", "title,body\nx,good\n");
    place.write("in.jsonl", "{\"text\": \"good\"}\n");
    place.write("in.xyz", "text\ngood\n");
    place.write("wide.csv", b"\xff\xfet\x00e\x00x\x00t\x00");
    place.write("broken.parquet", "no Parquet at all");
    place.write("double.csv", "text,text\na,b\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packed
        .write_all(crate::workplace::csv(5_000).as_bytes())
        .unwrap();
    let packed = packed.finish().unwrap();
    place.write("cut.csv.gz", &packed[..packed.len() / 2]);
    place.write("lines.txt", "good\n");
    place.write("packed.parquet.gz", b"\x1f\x8b\x08\x00");
    place.write("parquet.csv", b"PAR1\x15\x04\x15");
    place.write("taken.csv.parts", "x");
    std::fs::create_dir_all(place.path("directory")).unwrap();
    std::fs::create_dir_all(place.path("empty-model")).unwrap();
    std::fs::create_dir_all(place.path("models/none")).unwrap();
    copy_of_model("bert-embed", &place.path("gpt"));
    let config = String::from_utf8(place.read("gpt/config.json")).unwrap();
    place.write("gpt/config.json", config.replace("\"bert\"", "\"gpt2\""));
    copy_of_model("bert-embed", &place.path("cut-model"));
    let weights = place.read("cut-model/model.safetensors");
    place.write("cut-model/model.safetensors", &weights[..weights.len() / 2]);
    copy_of_model("bert-embed", &place.path("no-tokenizer"));
    std::fs::remove_file(place.path("no-tokenizer/tokenizer.json")).unwrap();

    let (embed, classify, tag) = (
        model("bert-embed"),
        model("bert-classify"),
        model("bert-tag"),
    );
    let (embed, classify, tag) = (embed.as_str(), classify.as_str(), tag.as_str());
    let rerank = model("bert-rerank");
    let cases: Vec<Refused<'_>> = vec![
        ("no input", vec!["embed", "-m", embed], &["<INPUT>"]),
        (
            "missing file",
            vec!["embed", "no.csv", "-m", embed],
            &["no.csv", "no such file"],
        ),
        (
            "glob without a file",
            vec!["embed", "*.tsv", "-m", embed],
            &["*.tsv", "no file matches"],
        ),
        (
            "directory",
            vec!["embed", "directory", "-m", embed],
            &["is a directory", "/*.csv"],
        ),
        (
            "unknown extension",
            vec!["embed", "in.xyz", "-m", embed],
            &["in.xyz", "--input-format"],
        ),
        (
            "UTF-16",
            vec!["embed", "wide.csv", "-m", embed],
            &["wide.csv", "UTF-16"],
        ),
        (
            "damaged Parquet",
            vec!["embed", "broken.parquet", "-m", embed],
            &["broken.parquet"],
        ),
        (
            "mixed formats",
            vec!["embed", "in.csv", "in.jsonl", "-m", embed],
            &["in.jsonl is jsonl"],
        ),
        (
            "different columns",
            vec!["embed", "in.csv", "two.csv", "-m", embed],
            &["two.csv"],
        ),
        (
            "a column twice",
            vec!["embed", "double.csv", "-m", embed],
            &["two columns", "`text`"],
        ),
        (
            "unknown text column",
            vec!["embed", "in.csv", "-m", embed, "--text-column", "body"],
            &["--text-column body", "id, text"],
        ),
        (
            "no text column",
            vec!["embed", "two.csv", "-m", embed],
            &["--text-column NAME", "title, body"],
        ),
        (
            "broken off gzip",
            vec!["embed", "cut.csv.gz", "-m", embed, "-o", "cut.jsonl"],
            &["cut.csv.gz", "cannot be read beyond"],
        ),
        (
            "unknown output",
            vec!["embed", "in.csv", "-m", embed, "-o", "out.xlsx"],
            &["out.xlsx", ".parquet"],
        ),
        (
            "plain lines as output",
            vec!["embed", "in.csv", "-m", embed, "--output-format", "lines"],
            &["[possible values: jsonl, csv, tsv, parquet, arrow]"],
        ),
        (
            "no directory for the output",
            vec!["embed", "in.csv", "-m", embed, "-o", "no/such/out.csv"],
            &["no/such", "mkdir -p"],
        ),
        (
            "output that cannot be written",
            vec!["embed", "in.csv", "-m", embed, "-o", "/proc/out.csv"],
            &["/proc/out.csv"],
        ),
        (
            "full disk",
            vec!["embed", "in.csv", "-m", embed, "-o", "/dev/full"],
            &["/dev/full", "space"],
        ),
        (
            "no model",
            vec!["classify", "in.csv"],
            &["which model?", "roberta-base-go_emotions"],
        ),
        (
            "no model to predict",
            vec!["predict", "in.csv"],
            &["which model?", "batchwright models"],
        ),
        (
            "unknown model",
            vec!["embed", "in.csv", "-m", "no-such"],
            &["no-such", "all-MiniLM-L6-v2"],
        ),
        (
            "empty model directory",
            vec!["embed", "in.csv", "-m", "./empty-model"],
            &["empty-model", "config.json"],
        ),
        (
            "a directory of two words that is no model",
            vec!["embed", "in.csv", "-m", "models/none"],
            &["models/none", "config.json"],
        ),
        (
            "a number that the library refuses, in the words of the command line",
            vec!["embed", "in.csv", "-m", embed, "--threads", "0"],
            &["error: `--threads`"],
        ),
        (
            "a file as cache directory",
            vec!["embed", "in.csv", "-m", embed, "--cache-dir", "in.csv"],
            &["`--cache-dir`"],
        ),
        (
            "unsupported family",
            vec!["embed", "in.csv", "-m", "gpt"],
            &["gpt2", "distilbert"],
        ),
        (
            "weights cut off",
            vec!["embed", "in.csv", "-m", "cut-model"],
            &["damaged safetensors"],
        ),
        (
            "no tokenizer",
            vec!["embed", "in.csv", "-m", "no-tokenizer"],
            &["tokenizer.json"],
        ),
        (
            "a task the model cannot",
            vec!["tag", "in.csv", "-m", embed],
            &["cannot tag"],
        ),
        (
            "offline and not here",
            vec!["embed", "in.csv", "--offline"],
            &["all-MiniLM-L6-v2"],
        ),
        (
            "rerank without pairs",
            vec!["rerank", "in.csv", "-m", &rerank],
            &["--pair-column", "the columns are: id, text"],
        ),
        (
            "rerank without pairs, and with two texts",
            vec!["rerank", "two.csv", "-m", &rerank],
            &["--pair-column", "the columns are: title, body"],
        ),
        (
            "rerank over plain lines",
            vec!["rerank", "lines.txt", "-m", &rerank],
            &["plain lines hold one text each"],
        ),
        (
            "a threshold that no score reaches",
            vec!["classify", "in.csv", "-m", classify, "--threshold", "nan"],
            &["--threshold", "a number such as 0.5"],
        ),
        (
            "packed Parquet",
            vec!["embed", "packed.parquet.gz", "-m", embed],
            &["packed.parquet.gz", "or packed"],
        ),
        (
            "Parquet under another name",
            vec!["embed", "parquet.csv", "-m", embed],
            &["--input-format parquet"],
        ),
        (
            "a file where the parts are to lie",
            vec!["embed", "in.csv", "-m", embed, "-o", "taken.csv"],
            &["taken.csv.parts", "no directory"],
        ),
        (
            "predict a reranker without pairs",
            vec!["predict", "in.csv", "-m", &rerank],
            &["--pair-column"],
        ),
        (
            "pairs for one text",
            vec![
                "embed",
                "two.csv",
                "-m",
                embed,
                "--text-column",
                "title",
                "--pair-column",
                "body",
            ],
            &["--pair-column means something to classify and rerank alone"],
        ),
        (
            "a flag of another task",
            vec!["embed", "in.csv", "-m", embed, "--aggregation", "first"],
            &["--aggregation means something to tag alone"],
        ),
        (
            "a flag of another task, to predict",
            vec!["predict", "in.csv", "-m", tag, "--top-k", "2"],
            &["--top-k means something to classify alone"],
        ),
        (
            "no labels",
            vec!["classify", "in.csv", "-m", classify, "--top-k", "0"],
            &["--top-k"],
        ),
        (
            "no threads",
            vec!["embed", "in.csv", "-m", embed, "--threads", "0"],
            &["threads", "1 to 1024"],
        ),
        (
            "unknown prompt",
            vec!["embed", "in.csv", "-m", embed, "--prompt-name", "nope"],
            &["nope", "query"],
        ),
        (
            "two prompts",
            vec![
                "embed",
                "in.csv",
                "-m",
                embed,
                "--prompt-name",
                "query",
                "--prompt",
                "x",
            ],
            &["--prompt and --prompt-name"],
        ),
        (
            "too many dimensions",
            vec!["embed", "in.csv", "-m", embed, "--dimensions", "33"],
            &["33", "32"],
        ),
        (
            "no dimensions",
            vec!["embed", "in.csv", "-m", embed, "--dimensions", "0"],
            &["at least 1"],
        ),
        (
            "beyond the model's limit",
            vec!["embed", "in.csv", "-m", embed, "--max-tokens", "5000"],
            &["5000", "`--max-tokens`"],
        ),
        (
            "a misspelt flag",
            vec!["embed", "in.csv", "--modle", "x"],
            &["--model"],
        ),
        (
            "no number",
            vec!["embed", "in.csv", "--window", "0"],
            &["--window", "a whole number of at least 1"],
        ),
        (
            "an odd size",
            vec!["embed", "in.csv", "--cache", "64 potatoes"],
            &["64MiB"],
        ),
        (
            "an instruction set that is not there",
            vec!["embed", "in.csv", "-m", embed, "--isa", "neon"],
            if cfg!(target_arch = "aarch64") {
                &["--isa"]
            } else {
                &["no neon"]
            },
        ),
    ];
    let mut table = CaseTable::new("what cannot run ends with 1 and says what to do");
    for (name, words, expected) in cases {
        let ran = place.run(&words);
        table.equal(format!("{name}: exit code"), &ran.code, &Some(1));
        for words in expected {
            let outcome = ran.err.contains(words).then_some(());
            table.check(
                format!("{name}: says {words:?}"),
                outcome.ok_or_else(|| format!("it says {}", ran.err)),
            );
        }
        let tidy = !ran.err.contains("panicked") && !ran.err.contains("RUST_BACKTRACE");
        table.check(
            format!("{name}: no panic"),
            tidy.then_some(()).ok_or(ran.err),
        );
    }
    table.finish();
}

/// A damaged file would end in the words of a crash, and its user report a bug instead of copying it.
#[test]
fn damaged_parquet_is_no_crash() {
    let place = Workplace::new();
    place.write("in.csv", crate::workplace::csv(200));
    let model = model("bert-embed");
    place
        .run(&crate::workplace::embed(&model, "whole.parquet"))
        .ok();
    let whole = place.read("whole.parquet");
    // The index at the end: the reader trusts some of its numbers.
    for at in whole.len() - 900..whole.len() - 650 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        place.write("damaged.parquet", bytes);
        let words = ["bench", "damaged.parquet", "-m", "no-such-model"];
        let columns = ["--text-column", "text", "--rows", "200"];
        let ran = place.run(&[&words[..], &columns].concat()).code(1);
        assert!(!ran.err.contains("panicked"), "byte {at}: {}", ran.err);
    }
}
