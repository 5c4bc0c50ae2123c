//! Texts far longer than the limit.

use std::time::Instant;

use batchwright_text::{
    Encode, Input, Limits, Offsets, OnLong, TextError, TokenCount, Tokenizer, Truncate,
};
use testing::CaseTable;
use testing::golden::{self, Golden};

use crate::tokenizer;

/// The same tokenizer made to read the whole text: a model whose limit is beyond it.
fn unlimited(model: &Golden) -> Tokenizer {
    let limits = Limits {
        max_tokens: usize::MAX,
    };
    Tokenizer::from_file(model.directory.join("tokenizer.json"), limits).unwrap()
}

/// About 60 kB of what the tiny tokenizers know and what they do not.
fn texts() -> Vec<(&'static str, String)> {
    let long = golden::Golden::load("bert-embed").case("long").text.clone();
    let odd = "Où est 東京の naïve\u{301} Ǻngström 🙂👍🏽\t\r\n  ﬁne [SEP] </s> <mask> 'll ";
    let plain = format!("{long} ").repeat(300);
    let mixed: String = (0..800)
        .map(|i| format!("{i}{odd}{}", " ".repeat(i % 7)))
        .collect();
    let unspaced = "unlocking東京é".repeat(4000);
    let blank = format!(
        "{}turn on the lights{}",
        " ".repeat(30_000),
        " \n".repeat(30_000)
    );
    vec![
        ("plain", plain),
        ("mixed", mixed),
        ("unspaced", unspaced),
        ("blank", blank),
    ]
}

/// Without it a long row would get tokens that it would not have had, read as a whole.
#[test]
fn a_window_gives_the_tokens_of_the_whole_text() {
    let mut table = CaseTable::new("long texts are cut as if they had been read to the end");
    for model in golden::all().iter().filter(|model| model.task == "embed") {
        let (limited, whole) = (tokenizer(model), unlimited(model));
        for (name, text) in texts() {
            let all = whole.encode(
                &Input::from(&text),
                &Encode {
                    offsets: Offsets::Keep,
                    ..Encode::default()
                },
            );
            let all = all.unwrap();
            for truncate in [Truncate::Right, Truncate::Left] {
                for offsets in [Offsets::Skip, Offsets::Keep] {
                    let how = Encode {
                        truncate,
                        offsets,
                        ..Encode::default()
                    };
                    let got = limited.encode(&Input::from(&text), &how).unwrap();
                    let (ids, spans) = (&all.ids, all.offsets.as_deref().unwrap());
                    let case = format!("{} / {name} / {truncate:?} / {offsets:?}", model.name);
                    if ids.len() <= model.max_tokens {
                        table.equal(case, &got.ids, ids);
                        continue;
                    }
                    let inner = model.max_tokens - 2;
                    let kept = match truncate {
                        Truncate::Right => 1..1 + inner,
                        Truncate::Left => ids.len() - 1 - inner..ids.len() - 1,
                    };
                    table.equal(&case, &got.ids[1..=inner], &ids[kept.clone()]);
                    if let Some(got) = &got.offsets {
                        let places = |spans: &[batchwright_text::TokenSpan]| {
                            spans.iter().map(|s| (s.start, s.end)).collect::<Vec<_>>()
                        };
                        table.equal(&case, &places(&got[1..=inner]), &places(&spans[kept]));
                    }
                }
            }
        }
    }
    table.finish();
}

