//! Chi-square tests: edits fall where and as often as the chances say. Seeds are fixed, so a test that
//! holds once holds always; its limit is what pure chance exceeds once in a thousand.

use super::super::{Augmenter, Bounds, Edited, Kind, Place, Recipe};

const ROWS: u64 = 20_000;

/// The sum of (observed − expected)² / expected, and whether chance explains it: below the quantile
/// 0.999 by Wilson and Hilferty's approximation (1931).
#[track_caller]
fn assert_follows(name: &str, counts: &[u64], expected: &[f64], free: usize) {
    let chi: f64 = counts
        .iter()
        .zip(expected)
        .map(|(count, expected)| (*count as f64 - expected).powi(2) / expected)
        .sum();
    let spread = 2.0 / (9.0 * free as f64);
    let limit = free as f64 * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
    assert!(
        chi < limit,
        "{name}: chi-square {chi:.1} of at most {limit:.1}, {counts:?}"
    );
}

fn recipe(chances: &[(Kind, f64)]) -> Recipe {
    chances.iter().fold(Recipe::default(), |recipe, (kind, p)| {
        recipe.with(*kind, *p).unwrap()
    })
}

fn rows(recipe: &Recipe, text: &str, mut see: impl FnMut(&Edited)) {
    let augmenter = Augmenter::new(recipe, 11).unwrap();
    let mut out = Edited::default();
    for row in 0..ROWS {
        augmenter.edit(
            Place {
                row,
                ..Place::default()
            },
            text,
            &mut out,
        );
        see(&out);
    }
}

const TEXT: &str = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
const CHANCES: &[(Kind, f64)] = &[
    (Kind::Delete, 0.01),
    (Kind::Insert, 0.02),
    (Kind::Substitute, 0.03),
    (Kind::Repeat, 0.004),
    (Kind::Keyboard, 0.01),
    (Kind::Case, 0.015),
];

/// Without it a recipe's chances would not be those of its edits.
#[test]
fn characters_are_edited_as_often_as_asked() {
    let length = TEXT.len();
    let mut counts = vec![vec![0u64; length]; CHANCES.len()];
    let mut by_row = [0u64; 13];
    rows(&recipe(CHANCES), TEXT, |out| {
        for edit in out.edits() {
            let kind = CHANCES
                .iter()
                .position(|(kind, _)| *kind == edit.kind)
                .unwrap();
            counts[kind][edit.before.start] += 1;
        }
        by_row[out.total().min(12)] += 1;
    });
    let all: Vec<u64> = counts.iter().flatten().copied().collect();
    let expected: Vec<f64> = CHANCES
        .iter()
        .flat_map(|(_, p)| vec![p * ROWS as f64; length])
        .collect();
    assert_follows("kinds and positions", &all, &expected, all.len());
    for ((kind, p), counts) in CHANCES.iter().zip(&counts) {
        assert_follows(kind.name(), counts, &vec![p * ROWS as f64; length], length);
    }
    // Places are independent: edits of a row are binomial.
    let p: f64 = CHANCES.iter().map(|(_, p)| p).sum();
    let mut one = ROWS as f64 * (1.0 - p).powi(length as i32);
    let mut binomial = vec![];
    for edits in 0..12 {
        binomial.push(one);
        one *= p / (1.0 - p) * (length - edits) as f64 / (edits + 1) as f64;
    }
    binomial.push(ROWS as f64 - binomial.iter().sum::<f64>());
    assert_follows("edits a row", &by_row, &binomial, 12);
}

/// Without it what comes for a character would not be spread as the tables say.
#[test]
fn replacements_are_as_likely_as_one_another() {
    let mut letters = [0u64; 26];
    let recipe = recipe(&[(Kind::Substitute, 0.5)]);
    rows(&recipe, "e", |out| {
        let c = out.text().bytes().next().unwrap();
        letters[usize::from(c - b'a')] += 1;
    });
    let substituted = (ROWS - letters[4]) as f64 / 25.0;
    let others: Vec<u64> = letters
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 4)
        .map(|(_, n)| *n)
        .collect();
    assert_follows("letters", &others, &[substituted; 25], 24);
    let changed = ROWS as f64 / 2.0;
    assert_follows(
        "changed",
        &[letters[4], ROWS - letters[4]],
        &[changed; 2],
        1,
    );
}

