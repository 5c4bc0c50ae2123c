//! The first step: word, position and type vectors added, then a layer norm.

use kernels::{Cpu, EmbeddingIds, EmbeddingTables};

use super::slices::part_mut;
use crate::batch::TokenBatch;
use crate::directory::EncoderConfig;
use crate::error::{ModelError, RunError};
use crate::families::{Positions, TokenTypes};
use crate::weights::{Norm, Scope, Table};
use crate::workspace::Workspace;

#[derive(Debug)]
pub(crate) struct Embeddings {
    word: Table,
    position: Table,
    types: Option<Table>,
    /// Whether the batch's token types are looked up, or row 0 for every token.
    given_types: TokenTypes,
    norm: Norm,
}

impl Embeddings {
    pub(crate) fn load(
        encoder: &Scope<'_>,
        config: &EncoderConfig,
    ) -> Result<Embeddings, ModelError> {
        let layout = config.family.layout();
        let (names, width) = (&layout.embeddings, config.hidden);
        let table = |name: &str, rows: usize| {
            Ok::<Table, ModelError>(encoder.tensor(name, &[rows, width])?.into_table())
        };
        Ok(Embeddings {
            word: table(names.word, config.vocabulary)?,
            position: table(names.position, config.position_rows)?,
            types: match layout.types {
                TokenTypes::Absent => None,
                TokenTypes::Given | TokenTypes::AlwaysZero => {
                    Some(table(names.token_type, config.types)?)
                }
            },
            given_types: layout.types,
            norm: encoder.norm(names.norm, width)?,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.word.bytes() + self.position.bytes() + self.types.as_ref().map_or(0, Table::bytes)
    }

    /// Leaves `[tokens][hidden]` in `ws.x`.
    pub(crate) fn run(
        &self,
        cpu: Cpu<'_>,
        config: &EncoderConfig,
        batch: &TokenBatch<'_>,
        ws: &mut Workspace,
    ) -> Result<(), RunError> {
        let Workspace { x, positions, .. } = ws;
        let size = batch.tokens() * config.hidden;
        x.ensure(size);
        let out = part_mut(x, size);
        position_rows(config, batch, positions);
        let tables = EmbeddingTables {
            words: &self.word,
            positions: Some(&self.position),
            types: self.types.as_deref(),
            width: config.hidden,
        };
        let types = match self.given_types {
            TokenTypes::Given => batch.types,
            TokenTypes::AlwaysZero | TokenTypes::Absent => &[],
        };
        let ids = EmbeddingIds {
            words: batch.ids,
            positions,
            types,
        };
        kernels::embed(cpu.team, tables, ids, out)?;
        kernels::layer_norm(cpu, out, self.norm.with(config.layer_norm_eps))?;
        Ok(())
    }
}

/// The row of the position table for each token.
fn position_rows(config: &EncoderConfig, batch: &TokenBatch<'_>, rows: &mut Vec<u32>) {
    rows.clear();
    match config.family.layout().positions {
        Positions::FromZero => {
            for &length in batch.lengths {
                rows.extend((0..length).map(|position| position as u32));
            }
        }
        Positions::AfterPadding | Positions::AfterFixedPadding(_) => {
            let mut start = 0;
            for &length in batch.lengths {
                let ids = batch.ids.get(start..start + length).unwrap_or_default();
                let mut next = config.first_position as u32;
                rows.extend(ids.iter().map(|&id| {
                    // A padding token that was typed as text, `<pad>`: transformers counts it as
                    // padding for the positions although attention sees it.
                    if id == config.pad_id {
                        return config.pad_id;
                    }
                    next += 1;
                    next - 1
                }));
                start += length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Family;
    use kernels::Activation;

    /// Every hidden state of a RoBERTa would be that of shifted positions.
    #[test]
    fn positions_are_counted_as_transformers_counts_them() {
        let cases: [(Family, usize, u32, &[u32]); 3] = [
            (Family::Bert, 0, 0, &[0, 1, 2, 3, 0, 1]),
            (Family::Roberta, 2, 1, &[2, 1, 3, 4, 2, 3]),
            (Family::MpNet, 2, 1, &[2, 1, 3, 4, 2, 3]),
        ];
        for (family, first_position, pad_id, expected) in cases {
            let config = EncoderConfig {
                family,
                hidden: 4,
                layers: 1,
                heads: 1,
                intermediate: 4,
                vocabulary: 10,
                position_rows: 8,
                first_position,
                types: 0,
                pad_id,
                activation: Activation::Relu,
                layer_norm_eps: 1e-12,
            };
            let batch = TokenBatch {
                ids: &[0, 1, 5, 2, 0, 2],
                lengths: &[4, 2],
                ..TokenBatch::default()
            };
            let mut rows = Vec::new();
            position_rows(&config, &batch, &mut rows);
            assert_eq!(rows, expected, "{family}");
        }
    }
}
