//! SHA-256 of files, and the record of sums that were seen before.
//!
//! Hashing the weights of a large model takes a second; doing so at each start would be felt. So a
//! receipt is kept beside the models: for every file its length, its time of change and its sum. A
//! file whose length and time have not changed keeps its sum; any other is read again. This finds
//! damage and careless replacement. Against someone who can write to the model directory and sets
//! the clock back it proves nothing, and is not meant to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::SourceError;
use crate::table::FileSum;

/// SHA-256 of what `source` gives until its end, in lower-case hexadecimal.
pub(crate) fn sha256(mut source: impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => digest.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// SHA-256 of a file.
pub(crate) fn sha256_of(path: &Path) -> Result<String, SourceError> {
    File::open(path)
        .and_then(sha256)
        .map_err(SourceError::disk(path))
}

/// Compares a file with a sum on record. `name` is what the error calls it.
pub(crate) fn expect_sum(path: &Path, name: &str, expected: &str) -> Result<(), SourceError> {
    let found = sha256_of(path)?;
    if found == expected {
        return Ok(());
    }
    Err(SourceError::SumMismatch {
        file: name.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

/// What was seen of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    /// Time of change in nanoseconds since 1970.
    modified_ns: u64,
    sha256: String,
}

/// The sums of one model's files as they were when first used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    files: BTreeMap<String, Seen>,
}

/// The folder of receipts.
#[derive(Clone, Debug)]
pub(crate) struct Receipts {
    directory: PathBuf,
}

impl Receipts {
    pub(crate) fn new(directory: PathBuf) -> Receipts {
        Receipts { directory }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    /// Whether a model with that key was ever found whole.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.path(key).is_file()
    }

    /// An unreadable receipt counts as none: the files are then read again.
    fn load(&self, key: &str) -> Receipt {
        std::fs::read(self.path(key))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Sums on record for one file: the table's, else the receipt's.
    pub(crate) fn recorded(&self, key: &str, file: &str, table: &[FileSum]) -> Option<String> {
        let listed = table
            .iter()
            .find(|sum| sum.path == file)
            .map(|sum| sum.sha256.to_owned());
        listed.or_else(|| self.load(key).files.remove(file).map(|seen| seen.sha256))
    }

    /// Checks `files` under `root` against the table and against what was seen at first use, and
    /// records what is new. Files of the table and of the receipt must all be there.
    pub(crate) fn check(
        &self,
        key: &str,
        root: &Path,
        files: &[String],
        table: &[FileSum],
    ) -> Result<(), SourceError> {
        let before = self.load(key);
        let promised = table
            .iter()
            .map(|sum| sum.path)
            .chain(before.files.keys().map(|f| &**f));
        for file in promised {
            if !files.iter().any(|present| present == file) {
                return Err(SourceError::Incomplete {
                    missing: file.to_owned(),
                    hint: "",
                });
            }
        }
        let mut after = Receipt::default();
        for file in files {
            let path = root.join(file);
            let seen = before.files.get(file);
            let (bytes, modified_ns) = stat(&path).map_err(SourceError::disk(&path))?;
            let found = match seen {
                Some(seen) if seen.bytes == bytes && seen.modified_ns == modified_ns => {
                    seen.sha256.clone()
                }
                _ => sha256_of(&path)?,
            };
            let listed = table
                .iter()
                .find(|sum| sum.path == file)
                .map(|sum| sum.sha256);
            if let Some(expected) = listed.or(seen.map(|seen| &*seen.sha256))
                && expected != found
            {
                return Err(SourceError::SumMismatch {
                    file: file.clone(),
                    expected: expected.to_owned(),
                    found,
                });
            }
            after.files.insert(
                file.clone(),
                Seen {
                    bytes,
                    modified_ns,
                    sha256: found,
                },
            );
        }
        if after != before {
            // A store that cannot be written (an image baked read-only) costs a reading of the
            // files at every start, not the model.
            let _ = self.save(key, &after);
        }
        Ok(())
    }

    fn save(&self, key: &str, receipt: &Receipt) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let text = serde_json::to_vec_pretty(receipt).map_err(io::Error::other)?;
        write_whole(&self.path(key), &text)
    }
}

/// Length and time of change, following links.
fn stat(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    let modified = metadata
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok((
        metadata.len(),
        u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
    ))
}

/// Writes a small file so that a reader sees the old content or the new, never a part.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|&file| file.to_owned()).collect()
    }

    /// A wrong digest would refuse every good model or accept every bad one (FIPS 180-4, B.1).
    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(sha256(&b"abc"[..]).unwrap(), ABC);
        assert_eq!(&sha256(io::empty()).unwrap()[..8], "e3b0c442");
    }

    /// Replaced weights would give other answers under the same name, without a word.
    #[test]
    fn a_model_trusted_on_first_use_must_stay_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("model");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a"), "abc").unwrap();
        std::fs::write(root.join("b"), "one").unwrap();
        let receipts = Receipts::new(home.path().join("receipts"));
        let files = names(&["a", "b"]);
        assert!(!receipts.has("m"));
        receipts.check("m", &root, &files, &[]).unwrap();
        assert!(receipts.has("m"));
        receipts.check("m", &root, &files, &[]).unwrap();
        assert_eq!(receipts.recorded("m", "a", &[]).as_deref(), Some(ABC));

        std::fs::write(root.join("b"), "other").unwrap();
        let error = receipts.check("m", &root, &files, &[]).unwrap_err();
        assert!(
            matches!(&error, SourceError::SumMismatch { file, .. } if file == "b"),
            "{error}"
        );
        let error = receipts.check("m", &root, &names(&["a"]), &[]).unwrap_err();
        assert_eq!(
            error,
            SourceError::Incomplete {
                missing: "b".into(),
                hint: ""
            }
        );
    }

    /// A damaged file would be used although its sum is on record in the table.
    #[test]
    fn the_table_s_sums_are_checked_even_against_a_receipt() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), "abd").unwrap();
        let receipts = Receipts::new(home.path().join("receipts"));
        let files = names(&["a"]);
        receipts.check("m", home.path(), &files, &[]).unwrap();
        let table = [FileSum {
            path: "a",
            bytes: 3,
            sha256: ABC,
        }];
        assert!(receipts.check("m", home.path(), &files, &table).is_err());
        std::fs::write(home.path().join("a"), "abc").unwrap();
        receipts
            .check("other", home.path(), &files, &table)
            .unwrap();
        let more = [
            table[0],
            FileSum {
                path: "z",
                bytes: 1,
                sha256: ABC,
            },
        ];
        assert!(receipts.check("third", home.path(), &files, &more).is_err());
    }

    /// A truncated receipt (power cut, full disk) would lock the user out of a good model.
    #[test]
    fn a_broken_receipt_is_written_anew() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("a"), "abc").unwrap();
        std::fs::write(home.path().join("m.json"), "{\"files\":").unwrap();
        let receipts = Receipts::new(home.path().to_path_buf());
        receipts
            .check("m", home.path(), &names(&["a"]), &[])
            .unwrap();
        assert_eq!(receipts.recorded("m", "a", &[]).as_deref(), Some(ABC));
    }
}
