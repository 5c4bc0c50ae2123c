//! Directories as they come: sentence-transformers' generations, options that change an embedding,
//! prompts that pooling leaves out.

use std::fs;
use std::path::Path;

use batchwright_networks::{
    LetterCase, LoadOptions, ModelDirectory, ModelError, Network, Normalize, Pooling,
    PromptPooling, Task, TokenBatch, Workspace,
};
use kernels::Solo;
use safetensors::SafeTensors;
use testing::golden::{Golden, save_tensors, unit};

/// A copy of a golden model that a test may change.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    Golden::load(name).copy()
}

/// Sets keys of a JSON object; null removes.
pub(crate) fn edit(path: &Path, change: &str) {
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let change: serde_json::Value = serde_json::from_str(change).unwrap();
    for (key, value) in change.as_object().unwrap() {
        json[key] = value.clone();
    }
    fs::write(path, json.to_string()).unwrap();
}

fn embed(folder: &Path, options: &LoadOptions, batch: &TokenBatch<'_>) -> Vec<f32> {
    let network = Network::load(&ModelDirectory::open(folder).unwrap(), options).unwrap();
    let mut answers = Vec::new();
    network
        .run(&Solo, batch, &mut Workspace::default(), &mut answers)
        .unwrap();
    answers
}

const IDS: &[u32] = &[2, 42, 164, 19, 3];

fn batch() -> TokenBatch<'static> {
    TokenBatch {
        ids: IDS,
        lengths: &[5],
        ..TokenBatch::default()
    }
}

fn near(got: &[f32], want: &[f32]) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-6)
}

/// The last hidden state of [`IDS`], by token.
fn hidden(name: &str) -> Vec<Vec<f32>> {
    let directory = ModelDirectory::open(&testing::golden::root().join(name)).unwrap();
    let network = Network::load(&directory, &LoadOptions::default()).unwrap();
    let states = network
        .hidden_states(&Solo, &batch(), &mut Workspace::default())
        .unwrap();
    let width = network.config().hidden;
    states
        .last()
        .unwrap()
        .chunks(width)
        .map(<[f32]>::to_vec)
        .collect()
}

fn mean(tokens: &[Vec<f32>]) -> Vec<f32> {
    let count = tokens.len() as f32;
    (0..tokens[0].len())
        .map(|at| tokens.iter().map(|t| t[at]).sum::<f32>() / count)
        .collect()
}

/// `--pooling`, `--normalize` and `--dimensions` would do something else than they say.
#[test]
fn options_override_the_models_own_modules() {
    let root = testing::golden::root().join("bert-embed");
    let tokens = hidden("bert-embed");
    let plain = LoadOptions {
        normalize: Some(Normalize::No),
        ..LoadOptions::default()
    };
    let cases = [
        (LoadOptions::default(), unit(&mean(&tokens))),
        (plain, mean(&tokens)),
        (
            LoadOptions {
                pooling: Some(Pooling::Cls),
                ..plain
            },
            tokens[0].clone(),
        ),
        (
            LoadOptions {
                pooling: Some(Pooling::Last),
                ..plain
            },
            tokens[4].clone(),
        ),
        (
            LoadOptions {
                dimensions: Some(6),
                ..plain
            },
            mean(&tokens)[..6].to_vec(),
        ),
        (
            LoadOptions {
                dimensions: Some(6),
                ..LoadOptions::default()
            },
            unit(&mean(&tokens)[..6]),
        ),
    ];
    for (options, want) in cases {
        let got = embed(&root, &options, &batch());
        assert!(
            near(&got, &want),
            "{options:?}\n got {got:?}\nwant {want:?}"
        );
    }
    let directory = ModelDirectory::open(&root).unwrap();
    for asked in [0, 33] {
        let options = LoadOptions {
            dimensions: Some(asked),
            ..LoadOptions::default()
        };
        assert_eq!(
            Network::load(&directory, &options).unwrap_err(),
            ModelError::Dimensions {
                path: root.clone(),
                asked,
                width: 32
            }
        );
    }
}

