//! What a seed gives. A change here changes every data set that anyone makes again from a recipe and a
//! seed: it belongs into the changelog.

use super::super::Recipe;
use super::{EVERY, edited};

const TEXTS: [&str; 4] = [
    "01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview",
    "Please send the original receipt to their office in 10115 Berlin.",
    "naïve café — 日本語 👩‍👩‍👧‍👦 e\u{301}te\u{301}",
    "",
];

/// Without it a new release would silently give other rows for the same seed.
#[test]
fn a_seed_gives_the_same_rows_as_ever() {
    let expected = [
        (
            "light",
            "Please send thhe original receipt to their office in 1115 Berlin.",
            "14bfca9265d97dc9",
        ),
        (
            "typing",
            "Plaese s3nd hte original reeipt to their office in 101155 Berlin.",
            "92dc806c61ed8e5a",
        ),
        (
            "ocr",
            "Please send the orignal receipt to their office ih I0l15 Berlin.",
            "a64307f3f46ffd55",
        ),
        (
            "every",
            "Plaese to office receipt the original send Berlin. theiur iń",
            "21367bcccec23791",
        ),
    ];
    let mut table = testing::CaseTable::new("rows of a seed");
    for name in ["light", "typing", "ocr", "every"] {
        let recipe = match name {
            "every" => Recipe::parse(EVERY).unwrap(),
            name => Recipe::named(name).unwrap(),
        };
        let mut hash = blake3::Hasher::new();
        let mut first = String::new();
        for row in 0..1000 {
            let out = edited(&recipe, 7, row, TEXTS[row as usize % TEXTS.len()]);
            hash.update(out.text().as_bytes()).update(b"\n");
            if row == 1 {
                out.text().clone_into(&mut first);
            }
        }
        let hash = hash.finalize().to_hex();
        let known = expected.iter().find(|(known, ..)| *known == name);
        table.equal(
            name,
            &Some((first.as_str(), &hash[..16])),
            &known.map(|(_, first, hash)| (*first, *hash)),
        );
    }
    table.finish();
}
