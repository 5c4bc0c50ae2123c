//! The prompts of `config_sentence_transformers.json`: words to put before a text.

use serde_json::Value;

use super::json::JsonFile;
use crate::error::ModelError;

/// A model's named prompts, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompts {
    named: Vec<(String, String)>,
    default: Option<usize>,
}

impl Prompts {
    /// The prompt with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named
            .iter()
            .find_map(|(known, prompt)| (known == name).then_some(prompt.as_str()))
    }

    /// The prompt that applies when the user names none (`default_prompt_name`), if there is one.
    pub fn default_prompt(&self) -> Option<&str> {
        self.default
            .and_then(|index| self.named.get(index))
            .map(|(_, prompt)| prompt.as_str())
    }

    /// The names, for messages and help.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn read(config: &JsonFile) -> Result<Prompts, ModelError> {
        let mut named = Vec::new();
        if let Some(prompts) = config.object("prompts")? {
            for (name, prompt) in prompts {
                let Value::String(prompt) = prompt else {
                    return Err(config.invalid("prompts", "a string for every name"));
                };
                named.push((name.clone(), prompt.clone()));
            }
        }
        let default = match config.text("default_prompt_name")? {
            None => None,
            Some(wanted) => match named.iter().position(|(name, _)| name == wanted) {
                Some(index) => Some(index),
                None => {
                    return Err(config.invalid("default_prompt_name", "a name listed in `prompts`"));
                }
            },
        };
        Ok(Prompts { named, default })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Prompts, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        Prompts::read(&JsonFile::read(&path, "x", "y").unwrap())
    }

    /// A user's queries would be embedded without the words that the model was trained with.
    #[test]
    fn prompts_are_found_by_name_and_by_default() {
        let prompts = read(
            r#"{"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}"#,
        )
        .unwrap();
        assert_eq!(prompts.get("query"), Some("query: "));
        assert_eq!(prompts.get("document"), Some(""));
        assert_eq!(prompts.get("passage"), None);
        assert_eq!(prompts.default_prompt(), Some("query: "));
        assert_eq!(prompts.names().collect::<Vec<_>>(), ["query", "document"]);
        let none = read(r#"{"prompts": {}, "default_prompt_name": null}"#).unwrap();
        assert_eq!((none.default_prompt(), none.names().count()), (None, 0));
    }

    /// Texts would be embedded without the words that the maker meant for all of them.
    #[test]
    fn a_default_that_is_not_there_is_refused() {
        for json in [
            r#"{"prompts": {"a": "b"}, "default_prompt_name": "query"}"#,
            r#"{"prompts": {"a": 1}}"#,
            r#"{"prompts": "query: "}"#,
        ] {
            let error = read(json).unwrap_err();
            assert!(
                matches!(error, ModelError::InvalidSetting { .. }),
                "{json}: {error:?}"
            );
        }
    }
}
