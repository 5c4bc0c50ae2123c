//! Equality with the library, token for token and place for place.

use proptest::prelude::*;
use serde_json::{Value, json};
use testing::{CaseTable, golden};

use super::WordPiece;
use crate::tokens::{Tokens, Unit};

const PLACES: [Option<Unit>; 3] = [None, Some(Unit::Bytes), Some(Unit::Characters)];

/// A tokenizer both ways.
struct Both {
    name: String,
    library: tokenizers::Tokenizer,
    ours: WordPiece,
}

impl Both {
    fn new(name: &str, file: &[u8]) -> Both {
        let (library, ours) = read(file);
        Both {
            name: name.to_owned(),
            library,
            ours: ours.expect(name),
        }
    }

    /// What we and the library make of a text, if we make anything of it.
    fn tokens(&self, text: &str, places: Option<Unit>) -> (Option<Tokens>, Tokens) {
        let encoding = match places {
            None => self.library.encode_fast(text, false),
            Some(Unit::Bytes) => self.library.encode(text, false),
            Some(Unit::Characters) => self.library.encode_char_offsets(text, false),
        };
        let theirs = Tokens::of(encoding.unwrap(), places);
        (self.ours.tokens(text, places), theirs)
    }

    /// Notes what of ours differs from the library's.
    fn compare(&self, table: &mut CaseTable, text: &str) {
        for places in PLACES {
            let (got, want) = self.tokens(text, places);
            if let Some(got) = got {
                let case = format!("{} {places:?} {text:?}", self.name);
                table.equal(case, &(got.ids, got.places), &(want.ids, want.places));
            }
        }
    }
}

fn read(file: &[u8]) -> (tokenizers::Tokenizer, Option<WordPiece>) {
    let mut library = tokenizers::Tokenizer::from_bytes(file).unwrap();
    library.with_padding(None).with_truncation(None).unwrap();
    let ours = WordPiece::of(&library, library.get_post_processor(), file);
    (library, ours)
}

