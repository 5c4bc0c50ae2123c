//! A model directory in Hugging Face layout: opened, understood and checked before any weight is
//! touched.

mod config;
mod declared;
mod fingerprint;
pub(crate) mod json;
pub(crate) mod modules;
mod pooling;
mod prompts;

use std::path::{Path, PathBuf};

use serde_json::Value;

pub use config::EncoderConfig;
pub(crate) use declared::Head;
pub(crate) use pooling::PoolingConfig;
pub use pooling::PromptPooling;
pub use prompts::Prompts;

use kernels::Pooling;

use crate::error::ModelError;
use crate::families::Family;
use crate::precision::Precision;
use crate::quantized::{self, Manifest};
use crate::task::{Normalize, ProblemType, ScoreActivation, Task};
use declared::Declared;
use json::{Flag, JsonFile};
use modules::{AfterPooling, Modules};

/// Whether the text is turned to lower case before it is tokenised (`do_lower_case` of
/// `sentence_bert_config.json`); the tokenizer's own normaliser does so independently of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LetterCase {
    /// As it is written: almost every model.
    Kept,
    /// Lower case.
    Lowered,
}

/// The names that `sentence_bert_config.json` has had.
const TRANSFORMER_CONFIGS: [&str; 4] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_xlm-roberta_config.json",
];

const FETCH_AGAIN: &str = "fetch the model again, or pass the directory that holds config.json, \
                           tokenizer.json and model.safetensors";

/// A model directory, opened: every small file read and checked, the weights not yet.
///
/// ```no_run
/// use batchwright_networks::{ModelDirectory, Task};
///
/// let directory = ModelDirectory::open("models/all-MiniLM-L6-v2".as_ref())?;
/// assert_eq!(directory.task(), Task::Embed);
/// println!("{} layers, at most {} tokens", directory.config().layers, directory.max_tokens());
/// # Ok::<(), batchwright_networks::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDirectory {
    root: PathBuf,
    /// Folder of `config.json` and the encoder's weights.
    encoder: PathBuf,
    tokenizer: PathBuf,
    config: EncoderConfig,
    head: Head,
    declared: Declared,
    pooling: PoolingConfig,
    after: Vec<AfterPooling>,
    prompts: Prompts,
    letter_case: LetterCase,
    max_tokens: usize,
    /// Every file that determines answers but the encoder's weights, whether there or not.
    files: Vec<PathBuf>,
    /// The encoder's weights.
    weights: Vec<PathBuf>,
    quantized: Option<Manifest>,
}

