//! `tokenize` and `augment`: rows edited and turned into ids.

use serde_json::Value;

use crate::workplace::{Ran, Workplace, model, texts};

/// The rows of an array of u16 or u32, as NumPy would read them.
fn array(place: &Workplace, name: &str) -> Vec<Vec<u32>> {
    let bytes = place.read(name);
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let head = std::str::from_utf8(&bytes[10..128]).unwrap();
    let wide = head.contains("'descr': '<u4'");
    assert!(wide || head.contains("'descr': '<u2'"), "{head}");
    let shape = head.split(['(', ')']).nth(1).unwrap();
    let sizes: Vec<usize> = shape
        .split(", ")
        .map(|size| size.parse().unwrap())
        .collect();
    let values: Vec<u32> = match wide {
        true => bytes[128..]
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        false => bytes[128..]
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes(b.try_into().unwrap()).into())
            .collect(),
    };
    assert_eq!(values.len(), sizes[0] * sizes[1]);
    values.chunks_exact(sizes[1]).map(<[u32]>::to_vec).collect()
}

/// The text of a row of characters: what stands between begin and end.
fn read_back(row: &[u32], vocabulary: &Value) -> String {
    let tokens = vocabulary["tokens"].as_array().unwrap();
    let name = |id: &u32| tokens[*id as usize].as_str().unwrap();
    assert_eq!(name(&row[0]), "<BEG>");
    let end = row.iter().position(|id| name(id) == "<END>").unwrap();
    assert!(row[end + 1..].iter().all(|id| name(id) == "<PAD>"));
    row[1..end].iter().map(name).collect()
}

fn json(place: &Workplace, name: &str) -> Value {
    serde_json::from_slice(&place.read(name)).unwrap()
}

/// Texts with all that a plain file may hold: no quotes, delimiters or empty rows.
fn plain_texts(rows: usize) -> Vec<String> {
    let odd = ["naïve café", "שלום עולם", "👩‍👩‍👧 ok", "e\u{301}te", "a'b  c"];
    let odd = odd.iter().cycle();
    let mixed = texts().zip(odd).enumerate();
    mixed
        .map(|(row, (text, odd))| match row % 5 {
            0 => format!("{row} {odd}"),
            _ => text.trim().to_owned(),
        })
        .take(rows)
        .collect()
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}

/// A model would be trained on other characters than the data's, or a vocabulary not fit its array.
#[test]
fn characters_can_be_read_back_from_the_array() {
    let place = Workplace::new();
    let texts = plain_texts(2_000);
    place.write("in.txt", lines(&texts));
    place.run(&["tokenize", "in.txt", "-o", "a.npy"]).ok();
    let vocabulary = json(&place, "a.npy.vocabulary.json");
    let rows = array(&place, "a.npy");
    let back: Vec<String> = rows.iter().map(|row| read_back(row, &vocabulary)).collect();
    assert_eq!(back, texts);
    let longest = texts.iter().map(|text| text.chars().count()).max().unwrap();
    assert_eq!(rows[0].len(), longest + 2);

    // Another file with the vocabulary of the first: unknown characters, cut rows, wider ids.
    place.write(
        "more.txt",
        "naïve ✓\na row that is longer than the others\n",
    );
    let words = [
        "tokenize",
        "more.txt",
        "--vocabulary",
        "a.npy.vocabulary.json",
        "--width",
        "9",
        "--dtype",
        "u32",
        "-o",
        "b.npy",
    ];
    place.run(&words).ok().says("1 row had more tokens");
    let rows = array(&place, "b.npy");
    assert_eq!(read_back(&rows[0], &vocabulary), "naïve <UNK>");
    assert_eq!(read_back(&rows[1], &vocabulary), "a row t");
    assert_eq!(json(&place, "b.npy.vocabulary.json"), vocabulary);
}

