//! Which files of a repository a model needs, and whether a directory has them.
//!
//! A hub repository often holds the same weights three or four times (PyTorch pickles, ONNX,
//! TensorFlow). Only what the loader reads is fetched: configuration, tokenizer, safetensors.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::SourceError;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const MODULES: &str = "modules.json";
const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// Files that a model needs out of a repository, small ones first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Configuration, tokenizer, the index of sharded weights; in the repository's order.
    pub(crate) small: Vec<String>,
    /// Whole weights. For sharded weights empty: [`shards`] tells them from the index.
    pub(crate) weights: Vec<String>,
    /// The index of sharded weights.
    pub(crate) index: Option<String>,
}

/// Chooses from a repository's list of files. An error names what every supported model has and
/// this one has not.
pub(crate) fn select<'a>(
    listed: impl IntoIterator<Item = &'a str> + Clone,
) -> Result<Selection, SourceError> {
    let has = |name: &str| listed.clone().into_iter().any(|listed| listed == name);
    for needed in [CONFIG, TOKENIZER] {
        if !has(needed) {
            return Err(missing(
                needed,
                Other::there(has("vocab.txt") || has("vocab.json")),
            ));
        }
    }
    let index = (!has(WEIGHTS) && has(WEIGHTS_INDEX)).then(|| WEIGHTS_INDEX.to_owned());
    if index.is_none() && !has(WEIGHTS) {
        return Err(missing(WEIGHTS, Other::there(has("pytorch_model.bin"))));
    }
    let small = listed
        .clone()
        .into_iter()
        .filter(|path| is_small(path))
        .map(str::to_owned);
    let weights = listed
        .clone()
        .into_iter()
        .filter(|path| file_name_in_module(path) == WEIGHTS);
    Ok(Selection {
        small: small.chain(index.clone()).collect(),
        weights: weights.map(str::to_owned).collect(),
        index,
    })
}

/// Whether the same is there in a form that is not read, but can be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Form,
    None,
}

impl Other {
    fn there(there: bool) -> Other {
        if there { Other::Form } else { Other::None }
    }
}

fn missing(file: &str, other: Other) -> SourceError {
    let hint = match (file, other) {
        (TOKENIZER, Other::Form) => {
            "; it has only a slow tokenizer: load it with transformers' AutoTokenizer, call \
             save_pretrained(directory), and give that directory"
        }
        (WEIGHTS, Other::Form) => {
            "; it has only pickled weights, which are not read: load it with transformers, call \
             save_pretrained(directory), and give that directory"
        }
        _ => "",
    };
    SourceError::Incomplete {
        missing: file.to_owned(),
        hint,
    }
}

/// The part after a module's folder (`1_Pooling/config.json` has `config.json`), the path itself at
/// the root, and nothing for any other path: `onnx/config.json` is none of ours.
fn file_name_in_module(path: &str) -> &str {
    match path.split_once('/') {
        None => path,
        Some((folder, name)) => {
            let numbered = folder.split_once('_').is_some_and(|(number, word)| {
                !number.is_empty()
                    && number.bytes().all(|b| b.is_ascii_digit())
                    && !word.is_empty()
                    && is_plain(word)
            });
            if numbered && !name.contains('/') {
                name
            } else {
                ""
            }
        }
    }
}

fn is_small(path: &str) -> bool {
    let name = file_name_in_module(path);
    matches!(
        name,
        CONFIG | TOKENIZER | MODULES | "tokenizer_config.json" | "special_tokens_map.json"
    ) || name == "config_sentence_transformers.json"
        || (name.starts_with("sentence_") && name.ends_with("_config.json") && is_plain(name))
}

/// Letters, digits, dots, dashes and underscores: cannot leave a directory.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !name.starts_with('.')
        && !name.is_empty()
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

