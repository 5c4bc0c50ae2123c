//! A model, loaded: encoder and head.

use kernels::{Cpu, IntegerLinear, Isa, Pooling, Team};

use crate::batch::TokenBatch;
use crate::directory::{EncoderConfig, Head as SavedHead, ModelDirectory};
use crate::encoder::{Encoder, ProductSource, Rows};
use crate::error::{ModelError, RunError};
use crate::heads::{EmbeddingHead, SequenceHead, TokenHead};
use crate::precision::Precision;
use crate::profile::Operator;
use crate::quantized::{self, MappedProducts, ProductName};
use crate::task::{Normalize, Task};
use crate::weights::Weights;
use crate::workspace::Workspace;

/// What to make of a model directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The instruction set that the weights are packed for and the operators use.
    pub isa: Isa,
    /// How exactly the encoder computes; `None` for what the directory was quantised for, and
    /// [`Precision::Exact`] where it was not.
    pub precision: Option<Precision>,
    /// The task; `None` for the one that the model was made for. Every model can embed.
    pub task: Option<Task>,
    /// Pooling of embeddings; `None` for the model's own.
    pub pooling: Option<Pooling>,
    /// Whether embeddings get length one; `None` for what the model's own modules say.
    pub normalize: Option<Normalize>,
    /// The number of leading dimensions of an embedding to keep (Matryoshka); `None` for all.
    pub dimensions: Option<usize>,
}

impl Default for LoadOptions {
    /// The model as its directory describes it, on the machine's best instructions.
    fn default() -> Self {
        LoadOptions {
            isa: Isa::detect(),
            precision: None,
            task: None,
            pooling: None,
            normalize: None,
            dimensions: None,
        }
    }
}

/// A loaded model. Immutable: any number of threads run it at once, each with its own
/// [`Workspace`].
///
/// ```no_run
/// use batchwright_networks::{LoadOptions, ModelDirectory, Network, TokenBatch, Workspace};
///
/// let directory = ModelDirectory::open("models/all-MiniLM-L6-v2".as_ref())?;
/// let network = Network::load(&directory, &LoadOptions::default())?;
/// let batch = TokenBatch { ids: &[101, 7592, 102], lengths: &[3], ..TokenBatch::default() };
/// let mut vectors = Vec::new();
/// network.run(&kernels::Solo, &batch, &mut Workspace::default(), &mut vectors)?;
/// assert_eq!(vectors.len(), network.answer_width(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Network {
    isa: Isa,
    precision: Precision,
    task: Task,
    encoder: Encoder,
    head: Head,
}

#[derive(Debug)]
enum Head {
    Embedding(EmbeddingHead),
    Sequence(SequenceHead),
    Token(TokenHead),
}

impl Network {
    /// Maps the weights, checks every tensor's name, shape and type, and packs the matrices. Those of a
    /// quantised directory are packed already: they are checked against their sum and used where they
    /// are mapped.
    ///
    /// # Errors
    /// Another precision than the directory was quantised for; a damaged weight file; a tensor that is missing or has another shape or type than the
    /// configuration implies; a task for which the model has no head; more dimensions than it has.
    pub fn load(directory: &ModelDirectory, options: &LoadOptions) -> Result<Network, ModelError> {
        let Some(manifest) = directory.quantized() else {
            let weights = Weights::open(directory.path(), directory.encoder_folder())?;
            let source = ProductSource::Packed {
                precision: options.precision.unwrap_or_default(),
                near: &[],
            };
            return Network::build(directory, &weights, source, options);
        };
        if let Some(asked) = options.precision.filter(|&it| it != manifest.precision) {
            return Err(ModelError::PrecisionFixed {
                path: directory.path().to_owned(),
                asked,
                quantized: manifest.precision,
            });
        }
        manifest.check_weights(directory.path())?;
        let weights = Weights::open_file(directory.path().join(quantized::WEIGHTS))?;
        let source = ProductSource::Mapped(MappedProducts::new(manifest, &weights));
        Network::build(directory, &weights, source, options)
    }

    /// Builds the network from opened weights, its products from `source`.
    pub(crate) fn build(
        directory: &ModelDirectory,
        weights: &Weights,
        source: ProductSource<'_>,
        options: &LoadOptions,
    ) -> Result<Network, ModelError> {
        let task = options.task.unwrap_or_else(|| directory.task());
        check_task(directory, task)?;
        let config = directory.config();
        let encoder = Encoder::load((options.isa, source), weights, config)?;
        let (isa, labels) = (options.isa, directory.labels().len());
        let head = match task {
            Task::Embed => Head::Embedding(EmbeddingHead::load(directory, options)?),
            Task::Classify | Task::Rerank => {
                Head::Sequence(SequenceHead::load(isa, weights, config, labels)?)
            }
            Task::Tag => Head::Token(TokenHead::load(isa, weights, config, labels)?),
        };
        Ok(Network {
            isa,
            precision: source.precision(),
            task,
            encoder,
            head,
        })
    }

