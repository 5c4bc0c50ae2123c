//! A row's text, what is wrong with a row, and where a row stands.

use std::fmt;
use std::sync::Arc;

/// The text of one row, ready to be tokenised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowText {
    /// The text column's value.
    pub text: String,
    /// The pair column's value, where one was chosen.
    pub pair: Option<String>,
}

/// What is wrong with one row. The row stays in the output, with this in its `error` column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowError {
    /// Stable, for machines: one of [`RowError::CODES`], or one of the caller's own.
    pub code: &'static str,
    /// For people: which row, what, and where it helps the remedy.
    pub message: String,
}

impl RowError {
    /// Bytes of the text column are not UTF-8.
    pub const INVALID_UTF8: &'static str = "invalid_utf8";
    /// The text column holds nothing: null, absent, or an empty CSV cell.
    pub const MISSING_VALUE: &'static str = "missing_value";
    /// The text column holds something else than text.
    pub const WRONG_TYPE: &'static str = "wrong_type";
    /// A line of JSON Lines is not one JSON object.
    pub const INVALID_JSON: &'static str = "invalid_json";
    /// A CSV row has more or fewer cells than the header.
    pub const RAGGED_ROW: &'static str = "ragged_row";
    /// A CSV quote is opened and never closed.
    pub const UNCLOSED_QUOTE: &'static str = "unclosed_quote";
    /// The row is longer than the limit.
    pub const ROW_TOO_LARGE: &'static str = "row_too_large";
    /// A JSON value does not fit the type its output column has.
    pub const COLUMN_TYPE: &'static str = "column_type";
    /// A JSON key has no column in the output.
    pub const COLUMN_UNKNOWN: &'static str = "column_unknown";
    /// A JSON key bears the name of an answer.
    pub const COLUMN_COLLISION: &'static str = "column_collision";

    /// Every code that this crate gives.
    pub const CODES: [&'static str; 10] = [
        Self::INVALID_UTF8,
        Self::MISSING_VALUE,
        Self::WRONG_TYPE,
        Self::INVALID_JSON,
        Self::RAGGED_ROW,
        Self::UNCLOSED_QUOTE,
        Self::ROW_TOO_LARGE,
        Self::COLUMN_TYPE,
        Self::COLUMN_UNKNOWN,
        Self::COLUMN_COLLISION,
    ];

    /// An error of a row at `place`: the message becomes `row 812 (a.csv line 813): …`.
    #[must_use]
    pub fn at(place: &Place, code: &'static str, what: impl fmt::Display) -> RowError {
        RowError {
            code,
            message: format!("{place}: {what}"),
        }
    }

    /// Whether a text is what an output's column of errors says of a row: `missing_value: row 812 …`.
    pub(crate) fn is_told_by(text: &str) -> bool {
        let Some((code, place)) = text.split_once(": row ") else {
            return false;
        };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        code.starts_with(|letter: char| letter.is_ascii_lowercase())
            && code.bytes().all(plain)
            && place.starts_with(|digit: char| digit.is_ascii_digit())
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// Where a row stands; displays as `row 812 (queries.csv line 813)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The row's number in the whole input, from 1.
    pub row: u64,
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Where in the file.
    pub within: Within,
}

/// Where in a file a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// The line at which it begins, from 1.
    Line(u64),
    /// Its number in the file, from 1, for formats without lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.within {
            Within::Line(line) => write!(f, "row {} ({} line {line})", self.row, self.file),
            Within::Row(row) => write!(f, "row {} ({} row {row})", self.row, self.file),
        }
    }
}

/// A value as a message shows it: at most 80 characters, and none that a terminal would obey.
pub(crate) fn excerpt(value: &str) -> String {
    const SHOWN: usize = 80;
    let (shown, cut) = match value.char_indices().nth(SHOWN) {
        Some((cut, _)) => (&value[..cut], format!("… ({} bytes)", value.len())),
        None => (value, String::new()),
    };
    let mut words = String::with_capacity(shown.len() + cut.len());
    for letter in shown.chars() {
        match letter {
            letter if letter.is_control() => words.extend(letter.escape_default()),
            letter => words.push(letter),
        }
    }
    words + &cut
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would not find the bad row in the file.
    #[test]
    fn messages_name_row_file_and_line() {
        let place = Place {
            row: 812,
            file: "queries.csv".into(),
            within: Within::Line(813),
        };
        let error = RowError::at(&place, RowError::MISSING_VALUE, "the text is empty");
        assert_eq!(
            error.to_string(),
            "missing_value: row 812 (queries.csv line 813): the text is empty"
        );
        assert!(RowError::is_told_by(&error.to_string()));
    }

    /// Values of somebody else's column would count as rows that failed.
    #[test]
    fn other_texts_are_no_errors_of_ours() {
        assert!(RowError::is_told_by(
            "too_long: row 1: x; before: a: row 2: y"
        ));
        for text in [
            "",
            "y",
            "0.05",
            "TypeError: row 3",
            "timeout: connection refused",
            "a b: row 3",
            ": row 3",
            "1st: row 3",
            "missing_value: row three",
            "row 3",
        ] {
            assert!(!RowError::is_told_by(text), "{text}");
        }
    }

    /// A code with other characters than letters, digits and underscores, or given twice, would
    /// break whoever matches on it; one that is not in the table would have no meaning.
    #[test]
    fn codes_are_distinct_and_documented() {
        let documentation = include_str!("lib.rs");
        for (i, code) in RowError::CODES.iter().enumerate() {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            assert!(code.bytes().all(plain), "{code}");
            assert!(!RowError::CODES[..i].contains(code), "{code}");
            assert!(
                documentation.contains(&format!("//! | `{code}` |")),
                "{code}"
            );
        }
    }

    /// A megabyte of text would drown the message, a cut within a character panic, and a row with
    /// control characters rewrite what the terminal shows.
    #[test]
    fn excerpts_are_short_and_whole() {
        assert_eq!(excerpt("héllo"), "héllo");
        assert_eq!(excerpt("\u{1b}[2Jx\t"), "\\u{1b}[2Jx\\t");
        let long = "é".repeat(100);
        assert_eq!(excerpt(&long), format!("{}… (200 bytes)", "é".repeat(80)));
    }
}
