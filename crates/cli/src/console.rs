//! Words on standard error and reports on standard output.
//!
//! Standard output carries data alone. Words go to standard error; where a progress bar is drawn
//! there, they are put above it.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};

/// Where words go. Clones speak with one voice.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    voice: Voice,
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Errors alone.
    Quiet,
    /// Words and progress lines; standard error is a file or a pipe.
    Lines,
    /// Words and a bar; standard error is a terminal.
    Bar,
}

impl Console {
    /// Says errors alone.
    pub(crate) fn quiet() -> Self {
        Self::with(Voice::Quiet)
    }

    /// Says everything, in the form that suits standard error.
    pub(crate) fn talking() -> Self {
        Self::with(if stderr().is_terminal() {
            Voice::Bar
        } else {
            Voice::Lines
        })
    }

    fn with(voice: Voice) -> Self {
        Self {
            voice,
            bar: Arc::default(),
        }
    }

    pub(crate) fn voice(&self) -> Voice {
        self.voice
    }

    /// Says something worth a line, unless asked to be quiet.
    pub(crate) fn say(&self, words: impl Display) {
        if self.voice != Voice::Quiet {
            self.put(&words);
        }
    }

    /// Says what is wrong, always.
    pub(crate) fn complain(&self, words: impl Display) {
        self.put(&words);
    }

    fn put(&self, words: &dyn Display) {
        // If standard error is closed there is nobody to tell.
        let write = || drop(writeln!(stderr(), "{words}"));
        match &*self.bar() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Writes a report to a file and says so.
    pub(crate) fn write(&self, path: &Path, content: &str) -> anyhow::Result<()> {
        std::fs::write(path, content)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        self.say(format_args!("written: {}", path.display()));
        Ok(())
    }

    /// Draws `bar` on standard error if that is a terminal, until [`lower`](Self::lower); else it stays
    /// hidden.
    pub(crate) fn raise(&self, bar: ProgressBar) -> ProgressBar {
        bar.set_draw_target(match self.voice {
            Voice::Bar => ProgressDrawTarget::stderr(),
            Voice::Quiet | Voice::Lines => ProgressDrawTarget::hidden(),
        });
        *self.bar() = Some(bar.clone());
        bar
    }

    /// Takes the bar away.
    pub(crate) fn lower(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    There,
    Gone,
}

/// Prints a report to standard output. If its reader has gone, that is no error.
pub(crate) fn print(report: &str) -> anyhow::Result<()> {
    print_part(report).map(drop)
}

/// Prints a part of a report, and says whether more is of any use.
pub(crate) fn print_part(report: &str) -> anyhow::Result<Listener> {
    let mut out = stdout().lock();
    match out.write_all(report.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Listener::Gone),
        other => Ok(other.map(|()| Listener::There)?),
    }
}
