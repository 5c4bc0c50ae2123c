//! Rows of plain text: every line is one.

use std::sync::Arc;

use crate::DataError;
use crate::row::Within;
use crate::source::assembly::Assembly;
use crate::source::bounded_lines::{BoundedLines, Line};
use crate::source::stream::{Bytes, explain};
use crate::source::text_cell::{Cell, row_text, too_large};
use crate::source::{RowReader, Step};

/// The name of the only column.
pub(crate) const COLUMN: &str = "text";

/// A text file.
///
/// An empty line is a row without a value, not passed over: so output row n is input line n.
pub(crate) struct LineRows {
    file: Arc<str>,
    lines: BoundedLines,
    buffer: Vec<u8>,
    carried: bool,
}

impl LineRows {
    /// Rows of `bytes`; the column passes through if the selection `carries` any.
    pub(crate) fn new(
        file: &Arc<str>,
        bytes: Bytes,
        row_bytes: usize,
        carries: &[usize],
    ) -> LineRows {
        LineRows {
            file: Arc::clone(file),
            lines: BoundedLines::new(bytes, row_bytes),
            buffer: Vec::new(),
            carried: !carries.is_empty(),
        }
    }

    fn advance(&mut self) -> Result<Line, DataError> {
        self.lines
            .next(&mut self.buffer)
            .map_err(|error| DataError::Read {
                file: self.file.to_string(),
                place: format!("line {}", self.lines.line()),
                reason: explain(&error),
            })
    }
}

impl RowReader for LineRows {
    fn read(&mut self, into: &mut Assembly) -> Result<Step, DataError> {
        let line = self.advance()?;
        let within = Within::Line(self.lines.line());
        let place = into.place(&self.file, within);
        let limit = into.limits().row_bytes;
        let row = match line {
            Line::End => return Ok(Step::End),
            Line::TooLong(bytes) => Err(too_large(&place, Some(bytes), limit)),
            Line::Whole if self.buffer.is_empty() => {
                row_text(&place, limit, (COLUMN, Cell::Missing), None)
            }
            Line::Whole => row_text(&place, limit, (COLUMN, Cell::Bytes(&self.buffer)), None),
        };
        into.push(&self.file, within, row);
        let cell = (line == Line::Whole).then(|| String::from_utf8_lossy(&self.buffer));
        into.push_cells(self.carried.then_some(cell).into_iter());
        Ok(Step::Read)
    }

    fn pass_over(&mut self) -> Result<Step, DataError> {
        Ok(match self.advance()? {
            Line::End => Step::End,
            _ => Step::Read,
        })
    }
}
