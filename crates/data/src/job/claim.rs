//! The beginning of every job over a file: whether its work is done, is another's, or can go on.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::DataError;
use crate::job::durable::{directory_of, sync_directory, write_whole};
use crate::job::manifest::Manifest;
use crate::job::parts::Parts;
use crate::job::publish::{Place, Stage, give_back, holds, record_path, summary};
use crate::job::spec::{Companion, JobSummary, Restart};

/// What was found at the place of an output.
pub(crate) enum Claim {
    /// The very same job has finished before.
    Complete(JobSummary),
    /// The parts are this process's.
    Ready(Claimed),
}

/// Parts that are this process's for as long as the lock lives.
pub(crate) struct Claimed {
    pub(crate) parts: Parts,
    pub(crate) manifest: Manifest,
    pub(crate) lock: File,
}

/// Claims the place of `output` for the job that `wanted` describes.
pub(crate) fn claim(
    output: &Path,
    wanted: Manifest,
    companion: Option<&Companion>,
    restart: Restart,
) -> Result<Claim, DataError> {
    let claim = claim_output(output, wanted, companion, restart)?;
    if let Some(companion) = companion {
        match &claim {
            Claim::Complete(_) => give_back(companion, output)?,
            Claim::Ready(claimed) => write_whole(&claimed.parts.companion(), |file| {
                file.write_all(&companion.content)
            })?,
        }
    }
    Ok(claim)
}

fn claim_output(
    output: &Path,
    mut wanted: Manifest,
    companion: Option<&Companion>,
    restart: Restart,
) -> Result<Claim, DataError> {
    wanted.companion = companion.map(|companion| companion.suffix.clone());
    let directory = directory_of(output);
    if !directory.is_dir() {
        return Err(DataError::NoOutputDirectory {
            directory: directory.to_path_buf(),
        });
    }
    if output.is_dir() {
        return Err(DataError::OutputFormat {
            path: output.display().to_string(),
            reason: "it is a directory; name a file in it".to_owned(),
        });
    }
    let parts = Parts::of(output);
    let place = Place {
        parts: &parts,
        output,
    };
    refuse_foreign_record(output)?;
    let begun_before = parts.directory.is_dir() && Manifest::read(&parts.manifest())?.is_some();
    if !begun_before && restart == Restart::No && output.exists() {
        return finished_before(output, &parts, &wanted).map(Claim::Complete);
    }
    parts.refuse_foreign()?;
    let lock = parts.lock()?;
    if restart == Restart::Yes {
        parts.clear()?;
    }
    let found = Manifest::read(&parts.manifest())?;
    let manifest = match found {
        Some(mut found) => {
            refuse_other_job(&parts, &found, &wanted)?;
            found.companion = wanted.companion;
            found
        }
        None => {
            parts.clear()?;
            let mut manifest = wanted;
            manifest.replaces = output.exists();
            manifest.write(&parts.manifest())?;
            // The directory of the parts is new as well, and all that is safe is in it.
            sync_directory(directory)?;
            manifest
        }
    };
    if let Some(finished) = &manifest.finished {
        match place.stage(finished) {
            Stage::Lost => {}
            stage => {
                let summary = place.publish(&manifest, finished, stage)?;
                return Ok(Claim::Complete(summary));
            }
        }
    }
    Ok(Claim::Ready(Claimed {
        parts,
        manifest,
        lock,
    }))
}

/// The output is there and no unfinished job: either this very job wrote it, or it is not ours.
fn finished_before(
    output: &Path,
    parts: &Parts,
    wanted: &Manifest,
) -> Result<JobSummary, DataError> {
    let exists = |why: &str| {
        Err(DataError::OutputExists {
            path: output.to_path_buf(),
            why: why.to_owned(),
        })
    };
    let Some(record) = Manifest::read(&record_path(output))? else {
        return exists("and no record tells which job wrote it");
    };
    let Some(finished) = &record.finished else {
        return exists("and its record is not whole");
    };
    let differences = record.differences(wanted);
    if !differences.is_empty() {
        return exists(&format!(
            "from a job that differs: {}",
            differences.join("; ")
        ));
    }
    if !record.is_repeatable() {
        return exists("from an earlier run over standard input");
    }
    if !holds(output, finished) {
        return exists("and was changed after the job that wrote it");
    }
    // Killed while clearing up. What holds other files as well may be a directory of the user's.
    if parts.directory.is_dir() && parts.refuse_foreign().is_ok() {
        let _lock = parts.lock()?;
        parts.tidy();
    }
    Ok(summary(output, finished))
}

/// The place of the record may hold a file of the user's.
fn refuse_foreign_record(output: &Path) -> Result<(), DataError> {
    let record = record_path(output);
    // It is the longest of the names beside the output: better refused now than at the end.
    if let Err(error) = record.metadata()
        && error.kind() == std::io::ErrorKind::InvalidFilename
    {
        return Err(DataError::OutputFormat {
            path: output.display().to_string(),
            reason: "the name is too long: a job keeps its record beside it, under this name and \
                     `.manifest.json`; choose a shorter -o"
                .to_owned(),
        });
    }
    if record.exists() && Manifest::read(&record)?.is_none() {
        return Err(DataError::OutputFormat {
            path: record.display().to_string(),
            reason: "a finished job keeps its record under this name, but another file has it; \
                     move that away, or choose another -o"
                .to_owned(),
        });
    }
    Ok(())
}

fn refuse_other_job(parts: &Parts, found: &Manifest, wanted: &Manifest) -> Result<(), DataError> {
    if !found.is_repeatable() {
        return Err(DataError::NotResumable {
            parts: parts.directory.clone(),
        });
    }
    let differences = found.differences(wanted);
    if differences.is_empty() {
        return Ok(());
    }
    Err(DataError::JobDiffers {
        parts: parts.directory.clone(),
        differences,
    })
}
