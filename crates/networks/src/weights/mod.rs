//! Weight files: safetensors, memory-mapped, whole or sharded.
//!
//! Nothing is copied that need not be. Matrices are packed straight from the map and their pages
//! given back at once, so that loading needs the packed size and not twice that; word tables in
//! f32 are never copied at all: the map stays open and only the rows that texts use become resident.

mod map;
mod scope;
mod tensor;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::directory::json::JsonFile;
use crate::directory::modules::inside;
use crate::error::ModelError;
use map::{Entry, MappedFile};
pub(crate) use scope::{Norm, Scope};
pub(crate) use tensor::{RawTensor, Table, Tensor};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weight files of a folder, relative to `root`, without opening them: the one file, or the
/// index and its shards.
///
/// # Errors
/// Neither is there, or the index is damaged or names a shard that is not there.
pub(crate) fn files(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let whole = folder.join(WHOLE);
    if root.join(&whole).is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join(INDEX);
    let Some(file) = JsonFile::read_optional(&root.join(&index))? else {
        return Err(missing(&root.join(folder)));
    };
    let expected = "an object from tensor names to files";
    let map = file
        .object("weight_map")?
        .ok_or_else(|| file.invalid("weight_map", expected))?;
    let mut shards = BTreeSet::new();
    for shard in map.values() {
        let Value::String(name) = shard else {
            return Err(file.invalid("weight_map", expected));
        };
        shards.insert(folder.join(inside(file.path(), name)?));
    }
    if shards.is_empty() {
        return Err(file.invalid("weight_map", "at least one tensor"));
    }
    for shard in &shards {
        if !root.join(shard).is_file() {
            return Err(ModelError::MissingFile {
                path: root.join(shard),
                what: "a shard of the weights named in model.safetensors.index.json",
                remedy: "fetch the model again with all its files".to_owned(),
            });
        }
    }
    Ok(std::iter::once(index).chain(shards).collect())
}

fn missing(folder: &Path) -> ModelError {
    let pickle = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
        .into_iter()
        .find(|name| folder.join(name).is_file());
    ModelError::MissingFile {
        path: folder.join(WHOLE),
        what: "the weights",
        remedy: match pickle {
            Some(name) => format!(
                "the folder has {name}, a Python pickle, which is never executed here; save it \
                 once as safetensors with transformers' model.save_pretrained(DIR)"
            ),
            None => "fetch the model again with its weights".to_owned(),
        },
    }
}

/// The opened weight files of one folder.
#[derive(Debug)]
pub(crate) struct Weights {
    /// What errors name: the file, or the folder where there are several.
    place: PathBuf,
    files: Vec<Arc<MappedFile>>,
    entries: HashMap<String, (usize, Entry)>,
    /// Names of the tensors that were found: what a copy of the model must hold.
    used: RefCell<BTreeSet<String>>,
}

impl Weights {
    pub(crate) fn open(root: &Path, folder: &Path) -> Result<Weights, ModelError> {
        let paths: Vec<PathBuf> = files(root, folder)?
            .into_iter()
            .filter(|file| file.extension().is_some_and(|kind| kind == "safetensors"))
            .map(|file| root.join(file))
            .collect();
        let place = match paths.as_slice() {
            [only] => only.clone(),
            _ => root.join(folder),
        };
        Weights::map(place, paths)
    }

    /// Opens a single file.
    pub(crate) fn open_file(path: PathBuf) -> Result<Weights, ModelError> {
        Weights::map(path.clone(), vec![path])
    }

