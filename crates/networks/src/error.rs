//! What can go wrong: while a model is opened and loaded ([`ModelError`]), and while it runs
//! ([`RunError`]). Both compare, so that tests and callers can match on the case and not on words.

use std::fmt;
use std::path::PathBuf;

use crate::precision::Precision;
use crate::task::Task;

/// Why a model directory could not be opened or loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file that the model needs is not there.
    #[error("{}: {what} is missing; {remedy}", path.display())]
    MissingFile {
        /// The path that was looked at.
        path: PathBuf,
        /// What the file would have held.
        what: &'static str,
        /// What the user can do.
        remedy: String,
    },
    /// A file is there but the system would not let it be read.
    #[error("{}: cannot be read: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
    /// A JSON file does not parse, or is not an object where one is needed.
    #[error("{}: not valid JSON: {message}; fetch the model again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and column.
        message: String,
    },
    /// `model_type` names a family that this crate cannot run.
    #[error("{}: model_type `{found}` is not supported; supported are {supported}", path.display())]
    UnsupportedFamily {
        /// The `config.json`.
        path: PathBuf,
        /// The family that was found.
        found: String,
        /// Those that are supported.
        supported: String,
    },
    /// `architectures` names a class that this crate cannot run.
    #[error("{}: architecture `{found}` is not supported; supported are {supported}", path.display())]
    UnsupportedArchitecture {
        /// The `config.json`.
        path: PathBuf,
        /// The class that was found.
        found: String,
        /// Those of the same family that are supported.
        supported: String,
    },
    /// `modules.json` asks for a module (or an order of modules) that this crate cannot run.
    #[error("{}: module `{found}` is not supported here; supported are {supported}", path.display())]
    UnsupportedModule {
        /// The `modules.json`.
        path: PathBuf,
        /// The module's class.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// A setting has a value which is legal elsewhere but not supported here.
    #[error("{}: `{key}` is {value}, which is not supported; {supported}", path.display())]
    UnsupportedSetting {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// The value found.
        value: String,
        /// What is supported.
        supported: String,
    },
    /// A setting has a value that makes no sense.
    #[error("{}: `{key}` is {value}, expected {expected}", path.display())]
    InvalidSetting {
        /// The file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// The value found.
        value: String,
        /// What would make sense.
        expected: String,
    },
    /// A safetensors file is truncated, or its header lies about its data.
    #[error("{}: damaged safetensors file: {message}; fetch the model again", path.display())]
    CorruptWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A tensor is in none of the weight files.
    #[error("{}: tensor `{name}` is missing; {hint}", path.display())]
    MissingTensor {
        /// The weight file (or the directory, where there are several).
        path: PathBuf,
        /// The name that was looked for.
        name: String,
        /// What the file holds instead, or why the tensor is needed.
        hint: String,
    },
    /// A tensor's shape contradicts the configuration.
    #[error(
        "{}: tensor `{name}` has shape {found:?}, expected {expected:?} from config.json; \
         the configuration and the weights are not of the same model", path.display()
    )]
    TensorShape {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's elements are no floating-point numbers.
    #[error(
        "{}: tensor `{name}` has element type {found}; supported are F64, F32, F16 and BF16 \
         (quantised checkpoints are not)", path.display()
    )]
    TensorType {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The element type in the file.
        found: String,
    },
    /// The task asked for needs a head that the model does not have.
    #[error("{}: the model cannot {asked}; its own task is to {own}", path.display())]
    TaskUnavailable {
        /// The directory.
        path: PathBuf,
        /// The task asked for.
        asked: Task,
        /// The task that the model was made for.
        own: Task,
    },
    /// More dimensions were asked for than the model's embeddings have.
    #[error("{}: {asked} dimensions asked for; this model's embeddings have 1 to {width}", path.display())]
    Dimensions {
        /// The directory.
        path: PathBuf,
        /// The number asked for.
        asked: usize,
        /// The number of dimensions there are.
        width: usize,
    },
    /// A quantised directory was loaded with another precision than it was made for.
    #[error(
        "{}: was quantised as `{quantized}`, so it cannot compute in `{asked}`; leave the precision out, or \
         load the original model", path.display()
    )]
    PrecisionFixed {
        /// The directory.
        path: PathBuf,
        /// The precision asked for.
        asked: Precision,
        /// The precision that it was quantised for.
        quantized: Precision,
    },
    /// A quantised directory is of another version, or of another program.
    #[error(
        "{}: was written by {program} with {found}; quantise the original model again: batchwright quantize \
         MODEL -o OUT", path.display()
    )]
    QuantizedFormat {
        /// The manifest.
        path: PathBuf,
        /// What it has, and what is read.
        found: String,
        /// The program that wrote it.
        program: String,
    },
    /// A file of a quantised directory is not what was written.
    #[error("{}: {problem}; quantise the original model again: batchwright quantize MODEL -o OUT", path.display())]
    QuantizedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A kernel refused the weights' shape.
    #[error("{}: {message}", path.display())]
    Kernel {
        /// The directory.
        path: PathBuf,
        /// The kernel's words.
        message: String,
    },
}

