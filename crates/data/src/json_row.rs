//! One JSON object as it stood in the input, with its keys found but its values untouched.
//!
//! JSON Lines in and out must give back `1.10`, `1e400` and `"\u00e9"` as they were; so a row keeps
//! its line, and a list of where each key and value lies within it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object's members in their order, each with its exact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRow {
    line: Box<str>,
    members: Vec<Member>,
}

/// Ranges into the line. A line is shorter than 4 GiB: the row limit sees to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    key: Range<u32>,
    value: Range<u32>,
}

impl JsonRow {
    /// Finds the members of the object on `line`.
    ///
    /// # Errors
    /// Words on why this is not one JSON object.
    pub fn parse(line: &str) -> Result<JsonRow, String> {
        if u32::try_from(line.len()).is_err() {
            return Err("longer than 4 GiB".to_owned());
        }
        let mut reader = serde_json::Deserializer::from_str(line);
        let found = reader.deserialize_map(MembersVisitor).and_then(|members| {
            reader.end()?;
            Ok(members)
        });
        let start = line.as_ptr() as usize;
        let range = |part: &str| {
            // The visitor borrows every part from `line`, so the difference is an offset into it,
            // and offsets fit u32 by the check above.
            let at = part.as_ptr() as usize - start;
            at as u32..(at + part.len()) as u32
        };
        match found {
            Ok(pairs) => Ok(JsonRow {
                members: pairs
                    .iter()
                    .map(|(key, value)| Member {
                        key: range(key.get()),
                        value: range(value.get()),
                    })
                    .collect(),
                line: line.into(),
            }),
            Err(error) => Err(words(&error, line)),
        }
    }

    /// Every key and raw value, in order; a key that is given twice comes twice.
    pub fn members(&self) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
        self.members
            .iter()
            .map(|member| (self.key(member), self.slice(&member.value)))
    }

    /// Every key as it is written, quotes and escapes and all, and its raw value.
    pub(crate) fn raw_members(&self) -> impl Iterator<Item = (&str, Cow<'_, str>, &str)> {
        self.members.iter().map(|member| {
            (
                self.slice(&member.key),
                self.key(member),
                self.slice(&member.value),
            )
        })
    }

    /// The raw value of `name`; the last one where it is given twice, as JSON readers do.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let member = self
            .members
            .iter()
            .rev()
            .find(|member| self.key(member) == name)?;
        Some(self.slice(&member.value))
    }

    /// Keeps only the members whose key `keep` wants.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let members = std::mem::take(&mut self.members);
        self.members = members
            .into_iter()
            .filter(|member| keep(&self.key(member)))
            .collect();
    }

    /// Bytes of memory that the row takes.
    pub(crate) fn bytes(&self) -> usize {
        self.line.len() + self.members.len() * size_of::<Member>()
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        &self.line[range.start as usize..range.end as usize]
    }

    fn key(&self, member: &Member) -> Cow<'_, str> {
        decode(self.slice(&member.key)).unwrap_or(Cow::Borrowed(self.slice(&member.key)))
    }
}

/// A raw JSON string's value; `None` where `raw` is no string or holds half a surrogate pair.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// What kind of value a raw text is, for messages.
pub(crate) fn kind_name(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// serde_json's words, which count lines; ours have one line, so the column alone is told.
fn words(error: &serde_json::Error, line: &str) -> String {
    let trimmed = line.trim_start();
    if !trimmed.starts_with('{') && serde_json::from_str::<&RawValue>(trimmed).is_ok() {
        return format!("the line is {}, not an object", kind_name(trimmed));
    }
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(what, _)| what);
    format!("not valid JSON: {what} at column {}", error.column())
}

/// Borrows every key and value as raw text.
struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Vec<(String, String)> {
        let row = JsonRow::parse(line).unwrap();
        row.members()
            .map(|(k, v)| (k.into_owned(), v.to_owned()))
            .collect()
    }

    /// A number or string would come back altered: 1.10 as 1.1, 1e400 as an error.
    #[test]
    fn values_keep_their_text() {
        let line = r#" {"b":1.10, "a" : 1e400,"t\u0065xt":"\u00e9\n","n":{"x": [1, 2]},"b":null} "#;
        let expected = [
            ("b", "1.10"),
            ("a", "1e400"),
            ("text", r#""\u00e9\n""#),
            ("n", r#"{"x": [1, 2]}"#),
            ("b", "null"),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(pairs(line), expected);
        let row = JsonRow::parse(line).unwrap();
        assert_eq!(row.get("b"), Some("null"));
        assert_eq!(row.get("text").and_then(decode).as_deref(), Some("é\n"));
    }

    /// A user would not learn what is wrong with the line, or a bad line would pass as good.
    #[test]
    fn what_is_no_object_is_refused() {
        let cases = [
            ("[1]", "the line is an array, not an object"),
            ("\"a\"", "the line is a string, not an object"),
            ("17", "the line is a number, not an object"),
            ("null", "the line is null, not an object"),
            (
                "{\"a\":1",
                "not valid JSON: EOF while parsing an object at column 6",
            ),
            (
                "{\"a\":1} x",
                "not valid JSON: trailing characters at column 9",
            ),
            (
                "{'a':1}",
                "not valid JSON: key must be a string at column 2",
            ),
            ("{\"a\":01}", "not valid JSON: invalid number at column 7"),
            ("{\"a\":NaN}", "not valid JSON: expected value at column 6"),
        ];
        for (line, message) in cases {
            assert_eq!(JsonRow::parse(line).unwrap_err(), message, "{line}");
        }
    }

    /// A hostile line would overflow the stack and kill the job.
    #[test]
    fn deep_nesting_is_harmless() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert!(JsonRow::parse(&deep).is_ok());
    }
}