/// The same rows would give other ids for how they are packed, or for how many threads there are.
#[test]
fn every_way_to_the_rows_gives_the_same_array() {
    let place = Workplace::new();
    // More than a block.
    let texts = plain_texts(12_000);
    place.write("in.txt", lines(&texts));
    place.write("crlf.txt", lines(&texts).replace('\n', "\r\n"));
    place.write("one.csv", "text\n".to_owned() + &lines(&texts));
    let quoted = |text: &String| format!("\"{}\",1\n", text.replace('"', "\"\""));
    let quoted: String = texts.iter().map(quoted).collect();
    place.write("two.csv", "text,n\n".to_owned() + &quoted);
    let objects = texts.iter().map(|text| serde_json::json!({ "text": text }));
    let objects: String = objects.map(|object| format!("{object}\n")).collect();
    place.write("in.jsonl", objects);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, lines(&texts).as_bytes()).unwrap();
    place.write("packed.txt.gz", packed.finish().unwrap());
    // Two files, and the cut within a block.
    place.write("cut-1.txt", lines(&texts[..7_001]));
    place.write("cut-2.txt", lines(&texts[7_001..]));

    let array_of = |command: &[&str], inputs: &[&str], threads: &str| {
        let flags = ["--threads", threads, "-o", "out.npy", "--restart"];
        place.run(&[command, inputs, &flags].concat()).ok();
        (place.read("out.npy"), place.read("out.npy.vocabulary.json"))
    };
    let tokenize: &[&str] = &["tokenize"];
    let augment: &[&str] = &[
        "augment",
        "--recipe",
        "typing",
        "--copies",
        "2",
        "--include-original",
        "--tokenize",
        "characters",
    ];
    let mut table = testing::CaseTable::new("the array depends on the rows alone");
    for command in [tokenize, augment] {
        let expected = array_of(command, &["in.txt"], "1");
        for threads in ["1", "2", "7"] {
            for inputs in [
                &["in.txt"][..],
                &["crlf.txt"],
                &["one.csv"],
                &["two.csv"],
                &["in.jsonl"],
                &["packed.txt.gz"],
                &["cut-1.txt", "cut-2.txt"],
            ] {
                let same = array_of(command, inputs, threads) == expected;
                let case = format!("{} of {inputs:?} by {threads} threads", command[0]);
                table.check(case, same.then_some(()).ok_or("other bytes".to_owned()));
            }
        }
    }
    table.finish();
    // And so for rows with columns.
    let rows_of = |inputs: &[&str], threads: &str| {
        let flags = [
            "--threads",
            threads,
            "-o",
            "out.jsonl",
            "--restart",
            "--keep",
            "",
        ];
        place.run(&[augment, inputs, &flags].concat()).ok();
        place.read("out.jsonl")
    };
    let expected = rows_of(&["in.txt"], "1");
    for (inputs, threads) in [(&["in.txt"][..], "7"), (&["cut-1.txt", "cut-2.txt"], "2")] {
        assert!(rows_of(inputs, threads) == expected, "{inputs:?}");
    }
}

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

/// A row's ids would differ from those that the model was trained with.
#[test]
fn a_models_tokens_are_those_of_its_tokenizer() {
    let place = Workplace::new();
    let texts: Vec<String> = texts().take(300).collect();
    place.write("in.txt", lines(&texts));
    let model = model("bert-embed");
    let file = format!("{model}/tokenizer.json");
    let limits = text::Limits { max_tokens: 12 };
    let tokenizer = text::Tokenizer::from_file(&file, limits).unwrap();
    let expected: Vec<Vec<u32>> = texts
        .iter()
        .map(|text| {
            let how = text::Encode::default();
            tokenizer.encode(&text.as_str().into(), &how).unwrap().ids
        })
        .collect();
    for what in [&model, &file] {
        let words = [
            "tokenize",
            "in.txt",
            "--tokenize",
            what,
            "--width",
            "12",
            "--restart",
        ];
        place.run(&[&words[..], &["-o", "a.npy"]].concat()).ok();
        for (row, ids) in array(&place, "a.npy").iter().zip(&expected) {
            assert_eq!(&row[..ids.len()], ids);
            let pad = tokenizer.pad_id().unwrap();
            assert!(row[ids.len()..].iter().all(|id| *id == pad));
        }
        assert!(!place.path("a.npy.vocabulary.json").exists());
        // As lists: as long as they are.
        let words = [
            "tokenize",
            "in.txt",
            "--tokenize",
            what,
            "-o",
            "a.jsonl",
            "--restart",
        ];
        place.run(&words).ok();
        for (row, ids) in place.rows("a.jsonl").iter().zip(&expected) {
            let list: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
            assert_eq!(list[..ids.len() - 1], ids[..ids.len() - 1]);
        }
    }
}

