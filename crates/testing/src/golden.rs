//! Tiny random models of all families, and what PyTorch and transformers answer with them.
//!
//! Each lies in `golden/<family>-<task>/` as a Hugging Face directory. Some keep their weights in
//! 16 bits, one is cut into shards, one is laid out as sentence-transformers 6 does; the answers
//! are always those of f32 arithmetic on the weights as stored.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use tempfile::TempDir;

/// One tiny model with its cases and answers.
#[derive(Clone, Debug)]
pub struct Golden {
    /// `<family>-<task>`: the directory's name.
    pub name: String,
    /// The model's directory.
    pub directory: PathBuf,
    /// `bert`, `roberta`, `xlm-roberta`, `distilbert` or `mpnet`.
    pub family: String,
    /// `embed`, `classify`, `rerank` or `tag`.
    pub task: String,
    /// The model's own limit, special tokens counted.
    pub max_tokens: usize,
    /// Transformer layers.
    pub layers: usize,
    /// What the head's outputs are called; empty for embedding models.
    pub labels: Vec<String>,
    /// What was asked, and the parts of the answers that are not tensors.
    pub cases: Vec<Case>,
    tensors: BTreeMap<String, Vec<f32>>,
}

/// One question to a model.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Unique within the model.
    pub name: String,
    /// The text, without the prompt.
    pub text: String,
    /// The other text of a pair.
    pub pair: Option<String>,
    /// Words set before the text; may be empty.
    pub prompt: String,
    /// The name under which the model knows that prompt.
    pub prompt_name: Option<String>,
    /// Which end of a long text is cut off.
    pub truncate: Side,
    /// The limit in force for this case, special tokens counted.
    pub max_tokens: usize,
    /// The answer is cut to so many dimensions.
    pub dimensions: Option<usize>,
    /// Token ids, special tokens included, padding excluded.
    pub ids: Vec<u32>,
    /// Token type ids; empty where all are zero.
    pub types: Vec<u8>,
    /// Start and end of each token in characters, counted from the start of the prompt; (0, 0) for
    /// special tokens. Empty where not recorded.
    #[serde(default)]
    pub offsets: Vec<(usize, usize)>,
    /// 1 for the tokens that the template adds. Empty where not recorded.
    #[serde(default)]
    pub special: Vec<u8>,
    /// Classify: one for each label, as transformers' pipeline gives them. Rerank: what
    /// sentence-transformers' `CrossEncoder` gives. Otherwise empty.
    #[serde(default)]
    pub scores: Vec<f32>,
    /// What transformers' pipeline finds; `None` except for tagging.
    pub entities: Option<Strategies>,
}

/// An end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The end.
    Right,
    /// The beginning.
    Left,
}

/// Entities by aggregation strategy.
#[derive(Clone, Debug, Deserialize)]
pub struct Strategies {
    /// Tokens, not aggregated.
    pub none: Vec<Entity>,
    /// Neighbouring tokens of one tag.
    pub simple: Vec<Entity>,
    /// Words, tagged as their first token.
    pub first: Vec<Entity>,
    /// Words, tagged as their surest token.
    pub max: Vec<Entity>,
}

/// Label, score (six digits), start and end in characters.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Entity(pub String, pub f32, pub usize, pub usize);

impl Golden {
    /// Reads one model's golden files.
    ///
    /// # Panics
    /// If they are missing or broken.
    #[must_use]
    pub fn load(name: &str) -> Golden {
        #[derive(Deserialize)]
        struct File {
            family: String,
            task: String,
            max_tokens: usize,
            layers: usize,
            labels: Vec<String>,
            cases: Vec<Case>,
        }
        let directory = root().join(name);
        let path = directory.join("golden.json");
        let file: File = serde_json::from_slice(&read(&path))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Golden {
            name: name.to_owned(),
            tensors: read_tensors(&directory.join("golden.safetensors")),
            directory,
            family: file.family,
            task: file.task,
            max_tokens: file.max_tokens,
            layers: file.layers,
            labels: file.labels,
            cases: file.cases,
        }
    }

    /// The case of that name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn case(&self, name: &str) -> &Case {
        let found = self.cases.iter().find(|case| case.name == name);
        found.unwrap_or_else(|| panic!("{} has no case {name:?}", self.name))
    }

    /// A copy that a test may change; the golden files themselves are left out.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn copy(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"));
        copy(&self.directory, folder.path())
            .unwrap_or_else(|e| panic!("{}: {e}", self.directory.display()));
        folder
    }

    /// What the model answers: an embedding `[dims]`, logits `[labels]` or logits
    /// `[tokens * labels]`, row by row.
    ///
    /// # Panics
    /// If the case is not this model's.
    #[must_use]
    pub fn answer(&self, case: &Case) -> Vec<f32> {
        let found = self.tensors.get(&format!("{}/answer", case.name)).cloned();
        found.unwrap_or_else(|| panic!("{} has no answer to {:?}", self.name, case.name))
    }

    /// The embeddings' output and then each layer's, `[tokens * hidden]` row by row; empty for the
    /// cases whose hidden states were not kept.
    #[must_use]
    pub fn hidden(&self, case: &Case) -> Vec<Vec<f32>> {
        (0..=self.layers)
            .map_while(|layer| {
                self.tensors
                    .get(&format!("{}/hidden/{layer}", case.name))
                    .cloned()
            })
            .collect()
    }
}

