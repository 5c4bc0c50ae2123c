//! `cargo xtask bench`: the release build against other engines, alternating in one run; and
//! `cargo xtask clients`: other people's clients against a server.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::models;
use crate::python::environment;
use crate::steps::{debug_binary, finish, release_binary};

/// Builds the release binary and the peers' Python environment, and compares. What `arguments` say of
/// the binary or the model wins.
pub(crate) fn against_peers(root: &Path, arguments: &[String]) -> Result<()> {
    let directory = root.join("benches/peers");
    let binary = release_binary(root)?;
    let model = models::minilm()?;
    let python = environment(&directory)?;
    finish(
        Command::new(python)
            .arg(directory.join("compare.py"))
            .arg("--batchwright")
            .arg(binary)
            .arg("--model")
            .arg(model)
            .args(arguments)
            .current_dir(root),
    )
}

/// Makes the Python environment of real clients and the program, and runs the clients against a server: one of
/// their own with the tests' tiny models, or with `--url` the one there. They check and measure nothing, so the
/// program is the quickly built one; what `arguments` say of it wins.
pub(crate) fn clients(root: &Path, arguments: &[String]) -> Result<()> {
    let directory = root.join("benches/clients");
    let python = environment(&directory)?;
    let binary = debug_binary(root)?;
    finish(
        Command::new(python)
            .arg(directory.join("check.py"))
            .arg("--batchwright")
            .arg(binary)
            .args(arguments)
            .current_dir(root),
    )
}