/// A user would not learn what to write instead.
#[test]
fn what_contradicts_itself_is_refused_with_the_remedy() {
    let place = Workplace::new();
    place.write("in.txt", "a\nb\n");
    place.write("in.jsonl", "{\"text\":\"a\",\"id\":1}\n");
    place.write("long.txt", "x".repeat(9_000));
    place.write("other.json", "{}");
    place.write("bad.toml", "[delete]\np = 2\n");
    place.write("good.toml", "[delete]\np = 0.01\n");
    place.write("v.json", "{}");
    let model = model("bert-embed");
    let many: String = (0x4e00..0x4e00 + 9_000)
        .filter_map(char::from_u32)
        .map(|c| format!("{c}\n"))
        .collect();
    place.write("many.txt", many);
    let mut table = testing::CaseTable::new("errors say what to do");
    let cases: [(&[&str], &str); 25] = [
        (
            &["tokenize", "in.txt", "--width", "99999999", "-o", "a.npy"],
            "at most 8192",
        ),
        (&["tokenize", "in.txt"], "name one with -o"),
        (
            &["tokenize", "no.txt", "-o", "a.npy"],
            "there is no such file",
        ),
        (&["tokenize", "long.txt", "-o", "a.npy"], "say --width"),
        (
            &["tokenize", "in.txt", "--tokenize", &model, "-o", "a.npy"],
            "say --width",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--tokenize",
                &model,
                "--width",
                "1",
                "-o",
                "a.npy",
            ],
            "use --max-tokens 2",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--tokenize",
                "no/such/model",
                "--offline",
                "-o",
                "a.parquet",
            ],
            "no/such/model",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--vocabulary",
                "other.json",
                "-o",
                "a.npy",
            ],
            "other.json: not a vocabulary",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--special-tokens",
                "<P>,<U>",
                "-o",
                "a.npy",
            ],
            "takes four names",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--special-tokens",
                "a,<U>,,",
                "-o",
                "a.npy",
            ],
            "at least two characters",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "-o",
                "a.npy",
                "--summary-json",
                "a.npy",
            ],
            "is what -o writes",
        ),
        (&["augment", "in.txt", "-o", "a.npy"], "say --tokenize"),
        (
            &["augment", "in.txt", "--recipe", "nope", "-o", "a.csv"],
            "light, typing, ocr",
        ),
        (
            &["augment", "in.txt", "--recipe", "bad.toml", "-o", "a.csv"],
            "bad.toml",
        ),
        (
            &["augment", "in.txt", "--copies", "0", "-o", "a.csv"],
            "no row would be left",
        ),
        (
            &["augment", "in.jsonl", "--spans-column", "no", "-o", "a.csv"],
            "its columns are: id",
        ),
        (
            &["augment", "in.txt", "--width", "9", "-o", "a.csv"],
            "say --tokenize",
        ),
        (
            &["augment", "in.txt", "--dtype", "u16", "-o", "a.csv"],
            "--dtype is about tokens",
        ),
        (
            &[
                "augment",
                "in.txt",
                "--special-tokens",
                "<P>,<U>,,",
                "-o",
                "a.csv",
            ],
            "--special-tokens is about tokens",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--special-tokens",
                "<P>,<U>,,",
                "--vocabulary",
                "v",
                "-o",
                "a.npy",
            ],
            "leave it out",
        ),
        (
            &["tokenize", "in.jsonl", "--keep", "id", "-o", "a.npy"],
            "--keep says nothing of .npy",
        ),
        (
            &["tokenize", "in.txt", "--rows-per-shard", "9", "-o", "a.npy"],
            "--rows-per-shard says nothing of .npy",
        ),
        (
            &[
                "augment",
                "in.txt",
                "--first-row",
                "18446744073709551615",
                "-o",
                "a.csv",
            ],
            "it is at most",
        ),
        (
            &[
                "augment",
                "in.txt",
                "--recipe",
                "good.toml",
                "-o",
                "a.csv",
                "--report-json",
                "./good.toml",
            ],
            "is what --recipe reads",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "--vocabulary",
                "v.json",
                "-o",
                "v.json",
                "--output-format",
                "jsonl",
            ],
            "is what --vocabulary reads",
        ),
    ];
    for (words, said) in cases {
        let ran: Ran = place.run(words);
        let good = ran.code == Some(1) && ran.err.contains(said) && !place.path("a.npy").exists();
        table.check(
            words.join(" "),
            good.then_some(())
                .ok_or(format!("{:?} {}", ran.code, ran.err)),
        );
    }
    table.finish();
    place
        .run_with(
            &["tokenize", "-", "--input-format", "lines", "-o", "s.npy"],
            b"a\n",
        )
        .code(1)
        .says("--vocabulary");
    place.run(&["tokenize", "in.txt", "-o", "a.npy"]).ok();
    let vocabulary = json(&place, "a.npy.vocabulary.json");
    place
        .run(&["tokenize", "in.txt", "-o", "a.npy"])
        .ok()
        .says("nothing to do");
    place
        .run(&["tokenize", "in.txt", "-o", "a.npy", "--width", "9"])
        .code(1)
        .says("--restart");
    std::fs::remove_file(place.path("a.npy.vocabulary.json")).unwrap();
    place
        .run(&["tokenize", "in.txt", "-o", "a.npy"])
        .ok()
        .says("nothing to do");
    assert_eq!(json(&place, "a.npy.vocabulary.json"), vocabulary);
    place.write("b.npy.vocabulary.json", "mine");
    place
        .run(&["tokenize", "in.txt", "-o", "b.npy"])
        .code(1)
        .says("b.npy.vocabulary.json");
    assert_eq!(place.read("b.npy.vocabulary.json"), b"mine");
    assert!(!place.path("b.npy.parts").exists());
}

