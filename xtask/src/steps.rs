//! Steps with their time, and one table at the end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs steps, all of them: one failure must not hide the next.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: &'static str,
    time: Duration,
    failure: Option<String>,
}

impl Steps {
    /// Runs one step; gives what it gave, or nothing where it failed.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        println!("\n=== {name}");
        let start = Instant::now();
        let outcome = step();
        let time = start.elapsed();
        let (value, failure) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        match &failure {
            None => println!("=== {name}: passed in {:.1} s", time.as_secs_f32()),
            Some(why) => println!(
                "=== {name}: FAILED after {:.1} s: {why}",
                time.as_secs_f32()
            ),
        }
        self.done.push(Done {
            name,
            time,
            failure,
        });
        value
    }

    /// Prints the table; an error if any step failed.
    pub(crate) fn finish(self) -> Result<()> {
        let total: Duration = self.done.iter().map(|done| done.time).sum();
        println!();
        for done in &self.done {
            let word = if done.failure.is_none() {
                "passed"
            } else {
                "FAILED"
            };
            println!("{word}  {:>7.1} s  {}", done.time.as_secs_f32(), done.name);
        }
        println!("        {:>7.1} s  in all", total.as_secs_f32());
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|done| done.failure.is_some())
            .map(|done| done.name)
            .collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        println!("\nall steps passed");
        Ok(())
    }
}

/// Builds the release binary; gives its path.
pub(crate) fn release_binary(root: &Path) -> Result<PathBuf> {
    binary(root, "release")
}

/// Builds the binary that is quickly built; gives its path.
pub(crate) fn debug_binary(root: &Path) -> Result<PathBuf> {
    binary(root, "dev")
}

fn binary(root: &Path, profile: &str) -> Result<PathBuf> {
    let build = [
        "build",
        "--profile",
        profile,
        "--package",
        "batchwright-cli",
    ];
    finish(&mut cargo(root, &build))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let name = format!("batchwright{}", std::env::consts::EXE_SUFFIX);
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(root.join(target).join(folder).join(name))
}

/// The cargo that runs us, in the repository's root.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root);
    command
}

/// Runs a command to its end, its words going where ours go. Fails where it fails.
pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let words = words(command);
    println!("$ {words}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}`: {status}");
    }
    Ok(())
}

/// A command as one would type it.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broken commit would pass: a failed step hidden by a later good one.
    #[test]
    fn one_failure_fails_the_whole_and_stops_nothing() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("first", || Ok(1)), Some(1));
        assert_eq!(
            steps.run("second", || -> Result<i32> { bail!("broken") }),
            None
        );
        assert_eq!(steps.run("third", || Ok(3)), Some(3));
        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: second");

        let mut good = Steps::default();
        good.run("only", || Ok(()));
        good.finish().unwrap();
    }

    /// A command that fails would count as a passed step.
    #[test]
    fn a_command_s_exit_status_counts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        finish(&mut cargo(root, &["--version"])).unwrap();
        assert!(finish(&mut cargo(root, &["no-such-subcommand-of-cargo"])).is_err());
        assert!(finish(&mut Command::new("no-such-program-anywhere")).is_err());
    }
}
