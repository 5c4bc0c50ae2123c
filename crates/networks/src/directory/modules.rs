//! sentence-transformers' `modules.json`: which modules follow the encoder, and their settings.

use std::path::{Component, Path, PathBuf};

use kernels::Activation;
use serde_json::Value;

use super::json::{Flag, JsonFile, read_value};
use super::pooling::PoolingConfig;
use crate::error::ModelError;

const SUPPORTED: &str = "Transformer (first), Pooling (second), then any of Dense and Normalize";

/// What `modules.json` says: the encoder's folder, and what is done with its hidden states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Modules {
    /// Folder of the encoder's `config.json` and weights, relative to the model's directory.
    pub(crate) encoder: PathBuf,
    /// `None` where the only module is the encoder: a cross-encoder.
    pub(crate) pooling: Option<PoolingConfig>,
    /// What follows pooling, in order.
    pub(crate) after: Vec<AfterPooling>,
    /// Every file that was read or will be, relative to the model's directory.
    pub(crate) files: Vec<PathBuf>,
}

/// One module behind pooling.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AfterPooling {
    Dense(DenseConfig),
    Normalize,
}

/// A linear layer over the pooled vector, with weights of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DenseConfig {
    /// The module's folder, relative to the model's directory.
    pub(crate) folder: PathBuf,
    pub(crate) in_features: usize,
    pub(crate) out_features: usize,
    pub(crate) bias: Bias,
    pub(crate) activation: Activation,
}

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Present,
    Absent,
}

impl Modules {
    /// Reads `modules.json` of a directory; `None` where there is none.
    pub(crate) fn read(root: &Path) -> Result<Option<Modules>, ModelError> {
        let path = root.join("modules.json");
        let Some(value) = read_value(&path)? else {
            return Ok(None);
        };
        let Value::Array(entries) = value else {
            return Err(ModelError::Json {
                path,
                message: "expected a list of modules".to_owned(),
            });
        };
        let mut modules = Modules {
            encoder: PathBuf::new(),
            pooling: None,
            after: Vec::new(),
            files: vec!["modules.json".into()],
        };
        if entries.is_empty() {
            return Err(unsupported(&path, "(an empty list)"));
        }
        for (index, entry) in entries.iter().enumerate() {
            let kind = field(&path, entry, "type")?;
            let folder = inside(&path, field(&path, entry, "path")?)?;
            // sentence-transformers moved its modules between releases; the class name stayed.
            let class = kind
                .starts_with("sentence_transformers.")
                .then(|| kind.rsplit('.').next().unwrap_or_default());
            match (index, class) {
                (0, Some("Transformer")) => modules.encoder = folder,
                (1, Some("Pooling")) => {
                    let config = modules.settings(root, &folder)?;
                    modules.pooling = Some(PoolingConfig::read(&config)?);
                }
                (2.., Some("Dense")) => {
                    let config = modules.settings(root, &folder)?;
                    modules
                        .after
                        .push(AfterPooling::Dense(dense(&config, folder)?));
                }
                (2.., Some("Normalize")) => modules.after.push(AfterPooling::Normalize),
                // At inference dropout is the identity.
                (2.., Some("Dropout")) => {}
                _ => return Err(unsupported(&path, kind)),
            }
        }
        Ok(Some(modules))
    }

    fn settings(&mut self, root: &Path, folder: &Path) -> Result<JsonFile, ModelError> {
        let file = folder.join("config.json");
        let config = JsonFile::read(
            &root.join(&file),
            "the configuration of a module in modules.json",
            "fetch the model again with its subdirectories",
        )?;
        self.files.push(file);
        Ok(config)
    }
}

fn unsupported(path: &Path, found: &str) -> ModelError {
    ModelError::UnsupportedModule {
        path: path.to_owned(),
        found: found.to_owned(),
        supported: SUPPORTED,
    }
}

fn field<'a>(path: &Path, entry: &'a Value, key: &str) -> Result<&'a str, ModelError> {
    entry
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| ModelError::InvalidSetting {
            path: path.to_owned(),
            key: key.to_owned(),
            value: super::json::brief(entry),
            expected: "a string in every module".to_owned(),
        })
}

/// A path that stays inside the model's directory: a model fetched from anywhere must not make us
/// read files elsewhere.
pub(crate) fn inside(file: &Path, relative: &str) -> Result<PathBuf, ModelError> {
    let path = PathBuf::from(relative);
    let stays = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if stays {
        Ok(path)
    } else {
        Err(ModelError::InvalidSetting {
            path: file.to_owned(),
            key: "path".to_owned(),
            value: format!("{relative:?}"),
            expected: "a path inside the model's directory".to_owned(),
        })
    }
}

