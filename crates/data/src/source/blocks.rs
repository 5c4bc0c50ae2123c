//! Plain text by the block: for programs that would spend more on a row's own string, place and cells than
//! on the row.
//!
//! An input is *plain* if nothing needs to be taken apart but its lines: regular files of plain lines, or of
//! CSV or TSV with one column and neither quotes nor delimiters, unpacked, in UTF-8, every row with a text.
//! Whether it is, only reading all of it tells: so whoever uses blocks reads them once to [check](Block::check)
//! them, and goes back to [`Source`] where one is not. The rows are the same either way.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::{memchr, memchr_iter, memchr3_iter, memmem, memrchr};

use crate::source::stream::{InputProgress, compression, explain};
use crate::source::{InputFile, Source};
use crate::{Compression, DataError, Format};

/// Bytes of a block, about: whole rows, so a little less, or one row that is longer. It and what becomes of
/// it stay in a core's cache.
const BLOCK: usize = 256 << 10;

/// Smaller ones cost more to read than to work on.
const LEAST_BLOCK: usize = 4 << 10;

/// Files that may be plain.
#[derive(Clone, Debug)]
pub struct PlainText {
    files: Vec<PlainFile>,
    delimiter: Option<u8>,
    row_bytes: usize,
    progress: InputProgress,
}

#[derive(Clone, Debug)]
struct PlainFile {
    name: Arc<str>,
    path: PathBuf,
    /// Where the first row begins: behind a byte-order mark and a header.
    begin: u64,
}

/// Whole rows, as they stand in the file.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    delimiter: Option<u8>,
    /// Bytes of a row at most.
    row_bytes: usize,
    /// Rows of the whole input before the first of these.
    pub first_row: u64,
    /// How many rows there are.
    pub rows: u64,
}

/// Whether rows are measured, which takes longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// Yes.
    Measured,
    /// No.
    Passed,
}

/// What a look at every row of a plain block tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts<'a> {
    /// The rows' texts as they were read.
    pub text: &'a str,
    /// Whether there are carriage returns: without them, all that is of no row are line feeds.
    pub has_returns: bool,
    /// Characters of its longest row; 0 where rows are not measured.
    pub longest: usize,
}

/// What came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// A block.
    Block,
    /// Nothing: the input is at its end.
    End,
    /// A row longer than the limit of a row, which only [`Source`] can pass over.
    NotPlain,
}

impl PlainText {
    /// The files of a source, if by their beginnings they may be plain.
    ///
    /// # Errors
    /// [`DataError::Open`] where a file cannot be read.
    pub(crate) fn of(source: &Source) -> Result<Option<PlainText>, DataError> {
        let delimiter = match source.format() {
            Format::Lines => None,
            Format::Csv => Some(b','),
            Format::Tsv => Some(b'\t'),
            Format::Jsonl | Format::Parquet | Format::Arrow => return Ok(None),
        };
        let mut files = Vec::new();
        for file in &source.files {
            match plain_file(file, delimiter)? {
                Some(file) => files.push(file),
                None => return Ok(None),
            }
        }
        Ok(Some(PlainText {
            files,
            delimiter,
            row_bytes: source.limits.row_bytes,
            progress: source.progress(),
        }))
    }

    /// The blocks from the first row on, a `share` of the usual size and at most `most_rows` rows each: for
    /// programs that make much of little text.
    #[must_use]
    pub fn blocks(&self, share: usize, most_rows: usize) -> Blocks {
        Blocks {
            block: (BLOCK / share.max(1)).max(LEAST_BLOCK),
            most_rows: most_rows.max(1),
            input: self.clone(),
            next_file: 0,
            current: None,
            left_over: Vec::new(),
            rows: 0,
            read: Arc::clone(&self.progress.read),
        }
    }

    /// How much has been read, by all blocks together.
    #[must_use]
    pub fn progress(&self) -> InputProgress {
        self.progress.clone()
    }
}

