//! One post-norm transformer encoder, which every family configures by data.
//!
//! For each layer: queries, keys and values in one product; attention within each text; output
//! projection with the residual added in its epilogue; layer norm; feed-forward network with the
//! activation in the first epilogue and the residual in the second; layer norm. Rows of all texts
//! lie one after the other without padding, and nothing but attention looks beyond its own row.

mod embeddings;
mod layer;
mod relative;
mod slices;

use kernels::{Cpu, Isa, PositionBias};

use crate::batch::TokenBatch;
use crate::directory::EncoderConfig;
use crate::error::{ModelError, RunError};
use crate::weights::Weights;
use crate::workspace::Workspace;
use embeddings::Embeddings;
pub(crate) use layer::load_linear;
use layer::{Layer, Step};
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
        isa: Isa,
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
            .map(|index| {
                let scope = scope.within(&format!("{}{index}.", layout.layers.stem));
                Layer::load(isa, &scope, &layout.layers, config)
            })
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
        self.embeddings.run(cpu, &self.config, batch, ws)?;
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
            layer.run(cpu, &step, rows, ws)?;
            let size = match rows {
                Rows::All => size,
                Rows::First => batch.texts() * self.config.hidden,
            };
            watch(part(&ws.x, size));
        }
        Ok(())
    }
}
