//! Files that are written at the end: whether they can be, and over nothing that is wanted.

use std::path::{Path, PathBuf};

use anyhow::bail;
use data::InputSpec;

/// Refuses, before anything is computed, a file that is an input too, that two flags name, or that
/// has no directory to lie in. `flags` are flags and what they name, if they were given; an output's own
/// directory is its job's to check.
pub(crate) fn refuse_to_write_over(
    flags: &[(&str, Option<&Path>)],
    input: &InputSpec,
) -> anyhow::Result<()> {
    let files = flags
        .iter()
        .filter_map(|(flag, path)| Some((*flag, (*path)?)));
    let files: Vec<(&str, &Path)> = files.collect();
    for (at, (flag, path)) in files.iter().enumerate() {
        if input.reads(path)? {
            bail!(
                "{}: is both input and output; choose another {flag}",
                path.display()
            );
        }
        if data::is_stream(path) {
            continue;
        }
        for (other, taken) in &files[..at] {
            let mut theirs = vec![place(taken)];
            if *other == "-o" {
                // A finished job keeps its record there, and an array the errors of its rows.
                theirs.extend(
                    [".manifest.json", ".errors.jsonl"]
                        .map(|suffix| place(&with_suffix(taken, suffix))),
                );
            }
            if theirs.contains(&place(path)) {
                bail!(
                    "{}: is what {other} writes; choose another {flag}",
                    path.display()
                );
            }
        }
        if *flag == "-o" {
            continue;
        }
        if path.is_dir() {
            bail!(
                "{}: is a directory; name a file in it for {flag}",
                path.display()
            );
        }
        let directory = directory(path);
        if !directory.is_dir() {
            bail!(
                "{flag} {}: there is no such directory to write into; create it with `mkdir -p {}`",
                path.display(),
                directory.display()
            );
        }
    }
    Ok(())
}

/// The same for all names of a file, be it there or not.
fn place(path: &Path) -> PathBuf {
    let beside = || Some(directory(path).canonicalize().ok()?.join(path.file_name()?));
    let found = path.canonicalize().ok().or_else(beside);
    found.unwrap_or_else(|| path.to_path_buf())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
