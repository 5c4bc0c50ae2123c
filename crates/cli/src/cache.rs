//! `batchwright cache`: what a cache directory holds, and emptying it.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::args::{ByteSize, CacheAction, CacheCommand};
use crate::console::{self, Console};
use crate::figures;

/// Runs the action.
pub(crate) fn run(command: &CacheCommand, console: &Console) -> anyhow::Result<()> {
    let (CacheAction::Stats(args) | CacheAction::Clear(args)) = &command.action;
    // Not left to clap: it does not count a value from the configuration file.
    let directory = args
        .cache_dir
        .as_deref()
        .context("which cache? say --cache-dir DIR, as it was given to the jobs")?;
    match &command.action {
        CacheAction::Stats(_) => stats(directory),
        CacheAction::Clear(_) => clear(directory, console),
    }
}

/// A file of kept answers: one for each model with its options.
struct AnswerFile {
    path: PathBuf,
    bytes: u64,
    age: Option<std::time::Duration>,
}

fn stats(directory: &Path) -> anyhow::Result<()> {
    let files = files(directory)?;
    let total = ByteSize(files.iter().map(|file| file.bytes).sum());
    let mut report = format!("{}: {} of answers", directory.display(), total);
    report.push_str(match files.len() {
        0 => ", of no model\n",
        1 => ", of one model\n",
        _ => ", one file for each model with its options\n",
    });
    for file in &files {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let age = file.age.map_or_else(String::new, |age| {
            format!("  last written {} ago", figures::duration(age))
        });
        report.push_str(&format!("  {name}  {}{age}\n", ByteSize(file.bytes)));
    }
    console::print(&report)
}

fn clear(directory: &Path, console: &Console) -> anyhow::Result<()> {
    let mut freed = 0;
    for file in files(directory)? {
        if is_in_use(&file.path) {
            bail!(
                "{}: a job is using it, and its answers would be lost; clear the cache when the job \
                 has ended",
                file.path.display()
            );
        }
        std::fs::remove_file(&file.path)
            .with_context(|| format!("{}: cannot be removed", file.path.display()))?;
        freed += file.bytes;
    }
    console.say(format_args!(
        "{}: {} freed",
        directory.display(),
        ByteSize(freed)
    ));
    Ok(())
}

/// Whether a job has the file open: the cache holds a lock on it.
fn is_in_use(path: &Path) -> bool {
    let file = std::fs::File::open(path);
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The directory's files of answers, by name. Whatever else lies there is not ours to touch.
fn files(directory: &Path) -> anyhow::Result<Vec<AnswerFile>> {
    if !directory.is_dir() {
        bail!(
            "{}: there is no such directory; give the one that jobs were given with --cache-dir",
            directory.display()
        );
    }
    let listed = std::fs::read_dir(directory)
        .with_context(|| format!("{}: cannot be read", directory.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let facts = entry.metadata()?;
        if facts.is_file() && name.starts_with("answers-") && name.ends_with(".redb") {
            let age = facts.modified().ok().and_then(|time| time.elapsed().ok());
            files.push(AnswerFile {
                path: entry.path(),
                bytes: facts.len(),
                age,
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