/// A file with a vocabulary that has many ways to spell a word, changed as told.
fn file(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let words = "[UNK] [CLS] [SEP] [MASK] un unlock lock locking ing the The re play ##lock ##ing \
                 ##s ##n ##'s don isn 'll naive na ##ive café cafe é ##é ë ö ñ ß strasse straße 東 京 ##京 \
                 の ж жук ##ук İ i ı Ġa ##Ġ 🙂 \u{1100} ##\u{1161} \u{302e} \u{301} ##\u{301} … — ## # \0 ##\0";
    let letters = (' '..='\x7e').flat_map(|c| [c.to_string(), format!("##{c}")]);
    let tokens = words.split(' ').map(str::to_owned).chain(letters);
    let mut vocabulary = serde_json::Map::new();
    for token in tokens.filter(|token| !token.ends_with(' ') && token != "q" && token != "##q") {
        let id = vocabulary.len();
        vocabulary.entry(token).or_insert(json!(id));
    }
    let special = |content: &str| {
        json!({"id": vocabulary[content], "content": content, "special": true, "normalized": false,
               "single_word": false, "lstrip": content == "[MASK]", "rstrip": false})
    };
    let mut file = json!({
        "version": "1.0",
        "added_tokens": [special("[UNK]"), special("[CLS]"), special("[SEP]"), special("[MASK]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    change(&mut file);
    serde_json::to_vec(&file).unwrap()
}

/// Every setting that a BERT file can have.
fn variants() -> Vec<Both> {
    let with = |path: &'static str, value: Value| {
        let change = |file: &mut Value| *file.pointer_mut(path).unwrap() = value.clone();
        Both::new(&format!("{path} {value}"), &file(change))
    };
    vec![
        Both::new("uncased", &file(|_| {})),
        with("/normalizer/lowercase", json!(false)),
        with("/normalizer/strip_accents", json!(false)),
        with("/normalizer/clean_text", json!(false)),
        with("/normalizer/handle_chinese_chars", json!(false)),
        with("/model/max_input_chars_per_word", json!(5)),
        with("/model/continuing_subword_prefix", json!("")),
        with("/model/unk_token", json!("the")),
        Both::new(
            "cased and stripped",
            &file(|file| {
                file["normalizer"]["lowercase"] = json!(false);
                file["normalizer"]["strip_accents"] = json!(true);
            }),
        ),
        Both::new(
            "an added word",
            &file(|file| {
                file["added_tokens"][0]["content"] = json!("lock");
                file["added_tokens"][0]["single_word"] = json!(true);
                file["added_tokens"][0]["id"] = file["model"]["vocab"]["lock"].clone();
            }),
        ),
    ]
}

/// The text, and whether the fast path is expected to understand it.
const AWKWARD: [(&str, bool); 37] = [
    ("", true),
    (" ", true),
    (" \t\r\n  ", true),
    ("unlocking the locks", true),
    ("  The   unlocking\tRE-PLAYS\n", true),
    ("don't isn't we'll 's ''", true),
    ("un\0lock \u{7f}the\u{1} \0 \u{b}re\u{c}play\u{1f}", true),
    ("\0", true),
    ("\0\0lock\0", true),
    ("the\u{a0}lock\u{2003}re\u{3000}play\u{2028}the\u{85}", true),
    ("\u{feff}the\u{200d}lock\u{200b}\u{ad}", true),
    ("...!?;--__$$%%^^``||~~<<>>==++", true),
    ("re.play,un-lock(the)", true),
    ("0123456789 3.14 1,000 1st", true),
    ("quick unqlocking q", true),
    ("[unused1] [the] [ MASK ] [mask] [", true),
    ("[CLS] the", false),
    ("the[SEP]lock", false),
    ("the  [MASK] lock", false),
    ("a[[MASK]", false),
    (
        "café CAFÉ cafe\u{301} naïve nai\u{308}ve straße STRASSE",
        true,
    ),
    ("a\u{323}\u{301}b\u{301}\u{323}c \u{301} \u{301}lock", true),
    ("ﬁne ① ½ ﾊﾝ № ℃ Å ≠ \u{37e} \u{1fee}", true),
    ("İstanbul ıI ǅ ẞ Ǻngström Ġa aĠ", true),
    ("東京の unlock東京lock 日本語 豈", true),
    ("жук Жуки ЖУК\u{301} ελληνικά σας ΣΑΣ", true),
    ("각하 한국어 \u{1100}\u{1161}", true),
    ("🙂 lock🙂the 👍🏽 👨‍👩‍👧 🇩🇪", true),
    ("हिन्दी ไทย العربية עִבְרִית", true),
    ("a\u{302e}\u{301}b", false),
    ("𠀀 the", false),
    ("\u{e000} \u{fffd} \u{fdd0} \u{10ffff}", false),
    ("“the” ‘lock’ — … – • §", true),
    ("##lock # ## #lock the##", true),
    ("\u{1100}\u{1161}\u{11a8}\u{11a8}", true),
    ("the\u{301}\u{0}\u{301}lock", true),
    ("\u{301}", true),
];

/// Without it a text would get other tokens than the model was trained with.
#[test]
fn awkward_texts_have_the_library_s_tokens() {
    let mut table = CaseTable::new("awkward texts have the library's tokens and places");
    let variants = variants();
    let long: Vec<String> = [99, 100, 101, 5, 6, 4000]
        .into_iter()
        .flat_map(|n| {
            [
                ("a", n),
                ("é", n),
                ("東", n),
                ("the lock ", n),
                ("unlocking", n),
            ]
        })
        .map(|(word, n)| format!("re {}", word.repeat(n)))
        .collect();
    for text in AWKWARD
        .iter()
        .map(|case| case.0)
        .chain(long.iter().map(String::as_str))
    {
        for both in &variants {
            both.compare(&mut table, text);
        }
    }
    table.finish();
}

/// Without it the fast path could be right by never being taken.
#[test]
fn only_texts_that_depend_on_more_than_characters_are_left_to_the_library() {
    let mut table = CaseTable::new("the fast path is taken wherever it can be");
    let uncased = &variants()[0];
    for (text, fast) in AWKWARD {
        let got = uncased.ours.tokens(text, None).is_some();
        table.equal(format!("{text:?}"), &got, &fast);
    }
    table.finish();
}

/// Without it some letter of some script would be spelled otherwise than in training.
#[test]
fn every_character_in_every_position_has_the_library_s_tokens() {
    let mut table = CaseTable::new("every character has the library's tokens and places");
    let mut variants = variants();
    variants.truncate(2);
    let mut ours = 0;
    // Of the many Han characters and Hangul syllables, which are alike, one in seven.
    let many = |c: &char| ('\u{a000}'..'\u{f900}').contains(c);
    for character in ('\0'..'\u{20100}').filter(|c| !many(c) || u32::from(*c).is_multiple_of(7)) {
        let text =
            format!("{character}the{character}\u{323}\u{301}{character}{character} {character}");
        for both in &variants {
            let (got, want) = both.tokens(&text, Some(Unit::Characters));
            let Some(got) = got else { continue };
            ours += 1;
            if (&got.ids, &got.places) != (&want.ids, &want.places) {
                table.equal(
                    format!("{} {character:?}", both.name),
                    &got.places,
                    &want.places,
                );
            }
        }
    }
    table.check(
        "enough",
        (ours > 150_000).then_some(()).ok_or(format!("only {ours}")),
    );
    table.finish();
}

/// Without it a file of another kind would be read as if it were BERT's.
#[test]
fn files_that_are_not_bert_s_are_left_to_the_library() {
    let mut table = CaseTable::new("only BERT's own files take the fast path");
    for model in golden::all() {
        let file = std::fs::read(model.directory.join("tokenizer.json")).unwrap();
        let got = read(&file).1.is_some();
        let want = ["bert", "distilbert", "mpnet"].contains(&model.family.as_str());
        table.equal(&model.name, &got, &want);
    }
    let roberta = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1],
                         "trim_offsets": true, "add_prefix_space": true});
    let cases = [
        ("/normalizer", Value::Null),
        ("/normalizer", json!({"type": "Lowercase"})),
        (
            "/normalizer",
            json!({"type": "Sequence", "normalizers": []}),
        ),
        ("/pre_tokenizer", Value::Null),
        ("/pre_tokenizer", json!({"type": "Whitespace"})),
        ("/model/unk_token", json!("<unk>")),
        ("/added_tokens/0/normalized", json!(true)),
        // It would trim the offsets of tokens that begin with `Ġ`.
        ("/post_processor", roberta),
    ];
    for (path, value) in cases {
        let changed = file(|file| {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let parent = file.pointer_mut(parent).unwrap();
            match name.parse::<usize>() {
                Ok(at) => parent[at] = value.clone(),
                Err(_) => parent[name] = value.clone(),
            }
        });
        table.equal(
            format!("{path} {value}"),
            &read(&changed).1.is_some(),
            &false,
        );
    }
    table.finish();
}

