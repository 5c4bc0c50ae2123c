//! The formats of files, and the one table of the extensions that name them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::DataError;

/// How rows are laid out in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Comma-separated values with a header; quotes and embedded newlines as in RFC 4180.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// One text a line. For reading only.
    Lines,
    /// Apache Arrow's IPC file. For writing only.
    Arrow,
}

/// How a file's bytes are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Extension, format; the first of a format is the one that messages name.
const EXTENSIONS: &[(&str, Format)] = &[
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("jsonl", Format::Jsonl),
    ("ndjson", Format::Jsonl),
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
    ("txt", Format::Lines),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
];

/// Extension, compression.
const PACKINGS: &[(&str, Compression)] = &[("gz", Compression::Gzip), ("zst", Compression::Zstd)];

impl Format {
    /// Every format.
    pub const ALL: [Format; 6] = [
        Format::Csv,
        Format::Tsv,
        Format::Jsonl,
        Format::Parquet,
        Format::Lines,
        Format::Arrow,
    ];

    /// Those that are read.
    pub const READABLE: [Format; 5] = [
        Format::Csv,
        Format::Tsv,
        Format::Jsonl,
        Format::Parquet,
        Format::Lines,
    ];

    /// Those that can hold answers.
    pub const WRITABLE: [Format; 5] = [
        Format::Jsonl,
        Format::Csv,
        Format::Tsv,
        Format::Parquet,
        Format::Arrow,
    ];

    /// The extensions that name the format, the usual one first.
    pub fn extensions(self) -> impl Iterator<Item = &'static str> {
        EXTENSIONS
            .iter()
            .filter(move |(_, format)| *format == self)
            .map(|(extension, _)| *extension)
    }

    /// The extensions to write, for messages: `.jsonl, .csv, .tsv, .parquet or .arrow`.
    fn writable_extensions() -> String {
        let mut names: Vec<String> = Format::WRITABLE
            .iter()
            .filter_map(|format| format.extensions().next())
            .map(|extension| format!(".{extension}"))
            .collect();
        let last = names.pop().unwrap_or_default();
        format!("{} or {last}", names.join(", "))
    }

    /// The name which `--input-format` and `--output-format` take.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
            Format::Lines => "lines",
            Format::Arrow => "arrow",
        }
    }

    /// The format that a file's name tells, `.gz` and `.zst` aside; `None` where it tells none.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<Format> {
        split_name(path).0
    }

    /// The known extensions, for messages.
    pub(crate) fn known_extensions() -> String {
        let names: Vec<String> = EXTENSIONS
            .iter()
            .filter(|(_, format)| Format::READABLE.contains(format))
            .map(|(name, _)| format!(".{name}"))
            .collect();
        format!(
            "{} (and the text formats with .gz or .zst)",
            names.join(" ")
        )
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    /// Takes a [name](Format::name) or an extension; the error lists the names.
    fn from_str(name: &str) -> Result<Format, String> {
        let lower = name.to_ascii_lowercase();
        Format::ALL
            .into_iter()
            .find(|format| format.name() == lower)
            .or_else(|| {
                EXTENSIONS
                    .iter()
                    .find(|(e, _)| *e == lower)
                    .map(|(_, format)| *format)
            })
            .ok_or_else(|| {
                let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
                format!("`{name}` is no known format; one of: {}", names.join(", "))
            })
    }
}

/// What an output file holds: rows of a format, packed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SinkFormat {
    format: Format,
    compression: Compression,
}

impl SinkFormat {
    /// JSON Lines, unpacked: what standard output carries unless told otherwise.
    pub const JSONL: SinkFormat = SinkFormat {
        format: Format::Jsonl,
        compression: Compression::None,
    };

    /// A format for an output.
    ///
    /// # Errors
    /// [`DataError::OutputFormat`] for [`Format::Lines`], which has no place for answers, and for
    /// packed Parquet, which packs its own pages.
    pub fn new(format: Format, compression: Compression) -> Result<SinkFormat, DataError> {
        let refuse = |reason: String| {
            Err(DataError::OutputFormat {
                path: format.to_string(),
                reason,
            })
        };
        match (format, compression) {
            (Format::Lines, _) => refuse(format!(
                "plain lines cannot hold answers; write {}",
                Format::writable_extensions()
            )),
            (Format::Arrow, Compression::Gzip | Compression::Zstd) => {
                refuse("a packed Arrow file cannot be mapped; leave .gz or .zst away".to_owned())
            }
            (Format::Parquet, Compression::Gzip | Compression::Zstd) => {
                refuse("Parquet packs its own pages; leave .gz or .zst away".to_owned())
            }
            _ => Ok(SinkFormat {
                format,
                compression,
            }),
        }
    }

