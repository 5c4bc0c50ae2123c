//! A directory under construction, which appears at its place whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{MANIFEST, QuantizeError};

/// What to do if something is where the directory should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfThere {
    /// Leave it alone, and say so.
    #[default]
    Refuse,
    /// Replace it, if it is a quantised directory too. Anything else is never removed.
    Replace,
}

/// A quantised directory that is written and not yet at its place; it can be loaded from
/// [`Staged::path`]. Dropped, it is removed, and nothing is left of it.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    target: PathBuf,
    if_there: IfThere,
}

impl Staged {
    /// Makes an empty directory beside `target`, so that it can be renamed.
    pub(super) fn new(target: &Path, if_there: IfThere) -> Result<Staged, QuantizeError> {
        check_target(target, if_there)?;
        let unnamed = || QuantizeError::Unwritable {
            path: target.to_owned(),
            message: "this names no directory that could be made".to_owned(),
        };
        let name = target.file_name().ok_or_else(unnamed)?.to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
        }
        fs::create_dir(&path).map_err(|error| unwritable(&path, &error))?;
        Ok(Staged {
            path,
            target: target.to_owned(),
            if_there,
        })
    }

    /// Where it is until it is placed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is to be.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Bytes of all its files.
    ///
    /// # Errors
    /// If they cannot be looked at.
    pub fn bytes(&self) -> Result<u64, QuantizeError> {
        fn bytes(folder: &Path) -> io::Result<u64> {
            let mut sum = 0;
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let facts = entry.metadata()?;
                sum += if facts.is_dir() {
                    bytes(&entry.path())?
                } else {
                    facts.len()
                };
            }
            Ok(sum)
        }
        bytes(&self.path).map_err(|error| unwritable(&self.path, &error))
    }

    /// Brings it to its place.
    ///
    /// # Errors
    /// If something has come there meanwhile, or the system refuses. Then all is as it was before.
    pub fn place(self) -> Result<(), QuantizeError> {
        check_target(&self.target, self.if_there)?;
        let refused = |error: io::Error| unwritable(&self.target, &error);
        // A directory cannot be renamed onto a full one: the old one steps aside first.
        let aside = self.path.with_extension("replaced");
        let replaces = self.target.exists();
        if replaces {
            fs::rename(&self.target, &aside).map_err(refused)?;
        }
        if let Err(error) = fs::rename(&self.path, &self.target) {
            if replaces {
                // The one that was there is better than none; if this fails too, it keeps its other name.
                drop(fs::rename(&aside, &self.target));
            }
            return Err(refused(error));
        }
        if let Some(parent) = self.target.parent() {
            sync(parent);
        }
        if replaces {
            fs::remove_dir_all(&aside).map_err(|error| unwritable(&aside, &error))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Where it has been placed, there is nothing here any more.
        drop(fs::remove_dir_all(&self.path));
    }
}

fn check_target(target: &Path, if_there: IfThere) -> Result<(), QuantizeError> {
    // A link that leads nowhere is something too.
    if target.symlink_metadata().is_err() {
        return Ok(());
    }
    let path = target.to_owned();
    match if_there {
        IfThere::Refuse => Err(QuantizeError::Exists { path }),
        IfThere::Replace if target.join(MANIFEST).is_file() => Ok(()),
        IfThere::Replace => Err(QuantizeError::NotOurs { path }),
    }
}

/// Brings a directory's entries to the disk. Only what a power cut leaves is at stake, and some systems
/// cannot do it: a refusal is ignored.
pub(super) fn sync(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if let Ok(opened) = File::open(folder) {
        drop(opened.sync_all());
    }
}

pub(super) fn unwritable(path: &Path, error: &io::Error) -> QuantizeError {
    QuantizeError::Unwritable {
        path: path.to_owned(),
        message: error.to_string(),
    }
}
