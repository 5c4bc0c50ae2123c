//! The answers of an HTTP/1.1 server, as far as a load test needs them: where each ends, and its status.

/// Bytes of a head beyond which it is taken for none.
const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// An answer that has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection may carry the next request.
    pub(crate) keeps: bool,
}

/// What came back is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads one answer from bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The beginning of a head that did not come in one piece.
    head: Vec<u8>,
    state: State,
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are still to come.
    Counted(u64),
    /// The body ends with the connection.
    UntilClose,
    /// Hexadecimal digits of a chunk's size, so far this value.
    Size(u64, Digits),
    /// The rest of the line with the size.
    Extension(u64),
    /// The bytes of a chunk, and the line's end after them.
    Chunk(u64),
    /// Lines after the last chunk; so many bytes of the present one.
    Trailer(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    None,
    Some,
}

impl Parser {
    /// Takes bytes; gives the answer once it is whole. Bytes after its end are a mistake: nothing else was
    /// asked for.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        if self.state != State::Head {
            return self.body(bytes);
        }
        if self.head.is_empty() {
            return match self.parse(bytes)? {
                Some(taken) => self.body(&bytes[taken..]),
                None => {
                    self.head.extend_from_slice(bytes);
                    Ok(None)
                }
            };
        }
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(bytes);
        match self.parse(&head)? {
            Some(taken) => self.body(&head[taken..]),
            None => {
                self.head = head;
                Ok(None)
            }
        }
    }

    /// The connection was closed. For some answers that is their end.
    pub(crate) fn closed(&mut self) -> Option<Answer> {
        let answer = self.answer?;
        (self.state == State::UntilClose).then(|| self.finish(answer))
    }

    /// Whether any byte of an answer has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.state != State::Head || !self.head.is_empty()
    }

    fn finish(&mut self, answer: Answer) -> Answer {
        self.state = State::Head;
        self.answer = None;
        answer
    }

    /// Reads the head; gives its length if it is whole. Answers such as `100 Continue`, after which the
    /// true one comes, are passed over.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut passed = 0;
        loop {
            let rest = &bytes[passed..];
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let taken = match head.parse(rest) {
                Ok(httparse::Status::Complete(taken)) => taken,
                Ok(httparse::Status::Partial) if bytes.len() > LONGEST_HEAD => {
                    return Err(Malformed("a head of more than 64 KiB"));
                }
                // What was passed over is read again with the rest; it is seldom and short.
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err(Malformed("no HTTP/1.1 head")),
            };
            passed += taken;
            let status = head.code.unwrap_or(0);
            if status == 101 {
                return Err(Malformed("another protocol, which was not asked for"));
            }
            if (100..200).contains(&status) {
                continue;
            }
            self.begin(status, &head)?;
            return Ok(Some(passed));
        }
    }

    /// How the body ends (RFC 9112, section 6.3).
    fn begin(&mut self, status: u16, head: &httparse::Response<'_, '_>) -> Result<(), Malformed> {
        let mut length = None;
        let mut chunked = false;
        let mut keeps = head.version == Some(1);
        for header in head.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let value = header.value.trim_ascii();
            if is("content-length") {
                let digits = std::str::from_utf8(value).ok();
                let number = digits.and_then(|digits| digits.parse::<u64>().ok());
                length = Some(number.ok_or(Malformed("a content-length that is no number"))?);
            } else if is("transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with(b"chunked");
            } else if is("connection") {
                let value = value.to_ascii_lowercase();
                let mut words = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
                if words.clone().any(|word| word == b"close") {
                    keeps = false;
                } else if words.any(|word| word == b"keep-alive") {
                    keeps = true;
                }
            }
        }
        self.state = match length {
            _ if status == 204 || status == 304 => State::Counted(0),
            _ if chunked => State::Size(0, Digits::None),
            Some(length) => State::Counted(length),
            None => State::UntilClose,
        };
        keeps &= self.state != State::UntilClose;
        self.answer = Some(Answer { status, keeps });
        Ok(())
    }

    fn body(&mut self, mut bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        loop {
            match self.state {
                State::Counted(left) => {
                    return match left.checked_sub(bytes.len() as u64) {
                        Some(0) => Ok(self.answer.map(|answer| self.finish(answer))),
                        Some(left) => {
                            self.state = State::Counted(left);
                            Ok(None)
                        }
                        None => Err(Malformed("more than the answer")),
                    };
                }
                State::UntilClose => return Ok(None),
                State::Chunk(left) => {
                    let here = left.min(bytes.len() as u64);
                    bytes = &bytes[here as usize..];
                    if here < left {
                        self.state = State::Chunk(left - here);
                        return Ok(None);
                    }
                    self.state = State::Size(0, Digits::None);
                    continue;
                }
                _ => {}
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return Ok(None);
            };
            bytes = rest;
            match self.line(byte)? {
                Line::Goes => {}
                Line::EndsAll => {
                    if !bytes.is_empty() {
                        return Err(Malformed("more than the answer"));
                    }
                    return Ok(self.answer.map(|answer| self.finish(answer)));
                }
            }
        }
    }

    /// One byte of the lines around chunks.
    fn line(&mut self, byte: u8) -> Result<Line, Malformed> {
        self.state = match (self.state, byte) {
            (State::Size(size, _), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit));
                State::Size(size.ok_or(Malformed("a chunk too long"))?, Digits::Some)
            }
            (State::Size(0, Digits::Some) | State::Extension(0), b'\n') => State::Trailer(0),
            // The two bytes after the chunk belong to it.
            (State::Size(size, Digits::Some) | State::Extension(size), b'\n') => {
                State::Chunk(size.saturating_add(2))
            }
            (State::Size(size, Digits::Some), b'\r' | b';' | b' ' | b'\t') => {
                State::Extension(size)
            }
            (State::Extension(size), _) => State::Extension(size),
            (State::Trailer(0), b'\n') => return Ok(Line::EndsAll),
            (State::Trailer(_), b'\n') => State::Trailer(0),
            (State::Trailer(length), b'\r') => State::Trailer(length),
            (State::Trailer(length), _) if length < LONGEST_HEAD => State::Trailer(length + 1),
            _ => return Err(Malformed("a chunk without its size")),
        };
        Ok(Line::Goes)
    }
}

