//! Runs the commands that the README shows, so that it stays true.
//!
//! A block is run if its fence says so after the language, where no reader sees it:
//!
//! ````text
//! ```sh check
//! cargo run --release -- embed examples/queries.csv -o vectors.parquet
//! ```
//! ````
//!
//! In a block of `console check`, the lines that begin with `$ ` are run (with their continuations)
//! and what stands below each is not compared: times and sizes differ from machine to machine.
//! Commands see a copy of `examples/` and leave their output in a temporary directory.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::steps::{finish, release_binary};

/// Runs every checked block of README.md, each command on its own.
pub(crate) fn check(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(root.join("README.md")).context("cannot read README.md")?;
    let commands = commands(&text);
    if commands.is_empty() {
        bail!("README.md has no block marked `check`");
    }
    let binary = release_binary(root)?;
    let bench = Bench::new(root, binary.parent().unwrap_or(root))?;
    for command in &commands {
        bench.run(command)?;
    }
    println!("{} commands ran", commands.len());
    Ok(())
}

/// A directory with the examples, the binary in the path; gone when dropped.
struct Bench {
    directory: TempDir,
    path: std::ffi::OsString,
}

impl Bench {
    fn new(root: &Path, binaries: &Path) -> Result<Bench> {
        let directory = tempfile::tempdir()?;
        std::fs::create_dir(directory.path().join("examples"))?;
        let bench = Bench {
            directory,
            path: std::env::join_paths(std::iter::once(binaries.to_path_buf()).chain(
                std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()),
            ))?,
        };
        for entry in std::fs::read_dir(root.join("examples")).context("cannot read examples/")? {
            let entry = entry?;
            if entry.path().is_file() {
                std::fs::copy(
                    entry.path(),
                    bench
                        .directory
                        .path()
                        .join("examples")
                        .join(entry.file_name()),
                )?;
            }
        }
        Ok(bench)
    }

    fn run(&self, command: &str) -> Result<()> {
        // The reader builds and runs in one command; here it is built already.
        let command = command.replace("cargo run --release -- ", "batchwright ");
        finish(
            Command::new("sh")
                .args(["-euc", &command])
                .env("PATH", &self.path)
                .current_dir(self.directory.path()),
        )
    }
}

/// The commands of the checked blocks, in order.
fn commands(markdown: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut fence: Option<Fence> = None;
    let mut continues = false;
    for line in markdown.lines() {
        let Some(kind) = fence else {
            fence = line.trim_start().strip_prefix("```").map(Fence::of);
            continue;
        };
        if line.trim() == "```" {
            fence = None;
            continues = false;
            continue;
        }
        let typed = match kind {
            Fence::Shown => None,
            Fence::Script => Some(line).filter(|l| !l.trim().is_empty() && !l.starts_with('#')),
            Fence::Console => line.strip_prefix("$ ").or(continues.then_some(line)),
        };
        let Some(typed) = typed else { continue };
        match commands.last_mut() {
            Some(command) if continues => {
                command.push('\n');
                command.push_str(typed);
            }
            _ => commands.push(typed.to_owned()),
        }
        continues = typed.ends_with('\\');
    }
    commands
}

/// What a fenced block is for.
#[derive(Clone, Copy)]
enum Fence {
    /// Only to be read.
    Shown,
    /// Every line is a command.
    Script,
    /// Commands after `$ `, and what they print.
    Console,
}

impl Fence {
    fn of(info: &str) -> Fence {
        let mut words = info.split_whitespace();
        match (words.next(), words.next()) {
            (Some("sh" | "bash" | "shell"), Some("check")) => Fence::Script,
            (Some("console"), Some("check")) => Fence::Console,
            _ => Fence::Shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command in the README would rot unseen, or output would be run as a command.
    #[test]
    fn only_marked_blocks_are_run() {
        let text = "\
words
```sh
not this
```
```sh check
first a \\
  b

# a comment
second
```
```console check
$ third | \\
  wc -l
3
$ fourth
output
```
```rust
$ nor this
```
";
        assert_eq!(
            commands(text),
            ["first a \\\n  b", "second", "third | \\\n  wc -l", "fourth"]
        );
    }
}
