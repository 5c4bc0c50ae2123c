//! Rows of CSV and TSV.

use std::io;
use std::sync::Arc;

use arrow_schema::{DataType, Field};

use crate::row::{Place, RowError, RowText, Within, excerpt};
use crate::source::assembly::{Assembly, CellText};
use crate::source::columns::Selection;
use crate::source::csv_records::{Cells, CsvRecords, Record};
use crate::source::stream::{Bytes, explain};
use crate::source::text_cell::{Cell, row_text, too_large};
use crate::source::{RowReader, Step};
use crate::{DataError, Format};

/// A CSV file after its header was read.
pub(crate) struct CsvRows {
    file: Arc<str>,
    records: CsvRecords,
    header: Vec<String>,
    selection: Option<Selection>,
    rows: u64,
}

impl CsvRows {
    /// Reads the header.
    pub(crate) fn open(
        file: &Arc<str>,
        bytes: Bytes,
        format: Format,
        row_bytes: usize,
    ) -> Result<CsvRows, DataError> {
        let delimiter = if format == Format::Tsv { b'\t' } else { b',' };
        let mut records = CsvRecords::new(bytes, delimiter, row_bytes);
        let failed = |reason: String| DataError::Read {
            file: file.to_string(),
            place: "its header".to_owned(),
            reason,
        };
        let header = match records.next().map_err(|error| failed(explain(&error)))? {
            Record::Whole => header_names(records.cells()),
            Record::End => {
                return Err(failed("it is empty, without even a header".to_owned()));
            }
            Record::Unclosed => return Err(failed("a quote is never closed".to_owned())),
            Record::TooLong => {
                return Err(failed(format!(
                    "it exceeds the limit of {row_bytes} bytes a row"
                )));
            }
        };
        Ok(CsvRows {
            file: Arc::clone(file),
            records,
            header,
            selection: None,
            rows: 0,
        })
    }

    /// The columns, all of them text.
    pub(crate) fn fields(&self) -> Vec<Field> {
        self.header
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect()
    }

    /// Says which columns are wanted; without this no row can be read.
    pub(crate) fn choose(&mut self, selection: Selection) {
        self.selection = Some(selection);
    }

    fn failed(&self, error: &io::Error) -> DataError {
        DataError::Read {
            file: self.file.to_string(),
            place: format!("row {} of it (line {})", self.rows, self.records.line()),
            reason: explain(error),
        }
    }

    fn advance(&mut self) -> Result<Record, DataError> {
        match self.records.next() {
            Ok(record) => {
                self.rows += u64::from(record != Record::End);
                Ok(record)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// A cell without a name gets one by its position, as in `column_3`: spreadsheets and data frames
/// leave the index column's name empty.
fn header_names(cells: Cells<'_>) -> Vec<String> {
    let name = |(at, cell): (usize, &[u8])| match String::from_utf8_lossy(cell).trim() {
        "" => format!("column_{}", at + 1),
        _ => String::from_utf8_lossy(cell).into_owned(),
    };
    cells.iter().enumerate().map(name).collect()
}

impl RowReader for CsvRows {
    fn read(&mut self, into: &mut Assembly) -> Result<Step, DataError> {
        let record = self.advance()?;
        if record == Record::End {
            return Ok(Step::End);
        }
        let Some(selection) = &self.selection else {
            return Ok(Step::End);
        };
        let within = Within::Line(self.records.line());
        let place = into.place(&self.file, within);
        let cells = self.records.cells();
        let limit = into.limits().row_bytes;
        let row = match record {
            Record::TooLong => Err(too_large(&place, None, limit)),
            Record::Unclosed => Err(RowError::at(
                &place,
                RowError::UNCLOSED_QUOTE,
                "a quote is opened and never closed: the rest of the file is in this row; \
                 close it, or double a quote that belongs to the text",
            )),
            _ => self.row(&place, cells, selection, limit),
        };
        into.push(&self.file, within, row);
        let cells = selection.carried.iter().map(|&at| cells.get(at).map(lossy));
        into.push_cells(cells);
        Ok(Step::Read)
    }

    fn pass_over(&mut self) -> Result<Step, DataError> {
        Ok(match self.advance()? {
            Record::End => Step::End,
            _ => Step::Read,
        })
    }
}

impl CsvRows {
    fn row(
        &self,
        place: &Place,
        cells: Cells<'_>,
        selection: &Selection,
        limit: usize,
    ) -> Result<RowText, RowError> {
        if cells.len() != self.header.len() {
            return Err(ragged(place, cells, self.header.len()));
        }
        // CSV cannot tell an empty cell from none; empty is how data frames write a missing value.
        let cell = |at: usize| match cells.get(at) {
            None | Some([]) => (self.header[at].as_str(), Cell::Missing),
            Some(bytes) => (self.header[at].as_str(), Cell::Bytes(bytes)),
        };
        row_text(place, limit, cell(selection.text), selection.pair.map(cell))
    }
}

/// The cells that the header has no column for are lost from the output, so the message has them.
fn ragged(place: &Place, cells: Cells<'_>, columns: usize) -> RowError {
    let count = cells.len();
    let mut what = format!("{count} cells, but the header has {columns}");
    if count > columns {
        let rest: Vec<CellText<'_>> = cells.iter().skip(columns).map(lossy).collect();
        let rest = excerpt(&rest.join(", "));
        what.push_str(&format!("; beyond them: {rest}"));
    }
    RowError::at(place, RowError::RAGGED_ROW, what)
}

fn lossy(cell: &[u8]) -> CellText<'_> {
    String::from_utf8_lossy(cell)
}
