//! Chunks of a source for threads that must not wait for ever.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use data::{Chunk, DataError, Source};

use crate::interrupt::Interrupt;

/// How often Ctrl-C is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The chunks of a source. Standard input and pipes may never bring another one: they are read on a thread
/// that nobody has to wait for.
pub(super) enum Chunks {
    Here(Box<Source>),
    Elsewhere(Receiver<Result<Chunk, DataError>>),
}

impl Chunks {
    pub(super) fn of(source: Source) -> Self {
        if source.is_repeatable() {
            return Chunks::Here(Box::new(source));
        }
        let (found, chunks) = sync_channel(1);
        std::thread::spawn(move || {
            for chunk in source {
                if found.send(chunk).is_err() {
                    break;
                }
            }
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
                Ok(chunk) => return Ok(Some(chunk?)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if interrupt.came() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
