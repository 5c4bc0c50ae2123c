//! What can stop a job, in words that say what, where and the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// A failure that stops the job. A bad *row* is no such failure: see [`RowError`](crate::RowError).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing to read was named.
    #[error("no input was given; name a file, a glob, or - for standard input")]
    NoInput,
    /// A glob matched no file.
    #[error("{pattern}: no file matches this pattern; check it with `ls {pattern}`")]
    NoMatch {
        /// The pattern as it was typed.
        pattern: String,
    },
    /// An input could not be opened.
    #[error("{path}: cannot be opened: {reason}")]
    Open {
        /// The input's name.
        path: String,
        /// The system's words, with the remedy where one is known.
        reason: String,
    },
    /// Neither the name nor an option says which format this is.
    #[error(
        "{path}: its extension names no known format; \
         rename it to one of {known} or say --input-format"
    )]
    UnknownInputFormat {
        /// The input's name.
        path: String,
        /// The known extensions.
        known: String,
    },
    /// A format that cannot come this way, such as Parquet from standard input.
    #[error("{path}: {reason}")]
    UnreadableFormat {
        /// The input's name.
        path: String,
        /// Why, and the remedy.
        reason: String,
    },
    /// Two inputs of one job have different formats.
    #[error(
        "{first} is {first_format} but {other} is {other_format}: one job reads one format; \
         run them as two jobs or say --input-format"
    )]
    MixedFormats {
        /// The first input.
        first: String,
        /// Its format.
        first_format: String,
        /// The input that differs.
        other: String,
        /// Its format.
        other_format: String,
    },
    /// Two inputs of one job have different columns.
    #[error("{other} does not have the columns of {first}: {difference}")]
    ColumnsDiffer {
        /// The first input.
        first: String,
        /// The input that differs.
        other: String,
        /// Which columns are missing, added or of another type.
        difference: String,
    },
    /// An option names a column that the input lacks.
    #[error("{option} {name}: the input has no such column; its columns are: {available}")]
    UnknownColumn {
        /// The option.
        option: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        available: String,
    },
    /// Which column holds the text is not clear.
    #[error(
        "which column is the text? There is none called `text`, and {reason}; \
         say --text-column NAME, one of: {available}"
    )]
    NoTextColumn {
        /// Why no column could be chosen.
        reason: &'static str,
        /// The names there are.
        available: String,
    },
    /// The chosen column does not hold text.
    #[error("column `{column}` holds {actual}, not text; choose another with {option}")]
    NotText {
        /// The column.
        column: String,
        /// What it holds.
        actual: String,
        /// The option that chooses it.
        option: &'static str,
    },
    /// A header names a column twice.
    #[error("{file}: two columns are called `{name}`; rename one in the header, or --drop {name}")]
    DuplicateColumn {
        /// The file.
        file: String,
        /// The name.
        name: String,
    },
    /// The input breaks off or is damaged. Every row before this place was delivered.
    #[error("{file}: cannot be read beyond {place}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// The last place that is known to be good.
        place: String,
        /// What happened, and the remedy.
        reason: String,
    },
    /// Whoever waits for it has asked to stop.
    #[error("stopped while the input was looked at")]
    Stopped,
    /// Columns of the input bear the names of answers.
    #[error(
        "the input has columns called {names}, which are also names of answers; \
         leave them out with --drop {drop}"
    )]
    NameCollision {
        /// The names, for people.
        names: String,
        /// The names as `--drop` takes them.
        drop: String,
    },
    /// The input's column of errors says what no earlier output says.
    #[error(
        "{place}: the input's column `error` holds `{value}`, which is no error of an earlier output's row; \
         the output has a column of that name for what is wrong with a row: leave the input's out with \
         --drop error"
    )]
    ForeignError {
        /// The row.
        place: String,
        /// What stands there.
        value: String,
    },
    /// The output's name or format cannot be used.
    #[error("{path}: {reason}")]
    OutputFormat {
        /// The output.
        path: String,
        /// Why, and the remedy.
        reason: String,
    },
    /// The directory that is to hold the output is not there.
    #[error("{}: there is no such directory to write into; create it with `mkdir -p {}`", .directory.display(), .directory.display())]
    NoOutputDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The output is there already, and this job did not write it.
    #[error("{}: exists already {why}; choose another -o, or replace it with --restart", .path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
        /// What is known about it.
        why: String,
    },
    /// The unfinished job that lies there is another one.
    #[error(
        "{}: holds an unfinished job that differs: {}; \
         repeat that job's command to continue it, or start over with --restart",
        .parts.display(), .differences.join("; ")
    )]
    JobDiffers {
        /// The directory of the unfinished job.
        parts: PathBuf,
        /// One `name: old -> new` for each difference.
        differences: Vec<String>,
    },
    /// The unfinished job that lies there read something that cannot be read twice.
    #[error(
        "{}: holds an unfinished job over standard input, which cannot be read a second time; \
         start over with --restart, or save the input to a file first", .parts.display()
    )]
    NotResumable {
        /// The directory of the unfinished job.
        parts: PathBuf,
    },
    /// Another process works on the same output.
    #[error("{}: another process is writing this output; wait for it, or choose another -o", .parts.display())]
    Locked {
        /// The directory of the job.
        parts: PathBuf,
    },
    /// The directory of the job's parts holds something else.
    #[error("{}: {reason}; move it away, or choose another -o", .parts.display())]
    ForeignParts {
        /// The directory.
        parts: PathBuf,
        /// What was found.
        reason: String,
    },
    /// No space is left. What was written stays usable.
    #[error(
        "{}: the disk is full; {safe_rows} rows are safe. \
         Free some space and run the same command again: it continues there", .path.display()
    )]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// Rows that a continued job need not compute again.
        safe_rows: u64,
    },
    /// The output could not be written.
    #[error("{}: cannot be written: {reason}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A finished shard does not hold what was written into it.
    #[error(
        "{}: is damaged ({reason}); run the same command again: \
         it computes the rows from {row} on afresh", .path.display()
    )]
    ShardDamaged {
        /// The shard.
        path: PathBuf,
        /// What differs.
        reason: String,
        /// The first row that is lost, 1-based.
        row: u64,
    },
    /// Whoever read standard output went away. Not a fault: stop quietly.
    #[error("standard output was closed by its reader")]
    BrokenPipe,
    /// The answers handed to [`Job::write`](crate::Job::write) do not fit the job.
    #[error("the answers do not fit the job: {reason}")]
    Answers {
        /// What differs.
        reason: String,
    },
}