impl ModelDirectory {
    /// Reads and checks a directory. The weights' presence is checked, their content is not.
    ///
    /// # Errors
    /// A missing, unreadable or damaged file; a family, class, module or setting that is not
    /// supported (named, with those that are); a value that makes no sense.
    pub fn open(root: &Path) -> Result<ModelDirectory, ModelError> {
        if !root.is_dir() {
            return Err(ModelError::MissingFile {
                path: root.to_owned(),
                what: "the model's directory",
                remedy: "pass a directory in Hugging Face layout".to_owned(),
            });
        }
        let quantized = Manifest::read(root)?;
        let modules = Modules::read(root)?;
        let mut files = modules
            .as_ref()
            .map(|modules| modules.files.clone())
            .unwrap_or_default();
        let folder = modules
            .as_ref()
            .map(|modules| modules.encoder.clone())
            .unwrap_or_default();
        let encoder = root.join(&folder);
        let config_file = JsonFile::read(
            &encoder.join("config.json"),
            "the model's configuration",
            FETCH_AGAIN,
        )?;
        files.push(folder.join("config.json"));
        let config = EncoderConfig::read(&config_file)?;

        let sentence = optional(root, "config_sentence_transformers.json", &mut files)?;
        let kind = kind(sentence.as_ref())?;
        let cross = sentence.as_ref().filter(|_| kind == Kind::CrossEncoder);
        let pooled = modules.as_ref().and_then(|modules| modules.pooling.clone());
        let (head, declared) = if pooled.is_some() {
            // The encoder alone is loaded, whatever class the weights were saved from.
            (Head::None, Declared::embedding())
        } else {
            let head = Head::read(&config_file, config.family)?;
            (head, Declared::read(&config_file, head, cross)?)
        };
        if let Some(found) = modules.as_ref()
            && pooled.is_none()
            && head == Head::None
        {
            return Err(ModelError::UnsupportedModule {
                path: root.join(found.files.first().cloned().unwrap_or_default()),
                found: "Transformer without Pooling".to_owned(),
                supported: "Transformer followed by Pooling, or a Transformer with a \
                            classification head",
            });
        }
        let pooling = pooled.unwrap_or_else(PoolingConfig::mean);
        if let Some(modules) = &modules {
            check_widths(root, modules, &config, &pooling)?;
        }

        let transformer = TRANSFORMER_CONFIGS
            .iter()
            .find(|name| encoder.join(name).is_file())
            .map(|name| JsonFile::read_optional(&encoder.join(name)).map(|file| (file, *name)))
            .transpose()?;
        if let Some((_, name)) = &transformer {
            files.push(folder.join(name));
        }
        let transformer = transformer.and_then(|(file, _)| file);
        let letter_case = match &transformer {
            Some(file) if file.flag("do_lower_case", Flag::Off)? == Flag::On => LetterCase::Lowered,
            _ => LetterCase::Kept,
        };
        let tokenizer = tokenizer(root, &folder)?;
        files.push(tokenizer.clone());
        let beside = tokenizer.with_file_name("tokenizer_config.json");
        let tokenizer_config = JsonFile::read_optional(&root.join(&beside))?;
        files.push(beside);
        let max_tokens = max_tokens(&config, transformer.as_ref(), tokenizer_config.as_ref())?;

        let after = modules.map(|modules| modules.after).unwrap_or_default();
        let weights = match &quantized {
            // They are checked when they are loaded, and the manifest stands for them.
            Some(_) => Vec::new(),
            None => crate::weights::files(root, &folder)?,
        };
        if quantized.is_some() {
            files.push(quantized::MANIFEST.into());
        }
        for module in &after {
            if let AfterPooling::Dense(dense) = module {
                files.extend(crate::weights::files(root, &dense.folder)?);
            }
        }
        Ok(ModelDirectory {
            prompts: sentence
                .as_ref()
                .map(Prompts::read)
                .transpose()?
                .unwrap_or_default(),
            tokenizer: root.join(tokenizer),
            root: root.to_owned(),
            encoder: folder,
            config,
            head,
            declared,
            pooling,
            after,
            letter_case,
            max_tokens,
            files,
            weights,
            quantized,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The encoder's sizes and constants.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.config.family
    }

    /// The task that the model was made for.
    pub fn task(&self) -> Task {
        self.declared.task
    }

    /// The labels by index of their logit; empty for a model that embeds.
    pub fn labels(&self) -> &[String] {
        &self.declared.labels
    }

    /// How a classifier's scores are meant. Where the configuration is silent: one of several labels,
    /// or, for a single label, a sigmoid of its own.
    pub fn problem_type(&self) -> ProblemType {
        self.declared.problem_type
    }

    /// What turns the logit of a pair into its score.
    pub fn score_activation(&self) -> ScoreActivation {
        self.declared.score
    }

    /// The model's prompts.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Whether a prompt's tokens take part in pooling. Where they do not, a batch says how many
    /// tokens to leave out ([`crate::TokenBatch::prompt_tokens`]).
    pub fn prompt_pooling(&self) -> PromptPooling {
        self.pooling.prompt
    }

    /// Whether texts are turned to lower case before tokenising.
    pub fn letter_case(&self) -> LetterCase {
        self.letter_case
    }

    /// The longest text in tokens, special tokens included: `max_seq_length` of
    /// `sentence_bert_config.json`, else `model_max_length` of `tokenizer_config.json`, and never
    /// more than the position table has rows for. What `tokenizer.json` says about truncation
    /// does not count.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Path of `tokenizer.json`.
    pub fn tokenizer_path(&self) -> &Path {
        &self.tokenizer
    }

    /// BLAKE3 over every file that determines the answers: configuration, tokenizer, weights.
    /// Reads all of them (about 1 GB/s); keep the result. For a quantised directory that is quick: its
    /// manifest stands for the weights, which are checked against it when they are loaded.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn fingerprint(&self) -> Result<[u8; 32], ModelError> {
        let mut files = self.files.clone();
        files.extend_from_slice(&self.weights);
        fingerprint::fingerprint(&self.root, &files)
    }

    /// Whether the model's own modules end in a normalisation.
    pub fn normalizes(&self) -> Normalize {
        match self.after.last() {
            Some(AfterPooling::Normalize) => Normalize::Yes,
            Some(AfterPooling::Dense(_)) | None => Normalize::No,
        }
    }

    /// The precision that the directory was quantised for; `None` for a model as it was trained.
    pub fn quantized_precision(&self) -> Option<Precision> {
        self.quantized.as_ref().map(|manifest| manifest.precision)
    }

    /// The manifest of a quantised directory.
    pub(crate) fn quantized(&self) -> Option<&Manifest> {
        self.quantized.as_ref()
    }

    /// Every file that determines answers but the encoder's weights, relative to the directory; some may
    /// not be there.
    pub(crate) fn small_files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// How token vectors become one: several ways are set side by side.
    #[must_use]
    pub fn pooling_modes(&self) -> &[Pooling] {
        &self.pooling.modes
    }

    pub(crate) fn pooling(&self) -> &PoolingConfig {
        &self.pooling
    }

    pub(crate) fn after_pooling(&self) -> &[AfterPooling] {
        &self.after
    }

    /// Folder of the encoder's weights, relative to the directory.
    pub(crate) fn encoder_folder(&self) -> &Path {
        &self.encoder
    }
}

/// What sentence-transformers says the model is (`model_type`, written since its release 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SentenceTransformer,
    CrossEncoder,
}

