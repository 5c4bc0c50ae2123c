//! `cargo xtask bench`: the release build against other engines, alternating in one run.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::python::environment;
use crate::steps::{cargo, finish};

/// Builds the release binary and the peers' Python environment, and compares.
pub(crate) fn against_peers(root: &Path, arguments: &[String]) -> Result<()> {
    let directory = root.join("benches/peers");
    let script = directory.join("compare.py");
    if !script.is_file() {
        bail!("{} is missing", script.display());
    }
    finish(&mut cargo(
        root,
        &["build", "--release", "--package", "batchwright-cli"],
    ))?;
    let python = environment(&directory)?;
    finish(
        Command::new(python)
            .arg(script)
            .args(arguments)
            .current_dir(root),
    )
}
