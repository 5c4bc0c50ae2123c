//! The directory of models that do not come from the hub: locks, temporary directories, and
//! putting a finished model in place.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::SourceError;
use crate::progress::FetchProgress;
use crate::sums::Receipts;

/// `~/.cache/batchwright/models`, or what the options say.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    pub(crate) fn new(root: PathBuf) -> Store {
        Store { root }
    }

    pub(crate) fn receipts(&self) -> Receipts {
        Receipts::new(self.root.join("receipts"))
    }

    /// Where a model of that name lies when it is there.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits until no other process fetches that name.
    pub(crate) fn lock(
        &self,
        name: &str,
        progress: &dyn FetchProgress,
    ) -> Result<Lock, SourceError> {
        Lock::take(
            &self.root.join("locks").join(format!("{name}.lock")),
            progress,
        )
    }

    /// An empty directory on the store's own file system, gone when dropped. Those that killed
    /// processes have left for the same name are removed; hence the lock.
    pub(crate) fn workbench(&self, name: &str, _lock: &Lock) -> Result<TempDir, SourceError> {
        std::fs::create_dir_all(&self.root).map_err(SourceError::disk(&self.root))?;
        let prefix = format!(".fetch-{name}-");
        for entry in std::fs::read_dir(&self.root)
            .map_err(SourceError::disk(&self.root))?
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // What cannot be removed is only litter.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&self.root)
            .map_err(SourceError::disk(&self.root))
    }

    /// Renames a finished directory from the workbench to its place: it is there whole or not at
    /// all. A damaged model that lies there already moves to the workbench and goes with it.
    pub(crate) fn put(
        &self,
        finished: &Path,
        name: &str,
        bench: &TempDir,
    ) -> Result<PathBuf, SourceError> {
        let place = self.place(name);
        if place.exists() {
            std::fs::rename(&place, bench.path().join("replaced"))
                .map_err(SourceError::disk(&place))?;
        }
        std::fs::rename(finished, &place).map_err(SourceError::disk(&place))?;
        sync_directory(&self.root);
        Ok(place)
    }
}

/// Asks the system to write a directory's entries. Best effort: some file systems cannot, and a
/// power cut then costs a download, not a wrong model.
pub(crate) fn sync_directory(directory: &Path) {
    if let Ok(handle) = File::open(directory) {
        let _ = handle.sync_all();
    }
}

/// A lock file, released when dropped and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(path: &Path, progress: &dyn FetchProgress) -> Result<Lock, SourceError> {
        let disk = || SourceError::disk(path);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(disk())?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(disk())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note("another process is fetching this model; waiting for it");
                file.lock().map_err(disk())?;
            }
            // A file system without locks (some network mounts): two fetches then do the work
            // twice, and renaming still leaves one whole model.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(disk()(error)),
        }
        Ok(Lock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;

    /// Killed downloads would fill the disk, one after the other.
    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().to_path_buf());
        let left = home.path().join(".fetch-m-killed");
        let other = home.path().join(".fetch-other-running");
        std::fs::create_dir_all(left.join("deep")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        let lock = store.lock("m", &NoProgress).unwrap();
        let bench = store.workbench("m", &lock).unwrap();
        assert!(!left.exists() && other.exists() && bench.path().exists());
    }

    /// A damaged model could never be repaired: its place would be taken.
    #[test]
    fn a_finished_model_replaces_a_damaged_one() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(home.path().to_path_buf());
        let lock = store.lock("m", &NoProgress).unwrap();
        for content in ["damaged", "whole"] {
            let bench = store.workbench("m", &lock).unwrap();
            let finished = bench.path().join("finished");
            std::fs::create_dir(&finished).unwrap();
            std::fs::write(finished.join("f"), content).unwrap();
            let place = store.put(&finished, "m", &bench).unwrap();
            assert_eq!(std::fs::read_to_string(place.join("f")).unwrap(), content);
        }
        let mut left: Vec<_> = std::fs::read_dir(home.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["locks", "m"]);
    }
}
