//! What is refused, with the remedy.

use super::json;
use crate::workplace::{Ran, Workplace, model};

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
    place.write("words.txt", "teh->the\n");
    place.write("table.toml", "[errors]\np = 0.1\ntable = \"words.txt\"\n");
    let model = model("bert-embed");
    let many: String = (0x4e00..0x4e00 + 9_000)
        .filter_map(char::from_u32)
        .map(|c| format!("{c}\n"))
        .collect();
    place.write("many.txt", many);
    let mut table = testing::CaseTable::new("errors say what to do");
    let cases: [(&[&str], &str); 33] = [
        (
            &["tokenize", "in.txt", "--width", "99999999", "-o", "a.npy"],
            "at most 8192",
        ),
        (
            &["tokenize", "in.txt", "--width", "2", "-o", "a.npy"],
            "--width is 2, and the tokens around every text are 2 alone: say --width 3 or more",
        ),
        (
            &["tokenize", "in.txt", "--width", "0", "-o", "a.npy"],
            "write a whole number of at least 1",
        ),
        (
            &["tokenize", "in.txt", "--rows-per-shard", "0", "-o", "a.csv"],
            "write a whole number of at least 1",
        ),
        (
            &["augment", "in.txt", "--preview", "0"],
            "write a whole number of at least 1",
        ),
        (
            &["augment", "in.txt", "--first-row", "0", "-o", "a.csv"],
            "rows are numbered from 1",
        ),
        (
            &["augment", "in.txt", "--threads", "0", "-o", "a.csv"],
            "it must be 1 to 1024",
        ),
        (
            &[
                "augment",
                "in.txt",
                "--recipe",
                "table.toml",
                "-o",
                "a.csv",
                "--report-svg",
                "words.txt",
            ],
            "is what --recipe reads",
        ),
        (
            &[
                "tokenize",
                "in.txt",
                "-o",
                "a.npy",
                "--summary-json",
                "a.npy.errors.jsonl",
            ],
            "is what -o writes",
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
            "--width is 1, and the tokens around every text are 2 alone: say --width 3 or more",
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
    // Another's vocabulary may be used, and its copy is written over no less than what is made.
    let with = [
        "tokenize",
        "in.txt",
        "--vocabulary",
        "a.npy.vocabulary.json",
    ];
    let over = ["-o", "c.npy", "--summary-json", "c.npy.vocabulary.json"];
    place
        .run(&[&with[..], &over].concat())
        .code(1)
        .says("c.npy.vocabulary.json: is what -o writes");
    place
        .run(&[&with[..], &["-o", "a.npy", "--restart"]].concat())
        .ok();
    place.write("b.npy.vocabulary.json", "mine");
    place
        .run(&["tokenize", "in.txt", "-o", "b.npy"])
        .code(1)
        .says("b.npy.vocabulary.json");
    assert_eq!(place.read("b.npy.vocabulary.json"), b"mine");
    assert!(!place.path("b.npy.parts").exists());
}