enum Line {
    Goes,
    EndsAll,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWERS: &[(&str, u16, bool)] = &[
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            true,
        ),
        (
            "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            429,
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, true),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
            200,
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, false),
        (
            "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na",
            200,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1A;x=y\r\n\
             abcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            200,
            true,
        ),
        (
            "HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\nA: b\r\nC: d\r\n\r\n",
            500,
            true,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            200,
            true,
        ),
    ];

    proptest! {
        /// An answer that comes in pieces would hang, or be counted twice.
        #[test]
        fn answers_end_where_they_end_however_they_are_cut(
            which in 0..ANSWERS.len(),
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let (text, status, keeps) = ANSWERS[which];
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            // Twice: the same parser reads all answers of a connection.
            for _ in 0..2 {
                let mut found = None;
                for piece in cuts.windows(2) {
                    prop_assert_eq!(found, None, "before its end");
                    found = parser.feed(&text.as_bytes()[piece[0]..piece[1]]).unwrap();
                }
                prop_assert_eq!(found, Some(Answer { status, keeps }));
                prop_assert!(!parser.has_begun());
            }
        }

        /// Whatever a server sends must not be a crash of the load test.
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut parser = Parser::default();
            let _ = parser.feed(&bytes);
            let mut parser = Parser::default();
            if parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok() {
                let _ = parser.feed(&bytes);
            }
        }
    }

    /// Half an answer would count as one.
    #[test]
    fn a_closed_connection_ends_only_what_has_no_other_end() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"HTTP/1.1 200 OK\r\n\r\nsome"), Ok(None));
        let answer = parser.closed();
        assert_eq!(
            answer.map(|answer| (answer.status, answer.keeps)),
            Some((200, false))
        );
        assert_eq!(
            parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome"),
            Ok(None)
        );
        assert_eq!(parser.closed(), None);
        assert_eq!(Parser::default().closed(), None);
    }

    /// The next request's answer would be taken for this one's rest, and all figures be off by one.
    #[test]
    fn what_was_not_asked_for_is_an_error() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(Parser::default().feed(text.as_bytes()).is_err(), "{text}");
        }
    }
}
