//! CSV records from a stream, of which none takes more memory than the limit.
//!
//! `csv::Reader` would grow its buffer to the size of any record, and one lost quote makes a record
//! of the whole rest of the file. So this drives `csv_core`, the same parser, with an own buffer.

use std::io::{self, BufRead};
use std::ops::Range;

use csv_core::ReadRecordResult;

use crate::source::stream::Bytes;

/// What the next record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// [`CsvRecords::cells`] has it.
    Whole,
    /// A quote was still open at the end of the file; `cells` has what there is.
    Unclosed,
    /// It was longer than the limit and was passed over.
    TooLong,
    /// There is none.
    End,
}

/// Cells of one record may number this many; more are taken for a damaged file.
const MAX_CELLS: usize = 1 << 20;

/// Reads records and counts lines.
pub(crate) struct CsvRecords {
    inner: Bytes,
    parser: csv_core::Reader,
    limit: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
    cells: usize,
    /// Newlines consumed so far.
    newlines: u64,
    /// The line at which the last record began.
    line: u64,
}

/// Where the parser stands within a record.
#[derive(Default)]
struct Filled {
    text: usize,
    ends: usize,
    too_long: bool,
    unclosed: bool,
}

impl CsvRecords {
    pub(crate) fn new(inner: Bytes, delimiter: u8, limit: usize) -> CsvRecords {
        CsvRecords {
            inner,
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            limit,
            text: vec![0; 4 << 10],
            ends: vec![0; 64],
            cells: 0,
            newlines: 0,
            line: 0,
        }
    }

