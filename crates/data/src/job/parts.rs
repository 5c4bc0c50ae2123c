//! The directory in which a job's parts lie until it is finished: its names, and its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::job::durable::{beside, remove};

/// `OUT.parts`, beside the output `OUT` so that the finished file can be renamed into place.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) directory: PathBuf,
}

impl Parts {
    pub(crate) fn of(output: &Path) -> Parts {
        Parts {
            directory: beside(output, ".parts"),
        }
    }

    /// What the job is.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.directory.join("manifest.json")
    }

    /// The complete shards, one a line.
    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.join("shards.jsonl")
    }

    /// Rows of the shard in hand.
    pub(crate) fn saved_rows(&self) -> PathBuf {
        self.directory.join("open.rows")
    }

    /// The output, joined but not yet in its place.
    pub(crate) fn joined(&self) -> PathBuf {
        self.directory.join("joined")
    }

    /// An array on its way: its rows so far.
    pub(crate) fn array(&self) -> PathBuf {
        self.directory.join("rows")
    }

    /// What is wrong with rows of an array.
    pub(crate) fn errors(&self) -> PathBuf {
        self.directory.join("errors.jsonl")
    }

    /// The file that belongs to the output, on its way to its place.
    pub(crate) fn companion(&self) -> PathBuf {
        self.directory.join("companion")
    }

    /// A complete shard.
    pub(crate) fn shard(&self, index: u64) -> PathBuf {
        self.directory.join(format!("{index:08}.part"))
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// Makes the directory if need be and keeps other processes out for as long as the returned
    /// file lives. A killed process's lock goes with it.
    pub(crate) fn lock(&self) -> Result<File, DataError> {
        let path = self.lock_file();
        loop {
            fs::create_dir_all(&self.directory)
                .map_err(|error| DataError::writing(&self.directory, &error))?;
            let file = match OpenOptions::new().create(true).append(true).open(&path) {
                Ok(file) => file,
                // A process that finished has just removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(DataError::writing(&path, &error)),
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(DataError::Locked {
                        parts: self.directory.clone(),
                    });
                }
                // Some network file systems have no locks: better to work without than not at all.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(DataError::writing(&path, &error)),
            }
            if is_still(&file, &path) {
                return Ok(file);
            }
        }
    }

    /// Refuses a directory that holds anything but a job's parts, and what is no directory.
    ///
    /// For the beginning of a job, before anything is put there.
    pub(crate) fn refuse_foreign(&self) -> Result<(), DataError> {
        match self.directory.symlink_metadata() {
            Ok(_) if self.directory.is_dir() => {}
            Ok(_) => {
                return Err(DataError::ForeignParts {
                    parts: self.directory.clone(),
                    reason: "a job keeps its parts under this name, but it is no directory"
                        .to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(DataError::writing(&self.directory, &error)),
        }
        for name in self.names()? {
            if !is_ours(&name) {
                return Err(DataError::ForeignParts {
                    parts: self.directory.clone(),
                    reason: format!("it holds `{name}`, which is no part of a job"),
                });
            }
        }
        Ok(())
    }

    /// Removes every part, but not the lock.
    pub(crate) fn clear(&self) -> Result<(), DataError> {
        self.refuse_foreign()?;
        // The manifest goes first: parts without it are nobody's.
        remove(&self.manifest())?;
        for name in self.names()? {
            if name != "lock" {
                remove(&self.directory.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the parts of a finished job and, if nothing else is in it, the directory itself.
    ///
    /// The output and its record are in place: what cannot be removed, or is not ours (an editor's
    /// or a network file system's file), is only litter and no reason for the job to fail.
    pub(crate) fn tidy(&self) {
        for name in self.names().unwrap_or_default() {
            if is_ours(&name) && name != "lock" {
                let _ = remove(&self.directory.join(name));
            }
        }
        let _ = remove(&self.lock_file());
        let _ = fs::remove_dir(&self.directory);
    }

    fn names(&self) -> Result<Vec<String>, DataError> {
        let failed = |error: &io::Error| DataError::writing(&self.directory, error);
        let entries = fs::read_dir(&self.directory).map_err(|error| failed(&error))?;
        entries
            .map(|entry| match entry {
                Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
                Err(error) => Err(failed(&error)),
            })
            .collect()
    }
}

fn is_ours(name: &str) -> bool {
    let whole = name.strip_suffix(".tmp").unwrap_or(name);
    let number = whole.strip_suffix(".part");
    matches!(
        whole,
        "lock"
            | "manifest.json"
            | "shards.jsonl"
            | "open.rows"
            | "joined"
            | "rows"
            | "errors.jsonl"
            | "companion"
    ) || number.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether `path` still names the very file that was locked: another process may have removed it
/// between opening and locking.
fn is_still(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (file.metadata(), fs::metadata(path)) {
            (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two processes would write into one another's shards.
    #[test]
    fn one_job_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let parts = Parts::of(&directory.path().join("out.csv"));
        let first = parts.lock().unwrap();
        assert_eq!(
            parts.lock().unwrap_err(),
            DataError::Locked {
                parts: directory.path().join("out.csv.parts")
            }
        );
        drop(first);
        parts.lock().unwrap();
    }

    /// A user's own directory of that name would be emptied.
    #[test]
    fn foreign_files_are_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let parts = Parts::of(&directory.path().join("out.csv"));
        let _lock = parts.lock().unwrap();
        for name in ["manifest.json", "00000003.part", "00000004.part.tmp"] {
            fs::write(parts.directory.join(name), "x").unwrap();
        }
        parts.refuse_foreign().unwrap();
        fs::write(parts.directory.join("thesis.doc"), "x").unwrap();
        assert!(matches!(parts.clear(), Err(DataError::ForeignParts { .. })));
        assert!(parts.directory.join("00000003.part").exists());
        parts.tidy();
        assert_eq!(parts.names().unwrap(), ["thesis.doc"]);
        fs::remove_file(parts.directory.join("thesis.doc")).unwrap();
        parts.tidy();
        assert!(!parts.directory.exists());
    }
}
