//! Python programs with packages of their own: the makers of the golden files and the peers.
//!
//! None of them is needed to build, test or run Batchwright.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::models;
use crate::steps::finish;

/// Makes the golden files anew, in place.
pub(crate) fn golden(root: &Path, arguments: &[String]) -> Result<()> {
    let directory = root.join("xtask/golden");
    let python = environment(&directory)?;
    let minilm = models::minilm()?;
    finish(
        Command::new(python)
            .arg(directory.join("make_golden.py"))
            .arg(root.join("crates/testing/golden"))
            .arg("--minilm")
            .arg(minilm)
            .args(arguments)
            .current_dir(root),
    )
}

/// The interpreter of `directory/.venv`, which has the packages of `directory/requirements.txt`.
/// Made at first, and brought up to date when the list has changed.
pub(crate) fn environment(directory: &Path) -> Result<PathBuf> {
    let requirements = directory.join("requirements.txt");
    let wanted = std::fs::read(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let venv = directory.join(".venv");
    let python = if cfg!(windows) {
        venv.join("Scripts/python.exe")
    } else {
        venv.join("bin/python")
    };
    let installed = venv.join("installed.txt");
    if python.is_file() && std::fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    if !python.is_file() {
        finish(Command::new(interpreter()?).args(["-m", "venv"]).arg(&venv))?;
    }
    finish(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(&requirements),
    )?;
    // Written last: an interrupted installation is taken up again.
    std::fs::write(&installed, wanted).context("cannot write installed.txt")?;
    Ok(python)
}

fn interpreter() -> Result<&'static str> {
    for name in ["python3", "python"] {
        let version = Command::new(name).arg("--version").output();
        if version.is_ok_and(|output| output.status.success()) {
            return Ok(name);
        }
    }
    bail!("no python3 found; install Python 3 with venv and pip")
}
