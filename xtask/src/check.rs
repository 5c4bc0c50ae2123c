//! `cargo xtask test`: everything that must hold before a change is good.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::steps::{Steps, cargo, finish};
use crate::{models, readme};

/// Tells the tests where the real model lies. Those that need it pass by without it, so it is set
/// here whenever the model could be fetched, and the step that fetches fails where it could not.
const MINILM: &str = "BATCHWRIGHT_TEST_MINILM";

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave the commands of the README out; they need the release build
    #[arg(long)]
    skip_readme: bool,
}

/// Runs every step and fails if one fails.
pub(crate) fn everything(root: &Path, options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    let run = |arguments: &[&str]| finish(&mut cargo(root, arguments));

    steps.run("format", || run(&["fmt", "--all", "--check"]));
    // Compiles the benchmarks and examples as well, which `cargo test` does not run.
    steps.run("lints", || {
        run(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ])
    });
    let model = steps.run("models", models::minilm);
    let test = |arguments: &[&str]| {
        let mut command = cargo(root, arguments);
        match &model {
            Some(directory) => command.env(MINILM, directory),
            None => command.env_remove(MINILM),
        };
        finish(&mut command)
    };
    steps.run("unit and integration tests", || {
        test(&[
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
            "--no-fail-fast",
        ])
    });
    steps.run("documentation tests", || {
        test(&["test", "--workspace", "--doc", "--no-fail-fast"])
    });
    steps.run("documentation", || {
        let mut command = cargo(root, &["doc", "--workspace", "--no-deps"]);
        finish(command.env("RUSTDOCFLAGS", "--deny warnings"))
    });
    if !options.skip_readme {
        steps.run("README", || readme::check(root));
    }
    steps.finish()
}

/// `cargo deny check`, where it is installed.
pub(crate) fn deny(root: &Path) -> Result<()> {
    let mut version = Command::new("cargo-deny");
    let installed = version
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !installed {
        bail!("cargo-deny is not installed; `cargo install --locked cargo-deny` does so");
    }
    finish(&mut cargo(root, &["deny", "check"]))
}