    /// Runs a batch and appends for each text in order: an embedding `[dimensions]`, the logits
    /// `[labels]`, or for tagging the logits `[tokens * labels]`.
    ///
    /// A text's values have the same bits whatever its batch, its place in it, and the team. Values
    /// that are not finite are passed on as they are.
    ///
    /// # Errors
    /// A batch that does not fit the model; `answers` is then as it was.
    pub fn run(
        &self,
        team: &dyn Team,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
        answers: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        batch.check(self.config())?;
        if batch.texts() == 0 {
            return Ok(());
        }
        let cpu = Cpu {
            isa: self.isa,
            team,
        };
        let rows = match &self.head {
            Head::Embedding(head) => head.rows(batch),
            Head::Sequence(_) => Rows::First,
            Head::Token(_) => Rows::All,
        };
        self.encoder.run(cpu, batch, rows, ws, |_| {})?;
        // Out of the workspace while the head has that.
        let mut profile = ws.take_profile();
        let done = profile.measure(Operator::Head, 0, || match &self.head {
            Head::Embedding(head) => head.run(cpu, batch, ws, answers),
            Head::Sequence(head) => head.run(cpu, batch.texts(), ws, answers),
            Head::Token(head) => head.run(cpu, batch.tokens(), ws, answers),
        });
        ws.profile = profile;
        done
    }

    /// Every hidden state of a batch, each `[tokens * hidden]`: the embeddings' output, then each
    /// layer's. For comparison with other implementations.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    pub fn hidden_states(
        &self,
        team: &dyn Team,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
    ) -> Result<Vec<Vec<f32>>, RunError> {
        batch.check(self.config())?;
        let cpu = Cpu {
            isa: self.isa,
            team,
        };
        let mut states = Vec::new();
        self.encoder.run(cpu, batch, Rows::All, ws, |state| {
            states.push(state.to_vec())
        })?;
        Ok(states)
    }

    /// The encoder's products that are integers.
    pub(crate) fn integer_products(&self) -> impl Iterator<Item = (ProductName, &IntegerLinear)> {
        self.encoder.integer_products()
    }

    /// The encoder's sizes and constants: `hidden`, `intermediate`, `layers` and the rest.
    pub fn config(&self) -> &EncoderConfig {
        self.encoder.config()
    }

    /// The task that the network runs.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The instruction set that the weights are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How exactly the encoder computes.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of values that a text of so many tokens gets as its answer.
    pub fn answer_width(&self, tokens: usize) -> usize {
        match &self.head {
            Head::Embedding(head) => head.dimensions(),
            Head::Sequence(head) => head.labels(),
            Head::Token(head) => tokens * head.labels(),
        }
    }

    /// Floating-point operations that one token costs in the encoder's matrix products. Attention
    /// and head come on top: a few per cent for texts of ordinary length.
    pub fn flops_per_token(&self) -> u64 {
        let config = self.config();
        let (hidden, inner) = (config.hidden as u64, config.intermediate as u64);
        // A multiplication and an addition for every weight: q, k, v, output; up, down.
        let layer = 2 * (4 * hidden * hidden + 2 * hidden * inner);
        layer * config.layers as u64
    }

    /// Bytes of all weights. Word tables in f32 stay in the mapped file, and only the rows in use
    /// are resident.
    pub fn bytes(&self) -> usize {
        self.encoder.bytes()
            + match &self.head {
                Head::Embedding(head) => head.bytes(),
                Head::Sequence(head) => head.bytes(),
                Head::Token(head) => head.bytes(),
            }
    }
}

/// Every model embeds; the other tasks need the head that they are for.
fn check_task(directory: &ModelDirectory, task: Task) -> Result<(), ModelError> {
    let fits = match (task, directory.head()) {
        (Task::Embed, _)
        | (Task::Classify, SavedHead::Sequence)
        | (Task::Tag, SavedHead::Token) => true,
        (Task::Rerank, SavedHead::Sequence) => directory.labels().len() == 1,
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(ModelError::TaskUnavailable {
            path: directory.path().to_owned(),
            asked: task,
            own: directory.task(),
        })
    }
}
