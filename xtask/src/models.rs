//! The models that the tests use.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use catalogue::{FetchProgress, ResolveOptions};

/// Fetches all-MiniLM-L6-v2 to its normal place, unless it is there. Gives the directory.
pub(crate) fn minilm() -> Result<PathBuf> {
    let model = catalogue::resolve(
        "all-MiniLM-L6-v2",
        &ResolveOptions::default(),
        &Lines::default(),
    )?;
    eprintln!(
        "all-MiniLM-L6-v2: {} ({})",
        model.directory.display(),
        model.source
    );
    Ok(model.directory)
}

/// A line every two seconds: readable in a log, where a bar is not.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total_bytes: Option<u64>,
    last_line: Option<Instant>,
}

const BETWEEN: Duration = Duration::from_secs(2);

impl FetchProgress for Lines {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        eprintln!("fetching {what}");
        if let Ok(mut state) = self.state.lock() {
            *state = State {
                total_bytes,
                last_line: Some(Instant::now()),
            };
        }
    }

    fn position(&self, done_bytes: u64) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if state.last_line.is_some_and(|last| last.elapsed() < BETWEEN) {
            return;
        }
        state.last_line = Some(Instant::now());
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        match state.total_bytes {
            Some(total) => eprintln!(
                "  {:.1} of {:.1} MB",
                megabytes(done_bytes),
                megabytes(total)
            ),
            None => eprintln!("  {:.1} MB", megabytes(done_bytes)),
        }
    }

    fn note(&self, message: &str) {
        eprintln!("  {message}");
    }
}
