//! `1_Pooling/config.json`: how token vectors become one vector a text.

use kernels::Pooling;
use serde_json::Value;

use super::json::{Flag, JsonFile};
use crate::error::ModelError;

/// The flags of older files, in the order in which sentence-transformers concatenates.
const FLAGS: [(&str, Mode); 6] = [
    ("pooling_mode_cls_token", Mode::Known(Pooling::Cls)),
    ("pooling_mode_max_tokens", Mode::Known(Pooling::Max)),
    ("pooling_mode_mean_tokens", Mode::Known(Pooling::Mean)),
    (
        "pooling_mode_mean_sqrt_len_tokens",
        Mode::Known(Pooling::MeanSqrt),
    ),
    ("pooling_mode_weightedmean_tokens", Mode::Refused),
    ("pooling_mode_lasttoken", Mode::Known(Pooling::Last)),
];

/// The words of newer files (`"pooling_mode": "mean"`, or a list of them).
const WORDS: [(&str, Mode); 6] = [
    ("cls", Mode::Known(Pooling::Cls)),
    ("max", Mode::Known(Pooling::Max)),
    ("mean", Mode::Known(Pooling::Mean)),
    ("mean_sqrt_len_tokens", Mode::Known(Pooling::MeanSqrt)),
    ("weightedmean", Mode::Refused),
    ("lasttoken", Mode::Known(Pooling::Last)),
];

const SUPPORTED: &str = "supported are cls, mean, max, mean_sqrt_len_tokens and lasttoken";

#[derive(Debug, Clone, Copy)]
enum Mode {
    Known(Pooling),
    Refused,
}

/// How a model pools.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolingConfig {
    /// At least one; several are concatenated in this order.
    pub(crate) modes: Vec<Pooling>,
    /// Width of the token vectors, where the file says it.
    pub(crate) width: Option<usize>,
    pub(crate) prompt: PromptPooling,
}

/// Whether the tokens of a prompt take part in pooling (`include_prompt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromptPooling {
    /// Every token takes part.
    Included,
    /// The prompt's tokens, and the special token before them, are left out: INSTRUCTOR models.
    Excluded,
}

impl PoolingConfig {
    /// What sentence-transformers does with a model that has no `modules.json`.
    pub(crate) fn mean() -> PoolingConfig {
        PoolingConfig {
            modes: vec![Pooling::Mean],
            width: None,
            prompt: PromptPooling::Included,
        }
    }

    pub(crate) fn read(config: &JsonFile) -> Result<PoolingConfig, ModelError> {
        let width = match config.whole("embedding_dimension", &(1..=65_536))? {
            Some(width) => Some(width),
            None => config.whole("word_embedding_dimension", &(1..=65_536))?,
        };
        Ok(PoolingConfig {
            modes: modes(config)?,
            width,
            prompt: match config.flag("include_prompt", Flag::On)? {
                Flag::On => PromptPooling::Included,
                Flag::Off => PromptPooling::Excluded,
            },
        })
    }
}

fn modes(config: &JsonFile) -> Result<Vec<Pooling>, ModelError> {
    let key = "pooling_mode";
    let words: Vec<&Value> = match config.get(key) {
        None => return flagged(config),
        Some(Value::Array(words)) if !words.is_empty() => words.iter().collect(),
        Some(word) => vec![word],
    };
    words
        .into_iter()
        .map(|word| {
            let mode = WORDS.iter().find(|(known, _)| word.as_str() == Some(known));
            match mode {
                Some((_, Mode::Known(pooling))) => Ok(*pooling),
                Some((_, Mode::Refused)) | None => Err(config.unsupported(key, SUPPORTED)),
            }
        })
        .collect()
}

fn flagged(config: &JsonFile) -> Result<Vec<Pooling>, ModelError> {
    let mut modes = Vec::new();
    for (key, mode) in FLAGS {
        if config.flag(key, Flag::Off)? == Flag::On {
            match mode {
                Mode::Known(pooling) => modes.push(pooling),
                Mode::Refused => return Err(config.unsupported(key, SUPPORTED)),
            }
        }
    }
    // Flags that are all false mean the default, as does a file without any.
    if modes.is_empty() {
        modes.push(Pooling::Mean);
    }
    Ok(modes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PoolingConfig, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        PoolingConfig::read(&JsonFile::read(&path, "x", "y").unwrap())
    }

    /// A user's vectors would be pooled in another way than the model was trained for.
    #[test]
    fn flags_and_words_mean_the_same() {
        let cases: [(&str, &[Pooling]); 11] = [
            (r#"{"pooling_mode_cls_token": true}"#, &[Pooling::Cls]),
            (r#"{"pooling_mode": "cls"}"#, &[Pooling::Cls]),
            (r#"{"pooling_mode_max_tokens": true}"#, &[Pooling::Max]),
            (
                r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#,
                &[Pooling::MeanSqrt],
            ),
            (
                r#"{"pooling_mode": "mean_sqrt_len_tokens"}"#,
                &[Pooling::MeanSqrt],
            ),
            (r#"{"pooling_mode_lasttoken": true}"#, &[Pooling::Last]),
            (r#"{"pooling_mode": ["lasttoken"]}"#, &[Pooling::Last]),
            // Two modes are concatenated: old flags in a fixed order, new words as written.
            (
                r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#,
                &[Pooling::Max, Pooling::Mean],
            ),
            (
                r#"{"pooling_mode": ["mean", "max"]}"#,
                &[Pooling::Mean, Pooling::Max],
            ),
            (r#"{"pooling_mode_mean_tokens": false}"#, &[Pooling::Mean]),
            (r#"{}"#, &[Pooling::Mean]),
        ];
        for (json, modes) in cases {
            assert_eq!(read(json).unwrap().modes, modes, "{json}");
        }
    }

    /// A model that leaves its prompt out of the mean would embed with it.
    #[test]
    fn widths_and_prompts_are_read_from_both_layouts() {
        let old = read(r#"{"word_embedding_dimension": 8, "include_prompt": false}"#).unwrap();
        assert_eq!((old.width, old.prompt), (Some(8), PromptPooling::Excluded));
        let new = read(r#"{"embedding_dimension": 8, "pooling_mode": "mean"}"#).unwrap();
        assert_eq!((new.width, new.prompt), (Some(8), PromptPooling::Included));
    }

    /// A model would be pooled in a way that it was not trained for.
    #[test]
    fn other_modes_are_refused_by_name() {
        for json in [
            r#"{"pooling_mode": "weightedmean"}"#,
            r#"{"pooling_mode_weightedmean_tokens": true}"#,
            r#"{"pooling_mode": "attention"}"#,
            r#"{"pooling_mode": []}"#,
            r#"{"pooling_mode": 3}"#,
        ] {
            let error = read(json).unwrap_err();
            assert!(
                matches!(error, ModelError::UnsupportedSetting { .. }),
                "{json}: {error:?}"
            );
        }
    }
}