fn kind(sentence: Option<&JsonFile>) -> Result<Kind, ModelError> {
    let Some(file) = sentence else {
        return Ok(Kind::SentenceTransformer);
    };
    match file.text("model_type")? {
        None | Some("SentenceTransformer") => Ok(Kind::SentenceTransformer),
        Some("CrossEncoder") => Ok(Kind::CrossEncoder),
        Some(_) => Err(file.unsupported(
            "model_type",
            "supported are `SentenceTransformer` and `CrossEncoder`",
        )),
    }
}

fn optional(
    root: &Path,
    name: &str,
    files: &mut Vec<PathBuf>,
) -> Result<Option<JsonFile>, ModelError> {
    files.push(name.into());
    JsonFile::read_optional(&root.join(name))
}

/// `tokenizer.json` beside the encoder's configuration, or in the root as older models keep it.
fn tokenizer(root: &Path, folder: &Path) -> Result<PathBuf, ModelError> {
    let beside = folder.join("tokenizer.json");
    let places = [&beside, Path::new("tokenizer.json")];
    places
        .into_iter()
        .find(|place| root.join(place).is_file())
        .map(Path::to_owned)
        .ok_or_else(|| ModelError::MissingFile {
            path: root.join(&beside),
            what: "the tokenizer",
            remedy: if root.join(folder).join("vocab.txt").is_file() {
                "the directory has only the older vocab.txt; save the tokenizer once with \
                 transformers' AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
                    .to_owned()
            } else {
                FETCH_AGAIN.to_owned()
            },
        })
}

fn max_tokens(
    config: &EncoderConfig,
    transformer: Option<&JsonFile>,
    tokenizer: Option<&JsonFile>,
) -> Result<usize, ModelError> {
    let positions = config.max_positions();
    if let Some(file) = transformer
        && let Some(limit) = file.whole("max_seq_length", &(1..=usize::MAX))?
    {
        return Ok(limit.min(positions));
    }
    if let Some(file) = tokenizer
        && let Some(limit) = file.number("model_max_length")?
    {
        if limit < 1.0 {
            return Err(file.invalid("model_max_length", "a number of at least 1"));
        }
        // The cast saturates: 1e30 stands for "no limit".
        return Ok((limit as usize).min(positions));
    }
    Ok(positions)
}

/// The widths that modules.json's modules declare must follow from one another.
fn check_widths(
    root: &Path,
    modules: &Modules,
    config: &EncoderConfig,
    pooling: &PoolingConfig,
) -> Result<(), ModelError> {
    let wrong = |path: PathBuf, key: &str, value: usize, expected: usize| {
        Err(ModelError::InvalidSetting {
            path,
            key: key.to_owned(),
            value: Value::from(value).to_string(),
            expected: expected.to_string(),
        })
    };
    if let Some(width) = pooling.width
        && width != config.hidden
    {
        let file = modules.files.get(1).cloned().unwrap_or_default();
        return wrong(root.join(file), "embedding_dimension", width, config.hidden);
    }
    let mut width = config.hidden * pooling.modes.len();
    for module in &modules.after {
        if let AfterPooling::Dense(dense) = module {
            if dense.in_features != width {
                let path = root.join(&dense.folder).join("config.json");
                return wrong(path, "in_features", dense.in_features, width);
            }
            width = dense.out_features;
        }
    }
    Ok(())
}
