//! Over random Unicode.

use proptest::prelude::*;
use unicode_segmentation::UnicodeSegmentation;

use super::super::augmenter::Reading;
use super::super::table::{Source, Table};
use super::super::{Augmenter, Bounds, Edited, Kind, Place, Recipe, Unit};
use super::{EVERY, place};

const AWKWARD: &[&str] = &[
    "the ",
    "New York",
    "teh",
    "a lot of",
    "don't ",
    "Their",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "-",
    ", ",
    "rn",
    "m",
    "0O1l",
    "e\u{301}",
    "\u{301}",
    "naïve ",
    "ß",
    "İ",
    "🇩🇪🇫🇷",
    "🇬",
    "👩‍👩‍👧‍👦",
    "👍🏽",
    "☺\u{fe0f}",
    "नमस्ते ",
    "각",
    "שָׁלוֹם ",
    "مرحبا ",
    "日本語",
    "\u{a0}",
    "\u{2003}",
    "\u{200d}",
    "\u{200b}",
    "\0",
    "ﬁ",
    "²",
    "«»",
];

fn texts() -> impl Strategy<Value = String> {
    let awkward = prop::collection::vec(prop::sample::select(AWKWARD), 0..24)
        .prop_map(|parts| parts.concat());
    let ascii = "[ -~\\n]{0,120}";
    prop_oneof![awkward, ascii, any::<String>()]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let some = (0u32..4, 0u32..6).prop_map(|(min, more)| Bounds {
        min,
        max: Some(min + more),
    });
    prop_oneof![3 => Just(Bounds::default()), 1 => some]
}

/// Any chances whose sum does not exceed 1, any bounds that do not contradict one another.
fn recipes() -> impl Strategy<Value = Recipe> {
    let one = (0.0..1.0f64, prop::bool::weighted(0.4), bounds());
    let kinds = prop::collection::vec(one, Kind::ALL.len());
    (
        kinds,
        bounds(),
        prop::sample::select(&["", "-", "-é"][..]),
        0.05..1.0f64,
    )
        .prop_map(|(kinds, all, separators, total)| {
            let mut recipe = Recipe::default().separated_by(separators);
            for unit in [Unit::Character, Unit::Word, Unit::Row] {
                let acting = || {
                    let all = Kind::ALL.iter().zip(&kinds);
                    all.filter(|(kind, (_, acts, _))| kind.unit() == unit && *acts)
                };
                let sum: f64 = acting().map(|(_, (weight, _, _))| weight).sum();
                for (kind, (weight, _, bounds)) in acting() {
                    recipe = recipe
                        .with(*kind, (weight / sum * total).max(1e-9))
                        .unwrap();
                    recipe = recipe.within(*kind, *bounds).unwrap();
                }
            }
            recipe.clone().within_all(all).unwrap_or(recipe)
        })
}

fn run(recipe: &Recipe, seed: u64, row: u64, text: &str) -> Edited {
    super::edited(recipe, seed, row, text)
}