/// The file, if its beginning is that of plain text.
fn plain_file(file: &InputFile, delimiter: Option<u8>) -> Result<Option<PlainFile>, DataError> {
    let Some(path) = file.path().filter(|_| file.is_repeatable()) else {
        return Ok(None);
    };
    let failed = |error: &std::io::Error| DataError::opening(&file.name, error);
    let handle = File::open(path).map_err(|error| failed(&error))?;
    let mut start = Vec::new();
    handle
        .take(4 << 10)
        .read_to_end(&mut start)
        .map_err(|error| failed(&error))?;
    // Two bytes of UTF-16's mark are no UTF-8, which every block is checked for.
    if compression(&start) != Compression::None || start.starts_with(b"PAR1") {
        return Ok(None);
    }
    let mut begin = 0;
    if start.starts_with(b"\xef\xbb\xbf") {
        begin = 3;
    }
    if let Some(delimiter) = delimiter {
        // A long header is none of one column.
        let Some(end) = memchr(b'\n', &start[begin..]) else {
            return Ok(None);
        };
        let header = &start[begin..begin + end];
        let header = header.strip_suffix(b"\r").unwrap_or(header);
        let odd = |byte: &u8| [b'"', b'\r', delimiter].contains(byte);
        if header.is_empty() || header.iter().any(odd) {
            return Ok(None);
        }
        begin += end + 1;
    }
    Ok(Some(PlainFile {
        name: Arc::clone(&file.name),
        path: path.to_path_buf(),
        begin: begin as u64,
    }))
}

/// The blocks of an input, one after the other.
#[derive(Debug)]
pub struct Blocks {
    input: PlainText,
    /// Bytes that are read at once.
    block: usize,
    most_rows: usize,
    next_file: usize,
    current: Option<File>,
    /// What was read behind the last block: the beginning of a row, or rows that were too many for it.
    left_over: Vec<u8>,
    rows: u64,
    read: Arc<AtomicU64>,
}

impl Blocks {
    /// Reads the next block into the memory of an old one.
    ///
    /// # Errors
    /// [`DataError::Open`] and [`DataError::Read`] where a file cannot be read.
    pub fn fill(&mut self, block: &mut Block) -> Result<Filled, DataError> {
        block.delimiter = self.input.delimiter;
        block.row_bytes = self.input.row_bytes;
        block.bytes.clear();
        loop {
            if self.current.is_none() && !self.open_next()? {
                return Ok(Filled::End);
            }
            block.bytes.append(&mut self.left_over);
            // What is left over may have enough rows; else it is too little.
            let (mut searched, mut was_read) = (0, false);
            let ended = loop {
                let bytes = &block.bytes;
                let last = |_| memrchr(b'\n', &bytes[searched..]).map(|at| searched + at + 1);
                let last = || was_read.then_some(()).and_then(last);
                if let Some(end) = self.rows_end(bytes).or_else(last) {
                    self.left_over.extend_from_slice(&block.bytes[end..]);
                    block.bytes.truncate(end);
                    break false;
                }
                if was_read {
                    searched = block.bytes.len();
                }
                // With the carriage return that may end it.
                if searched > self.input.row_bytes.saturating_add(1) {
                    return Ok(Filled::NotPlain);
                }
                let read = self.read(&mut block.bytes)?;
                was_read = true;
                if read < self.block && self.rows_end(&block.bytes).is_none() {
                    break true;
                }
            };
            if ended {
                self.current = None;
            }
            if !block.bytes.is_empty() {
                let newlines = memchr_iter(b'\n', &block.bytes).count() as u64;
                block.first_row = self.rows;
                block.rows = newlines + u64::from(block.bytes.last() != Some(&b'\n'));
                self.rows += block.rows;
                return Ok(Filled::Block);
            }
        }
    }

    /// Where as many rows end as a block has at most, if there are so many.
    fn rows_end(&self, bytes: &[u8]) -> Option<usize> {
        // To count them takes far less than to stop at each.
        if bytes.len() < self.most_rows || memchr_iter(b'\n', bytes).count() < self.most_rows {
            return None;
        }
        let end = memchr_iter(b'\n', bytes).nth(self.most_rows - 1);
        end.map(|end| end + 1)
    }