/// The shard files that an index names, each once. A name that is no plain file name is refused:
/// the index comes from the network and decides what is written.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>, SourceError> {
    let protocol = |why: String| SourceError::Protocol {
        what: WEIGHTS_INDEX.to_owned(),
        why,
    };
    let text = std::fs::read(index).map_err(SourceError::disk(index))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| protocol(e.to_string()))?;
    let names: std::collections::BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(bad) = names
        .iter()
        .find(|name| !is_plain(name) || !name.ends_with(".safetensors"))
    {
        return Err(protocol(format!("it names {bad:?} as a file of weights")));
    }
    if names.is_empty() {
        return Err(protocol("it names no file of weights".to_owned()));
    }
    Ok(names.into_iter().collect())
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(default, rename = "type")]
    class: String,
}

/// The files of a model that lie in `directory`, relative to it, weights last. An error names the
/// first that is missing.
pub(crate) fn present(directory: &Path) -> Result<Vec<String>, SourceError> {
    let has = |name: &str| directory.join(name).is_file();
    let mut files = Vec::new();
    for needed in [CONFIG, TOKENIZER] {
        if !has(needed) {
            return Err(missing(needed, Other::None));
        }
    }
    let listed = files_and_modules(directory)?;
    if has(MODULES) {
        let path = directory.join(MODULES);
        let text = std::fs::read(&path).map_err(SourceError::disk(&path))?;
        let modules: Vec<Module> =
            serde_json::from_slice(&text).map_err(|e| SourceError::Protocol {
                what: MODULES.to_owned(),
                why: e.to_string(),
            })?;
        for module in modules.iter().filter(|module| !module.path.is_empty()) {
            let config = format!("{}/{CONFIG}", module.path);
            let has_settings = ["Pooling", "Dense"]
                .iter()
                .any(|c| module.class.ends_with(c));
            if has_settings && !has(&config) {
                return Err(missing(&config, Other::None));
            }
        }
    }
    files.extend(listed.iter().filter(|path| is_small(path)).cloned());
    if has(WEIGHTS) {
        files.extend(
            listed
                .into_iter()
                .filter(|path| file_name_in_module(path) == WEIGHTS),
        );
    } else if has(WEIGHTS_INDEX) {
        files.push(WEIGHTS_INDEX.to_owned());
        for shard in shards(&directory.join(WEIGHTS_INDEX))? {
            if !has(&shard) {
                return Err(missing(&shard, Other::None));
            }
            files.push(shard);
        }
    } else {
        return Err(missing(WEIGHTS, Other::there(has("pytorch_model.bin"))));
    }
    Ok(files)
}

/// Files at the root and one level down, in the folders of modules; sorted.
fn files_and_modules(directory: &Path) -> Result<Vec<String>, SourceError> {
    let mut found = Vec::new();
    for (name, path) in entries(directory)? {
        if path.is_file() {
            found.push(name);
        } else if file_name_in_module(&format!("{name}/{CONFIG}")) == CONFIG {
            let inner = entries(&path)?
                .into_iter()
                .filter(|(_, path)| path.is_file());
            found.extend(inner.map(|(file, _)| format!("{name}/{file}")));
        }
    }
    found.sort();
    Ok(found)
}