/// Texts of known pieces, of any ASCII, of any Unicode, and of all three.
fn text() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "unlock", "ing", "locks", "The", " ", "  ", "\t", "'ll", "é", "e\u{301}", "ß", "東", "の",
        "각", "жук", "🙂", "\0", "\u{200d}", "\u{a0}", "[", "]", "[SEP]", "[MASK]", "lock", "q",
        "#", "##", "-", "\u{302e}",
    ]);
    let known = prop::collection::vec(known, 0..12).prop_map(|pieces| pieces.concat());
    let ascii = prop::collection::vec(0u8..128, 0..60)
        .prop_map(|bytes| bytes.into_iter().map(char::from).collect::<String>());
    let words = "([a-zA-Z]{1,9}[ ,.'-]){0,12}";
    let script = prop_oneof![
        prop::char::range('\u{80}', '\u{24f}'),
        prop::char::range('\u{300}', '\u{5ff}'),
        prop::char::range('\u{900}', '\u{1fff}'),
        prop::char::range('\u{2000}', '\u{33ff}'),
        prop::char::range('\u{ac00}', '\u{ac80}'),
        prop::char::range('a', 'z'),
    ];
    let scripts = prop::collection::vec(script, 0..24)
        .prop_map(|characters| characters.into_iter().collect::<String>());
    let one = prop_oneof![known, ascii, words, scripts, any::<String>()];
    prop::collection::vec(one, 1..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without it some row of a million would be read otherwise than by transformers.
    #[test]
    fn any_text_has_the_library_s_tokens(texts in prop::collection::vec(text(), 4)) {
        thread_local!(static VARIANTS: Vec<Both> = variants());
        VARIANTS.with(|variants| {
            let mut table = CaseTable::new("any text has the library's tokens and places");
            table.check("", Ok(()));
            for both in variants {
                for text in &texts {
                    both.compare(&mut table, text);
                }
            }
            table.finish();
        });
    }
}
