//! Logits for a text, from its first token, or for every token.

use kernels::{Cpu, Epilogue, Isa, Linear};

use crate::directory::EncoderConfig;
use crate::encoder::{load_linear, part, part_mut};
use crate::error::{ModelError, RunError};
use crate::families::{DenseNames, HeadNames, Place};
use crate::weights::Weights;
use crate::workspace::Workspace;

/// Logits `[labels]` a text: a dense layer with its activation over the first token, then the layer
/// of the logits. BERT's pooler, RoBERTa's classification head and DistilBERT's pre-classifier are
/// the same but for names and activation.
#[derive(Debug)]
pub(crate) struct SequenceHead {
    dense: Option<(Linear, kernels::Activation)>,
    logits: Linear,
}

impl SequenceHead {
    pub(crate) fn load(
        isa: Isa,
        weights: &Weights,
        config: &EncoderConfig,
        labels: usize,
    ) -> Result<SequenceHead, ModelError> {
        let (layout, hidden) = (config.family.layout(), config.hidden);
        let HeadNames { dense, logits } = &layout.sequence_head;
        let dense = match dense {
            None => None,
            Some(DenseNames {
                name,
                place,
                activation,
            }) => {
                let scope = match place {
                    Place::Root => weights.scope(""),
                    Place::Encoder => weights.encoder(layout.prefix, layout.embeddings.word),
                };
                Some((
                    load_linear(isa, &scope, name, [hidden, hidden])?,
                    *activation,
                ))
            }
        };
        let logits = load_linear(isa, &weights.scope(""), logits, [labels, hidden])?;
        Ok(SequenceHead { dense, logits })
    }

    pub(crate) fn labels(&self) -> usize {
        self.logits.out_features()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.logits.bytes() + self.dense.as_ref().map_or(0, |(dense, _)| dense.bytes())
    }

    /// Reads `ws.x` as `[texts][hidden]`, appends `[texts][labels]`.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        texts: usize,
        ws: &mut Workspace,
        answers: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let size = texts * self.logits.in_features();
        let Workspace { x, rows_a, .. } = ws;
        let input = match &self.dense {
            None => part(x, size),
            Some((dense, activation)) => {
                rows_a.ensure(size);
                let out = part_mut(rows_a, size);
                dense.apply(
                    cpu.team,
                    part(x, size),
                    Epilogue::Activate(*activation),
                    out,
                )?;
                out
            }
        };
        append_linear(cpu, &self.logits, input, answers)
    }
}

/// Logits `[labels]` a token.
#[derive(Debug)]
pub(crate) struct TokenHead {
    logits: Linear,
}

impl TokenHead {
    pub(crate) fn load(
        isa: Isa,
        weights: &Weights,
        config: &EncoderConfig,
        labels: usize,
    ) -> Result<TokenHead, ModelError> {
        let name = config.family.layout().token_head.logits;
        Ok(TokenHead {
            logits: load_linear(isa, &weights.scope(""), name, [labels, config.hidden])?,
        })
    }

    pub(crate) fn labels(&self) -> usize {
        self.logits.out_features()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.logits.bytes()
    }

    /// Reads `ws.x` as `[tokens][hidden]`, appends `[tokens][labels]`.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        tokens: usize,
        ws: &Workspace,
        answers: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let input = part(&ws.x, tokens * self.logits.in_features());
        append_linear(cpu, &self.logits, input, answers)
    }
}

/// Appends the product of each row of `input` to the answers; on an error nothing stays appended.
fn append_linear(
    cpu: Cpu<'_>,
    linear: &Linear,
    input: &[f32],
    answers: &mut Vec<f32>,
) -> Result<(), RunError> {
    let start = answers.len();
    let rows = input.len() / linear.in_features();
    answers.resize(start + rows * linear.out_features(), 0.0);
    let out = answers.get_mut(start..).unwrap_or_default();
    let done = linear.apply(cpu.team, input, Epilogue::Bias, out);
    if done.is_err() {
        answers.truncate(start);
    }
    Ok(done?)
}