/// What lies in a directory, with names; a name that is not Unicode is none of ours.
fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let disk = || SourceError::disk(directory);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(disk())? {
        let entry = entry.map_err(disk())?;
        if let Ok(name) = entry.file_name().into_string() {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(listed: &[&str]) -> Result<Vec<String>, SourceError> {
        select(listed.iter().copied()).map(|s| [s.small, s.weights].concat())
    }

    /// A user would download the same weights several times over, or miss the file that says how
    /// to pool and get other vectors.
    #[test]
    fn only_what_the_loader_reads_is_chosen() {
        let listed = [
            ".gitattributes",
            "README.md",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "modules.json",
            "onnx/config.json",
            "onnx/model.onnx",
            "onnx/tokenizer.json",
            "openvino/openvino_model.bin",
            "pytorch_model.bin",
            "rust_model.ot",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tf_model.h5",
            "tokenizer.json",
            "tokenizer_config.json",
            "train_script.py",
            "vocab.txt",
        ];
        assert_eq!(
            selected(&listed).unwrap(),
            [
                "1_Pooling/config.json",
                "2_Dense/config.json",
                "config.json",
                "config_sentence_transformers.json",
                "modules.json",
                "sentence_bert_config.json",
                "special_tokens_map.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "2_Dense/model.safetensors",
                "model.safetensors",
            ]
        );
        let sharded = [
            "config.json",
            "tokenizer.json",
            "model.safetensors.index.json",
        ];
        assert_eq!(selected(&sharded).unwrap(), sharded);
    }

    /// A user would be told "not found" without learning that a conversion is all it takes.
    #[test]
    fn a_repository_without_a_needed_file_is_refused_by_that_file() {
        let cases: &[(&[&str], &str, bool)] = &[
            (
                &["tokenizer.json", "model.safetensors"],
                "config.json",
                false,
            ),
            (
                &["config.json", "vocab.txt", "model.safetensors"],
                "tokenizer.json",
                true,
            ),
            (
                &["config.json", "tokenizer.json", "pytorch_model.bin"],
                "model.safetensors",
                true,
            ),
            (
                &["config.json", "tokenizer.json"],
                "model.safetensors",
                false,
            ),
        ];
        for (listed, file, hinted) in cases {
            match selected(listed) {
                Err(SourceError::Incomplete { missing, hint }) => {
                    assert_eq!(
                        (missing.as_str(), !hint.is_empty()),
                        (*file, *hinted),
                        "{listed:?}"
                    );
                }
                other => panic!("{listed:?}: {other:?}"),
            }
        }
    }

    /// A hostile repository could write outside the cache.
    #[test]
    fn names_that_leave_the_directory_are_never_chosen() {
        let base = ["config.json", "tokenizer.json", "model.safetensors"];
        for bad in [
            "../config.json",
            "1_../config.json/../../x/config.json",
            "1_a/../tokenizer.json",
            "sentence_/../../a_config.json",
            "/config.json",
            "1_/config.json",
            "1_..\\x/config.json",
        ] {
            let chosen = selected(&[&base[..], &[bad]].concat()).unwrap();
            assert_eq!(chosen, base, "{bad}");
        }
        let directory = tempfile::tempdir().unwrap();
        let index = directory.path().join("index.json");
        for bad in [
            "../a.safetensors",
            "a/b.safetensors",
            ".safetensors",
            "a.bin",
            "",
        ] {
            let text = serde_json::json!({ "weight_map": { "w": bad } }).to_string();
            std::fs::write(&index, text).unwrap();
            assert!(shards(&index).is_err(), "{bad}");
        }
    }

    /// A half-copied directory would load with the wrong pooling, or fail with words about a file
    /// that the user has never heard of.
    #[test]
    fn a_directory_is_whole_or_the_missing_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let modules = r#"[{"path":"","type":"a.Transformer"},{"path":"1_Pooling","type":"a.Pooling"},
            {"path":"2_Normalize","type":"a.Normalize"}]"#;
        let index = r#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#;
        std::fs::create_dir(at.join("1_Pooling")).unwrap();
        for (file, content, missing_before) in [
            ("config.json", "{}", "config.json"),
            ("tokenizer.json", "{}", "tokenizer.json"),
            ("modules.json", modules, "model.safetensors"),
            ("1_Pooling/config.json", "{}", "1_Pooling/config.json"),
            ("model.safetensors.index.json", index, "model.safetensors"),
            ("model-1.safetensors", "", "model-1.safetensors"),
            ("model-2.safetensors", "", "model-2.safetensors"),
        ] {
            match present(at) {
                Err(SourceError::Incomplete { missing, .. }) => assert_eq!(missing, missing_before),
                other => panic!("before {file}: {other:?}"),
            }
            std::fs::write(at.join(file), content).unwrap();
        }
        let found = present(at).unwrap();
        assert_eq!(
            found.last().map(String::as_str),
            Some("model-2.safetensors")
        );
        assert!(found.contains(&"1_Pooling/config.json".to_owned()));
    }
}
