//! One layer: attention and feed-forward network, each followed by residual and layer norm.

use kernels::{AttentionInput, Cpu, Epilogue, Isa, Linear, LinearPart, PositionBias};

use super::Rows;
use super::product::{Product, ProductSource};
use super::slices::{part, part_mut};
use crate::directory::EncoderConfig;
use crate::error::{ModelError, RunError};
use crate::families::LayerNames;
use crate::precision::Precision;
use crate::profile::Operator;
use crate::quantized::{ProductName, ProductPart};
use crate::weights::{Norm, Scope};
use crate::workspace::Workspace;

/// Rows for which the feed-forward network's inner activations are computed at a time. A multiple
/// of the micro-kernels' tile heights.
const FEED_FORWARD_ROWS: usize = 192;

#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values in one product; the queries' part is scaled by 1/sqrt(head width).
    qkv: Product,
    attention_output: Product,
    attention_norm: Norm,
    up: Product,
    down: Product,
    output_norm: Norm,
}

impl Layer {
    pub(crate) fn load(
        (isa, source): (Isa, ProductSource<'_>),
        encoder: &Scope<'_>,
        layer: usize,
        config: &EncoderConfig,
    ) -> Result<Layer, ModelError> {
        let names = &config.family.layout().layers;
        let scope = &encoder.within(&format!("{}{layer}.", names.stem));
        let (hidden, inner) = (config.hidden, config.intermediate);
        let product = |part, name, sizes| {
            source.product(isa, ProductName { layer, part }, sizes, |precision| {
                Product::from_layer((isa, precision), scope, name, sizes)
            })
        };
        let qkv = ProductName {
            layer,
            part: ProductPart::QueriesKeysValues,
        };
        Ok(Layer {
            qkv: source.product(isa, qkv, [3 * hidden, hidden], |precision| {
                load_qkv((isa, precision), scope, names, config)
            })?,
            attention_output: product(
                ProductPart::Output,
                names.attention_output,
                [hidden, hidden],
            )?,
            attention_norm: scope.norm(names.attention_norm, hidden)?,
            up: product(ProductPart::Up, names.up, [inner, hidden])?,
            down: product(ProductPart::Down, names.down, [hidden, inner])?,
            output_norm: scope.norm(names.output_norm, hidden)?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.products().map(|(_, product)| product.bytes()).sum()
    }

    /// The products, by the names that they have in quantised directories.
    pub(crate) fn products(&self) -> impl Iterator<Item = (ProductPart, &Product)> {
        ProductPart::ALL.into_iter().map(|part| {
            let product = match part {
                ProductPart::QueriesKeysValues => &self.qkv,
                ProductPart::Output => &self.attention_output,
                ProductPart::Up => &self.up,
                ProductPart::Down => &self.down,
            };
            (part, product)
        })
    }

    /// From the first `rows` rows of `ws.x` to those of `ws.qkv`.
    pub(crate) fn queries_keys_values(
        &self,
        cpu: Cpu<'_>,
        rows: usize,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let (inputs, outputs) = (self.qkv.in_features(), self.qkv.out_features());
        ws.qkv.ensure(rows * outputs);
        let x = part(&ws.x, rows * inputs);
        let qkv = part_mut(&mut ws.qkv, rows * outputs);
        let (operator, operations) = (Operator::QueriesKeysValues, self.qkv.operations(rows));
        ws.profile.measure(operator, operations, || {
            let scratch = &mut ws.quantize;
            self.qkv.apply(cpu.team, x, Epilogue::Bias, scratch, qkv)
        })?;
        Ok(())
    }

    /// From `ws.x` and its queries, keys and values in `ws.qkv` to `ws.x`. With [`Rows::First`] only
    /// the first token of each text goes on behind the attention, and `ws.x` holds one row a text
    /// afterwards.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        step: &Step<'_>,
        rows: Rows,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let hidden = step.config.hidden;
        let tokens: usize = step.lengths.iter().sum();
        ws.attended.ensure(tokens * hidden);
        let input = AttentionInput {
            qkv: part(&ws.qkv, tokens * 3 * hidden),
            lengths: step.lengths,
            heads: step.config.heads,
            head_dim: step.config.head_dim(),
            position_bias: step.bias,
        };
        let attended = part_mut(&mut ws.attended, tokens * hidden);
        // Scores, and values weighted by them.
        let squares = step.lengths.iter().map(|length| length * length);
        let operations = 4 * hidden * squares.sum::<usize>();
        ws.profile.measure(Operator::Attention, operations, || {
            kernels::attention(cpu, input, &mut ws.attention, attended)
        })?;
        let rows = match rows {
            Rows::All => tokens,
            Rows::First => {
                keep_first(&mut ws.x, step.lengths, hidden);
                keep_first(&mut ws.attended, step.lengths, hidden);
                step.lengths.len()
            }
        };
        self.rest(cpu, step.config, rows, ws)
    }

    /// Everything behind the attention; each row by itself.
    fn rest(
        &self,
        cpu: Cpu<'_>,
        config: &EncoderConfig,
        rows: usize,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let (hidden, width, eps) = (config.hidden, config.intermediate, config.layer_norm_eps);
        ws.y.ensure(rows * hidden);
        ws.inner.ensure(rows.min(FEED_FORWARD_ROWS) * width);
        let x = part_mut(&mut ws.x, rows * hidden);
        let y = part_mut(&mut ws.y, rows * hidden);
        let attended = part(&ws.attended, rows * hidden);
        let (profile, scratch) = (&mut ws.profile, &mut ws.quantize);

        let operations = self.attention_output.operations(rows);
        profile.measure(Operator::AttentionOutput, operations, || {
            let epilogue = Epilogue::Residual(x);
            self.attention_output
                .apply(cpu.team, attended, epilogue, scratch, y)
        })?;
        profile.measure(Operator::LayerNorm, 0, || {
            kernels::layer_norm(cpu, y, self.attention_norm.with(eps))
        })?;
        let block = FEED_FORWARD_ROWS * hidden;
        for (x, y) in x.chunks_mut(block).zip(y.chunks(block)) {
            let rows = y.len() / hidden;
            let inner = part_mut(&mut ws.inner, rows * width);
            profile.measure(Operator::Up, self.up.operations(rows), || {
                let epilogue = Epilogue::Activate(config.activation);
                self.up.apply(cpu.team, y, epilogue, scratch, inner)
            })?;
            profile.measure(Operator::Down, self.down.operations(rows), || {
                let epilogue = Epilogue::Residual(y);
                self.down.apply(cpu.team, inner, epilogue, scratch, x)
            })?;
        }
        profile.measure(Operator::LayerNorm, 0, || {
            kernels::layer_norm(cpu, x, self.output_norm.with(eps))
        })?;
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
    (isa, precision): (Isa, Precision),
    scope: &Scope<'_>,
    names: &LayerNames,
    config: &EncoderConfig,
) -> Result<Product, ModelError> {
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
    let packed = Product::pack(
        isa,
        precision,
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