/// A bare encoder, as `bert-base-uncased` is, embeds as sentence-transformers makes it embed.
#[test]
fn a_directory_without_modules_embeds_by_mean_and_is_not_normalised() {
    let folder = copy("bert-embed");
    fs::remove_file(folder.path().join("modules.json")).unwrap();
    let got = embed(folder.path(), &LoadOptions::default(), &batch());
    assert!(near(&got, &mean(&hidden("bert-embed"))), "{got:?}");
}

/// Any model with a head still has an encoder to embed with.
#[test]
fn a_classifier_embeds_when_asked() {
    let root = testing::golden::root().join("bert-classify");
    let options = LoadOptions {
        task: Some(Task::Embed),
        ..LoadOptions::default()
    };
    let directory = ModelDirectory::open(&root).unwrap();
    let network = Network::load(&directory, &options).unwrap();
    assert_eq!((network.task(), network.answer_width(5)), (Task::Embed, 32));
    for (task, asked) in [
        ("bert-embed", Task::Classify),
        ("bert-classify", Task::Tag),
        ("bert-classify", Task::Rerank),
        ("bert-tag", Task::Classify),
    ] {
        let directory = ModelDirectory::open(&testing::golden::root().join(task)).unwrap();
        let options = LoadOptions {
            task: Some(asked),
            ..LoadOptions::default()
        };
        let error = Network::load(&directory, &options).unwrap_err();
        assert!(
            matches!(error, ModelError::TaskUnavailable { .. }),
            "{task} {asked}: {error:?}"
        );
    }
}

/// Models with several pooling modes, or with a projection, would lose half of their vectors.
#[test]
fn modes_are_concatenated_and_projected() {
    let folder = copy("bert-embed");
    let root = folder.path();
    fs::write(
        root.join("1_Pooling/config.json"),
        r#"{"embedding_dimension": 32, "pooling_mode": ["mean", "cls"]}"#,
    )
    .unwrap();
    fs::create_dir(root.join("2_Dense")).unwrap();
    fs::write(
        root.join("2_Dense/config.json"),
        r#"{"in_features": 64, "out_features": 2, "bias": true,
            "activation_function": "torch.nn.modules.activation.Tanh"}"#,
    )
    .unwrap();
    // The first output sums everything, the second takes value 33: the second of `cls`.
    let mut weight = vec![1.0f32; 128];
    weight[64..].fill(0.0);
    weight[64 + 33] = 1.0;
    save_tensors(
        &root.join("2_Dense/model.safetensors"),
        &[
            ("linear.weight", &[2, 64], &weight),
            ("linear.bias", &[2], &[0.0, 0.25]),
        ],
    );
    fs::write(
        root.join("modules.json"),
        r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#,
    )
    .unwrap();
    let tokens = hidden("bert-embed");
    let sum: f32 = mean(&tokens).iter().chain(&tokens[0]).sum();
    let want = [sum.tanh(), (tokens[0][1] + 0.25).tanh()];
    let got = embed(root, &LoadOptions::default(), &batch());
    assert!(near(&got, &want), "{got:?} {want:?}");

    // The projection's weights belong to the fingerprint.
    let directory = ModelDirectory::open(root).unwrap();
    let before = directory.fingerprint().unwrap();
    let path = root.join("2_Dense/model.safetensors");
    let mut file = fs::read(&path).unwrap();
    *file.last_mut().unwrap() ^= 1;
    fs::write(&path, file).unwrap();
    assert_ne!(before, directory.fingerprint().unwrap());
}

/// INSTRUCTOR models would mix the instruction into the vector.
#[test]
fn excluded_prompts_are_left_out_of_pooling() {
    let folder = copy("bert-embed");
    edit(
        &folder.path().join("1_Pooling/config.json"),
        r#"{"include_prompt": false}"#,
    );
    let directory = ModelDirectory::open(folder.path()).unwrap();
    assert_eq!(directory.prompt_pooling(), PromptPooling::Excluded);
    let tokens = hidden("bert-embed");
    let ids = [IDS, IDS].concat();
    let batch = TokenBatch {
        ids: &ids,
        lengths: &[5, 5],
        prompt_tokens: &[2, 5],
        ..TokenBatch::default()
    };
    let got = embed(folder.path(), &LoadOptions::default(), &batch);
    assert!(near(&got[..32], &unit(&mean(&tokens[2..]))), "{got:?}");
    assert_eq!(got[32..], [0.0; 32]);
}

