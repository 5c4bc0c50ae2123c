//! Chunks of a source for threads that must not wait for ever.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use data::{Chunk, DataError, InputSpec, Source};

use super::clock::{Clock, Stage};

/// How often Ctrl-C and faults are looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The chunks of a source, read on a thread that nobody has to wait for: standard input may never bring another
/// one, a row may be larger than can be passed over in a moment, and a disk be slow.
///
/// `None` is sent behind the last, so that a reader that broke off is not taken for the end.
pub(super) struct Chunks(Receiver<Result<Option<Timed>, DataError>>);

/// A chunk, and how long it took to read.
type Timed = (Chunk, Duration);

impl Chunks {
    /// The chunks behind the first `skipped` rows.
    pub(super) fn of(mut source: Source, skipped: u64) -> Self {
        Self::read(move || {
            source.skip_rows(skipped)?;
            Ok(source)
        })
    }

    /// All chunks of an input that is yet to be opened, which may take as long as reading it.
    pub(super) fn opening(spec: InputSpec) -> Self {
        Self::read(move || Source::open(&spec))
    }

    fn read(open: impl FnOnce() -> Result<Source, DataError> + Send + 'static) -> Self {
        // One chunk waits there beside those that are worked on.
        let (found, chunks) = sync_channel(0);
        std::thread::spawn(move || {
            let mut source = match open() {
                Ok(source) => source,
                // Nobody listens any more where the user has stopped it; so below.
                Err(error) => return drop(found.send(Err(error))),
            };
            loop {
                let started = Instant::now();
                let chunk = source.next();
                let time = started.elapsed();
                let ended = chunk.is_none();
                let chunk = chunk.transpose().map(|chunk| Some((chunk?, time)));
                if found.send(chunk).is_err() || ended {
                    return;
                }
            }
        });
        Chunks(chunks)
    }

    /// The next chunk; `None` at the end, and when all is over before.
    pub(super) fn next(
        &mut self,
        is_over: &dyn Fn() -> bool,
        clock: &Clock,
        stage: Stage,
    ) -> anyhow::Result<Option<Chunk>> {
        loop {
            match self.0.recv_timeout(BETWEEN_LOOKS) {
                Ok(found) => {
                    return Ok(found?.map(|(chunk, time)| {
                        clock.add(stage, time);
                        chunk
                    }));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the reader of the input ended before its last row; please report this")
                }
                Err(RecvTimeoutError::Timeout) if is_over() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of the rows would be published as all of them.
    #[test]
    fn a_reader_that_broke_off_is_an_error() {
        let clock = Clock::default();
        let (found, chunks) = sync_channel(1);
        found.send(Ok(None)).unwrap();
        let mut chunks = Chunks(chunks);
        let mut next = || chunks.next(&|| false, &clock, Stage::Read);
        assert!(next().unwrap().is_none());
        drop(found);
        let error = next().unwrap_err().to_string();
        assert!(error.contains("before its last row"), "{error}");
    }
}