    /// The line at which the last record began, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The last record's cells, as bytes.
    pub(crate) fn cells(&self) -> Cells<'_> {
        Cells {
            text: &self.text,
            ends: &self.ends[..self.cells],
        }
    }

    /// Reads the next record. Lines without any character are no records.
    pub(crate) fn next(&mut self) -> io::Result<Record> {
        self.cells = 0;
        if !self.skip_blank_lines()? {
            return Ok(Record::End);
        }
        self.line = self.newlines + 1;
        let mut filled = Filled::default();
        loop {
            let input = self.inner.fill_buf()?;
            // At the end a newline is played in: if that does not end the record, a quote is open.
            let last = input.is_empty();
            let input = if last && !filled.unclosed {
                b"\n"
            } else {
                input
            };
            let (result, read, wrote, ended) = self.parser.read_record(
                input,
                &mut self.text[filled.text..],
                &mut self.ends[filled.ends..],
            );
            if !last {
                self.newlines += newlines(&input[..read]);
                self.inner.consume(read);
            }
            filled.text += wrote;
            filled.ends += ended;
            match result {
                ReadRecordResult::InputEmpty => filled.unclosed = last,
                ReadRecordResult::OutputFull => self.make_room(&mut filled),
                ReadRecordResult::OutputEndsFull => self.make_room_for_ends(&mut filled),
                ReadRecordResult::Record => return Ok(self.finish(&filled)),
                ReadRecordResult::End => return Ok(Record::End),
            }
        }
    }

    fn finish(&mut self, filled: &Filled) -> Record {
        if filled.too_long {
            // What one giant record needed must not stay allocated for all the small ones.
            self.text = vec![0; 4 << 10];
            return Record::TooLong;
        }
        self.cells = filled.ends;
        if !filled.unclosed {
            return Record::Whole;
        }
        // The newline that was played in went into the open cell.
        if let Some(end) = self.ends[..self.cells].last_mut() {
            *end -= 1;
        }
        Record::Unclosed
    }

    fn make_room(&mut self, filled: &mut Filled) {
        if self.text.len() < self.limit {
            let larger = (self.text.len() * 2).min(self.limit);
            self.text.resize(larger, 0);
        } else {
            // Go on parsing to find the end, but over the same bytes again and again.
            filled.too_long = true;
            filled.text = 0;
        }
    }

    fn make_room_for_ends(&mut self, filled: &mut Filled) {
        if self.ends.len() < MAX_CELLS {
            self.ends.resize(self.ends.len() * 2, 0);
        } else {
            filled.too_long = true;
            filled.ends = 0;
        }
    }

    /// Passes over newlines before a record; false at the end of the file.
    ///
    /// The parser would do so too, but then the record's line would not be known.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        loop {
            let input = self.inner.fill_buf()?;
            if input.is_empty() {
                return Ok(false);
            }
            let blank = input
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                .count();
            let more = blank < input.len();
            self.newlines += newlines(&input[..blank]);
            self.inner.consume(blank);
            if more {
                return Ok(true);
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The cells of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells<'a> {
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Cells<'a> {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of cell `at`.
    pub(crate) fn get(&self, at: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        self.text.get(Range { start, end })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn records(content: &str, limit: usize, block: usize) -> Vec<(Record, u64, Vec<String>)> {
        let reader = BufReader::with_capacity(block, Cursor::new(content.as_bytes().to_vec()));
        let mut records = CsvRecords::new(Box::new(reader), b',', limit);
        let mut all = Vec::new();
        loop {
            let record = records.next().unwrap();
            if record == Record::End {
                return all;
            }
            let cells = records
                .cells()
                .iter()
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .collect();
            all.push((record, records.line(), cells));
        }
    }

    /// Quoted newlines would split rows, blank lines shift the line numbers in messages, and rows
    /// fall apart wherever a block of the file ends.
    #[test]
    fn records_come_whole_from_blocks_of_any_size() {
        let content = "a,b\r\n\"x\ny\",\"say \"\"hi\"\"\"\r\n\n\n,\nlast,\"\"";
        let expected: [(u64, [&str; 2]); 4] = [
            (1, ["a", "b"]),
            (2, ["x\ny", "say \"hi\""]),
            (6, ["", ""]),
            (7, ["last", ""]),
        ];
        for block in [1, 2, 3, 7, 4096] {
            let found = records(content, 1 << 20, block);
            assert_eq!(found.len(), expected.len(), "block {block}");
            for ((record, line, cells), (expected_line, expected_cells)) in
                found.iter().zip(expected)
            {
                assert_eq!(
                    (*record, *line),
                    (Record::Whole, expected_line),
                    "block {block}"
                );
                assert_eq!(cells, &expected_cells, "block {block}");
            }
        }
    }

    /// One lost quote would swallow the rest of the file, silently.
    #[test]
    fn an_open_quote_is_noticed() {
        for content in ["a\n\"b,c\nd\n", "a\n\"b,c\nd"] {
            let found = records(content, 1 << 20, 5);
            assert_eq!(found[0].0, Record::Whole);
            assert_eq!(
                (found[1].0, found[1].1),
                (Record::Unclosed, 2),
                "{content:?}"
            );
            assert_eq!(found[1].2, [&content[3..]]);
            assert_eq!(found.len(), 2);
        }
        // Closed at the very end: nothing is wrong.
        assert_eq!(records("a\n\"b\"", 100, 100)[1].0, Record::Whole);
        assert_eq!(records("a\n\"b\"\n", 100, 100)[1].0, Record::Whole);
    }

    /// A giant record would take all memory, or the rows after it be lost.
    #[test]
    fn giant_records_are_passed_over() {
        let giant = "x".repeat(100_000);
        let many = ",".repeat(MAX_CELLS + 5);
        let content = format!("a\n{giant}\n\"{giant}\n{giant}\"\nb\n{many}\nc\n");
        let found = records(&content, 8192, 1000);
        let kinds: Vec<(Record, u64)> = found.iter().map(|(r, line, _)| (*r, *line)).collect();
        assert_eq!(
            kinds,
            [
                (Record::Whole, 1),
                (Record::TooLong, 2),
                (Record::TooLong, 3),
                (Record::Whole, 5),
                (Record::TooLong, 6),
                (Record::Whole, 7)
            ]
        );
        assert_eq!(found[5].2, ["c"]);
    }
}
