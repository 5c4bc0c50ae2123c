//! Fetching over real sockets and real processes, against stand-ins for the hub and for pip.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what stands in for the hub fails a test by panicking, as the tests do"
)]

mod hub;
mod process;
mod stand_in;
#[cfg(unix)]
mod wheel;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use batchwright_catalogue::{
    Environment, FetchError, FetchProgress, Patience, ResolveOptions, SourceError,
};

/// A home of its own for one test: a store, a hub cache, and a hub at `endpoint`.
struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        Home {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn hub_cache(&self) -> PathBuf {
        self.directory.path().join("hub")
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("models")
    }

    fn options(&self, endpoint: &str) -> ResolveOptions {
        options(self.directory.path(), endpoint)
    }
}

/// Options that depend on nothing of the machine's environment.
fn options(home: &Path, endpoint: &str) -> ResolveOptions {
    let mut environment = Environment::from_variables(|_| None);
    environment.models_dir = Some(home.join("models"));
    environment.hub_cache = Some(home.join("hub"));
    environment.hub_endpoint = endpoint.to_owned();
    environment.pip = Vec::new();
    environment.patience = Patience {
        first_pause: Duration::from_millis(1),
        silence: Duration::from_secs(20),
        ..Patience::default()
    };
    ResolveOptions {
        environment,
        ..ResolveOptions::default()
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Recorder {
    begun: Mutex<Vec<(String, Option<u64>)>>,
    position: Mutex<u64>,
    notes: Mutex<Vec<String>>,
    open: Mutex<i32>,
}

impl FetchProgress for Recorder {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        self.begun
            .lock()
            .unwrap()
            .push((what.to_owned(), total_bytes));
        *self.open.lock().unwrap() += 1;
    }

    fn position(&self, done_bytes: u64) {
        *self.position.lock().unwrap() = done_bytes;
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }

    fn end(&self) {
        *self.open.lock().unwrap() -= 1;
    }
}

/// The reasons of [`FetchError::Unavailable`], in order.
fn reasons(error: FetchError) -> Vec<SourceError> {
    match error {
        FetchError::Unavailable { attempts, .. } => attempts
            .0
            .into_iter()
            .map(|attempt| attempt.error)
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// Every path under a directory that is no directory itself, relative, sorted.
fn files_under(directory: &Path) -> Vec<String> {
    fn walk(at: &Path, base: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                walk(&path, base, found);
            } else {
                found.push(
                    path.strip_prefix(base)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .replace('\\', "/"),
                );
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