/// Without it the longer of two long texts could lose the odd token.
#[test]
fn long_pairs_are_cut_as_if_read_to_the_end() {
    let mut table = CaseTable::new("long pairs are cut longest first, by their true lengths");
    for name in ["bert-rerank", "xlm-roberta-rerank"] {
        let model = Golden::load(name);
        let tokenizer = tokenizer(&model);
        let texts = texts();
        let (long, longer) = (&texts[0].1, format!("{0}{0}", texts[0].1));
        for (a, b) in [
            (long, &longer),
            (&longer, long),
            (long, long),
            (long, &"short".to_owned()),
        ] {
            for max_tokens in [30, 31] {
                let how = Encode {
                    max_tokens: Some(max_tokens),
                    ..Encode::default()
                };
                let got = tokenizer
                    .encode(&Input::from((a.as_str(), b.as_str())), &how)
                    .unwrap();
                // The beginnings of the texts, still much too long, in the same order of length.
                let head = |text: &String| match text.len() {
                    n if n == longer.len() => text[..3000].to_owned(),
                    n if n == long.len() => text[..2000].to_owned(),
                    _ => text.clone(),
                };
                let want = tokenizer
                    .encode(&Input::from((head(a), head(b))), &how)
                    .unwrap();
                let case = format!("{name} {} {} {max_tokens}", a.len(), b.len());
                table.equal(&case, &got.ids, &want.ids);
                table.equal(&case, &got.truncated, &true);
            }
        }
    }
    table.finish();
}

/// Without it one row of ten megabytes would stall a job for minutes or take its memory.
#[test]
fn ten_megabytes_take_no_longer_than_the_limit_asks() {
    let model = Golden::load("bert-embed");
    let tokenizer = tokenizer(&model);
    let text = "please send forty pounds to my sister ".repeat(10 * 1024 * 1024 / 38);
    let input = Input::from(text);
    for truncate in [Truncate::Right, Truncate::Left] {
        let started = Instant::now();
        let how = Encode {
            truncate,
            ..Encode::default()
        };
        let encoded = tokenizer.encode(&input, &how).unwrap();
        assert!(encoded.truncated && encoded.ids.len() == model.max_tokens);
        // The whole takes seconds; the part takes milliseconds.
        assert!(
            started.elapsed().as_millis() < 1000,
            "{:?}",
            started.elapsed()
        );
    }
    let how = Encode {
        on_long: OnLong::Error,
        ..Encode::default()
    };
    let refused = tokenizer.encode(&input, &how).unwrap_err();
    assert!(
        matches!(refused, TextError::TooLong { tokens: TokenCount::AtLeast(n), limit: 30 } if n > 30),
        "{refused}"
    );
}

/// Without it a user who asked not to have texts cut would have them cut, or not be told why.
#[test]
fn too_long_is_an_error_where_asked() {
    let model = Golden::load("bert-rerank");
    let tokenizer = tokenizer(&model);
    let how = |max_tokens| Encode {
        on_long: OnLong::Error,
        max_tokens: Some(max_tokens),
        ..Encode::default()
    };
    let text = Input::from(("turn on the lights", "please"));
    let tokens = tokenizer
        .encode(&text, &Encode::default())
        .unwrap()
        .ids
        .len();
    assert_eq!(
        tokenizer.encode(&text, &how(tokens)).unwrap().ids.len(),
        tokens
    );
    let error = tokenizer.encode(&text, &how(tokens - 1)).unwrap_err();
    assert_eq!(
        error,
        TextError::TooLong {
            tokens: TokenCount::Exactly(tokens),
            limit: tokens - 1
        }
    );
    let error = tokenizer.encode(&text, &how(2)).unwrap_err();
    assert_eq!(
        error,
        TextError::LimitTooLow {
            limit: 2,
            needed: 3
        }
    );
}

/// Without it a missing or broken file would be a panic, or an error that does not name it.
#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_tokens: 8 };
    let missing = folder.path().join("missing.json");
    let error = Tokenizer::from_file(&missing, limits).unwrap_err();
    assert!(
        matches!(error, TextError::Unreadable { .. }) && error.to_string().contains("missing.json")
    );
    for content in ["", "{}", "[1, 2", "{\"model\": {\"type\": \"Quantum\"}}"] {
        let broken = folder.path().join("broken.json");
        std::fs::write(&broken, content).unwrap();
        let error = Tokenizer::from_file(&broken, limits).unwrap_err();
        assert!(
            matches!(error, TextError::Malformed { .. }),
            "{content}: {error}"
        );
        assert!(error.to_string().contains("broken.json"));
    }
}
