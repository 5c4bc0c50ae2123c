//! From what was typed to the files to read: names, formats, fingerprints.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::pattern::{is_pattern, matching};
use crate::{DataError, Format};

/// One thing to read.
#[derive(Clone, Debug)]
pub(crate) struct InputFile {
    /// As it was named, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) origin: Origin,
    /// Bytes on disk, packed as they are; 0 for what is no regular file.
    pub(crate) bytes: u64,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A regular file, which can be read again.
    File(PathBuf),
    /// A pipe or device with a name: can be read once.
    Pipe(PathBuf),
    /// Standard input: can be read once.
    Stdin,
}

impl InputFile {
    /// Whether the bytes can be read a second time.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    /// The path, unless this is standard input.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) | Origin::Pipe(path) => Some(path),
            Origin::Stdin => None,
        }
    }
}

/// Finds every file that `paths` name.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<Vec<InputFile>, DataError> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            files.push(InputFile {
                name: "standard input".into(),
                origin: Origin::Stdin,
                bytes: 0,
            });
        } else if let Some(pattern) = path.to_str().filter(|path| is_pattern(path))
            && !path.exists()
        {
            for found in matching(pattern)? {
                files.push(named(&found)?);
            }
        } else {
            files.push(named(path)?);
        }
    }
    if files.is_empty() {
        return Err(DataError::NoInput);
    }
    if files
        .iter()
        .filter(|file| file.origin == Origin::Stdin)
        .count()
        > 1
    {
        return Err(DataError::UnreadableFormat {
            path: "-".to_owned(),
            reason: "standard input is named twice, but can be read only once".to_owned(),
        });
    }
    Ok(files)
}

fn named(path: &Path) -> Result<InputFile, DataError> {
    // Messages and rows are text: a name that is none is shown as well as can be.
    let name: Arc<str> = path.to_string_lossy().into();
    let facts = fs::metadata(path).map_err(|e| DataError::opening(&name, &e))?;
    if facts.is_dir() {
        return Err(DataError::Open {
            path: name.to_string(),
            reason: format!("it is a directory; name its files, such as '{name}/*.csv'"),
        });
    }
    let origin = if facts.is_file() {
        Origin::File(path.into())
    } else {
        Origin::Pipe(path.into())
    };
    let bytes = if facts.is_file() { facts.len() } else { 0 };
    Ok(InputFile {
        name,
        origin,
        bytes,
    })
}

/// The one format of all `files`; `None` where only the first bytes of a stream can tell.
pub(crate) fn agree_on_format(
    files: &[InputFile],
    said: Option<Format>,
) -> Result<Option<Format>, DataError> {
    if said.is_some() {
        return Ok(said);
    }
    let mut agreed: Option<(&InputFile, Format)> = None;
    for file in files {
        let found = file.path().and_then(Format::of_path);
        let format = match (found, file.is_repeatable()) {
            (Some(format), _) => format,
            (None, false) => continue,
            (None, true) => {
                return Err(DataError::UnknownInputFormat {
                    path: file.name.to_string(),
                    known: Format::known_extensions(),
                });
            }
        };
        match agreed {
            Some((first, other)) if other != format => {
                return Err(DataError::MixedFormats {
                    first: first.name.to_string(),
                    first_format: other.to_string(),
                    other: file.name.to_string(),
                    other_format: format.to_string(),
                });
            }
            _ => agreed = Some((file, format)),
        }
    }
    Ok(agreed.map(|(_, format)| format))
}

/// A hash of the contents of all files in their order, or `None` where one cannot be read twice.
///
/// Names do not count: moved files are the same input. `stop` is asked after each MiB.
pub(crate) fn fingerprint(
    files: &[InputFile],
    stop: &dyn Fn() -> bool,
) -> Result<Option<String>, DataError> {
    let mut whole = blake3::Hasher::new();
    // So little that it is still in a core's cache when it is hashed.
    let mut block = vec![0; 128 << 10];
    for file in files {
        let Origin::File(path) = &file.origin else {
            return Ok(None);
        };
        let failed = |error: &std::io::Error| DataError::opening(&file.name, error);
        let mut reader = File::open(path).map_err(|e| failed(&e))?;
        let mut hasher = blake3::Hasher::new();
        loop {
            let read = reader.read(&mut block).map_err(|e| failed(&e))?;
            if read == 0 {
                break;
            }
            hasher.update(&block[..read]);
            if stop() {
                return Err(DataError::Stopped);
            }
        }
        // Each file's own hash goes in, so that moving bytes from one file to the next shows.
        whole.update(hasher.finalize().as_bytes());
    }
    Ok(Some(whole.finalize().to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, content: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A file whose very name holds a bracket could not be read.
    #[test]
    fn a_literal_name_wins_over_a_pattern() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), "a[1].csv", "text\n");
        let found = expand(std::slice::from_ref(&path)).unwrap();
        assert_eq!(found[0].path(), Some(path.as_path()));
    }

    /// A user would get a message without a remedy, or none.
    #[test]
    fn what_cannot_be_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap().to_owned();
        let csv = write(directory.path(), "a.csv", "");
        let jsonl = write(directory.path(), "a.jsonl", "");
        let odd = write(directory.path(), "a.xyz", "");
        let cases: [(&[&str], &str); 4] = [
            (&[], "no input was given"),
            (&["-", "-"], "can be read only once"),
            (&[&root], "it is a directory; name its files"),
            (&["no/such/file.csv"], "there is no such file"),
        ];
        for (paths, words) in cases {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let message = expand(&paths).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        let mixed = expand(&[csv.clone(), jsonl]).unwrap();
        assert!(matches!(
            agree_on_format(&mixed, None),
            Err(DataError::MixedFormats { .. })
        ));
        assert_eq!(
            agree_on_format(&mixed, Some(Format::Lines)),
            Ok(Some(Format::Lines))
        );
        let unknown = expand(&[csv, odd]).unwrap();
        let message = agree_on_format(&unknown, None).unwrap_err().to_string();
        assert!(
            message.contains(".ndjson") && message.contains("--input-format"),
            "{message}"
        );
    }

    /// A changed or reordered input would be continued as if it were the same.
    #[test]
    fn fingerprints_see_content_and_order_but_not_names() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let a = write(root, "a", "one\ntwo\n");
        let b = write(root, "b", "three\n");
        let copy = write(root, "c", "one\ntwo\n");
        let moved = [write(root, "d", "one\n"), write(root, "e", "two\nthree\n")];
        let of = |paths: &[&PathBuf]| {
            let paths: Vec<PathBuf> = paths.iter().map(|p| (*p).clone()).collect();
            fingerprint(&expand(&paths).unwrap(), &|| false)
                .unwrap()
                .unwrap()
        };
        assert_eq!(of(&[&a, &b]), of(&[&copy, &b]));
        assert_ne!(of(&[&a, &b]), of(&[&b, &a]));
        assert_ne!(of(&[&a, &b]), of(&[&moved[0], &moved[1]]));
        let stdin = expand(&["-".into()]).unwrap();
        assert_eq!(fingerprint(&stdin, &|| false), Ok(None));
    }

    /// Ctrl-C would wait until terabytes are hashed.
    #[test]
    fn hashing_stops_when_it_is_asked_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        File::create(&path).unwrap().set_len(8 << 20).unwrap();
        let asked = std::cell::Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let files = expand(&[path]).unwrap();
        assert_eq!(fingerprint(&files, &stop), Err(DataError::Stopped));
        assert_eq!(asked.get(), 3);
    }
}
