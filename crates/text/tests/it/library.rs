//! Equality with the `tokenizers` crate on real texts, with the real tokenizer of all-MiniLM-L6-v2.
//!
//! `cargo xtask test` names its directory in `BATCHWRIGHT_TEST_MINILM`; the texts lie where
//! `BATCHWRIGHT_TEST_DATA` says, as CSV with a column `text` in folders `clinc150` and `banking77`.
//! Without the variables these tests say so and check nothing.

#![expect(
    clippy::print_stderr,
    reason = "a test that checks nothing must say so"
)]

use std::path::{Path, PathBuf};

use batchwright_text::{Encode, Encoded, Input, Limits, Offsets, Tokenizer, Truncate};
use testing::CaseTable;
use tokenizers::{TruncationDirection, TruncationParams};

/// What the tests of this file need, or a word on what is missing.
fn variable(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(name);
    if path.is_none() {
        eprintln!("skipped: {name} is not set");
    }
    path.map(PathBuf::from)
}

/// All texts of a data set.
fn texts(folder: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let mut rows = csv::Reader::from_path(&file).unwrap();
        let headers = rows.headers().unwrap();
        let column = headers.iter().position(|name| name == "text").unwrap();
        texts.extend(rows.records().map(|row| row.unwrap()[column].to_owned()));
    }
    texts
}

/// What both make of inputs, with and without places.
struct Library(tokenizers::Tokenizer);

impl Library {
    fn new(file: &Path, max_tokens: usize, truncate: Truncate) -> Library {
        let mut tokenizer = tokenizers::Tokenizer::from_file(file).unwrap();
        let truncation = TruncationParams {
            max_length: max_tokens,
            direction: match truncate {
                Truncate::Right => TruncationDirection::Right,
                Truncate::Left => TruncationDirection::Left,
            },
            ..TruncationParams::default()
        };
        tokenizer
            .with_padding(None)
            .with_truncation(Some(truncation))
            .unwrap();
        Library(tokenizer)
    }

    /// Ids, type ids and places in characters.
    fn encode(&self, input: &Input) -> (Vec<u32>, Vec<u8>, Vec<(usize, usize)>) {
        let encoding = match input {
            Input::Text(text) => self.0.encode_char_offsets(text.as_str(), true),
            Input::Pair(a, b) => self.0.encode_char_offsets((a.as_str(), b.as_str()), true),
        };
        let encoding = encoding.unwrap();
        let types = encoding.get_type_ids().iter().map(|kind| *kind as u8);
        (
            encoding.get_ids().to_vec(),
            types.collect(),
            encoding.get_offsets().to_vec(),
        )
    }
}

/// Type ids with the zeros that ours leave out.
fn types(encoded: &Encoded) -> Vec<u8> {
    match encoded.types.is_empty() {
        true => vec![0; encoded.ids.len()],
        false => encoded.types.clone(),
    }
}

/// Without it a row of real data would reach the network otherwise than transformers sends it.
#[test]
fn real_texts_have_the_library_s_tokens() {
    let (Some(model), Some(data)) = (
        variable("BATCHWRIGHT_TEST_MINILM"),
        variable("BATCHWRIGHT_TEST_DATA"),
    ) else {
        return;
    };
    let file = model.join("tokenizer.json");
    let mut table = CaseTable::new("real texts have the library's tokens, types and places");
    for (set, rows) in [("clinc150", 23_700), ("banking77", 13_083)] {
        let texts = texts(&data.join(set));
        table.equal(format!("rows of {set}"), &texts.len(), &rows);
        let singles = texts.iter().map(Input::from);
        let pairs = texts.windows(2).step_by(5);
        let pairs = pairs.map(|pair| Input::from((pair[0].as_str(), pair[1].as_str())));
        let inputs: Vec<Input> = singles.chain(pairs).collect();
        for (max_tokens, truncate) in [
            (256, Truncate::Right),
            (12, Truncate::Right),
            (12, Truncate::Left),
        ] {
            let ours = Tokenizer::from_file(&file, Limits { max_tokens }).unwrap();
            let library = Library::new(&file, max_tokens, truncate);
            for input in &inputs {
                let [plain, spans] = [Offsets::Skip, Offsets::Keep].map(|offsets| {
                    let how = Encode {
                        truncate,
                        offsets,
                        ..Encode::default()
                    };
                    ours.encode(input, &how).unwrap()
                });
                let places = spans.offsets.as_deref().unwrap().iter();
                let places = places.map(|span| (span.start, span.end)).collect();
                let got = (spans.ids.clone(), types(&spans), places);
                let case = || format!("{input:?} cut at {max_tokens} {truncate:?}");
                table.equal(case(), &plain.ids, &spans.ids);
                table.equal(case(), &got, &library.encode(input));
            }
        }
    }
    table.finish();
}

/// Without it a vocabulary of real size could have words that are looked up wrongly.
#[test]
fn every_word_of_the_real_vocabulary_has_the_library_s_tokens() {
    let Some(model) = variable("BATCHWRIGHT_TEST_MINILM") else {
        return;
    };
    let file = model.join("tokenizer.json");
    let limits = Limits { max_tokens: 512 };
    let ours = Tokenizer::from_file(&file, limits).unwrap();
    let library = Library::new(&file, limits.max_tokens, Truncate::Right);
    let mut vocabulary: Vec<String> = library.0.get_vocab(true).into_keys().collect();
    vocabulary.sort();
    let mut table = CaseTable::new("every word of the vocabulary has the library's tokens");
    for words in vocabulary.windows(2) {
        let bare = words[0].trim_start_matches("##");
        let texts = [
            words[0].clone(),
            format!("{}{}", words[1], bare),
            format!("{bare}{bare} x{bare}\u{e9}{}", words[1].to_uppercase()),
        ];
        for text in texts {
            let input = Input::from(text);
            let got = ours.encode(&input, &Encode::default()).unwrap().ids;
            table.equal(format!("{input:?}"), &got, &library.encode(&input).0);
        }
    }
    table.finish();
}
