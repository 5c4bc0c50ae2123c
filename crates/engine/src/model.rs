//! A loaded model.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use kernels::Isa;
use networks::{ModelDirectory, OperatorProfile, Precision, QuantizeSpec, Staged, Task};
use text::Input;
use text::entities::Entity;

use crate::answer::Answer;
use crate::builder::ModelBuilder;
use crate::cache::CacheStats;
use crate::core::Core;
use crate::error::{Error, RowError, codes};
use crate::machine::Machine;
use crate::memory::MemoryStats;
use crate::pipeline::{self, CacheUse, RunSettings, Window, Windows};
use crate::prediction::{LabelScore, Prediction, Rendering};
use crate::progress::Progress;
use crate::stream::PredictStream;

/// A model that is loaded and ready to run.
///
/// It may be cloned and used from any number of threads at once: clones share weights, cache and
/// threads, and computing takes no lock.
///
/// ```no_run
/// use batchwright_engine::Model;
///
/// # fn main() -> Result<(), batchwright_engine::Error> {
/// let model = Model::builder("all-MiniLM-L6-v2").batch_size(32).cache_entries(1_000).load()?;
/// let vectors = model.embed(["turn on the lights", "what is my balance"])?;
/// assert_eq!(vectors[0].len(), 384);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Model {
    core: Arc<Core>,
    rendering: Rendering,
}

impl Model {
    /// Starts choosing a model: a directory in Hugging Face layout, a catalogue name such as
    /// `all-MiniLM-L6-v2`, or a hub id such as `owner/name`.
    pub fn builder(spec: &str) -> ModelBuilder {
        ModelBuilder::new(spec)
    }

    pub(crate) fn new(core: Core) -> Self {
        Self {
            core: Arc::new(core),
            rendering: Rendering::default(),
        }
    }

