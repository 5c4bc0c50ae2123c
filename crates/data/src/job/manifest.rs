//! What a job is: written before its first row, compared before it is continued.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::job::durable::write_whole;
use crate::job::spec::INPUT_FINGERPRINT;
use crate::row::excerpt;

/// The version of the layout of the parts. Another one is not continued.
const VERSION: u32 = 1;

/// The format of an array's manifest.
pub(crate) const ARRAY_FORMAT: &str = "npy";

/// Everything that determines the output's bytes, and the output's own facts once it is joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    /// The program's version: another one may encode the same rows otherwise.
    program: String,
    format: String,
    columns: Vec<String>,
    rows_per_shard: u64,
    shard_bytes: u64,
    fingerprints: BTreeMap<String, String>,
    /// Whether a file that stood at the output's place is to be replaced.
    pub(crate) replaces: bool,
    /// What stands behind the output's name in that of its companion.
    #[serde(default)]
    pub(crate) companion: Option<String>,
    pub(crate) finished: Option<Finished>,
}

/// Facts of the joined output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(crate) rows: u64,
    pub(crate) failed_rows: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

/// What the output looks like.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) format: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows_per_shard: u64,
    pub(crate) shard_bytes: u64,
}

impl Manifest {
    pub(crate) fn new(layout: Layout, fingerprints: BTreeMap<String, String>) -> Manifest {
        Manifest {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            format: layout.format,
            columns: layout.columns,
            rows_per_shard: layout.rows_per_shard,
            shard_bytes: layout.shard_bytes,
            fingerprints,
            replaces: false,
            companion: None,
            finished: None,
        }
    }

    /// Whether the output is an array.
    pub(crate) fn is_array(&self) -> bool {
        self.format == ARRAY_FORMAT
    }

    /// Whether the input can be read again.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.fingerprints.contains_key(INPUT_FINGERPRINT)
    }

    /// One `name: old -> new` for everything in which `new` is another job.
    pub(crate) fn differences(&self, new: &Manifest) -> Vec<String> {
        let mut all = Vec::new();
        let mut compare = |name: &str, old: Option<&str>, new: Option<&str>| {
            if old != new {
                let shown = |value: Option<&str>| value.map_or("(none)".to_owned(), excerpt);
                let (old, new) = (shown(old), shown(new));
                // Of files in their order, whatever they are called: a hash alone tells nobody that.
                let of = match name {
                    INPUT_FINGERPRINT => " what the files hold, or their order, has changed,",
                    _ => "",
                };
                all.push(format!("{name}:{of} {old} -> {new}"));
            }
        };
        for name in self.fingerprints.keys().chain(
            new.fingerprints
                .keys()
                .filter(|name| !self.fingerprints.contains_key(*name)),
        ) {
            let value = |manifest: &'_ Manifest| manifest.fingerprints.get(name).cloned();
            compare(name, value(self).as_deref(), value(new).as_deref());
        }
        let numbers = |manifest: &Manifest| {
            [
                ("rows per shard", manifest.rows_per_shard.to_string()),
                ("bytes per shard", manifest.shard_bytes.to_string()),
                ("layout of parts", manifest.version.to_string()),
            ]
        };
        compare("program version", Some(&self.program), Some(&new.program));
        compare("output format", Some(&self.format), Some(&new.format));
        let (old, added) = column_differences(&self.columns, &new.columns);
        compare("output columns", Some(&old), Some(&added));
        for ((name, old), (_, new)) in numbers(self).into_iter().zip(numbers(new)) {
            compare(name, Some(&old), Some(&new));
        }
        all
    }

    /// Reads a manifest; `None` where there is none or it is not whole.
    ///
    /// It is written at once and renamed into place, so what is not whole was never a job.
    pub(crate) fn read(path: &Path) -> Result<Option<Manifest>, DataError> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DataError::opening(&path.display().to_string(), &error)),
        }
    }

    /// Writes the manifest, durable and at once.
    pub(crate) fn write(&self, path: &Path) -> Result<(), DataError> {
        write_whole(path, |file| {
            // Into the file itself every word would be written on its own.
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            file.write_all(&text)
        })
    }
}

/// The columns that only one of the two has, as few words as tell them apart.
fn column_differences(old: &[String], new: &[String]) -> (String, String) {
    let without = |these: &[String], those: &[String]| {
        let only: Vec<&str> = these
            .iter()
            .filter(|name| !those.contains(name))
            .map(String::as_str)
            .collect();
        if only.is_empty() && old != new {
            "(none)".to_owned()
        } else {
            only.join(", ")
        }
    };
    let differences = (without(old, new), without(new, old));
    if differences.0 == differences.1 && old != new {
        return (old.join(", "), new.join(", "));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(fingerprints: &[(&str, &str)]) -> Manifest {
        let layout = Layout {
            format: "csv".into(),
            columns: vec!["text Utf8".into(), "id Utf8".into()],
            rows_per_shard: 8192,
            shard_bytes: 1 << 26,
        };
        let fingerprints = fingerprints
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Manifest::new(layout, fingerprints)
    }

    /// A job would be continued with another model, half the rows from each; or a user not learn
    /// which of twenty options differs.
    #[test]
    fn every_difference_is_named() {
        let old = manifest(&[("model", "a"), ("input", "i"), ("option top_k", "3")]);
        assert_eq!(old.differences(&old), Vec::<String>::new());
        let new = Manifest {
            rows_per_shard: 10,
            program: "9.9".into(),
            format: "tsv".into(),
            columns: vec!["text Utf8".into(), "id Int64".into(), "n Utf8".into()],
            ..manifest(&[("model", "b"), ("input", "i"), ("tokenizer", "t")])
        };
        assert_eq!(
            old.differences(&new),
            [
                "model: a -> b",
                "option top_k: 3 -> (none)",
                "tokenizer: (none) -> t",
                concat!("program version: ", env!("CARGO_PKG_VERSION"), " -> 9.9"),
                "output format: csv -> tsv",
                "output columns: id Utf8 -> id Int64, n Utf8",
                "rows per shard: 8192 -> 10",
            ]
        );
    }

    /// Rows with their columns in two orders would stand in one file.
    #[test]
    fn columns_are_compared_in_order() {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        type Names<'a> = &'a [&'a str];
        let cases: [(Names<'_>, Names<'_>, (&str, &str)); 4] = [
            (&["a", "b"], &["a", "b"], ("", "")),
            (&["a", "b"], &["b", "a"], ("a, b", "b, a")),
            (&["a"], &["a", "b"], ("(none)", "b")),
            (&["a", "b"], &["c", "b"], ("a", "c")),
        ];
        for (old, new, (gone, come)) in cases {
            let found = column_differences(&own(old), &own(new));
            assert_eq!(found, (gone.to_owned(), come.to_owned()), "{old:?} {new:?}");
        }
    }

    /// A damaged manifest would stop every later run.
    #[test]
    fn a_manifest_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest.json");
        assert_eq!(Manifest::read(&path), Ok(None));
        let written = manifest(&[("input", "i")]);
        written.write(&path).unwrap();
        assert_eq!(Manifest::read(&path), Ok(Some(written)));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(Manifest::read(&path), Ok(None));
    }
}
