//! One layer: attention and feed-forward network, each followed by residual and layer norm.

use kernels::{AlignedVec, AttentionInput, Cpu, Epilogue, Isa, Linear, LinearPart, PositionBias};

use super::Rows;
use super::slices::{part, part_mut};
use crate::directory::EncoderConfig;
use crate::error::{ModelError, RunError};
use crate::families::LayerNames;
use crate::weights::{Norm, Scope};
use crate::workspace::Workspace;

/// Rows for which the feed-forward network's inner activations are computed at a time. A multiple
/// of the micro-kernels' tile heights.
const FEED_FORWARD_ROWS: usize = 192;

#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values in one product; the queries' part is scaled by 1/sqrt(head width).
    qkv: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

impl Layer {
    pub(crate) fn load(
        isa: Isa,
        scope: &Scope<'_>,
        names: &LayerNames,
        config: &EncoderConfig,
    ) -> Result<Layer, ModelError> {
        let (hidden, inner) = (config.hidden, config.intermediate);
        Ok(Layer {
            qkv: load_qkv(isa, scope, names, config)?,
            attention_output: load_linear(isa, scope, names.attention_output, [hidden, hidden])?,
            attention_norm: scope.norm(names.attention_norm, hidden)?,
            up: load_linear(isa, scope, names.up, [inner, hidden])?,
            down: load_linear(isa, scope, names.down, [hidden, inner])?,
            output_norm: scope.norm(names.output_norm, hidden)?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        [&self.qkv, &self.attention_output, &self.up, &self.down]
            .into_iter()
            .map(Linear::bytes)
            .sum()
    }

    /// From `ws.x` to `ws.x`. With [`Rows::First`] only the first token of each text goes on behind
    /// the attention, and `ws.x` holds one row a text afterwards.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        step: &Step<'_>,
        rows: Rows,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let Workspace {
            x,
            y,
            qkv,
            attended,
            inner,
            attention,
            ..
        } = ws;
        let hidden = step.config.hidden;
        let tokens: usize = step.lengths.iter().sum();
        qkv.ensure(tokens * 3 * hidden);
        attended.ensure(tokens * hidden);
        self.qkv.apply(
            cpu.team,
            part(x, tokens * hidden),
            Epilogue::Bias,
            part_mut(qkv, tokens * 3 * hidden),
        )?;
        let input = AttentionInput {
            qkv: part(qkv, tokens * 3 * hidden),
            lengths: step.lengths,
            heads: step.config.heads,
            head_dim: step.config.head_dim(),
            position_bias: step.bias,
        };
        kernels::attention(cpu, input, attention, part_mut(attended, tokens * hidden))?;
        let rows = match rows {
            Rows::All => tokens,
            Rows::First => {
                keep_first(x, step.lengths, hidden);
                keep_first(attended, step.lengths, hidden);
                step.lengths.len()
            }
        };
        self.rest(
            cpu,
            step.config,
            rows,
            Buffers {
                x,
                y,
                attended,
                inner,
            },
        )
    }

    /// Everything behind the attention; each row by itself.
    fn rest(
        &self,
        cpu: Cpu<'_>,
        config: &EncoderConfig,
        rows: usize,
        buffers: Buffers<'_>,
    ) -> Result<(), RunError> {
        let Buffers {
            x,
            y,
            attended,
            inner,
        } = buffers;
        let (hidden, width, eps) = (config.hidden, config.intermediate, config.layer_norm_eps);
        y.ensure(rows * hidden);
        inner.ensure(rows.min(FEED_FORWARD_ROWS) * width);
        let x = part_mut(x, rows * hidden);
        let y = part_mut(y, rows * hidden);
        self.attention_output.apply(
            cpu.team,
            part(attended, rows * hidden),
            Epilogue::Residual(x),
            y,
        )?;
        kernels::layer_norm(cpu, y, self.attention_norm.with(eps))?;
        let block = FEED_FORWARD_ROWS * hidden;
        for (x, y) in x.chunks_mut(block).zip(y.chunks(block)) {
            let inner = part_mut(inner, y.len() / hidden * width);
            self.up
                .apply(cpu.team, y, Epilogue::Activate(config.activation), inner)?;
            self.down.apply(cpu.team, inner, Epilogue::Residual(y), x)?;
        }
        kernels::layer_norm(cpu, x, self.output_norm.with(eps))?;
        Ok(())
    }
}

/// What is the same for every layer of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) config: &'a EncoderConfig,
    pub(crate) lengths: &'a [usize],
    pub(crate) bias: Option<PositionBias<'a>>,
}

