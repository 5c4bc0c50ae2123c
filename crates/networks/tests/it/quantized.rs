//! Quantised directories: the same bits as packing at load, used where they are mapped, refused when they
//! are not what was written.

use std::fs;
use std::path::{Path, PathBuf};

use batchwright_networks::{
    IfThere, Isa, LoadOptions, ModelDirectory, ModelError, Network, Precision, QuantizeError,
    QuantizeSpec, Task, TokenBatch, Workspace, quantize,
};
use kernels::Solo;
use testing::CaseTable;
use testing::golden::{Golden, all};

use crate::layouts::copy;

const MANIFEST: &str = "batchwright.json";
const WEIGHTS: &str = "batchwright.safetensors";

fn spec(precision: Precision) -> QuantizeSpec {
    QuantizeSpec {
        precision,
        ..QuantizeSpec::default()
    }
}

/// Quantises into `out` of a fresh directory.
fn quantized(model: &Path, spec: &QuantizeSpec) -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let model = ModelDirectory::open(model).unwrap();
    quantize(&model, &out, spec).unwrap().place().unwrap();
    (place, out)
}

fn load(folder: &Path, options: &LoadOptions) -> Result<Network, ModelError> {
    Network::load(&ModelDirectory::open(folder)?, options)
}

/// The bits of every golden case's answer.
fn answers(network: &Network, model: &Golden) -> Vec<Vec<u32>> {
    let mut ws = Workspace::default();
    let mut answer = |case: &testing::golden::Case| {
        let lengths = [case.ids.len()];
        let batch = TokenBatch {
            ids: &case.ids,
            types: &case.types,
            lengths: &lengths,
            ..TokenBatch::default()
        };
        let mut values = Vec::new();
        network.run(&Solo, &batch, &mut ws, &mut values).unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    };
    model.cases.iter().map(&mut answer).collect()
}

/// A user would get other answers from a quantised directory than from `--precision`, or from the task that
/// the model was not made for.
#[test]
fn mapped_weights_answer_as_those_packed_at_load() {
    let mut table = CaseTable::new("a quantised directory answers as packing at load, bit for bit");
    for model in all() {
        for precision in [Precision::Near, Precision::Fast] {
            let (_place, out) = quantized(&model.directory, &spec(precision));
            let directory = ModelDirectory::open(&out).unwrap();
            let name = format!("{} {precision}", model.name);
            table.equal(&name, &directory.quantized_precision(), &Some(precision));
            table.equal(&name, directory.task().name(), model.task.as_str());
            let original = ModelDirectory::open(&model.directory).unwrap();
            table.equal(
                format!("{name} / another fingerprint"),
                &(directory.fingerprint().unwrap() == original.fingerprint().unwrap()),
                &false,
            );
            for isa in Isa::available() {
                for task in [None, Some(Task::Embed)] {
                    let options = LoadOptions {
                        isa,
                        task,
                        ..LoadOptions::default()
                    };
                    let mapped = Network::load(&directory, &options).unwrap();
                    let packed = LoadOptions {
                        precision: Some(precision),
                        ..options
                    };
                    let packed = load(&model.directory, &packed).unwrap();
                    let name = format!("{name} {} {task:?}", isa.name());
                    table.equal(&name, &answers(&mapped, &model), &answers(&packed, &model));
                    table.equal(&name, &mapped.precision(), &precision);
                    table.equal(&name, &mapped.bytes(), &packed.bytes());
                }
            }
        }
    }
    table.finish();
}

