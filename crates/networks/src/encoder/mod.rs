//! One post-norm transformer encoder, which every family configures by data.
//!
//! For each layer: queries, keys and values in one product; attention within each text; output
//! projection with the residual added in its epilogue; layer norm; feed-forward network with the
//! activation in the first epilogue and the residual in the second; layer norm. Rows of all texts
//! lie one after the other without padding, and nothing but attention looks beyond its own row.

mod distinct;
mod embeddings;
mod layer;
mod product;
mod relative;
mod slices;

use kernels::{Cpu, IntegerLinear, Isa, PositionBias};

use crate::batch::TokenBatch;
use crate::directory::EncoderConfig;
use crate::error::{ModelError, RunError};
use crate::profile::Operator;
use crate::quantized::ProductName;
use crate::weights::Weights;
use crate::workspace::Workspace;
pub(crate) use distinct::Distinct;
use embeddings::Embeddings;
pub(crate) use layer::load_linear;
use layer::{Layer, Step};
use product::Product;
pub(crate) use product::ProductSource;
use relative::RelativeBias;
pub(crate) use slices::{part, part_mut};

/// Which rows of the last hidden state somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Those of every token.
    All,
    /// Those of each text's first token: all but attention of the last layer is left out for the
    /// other tokens, an eighth of MiniLM's work.
    First,
}

#[derive(Debug)]
pub(crate) struct Encoder {
    config: EncoderConfig,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    bias: Option<RelativeBias>,
}

impl Encoder {
    pub(crate) fn load(
        how: (Isa, ProductSource<'_>),
        weights: &Weights,
        config: &EncoderConfig,
    ) -> Result<Encoder, ModelError> {
        let layout = config.family.layout();
        let scope = weights.encoder(layout.prefix, layout.embeddings.word);
        let embeddings = Embeddings::load(&scope, config)?;
        let bias = layout
            .relative_bias
            .map(|name| RelativeBias::load(&scope, name, config.heads))
            .transpose()?;
        let layers = (0..config.layers)
            .map(|index| Layer::load(how, &scope, index, config))
            .collect::<Result<Vec<Layer>, ModelError>>()?;
        Ok(Encoder {
            config: config.clone(),
            embeddings,
            layers,
            bias,
        })
    }

    pub(crate) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    pub(crate) fn bytes(&self) -> usize {
        self.embeddings.bytes() + self.layers.iter().map(Layer::bytes).sum::<usize>()
    }

    /// The products that are integers.
    pub(crate) fn integer_products(&self) -> impl Iterator<Item = (ProductName, &IntegerLinear)> {
        let layers = self.layers.iter().enumerate();
        layers.flat_map(|(layer, products)| {
            products
                .products()
                .filter_map(move |(part, product)| match product {
                    Product::Float(_) => None,
                    Product::Integer(linear) => Some((ProductName { layer, part }, linear)),
                })
        })
    }

    /// Leaves the last hidden state in `ws.x`: `[tokens][hidden]`, or `[texts][hidden]` with
    /// [`Rows::First`]. `watch` sees every hidden state, the embeddings' first.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        batch: &TokenBatch<'_>,
        rows: Rows,
        ws: &mut Workspace,
        mut watch: impl FnMut(&[f32]),
    ) -> Result<(), RunError> {
        let size = batch.tokens() * self.config.hidden;
        ws.x.ensure(size);
        self.begin(cpu, batch, ws)?;
        watch(part(&ws.x, size));
        let step = Step {
            config: &self.config,
            lengths: batch.lengths,
            bias: self.bias.as_ref().map(|bias| PositionBias {
                table: &bias.table,
                span: bias.span,
            }),
        };
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            let rows = if index == last { rows } else { Rows::All };
            if index > 0 {
                cpu.team.between_layers();
                layer.queries_keys_values(cpu, batch.tokens(), ws)?;
            }
            layer.run(cpu, &step, rows, ws)?;
            let size = match rows {
                Rows::All => size,
                Rows::First => batch.texts() * self.config.hidden,
            };
            watch(part(&ws.x, size));
        }
        Ok(())
    }

    /// Leaves the embeddings in `ws.x` and the first layer's queries, keys and values in `ws.qkv`,
    /// computed once for each distinct token.
    fn begin(
        &self,
        cpu: Cpu<'_>,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let (config, hidden) = (&self.config, self.config.hidden);
        ws.profile.measure(Operator::Embeddings, 0, || {
            self.embeddings
                .find(config, batch, &mut ws.positions, &mut ws.distinct);
            let x = part_mut(&mut ws.x, ws.distinct.count() * hidden);
            self.embeddings.run(cpu, config, &ws.distinct, x)
        })?;
        let count = ws.distinct.count();
        if let Some(first) = self.layers.first() {
            ws.qkv.ensure(batch.tokens() * 3 * hidden);
            first.queries_keys_values(cpu, count, ws)?;
        }
        ws.profile.measure(Operator::Embeddings, 0, || {
            ws.distinct.spread(&mut ws.qkv, 3 * hidden);
            ws.distinct.spread(&mut ws.x, hidden);
        });
        Ok(())
    }
}
