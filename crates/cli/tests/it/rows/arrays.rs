//! Arrays of token ids and their vocabularies.

use super::{array, json, lines, plain_texts, read_back};
use crate::workplace::{Workplace, model, texts};

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