/// A layer that 8 bits hurt would be quantised to them all the same, or the whole model would be near.
#[test]
fn chosen_products_stay_near() {
    let model = Golden::load("bert-embed");
    let kept = ["layers.0.qkv", "layers.1"].map(|name| name.parse().unwrap());
    let (_place, out) = quantized(
        &model.directory,
        &QuantizeSpec {
            keep_near: kept.to_vec(),
            ..QuantizeSpec::default()
        },
    );
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join(MANIFEST)).unwrap()).unwrap();
    let widths: Vec<(&str, u64)> = manifest["products"]
        .as_array()
        .unwrap()
        .iter()
        .map(|product| {
            (
                product["name"].as_str().unwrap(),
                product["bits"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        widths,
        [
            ("layers.0.qkv", 16),
            ("layers.0.output", 8),
            ("layers.0.up", 8),
            ("layers.0.down", 8),
            ("layers.1.qkv", 16),
            ("layers.1.output", 16),
            ("layers.1.up", 16),
            ("layers.1.down", 16),
        ]
    );
    let mixed = load(&out, &LoadOptions::default()).unwrap();
    assert_eq!(mixed.precision(), Precision::Fast);
    let of = |precision| {
        let options = LoadOptions {
            precision: Some(precision),
            ..LoadOptions::default()
        };
        answers(&load(&model.directory, &options).unwrap(), &model)
    };
    let mixed = answers(&mixed, &model);
    assert!(mixed != of(Precision::Fast) && mixed != of(Precision::Near));
}

/// Every change of a byte, from a broken copy or a hand that edits, must be told and not computed with.
#[test]
fn what_is_not_as_it_was_written_is_refused() {
    let (_place, out) = quantized(copy("bert-embed").path(), &spec(Precision::Fast));
    let error = |out: &Path| load(out, &LoadOptions::default()).unwrap_err();
    let mut wrong = Vec::new();
    for name in [
        MANIFEST,
        WEIGHTS,
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
    ] {
        let path = out.join(name);
        let whole = fs::read(&path).unwrap();
        let mut altered: Vec<Vec<u8>> = [0, whole.len() / 2, whole.len() - 2]
            .map(|cut| whole[..cut].to_vec())
            .to_vec();
        for at in (0..whole.len()).step_by(1 + whole.len() / 50) {
            // Space for space would be the same manifest.
            if !whole[at].is_ascii_whitespace() {
                let mut one = whole.clone();
                one[at] ^= 1;
                altered.push(one);
            }
        }
        for bytes in altered {
            fs::write(&path, bytes).unwrap();
            let found = error(&out);
            let kind = matches!(
                found,
                ModelError::QuantizedFile { .. } | ModelError::QuantizedFormat { .. }
            );
            let message = found.to_string();
            if !kind || !message.contains("batchwright quantize") || !message.contains(name) {
                wrong.push(message);
            }
        }
        fs::remove_file(&path).unwrap();
        if name != MANIFEST {
            let found = error(&out);
            if !matches!(found, ModelError::MissingFile { .. }) {
                wrong.push(format!("{name} missing: {found}"));
            }
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    load(&out, &LoadOptions::default()).unwrap();
}

/// After an update, an old directory must not be computed with by guess.
#[test]
fn another_version_is_named_with_the_remedy() {
    let (_place, out) = quantized(
        &Golden::load("bert-embed").directory,
        &spec(Precision::Near),
    );
    let path = out.join(MANIFEST);
    let manifest = fs::read_to_string(&path).unwrap();
    let newer = manifest
        .replacen("\"format\": 1", "\"format\": 2", 1)
        .replacen("batchwright 0", "batchwright 7", 1);
    fs::write(&path, newer).unwrap();
    let error = load(&out, &LoadOptions::default()).unwrap_err();
    assert!(
        matches!(&error, ModelError::QuantizedFormat { .. }),
        "{error:?}"
    );
    let message = error.to_string();
    for words in [
        "format 2",
        "reads 1",
        "batchwright 7.",
        "batchwright quantize MODEL",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

/// A user would believe to compute in another precision than the directory can.
#[test]
fn another_precision_is_refused() {
    let (_place, out) = quantized(
        &Golden::load("bert-embed").directory,
        &spec(Precision::Near),
    );
    for asked in Precision::ALL {
        let options = LoadOptions {
            precision: Some(asked),
            ..LoadOptions::default()
        };
        match load(&out, &options) {
            Ok(network) => assert_eq!(network.precision(), asked),
            Err(error) => {
                assert_ne!(asked, Precision::Near);
                let expected = ModelError::PrecisionFixed {
                    path: out.clone(),
                    asked,
                    quantized: Precision::Near,
                };
                assert_eq!(error, expected);
            }
        }
    }
}

/// Half a directory would be taken for a model, or a user's files be gone.
#[test]
fn nothing_is_left_behind_and_nothing_of_others_is_replaced() {
    let model = ModelDirectory::open(&Golden::load("bert-embed").directory).unwrap();
    let place = tempfile::tempdir().unwrap();
    let listed = || {
        let mut names: Vec<String> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let out = place.path().join("out");
    let replace = QuantizeSpec {
        if_there: IfThere::Replace,
        ..spec(Precision::Near)
    };

    drop(quantize(&model, &out, &spec(Precision::Fast)).unwrap());
    assert_eq!(
        quantize(&model, &out, &spec(Precision::Exact)).unwrap_err(),
        QuantizeError::Exact
    );
    let far = QuantizeSpec {
        keep_near: vec!["layers.9".parse().unwrap()],
        ..QuantizeSpec::default()
    };
    let error = quantize(&model, &out, &far).unwrap_err().to_string();
    assert!(
        error.contains("layers.9") && error.contains("0 to 1"),
        "{error}"
    );
    assert!(listed().is_empty(), "{:?}", listed());

    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine.txt"), "x").unwrap();
    let exists = QuantizeError::Exists { path: out.clone() };
    assert_eq!(
        quantize(&model, &out, &spec(Precision::Fast)).unwrap_err(),
        exists
    );
    let not_ours = QuantizeError::NotOurs { path: out.clone() };
    assert_eq!(quantize(&model, &out, &replace).unwrap_err(), not_ours);
    assert_eq!(fs::read_to_string(out.join("mine.txt")).unwrap(), "x");
    fs::remove_dir_all(&out).unwrap();

    quantize(&model, &out, &spec(Precision::Fast))
        .unwrap()
        .place()
        .unwrap();
    assert_eq!(
        quantize(&model, &out, &spec(Precision::Fast)).unwrap_err(),
        exists
    );
    // Something comes to the place while the model is written.
    let other = place.path().join("other");
    let staged = quantize(&model, &other, &replace).unwrap();
    fs::create_dir(&other).unwrap();
    assert!(matches!(
        staged.place().unwrap_err(),
        QuantizeError::NotOurs { .. }
    ));
    fs::remove_dir(&other).unwrap();

    quantize(&model, &out, &replace).unwrap().place().unwrap();
    let directory = ModelDirectory::open(&out).unwrap();
    assert_eq!(directory.quantized_precision(), Some(Precision::Near));
    assert_eq!(listed(), ["out"]);
    let again = quantize(&directory, &other, &spec(Precision::Fast)).unwrap_err();
    assert!(matches!(again, QuantizeError::AlreadyQuantized { .. }));
    assert_eq!(listed(), ["out"]);
}

/// Shards, half precision and modules with weights of their own: whatever the original is, the quantised
/// directory needs none of it any more.
#[test]
fn a_quantised_directory_stands_alone() {
    for model in all() {
        let original = copy(&model.name);
        let (_place, out) = quantized(original.path(), &spec(Precision::Near));
        original.close().unwrap();
        let network = load(&out, &LoadOptions::default()).unwrap();
        assert!(!answers(&network, &model).is_empty(), "{}", model.name);
    }
}