struct Buffers<'a> {
    x: &'a mut AlignedVec<f32>,
    y: &'a mut AlignedVec<f32>,
    attended: &'a mut AlignedVec<f32>,
    inner: &'a mut AlignedVec<f32>,
}

/// Moves the first row of each text to the front.
fn keep_first(values: &mut [f32], lengths: &[usize], width: usize) {
    let mut start = 0;
    for (text, &length) in lengths.iter().enumerate() {
        values.copy_within(start * width..(start + 1) * width, text * width);
        start += length;
    }
}

/// The linear layer `name` of `[outputs, inputs]`, packed, its pages given back.
pub(crate) fn load_linear(
    isa: Isa,
    scope: &Scope<'_>,
    name: &str,
    [out, inputs]: [usize; 2],
) -> Result<Linear, ModelError> {
    let weight = scope.tensor(&format!("{name}.weight"), &[out, inputs])?;
    let bias = scope.tensor(&format!("{name}.bias"), &[out])?;
    let packed = Linear::pack(isa, &weight.values(), Some(&bias.values()), out, inputs)
        .map_err(|error| scope.kernel_error(&error))?;
    weight.release();
    Ok(packed)
}

/// Queries, keys and values stacked. Attention divides its scores by the root of the head's width
/// (Vaswani et al. 2017, equation 1); the queries' weights and biases are scaled here once instead.
fn load_qkv(
    isa: Isa,
    scope: &Scope<'_>,
    names: &LayerNames,
    config: &EncoderConfig,
) -> Result<Linear, ModelError> {
    let hidden = config.hidden;
    let part = |name: &str| {
        let weight = scope.tensor(&format!("{name}.weight"), &[hidden, hidden])?;
        let bias = scope.tensor(&format!("{name}.bias"), &[hidden])?;
        Ok::<_, ModelError>((weight, bias))
    };
    let (query, key, value) = (part(names.query)?, part(names.key)?, part(names.value)?);
    let scale = (config.head_dim() as f32).sqrt().recip();
    let scaled = |values: &[f32]| {
        values
            .iter()
            .map(|value| value * scale)
            .collect::<Vec<f32>>()
    };
    let (scaled_weight, scaled_bias) = (scaled(&query.0.values()), scaled(&query.1.values()));
    let (key_weight, key_bias) = (key.0.values(), key.1.values());
    let (value_weight, value_bias) = (value.0.values(), value.1.values());
    let stacked = |weight, bias| LinearPart {
        weight,
        bias: Some(bias),
        out_features: hidden,
    };
    let packed = Linear::pack_many(
        isa,
        &[
            stacked(&scaled_weight, &scaled_bias),
            stacked(&key_weight, &key_bias),
            stacked(&value_weight, &value_bias),
        ],
        hidden,
    )
    .map_err(|error| scope.kernel_error(&error))?;
    for (weight, _) in [query, key, value] {
        weight.release();
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A classifier would read another text's first token.
    #[test]
    fn the_first_rows_come_to_the_front() {
        let mut rows: Vec<f32> = (0..12).map(|value| value as f32).collect();
        keep_first(&mut rows, &[1, 3, 2], 2);
        assert_eq!(rows[..6], [0.0, 1.0, 2.0, 3.0, 8.0, 9.0]);
    }
}