    fn map(place: PathBuf, paths: Vec<PathBuf>) -> Result<Weights, ModelError> {
        let mut weights = Weights {
            place,
            files: Vec::new(),
            entries: HashMap::new(),
            used: RefCell::default(),
        };
        for path in paths {
            let (file, entries) = MappedFile::open(&path)?;
            let index = weights.files.len();
            weights.files.push(Arc::new(file));
            weights.entries.extend(
                entries
                    .into_iter()
                    .map(|(name, entry)| (name, (index, entry))),
            );
        }
        Ok(weights)
    }

    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The names under `prefix`; the empty prefix gives all.
    pub(crate) fn scope(&self, prefix: impl Into<String>) -> Scope<'_> {
        Scope::new(self, prefix.into())
    }

    /// Where the encoder's tensors are: under the family's prefix where a head was saved with it,
    /// at the root where it was saved alone, or under the name of a wrapping module.
    pub(crate) fn encoder(&self, family_prefix: &str, probe: &str) -> Scope<'_> {
        let prefixes = [family_prefix, "", "auto_model.", "model."];
        let found = prefixes
            .into_iter()
            .find(|prefix| self.has(&format!("{prefix}{probe}")));
        self.scope(found.unwrap_or(""))
    }

    fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The tensor with this very name.
    pub(crate) fn find(&self, name: &str) -> Option<Tensor<'_>> {
        let (file, entry) = self.entries.get(name)?;
        self.used.borrow_mut().insert(name.to_owned());
        self.files.get(*file).map(|file| Tensor::new(file, entry))
    }

    /// The tensor with this very name, whatever its type.
    pub(crate) fn raw(&self, name: &str) -> Option<RawTensor<'_>> {
        let (file, entry) = self.entries.get(name)?;
        self.files
            .get(*file)
            .map(|file| RawTensor::new(file, entry))
    }

    /// The names of all tensors that were found so far.
    pub(crate) fn used(&self) -> BTreeSet<String> {
        self.used.borrow().clone()
    }

    /// A few of the names, for a message about one that is not there.
    fn hint(&self) -> String {
        let mut names: Vec<&str> = self.entries.keys().map(String::as_str).collect();
        names.sort_unstable();
        match names.as_slice() {
            [] => "the file holds no tensor at all".to_owned(),
            [first, ..] => format!(
                "there are {} tensors, the first is `{first}`; config.json and the weights are \
                 not of the same model",
                names.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::golden::save_tensors as save;

    /// A large model, which is always sharded, could not be loaded.
    #[test]
    fn shards_are_one_set_of_tensors() {
        let folder = tempfile::tempdir().unwrap();
        save(
            &folder.path().join("model-1.safetensors"),
            &[("a", &[2], &[1.0, 2.0])],
        );
        save(
            &folder.path().join("model-2.safetensors"),
            &[("b.weight", &[1], &[3.0])],
        );
        std::fs::write(
            folder.path().join(INDEX),
            r#"{"weight_map": {"a": "model-1.safetensors", "b.weight": "model-2.safetensors"}}"#,
        )
        .unwrap();
        assert_eq!(
            files(folder.path(), Path::new("")).unwrap(),
            [INDEX, "model-1.safetensors", "model-2.safetensors"].map(PathBuf::from)
        );
        let weights = Weights::open(folder.path(), Path::new("")).unwrap();
        let values = |name: &str, shape: &[usize]| {
            weights
                .scope("")
                .tensor(name, shape)
                .unwrap()
                .values()
                .into_owned()
        };
        assert_eq!(values("a", &[2]), [1.0, 2.0]);
        assert_eq!(
            weights
                .scope("b.")
                .tensor("weight", &[1])
                .unwrap()
                .values()
                .as_ref(),
            [3.0]
        );
    }

    /// A shard that is not there, or not the model's, would be random weights or another file.
    #[test]
    fn an_index_must_be_complete_and_stay_in_its_folder() {
        let cases = [
            (
                r#"{"weight_map": {"a": "gone.safetensors"}}"#,
                "gone.safetensors",
            ),
            (
                r#"{"weight_map": {"a": "../../x.safetensors"}}"#,
                "inside the model's directory",
            ),
            (r#"{"weight_map": {}}"#, "at least one tensor"),
            (r#"{"weight_map": {"a": 1}}"#, "from tensor names to files"),
            (r#"{}"#, "weight_map"),
            ("", "not valid JSON"),
        ];
        for (index, words) in cases {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(INDEX), index).unwrap();
            let message = files(folder.path(), Path::new("")).unwrap_err().to_string();
            assert!(message.contains(words), "{index}: {message}");
        }
    }

    /// A user with an older checkpoint would not learn how to convert it.
    #[test]
    fn a_pickle_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
        let message = files(folder.path(), Path::new("")).unwrap_err().to_string();
        assert!(message.contains("save_pretrained"), "{message}");
    }

    /// Weights of another model would be read as this one's.
    #[test]
    fn shapes_and_names_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        save(&folder.path().join(WHOLE), &[("a", &[2, 1], &[1.0, 2.0])]);
        let weights = Weights::open(folder.path(), Path::new("")).unwrap();
        assert_eq!(
            weights.scope("").tensor("a", &[1, 2]).unwrap_err(),
            ModelError::TensorShape {
                path: folder.path().join(WHOLE),
                name: "a".into(),
                expected: vec![1, 2],
                found: vec![2, 1],
            }
        );
        let error = weights.scope("x.").tensor("a", &[2, 1]).unwrap_err();
        assert!(
            matches!(&error, ModelError::MissingTensor { name, .. } if name == "x.a"),
            "{error:?}"
        );
    }

    /// Half a download must be a message, not a crash or random answers.
    #[test]
    fn a_cut_or_altered_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(WHOLE);
        save(&path, &[("a", &[64], &[1.0; 64]), ("b", &[3], &[2.0; 3])]);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 9, 60, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = Weights::open(folder.path(), Path::new("")).unwrap_err();
            assert!(
                matches!(error, ModelError::CorruptWeights { .. }),
                "{length}: {error:?}"
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        std::fs::write(&path, &longer).unwrap();
        assert!(Weights::open(folder.path(), Path::new("")).is_err());
        // A header length beyond any file.
        let mut lying = whole;
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        std::fs::write(&path, &lying).unwrap();
        assert!(Weights::open(folder.path(), Path::new("")).is_err());
    }
}
