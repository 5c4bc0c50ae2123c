//! One vector a text: pooling, then the modules of `modules.json`, then truncation.

use kernels::{Activation, Cpu, Epilogue, Isa, Linear, Pooling, TextRows};

use crate::batch::TokenBatch;
use crate::directory::ModelDirectory;
use crate::directory::modules::{AfterPooling, Bias, DenseConfig};
use crate::encoder::{Rows, part, part_mut};
use crate::error::{ModelError, RunError};
use crate::network::LoadOptions;
use crate::task::Normalize;
use crate::weights::Weights;
use crate::workspace::Workspace;

#[derive(Debug)]
pub(crate) struct EmbeddingHead {
    /// Width of a token's vector.
    hidden: usize,
    /// Pooled vectors of several modes are concatenated.
    modes: Vec<Pooling>,
    steps: Vec<Step>,
    /// Width behind the last step.
    width: usize,
    /// Of these the first so many are the answer (Matryoshka: Kusupati et al. 2022).
    dimensions: usize,
    /// Behind truncation, so that shortened vectors have length one too.
    normalize: Normalize,
}

#[derive(Debug)]
enum Step {
    Dense(Linear, Activation),
    Normalize,
}

impl EmbeddingHead {
    pub(crate) fn load(
        directory: &ModelDirectory,
        options: &LoadOptions,
    ) -> Result<EmbeddingHead, ModelError> {
        let hidden = directory.config().hidden;
        let modes = match options.pooling {
            Some(pooling) => vec![pooling],
            None => directory.pooling().modes.clone(),
        };
        let mut modules = directory.after_pooling();
        // A normalisation at the end is done behind truncation instead.
        while let [rest @ .., AfterPooling::Normalize] = modules {
            modules = rest;
        }
        let mut width = hidden * modes.len();
        let mut steps = Vec::new();
        for module in modules {
            match module {
                AfterPooling::Normalize => steps.push(Step::Normalize),
                AfterPooling::Dense(dense) => {
                    if dense.in_features != width {
                        return Err(wrong_width(directory, dense, width));
                    }
                    width = dense.out_features;
                    let linear = load_dense(options.isa, directory, dense)?;
                    steps.push(Step::Dense(linear, dense.activation));
                }
            }
        }
        let dimensions = options.dimensions.unwrap_or(width);
        if !(1..=width).contains(&dimensions) {
            return Err(ModelError::Dimensions {
                path: directory.path().to_owned(),
                asked: dimensions,
                width,
            });
        }
        Ok(EmbeddingHead {
            hidden,
            modes,
            steps,
            width,
            dimensions,
            normalize: options.normalize.unwrap_or_else(|| directory.normalizes()),
        })
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(crate) fn bytes(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Dense(linear, _) => linear.bytes(),
                Step::Normalize => 0,
            })
            .sum()
    }

    /// Which rows of the last hidden state pooling reads.
    pub(crate) fn rows(&self, batch: &TokenBatch<'_>) -> Rows {
        if self.modes == [Pooling::Cls] && batch.prompt_tokens.is_empty() {
            Rows::First
        } else {
            Rows::All
        }
    }

    /// Reads `ws.x` as [`EmbeddingHead::rows`] says, appends `[texts][dimensions]`.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
        answers: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let texts = batch.texts();
        match self.rows(batch) {
            Rows::First => {
                let size = texts * self.hidden;
                ws.rows_a.ensure(size);
                part_mut(&mut ws.rows_a, size).copy_from_slice(part(&ws.x, size));
            }
            Rows::All => self.pool(cpu, batch, ws)?,
        }
        let Workspace { rows_a, rows_b, .. } = ws;
        let mut width = self.hidden * self.modes.len();
        for step in &self.steps {
            match step {
                Step::Normalize => {
                    kernels::normalize_rows(cpu.isa, part_mut(rows_a, texts * width), width)?;
                }
                Step::Dense(linear, activation) => {
                    rows_b.ensure(texts * linear.out_features());
                    linear.apply(
                        cpu.team,
                        part(rows_a, texts * width),
                        Epilogue::Activate(*activation),
                        part_mut(rows_b, texts * linear.out_features()),
                    )?;
                    std::mem::swap(rows_a, rows_b);
                    width = linear.out_features();
                }
            }
        }
        let start = answers.len();
        for row in part(rows_a, texts * self.width).chunks_exact(self.width) {
            answers.extend(row.iter().take(self.dimensions));
        }
        if self.normalize == Normalize::Yes {
            let rows = answers.get_mut(start..).unwrap_or_default();
            let done = kernels::normalize_rows(cpu.isa, rows, self.dimensions);
            if done.is_err() {
                answers.truncate(start);
            }
            done?;
        }
        Ok(())
    }

    /// Pools `ws.x` into `ws.rows_a`, `[texts][modes * hidden]`.
    fn pool(
        &self,
        cpu: Cpu<'_>,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let Workspace {
            x,
            rows_a: out,
            rows_b: one,
            ..
        } = ws;
        let (hidden, texts) = (self.hidden, batch.texts());
        let width = hidden * self.modes.len();
        out.ensure(texts * width);
        let x = part(x, batch.tokens() * hidden);
        if let ([only], []) = (self.modes.as_slice(), batch.prompt_tokens) {
            let out = part_mut(out, texts * width);
            return Ok(kernels::pool(
                cpu.isa,
                *only,
                TextRows {
                    values: x,
                    width: hidden,
                    lengths: batch.lengths,
                },
                out,
            )?);
        }
        // Rare: several modes, or prompts that are left out. Text by text.
        one.ensure(hidden);
        let one = part_mut(one, hidden);
        let mut start = 0;
        let rows = part_mut(out, texts * width).chunks_exact_mut(width);
        for (text, (&length, row)) in batch.lengths.iter().zip(rows).enumerate() {
            let skipped = batch
                .prompt_tokens
                .get(text)
                .copied()
                .unwrap_or(0)
                .min(length);
            let tokens = x.get((start + skipped) * hidden..(start + length) * hidden);
            start += length;
            row.fill(0.0);
            if skipped == length {
                continue;
            }
            let rows = TextRows {
                values: tokens.unwrap_or_default(),
                width: hidden,
                lengths: &[length - skipped],
            };
            for (mode, place) in self.modes.iter().zip(row.chunks_exact_mut(hidden)) {
                kernels::pool(cpu.isa, *mode, rows, one)?;
                place.copy_from_slice(one);
            }
        }
        Ok(())
    }
}

fn load_dense(
    isa: Isa,
    directory: &ModelDirectory,
    dense: &DenseConfig,
) -> Result<Linear, ModelError> {
    let weights = Weights::open(directory.path(), &dense.folder)?;
    let scope = weights.scope("linear.");
    let (out, inputs) = (dense.out_features, dense.in_features);
    let weight = scope.tensor("weight", &[out, inputs])?.values();
    let bias = match dense.bias {
        Bias::Absent => None,
        Bias::Present => Some(scope.tensor("bias", &[out])?.values()),
    };
    Linear::pack(isa, &weight, bias.as_deref(), out, inputs)
        .map_err(|error| scope.kernel_error(&error))
}

/// Another pooling than the model's own may have another width than its first dense layer takes.
fn wrong_width(directory: &ModelDirectory, dense: &DenseConfig, width: usize) -> ModelError {
    ModelError::InvalidSetting {
        path: directory.path().join(&dense.folder).join("config.json"),
        key: "in_features".to_owned(),
        value: dense.in_features.to_string(),
        expected: format!("{width}, the width of the pooling that was asked for"),
    }
}
