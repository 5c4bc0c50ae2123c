//! The file beside an array in which its bad rows stand, one line each: an array has no column for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::job::durable::{directory_of, sync_directory};
use crate::job::parts::Parts;
use crate::job::publish::errors_path;
use crate::job::spec::Restart;
use crate::row::RowError;

/// The file of bad rows, which is there only if there are some.
pub(crate) struct ArrayErrors {
    path: PathBuf,
    file: Option<File>,
    /// Whether its name is durable.
    is_named: bool,
}

#[derive(Serialize, Deserialize)]
struct ErrorLine {
    index: u64,
    error: String,
}

impl ArrayErrors {
    /// Keeps the lines of the first `rows` rows, and says how many these are.
    pub(crate) fn open(path: PathBuf, rows: u64) -> Result<(ArrayErrors, u64), DataError> {
        let failed = |error: io::Error| DataError::writing(&path, &error);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((ArrayErrors::none(path), 0));
            }
            Err(error) => return Err(failed(error)),
        };
        let mut lines = BufReader::new(file.try_clone().map_err(failed)?);
        let mut line = Vec::new();
        let (mut end, mut kept) = (0, 0);
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).map_err(failed)?;
            let parsed = serde_json::from_slice::<ErrorLine>(&line).ok();
            if !line.ends_with(b"\n") || parsed.is_none_or(|line| line.index >= rows) {
                break;
            }
            end += read as u64;
            kept += 1;
        }
        let mut file = file;
        file.set_len(end)
            .and_then(|()| file.seek(SeekFrom::Start(end)))
            .map_err(failed)?;
        if end == 0 {
            fs::remove_file(&path).map_err(failed)?;
            return Ok((ArrayErrors::none(path), 0));
        }
        let errors = ArrayErrors {
            path,
            file: Some(file),
            is_named: false,
        };
        Ok((errors, kept))
    }

    fn none(path: PathBuf) -> ArrayErrors {
        ArrayErrors {
            path,
            file: None,
            is_named: false,
        }
    }

    /// Appends what is wrong with rows, counted from row `first` of the array.
    pub(crate) fn append(&mut self, first: u64, bad: &[(usize, RowError)]) -> io::Result<()> {
        let mut text = Vec::new();
        for (at, error) in bad {
            let line = ErrorLine {
                index: first + *at as u64,
                error: error.to_string(),
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(&self.path)?),
        };
        file.write_all(&text)
    }

    /// Makes every line and the file's name durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync_all()?;
        if !self.is_named {
            sync_directory(directory_of(&self.path)).map_err(io::Error::other)?;
            self.is_named = true;
        }
        Ok(())
    }
}

/// A file of that name that belongs to no array here may be the user's.
pub(crate) fn refuse_foreign_errors(output: &Path, restart: Restart) -> Result<(), DataError> {
    let path = errors_path(output);
    let ours = output.exists() || Parts::of(output).manifest().exists();
    if restart == Restart::Yes || ours || !path.exists() {
        return Ok(());
    }
    Err(DataError::OutputExists {
        path,
        why: "where the bad rows of the array are to be told".to_owned(),
    })
}
