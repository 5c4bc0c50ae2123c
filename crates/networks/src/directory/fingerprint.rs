//! One hash over every file that determines the model's answers.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Large enough that hashing runs at the speed of the hash, small enough to stay in cache. Reading
/// and not mapping keeps the pages of the weights out of the process.
const CHUNK_BYTES: usize = 256 * 1024;

/// BLAKE3 over name, length and content of each file, in the order of their names. A file that is
/// not there counts as absent, so that adding an optional file changes the fingerprint.
pub(crate) fn fingerprint(root: &Path, files: &[PathBuf]) -> Result<[u8; 32], ModelError> {
    let mut files: Vec<&PathBuf> = files.iter().collect();
    files.sort();
    files.dedup();
    let mut hash = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    for file in files {
        let path = root.join(file);
        let unreadable = |error: io::Error| ModelError::Unreadable {
            path: path.clone(),
            message: error.to_string(),
        };
        let mut opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let bytes = opened.metadata().map_err(unreadable)?.len();
        // Lengths before contents: two lists of files never run into the same stream.
        let name = file.to_string_lossy().replace('\\', "/");
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update(&bytes.to_le_bytes());
        loop {
            match opened.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
        }
    }
    Ok(*hash.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache would answer for another model, or a job would continue with other weights.
    #[test]
    fn every_change_of_a_listed_file_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
        };
        let files = ["b.json".into(), "a.json".into(), "c.json".into()];
        let now = || fingerprint(folder.path(), &files).unwrap();
        write("a.json", "xy");
        write("b.json", "z");
        let first = now();
        assert_eq!(first, now());
        let mut reversed = files.clone();
        reversed.reverse();
        assert_eq!(first, fingerprint(folder.path(), &reversed).unwrap());
        write("unrelated.json", "1");
        assert_eq!(first, now());

        let mut seen = vec![first];
        for (name, content) in [("a.json", "x"), ("b.json", "yz"), ("c.json", "")] {
            write(name, content);
            let next = now();
            assert!(!seen.contains(&next), "{name} {content}");
            seen.push(next);
        }
    }
}
