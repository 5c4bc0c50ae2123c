//! Recipes that ship, and those that are wrong.

use super::super::{AugmentError, Kind, Recipe};
use super::{EVERY, edited};

/// Without it a recipe that ships would do nothing, or far more than it says.
#[test]
fn recipes_that_ship_edit_as_they_say() {
    let text = "Please send the original receipt to their office in 10115 Berlin.";
    let mut table = testing::CaseTable::new("edits a row");
    for (name, least, most) in [("light", 0.7, 1.8), ("typing", 2.0, 5.0), ("ocr", 2.0, 5.0)] {
        let recipe = Recipe::named(name).unwrap();
        let total: usize = (0..2000)
            .map(|row| edited(&recipe, 1, row, text).total())
            .sum();
        let mean = total as f64 / 2000.0;
        table.equal(
            format!("{name}: {mean}"),
            &(least < mean && mean < most),
            &true,
        );
    }
    table.finish();
    assert_eq!(Recipe::names().count(), 3);
    let every = Recipe::parse(EVERY).unwrap();
    assert!(Kind::ALL.iter().all(|kind| every.p(*kind) > 0.0));
}

/// Without it a user would not learn where the mistake is, nor how to write it instead.
#[test]
fn mistakes_are_named_with_line_and_remedy() {
    let cases = [
        (
            "\n\n[delete]\np = 1.5",
            "line 4: `delete`: the chance is 1.5; write a number from 0 to 1, such as 0.02",
        ),
        (
            "delete = \"often\"",
            "line 1: `delete`: the chance is \"often\"; write a number from 0 to 1, such as 0.02",
        ),
        (
            "[delete]\nmax = 3",
            "line 1: `delete` has no `p`; write the chance per place, such as p = 0.02",
        ),
        (
            "[delete]\np = 0.1\ntimes = 3",
            "line 3: `delete` has no `times`; it has `p`, `min` and `max`",
        ),
        (
            "[delete]\np = 0.1\nmin = -3",
            "line 3: `min` is -3; write a whole number from 0 to 4294967295",
        ),
        (
            "[delete]\np = 0.1\nmin = 3\nmax = 2",
            "line 1: `delete`: `min` 3 is more than `max` 2; raise `max` or lower `min`",
        ),
        (
            "[delete]\np = 0\nmin = 3",
            "line 1: `delete`: at least 3 edits with a chance of 0; give `p` a value above 0 or leave `min` out",
        ),
        (
            "delete = 0.6\nrepeat = 0.6",
            "line 2: the chances of the operations on characters add up to 1.200, but one place has at most one edit; \
             lower them so that they add up to 1 or less",
        ),
        (
            "[edits]\nmax = 1\n[delete]\np = 0.1\nmin = 2",
            "line 1: `edits`: `max` 1 is less than the operations' own `min`, 2 together; raise it or lower those",
        ),
        (
            "\n[insert]\np = 0.2\n[delete]\np = 0.9",
            "line 4: the chances of the operations on characters add up to 1.100, but one place has at most one edit; \
             lower them so that they add up to 1 or less",
        ),
        (
            "alphabet = 3",
            "line 1: `alphabet` is 3; write a text in quotes",
        ),
        (
            "[protect]\nwords = \"a\"",
            "line 2: `words` is \"a\"; write a list in brackets",
        ),
        (
            "[keyboard]\np = 0.1\npairs = 3",
            "line 3: `pairs` is 3; write a table, [pairs]",
        ),
    ];
    let mut table = testing::CaseTable::new("messages");
    for (text, expected) in cases {
        let got = Recipe::parse(text).err().map(|error| error.to_string());
        table.equal(text, &got.as_deref(), &Some(expected));
    }
    table.finish();
    let begins = [
        (
            "delte = 0.1",
            "line 1: there is no operation or setting `delte`; operations are delete, insert",
        ),
        ("a = = 2", "line 1: not TOML: "),
        (
            "[protect]\npatterns = [\n  'a',\n  '(',\n]",
            "line 4: `protect`: the pattern ( is not a regular expression",
        ),
        (
            "[errors]\np = 1\ntable = \"none.txt\"",
            "line 3: `errors`: cannot read the table none.txt: ",
        ),
    ];
    for (text, expected) in begins {
        let got = Recipe::parse(text).unwrap_err().to_string();
        assert!(got.starts_with(expected), "{got}");
    }
    let unknown = Recipe::named("heavy").unwrap_err();
    assert!(matches!(unknown, AugmentError::Unknown { .. }));
    assert_eq!(
        unknown.to_string(),
        "there is no recipe `heavy`; there are light, typing, ocr, or give a file ending in .toml"
    );
}

/// Without it a user's own tables and keyboards would not be used.
#[test]
fn tables_of_ones_own_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("errors.csv", "right,wrong\nreceipt,reciept\n");
    write("keys.toml", "rows = [\"ab\"]\n");
    write(
        "recipe.toml",
        "[errors]\np = 0.9\ntable = \"errors.csv\"\n[keyboard]\np = 0.5\ntable = \"keys.toml\"\n[optical]\np = 0.5\n[optical.pairs]\n\"☃\" = [\"snow\"]\n",
    );
    let (recipe, files) = Recipe::read_with_files(&directory.path().join("recipe.toml")).unwrap();
    let mut named = ["errors.csv", "keys.toml"].map(|name| directory.path().join(name));
    named.sort();
    assert_eq!(files, named);
    assert_eq!(Recipe::parse(&recipe.to_toml()).unwrap(), recipe);
    let texts: Vec<String> = (0..100)
        .map(|row| edited(&recipe, 1, row, "Receipt a ☃ x").text().to_owned())
        .collect();
    for part in ["Reciept", " b ", " snow "] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}");
    }
    assert!(texts.iter().all(|text| text.ends_with('x')));
    write("errors.csv", "receipt,reciept\n");
    let message = Recipe::read(&directory.path().join("recipe.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("errors.csv, line 1: `receipt,reciept` says not which column"),
        "{message}"
    );
}

/// Without it nobody would learn that a recipe is switched off.
#[test]
fn a_recipe_that_changes_nothing_is_known() {
    for (text, acts) in [
        ("", false),
        ("delete = 0", false),
        ("[delete]\np = 0.1\nmax = 0", false),
        ("delete = 0.1\n[edits]\nmax = 0", false),
        ("delete = 0.1\nrepeat = 0", true),
    ] {
        assert_eq!(Recipe::parse(text).unwrap().acts(), acts, "{text}");
    }
}
