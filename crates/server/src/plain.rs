//! What is wrong with a body or a query, in the words of JSON: whoever wrote a client knows nothing of this
//! program's types.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

/// No more of a wrong value than this is repeated.
const LONGEST_VALUE: usize = 60;

/// What serde calls what it wanted, and what that is in JSON.
const WANTED: &[(&str, &str)] = &[
    ("usize", "a whole number, 0 or more"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number, 0 or more"),
    ("u16", "a whole number, 0 or more"),
    ("i64", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("a string", "a text"),
    ("a boolean", "true or false"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("string or map", "a text"),
    ("unit", "null"),
];

/// Why these bytes, which could not be read as a `T`, are none.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    let why = error.to_string();
    let why = bare(&why);
    // serde_json says so of a number where one of some words belongs.
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    match error.classify() {
        _ if is_json && why == "expected value" => said(
            "the body",
            path_of::<T>(bytes).as_deref(),
            "is something else; it must be a text",
        ),
        Category::Eof => format!("the body is no JSON: it ends too early, at {place}"),
        Category::Syntax | Category::Io => format!("the body is no JSON: {why} at {place}"),
        Category::Data => said("the body", path_of::<T>(bytes).as_deref(), why),
    }
}

/// Where it is that these bytes are no `T`. They are read once more for it: what is read well is read once.
fn path_of<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize::<_, T>(&mut reader);
    let path = read.err().map(|error| error.path().to_string());
    path.filter(|path| path != "." && path != "?")
}

/// Why a query could not be read; `error` is what axum says.
pub(crate) fn query(error: &str) -> String {
    let error = error
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(error);
    let wrong = match error.split_once(": ") {
        Some((path, "invalid digit found in string")) => {
            (path, "it must be a whole number, 0 or more")
        }
        Some((path, "cannot parse integer from empty string")) => {
            (path, "it must be a whole number, 0 or more")
        }
        Some((path, "invalid float literal" | "cannot parse float from empty string")) => {
            (path, "it must be a number")
        }
        Some((path, "provided string was not `true` or `false`")) => {
            (path, "it must be true or false")
        }
        Some((path, words)) if !path.contains(' ') => {
            return said("the query", Some(path), words);
        }
        _ => return said("the query", None, error),
    };
    format!("the query: `{}`: {}", wrong.0, wrong.1)
}

fn said(what: &str, path: Option<&str>, why: &str) -> String {
    let why = why_in_json(why);
    match path {
        // Its own name stands in what is said of a field that nobody knows.
        Some(path) if !why.starts_with("unknown field") => format!("{what}: `{path}` {why}"),
        _ => format!("{what}: {why}"),
    }
}

/// Without serde_json's place: it stands elsewhere, or the path does.
fn bare(why: &str) -> &str {
    why.rfind(" at line ").map_or(why, |end| &why[..end])
}

fn why_in_json(why: &str) -> String {
    let found = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| why.strip_prefix(start));
    if let Some((found, wanted)) = found.and_then(|rest| rest.rsplit_once(", expected ")) {
        let found = match why.starts_with("invalid length") {
            true => format!("has {found} values"),
            false => format!("is {}", found_in_json(found)),
        };
        return format!("{found}; it must be {}", wanted_in_json(wanted));
    }
    if let Some(field) = why.strip_prefix("missing field ") {
        return format!("has no {field}, which is needed").replacen("has no", "lacks", 1);
    }
    if let Some((field, known)) = why
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", "))
    {
        let known = known
            .trim_start_matches("expected ")
            .trim_start_matches("one of ");
        return match known {
            "there are no fields" => format!("unknown field {field}; there are none here"),
            known => format!("unknown field {field}; known are {known}"),
        };
    }
    if let Some((word, known)) = why
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("is {word}; it must be {known}");
    }
    if let Some(field) = why.strip_prefix("duplicate field ") {
        return format!("the field {field} stands twice");
    }
    why.to_owned()
}

fn found_in_json(found: &str) -> String {
    let value = found
        .strip_prefix("integer ")
        .or_else(|| found.strip_prefix("floating point "))
        .or_else(|| found.strip_prefix("boolean "))
        .map(|value| value.trim_matches('`'));
    let found = match (found, value) {
        (_, Some(value)) => value,
        ("map", _) => "an object",
        ("sequence", _) => "a list",
        ("unit value", _) => "null",
        (other, _) => other,
    };
    match found.strip_prefix("string ") {
        Some(text) => format!("the text {}", shortened(text)),
        None => shortened(found),
    }
}

fn wanted_in_json(wanted: &str) -> String {
    let known = WANTED.iter().find(|(name, _)| *name == wanted);
    match (known, wanted.strip_prefix("an array of length ")) {
        (Some((_, words)), _) => (*words).to_owned(),
        (None, Some(length)) => format!("a list of {length}"),
        (None, None) if wanted.starts_with("struct ") => "an object".to_owned(),
        (None, None) if wanted.starts_with("enum ") => "a text".to_owned(),
        (None, None) => wanted.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::own::Ask;

    /// A client's author would read about types of a program that he does not know.
    #[test]
    fn what_is_wrong_is_said_in_the_words_of_json() {
        let cases = [
            (
                "{\"top_k\": -1}",
                "the body: `top_k` is -1; it must be a whole number, 0 or more",
            ),
            (
                "{\"top_k\": \"3\"}",
                "the body: `top_k` is the text \"3\"; it must be a whole number, 0 or more",
            ),
            (
                "{\"threshold\": []}",
                "the body: `threshold` is a list; it must be a number",
            ),
            (
                "{\"cache\": 1}",
                "the body: `cache` is 1; it must be true or false",
            ),
            (
                "{\"passages\": {}}",
                "the body: `passages` is an object; it must be a list",
            ),
            (
                "{\"passages\": [\"a\", null]}",
                "the body: `passages[1]` is null; it must be a text",
            ),
            (
                "{\"texts\": [\"a\", 1]}",
                "the body: `texts[1]` a text must be a string, or a list of two strings",
            ),
            (
                "{\"truncate\": \"up\"}",
                "the body: `truncate` is `up`; it must be `left` or `right`",
            ),
            (
                "{\"truncate\": 1}",
                "the body: `truncate` is something else; it must be a text",
            ),
            (
                "{\"text\": \"a\", \"text\": \"a\"}",
                "the body: the field `text` stands twice",
            ),
            (
                "{",
                "the body is no JSON: it ends too early, at line 1 column 1",
            ),
            (
                "{]",
                "the body is no JSON: key must be a string at line 1 column 2",
            ),
        ];
        for (body, words) in cases {
            let error = serde_json::from_str::<Ask>(body).unwrap_err();
            assert_eq!(json::<Ask>(body.as_bytes(), &error), words, "{body}");
        }
        let long = format!("{{\"top_k\": \"{}\"}}", "x".repeat(1_000));
        let error = serde_json::from_str::<Ask>(&long).unwrap_err();
        assert!(json::<Ask>(long.as_bytes(), &error).len() < 200);
    }

    /// The same for what stands in an address.
    #[test]
    fn queries_are_told_what_is_wrong_too() {
        for (said, words) in [
            (
                "Failed to deserialize query string: top_k: invalid digit found in string",
                "the query: `top_k`: it must be a whole number, 0 or more",
            ),
            (
                "Failed to deserialize query string: unknown field `a`, expected `version`",
                "the query: unknown field `a`; known are `version`",
            ),
        ] {
            assert_eq!(query(said), words);
        }
    }
}
