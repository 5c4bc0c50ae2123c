//! Globs: the files that a pattern such as `logs/*.jsonl` matches.
//!
//! The crate `glob` matches, but the walk is ours: its own passes over names that are not UTF-8
//! without a word, and their rows would be missing from the output.

use std::fs;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::DataError;

/// As a shell has it: a name that begins with a dot is hidden from `*`.
const LIKE_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether `path` has a character in it that matches others.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The files that `pattern` matches, sorted by name; directories are passed over.
///
/// # Errors
/// [`DataError::NoMatch`] where there is none, [`DataError::Open`] for what is no pattern and for a
/// directory that cannot be listed: rows would be missing without a word.
pub(super) fn matching(pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut found = vec![PathBuf::new()];
    for component in Path::new(pattern).components() {
        let name = component.as_os_str().to_string_lossy();
        found = match component {
            Component::Normal(_) if name == "**" => every(&found, pattern, subdirectories)?,
            Component::Normal(_) if is_pattern(&name) => {
                let wanted = Pattern::new(&name).map_err(|error| DataError::Open {
                    path: pattern.to_owned(),
                    reason: format!("not a valid pattern: {error}"),
                })?;
                every(&found, pattern, |directory| children(directory, &wanted))?
            }
            _ => found.iter().map(|path| path.join(component)).collect(),
        };
    }
    // What follows a wildcard literally, as in `*/in.csv`, is not in every directory.
    found.retain(|path| path.exists() && !path.is_dir());
    if found.is_empty() {
        return Err(DataError::NoMatch {
            pattern: pattern.to_owned(),
        });
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// What `look` finds in each of `directories`.
fn every(
    directories: &[PathBuf],
    pattern: &str,
    look: impl Fn(&Path) -> std::io::Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    for directory in directories {
        match look(directory) {
            Ok(paths) => found.extend(paths),
            Err(error) => {
                return Err(DataError::Open {
                    path: pattern.to_owned(),
                    reason: format!("{}: {error}", directory.display()),
                });
            }
        }
    }
    Ok(found)
}

/// What lies in `directory` under a name that `wanted` matches; nothing in what is no directory.
fn children(directory: &Path, wanted: &Pattern) -> std::io::Result<Vec<PathBuf>> {
    let here = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    if !here.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(here)? {
        let name = entry?.file_name();
        if wanted.matches_with(&name.to_string_lossy(), LIKE_A_SHELL) {
            found.push(directory.join(name));
        }
    }
    Ok(found)
}

/// `directory` and all that lie in it, however deep; links are not followed, for they may lead back.
fn subdirectories(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_path_buf()];
    let mut next = 0;
    while next < found.len() {
        let deeper = children(&found[next], &any())?;
        found.extend(
            deeper
                .into_iter()
                .filter(|path| path.is_dir() && !path.is_symlink()),
        );
        next += 1;
    }
    Ok(found)
}

/// The pattern `*`.
fn any() -> Pattern {
    Pattern::new("*").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, pattern: &str) -> Vec<String> {
        let found = matching(root.join(pattern).to_str().unwrap()).unwrap();
        let name = |path: &PathBuf| {
            let below = path.strip_prefix(root).unwrap();
            below.to_string_lossy().into_owned()
        };
        found.iter().map(name).collect()
    }

    /// Rows would come in another order on the next machine, and resuming would mix them up; or
    /// the litter of an editor be embedded with them.
    #[test]
    fn patterns_match_as_in_a_shell_and_are_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("d.csv/deep")).unwrap();
        for name in [
            "b.csv",
            "a.csv",
            "c.tsv",
            ".hidden.csv",
            "d.csv/a.csv",
            "d.csv/deep/a.csv",
        ] {
            fs::write(root.join(name), "text\n").unwrap();
        }
        for (pattern, expected) in [
            ("*.csv", &["a.csv", "b.csv"][..]),
            ("?.[ct]sv", &["a.csv", "b.csv", "c.tsv"]),
            ("*/a.csv", &["d.csv/a.csv"]),
            ("**/a.csv", &["a.csv", "d.csv/a.csv", "d.csv/deep/a.csv"]),
            (".*.csv", &[".hidden.csv"]),
        ] {
            assert_eq!(names(root, pattern), expected, "{pattern}");
        }
        let none = root.join("*.jsonl").to_str().unwrap().to_owned();
        assert_eq!(
            matching(&none),
            Err(DataError::NoMatch {
                pattern: none.clone()
            })
        );
        let odd = matching("[").unwrap_err().to_string();
        assert!(odd.contains("not a valid pattern"), "{odd}");
    }

    /// All rows of such a file would be missing from the output, and nothing would say so.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_utf_8_is_matched() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join(OsStr::from_bytes(b"a\xff.csv"));
        fs::write(&odd, "text\n").unwrap();
        fs::write(directory.path().join("b.csv"), "text\n").unwrap();
        let pattern = directory.path().join("*.csv");
        let found = matching(pattern.to_str().unwrap()).unwrap();
        assert_eq!(found, [odd, directory.path().join("b.csv")]);
    }
}
