//! Lines from a stream, of which none takes more memory than the limit.

use std::io::{self, BufRead, Read};

use crate::source::stream::Bytes;

/// What the next line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The buffer holds it, without its newline.
    Whole,
    /// It had this many bytes, more than the limit, and was passed over.
    TooLong(u64),
    /// There is none.
    End,
}

/// Reads lines and counts them.
pub(crate) struct BoundedLines {
    inner: Bytes,
    limit: usize,
    line: u64,
}

impl BoundedLines {
    pub(crate) fn new(inner: Bytes, limit: usize) -> BoundedLines {
        BoundedLines {
            inner,
            limit,
            line: 0,
        }
    }

    /// Number of the line read last, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next line into `buffer`, replacing what was there.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> io::Result<Line> {
        buffer.clear();
        // One byte more than the limit for the newline, one more to notice an excess.
        let most = self.limit as u64 + 2;
        self.inner.by_ref().take(most).read_until(b'\n', buffer)?;
        if buffer.is_empty() {
            return Ok(Line::End);
        }
        self.line += 1;
        let ended = buffer.last() == Some(&b'\n');
        if ended {
            buffer.pop();
        }
        if buffer.last() == Some(&b'\r') {
            buffer.pop();
        }
        if buffer.len() <= self.limit {
            return Ok(Line::Whole);
        }
        let mut bytes = buffer.len() as u64;
        if !ended {
            bytes += self.pass_over_rest()?;
        }
        buffer.clear();
        // What was read for one giant line must not stay allocated for all the short ones.
        buffer.shrink_to(1 << 20);
        Ok(Line::TooLong(bytes))
    }

    /// Bytes up to the next newline, which does not count.
    fn pass_over_rest(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let block = match self.inner.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                block => block?,
            };
            let end = block.iter().position(|byte| *byte == b'\n');
            let (passed, used) = match end {
                Some(at) => (at, at + 1),
                None => (block.len(), block.len()),
            };
            self.inner.consume(used);
            bytes += passed as u64;
            if end.is_some() || used == 0 {
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A line without end would take all memory; a line at the limit would be refused.
    #[test]
    fn long_lines_are_passed_over_and_the_rest_read() {
        let content = b"12345\n123456\r\n1234567\n\n12345678901234567890\nlast".to_vec();
        let mut lines = BoundedLines::new(Box::new(Cursor::new(content)), 6);
        let mut buffer = Vec::new();
        let expected: [(Line, &[u8]); 7] = [
            (Line::Whole, b"12345"),
            (Line::Whole, b"123456"),
            (Line::TooLong(7), b""),
            (Line::Whole, b""),
            (Line::TooLong(20), b""),
            (Line::Whole, b"last"),
            (Line::End, b""),
        ];
        for (i, (line, text)) in expected.into_iter().enumerate() {
            assert_eq!(lines.next(&mut buffer).unwrap(), line, "line {}", i + 1);
            assert_eq!(buffer, text, "line {}", i + 1);
        }
        assert_eq!(lines.line(), 6);
    }
}
