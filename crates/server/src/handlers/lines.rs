//! The lines of a stream as they come in: every byte is counted among those in flight from its arrival on.

use std::time::{Duration, Instant};

use crate::permits::Held;
use crate::problem::{Code, Problem};

/// A line that is longer than this has to end in time; the beginning of another may wait in a client's buffer.
const LONG: usize = 1 << 20;

/// The line that is being read.
pub(super) struct Unfinished {
    bytes: Vec<u8>,
    held: Held,
    /// All of its bytes so far, those that are not kept as well.
    length: usize,
    /// Why it is not kept, if it is not for its length.
    refused: Option<Problem>,
    /// Since when the rest of a long one is waited for.
    since: Option<Instant>,
    most: usize,
}

/// A line that has ended.
pub(super) struct Finished {
    /// Or why there are none.
    pub(super) bytes: Result<Vec<u8>, Problem>,
    pub(super) held: Held,
}

impl Unfinished {
    /// Nothing yet, and `held` of nothing. No more than `most` bytes of a line are kept.
    pub(super) fn new(held: Held, most: usize) -> Self {
        Self {
            bytes: Vec::new(),
            held,
            length: 0,
            refused: None,
            since: None,
            most,
        }
    }

    /// Takes in more of it, unless there is no room among the bytes in flight. Of a line that is too long the rest is
    /// only measured.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let length = self.length + piece.len();
        if length > self.most {
            self.forget();
        } else if self.refused.is_none() {
            self.held.grow(piece.len())?;
            self.bytes.extend_from_slice(piece);
            if self.bytes.len() > LONG {
                self.since.get_or_insert_with(Instant::now);
            }
        }
        self.length = length;
        Ok(())
    }

    /// Keeps nothing of it.
    pub(super) fn refuse(&mut self, why: Problem) {
        self.refused = Some(why);
        self.forget();
    }

    fn forget(&mut self) {
        self.bytes = Vec::new();
        self.since = None;
        drop(self.held.split());
    }

    /// Its end has come.
    pub(super) fn end(&mut self) -> Finished {
        let (length, bytes) = (
            std::mem::take(&mut self.length),
            std::mem::take(&mut self.bytes),
        );
        self.since = None;
        Finished {
            bytes: match self.refused.take() {
                _ if length > self.most => Err(Problem::too_large(
                    "max_body_bytes",
                    length,
                    self.most,
                    "a line's bytes",
                )),
                Some(why) => Err(why),
                None => Ok(bytes),
            },
            held: self.held.split(),
        }
    }

    /// Whether anything of it is in memory.
    pub(super) fn is_kept(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// What has passed was not the client's doing.
    pub(super) fn begin_anew(&mut self) {
        self.since = self.since.map(|_| Instant::now());
    }

    /// Until a long line has had its time; for ever if it is none.
    pub(super) async fn late(&self, within: Duration) -> Problem {
        match self.since {
            Some(since) => tokio::time::sleep(within.saturating_sub(since.elapsed())).await,
            None => std::future::pending().await,
        }
        let words = format!(
            "a line of more than {LONG} bytes did not end within {} s; see --read-timeout-s",
            within.as_secs_f64()
        );
        Problem::new(Code::SlowRequest, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permits::Permits;

    /// What a client began and did not end would take memory that nobody counts, or be taken for a whole line.
    #[test]
    fn what_is_kept_is_counted_until_it_is_answered() {
        let permits = Permits::new("max_body_bytes_in_flight", 10);
        let mut line = Unfinished::new(permits.hold(0).unwrap(), 8);
        line.take(b"abc").unwrap();
        line.take(b"de\n").unwrap();
        assert_eq!((permits.held(), line.is_kept()), (6, true));
        let first = line.end();
        assert_eq!(first.bytes.as_deref().unwrap(), b"abcde\n");
        assert!(!line.is_kept());
        line.take(b"fghi").unwrap();
        let full = line.take(b"j").unwrap_err();
        assert_eq!((full.code, permits.held()), (Code::Overloaded, 10));
        // Refused, it gives its room to others, and is one line nevertheless.
        line.refuse(full);
        assert_eq!((permits.held(), line.is_kept()), (6, false));
        line.take(b"k\n").unwrap();
        let second = line.end();
        assert_eq!(second.bytes.unwrap_err().code, Code::Overloaded);
        drop(first.held);
        assert_eq!(permits.held(), 0);
        for _ in 0..3 {
            line.take(b"1234").unwrap();
        }
        assert_eq!(permits.held(), 0);
        let limit = line.end().bytes.unwrap_err().limit.unwrap();
        assert_eq!((limit.value, limit.most), (12, 8));
        line.take(b"1\n").unwrap();
        assert_eq!(line.end().bytes.unwrap(), b"1\n");
    }
}
