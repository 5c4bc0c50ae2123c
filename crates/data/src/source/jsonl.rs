//! Rows of JSON Lines.

use std::borrow::Cow;
use std::sync::Arc;

use crate::DataError;
use crate::json_row::{JsonRow, decode, kind_name};
use crate::row::{Place, RowError, RowText, Within, excerpt};
use crate::source::assembly::Assembly;
use crate::source::bounded_lines::{BoundedLines, Line};
use crate::source::columns::JsonSelection;
use crate::source::stream::{Bytes, explain};
use crate::source::text_cell::{missing, too_large};
use crate::source::{RowReader, Step};
use crate::survey::Survey;

/// A JSON Lines file. Lines of nothing but white space are no rows.
pub(crate) struct JsonRows {
    file: Arc<str>,
    lines: BoundedLines,
    buffer: Vec<u8>,
    selection: Arc<JsonSelection>,
    rows: u64,
}

impl JsonRows {
    pub(crate) fn new(
        file: &Arc<str>,
        bytes: Bytes,
        row_bytes: usize,
        selection: &Arc<JsonSelection>,
    ) -> JsonRows {
        JsonRows {
            file: Arc::clone(file),
            lines: BoundedLines::new(bytes, row_bytes),
            buffer: Vec::new(),
            selection: Arc::clone(selection),
            rows: 0,
        }
    }

    /// The next line that is not blank.
    fn advance(&mut self) -> Result<Line, DataError> {
        let line =
            next_row(&mut self.lines, &mut self.buffer).map_err(|error| DataError::Read {
                file: self.file.to_string(),
                place: format!("row {} of it (line {})", self.rows, self.lines.line()),
                reason: explain(&error),
            })?;
        self.rows += u64::from(line != Line::End);
        Ok(line)
    }
}

impl RowReader for JsonRows {
    fn read(&mut self, into: &mut Assembly) -> Result<Step, DataError> {
        let line = self.advance()?;
        let within = Within::Line(self.lines.line());
        let place = into.place(&self.file, within);
        let (row, carried) = match line {
            Line::End => return Ok(Step::End),
            Line::TooLong(bytes) => (
                Err(too_large(&place, Some(bytes), into.limits().row_bytes)),
                None,
            ),
            Line::Whole => parse(&place, &self.buffer, &self.selection),
        };
        into.push(&self.file, within, row);
        into.push_json(carried);
        Ok(Step::Read)
    }

    fn pass_over(&mut self) -> Result<Step, DataError> {
        Ok(match self.advance()? {
            Line::End => Step::End,
            _ => Step::Read,
        })
    }
}

fn next_row(lines: &mut BoundedLines, buffer: &mut Vec<u8>) -> std::io::Result<Line> {
    loop {
        let line = lines.next(buffer)?;
        if line != Line::Whole || !buffer.trim_ascii().is_empty() {
            return Ok(line);
        }
    }
}

/// One line's text, and its members that pass through.
fn parse(
    place: &Place,
    line: &[u8],
    selection: &JsonSelection,
) -> (Result<RowText, RowError>, Option<JsonRow>) {
    let text = String::from_utf8_lossy(line);
    let bytes = match text {
        Cow::Borrowed(_) => Encoding::Utf8,
        Cow::Owned(_) => Encoding::Damaged,
    };
    let mut row = match JsonRow::parse(&text) {
        Ok(row) => row,
        Err(words) => {
            let what = format!("{words}; the line: {}", excerpt(&text));
            let code = match bytes {
                Encoding::Utf8 => RowError::INVALID_JSON,
                Encoding::Damaged => RowError::INVALID_UTF8,
            };
            return (Err(RowError::at(place, code, what)), None);
        }
    };
    let value = |name: &str| string(place, &row, name, bytes);
    let found = value(&selection.text).and_then(|text| {
        let pair = selection.pair.as_deref().map(value).transpose()?;
        Ok(RowText { text, pair })
    });
    row.retain(|name| selection.wanted.has(name));
    (found, Some(row))
}

/// What the bytes of a line were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    /// Some were not UTF-8, and became U+FFFD.
    Damaged,
}

/// The string under `name`.
fn string(place: &Place, row: &JsonRow, name: &str, bytes: Encoding) -> Result<String, RowError> {
    let raw = match row.get(name) {
        None | Some("null") => return Err(missing(place, name)),
        Some(raw) => raw,
    };
    if !raw.starts_with('"') {
        let what = format!(
            "`{name}` is {}, not a string: {}",
            kind_name(raw),
            excerpt(raw)
        );
        return Err(RowError::at(place, RowError::WRONG_TYPE, what));
    }
    match decode(raw) {
        Some(text) if bytes == Encoding::Damaged && text.contains('\u{fffd}') => Err(RowError::at(
            place,
            RowError::INVALID_UTF8,
            format_args!(
                "`{name}` is not UTF-8; convert the input to UTF-8 (such as with iconv) or mend it there"
            ),
        )),
        Some(text) => Ok(text.into_owned()),
        None => Err(RowError::at(
            place,
            RowError::INVALID_UTF8,
            format_args!("`{name}` has half of a surrogate pair (\\uD800 to \\uDFFF) in it"),
        )),
    }
}

/// Bounds of a survey of the first rows.
const FIRST_ROWS: u64 = 1_024;
const FIRST_BYTES: usize = 1 << 20;

/// Takes every row of `bytes` into account.
pub(crate) fn survey_all(
    file: &Arc<str>,
    bytes: Bytes,
    row_bytes: usize,
    survey: &mut Survey,
) -> Result<(), DataError> {
    let mut lines = BoundedLines::new(bytes, row_bytes);
    let mut buffer = Vec::new();
    loop {
        let line = next_row(&mut lines, &mut buffer).map_err(|error| DataError::Read {
            file: file.to_string(),
            place: format!("line {}", lines.line()),
            reason: explain(&error),
        })?;
        match line {
            Line::End => return Ok(()),
            Line::TooLong(_) => {}
            Line::Whole => add(&buffer, survey),
        }
    }
}

/// Takes the first rows into account, and gives back the bytes to be read once more.
///
/// A damaged place is left for the rows' own reader to tell of.
pub(crate) fn survey_first(mut bytes: Bytes, row_bytes: usize, survey: &mut Survey) -> Bytes {
    use std::io::{BufRead, Cursor, Read};
    let mut seen = Vec::new();
    let mut rows = 0;
    survey.complete = false;
    while rows < FIRST_ROWS && seen.len() < FIRST_BYTES {
        let start = seen.len();
        let most = row_bytes as u64 + 2;
        match bytes.by_ref().take(most).read_until(b'\n', &mut seen) {
            Ok(0) => {
                survey.complete = true;
                break;
            }
            Ok(_) => {}
            Err(_) => break,
        }
        if !seen[start..].trim_ascii().is_empty() {
            add(&seen[start..], survey);
            rows += 1;
        }
    }
    Box::new(Cursor::new(seen).chain(bytes))
}

fn add(line: &[u8], survey: &mut Survey) {
    if let Ok(row) = JsonRow::parse(&String::from_utf8_lossy(line)) {
        survey.add(&row);
    }
}
