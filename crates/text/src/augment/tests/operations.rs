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
