//! The repository's own commands: `cargo xtask <command>`.
//!
//! They are a crate and not scripts so that they need nothing but the Rust toolchain, and so that
//! they may use the workspace's crates (the tests' model comes through the catalogue).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "commands for developers speak to the terminal"
)]

mod bench;
mod check;
mod measure;
mod models;
mod python;
mod readme;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The repository's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything: format, lints, all tests with a real model, documentation, README
    Test(check::Options),
    /// Fetch the models that the tests use and print where they are
    Models,
    /// Make the golden files anew with PyTorch and transformers (their last bits depend on the processor)
    Golden {
        /// What make_golden.py takes besides the output directory
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure the release build against other engines in one run
    Bench {
        /// What compare.py takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ask a server through other people's clients, and compare with the command line
    Clients {
        /// What check.py takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure memory, the cache and a large job with the release build and the real model
    Measure(measure::Options),
    /// Check licences and sources of the dependencies (needs cargo-deny)
    Deny,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let root = root()?;
    match arguments.command {
        Command::Test(options) => check::everything(&root, &options),
        Command::Models => {
            println!("{}", models::minilm()?.display());
            Ok(())
        }
        Command::Golden { arguments } => python::golden(&root, &arguments),
        Command::Bench { arguments } => bench::against_peers(&root, &arguments),
        Command::Clients { arguments } => bench::clients(&root, &arguments),
        Command::Measure(options) => measure::measure(&root, &options),
        Command::Deny => check::deny(&root),
    }
}

/// The repository's root, wherever the command was called.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .map(Path::to_path_buf)
        .context("xtask does not lie in a repository")
}
