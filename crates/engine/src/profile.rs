//! What was measured for a model on this machine, saved so that later runs use it.

use std::path::PathBuf;

use catalogue::ResolveOptions;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::machine::Machine;

/// The settings that were measured best for a model on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Best token budget of a batch.
    pub batch_tokens: usize,
    /// What it reached, in rows a second, on the file it was measured with.
    pub rows_per_second: f64,
    /// The machine it was measured on.
    pub machine: Machine,
    /// The model, as it was named then.
    pub model: String,
}

impl Profile {
    /// Saves this as the profile of the model with `fingerprint` on the profile's machine; gives the
    /// file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, fingerprint: &[u8; 32]) -> Result<PathBuf, Error> {
        let path = path(fingerprint, &self.machine)?;
        let fail = |problem: String| Error::Profile {
            path: path.clone(),
            problem,
        };
        let content = serde_json::to_string_pretty(self).map_err(|e| fail(e.to_string()))?;
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|e| fail(e.to_string()))?;
        }
        // Written beside and renamed: a reader sees the old profile or the new one, never a half.
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        std::fs::write(&partial, content)
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|e| fail(e.to_string()))?;
        Ok(path)
    }

    /// The profile of the model with `fingerprint` on `machine`, if one was saved.
    ///
    /// # Errors
    /// If there is one and it cannot be read or understood.
    pub fn load(fingerprint: &[u8; 32], machine: &Machine) -> Result<Option<Self>, Error> {
        // Where there is no place for profiles, as in a service without a home, none was saved.
        let Ok(path) = path(fingerprint, machine) else {
            return Ok(None);
        };
        let content = match std::fs::read_to_string(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Error::Profile {
                    path,
                    problem: error.to_string(),
                });
            }
        };
        match serde_json::from_str::<Self>(&content) {
            Ok(profile) if profile.batch_tokens > 0 => Ok(Some(profile)),
            Ok(_) => Err(Error::Profile {
                path,
                problem: "`batch_tokens` is 0".into(),
            }),
            Err(error) => Err(Error::Profile {
                path,
                problem: format!(
                    "{error}; remove the file, or run `batchwright bench --save` again"
                ),
            }),
        }
    }
}

/// Beside the models' directory.
fn path(fingerprint: &[u8; 32], machine: &Machine) -> Result<PathBuf, Error> {
    let model: String = fingerprint[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let models = ResolveOptions::default().store_directory()?;
    let home = models.parent().unwrap_or(&models);
    Ok(home
        .join("profiles")
        .join(format!("{model}-{}.json", machine.id())))
}