/// All tiny models, by name.
///
/// # Panics
/// If the golden files are missing or broken.
#[must_use]
pub fn all() -> Vec<Golden> {
    let listed = fs::read_dir(root()).unwrap_or_else(|e| panic!("{}: {e}", root().display()));
    let mut names: Vec<String> = listed
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("golden.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().map(|name| Golden::load(name)).collect()
}

/// Sixty-four everyday queries, and their embeddings by sentence-transformers with the real
/// all-MiniLM-L6-v2 in f32: 384 values of length 1 for each.
///
/// # Panics
/// If the golden files are missing or broken.
#[must_use]
pub fn minilm_64() -> (Vec<String>, Vec<Vec<f32>>) {
    let path = root().join("minilm-64.json");
    let queries: Vec<String> =
        serde_json::from_slice(&read(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = read_tensors(&root().join("minilm-64.safetensors"));
    let vectors = tensors
        .get("embeddings")
        .map(|flat| flat.chunks(384).map(<[f32]>::to_vec));
    (queries, vectors.into_iter().flatten().collect())
}

/// Where the golden files lie.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().starts_with("golden.") {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Writes a safetensors file of f32 tensors, each a name, a shape and values.
///
/// # Panics
/// If a shape is not that of its values, or the file cannot be written.
pub fn save_tensors(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (*name, view.unwrap_or_else(|e| panic!("{name}: {e}")))
    });
    safetensors::serialize_to_file(views, None, path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// The vector of length one in a vector's direction.
#[must_use]
pub fn unit(vector: &[f32]) -> Vec<f32> {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter().map(|value| value / norm).collect()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn read_tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = read(path);
    let file =
        SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let values = |data: &[u8]| {
        let whole = data.as_chunks::<4>().0;
        whole.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    file.iter()
        .map(|(name, view)| (name.to_owned(), values(view.data())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaseTable;

    /// Without it a family or a head could lose its reference unseen.
    #[test]
    fn every_family_and_task_has_a_model() {
        let names: Vec<String> = all().into_iter().map(|model| model.name).collect();
        let mut table = CaseTable::new("every family is embedded and tagged");
        for family in ["bert", "roberta", "xlm-roberta", "distilbert", "mpnet"] {
            for task in ["embed", "tag"] {
                let want = format!("{family}-{task}");
                table.check(
                    &want,
                    names.contains(&want).then_some(()).ok_or("missing".into()),
                );
            }
        }
        for name in [
            "bert-classify",
            "bert-rerank",
            "xlm-roberta-rerank",
            "roberta-classify",
        ] {
            table.check(
                name,
                names
                    .iter()
                    .any(|n| n == name)
                    .then_some(())
                    .ok_or("missing".into()),
            );
        }
        table.finish();
    }

    /// Without it a reference whose answers are all alike would pass any implementation.
    #[test]
    fn answers_differ_between_texts_and_have_the_right_shape() {
        let mut table = CaseTable::new("golden answers can tell a right model from a wrong one");
        for model in all() {
            let width = model.labels.len();
            let mut seen: Vec<Vec<f32>> = Vec::new();
            for case in &model.cases {
                let answer = model.answer(case);
                let finite = answer.iter().all(|v| v.is_finite()) && !answer.is_empty();
                let shaped = match model.task.as_str() {
                    "embed" => case.dimensions.is_none_or(|d| d == answer.len()),
                    "tag" => answer.len() == width * case.ids.len(),
                    _ => answer.len() == width && case.scores.len() == width,
                };
                let ok = finite && shaped && case.ids.len() <= case.max_tokens;
                table.check(
                    format!("{} / {}", model.name, case.name),
                    ok.then_some(()).ok_or_else(|| format!("{answer:?}")),
                );
                seen.push(answer);
            }
            let distinct = seen
                .iter()
                .enumerate()
                .filter(|(i, a)| !seen[..*i].contains(a))
                .count();
            let enough = distinct * 2 > seen.len();
            table.check(
                &model.name,
                enough
                    .then_some(())
                    .ok_or(format!("{distinct} distinct answers")),
            );
        }
        table.finish();
    }

    /// Without it the comparison with sentence-transformers would be with nothing.
    #[test]
    fn there_are_64_unit_vectors() {
        let (queries, vectors) = minilm_64();
        assert_eq!((queries.len(), vectors.len()), (64, 64));
        for vector in &vectors {
            let length: f32 = vector.iter().map(|v| v * v).sum();
            assert!(
                vector.len() == 384 && (length - 1.0).abs() < 1e-5,
                "{length}"
            );
        }
    }

    /// Without it hidden states might silently be compared in no case.
    #[test]
    fn embedding_models_keep_hidden_states() {
        let mut table = CaseTable::new("layers can be compared one by one");
        for model in all().iter().filter(|model| model.task == "embed") {
            for name in ["short", "empty", "long", "special tokens"] {
                let got = model.hidden(model.case(name)).len();
                table.equal(
                    format!("{} / {name}", model.name),
                    &got,
                    &(model.layers + 1),
                );
            }
        }
        table.finish();
    }
}