fn dense(config: &JsonFile, folder: PathBuf) -> Result<DenseConfig, ModelError> {
    let width = |key| {
        config
            .whole(key, &(1..=65_536))?
            .ok_or_else(|| config.invalid(key, "a whole number from 1 to 65536"))
    };
    for key in ["module_input_name", "module_output_name"] {
        if config
            .text(key)?
            .is_some_and(|name| name != "sentence_embedding")
        {
            return Err(config.unsupported(key, "only `sentence_embedding` is"));
        }
    }
    if config.flag("use_residual", Flag::Off)? == Flag::On {
        return Err(config.unsupported("use_residual", "only false is"));
    }
    // The class's own default is tanh.
    let activation = match config.text("activation_function")? {
        None => Activation::Tanh,
        Some(name) => torch_activation(name).ok_or_else(|| {
            config.unsupported(
                "activation_function",
                "supported are torch.nn's Identity, Tanh, ReLU, GELU and SiLU",
            )
        })?,
    };
    Ok(DenseConfig {
        folder,
        in_features: width("in_features")?,
        out_features: width("out_features")?,
        bias: match config.flag("bias", Flag::On)? {
            Flag::On => Bias::Present,
            Flag::Off => Bias::Absent,
        },
        activation,
    })
}

/// The activation that a torch class path such as `torch.nn.modules.activation.Tanh` names.
fn torch_activation(path: &str) -> Option<Activation> {
    let class = path
        .starts_with("torch.")
        .then(|| path.rsplit('.').next())??;
    match class {
        "Identity" => Some(Activation::Identity),
        "Tanh" => Some(Activation::Tanh),
        "ReLU" => Some(Activation::Relu),
        "GELU" => Some(Activation::GeluErf),
        "SiLU" => Some(Activation::Silu),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Pooling;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    const POOLING: &str = r#"{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}"#;

    /// A user's model would lose its projection or its normalisation without a word.
    #[test]
    fn both_generations_of_class_paths_are_understood() {
        for (transformer, pooling, dense, normalize) in [
            (
                "sentence_transformers.models.Transformer",
                "sentence_transformers.models.Pooling",
                "sentence_transformers.models.Dense",
                "sentence_transformers.models.Normalize",
            ),
            (
                "sentence_transformers.base.modules.transformer.Transformer",
                "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
                "sentence_transformers.base.modules.dense.Dense",
                "sentence_transformers.base.modules.normalize.Normalize",
            ),
        ] {
            let json = format!(
                r#"[{{"path": "0_Transformer", "type": "{transformer}"}},
                    {{"path": "1_Pooling", "type": "{pooling}"}},
                    {{"path": "2_Dense", "type": "{dense}"}},
                    {{"path": "3_Normalize", "type": "{normalize}"}}]"#
            );
            let folder = directory(&[
                ("modules.json", &json),
                ("1_Pooling/config.json", POOLING),
                (
                    "2_Dense/config.json",
                    r#"{"in_features": 8, "out_features": 4, "bias": false,
                        "activation_function": "torch.nn.modules.linear.Identity"}"#,
                ),
            ]);
            let modules = Modules::read(folder.path()).unwrap().unwrap();
            assert_eq!(modules.encoder, Path::new("0_Transformer"));
            assert_eq!(modules.pooling.unwrap().modes, [Pooling::Mean]);
            assert_eq!(
                modules.after,
                [
                    AfterPooling::Dense(DenseConfig {
                        folder: "2_Dense".into(),
                        in_features: 8,
                        out_features: 4,
                        bias: Bias::Absent,
                        activation: Activation::Identity,
                    }),
                    AfterPooling::Normalize,
                ]
            );
        }
    }

    /// A step of the model would be left out, and its vectors be others.
    #[test]
    fn other_modules_and_orders_are_refused_by_name() {
        let transformer = r#"{"path": "", "type": "sentence_transformers.models.Transformer"}"#;
        let pooling = r#"{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}"#;
        let cases = [
            (
                format!(
                    r#"[{transformer}, {pooling},
                            {{"path": "2_LSTM", "type": "sentence_transformers.models.LSTM"}}]"#
                ),
                "sentence_transformers.models.LSTM",
            ),
            (
                format!(r#"[{transformer}, {{"path": "1", "type": "my_package.Pooling"}}]"#),
                "my_package.Pooling",
            ),
            (
                format!("[{pooling}, {transformer}]"),
                "sentence_transformers.models.Pooling",
            ),
            ("[]".to_owned(), "(an empty list)"),
        ];
        for (json, name) in cases {
            let folder = directory(&[("modules.json", &json), ("1_Pooling/config.json", POOLING)]);
            let error = Modules::read(folder.path()).unwrap_err();
            assert!(
                matches!(&error, ModelError::UnsupportedModule { found, .. } if found == name),
                "{error:?}"
            );
        }
    }

    /// A malicious model would read files outside its directory.
    #[test]
    fn paths_stay_inside_the_directory() {
        for path in ["../elsewhere", "/etc", "1_Pooling/../../elsewhere"] {
            let json = format!(
                r#"[{{"path": {path:?}, "type": "sentence_transformers.models.Transformer"}}]"#
            );
            let folder = directory(&[("modules.json", &json)]);
            let error = Modules::read(folder.path()).unwrap_err();
            assert!(
                matches!(error, ModelError::InvalidSetting { .. }),
                "{path}: {error:?}"
            );
        }
    }

    /// Half a download would be pooled by guess.
    #[test]
    fn a_module_without_its_configuration_is_a_missing_file() {
        let json = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
                       {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
        let folder = directory(&[("modules.json", json)]);
        let error = Modules::read(folder.path()).unwrap_err();
        assert!(
            matches!(&error, ModelError::MissingFile { path, .. }
                if path.ends_with("1_Pooling/config.json")),
            "{error:?}"
        );
    }
}
