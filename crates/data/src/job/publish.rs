//! The last steps: from the joined file to an output in its place and nothing left beside it but
//! the manifest. Each step can be the last before a kill, and the next run goes on after it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::job::durable::{beside, directory_of, hash_file, remove, sync_directory};
use crate::job::manifest::{Finished, Manifest};
use crate::job::parts::Parts;
use crate::job::spec::{Companion, JobSummary};

/// Where a finished job's manifest stays, so that the same command knows its work is done.
pub(crate) fn record_path(output: &Path) -> PathBuf {
    beside(output, ".manifest.json")
}

/// Where the bad rows of an array are told, which has no column for that.
pub(crate) fn errors_path(output: &Path) -> PathBuf {
    beside(output, ".errors.jsonl")
}

/// How far a job that was joined had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The joined file waits to be renamed.
    Joined,
    /// The output is in its place.
    InPlace,
    /// The joined file is not there and the output is not the job's: join again.
    Lost,
}

/// An output, and the parts that it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) output: &'a Path,
}

impl Place<'_> {
    /// Finds how far publishing had come.
    pub(crate) fn stage(&self, finished: &Finished) -> Stage {
        let joined = self.parts.joined().metadata();
        if joined.is_ok_and(|facts| facts.len() == finished.bytes) {
            Stage::Joined
        } else if holds(self.output, finished) {
            Stage::InPlace
        } else {
            Stage::Lost
        }
    }

    /// Renames the joined file into place and clears up. `finished` are the facts of `manifest`.
    pub(crate) fn publish(
        &self,
        manifest: &Manifest,
        finished: &Finished,
        stage: Stage,
    ) -> Result<JobSummary, DataError> {
        let Place { parts, output } = *self;
        let failed = |error: std::io::Error| DataError::writing(output, &error);
        if stage == Stage::Joined {
            if !manifest.replaces && output.exists() && !holds(output, finished) {
                return Err(DataError::OutputExists {
                    path: output.to_path_buf(),
                    why: "though it did not when the job began; move it away and run the same \
                          command again, which keeps all rows"
                        .to_owned(),
                });
            }
            self.publish_errors(manifest, finished)?;
            self.publish_companion(manifest)?;
            fs::rename(parts.joined(), output).map_err(failed)?;
            sync_directory(directory_of(output))?;
        }
        let record = record_path(output);
        fs::rename(parts.manifest(), &record)
            .map_err(|error| DataError::writing(&record, &error))?;
        sync_directory(directory_of(output))?;
        parts.tidy();
        Ok(summary(output, finished))
    }

    /// Puts the file that belongs to the output beside it.
    fn publish_companion(&self, manifest: &Manifest) -> Result<(), DataError> {
        let Place { parts, output } = *self;
        match &manifest.companion {
            // It is there already where a process was killed after this step.
            Some(suffix) if parts.companion().exists() => {
                let path = beside(output, suffix);
                fs::rename(parts.companion(), &path)
                    .map_err(|error| DataError::writing(&path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Puts the errors of an array beside it, or takes away those of the array that it replaces.
    fn publish_errors(&self, manifest: &Manifest, finished: &Finished) -> Result<(), DataError> {
        let Place { parts, output } = *self;
        let told = errors_path(output);
        match (manifest.is_array(), finished.failed_rows) {
            (true, 0) if manifest.replaces => remove(&told),
            (true, 0) | (false, _) => Ok(()),
            // They are there already where a process was killed after this step.
            _ if !parts.errors().exists() => Ok(()),
            _ => {
                fs::rename(parts.errors(), &told).map_err(|error| DataError::writing(&told, &error))
            }
        }
    }
}

/// Writes a companion that is missing beside its finished output; one that is there stays.
pub(crate) fn give_back(companion: &Companion, output: &Path) -> Result<(), DataError> {
    let path = beside(output, &companion.suffix);
    let failed = |error: io::Error| DataError::writing(&path, &error);
    let mut file = match File::create_new(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let written = file.write_all(&companion.content);
    if let Err(error) = written.and_then(|()| file.sync_all()) {
        // Half of it would be taken for the whole.
        let _ = fs::remove_file(&path);
        return Err(failed(error));
    }
    sync_directory(directory_of(output))
}

/// Whether `output` is the file that the job wrote, by its length and hash.
pub(crate) fn holds(output: &Path, finished: &Finished) -> bool {
    let length = output.metadata().map(|facts| facts.len());
    length.is_ok_and(|length| length == finished.bytes)
        && hash_file(output).is_ok_and(|(_, hash)| hash == finished.blake3)
}

/// The facts of a finished job.
pub(crate) fn summary(output: &Path, finished: &Finished) -> JobSummary {
    JobSummary {
        path: Some(output.to_path_buf()),
        rows: finished.rows,
        failed_rows: finished.failed_rows,
        bytes: finished.bytes,
    }
}