    /// Opens the next file; false where there is none.
    fn open_next(&mut self) -> Result<bool, DataError> {
        let Some(next) = self.input.files.get(self.next_file) else {
            return Ok(false);
        };
        let opened = File::open(&next.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(next.begin))?;
            Ok(file)
        });
        self.current = Some(opened.map_err(|error| DataError::opening(&next.name, &error))?);
        self.next_file += 1;
        Ok(true)
    }

    /// Appends about a block; less only at the end of the file.
    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<usize, DataError> {
        let Some(file) = &self.current else {
            return Ok(0);
        };
        bytes.reserve(self.block);
        let read = file.take(self.block as u64).read_to_end(bytes);
        let read = read.map_err(|error| DataError::Read {
            file: self.input.files[self.next_file - 1].name.to_string(),
            place: format!("row {}", self.rows + 1),
            reason: explain(&error),
        })?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Block {
    /// The rows' texts as they were read; `None` where they are not UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Looks at every row; `None` where the block is not plain.
    #[must_use]
    pub fn check(&self, lengths: Lengths) -> Option<BlockFacts<'_>> {
        let text = self.text()?;
        let has_returns = memchr(b'\r', &self.bytes).is_some();
        if let Some(delimiter) = self.delimiter {
            // A carriage return alone ends a row of CSV.
            let at_end = |at: usize| self.bytes.get(at + 1) == Some(&b'\n');
            let mut odd = memchr3_iter(b'"', delimiter, b'\r', &self.bytes);
            if !odd.all(|at| self.bytes[at] == b'\r' && at_end(at)) {
                return None;
            }
        }
        if self.has_empty_row(has_returns) {
            return None;
        }
        let longest = self.row_bytes;
        if self.bytes.len() > longest && rows(text).any(|row| row.len() > longest) {
            return None;
        }
        let mut facts = BlockFacts {
            text,
            has_returns,
            longest: 0,
        };
        if lengths == Lengths::Passed {
            return Some(facts);
        }
        let is_ascii = text.is_ascii();
        for row in rows(text) {
            if row.len() > facts.longest {
                let length = if is_ascii {
                    row.len()
                } else {
                    row.chars().count()
                };
                facts.longest = facts.longest.max(length);
            }
        }
        Some(facts)
    }

    /// Whether a row has nothing but what ends it.
    fn has_empty_row(&self, has_returns: bool) -> bool {
        let found = |end: &[u8]| memmem::find(&self.bytes, end).is_some();
        if self.bytes.starts_with(b"\n") || found(b"\n\n") {
            return true;
        }
        has_returns && {
            let first_is = self.bytes.starts_with(b"\r\n");
            let last_is = self.bytes == b"\r" || self.bytes.ends_with(b"\n\r");
            first_is || last_is || found(b"\n\r\n")
        }
    }

    /// Leaves out the first `count` rows.
    pub fn drop_rows(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let last = usize::try_from(count - 1).unwrap_or(usize::MAX);
        let end = memchr_iter(b'\n', &self.bytes).nth(last);
        let end = end.map_or(self.bytes.len(), |end| end + 1);
        self.bytes.drain(..end);
        let dropped = count.min(self.rows);
        self.first_row += dropped;
        self.rows -= dropped;
    }
}

/// The rows of a block's text, without what ends them.
pub fn rows(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (row, after) = match line_feed(rest.as_bytes()) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, ""),
        };
        rest = after;
        Some(row.strip_suffix('\r').unwrap_or(row))
    })
}