/// Why a batch could not be run. Nothing was appended to the answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The lengths do not add up to the number of token ids.
    #[error("the texts' lengths add up to {total} tokens but {ids} token ids were given")]
    LengthsDisagree {
        /// Sum of the lengths.
        total: usize,
        /// Number of token ids.
        ids: usize,
    },
    /// A per-token or per-text slice has the wrong number of elements.
    #[error("{what}: {found} values were given, expected none or {expected}")]
    CountDisagrees {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that it must have.
        expected: usize,
    },
    /// A text has no token at all.
    #[error("text {text} of the batch has no tokens; every text needs at least one")]
    EmptyText {
        /// Index of the text in the batch.
        text: usize,
    },
    /// A text is longer than the position table.
    #[error(
        "text {text} of the batch has {tokens} tokens, the model takes at most {limit}; truncate it"
    )]
    TooLong {
        /// Index of the text in the batch.
        text: usize,
        /// Its length.
        tokens: usize,
        /// The longest text that the model takes.
        limit: usize,
    },
    /// A token id lies outside the vocabulary.
    #[error(
        "token {position} of text {text} has id {id}, the model's vocabulary has {vocabulary}; \
         the tokenizer belongs to another model"
    )]
    UnknownToken {
        /// Index of the text in the batch.
        text: usize,
        /// Index of the token in the text.
        position: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A token type (segment) lies outside the type table.
    #[error("token {position} of text {text} has type {found}, the model has {types} types")]
    UnknownType {
        /// Index of the text in the batch.
        text: usize,
        /// Index of the token in the text.
        position: usize,
        /// The type.
        found: u8,
        /// Number of types that the model has.
        types: usize,
    },
    /// A kernel refused its arguments, which the checks before it should have excluded.
    #[error("{0}")]
    Kernel(#[from] kernels::ShapeError),
}

/// Words joined for a message: `a, b and c`.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose the remedy: the message must say what, where, and what to do.
    #[test]
    fn messages_name_the_file_the_finding_and_the_remedy() {
        let cases: [(ModelError, &[&str]); 3] = [
            (
                ModelError::UnsupportedFamily {
                    path: "m/config.json".into(),
                    found: "t5".into(),
                    supported: list(["bert", "mpnet"]),
                },
                &["m/config.json", "`t5`", "bert and mpnet"],
            ),
            (
                ModelError::TensorShape {
                    path: "m/model.safetensors".into(),
                    name: "a.weight".into(),
                    expected: vec![4, 2],
                    found: vec![2, 4],
                },
                &["m/model.safetensors", "`a.weight`", "[4, 2]", "[2, 4]"],
            ),
            (
                ModelError::TaskUnavailable {
                    path: "m".into(),
                    asked: Task::Tag,
                    own: Task::Embed,
                },
                &["tag", "embed"],
            ),
        ];
        for (error, words) in cases {
            let message = error.to_string();
            for word in words {
                assert!(message.contains(word), "{message:?} does not say {word:?}");
            }
        }
    }

    /// A message that lists what is supported could not be read.
    #[test]
    fn lists_read_as_english() {
        assert_eq!(list(["a"]), "a");
        assert_eq!(list(["a", "b", "c"]), "a, b and c");
        assert_eq!(list([] as [&str; 0]), "");
    }
}
