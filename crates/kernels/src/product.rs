//! The packed matrix product: walks blocks, panels and tiles, and ends each tile with its epilogue.

use std::ops::Range;

use crate::activation::{Activation, WithMap};
use crate::linear::Epilogue;
use crate::packing::{K_BLOCK, Panels};
use crate::simd::{MAX_PANEL, MAX_TILE_ROWS, Map, Operation, Simd, map_in_place};
use crate::tile::{Panel, Rows, TileWork, for_tiles, products};

/// Rows taken through all panels before the next rows begin: what the second-level cache holds beside
/// a panel. With 384 instead, 4,096 rows reach 88 % of peak, not 93 %, and 192 rows lose one or two.
const ROW_BLOCK: usize = 96;

/// One part's share of `y = epilogue(x·Wᵀ + bias)`: some rows, some panels.
pub(crate) struct Product<'a> {
    pub(crate) weights: &'a Panels,
    /// One value a column, padded to whole panels.
    pub(crate) bias: &'a [f32],
    /// `[rows][depth]`.
    pub(crate) x: &'a [f32],
    pub(crate) epilogue: Epilogue<'a>,
    /// `[rows][columns]`, of which this part writes its rows and panels only.
    pub(crate) y: *mut f32,
    /// Columns of `y`, which the last panel may exceed.
    pub(crate) columns: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) panels: Range<usize>,
}

impl Operation for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = first..self.rows.end.min(first + ROW_BLOCK);
            let mut k = 0;
            while k < self.weights.depth {
                for panel in self.panels.clone() {
                    self.panel_block(s, rows.clone(), k, panel);
                }
                k += K_BLOCK;
            }
            first = rows.end;
        }
    }
}

/// Where the sums of the blocks before this one are, and what comes after it.
#[derive(Copy, Clone, PartialEq, Eq)]
struct Stage {
    first: bool,
    last: bool,
}

/// One block of one panel, for tiles to be cut from.
struct PanelBlock {
    stage: Stage,
    depth: usize,
    weights: *const f32,
    /// From here to the panel that comes next.
    next: usize,
    /// Behind the last row that takes this panel.
    end: usize,
    bias: *const f32,
    /// `x` at row 0 and the block's first k.
    x: *const f32,
    x_stride: usize,
    /// `y` at row 0 and the panel's first column.
    y: *mut f32,
    residual: Option<*const f32>,
    activation: Activation,
    /// Of `y` and of the residual.
    stride: usize,
    /// Columns of the panel which exist.
    width: usize,
}

impl Product<'_> {
    /// One block of K of one panel, for some rows.
    #[inline(always)]
    fn panel_block<S: Simd>(&self, s: S, rows: Range<usize>, k: usize, panel: usize) {
        let depth = K_BLOCK.min(self.weights.depth - k);
        let column = panel * S::PANEL;
        let (residual, activation) = match self.epilogue {
            Epilogue::Bias => (None, Activation::Identity),
            Epilogue::Activate(activation) => (None, activation),
            Epilogue::Residual(residual) => (Some(residual), Activation::Identity),
        };
        let start = self.weights.block_start(k, panel);
        let block = PanelBlock {
            stage: Stage {
                first: k == 0,
                last: k + depth == self.weights.depth,
            },
            depth,
            weights: self.weights.values[start..start + depth * S::PANEL].as_ptr(),
            next: depth * S::PANEL,
            end: rows.end,
            bias: self.bias[column..column + S::PANEL].as_ptr(),
            x: self.x[k..].as_ptr(),
            x_stride: self.weights.depth,
            // SAFETY: the panel begins within a row of `y`.
            y: unsafe { self.y.add(column) },
            residual: residual.map(|residual| residual[column..].as_ptr()),
            activation,
            stride: self.columns,
            width: S::PANEL.min(self.columns - column),
        };
        // SAFETY: `Linear::apply` has checked that `x`, `y` and the residual hold all rows, and
        // hands no other part these rows and panels.
        unsafe {
            if block.width == S::PANEL {
                for_tiles(s, rows, &Whole(block));
            } else {
                for_tiles(s, rows, &Partial(block));
            }
        }
    }
}

