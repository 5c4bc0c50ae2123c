//! Choosing and loading a model.

use std::fmt;
use std::path::{Path, PathBuf};

use batch::Budget;
use catalogue::{FetchProgress, Network as NetworkAccess, NoProgress, ResolveOptions};
use kernels::{Isa, Pooling};
use networks::{
    LetterCase, LoadOptions, ModelDirectory, Network, Normalize, Precision, PromptPooling, Task,
};
use text::{Encode, Input, Limits, Offsets, OnLong, Tokenizer, Truncate};

use crate::cache::{Cache, CacheLimits, DiskFile, RemotePlace, Scope};
use crate::core::Core;
use crate::error::Error;
use crate::execute::Executor;
use crate::machine::{Machine, available_threads};
use crate::memory::GivesMemoryBack;
use crate::model::Model;
use crate::pipeline::{CacheUse, RunSettings};
use crate::prepare::{Preparer, Takes};
use crate::profile::Profile;

/// Rows read ahead and batched together, by default: enough for full batches of every length, and
/// few enough that a window's texts and vectors are a few megabytes.
pub const DEFAULT_WINDOW: usize = 2_048;
/// Rows in a batch where the caller asks for a batch size and names none.
pub const DEFAULT_BATCH_SIZE: usize = 32;
/// Bytes of a cache for which a number of entries is asked and no bytes.
const DEFAULT_CACHE_BYTES: usize = 256 << 20;
/// Bytes of answers kept on disk, unless told otherwise.
pub const DEFAULT_DISK_CACHE_BYTES: u64 = 4 << 30;

/// Options of a model; made by [`Model::builder`](crate::Model::builder).
#[derive(Clone, Debug)]
#[must_use = "nothing is loaded before `load`"]
pub struct ModelBuilder {
    spec: String,
    task: Option<Task>,
    pooling: Option<Pooling>,
    normalize: Option<Normalize>,
    dimensions: Option<usize>,
    truncate: Truncate,
    on_long: OnLong,
    max_tokens: Option<usize>,
    prompt: Prompt,
    batch_tokens: Option<usize>,
    batch_size: Option<usize>,
    window: usize,
    threads: Option<usize>,
    cache_entries: Option<usize>,
    cache_bytes: Option<usize>,
    cache_dir: Option<PathBuf>,
    cache_dir_bytes: u64,
    cache_redis: Option<String>,
    access: NetworkAccess,
    isa: Option<Isa>,
    precision: Option<Precision>,
    profile: ProfileUse,
}

/// What is put before every text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Prompt {
    /// The model's own default, which most have not.
    Default,
    /// One that the model names, such as `query`.
    Named(String),
    /// This text.
    Text(String),
}

/// Whether a profile saved for this model on this machine is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileUse {
    /// Options that are not set come from the profile.
    Saved,
    /// Options that are not set are found from the model and the cache sizes.
    Ignored,
}

impl ModelBuilder {
    pub(crate) fn new(spec: &str) -> Self {
        Self {
            spec: spec.to_owned(),
            task: None,
            pooling: None,
            normalize: None,
            dimensions: None,
            truncate: Truncate::Right,
            on_long: OnLong::Truncate,
            max_tokens: None,
            prompt: Prompt::Default,
            batch_tokens: None,
            batch_size: None,
            window: DEFAULT_WINDOW,
            threads: None,
            cache_entries: None,
            cache_bytes: None,
            cache_dir: None,
            cache_dir_bytes: DEFAULT_DISK_CACHE_BYTES,
            cache_redis: None,
            access: NetworkAccess::Allowed,
            isa: None,
            precision: None,
            profile: ProfileUse::Saved,
        }
    }

    /// The task to run; the model's own if not set. Any encoder can embed.
    pub fn task(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// How token vectors become one vector; the model's own if not set. Other tasks than
    /// [`Task::Embed`] pass it over.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Whether vectors are brought to length 1; the model's own if not set. Other tasks than
    /// [`Task::Embed`] pass it over.
    pub fn normalize(mut self, normalize: Normalize) -> Self {
        self.normalize = Some(normalize);
        self
    }

    /// Keeps the first `dimensions` of each vector, for models trained so (Matryoshka). Other tasks
    /// than [`Task::Embed`] pass it over.
    pub fn dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Which end of a text that is too long goes; by default its right.
    pub fn truncate(mut self, truncate: Truncate) -> Self {
        self.truncate = truncate;
        self
    }

    /// What becomes of a text that is too long: by default it is cut.
    pub fn on_long(mut self, on_long: OnLong) -> Self {
        self.on_long = on_long;
        self
    }

    /// Most tokens of a row, special ones included; at most, and by default, the model's own limit.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Puts the prompt that the model calls `name` before every text.
    pub fn prompt_name(mut self, name: impl Into<String>) -> Self {
        self.prompt = Prompt::Named(name.into());
        self
    }

    /// Puts this text before every text.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Prompt::Text(prompt.into());
        self
    }