/// The first line feed. Most rows are so short that to begin a search takes longer than to search.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 128;
    const EACH: u64 = 0x0101_0101_0101_0101;
    for (at, eight) in bytes[..bytes.len().min(SHORT)]
        .as_chunks::<8>()
        .0
        .iter()
        .enumerate()
    {
        // A byte is zero where it is a line feed; the lowest such byte has its highest bit set then.
        let eight = u64::from_le_bytes(*eight) ^ (EACH * u64::from(b'\n'));
        let found = eight.wrapping_sub(EACH) & !eight & (EACH << 7);
        if found != 0 {
            return Some(8 * at + found.trailing_zeros() as usize / 8);
        }
    }
    let searched = bytes.len().min(SHORT) / 8 * 8;
    memchr(b'\n', &bytes[searched..]).map(|found| searched + found)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{ColumnChoice, InputSpec};

    /// The rows by blocks, or `None` where these are not plain.
    fn by_blocks(paths: &[PathBuf]) -> Option<Vec<String>> {
        let found = by_share(paths, 1, usize::MAX);
        assert_eq!(by_share(paths, 1_000, usize::MAX), found);
        assert_eq!(by_share(paths, 1_000, 3), found);
        assert_eq!(by_share(paths, 1, 1), found);
        found
    }

    fn by_share(paths: &[PathBuf], share: usize, most_rows: usize) -> Option<Vec<String>> {
        let source = Source::open(&spec(paths)).unwrap();
        let plain = source.plain_text().unwrap()?;
        let mut blocks = plain.blocks(share, most_rows);
        let mut block = Block::default();
        let mut found = Vec::new();
        loop {
            match blocks.fill(&mut block).unwrap() {
                Filled::End => return Some(found),
                Filled::NotPlain => return None,
                Filled::Block => {}
            }
            assert!(
                block.check(Lengths::Passed).is_some() == block.check(Lengths::Measured).is_some()
            );
            assert!(block.rows <= most_rows as u64);
            let facts = block.check(Lengths::Measured)?;
            let texts: Vec<String> = rows(block.text().unwrap()).map(str::to_owned).collect();
            assert_eq!(
                (block.first_row, block.rows),
                (found.len() as u64, texts.len() as u64)
            );
            let longest = texts.iter().map(|text| text.chars().count()).max();
            assert_eq!(Some(facts.longest), longest);
            found.extend(texts);
        }
    }

    /// Rows would be joined, or cut where there is no end.
    #[test]
    fn the_first_line_feed_is_found() {
        for length in 0..300 {
            for other in [b'a', b'\x0b', b'\x09', 0, 0x8a, 0xff] {
                let mut bytes = vec![other; length];
                assert_eq!(line_feed(&bytes), None);
                for at in (0..length).rev() {
                    bytes[at] = b'\n';
                    assert_eq!(line_feed(&bytes), Some(at), "{length} bytes {other}");
                }
            }
        }
    }

    fn spec(paths: &[PathBuf]) -> InputSpec {
        InputSpec {
            paths: paths.to_vec(),
            columns: ColumnChoice::default(),
            ..InputSpec::default()
        }
    }

    fn by_source(paths: &[PathBuf]) -> Vec<Option<String>> {
        let source = Source::open(&spec(paths)).unwrap();
        let chunks = source.flat_map(|chunk| chunk.unwrap().rows);
        chunks.map(|row| row.ok().map(|row| row.text)).collect()
    }

    fn write(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A row would be lost, or be another one than in every other command.
    #[test]
    fn plain_rows_are_those_of_the_source() {
        let long = "x".repeat(3 * BLOCK);
        let many: String = (0..60_000).map(|row| format!("row {row} é\r\n")).collect();
        let cases: [(&str, &[u8], bool); 24] = [
            ("txt", b"a\nb\nc", true),
            ("txt", b"a\nb\nc\n", true),
            ("txt", "\u{feff}a,\"b\r\nc\rd\r\n".as_bytes(), true),
            ("txt", b"a\r", true),
            ("txt", b"", true),
            ("txt", many.as_bytes(), true),
            (
                "txt",
                &[long.as_bytes(), b"\ny\n", long.as_bytes()].concat(),
                true,
            ),
            ("txt", b"a\n\nb\n", false),
            ("txt", b"a\n\r", false),
            ("txt", b"\r", false),
            ("txt", b"\n", false),
            ("txt", b"\r\na\n", false),
            ("txt", b"a\n\r\nb\n", false),
            ("txt", b"a\n\xff\n", false),
            ("csv", b"text\na\nb", true),
            ("csv", "\u{feff}text\r\na b\r\nc;d\r\n".as_bytes(), true),
            ("csv", [b"text\n", many.as_bytes()].concat().leak(), true),
            ("csv", b"text\na,b\n", false),
            ("csv", b"text\na\rb\n", false),
            ("csv", b"text\na\r", false),
            ("csv", b"text\n\"a\nb\"\n", false),
            ("csv", b"text\na\n\nb\n", false),
            ("csv", b"\"text\"\na\n", false),
            ("tsv", b"text\na,b\n", true),
        ];
        let mut failures: Vec<String> = Vec::new();
        for (at, (extension, content, plain)) in cases.into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            let path = write(directory.path(), &format!("a.{extension}"), content);
            let found = by_blocks(std::slice::from_ref(&path));
            let excerpt = String::from_utf8_lossy(&content[..content.len().min(20)]).into_owned();
            let name = format!("{at} {extension} {excerpt:?}");
            if found.is_some() != plain {
                failures.push(format!("{name}: plain {}", found.is_some()));
            }
            if let Some(found) = found {
                let found: Vec<Option<String>> = found.into_iter().map(Some).collect();
                if found != by_source(&[path]) {
                    failures.push(format!("{name}: other rows"));
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    /// The first row of the second file would be taken for a part of the last of the first.
    #[test]
    fn files_follow_one_another() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [
            write(directory.path(), "a.txt", b"a\nb"),
            write(directory.path(), "b.txt", b""),
            write(directory.path(), "c.txt", b"c\nd\n"),
        ];
        assert_eq!(by_blocks(&paths).unwrap(), ["a", "b", "c", "d"]);
        let packed = write(directory.path(), "d.txt", b"\x1f\x8b\x08\x00");
        assert!(
            PlainText::of(&Source::open(&spec(&[packed])).unwrap())
                .unwrap()
                .is_none()
        );
    }

    /// A row just above the limit would be written from one file and refused from the same one packed.
    #[test]
    fn rows_above_the_limit_are_not_plain() {
        const LIMIT: usize = 10;
        for length in [LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, 3 * BLOCK] {
            for (before, after) in [("", "\n"), ("", ""), ("a\n", "\r\nb"), ("", "\r\n")] {
                let directory = tempfile::tempdir().unwrap();
                let text = [before, &"x".repeat(length), after].concat();
                let path = write(directory.path(), "a.txt", text.as_bytes());
                let mut spec = spec(&[path]);
                spec.limits.row_bytes = LIMIT;
                let plain = Source::open(&spec).unwrap().plain_text().unwrap();
                let mut blocks = plain.unwrap().blocks(1, usize::MAX);
                let mut block = Block::default();
                let is_plain = loop {
                    match blocks.fill(&mut block).unwrap() {
                        Filled::Block if block.check(Lengths::Passed).is_some() => {}
                        Filled::End => break true,
                        Filled::Block | Filled::NotPlain => break false,
                    }
                };
                let rows = Source::open(&spec).unwrap();
                let good = rows
                    .flat_map(|chunk| chunk.unwrap().rows)
                    .all(|row| row.is_ok());
                assert_eq!(is_plain, good, "{length} {before:?} {after:?}");
            }
        }
    }

    /// A continued job would do rows twice, or leave some out.
    #[test]
    fn rows_can_be_left_out() {
        for dropped in 0..4 {
            let mut block = Block {
                bytes: b"a\nb\nc".to_vec(),
                delimiter: None,
                row_bytes: 9,
                first_row: 7,
                rows: 3,
            };
            block.drop_rows(dropped);
            let left: Vec<&str> = rows(block.text().unwrap()).collect();
            assert_eq!(left, ["a", "b", "c"][dropped as usize..]);
            assert_eq!((block.first_row, block.rows), (7 + dropped, 3 - dropped));
        }
    }
}
