//! Directories that are broken: each is an error that says what and where, none a panic.

use std::fs;
use std::path::Path;

use batchwright_networks::{LoadOptions, ModelDirectory, ModelError, Network, Task};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::layouts::{copy, edit};

/// Opens and loads; the error of whichever fails.
fn load(folder: &Path) -> Result<Network, ModelError> {
    Network::load(&ModelDirectory::open(folder)?, &LoadOptions::default())
}

/// A user would meet a crash in place of a message that helps.
#[test]
fn missing_and_damaged_files_are_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 12] = [
        (
            "no config",
            |d| fs::remove_file(d.join("config.json")).unwrap(),
            &["config.json"],
        ),
        (
            "no tokenizer",
            |d| fs::remove_file(d.join("tokenizer.json")).unwrap(),
            &["tokenizer"],
        ),
        (
            "only vocab.txt",
            |d| fs::rename(d.join("tokenizer.json"), d.join("vocab.txt")).unwrap(),
            &["save_pretrained"],
        ),
        (
            "no weights",
            |d| fs::remove_file(d.join("model.safetensors")).unwrap(),
            &["model.safetensors", "missing"],
        ),
        (
            "a directory where a file should be",
            |d| {
                fs::remove_file(d.join("config.json")).unwrap();
                fs::create_dir(d.join("config.json")).unwrap();
            },
            &["config.json", "cannot be read"],
        ),
        (
            "no pooling",
            |d| fs::remove_dir_all(d.join("1_Pooling")).unwrap(),
            &["1_Pooling"],
        ),
        (
            "modules no list",
            |d| fs::write(d.join("modules.json"), "{}").unwrap(),
            &["modules.json"],
        ),
        (
            "cut config",
            |d| fs::write(d.join("config.json"), "{\"a\": ").unwrap(),
            &["config.json"],
        ),
        (
            "not utf-8",
            |d| fs::write(d.join("config.json"), b"{\"model_type\": \"\xff\"}").unwrap(),
            &["config.json"],
        ),
        (
            "another width in pooling",
            |d| {
                edit(
                    &d.join("1_Pooling/config.json"),
                    r#"{"word_embedding_dimension": 768, "embedding_dimension": 768}"#,
                )
            },
            &["1_Pooling", "768", "32"],
        ),
        (
            "sparse encoder",
            |d| {
                edit(
                    &d.join("config_sentence_transformers.json"),
                    r#"{"model_type": "SparseEncoder"}"#,
                )
            },
            &["SparseEncoder", "CrossEncoder"],
        ),
        (
            "unknown default prompt",
            |d| {
                edit(
                    &d.join("config_sentence_transformers.json"),
                    r#"{"default_prompt_name": "nothing"}"#,
                )
            },
            &["nothing", "prompts"],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, damage, words) in cases {
        let folder = copy("bert-embed");
        damage(folder.path());
        let message = load(folder.path()).unwrap_err().to_string();
        if !words.iter().all(|word| message.contains(word)) {
            wrong.push(format!("{name}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The configuration of one model with the weights of another would run and answer nonsense.
#[test]
fn configurations_that_contradict_the_weights_are_refused() {
    let cases = [
        (r#"{"hidden_size": 64}"#, "[190, 64]"),
        (r#"{"intermediate_size": 65536}"#, "65536"),
        (r#"{"vocab_size": 16777216}"#, "16777216"),
        (r#"{"max_position_embeddings": 1048576}"#, "1048576"),
        (r#"{"type_vocab_size": 3}"#, "[3, 32]"),
        (r#"{"num_hidden_layers": 3}"#, "encoder.layer.2."),
        (
            r#"{"architectures": null, "model_type": "distilbert", "dim": 32, "n_heads": 2,
                "n_layers": 2, "hidden_dim": 64}"#,
            "transformer.layer.0.",
        ),
        (
            r#"{"architectures": null, "model_type": "mpnet"}"#,
            "relative_attention_bias",
        ),
    ];
    let mut wrong = Vec::new();
    for (change, words) in cases {
        let folder = copy("bert-embed");
        // Without modules.json, whose widths would be found wrong first.
        fs::remove_file(folder.path().join("modules.json")).unwrap();
        edit(&folder.path().join("config.json"), change);
        let error = load(folder.path()).unwrap_err();
        let kind = matches!(
            error,
            ModelError::TensorShape { .. } | ModelError::MissingTensor { .. }
        );
        if !kind || !error.to_string().contains(words) {
            wrong.push(format!("{change}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let folder = copy("bert-classify");
    edit(
        &folder.path().join("config.json"),
        r#"{"id2label": {"0": "a", "1": "b"}}"#,
    );
    let error = load(folder.path()).unwrap_err();
    assert!(
        matches!(&error, ModelError::TensorShape { name, expected, .. }
            if name == "classifier.weight" && expected == &[2, 32]),
        "{error:?}"
    );
}

/// A quantised checkpoint would be read as numbers that it does not hold.
#[test]
fn weights_that_are_no_floats_are_refused() {
    let folder = copy("bert-embed");
    let path = folder.path().join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let replaced: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            if name.ends_with("intermediate.dense.weight") {
                let count = shape.iter().product();
                (name.to_owned(), Dtype::I8, shape, vec![1; count])
            } else {
                (name.to_owned(), view.dtype(), shape, view.data().to_vec())
            }
        })
        .collect();
    let views = replaced.iter().map(|(name, dtype, shape, bytes)| {
        (
            name.as_str(),
            TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let error = load(folder.path()).unwrap_err();
    assert!(
        matches!(&error, ModelError::TensorType { found, name, .. }
            if found == "I8" && name.ends_with("intermediate.dense.weight")),
        "{error:?}"
    );
}

/// Whatever bytes a file has, opening and loading must end in a network or an error.
#[test]
fn altered_bytes_never_panic() {
    let small = [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "tokenizer_config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
    ];
    let (mut refused, mut loaded) = (0, 0);
    let mut count = |result: Result<Network, ModelError>| match result {
        Ok(_) => loaded += 1,
        Err(_) => refused += 1,
    };
    let folder = copy("bert-embed");
    for name in small {
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        for cut in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            count(load(folder.path()));
        }
        for at in (0..whole.len()).step_by(1 + whole.len() / 40) {
            for byte in [b'0', b'9', b'"', b'}', b'-', 0xff] {
                let mut altered = whole.clone();
                altered[at] = byte;
                fs::write(&path, altered).unwrap();
                count(load(folder.path()));
            }
        }
        fs::write(&path, whole).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for at in (0..2048.min(whole.len())).step_by(61) {
        for byte in [0, b'9', b'"', 0xff] {
            let mut altered = whole.clone();
            altered[at] = byte;
            fs::write(&path, altered).unwrap();
            count(load(folder.path()));
        }
    }
    fs::write(&path, whole).unwrap();
    // Both happen, or the test alters nothing that matters.
    assert!(
        refused > 100 && loaded > 0,
        "{refused} refused, {loaded} loaded"
    );
    assert_eq!(load(folder.path()).unwrap().task(), Task::Embed);
}