    /// The format that the output's name tells.
    ///
    /// # Errors
    /// [`DataError::OutputFormat`] where the extension names no format that can hold answers.
    pub fn of_path(path: &Path) -> Result<SinkFormat, DataError> {
        let at = path.display().to_string();
        match split_name(path) {
            (None, _) => Err(DataError::OutputFormat {
                path: at,
                reason: format!(
                    "its extension names no known format; write {} (the text formats also with .gz \
                     or .zst), or say --output-format",
                    Format::writable_extensions()
                ),
            }),
            (Some(format), compression) => {
                SinkFormat::new(format, compression).map_err(|error| match error {
                    DataError::OutputFormat { reason, .. } => {
                        DataError::OutputFormat { path: at, reason }
                    }
                    other => other,
                })
            }
        }
    }

    /// The compression that the output's name tells, whatever the format.
    #[must_use]
    pub fn compression_of_path(path: &Path) -> Compression {
        split_name(path).1
    }

    /// How rows are laid out.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// How bytes are packed.
    #[must_use]
    pub fn compression(self) -> Compression {
        self.compression
    }
}

impl fmt::Display for SinkFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.name())?;
        match self.compression {
            Compression::None => Ok(()),
            Compression::Gzip => f.write_str(".gz"),
            Compression::Zstd => f.write_str(".zst"),
        }
    }
}

/// Format and compression by the last one or two extensions, in any case of letters.
fn split_name(path: &Path) -> (Option<Format>, Compression) {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().to_ascii_lowercase());
    let Some(name) = name else {
        return (None, Compression::None);
    };
    let (stem, compression) = PACKINGS
        .iter()
        .find_map(|(extension, compression)| {
            name.strip_suffix(extension)
                .and_then(|rest| rest.strip_suffix('.'))
                .map(|stem| (stem, *compression))
        })
        .unwrap_or((&name, Compression::None));
    let format = stem.rsplit_once('.').and_then(|(_, extension)| {
        EXTENSIONS
            .iter()
            .find(|(known, _)| *known == extension)
            .map(|(_, format)| *format)
    });
    (format, compression)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file would be read or written as something else than its name says.
    #[test]
    fn names_tell_formats() {
        let cases = [
            ("a.csv", Some(Format::Csv), Compression::None),
            ("a.CSV.GZ", Some(Format::Csv), Compression::Gzip),
            ("dir.csv/a", None, Compression::None),
            ("a.tsv.zst", Some(Format::Tsv), Compression::Zstd),
            ("a.ndjson", Some(Format::Jsonl), Compression::None),
            ("a.b.jsonl", Some(Format::Jsonl), Compression::None),
            ("a.pq", Some(Format::Parquet), Compression::None),
            ("a.txt", Some(Format::Lines), Compression::None),
            ("a.gz", None, Compression::Gzip),
            ("agz", None, Compression::None),
            ("csv", None, Compression::None),
            (".csv", Some(Format::Csv), Compression::None),
        ];
        for (name, format, compression) in cases {
            assert_eq!(split_name(Path::new(name)), (format, compression), "{name}");
        }
    }

    /// An answer would be written into a format that has no place for it.
    #[test]
    fn impossible_outputs_are_refused() {
        for name in ["a.txt", "a.parquet.gz", "a.arrow.zst", "a.xlsx", "a"] {
            let error = SinkFormat::of_path(Path::new(name)).unwrap_err();
            assert!(error.to_string().starts_with(name), "{name}: {error}");
        }
        let packed = SinkFormat::of_path(Path::new("a.csv.zst")).unwrap();
        assert_eq!(packed.to_string(), "csv.zst");
    }

    /// A typing error in a flag would not say what is possible.
    #[test]
    fn format_names_parse() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        assert_eq!("ndjson".parse(), Ok(Format::Jsonl));
        assert!(
            "xml"
                .parse::<Format>()
                .unwrap_err()
                .contains("csv, tsv, jsonl, parquet, lines, arrow")
        );
    }
}