impl DataError {
    /// Whether the reader of standard output went away, upon which a program ends quietly.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, DataError::BrokenPipe)
    }

    /// The error of writing `path`; a full disk and a closed pipe get their own words.
    pub(crate) fn writing(path: &Path, error: &io::Error) -> DataError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DataError::DiskFull {
                path: path.to_path_buf(),
                safe_rows: 0,
            },
            io::ErrorKind::BrokenPipe => DataError::BrokenPipe,
            _ => DataError::Write {
                path: path.to_path_buf(),
                reason: error.to_string(),
            },
        }
    }

    /// Says how many rows survive a full disk; other errors stay as they are.
    pub(crate) fn with_safe_rows(self, rows: u64) -> DataError {
        match self {
            DataError::DiskFull { path, .. } => DataError::DiskFull {
                path,
                safe_rows: rows,
            },
            other => other,
        }
    }

    /// The error of opening `path`.
    pub(crate) fn opening(path: &str, error: &io::Error) -> DataError {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        DataError::Open {
            path: path.to_owned(),
            reason,
        }
    }
}

/// Names for a message: `a`, `b` and 3 more.
pub(crate) fn list_names<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 30;
    if names.is_empty() {
        return "(none)".to_owned();
    }
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let mut text = shown.join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user with a full disk would think the night's work lost.
    #[test]
    fn a_full_disk_says_what_is_safe() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let message = DataError::writing(Path::new("v.parquet"), &full).with_safe_rows(8192);
        assert_eq!(
            message.to_string(),
            "v.parquet: the disk is full; 8192 rows are safe. \
             Free some space and run the same command again: it continues there"
        );
    }

    /// A user of `… | head` would see an error where nothing is wrong.
    #[test]
    fn a_closed_pipe_is_told_apart() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(DataError::writing(Path::new("-"), &closed).is_broken_pipe());
        let other = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(!DataError::writing(Path::new("-"), &other).is_broken_pipe());
    }

    /// A table of a thousand columns would fill the screen.
    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..40).map(|i| format!("c{i}")).collect();
        assert!(list_names(&names).ends_with("c29 and 10 more"));
        assert_eq!(list_names::<&str>(&[]), "(none)");
    }
}