/// Without it words would be dropped, doubled, split and joined more or less often than asked.
#[test]
fn words_are_edited_as_often_as_asked() {
    let chances = [
        (Kind::RepeatWords, 0.05),
        (Kind::SplitWords, 0.1),
        (Kind::Capitals, 0.02),
    ];
    let words = ["alpha", "beta", "gamma", "delta", "epsilon"];
    let text = words.join(" ");
    let start = |at: usize| words[..at].iter().map(|word| word.len() + 1).sum::<usize>();
    let mut counts = [[0u64; 5]; 3];
    rows(&recipe(&chances), &text, |out| {
        for edit in out.edits() {
            let kind = chances
                .iter()
                .position(|(kind, _)| *kind == edit.kind)
                .unwrap();
            let word = (0..5).rfind(|at| start(*at) <= edit.before.start).unwrap();
            counts[kind][word] += 1;
        }
    });
    for ((kind, p), counts) in chances.iter().zip(counts) {
        assert_follows(kind.name(), &counts, &[p * ROWS as f64; 5], 5);
    }
}

/// Without it some orders of words would hardly ever be seen.
#[test]
fn every_other_order_is_as_likely() {
    let mut orders = std::collections::BTreeMap::new();
    rows(&recipe(&[(Kind::ShuffleWords, 0.5)]), "a b c d", |out| {
        *orders.entry(out.text().to_owned()).or_insert(0u64) += 1;
    });
    let same = orders.remove("a b c d").unwrap();
    let counts: Vec<u64> = orders.into_values().collect();
    assert_eq!(counts.len(), 23);
    let half = ROWS as f64 / 2.0;
    assert_follows("whether", &[same, ROWS - same], &[half, half], 1);
    assert_follows("orders", &counts, &[(ROWS - same) as f64 / 23.0; 23], 22);
}

/// Without it bounds would favour the heads of texts, or kinds that come first.
#[test]
fn bounds_take_and_give_everywhere_alike() {
    let both = [(Kind::Delete, 0.1), (Kind::Substitute, 0.3)];
    let cases = [
        (
            "at most one",
            Bounds {
                min: 0,
                max: Some(1),
            },
            1.0,
        ),
        ("at least one", Bounds { min: 1, max: None }, 0.01),
    ];
    for (name, bounds, scale) in cases {
        let chances = both.map(|(kind, p)| (kind, p * scale));
        let recipe = recipe(&chances).within_all(bounds).unwrap();
        let (mut places, mut kinds) = (vec![0u64; TEXT.len()], [0u64; 2]);
        rows(&recipe, TEXT, |out| {
            for edit in out.edits() {
                places[edit.before.start] += 1;
                kinds[usize::from(edit.kind == Kind::Substitute)] += 1;
            }
        });
        let edits: u64 = places.iter().sum();
        assert!(edits >= ROWS - 10, "{name}: {edits}");
        let even = edits as f64 / TEXT.len() as f64;
        assert_follows(name, &places, &vec![even; TEXT.len()], TEXT.len() - 1);
        let edits = edits as f64;
        assert_follows(name, &kinds, &[edits / 4.0, edits * 3.0 / 4.0], 1);
    }
}

/// Without it a swap would take the second of two characters from the others' share unnoticed.
#[test]
fn swaps_follow_their_renewal_process() {
    let p = 0.2;
    let mut places = vec![0u64; TEXT.len() - 1];
    rows(&recipe(&[(Kind::Swap, p)]), TEXT, |out| {
        for edit in out.edits() {
            places[edit.before.start] += 1;
        }
    });
    // A place is free unless the one before was swapped with it.
    let mut chance = 0.0;
    let expected: Vec<f64> = places
        .iter()
        .map(|_| {
            chance = p * (1.0 - chance);
            chance * ROWS as f64
        })
        .collect();
    assert_follows("swaps", &places, &expected, places.len());
}

/// Without it epochs, copies or seeds would repeat one another.
#[test]
fn every_part_of_a_place_counts() {
    let recipe = recipe(CHANCES);
    let edit = |seed, place| {
        let mut out = Edited::default();
        Augmenter::new(&recipe, seed)
            .unwrap()
            .edit(place, &TEXT.repeat(4), &mut out);
        out.text().to_owned()
    };
    let of = |epoch, row, copy| Place { epoch, row, copy };
    let all = [
        edit(1, of(0, 0, 0)),
        edit(2, of(0, 0, 0)),
        edit(1, of(1, 0, 0)),
        edit(1, of(0, 1, 0)),
        edit(1, of(0, 0, 1)),
        edit(1, of(1, 1, 0)),
        edit(1, of(0, 1, 1)),
    ];
    let different: std::collections::HashSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(all[0], edit(1, of(0, 0, 0)));
}
