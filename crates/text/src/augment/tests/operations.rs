//! What each operation makes of a text.

use std::collections::BTreeSet;

use super::super::{Edited, Kind, Recipe};
use super::{always, edited};

/// All results of the first rows.
fn results(recipe: &Recipe, text: &str) -> BTreeSet<String> {
    (0..300)
        .map(|row| edited(recipe, 5, row, text).text().to_owned())
        .collect()
}

/// Without it an operation would do something else than its name says.
#[test]
fn operations_do_what_they_say() {
    let cases: &[(Kind, &str, &[&str])] = &[
        (Kind::Delete, "ab c", &[" "]),
        (Kind::Repeat, "a\u{301}b 👍🏽", &["a\u{301}a\u{301}bb 👍🏽👍🏽"]),
        (Kind::Swap, "abcd e", &["badc e"]),
        (Kind::Swap, "aab", &["aba"]),
        (Kind::Keyboard, "q", &["1", "2", "a", "w"]),
        (Kind::Keyboard, "é 日", &["é 日"]),
        (Kind::Optical, "rn", &["m"]),
        (Kind::Accent, "É", &["E", "È", "Ê", "Ë", "Ē", "Ę", "Ě"]),
        (Kind::Case, "aÉ1ß", &["Aé1SS"]),
        (Kind::Space, "a b", &["ab", "a  b"]),
        (Kind::DropWords, "a b c", &["c"]),
        (Kind::DropWords, "a", &["a"]),
        (Kind::RepeatWords, "a, b\tc", &["a, a, b\tb\tc\tc"]),
        (Kind::RepeatWords, "a", &["a a"]),
        (Kind::SplitWords, "abc d", &["a bc d", "ab c d"]),
        (Kind::JoinWords, "a b c  d", &["ab cd"]),
        (Kind::Capitals, "Ab", &["AB", "ab"]),
        (Kind::ShuffleWords, "a\t b", &["b\t a"]),
        (
            Kind::Errors,
            "There is THE receipt; a lot.",
            &["Their is TEH reciept; alot.", "Their is HTE reciept; alot."],
        ),
    ];
    let mut table = testing::CaseTable::new("operations at every place");
    for (kind, text, expected) in cases {
        let got = results(&always(*kind), text);
        let expected = expected.iter().map(|one| (*one).to_owned()).collect();
        table.equal(format!("{kind}: {text}"), &got, &expected);
    }
    table.finish();
}

/// Numbers that are protected would be torn from the words before them.
#[test]
fn words_are_not_split_beside_what_is_protected() {
    let mut recipe = always(Kind::SplitWords);
    recipe.protect.patterns = vec!["[0-9]+".into()];
    let split = ["abc123", "a bc123", "ab c123"].map(str::to_owned);
    assert_eq!(results(&recipe, "abc123"), BTreeSet::from(split));
}

/// Without it the mapping of labels would be anything where words are edited.
#[test]
fn spans_are_mapped_as_documented() {
    let text = "fly to New York now";
    let drop = |seed| {
        edited(
            &Recipe::default().with(Kind::DropWords, 0.4).unwrap(),
            seed,
            0,
            text,
        )
    };
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let out = drop(seed);
        let span = out
            .map_span(text, 7, 15)
            .map(|(from, to)| out.text()[from..to].to_owned());
        let words: Vec<&str> = out
            .text()
            .split(' ')
            .filter(|word| ["New", "York"].contains(word))
            .collect();
        assert_eq!(
            span.clone().unwrap_or_default(),
            words.join(" "),
            "{}",
            out.text()
        );
        seen.insert(span);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");

    let mut apart = 0;
    for seed in 0..200 {
        let out: Edited = edited(&always(Kind::ShuffleWords), seed, 0, text);
        match out
            .map_span(text, 7, 15)
            .map(|(from, to)| &out.text()[from..to])
        {
            Some("New York" | "York New") => {}
            Some(other) => panic!("{other:?} in {:?}", out.text()),
            None => apart += 1,
        }
        // A part of one word goes with it; parts of several have no meaning in another order.
        let (from, to) = out.map_span(text, 12, 14).unwrap();
        assert_eq!(&out.text()[from..to], "or");
    }
    // Eight of twenty pairs of places lie side by side, less the order that is never drawn.
    assert!((90..150).contains(&apart), "{apart}");

    // A separator from within the span now stands beside it, and is no part of it.
    let dashes = Recipe {
        separators: "-".into(),
        ..always(Kind::ShuffleWords)
    };
    let cases = [
        ("a-b-c", 2..5, "b-c-a", Some("b-c")),
        ("a-b-c", 0..3, "c-a-b", Some("a-b")),
        ("a-b-c", 2..5, "a-c-b", Some("c-b")),
        ("a-b-c", 2..5, "b-a-c", None),
        ("a-b-c", 1..5, "a-c-b", Some("c-b")),
        ("a-b-c-d", 3..7, "a-c-d-b", Some("c-d")),
    ];
    for (text, span, shuffled, expected) in cases {
        let mut rows = (0..300).map(|row| edited(&dashes, 5, row, text));
        let out = rows.find(|out| out.text() == shuffled).unwrap();
        let found = out.map_span(text, span.start, span.end);
        let found = found.map(|(from, to)| &out.text()[from..to]);
        assert_eq!(found, expected, "{text} {span:?} {shuffled}");
    }

    let out = edited(&always(Kind::Insert), 3, 0, "ab cd");
    let (from, to) = out.map_span("ab cd", 3, 5).unwrap();
    assert_eq!(&out.text()[from..to], out.text().split(' ').nth(1).unwrap());
    for (start, end) in [(3, 2), (0, 99), (usize::MAX, usize::MAX)] {
        assert_eq!(out.map_span("ab cd", start, end), None, "{start}..{end}");
        assert_eq!(
            out.map_characters("ab cd", start, end),
            None,
            "{start}..{end}"
        );
    }
}