    /// Most tokens computed together by one worker; found from the model and the cache sizes, or taken
    /// from a saved profile, if not set.
    pub fn batch_tokens(mut self, tokens: usize) -> Self {
        self.batch_tokens = Some(tokens);
        self
    }

    /// Most rows computed together by one worker; not bounded if not set.
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// Rows read ahead, sorted by length and cut into batches together; by default
    /// [`DEFAULT_WINDOW`].
    pub fn window(mut self, rows: usize) -> Self {
        self.window = rows;
        self
    }

    /// Threads that compute; by default all that this process may run at once.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Keeps up to `entries` answers in memory (and 256 MiB, unless
    /// [`cache_bytes`](Self::cache_bytes) says otherwise). 0 switches it off; it is off by default.
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.cache_entries = Some(entries);
        self
    }

    /// Keeps up to `bytes` of answers in memory, as many as they are unless
    /// [`cache_entries`](Self::cache_entries) bounds them too. 0 switches it off; it is off by default.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Keeps answers in this directory, across jobs.
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(directory.into());
        self
    }

    /// Most bytes that answers may take on disk, about; by default [`DEFAULT_DISK_CACHE_BYTES`]. Each
    /// model with its options has a file of its own, and each version of this program: the limit is
    /// that of one file.
    pub fn cache_dir_bytes(mut self, bytes: u64) -> Self {
        self.cache_dir_bytes = bytes;
        self
    }

    /// Shares answers with other processes through a Redis or Valkey server, such as `redis://localhost:6379`. One that is
    /// away or slow fails no row: what it does not tell within milliseconds is computed. It keeps answers for as
    /// long as its own settings say.
    pub fn cache_redis(mut self, url: impl Into<String>) -> Self {
        self.cache_redis = Some(url.into());
        self
    }

    /// Never touches the network: the model must be here already.
    pub fn offline(mut self) -> Self {
        self.access = NetworkAccess::Offline;
        self
    }

    /// The instruction set to compute with; the best that the machine has if not set. Different sets
    /// add in different orders, so their answers differ in the last bits.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// How exactly the encoder computes. If not set: what the directory was quantised for, and
    /// [`Precision::Exact`] where it is a model as it was trained.
    ///
    /// ```no_run
    /// use batchwright_engine::{Model, Precision};
    ///
    /// let model = Model::builder("all-MiniLM-L6-v2").precision(Precision::Fast).load()?;
    /// # Ok::<(), batchwright_engine::Error>(())
    /// ```
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }

    /// Whether a profile saved by [`Profile::save`] is used; by default it is.
    pub fn profile(mut self, profile: ProfileUse) -> Self {
        self.profile = profile;
        self
    }

    /// Finds, fetches if need be, and loads the model.
    ///
    /// # Errors
    /// If the model cannot be found or fetched, is not supported, or an option cannot be honoured.
    pub fn load(self) -> Result<Model, Error> {
        self.load_with_progress(&NoProgress)
    }

    /// The same as [`load`](Self::load), telling `progress` how a download goes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_progress(self, progress: &dyn FetchProgress) -> Result<Model, Error> {
        let resolve = ResolveOptions {
            network: self.access,
            ..ResolveOptions::default()
        };
        let resolved = catalogue::resolve(&self.spec, &resolve, progress)?;
        self.load_directory(&resolved.directory, resolved.source)
    }

    /// Loads the model in this directory, whatever the builder was given as its name.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_from(self, directory: &Path) -> Result<Model, Error> {
        self.load_directory(directory, "directory".to_owned())
    }

    fn load_directory(self, path: &Path, source: String) -> Result<Model, Error> {
        let isa = self.checked_isa()?;
        let threads = self.checked_threads()?;
        self.check_sizes()?;
        let machine = Machine {
            isa: isa.name().to_owned(),
            ..Machine::detect()
        };
        let directory = ModelDirectory::open(path)?;
        let task = self.task.unwrap_or_else(|| directory.task());
        let encode = self.encode(&directory, task)?;
        let load = LoadOptions {
            isa,
            precision: self.precision,
            task: self.task,
            pooling: self.pooling,
            normalize: self.normalize,
            dimensions: self.dimensions,
        };
        let read = || {
            let limits = Limits {
                max_tokens: directory.max_tokens(),
            };
            let tokenizer = Tokenizer::from_file(directory.tokenizer_path(), limits);
            (directory.fingerprint(), tokenizer)
        };
        // The vocabulary takes as long as mapped weights do: side by side, where there are threads.
        let (network, (fingerprint, tokenizer)) = std::thread::scope(|scope| match threads {
            1 => (Network::load(&directory, &load), read()),
            _ => {
                let other = std::thread::Builder::new().spawn_scoped(scope, read);
                let network = Network::load(&directory, &load);
                let rest = match other.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(rest)) => rest,
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // A thread that the system refuses makes loading slower, nothing else.
                    Err(_) => read(),
                };
                (network, rest)
            }
        });
        let (network, fingerprint, tokenizer) = (network?, fingerprint?, tokenizer?);

        check_room(self.max_tokens, &tokenizer, task)?;
        let prompt_tokens = match (directory.prompt_pooling(), &encode.prompt) {
            (PromptPooling::Excluded, Some(prompt)) => tokens_of_prompt(&tokenizer, prompt)?,
            _ => 0,
        };
        let computed = self.computed(task, network.precision());
        let parts = [
            fingerprint.as_slice(),
            isa.name().as_bytes(),
            // Another version may add in another order.
            env!("CARGO_PKG_VERSION").as_bytes(),
            &prompt_tokens.to_le_bytes(),
        ];
        let options = computed
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let scope = Scope::new(parts.into_iter().chain(options));
        let file = self
            .cache_dir
            .as_ref()
            .map(|path| DiskFile::new(path, &scope.name(), self.cache_dir_bytes));
        let place = self
            .cache_redis
            .as_ref()
            .map(|url| RemotePlace::new(url, &scope));
        let cache = Cache::open(self.cache_limits(), file.as_ref(), place.as_ref())?;
        let budget = self.budget(&fingerprint, &network, &machine);
        let letter_case = directory.letter_case();
        let takes = match task {
            Task::Embed | Task::Tag => Takes::Texts,
            Task::Rerank => Takes::Pairs,
            Task::Classify => Takes::Either,
        };
        Ok(Model::new(Core {
            name: self.spec,
            source,
            directory,
            fingerprint,
            computed,
            machine,
            executor: Executor::new(network, threads, prompt_tokens),
            preparer: Preparer {
                tokenizer,
                encode,
                scope,
                takes,
                letter_case,
            },
            cache,
            settings: RunSettings {
                budget,
                threads,
                cache: CacheUse::Yes,
            },
            window: self.window,
            _memory: GivesMemoryBack,
        }))
    }

    fn checked_isa(&self) -> Result<Isa, Error> {
        let Some(isa) = self.isa else {
            return Ok(Isa::detect());
        };
        if Isa::available().contains(&isa) {
            return Ok(isa);
        }
        let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
        let problem = format!(
            "this machine has no {}; it has {}",
            isa.name(),
            names.join(", ")
        );
        Err(option("isa", problem))
    }

    fn checked_threads(&self) -> Result<usize, Error> {
        /// More than any machine has; a mistyped number should not start a million threads.
        const MOST: usize = 1_024;
        match self.threads {
            None => Ok(available_threads()),
            Some(threads @ 1..=MOST) => Ok(threads),
            Some(threads) => Err(option(
                "threads",
                format!("{threads}; it must be 1 to {MOST}"),
            )),
        }
    }

    fn check_sizes(&self) -> Result<(), Error> {
        if self.batch_tokens == Some(0) {
            return Err(option("batch_tokens", "0 tokens; it must be at least 1"));
        }
        if self.batch_size == Some(0) {
            return Err(option("batch_size", "0 rows; it must be at least 1"));
        }
        if self.window == 0 {
            return Err(option("window", "0 rows; it must be at least 1"));
        }
        Ok(())
    }

    /// The options that change what the network computes for given tokens, as names and values.
    fn computed(&self, task: Task, precision: Precision) -> Vec<(&'static str, String)> {
        let mut computed = vec![
            ("task", task.to_string()),
            ("precision", precision.to_string()),
        ];
        if task == Task::Embed {
            computed.extend([
                ("pooling", words(self.pooling)),
                ("normalize", words(self.normalize)),
                ("dimensions", words(self.dimensions)),
            ]);
        }
        computed
    }

    fn cache_limits(&self) -> CacheLimits {
        let (entries, bytes) = match (self.cache_entries, self.cache_bytes) {
            (None, None) => (0, 0),
            (entries, bytes) => (
                entries.unwrap_or(usize::MAX),
                bytes.unwrap_or(DEFAULT_CACHE_BYTES),
            ),
        };
        CacheLimits { entries, bytes }
    }

    fn encode(&self, directory: &ModelDirectory, task: Task) -> Result<Encode, Error> {
        if let Some(tokens) = self.max_tokens
            && (tokens == 0 || tokens > directory.max_tokens())
        {
            let problem = format!(
                "{tokens}; this model takes 1 to {} tokens",
                directory.max_tokens()
            );
            return Err(option("max_tokens", problem));
        }
        let prompts = directory.prompts();
        let prompt = match &self.prompt {
            Prompt::Text(prompt) => Some(prompt.clone()),
            Prompt::Default => prompts.default_prompt().map(str::to_owned),
            Prompt::Named(name) => match prompts.get(name) {
                Some(prompt) => Some(prompt.to_owned()),
                None => {
                    let names: Vec<&str> = prompts.names().collect();
                    let known = if names.is_empty() {
                        "none".into()
                    } else {
                        names.join(", ")
                    };
                    let problem = format!("the model has no prompt `{name}`; it has {known}");
                    return Err(option("prompt_name", problem));
                }
            },
        };
        let prompt = prompt.map(|prompt| match directory.letter_case() {
            LetterCase::Kept => prompt,
            LetterCase::Lowered => prompt.to_lowercase(),
        });
        Ok(Encode {
            truncate: self.truncate,
            on_long: self.on_long,
            max_tokens: self.max_tokens,
            prompt: prompt.filter(|prompt| !prompt.is_empty()),
            offsets: match task {
                Task::Tag => Offsets::Keep,
                Task::Embed | Task::Classify | Task::Rerank => Offsets::Skip,
            },
        })
    }

    fn budget(&self, fingerprint: &[u8; 32], network: &Network, machine: &Machine) -> Budget {
        let saved = match (self.batch_tokens, self.profile) {
            // A profile only saves time: one that cannot be read is as good as none, and must not keep
            // anybody from computing, nor from measuring it anew.
            (None, ProfileUse::Saved) => Profile::load(fingerprint, machine).unwrap_or_default(),
            _ => None,
        };
        let (hidden, intermediate) = (network.config().hidden, network.config().intermediate);
        let weights = match network.precision() {
            Precision::Fast => batch::Weights::Narrow,
            Precision::Exact | Precision::Near => batch::Weights::Wide,
        };
        let tokens = self
            .batch_tokens
            .or(saved.map(|profile| profile.batch_tokens))
            .unwrap_or_else(|| {
                batch::default_tokens(hidden, intermediate, machine.l2_bytes, weights)
            });
        Budget::tokens(tokens).rows(self.batch_size.unwrap_or(usize::MAX))
    }
}

