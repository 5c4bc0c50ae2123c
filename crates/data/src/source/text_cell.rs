//! From the bytes of a cell to a row's text.

use std::fmt;

use crate::row::{Place, RowError, RowText};

/// A cell as its source has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'a> {
    /// Null, or absent, or empty where the format cannot tell these apart.
    Missing,
    /// Bytes that ought to be UTF-8.
    Bytes(&'a [u8]),
}

/// The row's text and pair, or what is wrong with them.
pub(crate) fn row_text(
    place: &Place,
    limit: usize,
    text: (&str, Cell<'_>),
    pair: Option<(&str, Cell<'_>)>,
) -> Result<RowText, RowError> {
    Ok(RowText {
        text: cell_text(place, limit, text)?,
        pair: pair.map(|pair| cell_text(place, limit, pair)).transpose()?,
    })
}

fn cell_text(
    place: &Place,
    limit: usize,
    (name, cell): (&str, Cell<'_>),
) -> Result<String, RowError> {
    let Cell::Bytes(bytes) = cell else {
        return Err(missing(place, name));
    };
    if bytes.len() > limit {
        return Err(too_large(place, Some(bytes.len() as u64), limit));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(not_utf8(place, name, &error)),
    }
}

/// The text column holds nothing.
pub(crate) fn missing(place: &Place, name: &str) -> RowError {
    RowError::at(
        place,
        RowError::MISSING_VALUE,
        format_args!("`{name}` has no value"),
    )
}

/// The text column holds bytes that are not UTF-8.
pub(crate) fn not_utf8(place: &Place, name: &str, error: &std::str::Utf8Error) -> RowError {
    let at = error.valid_up_to() + 1;
    RowError::at(
        place,
        RowError::INVALID_UTF8,
        format_args!(
            "`{name}` is not UTF-8 at its byte {at}; convert the input to UTF-8 (such as with iconv) or mend it there"
        ),
    )
}

/// The row is longer than the limit; `bytes` where its length is known.
pub(crate) fn too_large(place: &Place, bytes: Option<u64>, limit: usize) -> RowError {
    struct Size(Option<u64>);
    impl fmt::Display for Size {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                Some(bytes) => write!(f, "{bytes} bytes exceed"),
                None => f.write_str("its cells exceed"),
            }
        }
    }
    let what = format_args!("{} the limit of {limit} bytes a row", Size(bytes)).to_string();
    RowError::at(place, RowError::ROW_TOO_LARGE, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Within;

    /// A user would not learn which byte of which column of which row to mend.
    #[test]
    fn messages_say_what_is_wrong() {
        let place = Place {
            row: 3,
            file: "a.csv".into(),
            within: Within::Line(4),
        };
        let of = |cell| {
            row_text(&place, 5, ("text", cell), None)
                .unwrap_err()
                .to_string()
        };
        let cases = [
            (
                Cell::Missing,
                "missing_value: row 3 (a.csv line 4): `text` has no value",
            ),
            (
                Cell::Bytes(b"ab\xff"),
                "invalid_utf8: row 3 (a.csv line 4): `text` is not UTF-8 at its byte 3; \
                 convert the input to UTF-8 (such as with iconv) or mend it there",
            ),
            (
                Cell::Bytes(b"abcdef"),
                "row_too_large: row 3 (a.csv line 4): 6 bytes exceed the limit of 5 bytes a row",
            ),
        ];
        for (cell, message) in cases {
            assert_eq!(of(cell), message);
        }
        let pair = Some(("b", Cell::Missing));
        let message = row_text(&place, 5, ("a", Cell::Bytes(b"x")), pair)
            .unwrap_err()
            .message;
        assert!(message.contains("`b` has no value"), "{message}");
    }
}
