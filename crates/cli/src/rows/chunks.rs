//! Chunks of a source for threads that must not wait for ever.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::bail;
use data::{Chunk, DataError, Source};

use crate::interrupt::Interrupt;

/// How often Ctrl-C is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The chunks of a source. Standard input and pipes may never bring another one: they are read on a thread
/// that nobody has to wait for.
pub(super) enum Chunks {
    Here(Box<Source>),
    /// `None` is sent behind the last, so that a reader that broke off is not taken for the end.
    Elsewhere(Receiver<Result<Option<Chunk>, DataError>>),
}

impl Chunks {
    pub(super) fn of(source: Source) -> Self {
        if source.is_repeatable() {
            return Chunks::Here(Box::new(source));
        }
        let (found, chunks) = sync_channel(1);
        std::thread::spawn(move || {
            for chunk in source {
                if found.send(chunk.map(Some)).is_err() {
                    return;
                }
            }
            // Nobody listens any more where the user has stopped it.
            let _ = found.send(Ok(None));
        });
        Chunks::Elsewhere(chunks)
    }

    /// The next chunk; `None` at the end, and when the user wants to stop.
    pub(super) fn next(&mut self, interrupt: &Interrupt) -> anyhow::Result<Option<Chunk>> {
        let chunks = match self {
            Chunks::Here(source) => return Ok(source.next().transpose()?),
            Chunks::Elsewhere(chunks) => chunks,
        };
        loop {
            match chunks.recv_timeout(BETWEEN_LOOKS) {
                Ok(chunk) => return Ok(chunk?),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the reader of the input ended before its last row; please report this")
                }
                Err(RecvTimeoutError::Timeout) if interrupt.came() => return Ok(None),
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
        let interrupt = Interrupt::never();
        let (found, chunks) = sync_channel(1);
        found.send(Ok(None)).unwrap();
        let mut chunks = Chunks::Elsewhere(chunks);
        assert!(chunks.next(&interrupt).unwrap().is_none());
        drop(found);
        let error = chunks.next(&interrupt).unwrap_err().to_string();
        assert!(error.contains("before its last row"), "{error}");
    }
}
