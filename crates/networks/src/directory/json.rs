//! Reading JSON objects with typed access whose errors name the file, the key and the value.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::ModelError;

/// One JSON object read from a file. A key that is `null` counts as absent, as it does in Python.
#[derive(Debug, Clone)]
pub(crate) struct JsonFile {
    path: PathBuf,
    map: Map<String, Value>,
}

/// Parses a file of any JSON type; `None` where there is no such file.
pub(crate) fn read_value(path: &Path) -> Result<Option<Value>, ModelError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(ModelError::Unreadable {
                path: path.to_owned(),
                message: error.to_string(),
            });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ModelError::Json {
            path: path.to_owned(),
            message: error.to_string(),
        })
}

impl JsonFile {
    /// Reads an object; `None` where there is no such file.
    pub(crate) fn read_optional(path: &Path) -> Result<Option<JsonFile>, ModelError> {
        match read_value(path)? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(JsonFile {
                path: path.to_owned(),
                map,
            })),
            Some(other) => Err(ModelError::Json {
                path: path.to_owned(),
                message: format!("expected an object, found {}", brief(&other)),
            }),
        }
    }

    /// Reads an object that must be there.
    pub(crate) fn read(
        path: &Path,
        what: &'static str,
        remedy: &str,
    ) -> Result<JsonFile, ModelError> {
        JsonFile::read_optional(path)?.ok_or_else(|| ModelError::MissingFile {
            path: path.to_owned(),
            what,
            remedy: remedy.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a key; absent and `null` are the same.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn invalid(&self, key: &str, expected: impl Into<String>) -> ModelError {
        ModelError::InvalidSetting {
            path: self.path.clone(),
            key: key.to_owned(),
            value: self.map.get(key).map_or_else(|| "absent".to_owned(), brief),
            expected: expected.into(),
        }
    }

    pub(crate) fn unsupported(&self, key: &str, supported: impl Into<String>) -> ModelError {
        ModelError::UnsupportedSetting {
            path: self.path.clone(),
            key: key.to_owned(),
            value: self.map.get(key).map_or_else(|| "absent".to_owned(), brief),
            supported: supported.into(),
        }
    }

    /// A whole number within a range, where the key is there.
    pub(crate) fn whole(
        &self,
        key: &str,
        range: &RangeInclusive<usize>,
    ) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| range.contains(number))
            .map(Some)
            .ok_or_else(|| {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.invalid(key, expected)
            })
    }

    /// Any number, where the key is there (some files write 1e30 for "no limit").
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .map(Some)
            .ok_or_else(|| self.invalid(key, "a number"))
    }

    /// A truth value, or `default` where the key is absent.
    pub(crate) fn flag(&self, key: &str, default: Flag) -> Result<Flag, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(true)) => Ok(Flag::On),
            Some(Value::Bool(false)) => Ok(Flag::Off),
            Some(_) => Err(self.invalid(key, "true or false")),
        }
    }

    /// A string, where the key is there.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| self.invalid(key, "a string"))
    }

    /// An object, where the key is there.
    pub(crate) fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_object()
            .map(Some)
            .ok_or_else(|| self.invalid(key, "an object"))
    }
}

/// A truth value of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    On,
    Off,
}

/// A value for a message: whole where it is short, cut where it is not.
pub(crate) fn brief(value: &Value) -> String {
    let whole = value.to_string();
    match whole.char_indices().nth(60) {
        None => whole,
        Some((end, _)) => format!("{}…", &whole[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    /// A user would get a crash or a wrong model from a damaged file instead of a message.
    #[test]
    fn damaged_files_are_errors() {
        for content in ["", "{", "[1]", "null", "{\"a\": 1}}", "\u{feff}{}"] {
            let (_folder, path) = file(content);
            let error = JsonFile::read(&path, "x", "y").unwrap_err();
            assert!(
                matches!(error, ModelError::Json { .. }),
                "{content:?}: {error:?}"
            );
        }
    }

    /// A user would have to guess which line of which file is wrong.
    #[test]
    fn a_value_of_the_wrong_type_names_key_and_value() {
        let (_folder, path) = file(r#"{"heads": 0, "act": 3, "deep": {"a": 1}, "none": null}"#);
        let json = JsonFile::read(&path, "x", "y").unwrap();
        assert_eq!(
            json.whole("heads", &(1..=64)),
            Err(ModelError::InvalidSetting {
                path: path.clone(),
                key: "heads".into(),
                value: "0".into(),
                expected: "a whole number from 1 to 64".into(),
            })
        );
        assert!(json.text("act").is_err());
        assert!(json.flag("act", Flag::On).is_err());
        assert!(json.number("deep").is_err());
        assert_eq!(json.whole("none", &(1..=64)), Ok(None));
        assert_eq!(json.flag("absent", Flag::On), Ok(Flag::On));
    }

    /// A message would be a whole configuration file.
    #[test]
    fn long_values_are_cut_in_messages() {
        assert!(brief(&Value::String("ä".repeat(500))).chars().count() < 70);
    }
}