/// An array would lie beside a vocabulary of other ids, and read back as another text.
#[test]
fn a_vocabulary_is_replaced_with_its_array_and_nothing_else_is() {
    let place = Workplace::new();
    place.write("in.txt", "abc\n");
    place.write("other.txt", "xyz\n\n");
    for output in ["a.npy", "a.parquet"] {
        let vocabulary = format!("{output}.vocabulary.json");
        let temporary = format!("{vocabulary}.tmp");
        place.write(&temporary, "mine");
        place.run(&["tokenize", "in.txt", "-o", output]).ok();
        let (rows, ids) = (place.read(output), place.read(&vocabulary));
        let stopped = ["tokenize", "other.txt", "-o", output, "--restart"];
        place
            .run(&[&stopped[..], &["--on-error", "stop"]].concat())
            .code(1);
        assert_eq!(
            (place.read(output), place.read(&vocabulary)),
            (rows, ids.clone())
        );
        // What was stopped is gone on with.
        place.run(&["tokenize", "other.txt", "-o", output]).code(2);
        assert_ne!(place.read(&vocabulary), ids);
        assert!(!place.path(&format!("{output}.parts")).exists());
        assert_eq!(place.read(&temporary), b"mine");
    }
}

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

/// The time that a kill costs would be all of it, or the array not be the same.
#[test]
fn jobs_have_the_same_bytes_after_kill_9_and_ctrl_c() {
    let place = Workplace::new();
    let texts: Vec<String> = plain_texts(60_000);
    place.write("in.txt", lines(&texts));
    place.write(
        "in.csv",
        "text,n\n".to_owned() + &lines(&texts).replace('\n', ",1\n"),
    );
    let jobs: [(&str, &str); 4] = [
        ("in.txt", "npy"),
        ("in.csv", "npy"),
        ("in.csv", "parquet"),
        ("in.csv", "arrow"),
    ];
    for (input, extension) in jobs {
        let words = |output: &str| -> Vec<String> {
            let all = [
                "augment",
                input,
                "--recipe",
                "typing",
                "--tokenize",
                "characters",
                "--copies",
                "2",
                "-o",
                output,
            ];
            let shards = match extension {
                "npy" => &[][..],
                _ => &["--rows-per-shard", "1000"],
            };
            let all = all.iter().chain(shards);
            all.map(|word| (*word).to_owned()).collect()
        };
        let (whole, broken) = (
            format!("whole-{input}.{extension}"),
            format!("broken-{input}.{extension}"),
        );
        let whole_words = words(&whole);
        let started = std::time::Instant::now();
        place
            .run(&whole_words.iter().map(String::as_str).collect::<Vec<_>>())
            .ok();
        let time = started.elapsed();
        let broken_words = words(&broken);
        let job: Vec<&str> = broken_words.iter().map(String::as_str).collect();
        let mut stopped = 0;
        for tenth in 1..=9 {
            let mut child = place.command(&job).spawn().unwrap();
            // A moment within the run is the point of this test.
            std::thread::sleep(time * tenth / 10);
            if tenth % 2 == 0 {
                child.kill().unwrap();
            } else {
                // It may have ended.
                drop(
                    std::process::Command::new("kill")
                        .args(["-INT", &child.id().to_string()])
                        .status(),
                );
            }
            let ran = crate::workplace::finish(child);
            stopped += usize::from(matches!(ran.code, None | Some(130)));
            if place.path(&broken).exists() {
                break;
            }
        }
        assert!(stopped > 0, "{input}: no run was stopped");
        place.run(&job).ok();
        assert!(
            place.read(&broken) == place.read(&whole),
            "{input} {extension}: other bytes"
        );
        assert!(!place.path(&format!("{broken}.parts")).exists());
    }
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
