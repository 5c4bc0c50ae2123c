//! What a user asks of the input.

use std::path::{Path, PathBuf};

use crate::source::files;
use crate::{DataError, Format};

/// Which files to read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Files, globs, or `-` for standard input; read in this order, a glob's files sorted by name.
    pub paths: Vec<PathBuf>,
    /// The format; `None` takes each file's extension, and looks at the first bytes of standard
    /// input.
    pub format: Option<Format>,
    /// Which columns are text and which pass through.
    pub columns: ColumnChoice,
    /// Rows of a chunk, at least 1.
    pub chunk_rows: usize,
    /// Bounds on memory.
    pub limits: InputLimits,
    /// How the keys of JSON Lines are found.
    pub survey: SurveyDepth,
}

impl InputSpec {
    /// One input, everything else by default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> InputSpec {
        InputSpec {
            paths: vec![path.into()],
            ..InputSpec::default()
        }
    }

    /// Whether the regular file at `path` is one of those that are read: no place for an output.
    ///
    /// To be asked before [`Source::open`](crate::Source::open), which may find another fault with
    /// an old output that a glob matches.
    ///
    /// # Errors
    /// As for [`Source::open`](crate::Source::open) where an input is not there.
    pub fn reads(&self, path: &Path) -> Result<bool, DataError> {
        let files = files::expand(&self.paths)?;
        // Where there is no such file yet, it is no input either.
        let Ok(wanted) = path.canonicalize() else {
            return Ok(false);
        };
        let mut inputs = files.iter().filter(|file| file.is_repeatable());
        Ok(inputs.any(|file| {
            let input = file.path().map(Path::canonicalize);
            input.is_some_and(|input| input.is_ok_and(|input| input == wanted))
        }))
    }
}

impl Default for InputSpec {
    fn default() -> InputSpec {
        InputSpec {
            paths: Vec::new(),
            format: None,
            columns: ColumnChoice::default(),
            chunk_rows: 4_096,
            limits: InputLimits::default(),
            survey: SurveyDepth::default(),
        }
    }
}

/// Which columns are text and which pass through to the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnChoice {
    /// The text column; `None` takes `text`, else the only text column there is.
    pub text: Option<String>,
    /// The second text of a pair; `None` for none.
    pub pair: Option<String>,
    /// Only these pass through, in the input's order; `None` lets all pass.
    pub keep: Option<Vec<String>>,
    /// These do not pass through. The text column may be among them.
    pub drop: Vec<String>,
    /// Whether the text column passes through, whatever its name.
    pub carry_text: CarryText,
}

/// Whether the text column is one of those that pass through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CarryText {
    /// Yes, as any other column.
    #[default]
    Kept,
    /// No: whoever reads the rows writes another column under its name.
    Dropped,
}

/// Bounds which keep memory independent of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLimits {
    /// Bytes after which a chunk ends before it has all its rows. Default 64 MiB.
    pub chunk_bytes: usize,
    /// Bytes of one row; a longer one becomes an error row. Default 64 MiB, at most 1 GiB.
    pub row_bytes: usize,
}

impl Default for InputLimits {
    fn default() -> InputLimits {
        InputLimits {
            chunk_bytes: 64 << 20,
            row_bytes: 64 << 20,
        }
    }
}

/// How much of JSON Lines is read beforehand, to find the keys and their types.
///
/// Output as JSON Lines needs no types, and the first rows suffice. CSV needs the keys and Parquet
/// the types: there `Everything` costs one more pass over the files (about a second a million short rows) and
/// makes sure that no later row fails to fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SurveyDepth {
    /// The first 1,024 rows, or 1 MiB.
    #[default]
    FirstRows,
    /// All rows, where every input is a regular file. Standard input and pipes cannot be read
    /// twice: with one among the inputs, the first rows of the first input.
    Everything,
}
