//! Ctrl-C and SIGTERM: the first finishes what is in hand, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;

use crate::console::Console;

/// Exit code of a job that was interrupted, as shells number it: 128 + SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// Whether the user wants the job to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Listens from now on. To be called once.
    pub(crate) fn listen(console: &Console) -> anyhow::Result<Self> {
        let words = "stopping: what is computed is being saved; Ctrl-C again ends at once";
        Self::listen_saying(console, words)
    }

    /// The same, with these words for the first signal.
    pub(crate) fn listen_saying(console: &Console, words: &'static str) -> anyhow::Result<Self> {
        let signals = Arc::new(AtomicUsize::new(0));
        let (counter, console) = (Arc::clone(&signals), console.clone());
        ctrlc::set_handler(move || match counter.fetch_add(1, Ordering::Relaxed) {
            0 => console.say(words),
            // Every shard is whole or absent, so there is nothing to tidy up.
            _ => std::process::exit(EXIT_CODE.into()),
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self(signals))
    }

    /// One that never comes.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }

    /// Whether a signal has come.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}