impl PanelBlock {
    /// Computes a tile and writes whole vectors to `y` (row `first` there).
    ///
    /// # Safety
    /// The rows exist, and whole panels can be read and written at `y` and the residual.
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        first: usize,
        (y, stride): (*mut f32, usize),
        residual: Option<*const f32>,
    ) {
        // SAFETY: all by the caller's promise.
        unsafe {
            let x = Rows {
                start: self.x.add(first * self.x_stride),
                row: self.x_stride,
                step: 1,
            };
            let weights = Panel {
                start: self.weights,
                step: S::PANEL,
                ahead: if first + ROWS < self.end {
                    0
                } else {
                    self.next
                },
            };
            let sums = products::<S, ROWS>(s, self.depth, x, weights);
            for (i, row) in sums.into_iter().enumerate() {
                for (j, sum) in row.into_iter().enumerate() {
                    let (at, lane) = (i * stride + j * S::LANES, j * S::LANES);
                    let mut value = sum;
                    if !self.stage.first {
                        value = s.add(value, s.load(y.add(at)));
                    }
                    if self.stage.last {
                        value = s.add(value, s.load(self.bias.add(lane)));
                        if let Some(residual) = residual {
                            value = s.add(value, s.load(residual.add(at)));
                        }
                    }
                    s.store(y.add(at), value);
                }
            }
        }
    }

    /// The activation, as a second pass over a tile that is still in the first-level cache; within the
    /// micro-kernel it would multiply the code by every tile height.
    ///
    /// # Safety
    /// The rows exist.
    #[inline(always)]
    unsafe fn activate<S: Simd>(&self, s: S, first: usize, count: usize) {
        if self.stage.last {
            let (stride, width) = (self.stride, self.width);
            // SAFETY: `first` is a row of `y`.
            let y = unsafe { self.y.add(first * stride) };
            self.activation.with_map(&mut InTile {
                s,
                y,
                stride,
                count,
                width,
            });
        }
    }
}

/// See [`PanelBlock::activate`].
struct InTile<S> {
    s: S,
    /// `y` at the tile's first row and column.
    y: *mut f32,
    stride: usize,
    /// Rows of the tile.
    count: usize,
    /// Columns of the tile which exist.
    width: usize,
}

impl<S: Simd> WithMap for InTile<S> {
    #[inline(always)]
    fn with<M: Map>(&mut self, map: M) {
        for row in 0..self.count {
            // SAFETY: made by `activate` only, whose caller vouches for these rows; `width` columns
            // of each belong to this panel.
            let row = unsafe {
                std::slice::from_raw_parts_mut(self.y.add(row * self.stride), self.width)
            };
            map_in_place(self.s, row, map);
        }
    }
}

/// A panel whose columns all exist: tiles are written straight to `y`.
struct Whole(PanelBlock);

impl<S: Simd> TileWork<S> for Whole {
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize) {
        let Whole(block) = self;
        // SAFETY: the rows exist and the panel lies within them.
        unsafe {
            let y = block.y.add(first * block.stride);
            let residual = block
                .residual
                .map(|residual| residual.add(first * block.stride));
            block.compute::<S, ROWS>(s, first, (y, block.stride), residual);
        }
    }

    #[inline(always)]
    unsafe fn finish(&self, s: S, first: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.activate(s, first, count) };
    }
}

/// The last panel where the columns are no multiple of its width: through copies on the stack.
struct Partial(PanelBlock);

impl<S: Simd> TileWork<S> for Partial {
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize) {
        let Partial(block) = self;
        let mut y = [0.0f32; MAX_TILE_ROWS * MAX_PANEL];
        let mut residual = [0.0f32; MAX_TILE_ROWS * MAX_PANEL];
        // SAFETY: `width` values of each row exist in `y` and the residual; the copies are as large
        // as the largest tile.
        unsafe {
            for row in 0..ROWS {
                let at = (first + row) * block.stride;
                if !block.stage.first {
                    let from = block.y.add(at);
                    let to = y.as_mut_ptr().add(row * S::PANEL);
                    std::ptr::copy_nonoverlapping(from, to, block.width);
                }
                if let Some(from) = block.residual {
                    let to = residual.as_mut_ptr().add(row * S::PANEL);
                    std::ptr::copy_nonoverlapping(from.add(at), to, block.width);
                }
            }
            let copy = block.residual.map(|_| residual.as_ptr());
            block.compute::<S, ROWS>(s, first, (y.as_mut_ptr(), S::PANEL), copy);
            for row in 0..ROWS {
                let to = block.y.add((first + row) * block.stride);
                let from = y.as_ptr().add(row * S::PANEL);
                std::ptr::copy_nonoverlapping(from, to, block.width);
            }
        }
    }

    #[inline(always)]
    unsafe fn finish(&self, s: S, first: usize, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.activate(s, first, count) };
    }
}