/// Models saved by older releases keep the encoder in a folder of its own.
#[test]
fn the_encoder_may_lie_in_a_subdirectory() {
    let folder = copy("bert-embed");
    let root = folder.path();
    let inner = root.join("0_Transformer");
    fs::create_dir(&inner).unwrap();
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "sentence_bert_config.json",
    ] {
        fs::rename(root.join(name), inner.join(name)).unwrap();
    }
    edit(
        &inner.join("sentence_bert_config.json"),
        r#"{"do_lower_case": true, "max_seq_length": 11}"#,
    );
    fs::write(
        root.join("modules.json"),
        r#"[{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
    )
    .unwrap();
    let directory = ModelDirectory::open(root).unwrap();
    assert_eq!(directory.tokenizer_path(), inner.join("tokenizer.json"));
    assert_eq!(directory.letter_case(), LetterCase::Lowered);
    assert_eq!(directory.max_tokens(), 11);
    let got = embed(root, &LoadOptions::default(), &batch());
    assert!(near(&got, &unit(&mean(&hidden("bert-embed")))));
}

/// Texts would be cut at the wrong place, or overrun the position table.
#[test]
fn limits_come_from_the_first_file_that_has_one() {
    // (sentence_bert_config.json, tokenizer_config.json, limit); 36 positions there are.
    let cases = [
        (
            Some(r#"{"max_seq_length": 12}"#),
            Some(r#"{"model_max_length": 5}"#),
            12,
        ),
        (Some(r#"{"max_seq_length": 512}"#), None, 36),
        (
            Some(r#"{"max_seq_length": null}"#),
            Some(r#"{"model_max_length": 5}"#),
            5,
        ),
        (None, Some(r#"{"model_max_length": 20}"#), 20),
        (
            None,
            Some(r#"{"model_max_length": 1000000000000000019884624838656}"#),
            36,
        ),
        (None, Some("{}"), 36),
        (None, None, 36),
    ];
    for (sentence, tokenizer, limit) in cases {
        let folder = copy("bert-embed");
        for (name, content) in [
            ("sentence_bert_config.json", sentence),
            ("tokenizer_config.json", tokenizer),
        ] {
            let path = folder.path().join(name);
            match content {
                Some(content) => fs::write(path, content).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        let directory = ModelDirectory::open(folder.path()).unwrap();
        assert_eq!(directory.max_tokens(), limit, "{sentence:?} {tokenizer:?}");
    }
}

/// A large model, which is always sharded, would answer otherwise than saved as one file.
#[test]
fn shards_answer_as_one_file_does() {
    let folder = copy("mpnet-embed");
    let root = folder.path();
    let index = root.join("model.safetensors.index.json");
    let want = embed(root, &LoadOptions::default(), &batch());
    let sharded = ModelDirectory::open(root).unwrap().fingerprint().unwrap();

    let shards: Vec<Vec<u8>> = (1..=3)
        .map(|shard| {
            fs::read(root.join(format!("model-0000{shard}-of-00003.safetensors"))).unwrap()
        })
        .collect();
    let read: Vec<SafeTensors<'_>> = shards
        .iter()
        .map(|shard| SafeTensors::deserialize(shard).unwrap())
        .collect();
    let tensors = read.iter().flat_map(SafeTensors::tensors);
    safetensors::serialize_to_file(tensors, None, &root.join("model.safetensors")).unwrap();
    fs::remove_file(index).unwrap();
    assert_eq!(embed(root, &LoadOptions::default(), &batch()), want);
    // Other files, another fingerprint: whoever resumes a job is told rather than trusted.
    assert_ne!(
        ModelDirectory::open(root).unwrap().fingerprint().unwrap(),
        sharded
    );
}