/// Refuses a limit that leaves no room for a single token of any text: every row would have the same answer.
fn check_room(max_tokens: Option<usize>, tokenizer: &Tokenizer, task: Task) -> Result<(), Error> {
    let Some(most) = max_tokens else {
        return Ok(());
    };
    let empty = match task {
        Task::Rerank => Input::Pair(String::new(), String::new()),
        Task::Embed | Task::Classify | Task::Tag => Input::from(""),
    };
    let special = tokenizer.encode(&empty, &Encode::default())?.ids.len();
    if most > special {
        return Ok(());
    }
    let problem = format!(
        "{most}; the model's special tokens alone are {special}, which leaves no room for text: allow {} or more",
        special + 1
    );
    Err(option("max_tokens", problem))
}

/// Tokens that stand before the text when `prompt` is put before it: those of the prompt alone, less
/// the special tokens behind them.
fn tokens_of_prompt(tokenizer: &Tokenizer, prompt: &str) -> Result<usize, Error> {
    let how = Encode {
        offsets: Offsets::Keep,
        ..Encode::default()
    };
    let encoded = tokenizer.encode(&Input::from(prompt), &how)?;
    let spans = encoded.offsets.unwrap_or_default();
    let behind = spans.iter().rev().take_while(|span| span.special).count();
    Ok(spans.len() - behind)
}

/// What an option says, for people.
fn words(option: Option<impl fmt::Debug>) -> String {
    match option {
        Some(value) => format!("{value:?}").to_lowercase(),
        None => "model's own".to_owned(),
    }
}

fn option(name: &'static str, problem: impl Into<String>) -> Error {
    Error::Option {
        name,
        problem: problem.into(),
    }
}
