//! Directories: of models, of the hub's cache, of kept answers.

use std::path::{Path, PathBuf};

use catalogue::Environment;

use super::Finding;
use crate::args::ByteSize;
use crate::models;

/// Room for the largest model of the catalogue, twice: it is unpacked beside its archive.
const LITTLE_SPACE: u64 = 1 << 30;

pub(super) fn findings(environment: &Environment, cache_dir: Option<&Path>) -> Vec<Finding> {
    let home = "set HOME, or BATCHWRIGHT_HOME to a directory for models";
    let models = match &environment.models_dir {
        Some(path) => directory("models", path, "set BATCHWRIGHT_HOME to another directory"),
        None => Finding::warn("models", "no home directory is known", home),
    };
    let hub = match &environment.hub_cache {
        Some(path) => directory("hub cache", path, "set HF_HOME to another directory"),
        None => Finding::warn("hub cache", "no home directory is known", home),
    };
    let answers = match cache_dir {
        Some(path) => directory("answer cache", path, "give another --cache-dir"),
        None => Finding::ok(
            "answer cache",
            "in memory; --cache-dir DIR keeps answers for later jobs",
        ),
    };
    vec![models, hub, catalogue_models(), answers]
}

fn catalogue_models() -> Finding {
    let here: Vec<&str> = catalogue::entries()
        .iter()
        .filter(|entry| models::is_here(entry))
        .map(|entry| entry.name)
        .collect();
    let total = catalogue::entries().len();
    match here.as_slice() {
        [] => Finding::ok(
            "models here",
            format!("none of {total}; one is fetched when first used"),
        ),
        here => Finding::ok(
            "models here",
            format!("{} of {total}: {}", here.len(), here.join(", ")),
        ),
    }
}

/// Whether a directory can be written to, or made, and has room.
fn directory(name: &'static str, path: &Path, elsewhere: &str) -> Finding {
    // The last of a relative path's ancestors is empty: where we are.
    let mut ancestors = path.ancestors().map(|ancestor| {
        if ancestor.as_os_str().is_empty() {
            Path::new(".")
        } else {
            ancestor
        }
    });
    let Some(existing) = ancestors.find(|ancestor| ancestor.exists()) else {
        return Finding::warn(
            name,
            format!("{}: cannot be made", path.display()),
            elsewhere,
        );
    };
    if !existing.is_dir() {
        let found = format!("{}: {} is no directory", path.display(), existing.display());
        return Finding::warn(name, found, elsewhere);
    }
    if let Err(error) = try_writing(existing) {
        let found = format!("{}: cannot be written: {error}", path.display());
        return Finding::warn(name, found, elsewhere);
    }
    let new = if existing == path {
        ""
    } else {
        " (made when first used)"
    };
    match free_bytes(existing) {
        Some(free) => {
            let found = format!("{}{new}, {} free", path.display(), ByteSize(free));
            if free < LITTLE_SPACE {
                Finding::warn(name, found, format!("make room, or {elsewhere}"))
            } else {
                Finding::ok(name, found)
            }
        }
        None => Finding::ok(name, format!("{}{new}", path.display())),
    }
}

/// Permissions alone do not tell: the file system may be read-only, or the user root.
fn try_writing(directory: &Path) -> std::io::Result<()> {
    let probe: PathBuf = directory.join(format!(".batchwright-doctor-{}", std::process::id()));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)?;
    std::fs::remove_file(&probe)
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> Option<u64> {
    let facts = rustix::fs::statvfs(path).ok()?;
    Some(facts.f_bavail * facts.f_frsize)
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    /// A model would be fetched for minutes and then find no place.
    #[test]
    fn a_place_that_cannot_be_used_is_told() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        std::fs::write(&file, "").unwrap();
        let cases = [
            (home.path().to_path_buf(), State::Ok, "free"),
            (home.path().join("a/b"), State::Ok, "(made when first used)"),
            ("no/such".into(), State::Ok, "(made when first used)"),
            (file.join("models"), State::Warn, "is no directory"),
            ("/proc/models".into(), State::Warn, "cannot be written"),
        ];
        for (path, state, words) in cases {
            let finding = directory("models", &path, "elsewhere");
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
        }
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "the doctor leaves nothing behind");
    }
}