    /// The same model with another way of rendering answers. Weights, cache and threads are shared.
    ///
    /// ```no_run
    /// use batchwright_engine::{Model, Rendering};
    ///
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = Model::builder("path/to/classifier").load()?;
    /// let three_best = model.with_rendering(Rendering { top_k: Some(3), ..Rendering::default() });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_rendering(&self, rendering: Rendering) -> Self {
        Self {
            core: Arc::clone(&self.core),
            rendering,
        }
    }

    /// The task that this model runs.
    pub fn task(&self) -> Task {
        self.core.task()
    }

    /// The model as it was named to the builder.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Where the model came from, for people: a directory, a hub, a package.
    pub fn source(&self) -> &str {
        &self.core.source
    }

    /// What the model's directory says about it.
    pub fn directory(&self) -> &ModelDirectory {
        &self.core.directory
    }

    /// The machine as it was found when the model was loaded.
    pub fn machine(&self) -> &Machine {
        &self.core.machine
    }

    /// Most tokens computed together by one worker.
    pub fn batch_tokens(&self) -> usize {
        self.core.settings.budget.tokens
    }

    /// Rows read ahead and batched together.
    pub fn window(&self) -> usize {
        self.core.window
    }

    /// The instruction set that it computes with.
    pub fn isa(&self) -> Isa {
        self.core.executor.network().isa()
    }

    /// What each of the network's operators has cost since the last call, as the time of one thread,
    /// in batches that are done.
    pub fn take_operator_profile(&self) -> OperatorProfile {
        self.core.executor.take_profile()
    }

    /// How exactly the encoder computes.
    pub fn precision(&self) -> Precision {
        self.core.executor.network().precision()
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.core.executor.threads()
    }

    /// Length of a vector (embedding) or number of labels.
    pub fn outputs(&self) -> usize {
        self.core.executor.network().answer_width(1)
    }

    /// Floating-point operations of the network for one token, attention aside.
    pub fn flops_per_token(&self) -> f64 {
        self.core.executor.network().flops_per_token() as f64
    }

    /// Hash of every file that determines the model's answers.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.core.fingerprint
    }

    /// Everything that determines answers, but for this program's version, as names and values: what a
    /// job compares before it goes on, so that it can name the option that has changed.
    pub fn fingerprints(&self) -> Vec<(&'static str, String)> {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let encode = &self.core.preparer.encode;
        let mut facts = self.core.computed.clone();
        facts.extend([
            ("model", hex(&self.core.fingerprint)),
            (
                "tokenizer",
                hex(&self.core.preparer.tokenizer.fingerprint()),
            ),
            (
                "instruction set",
                self.core.executor.network().isa().name().to_owned(),
            ),
            ("truncate", format!("{:?}", encode.truncate)),
            ("on long", format!("{:?}", encode.on_long)),
            (
                "max tokens",
                encode
                    .max_tokens
                    .map_or("model's own".into(), |n| n.to_string()),
            ),
            ("prompt", encode.prompt.clone().unwrap_or_default()),
        ]);
        facts
    }

    /// Embeds texts; vectors `[dimensions]` in the order of the texts.
    ///
    /// # Errors
    /// If the model does another task, or a row fails; [`predict_batch`](Self::predict_batch) answers
    /// the other rows.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// let vectors = model.embed(["turn on the lights", "what is my balance"])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embed<T: Into<Input>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        self.all(Task::Embed, texts, Prediction::into_embedding)
    }

    /// Classifies texts, or pairs; labels with scores, best first, in the order of the texts.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("path/to/classifier").load()?;
    /// let labels = model.classify(["the train was late again"])?;
    /// println!("{} {:.2}", labels[0][0].label, labels[0][0].score);
    /// # Ok(())
    /// # }
    /// ```
    pub fn classify<T: Into<Input>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Vec<LabelScore>>, Error> {
        self.all(Task::Classify, texts, Prediction::into_labels)
    }

    /// Scores each passage against the query, in the passages' order.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("path/to/cross-encoder").load()?;
    /// let scores = model.rerank("opening hours", ["We open at nine.", "Parking is free."])?;
    /// assert!(scores[0] > scores[1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn rerank(
        &self,
        query: &str,
        passages: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Vec<f32>, Error> {
        let pairs = passages
            .into_iter()
            .map(|passage| Input::Pair(query.to_owned(), passage.into()));
        self.all(Task::Rerank, pairs, Prediction::into_score)
    }

    /// Finds the named spans of each text, with character offsets.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("path/to/tagger").load()?;
    /// for entity in &model.tag(["Ada Lovelace lived in London."])?[0] {
    ///     println!("{} {} {}..{}", entity.label, entity.text, entity.start, entity.end);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tag<T: Into<Input>>(
        &self,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Vec<Entity>>, Error> {
        self.all(Task::Tag, texts, Prediction::into_entities)
    }

    /// Runs the model's own task on one row: the shortest way, with all threads on its products.
    ///
    /// # Errors
    /// If the row fails.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// let prediction = model.predict("turn on the lights")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn predict(&self, input: impl Into<Input>) -> Result<Prediction, Error> {
        let prepared = self.core.preparer.window(vec![Ok(input.into())]);
        match self
            .core
            .answer_now(prepared, self.core.settings.cache)
            .pop()
        {
            Some(Ok(answer)) => Ok(self.render(&answer)),
            Some(Err(error)) => Err(Error::Row { row: 0, error }),
            None => Err(Error::Row {
                row: 0,
                error: RowError::new(codes::INTERNAL, "no answer was given for this row"),
            }),
        }
    }

    /// Runs the model's own task on a slice of rows and tells `progress` after every window how far it
    /// is. Answers are in the rows' order; a bad row is an error in its place.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// use batchwright_engine::Input;
    ///
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// let rows = [Input::from("turn on the lights"), Input::from("what is my balance")];
    /// let answers = model.predict_batch(&rows, |progress| eprintln!("{} rows", progress.rows));
    /// assert_eq!(answers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn predict_batch(
        &self,
        inputs: &[Input],
        mut progress: impl FnMut(Progress),
    ) -> Vec<Result<Prediction, RowError>> {
        let mut predictions = Vec::with_capacity(inputs.len());
        // The reader is a thread of its own, which may outlive the slice.
        let rows = inputs.to_vec();
        let mut windows = self.windows_of(rows.into_iter(), self.core.settings);
        while let Some(window) = windows.next() {
            predictions.extend(self.rendered(window.answers));
            progress(windows.progress());
        }
        predictions
    }

    /// Runs the model's own task on a stream of rows, unlimited and in constant memory: rows are read
    /// a few windows ahead of the answers. See [`PredictStream::into_stream`] for asynchronous
    /// programs.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::{BufRead, BufReader};
    ///
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// let file = BufReader::new(std::fs::File::open("rows.txt")?);
    /// // A panic of the rows' iterator comes out of the loop: a line that cannot be read must not
    /// // look like the end of the file. `run_windows` takes such a line as an error in its place.
    /// let rows = file.lines().map(|line| line.expect("rows.txt is UTF-8 and can be read"));
    /// for prediction in model.predict_stream(rows) {
    ///     println!("{prediction:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn predict_stream<I>(&self, inputs: I) -> PredictStream
    where
        I: IntoIterator,
        I::Item: Into<Input> + 'static,
        I::IntoIter: Send + 'static,
    {
        let windows = self.windows_of(inputs.into_iter().map(Into::into), self.core.settings);
        PredictStream::new(Arc::clone(&self.core), self.rendering, windows)
    }

    /// Runs windows that the caller makes, each with something that rides along. What files are
    /// predicted with: the payload carries their other columns.
    pub fn run_windows<P, I>(&self, windows: I) -> Windows<P>
    where
        P: Send + 'static,
        I: Iterator<Item = Window<P>> + Send + 'static,
    {
        pipeline::run(&self.core, windows, self.core.settings)
    }

    /// Renders what the network computed for a row.
    pub fn render(&self, answer: &Answer) -> Prediction {
        self.core.render(answer, &self.rendering)
    }

    /// Runs a full batch on every worker, so that the first timed row meets buffers that are grown and
    /// weights that are in memory.
    pub fn warm_up(&self) {
        // Words that every vocabulary has in one form or another; their answers are thrown away.
        let words = "warm up the caches and the buffers of every worker ";
        let tokens = self.batch_tokens().min(1_024);
        let text = words.repeat(tokens.div_ceil(8));
        let rows = 2 * self.threads();
        let input = match self.task() {
            Task::Rerank => Input::Pair("warm up".into(), text),
            _ => Input::Text(text),
        };
        let settings = RunSettings {
            cache: CacheUse::No,
            ..self.core.settings
        };
        // Distinct rows, for equal ones would be computed once.
        let inputs = (0..rows).map(move |row| match &input {
            Input::Text(text) => Input::Text(format!("{row} {text}")),
            Input::Pair(first, second) => Input::Pair(format!("{row} {first}"), second.clone()),
        });
        self.windows_of(inputs, settings).for_each(drop);
    }

    /// Writes a quantised copy of the model's directory: its products packed as integers, ready to be mapped.
    /// What comes back can be loaded ([`ModelBuilder::load_from`] its path) and compared
    /// ([`Comparison`](crate::Comparison)) before [`Staged::place`] brings it to `target`; dropped, it is gone.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// use batchwright_engine::{Comparison, Input, Model, QuantizeSpec};
    ///
    /// let exact = Model::builder("all-MiniLM-L6-v2").load()?;
    /// let staged = exact.quantize("minilm-fast".as_ref(), &QuantizeSpec::default())?;
    /// let fast = Model::builder("minilm-fast").load_from(staged.path())?;
    /// let mut comparison = Comparison::new(&exact, &fast)?;
    /// comparison.add(vec![Input::from("turn on the lights")], &[]);
    /// if comparison.finish().value() > 0.99 {
    ///     staged.place()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`networks::quantize`].
    pub fn quantize(&self, target: &Path, spec: &QuantizeSpec) -> Result<Staged, Error> {
        Ok(networks::quantize(&self.core.directory, target, spec)?)
    }

    /// What the cache holds and has done.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").cache_entries(1_000).load()?;
    /// model.embed(["again", "and again", "again"])?;
    /// println!("{:.0} % hits", 100.0 * model.cache_stats().hit_rate());
    /// # Ok(())
    /// # }
    /// ```
    pub fn cache_stats(&self) -> CacheStats {
        self.core.cache.stats()
    }

    /// Forgets every cached answer, in memory and on disk.
    ///
    /// # Errors
    /// If the file on disk cannot be changed.
    pub fn clear_cache(&self) -> Result<(), Error> {
        self.core.cache.clear()
    }

    /// Brings cached answers that are gathered in memory onto the disk; dropping the model does so too.
    pub fn flush_cache(&self) {
        self.core.cache.flush();
    }

    /// What the model costs in memory.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// println!("{} MB of weights", model.memory_stats().weights_bytes / 1_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory_stats(&self) -> MemoryStats {
        self.core.memory_stats()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn windows_of<I>(&self, inputs: I, settings: RunSettings) -> Windows<()>
    where
        I: Iterator<Item = Input> + Send + 'static,
    {
        let size = self.core.window;
        let mut inputs = inputs;
        let windows = std::iter::from_fn(move || {
            let rows: Vec<_> = inputs.by_ref().take(size).map(Ok).collect();
            (!rows.is_empty()).then_some(Window { rows, payload: () })
        });
        pipeline::run(&self.core, windows, settings)
    }

    fn rendered(
        &self,
        answers: Vec<Result<Answer, RowError>>,
    ) -> impl Iterator<Item = Result<Prediction, RowError>> {
        answers.into_iter().map(|answer| Ok(self.render(&answer?)))
    }

    fn all<T: Into<Input>, A>(
        &self,
        asked: Task,
        inputs: impl IntoIterator<Item = T>,
        take: impl Fn(Prediction) -> Option<A>,
    ) -> Result<Vec<A>, Error> {
        let wrong_task = || Error::WrongTask {
            model: self.core.name.clone(),
            model_task: self.task(),
            asked,
        };
        if self.task() != asked {
            return Err(wrong_task());
        }
        let inputs: Vec<Input> = inputs.into_iter().map(Into::into).collect();
        let predictions = self.answer_all(inputs);
        let answers = predictions
            .into_iter()
            .enumerate()
            .map(|(row, prediction)| {
                let prediction = prediction.map_err(|error| Error::Row { row, error })?;
                take(prediction).ok_or_else(wrong_task)
            });
        answers.collect()
    }

    /// A window's worth of rows is answered without queues; more go through the pipeline.
    fn answer_all(&self, inputs: Vec<Input>) -> Vec<Result<Prediction, RowError>> {
        if inputs.len() <= self.core.window {
            let prepared = self
                .core
                .preparer
                .window(inputs.into_iter().map(Ok).collect());
            let answers = self.core.answer_now(prepared, self.core.settings.cache);
            return self.rendered(answers).collect();
        }
        let mut predictions = Vec::with_capacity(inputs.len());
        for window in self.windows_of(inputs.into_iter(), self.core.settings) {
            predictions.extend(self.rendered(window.answers));
        }
        predictions
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Model");
        out.field("name", &self.name())
            .field("task", &self.task())
            .field("threads", &self.threads());
        out.finish_non_exhaustive()
    }
}
