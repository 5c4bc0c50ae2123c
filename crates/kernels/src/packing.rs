//! How weights lie in memory for the micro-kernel.

use crate::isa::Isa;
use crate::memory::AlignedVec;
use crate::simd::{Operation, Simd, dispatch};

/// Values of K per block: 96 KB of a panel on AVX2, which stream through the second-level cache beside
/// 96 rows. Measured on Zen 3, MiniLM's down-projection (K = 1,536): 83 % of peak with blocks
/// of 256, 88 % with 384, 89 % with 768, 91 % with 1,536; shorter rows do not care.
pub(crate) const K_BLOCK: usize = 1536;

/// The geometry of an instruction set's micro-kernel.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Columns of a panel.
    pub(crate) panel: usize,
    /// Rows of the largest tile.
    pub(crate) tile_rows: usize,
}

struct Ask;

impl Operation for Ask {
    type Output = Geometry;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Geometry {
        Geometry {
            panel: S::PANEL,
            tile_rows: S::TILE_ROWS,
        }
    }
}

/// The geometry used on `isa`.
pub(crate) fn geometry(isa: Isa) -> Geometry {
    dispatch(isa, Ask)
}

/// The transpose of a weight matrix in blocks of K, panels of columns, rows of one panel's width:
/// `[K / K_BLOCK][columns / panel][k in block][panel]`. Columns beyond the matrix are zero.
#[derive(Clone)]
pub(crate) struct Panels {
    pub(crate) values: AlignedVec<f32>,
    pub(crate) depth: usize,
    pub(crate) panels: usize,
    pub(crate) width: usize,
}

impl Panels {
    /// Room for `columns` columns of `depth` values, all zero. The caller has checked that the
    /// padded size does not wrap.
    pub(crate) fn new_zeroed(columns: usize, depth: usize, width: usize) -> Self {
        let panels = columns.div_ceil(width);
        Panels {
            values: AlignedVec::new_zeroed(panels * width * depth),
            depth,
            panels,
            width,
        }
    }

    /// Copies `rows` of a row-major weight matrix `[out][depth]` to the columns from `first` on.
    pub(crate) fn set_columns(&mut self, first: usize, rows: &[f32]) {
        for (row, weights) in rows.chunks_exact(self.depth).enumerate() {
            let (panel, lane) = ((first + row) / self.width, (first + row) % self.width);
            for (block, weights) in weights.chunks(K_BLOCK).enumerate() {
                let start = self.block_start(block * K_BLOCK, panel) + lane;
                let column = self.values[start..].iter_mut().step_by(self.width);
                for (value, &weight) in column.zip(weights) {
                    *value = weight;
                }
            }
        }
    }

    /// Where the values of `panel` lie for the block that begins at `k`, a multiple of the block.
    #[inline(always)]
    pub(crate) fn block_start(&self, k: usize, panel: usize) -> usize {
        let in_block = K_BLOCK.min(self.depth - k);
        k * self.panels * self.width + panel * in_block * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose memory safety: copies on the stack are as large as these bounds.
    #[test]
    fn no_tile_exceeds_the_bounds() {
        for isa in Isa::available() {
            let Geometry { panel, tile_rows } = geometry(isa);
            assert!(panel <= crate::simd::MAX_PANEL && tile_rows <= crate::simd::MAX_TILE_ROWS);
        }
    }

    /// A user would lose every answer: the product reads the weights where this puts them.
    #[test]
    fn every_weight_lies_in_its_block_panel_and_lane() {
        for (columns, depth) in [(1, 1), (7, 5), (8, 1536), (9, 1537), (17, 3100), (33, 3072)] {
            let weights: Vec<f32> = (0..columns * depth).map(|i| i as f32 + 1.0).collect();
            let width = 8;
            let mut panels = Panels::new_zeroed(columns, depth, width);
            let half = columns / 2;
            panels.set_columns(0, &weights[..half * depth]);
            panels.set_columns(half, &weights[half * depth..]);
            let mut seen = vec![false; panels.values.len()];
            for column in 0..columns {
                for k in 0..depth {
                    let block = k / K_BLOCK * K_BLOCK;
                    let at = panels.block_start(block, column / width)
                        + (k - block) * width
                        + column % width;
                    assert_eq!(panels.values[at], weights[column * depth + k]);
                    assert!(
                        !std::mem::replace(&mut seen[at], true),
                        "two weights at {at}"
                    );
                }
            }
            let padding = panels.values.iter().zip(&seen).filter(|(_, seen)| !**seen);
            assert!(
                padding.clone().all(|(&value, _)| value == 0.0),
                "{columns} × {depth}"
            );
            assert_eq!(
                padding.count(),
                (columns.next_multiple_of(width) - columns) * depth
            );
        }
    }
}