/// The text that edits were made on.
fn source<'a>(edited: &'a Edited, text: &'a str) -> &'a str {
    edited.shuffled().unwrap_or(text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Without it rows that nobody asked to change would change.
    #[test]
    fn nothing_changes_without_chances(text in texts(), seed: u64, min in 0u32..3) {
        let mut recipe = Recipe::default().within_all(Bounds { min, max: None }).unwrap();
        for kind in Kind::ALL {
            recipe = recipe.with(*kind, 0.0).unwrap();
        }
        let out = run(&recipe, seed, 3, &text);
        prop_assert_eq!(out.text(), &text);
        prop_assert!(!out.changed());
    }

    /// Without it bytes would be lost beside edits, or a character cut in two.
    #[test]
    fn bytes_outside_of_edits_are_the_same(recipe in recipes(), text in texts(), seed: u64) {
        let out = run(&recipe, seed, 3, &text);
        let source = source(&out, &text);
        let (mut old, mut new) = (0, 0);
        for edit in out.edits() {
            prop_assert!(old <= edit.before.start && new <= edit.after.start, "{:?}", out.edits());
            prop_assert_eq!(&source[old..edit.before.start], &out.text()[new..edit.after.start]);
            (old, new) = (edit.before.end, edit.after.end);
        }
        prop_assert_eq!(&source[old..], &out.text()[new..]);
        let starts: Vec<usize> = source.grapheme_indices(true).map(|(at, _)| at).collect();
        for edit in out.edits() {
            for at in [edit.before.start, edit.before.end] {
                prop_assert!(at == source.len() || starts.contains(&at), "{edit:?} cuts {source:?}");
            }
        }
    }

    /// Without it a budget would be a hope.
    #[test]
    fn edits_keep_within_their_bounds(recipe in recipes(), text in texts(), seed: u64) {
        let out = run(&recipe, seed, 3, &text);
        for one in &recipe.operations {
            if let Some(max) = one.bounds.max {
                prop_assert!(out.count(one.kind) <= max as usize, "{}: {:?}", one.kind, out.edits());
            }
        }
        if let Some(max) = recipe.bounds.max {
            prop_assert!(out.total() <= max as usize);
        }
    }

    /// Without it a row with room for them would have fewer edits than it must have.
    #[test]
    fn least_numbers_are_met_where_there_is_room(
        kind in prop::sample::select(&[Kind::Delete, Kind::Insert, Kind::Substitute, Kind::Repeat, Kind::Keyboard, Kind::Case][..]),
        text in "[a-z]{8,40}", min in 0u32..8, seed: u64,
    ) {
        let bounds = Bounds { min, max: Some(min) };
        let own = Recipe::default().with(kind, 0.1).unwrap().within(kind, bounds).unwrap();
        prop_assert_eq!(run(&own, seed, 3, &text).count(kind), min as usize);
        let all = Recipe::default().with(kind, 0.1).unwrap().within_all(bounds).unwrap();
        prop_assert_eq!(run(&all, seed, 3, &text).total(), min as usize);
    }

    /// Rows would stay as they are that somebody asked to be edited.
    #[test]
    fn shuffling_counts_for_the_least_number(
        words in prop::collection::vec("[a-z]{1,5}", 0..6), p in 1e-6..0.5f64, seed: u64,
    ) {
        let text = words.join(" ");
        let bounds = Bounds { min: 1, max: None };
        let alone = Recipe::default().with(Kind::ShuffleWords, p).unwrap().within_all(bounds).unwrap();
        let out = run(&alone, seed, 3, &text);
        prop_assert_eq!(out.total(), usize::from(words.len() > 1), "{:?}", text);
        // Beside an operation that has nowhere to act.
        let beside = alone.with(Kind::Accent, 0.5).unwrap();
        let digits = text.replace(|c: char| c != ' ', "7");
        prop_assert_eq!(run(&beside, seed, 3, &digits).total(), usize::from(words.len() > 1));
    }

    /// Without it what stands between words would move with them, or words be lost.
    #[test]
    fn a_shuffle_moves_words_alone(text in texts(), seed: u64, distance in prop::option::of(0u32..4)) {
        let mut recipe = Recipe::default().with(Kind::ShuffleWords, 1.0).unwrap();
        recipe.operations[0].distance = distance;
        let out = run(&recipe, seed, 3, &text);
        prop_assert_eq!(source(&out, &text), out.text());
        let pieces = &out.rearranged.pieces;
        if pieces.is_empty() {
            prop_assert_eq!(out.text(), &text);
        } else {
            let slots = |is_word: bool| pieces.iter().filter(move |piece| piece.is_word == is_word);
            let between: Vec<&str> = slots(false).map(|piece| &text[piece.before.clone()]).collect();
            let mut sorted: Vec<_> = slots(false).map(|piece| piece.before.start).collect();
            prop_assert!(sorted.is_sorted());
            prop_assert!(between.iter().all(|one| one.chars().next().is_some_and(char::is_whitespace)));
            sorted = slots(true).map(|piece| piece.before.start).collect();
            let mut places = sorted.clone();
            places.sort_unstable();
            for (at, start) in sorted.iter().enumerate() {
                let from = places.iter().position(|place| place == start).unwrap();
                prop_assert!(distance.is_none_or(|most| from.abs_diff(at) <= most as usize));
            }
            let bytes: usize = pieces.iter().map(|piece| piece.before.len()).sum();
            prop_assert_eq!(bytes, text.len());
        }
    }

    /// Without it labels would point at other words than before.
    #[test]
    fn spans_of_untouched_words_are_the_same_words(recipe in recipes(), text in texts(), seed: u64) {
        let out = run(&recipe, seed, 3, &text);
        for (start, word) in text.split_word_bound_indices() {
            let end = start + word.len();
            let mapped = out.map_span(&text, start, end);
            if let Some((from, to)) = mapped {
                prop_assert!(out.text().get(from..to).is_some_and(|new| !new.is_empty() || word.is_empty()));
            }
            if !out.changed() {
                prop_assert_eq!(mapped, Some((start, end)));
            }
            let in_characters = |text: &str, byte: usize| text[..byte].chars().count();
            let span = (in_characters(&text, start), in_characters(&text, end));
            let expected = mapped.map(|(from, to)| (in_characters(out.text(), from), in_characters(out.text(), to)));
            prop_assert_eq!(out.map_characters(&text, span.0, span.1), expected);
        }
    }

    /// Without it spans would be right only by chance once words move, go and come twice.
    #[test]
    fn spans_follow_words_that_move(
        names in prop::collection::vec("[a-zé]{1,6}", 1..12), seed: u64,
        drop in 0.0..0.5f64, repeat in 0.0..0.5f64, first in 0usize..12, count in 1usize..4,
    ) {
        // Each word is told by its number.
        let words: Vec<String> = names.iter().enumerate().map(|(at, name)| format!("{name}{at}")).collect();
        let text = words.join(" ");
        let recipe = Recipe::default().with(Kind::DropWords, drop).unwrap()
            .with(Kind::RepeatWords, repeat).unwrap()
            .with(Kind::ShuffleWords, 0.5).unwrap();
        let out = run(&recipe, seed, 3, &text);
        let first = first % words.len();
        let last = (first + count).min(words.len());
        let start = words[..first].iter().map(|word| word.len() + 1).sum::<usize>();
        let span = &words[first..last];
        let end = start + span.join(" ").len();
        let left: Vec<&str> = out.text().split(' ').filter(|word| span.iter().any(|one| one == word)).collect();
        match out.map_span(&text, start, end) {
            // Exactly what is left of its words, and no other.
            Some((from, to)) => prop_assert_eq!(out.text()[from..to].split(' ').collect::<Vec<_>>(), left),
            None => {
                let stand = out.shuffled().unwrap_or(&text);
                let at = |word: &String| stand.split(' ').position(|one| one == word).unwrap();
                let places: Vec<usize> = span.iter().map(at).collect();
                let extent = places.iter().max().unwrap() - places.iter().min().unwrap();
                prop_assert!(left.is_empty() || extent + 1 > span.len(), "{text:?} {:?}", out.text());
            }
        }
    }

    /// Without it what a user protects would be edited.
    #[test]
    fn protected_words_and_patterns_stay(recipe in recipes(), text in texts(), seed: u64) {
        let mut recipe = recipe;
        recipe.protect.words = vec!["the".into(), "日本語".into(), "York".into()];
        recipe.protect.patterns = vec!["[0-9]+".into(), "New York".into(), "é|\\P{Ascii}{2}".into()];
        let out = run(&recipe, seed, 3, &text);
        for pattern in &recipe.protect.patterns {
            for found in regex::Regex::new(pattern).unwrap().find_iter(&text) {
                let mapped = out.map_span(&text, found.start(), found.end());
                // White space at its ends may be in the span or not; what is in it is as it was.
                let mapped = mapped.map(|(from, to)| out.text()[from..to].trim());
                if !found.as_str().trim().is_empty() {
                    prop_assert_eq!(mapped, Some(found.as_str().trim()), "{:?}", out.text());
                }
                let inserted = out.edits().iter().filter(|edit| edit.before.is_empty());
                for edit in inserted.filter(|_| out.shuffled().is_none()) {
                    let at = edit.before.start;
                    prop_assert!(at < found.start() || found.end() < at, "{:?}", out.text());
                }
            }
        }
    }

    /// Without it the same text would be edited otherwise for a letter beyond ASCII in another row.
    #[test]
    fn the_short_way_and_the_long_give_the_same(recipe in recipes(), text in "[ -~\\n\\t]{0,200}", seed: u64) {
        let augmenter = Augmenter::new(&recipe, seed).unwrap();
        let (mut short, mut long) = (Edited::default(), Edited::default());
        augmenter.edit_as(Reading::Bytes, place(1), &text, &mut short);
        augmenter.edit_as(Reading::Clusters, place(1), &text, &mut long);
        prop_assert_eq!(short.text(), long.text());
        prop_assert_eq!(short.edits(), long.edits());
    }

    /// Without it rows would be edited otherwise where a table holds what no byte is, or more than fits.
    #[test]
    fn tables_of_ones_own_are_the_same_on_the_short_way(
        pairs in prop::collection::vec(("[a-c\\n-]{1,3}|é|aé", "[a-c]{0,12}|é{0,5}"), 1..12),
        alphabet in "[a-c]{0,4}|[é中😀]{1,3}", text in "[a-c \\n-]{0,200}", seed: u64, total in 0.2..1.0f64,
    ) {
        let mut table = Table::default();
        pairs.iter().for_each(|(from, to)| table.add(from, to));
        let mut recipe = Recipe::default();
        for kind in Kind::ALL {
            recipe = recipe.with(*kind, total / 13.0).unwrap();
        }
        recipe.alphabet = alphabet;
        for one in recipe.operations.iter_mut().filter(|one| one.table.is_some()) {
            one.table = Some(Source::Own(table.clone()));
        }
        let augmenter = Augmenter::new(&recipe, seed).unwrap();
        let (mut short, mut long) = (Edited::default(), Edited::default());
        augmenter.edit_as(Reading::Bytes, place(1), &text, &mut short);
        augmenter.edit_as(Reading::Clusters, place(1), &text, &mut long);
        prop_assert_eq!(short.text(), long.text());
        prop_assert_eq!(short.edits(), long.edits());
    }

    /// Without it a recipe's fingerprint would stand for another recipe.
    #[test]
    fn recipes_are_read_as_they_were_written(
        recipe in recipes(), alphabet: String, pairs in prop::collection::vec(any::<(String, String)>(), 0..6),
    ) {
        let mut recipe = recipe;
        recipe.protect.words = vec![alphabet.clone(), "a\"b\\c\n\u{7f}".into()];
        recipe.alphabet = alphabet;
        let mut table = Table::default();
        pairs.iter().for_each(|(from, to)| table.add(from, to));
        for one in recipe.operations.iter_mut().filter(|one| one.table.is_some()) {
            one.table = Some(Source::Own(table.clone()));
        }
        prop_assert_eq!(Recipe::parse(&recipe.to_toml()).unwrap(), recipe);
    }
}

/// Without it a result would depend on who computed it, and what that had computed before.
#[test]
fn rows_do_not_depend_on_threads_or_order() {
    let augmenter = Augmenter::new(&Recipe::parse(EVERY).unwrap(), 7).unwrap();
    let texts: Vec<String> = (0..500)
        .map(|row| format!("row {row}: {} naïve", AWKWARD[row % AWKWARD.len()]))
        .collect();
    let place = |row: usize| Place {
        epoch: 2,
        row: row as u64,
        copy: 1,
    };
    let alone: Vec<String> = (0..texts.len())
        .map(|row| {
            let mut out = Edited::default();
            augmenter.edit(place(row), &texts[row], &mut out);
            out.text().to_owned()
        })
        .collect();
    assert_ne!(alone, texts);
    for threads in [1, 2, 7] {
        let mut got = vec![String::new(); texts.len()];
        std::thread::scope(|scope| {
            let shares = got.chunks_mut(texts.len().div_ceil(threads)).enumerate();
            for (share, rows) in shares {
                let first = share * texts.len().div_ceil(threads);
                let (augmenter, texts) = (&augmenter, &texts);
                scope.spawn(move || {
                    let mut out = Edited::default();
                    for (at, row) in rows.iter_mut().enumerate().rev() {
                        augmenter.edit(place(first + at), &texts[first + at], &mut out);
                        out.text().clone_into(row);
                    }
                });
            }
        });
        assert_eq!(got, alone, "{threads} threads");
    }
}
