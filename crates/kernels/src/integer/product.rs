//! The integer product: walks blocks, panels and tiles, and ends each tile with its epilogue.

use std::ops::Range;

use super::rows::QuantizedRows;
use super::{IntegerParts, Width};
use crate::activation::{Activation, CoarseGelu, GeluErf, WithMap};
use crate::linear::Epilogue;
use crate::simd::integer::{Ahead, Dot, GROUP, IntegerOperation, PANEL8, PANEL16, Rows8};
use crate::simd::{Map, Simd, Twice};

/// Rows taken through all panels before the next rows begin.
pub(super) const ROW_BLOCK: usize = 96;

/// Values of K after which the next rows begin, where weights have 8 bits: 16 KB of a panel stay in the
/// first-level cache, from which each row reads them anew.
const SEGMENT: usize = 512;

/// Rows whose sums are finished together: enough to make the choice of an activation cheap. With 16, the
/// 8-bit products lose 3 %.
const CHUNK: usize = 8;

/// So few rows ask for nothing ahead: a row's share would be a large part of a panel, and delay the row more than it
/// spares the next.
const FEWEST_TO_ASK: usize = 4;

/// One part's share of `y = epilogue(x·Wᵀ + bias)`: some rows, some panels.
pub(super) struct IntegerProduct<'a> {
    pub(super) parts: &'a IntegerParts,
    /// `[rows][depth]`.
    pub(super) x: &'a [f32],
    /// Room for the quantised rows.
    pub(super) quantized: QuantizedRows,
    /// Whether that is room for a block of [`ROW_BLOCK`], to be filled; or it holds all rows.
    pub(super) quantize: bool,
    /// Room for [`SUMS`] sums, this part's own.
    pub(super) sums: *mut i32,
    pub(super) epilogue: Epilogue<'a>,
    /// `[rows][columns]`, of which this part writes its rows and panels only.
    pub(super) y: *mut f32,
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
}

/// 4-byte sums that a part needs: `[ROW_BLOCK][panel]`, and those over one segment of 16-bit rows.
pub(super) const SUMS: usize = ROW_BLOCK * PANEL8;

impl IntegerOperation for IntegerProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Dot>(self, d: D) {
        match self.parts.width {
            Width::Int8 => self.blocks(d, Panels8(self.sums)),
            Width::Int16 => {
                let single = self.parts.padded_depth() <= self.parts.block;
                let sums = self.sums;
                self.blocks(d, Panels16 { sums, single });
            }
        }
    }
}

/// What differs between the widths: how sums of a panel are made, and read.
trait Panels {
    /// Columns of a panel.
    const PANEL: usize;
    /// GELU as exact as the sums are.
    const GELU: Self::Gelu;

    type Gelu: Map;

    /// Values of K of a segment: a panel of them stays in the first-level cache.
    fn segment(parts: &IntegerParts) -> usize;

    /// The weights of a panel from value `k` of K on: [`PANEL8`] bytes for each.
    fn weights(parts: &IntegerParts, panel: usize, k: usize) -> *const u8;

    /// Adds the products over one segment of K to the sums of some rows, or begins them with it.
    ///
    /// # Safety
    /// The rows are quantised and have sums; the segment is one of the padded depth.
    unsafe fn accumulate<D: Dot>(&self, d: D, rows: Rows<'_>, segment: &Segment);

    /// As many values of the product as a vector has lanes, without the bias: of row `i` of `rows`, from
    /// column `lane` of the panel on. `scales` are those of the columns.
    ///
    /// # Safety
    /// The sums are complete.
    unsafe fn value<D: Dot>(
        &self,
        d: D,
        rows: Rows<'_>,
        i: usize,
        lane: usize,
        scales: *const f32,
    ) -> <D::F as Simd>::V;
}

/// A few rows: where they are quantised, and where their sums are.
#[derive(Copy, Clone)]
struct Rows<'a> {
    parts: &'a IntegerParts,
    quantized: &'a QuantizedRows,
    /// The first row's place in `quantized`.
    first: usize,
    count: usize,
    /// The first row's place among the sums.
    slot: usize,
}

/// Some values of K of one panel.
struct Segment {
    panel: usize,
    depth: Range<usize>,
    weights: *const u8,
    /// The weights of the next segment, for the first row of a block.
    ahead: Ahead,
}

impl Segment {
    fn new<P: Panels>(
        parts: &IntegerParts,
        panel: usize,
        depth: Range<usize>,
        rows: usize,
    ) -> Segment {
        let weights = P::weights(parts, panel, depth.start);
        let bytes = depth.len() * PANEL8;
        let share = if rows < FEWEST_TO_ASK {
            0
        } else {
            bytes.div_ceil(rows).next_multiple_of(Ahead::LINE)
        };
        Segment {
            panel,
            depth,
            weights,
            // What follows a segment is the next one, also from one panel to the next.
            ahead: Ahead {
                start: weights.wrapping_add(bytes),
                share,
            },
        }
    }

    /// What some rows ask for, from row `first` of the block on.
    #[inline(always)]
    fn ahead(&self, first: usize) -> Ahead {
        let Ahead { start, share } = self.ahead;
        Ahead {
            start: start.wrapping_add(first * share),
            share,
        }
    }
}

/// Sums `[row][PANEL8]` over the segments so far.
struct Panels8(*mut i32);

impl Panels for Panels8 {
    const PANEL: usize = PANEL8;
    type Gelu = CoarseGelu;
    const GELU: CoarseGelu = CoarseGelu;

    #[inline(always)]
    fn segment(parts: &IntegerParts) -> usize {
        (SEGMENT / parts.block).max(1) * parts.block
    }

    #[inline(always)]
    fn weights(parts: &IntegerParts, panel: usize, k: usize) -> *const u8 {
        parts.panel8(panel, k).cast()
    }

    #[inline(always)]
    unsafe fn accumulate<D: Dot>(&self, d: D, rows: Rows<'_>, segment: &Segment) {
        let depth = &segment.depth;
        let groups = depth.start / GROUP..depth.end / GROUP;
        let block = (depth.start / rows.parts.block, rows.parts.block / GROUP);
        let (pairs, block_sums) = rows.parts.block_sums(segment.panel);
        let pairs = if depth.start == 0 { pairs } else { 0 };
        let mut i = 0;
        while i < rows.count {
            let count = D::ROWS8.min(rows.count - i);
            let row = rows.first + i;
            // SAFETY: rows, sums and groups exist by the caller's promise, the panel by `panel8`.
            unsafe {
                let sums = self.0.add((rows.slot + i) * PANEL8);
                let x = rows
                    .quantized
                    .eights(row, groups.clone(), block, (pairs, block_sums));
                let x = Rows8 {
                    ahead: segment.ahead(row),
                    ..x
                };
                d.dot8(count, x, segment.weights.cast(), sums);
            }
            i += count;
        }
    }

    #[inline(always)]
    unsafe fn value<D: Dot>(
        &self,
        d: D,
        rows: Rows<'_>,
        i: usize,
        lane: usize,
        scales: *const f32,
    ) -> <D::F as Simd>::V {
        let s = d.floats();
        // SAFETY: the row has sums and a scale, the panel scales for all its columns.
        unsafe {
            let scale = s.splat(rows.quantized.scale(rows.first + i, 0));
            let scale = s.mul(scale, s.load(scales.add(lane)));
            let sums = self.0.add((rows.slot + i) * PANEL8 + lane);
            s.mul(d.convert(sums), scale)
        }
    }
}

/// Sums `[row][PANEL16]` over the segments so far, as floats, and behind them integers for one segment. Where
/// one segment is all, its integers alone.
struct Panels16 {
    sums: *mut i32,
    single: bool,
}

impl Panels for Panels16 {
    const PANEL: usize = PANEL16;
    type Gelu = GeluErf;
    const GELU: GeluErf = GeluErf;

    #[inline(always)]
    fn segment(parts: &IntegerParts) -> usize {
        parts.block
    }

    #[inline(always)]
    fn weights(parts: &IntegerParts, panel: usize, k: usize) -> *const u8 {
        parts.panel16(panel, k).cast()
    }

    #[inline(always)]
    unsafe fn accumulate<D: Dot>(&self, d: D, rows: Rows<'_>, segment: &Segment) {
        let s = d.floats();
        let (weights, depth) = (segment.weights.cast(), &segment.depth);
        let block = depth.start / rows.parts.block;
        let mut i = 0;
        while i < rows.count {
            let count = D::ROWS16.min(rows.count - i);
            // SAFETY: rows, sums and pairs exist by the caller's promise, the panel by `panel16`.
            unsafe {
                let row = rows.first + i;
                let sums_of_segment = if self.single {
                    self.sums.add((rows.slot + i) * PANEL16)
                } else {
                    self.sums.add(ROW_BLOCK * PANEL16)
                };
                let pairs = depth.start / 2..depth.end / 2;
                let x = rows.quantized.sixteens(row, pairs);
                d.dot16(count, x, weights, sums_of_segment);
                for j in 0..if self.single { 0 } else { count } {
                    let scale = s.splat(rows.quantized.scale(rows.first + i + j, block));
                    let sums = self.sums.cast::<f32>().add((rows.slot + i + j) * PANEL16);
                    for lane in (0..PANEL16).step_by(D::F::LANES) {
                        let value = d.convert(sums_of_segment.add(j * PANEL16 + lane));
                        let mut value = s.mul(value, scale);
                        if depth.start > 0 {
                            value = s.add(s.load(sums.add(lane)), value);
                        }
                        s.store(sums.add(lane), value);
                    }
                }
            }
            i += count;
        }
    }

    #[inline(always)]
    unsafe fn value<D: Dot>(
        &self,
        d: D,
        rows: Rows<'_>,
        i: usize,
        lane: usize,
        scales: *const f32,
    ) -> <D::F as Simd>::V {
        let s = d.floats();
        // SAFETY: the row has sums, the panel scales for all its columns.
        unsafe {
            let sums = self.sums.add((rows.slot + i) * PANEL16 + lane);
            let sum = if self.single {
                let scale = s.splat(rows.quantized.scale(rows.first + i, 0));
                s.mul(d.convert(sums), scale)
            } else {
                s.load(sums.cast())
            };
            s.mul(sum, s.load(scales.add(lane)))
        }
    }
}

impl IntegerProduct<'_> {
    #[inline(always)]
    fn blocks<D: Dot, P: Panels>(&self, d: D, sums: P) {
        let mut first = self.rows.start;
        while first < self.rows.end {
            let count = ROW_BLOCK.min(self.rows.end - first);
            let quantized = if self.quantize {
                let width = self.parts.in_features;
                let x = &self.x[first * width..(first + count) * width];
                // SAFETY: there is room for a block, and it is this part's own.
                unsafe { self.quantized.quantize(d, self.parts, x) };
                self.quantized
            } else {
                self.quantized.skip(first)
            };
            for panel in self.panels.clone() {
                self.panel(d, &sums, &quantized, first..first + count, panel);
            }
            first += count;
        }
    }

    /// One panel for a block of rows.
    #[inline(always)]
    fn panel<D: Dot, P: Panels>(
        &self,
        d: D,
        sums: &P,
        quantized: &QuantizedRows,
        block: Range<usize>,
        panel: usize,
    ) {
        let (depth, segment) = (self.parts.padded_depth(), P::segment(self.parts));
        let mut k = 0;
        while k < depth {
            let end = depth.min(k + segment);
            let weights = Segment::new::<P>(self.parts, panel, k..end, block.len());
            let mut first = 0;
            while first < block.len() {
                let rows = Rows {
                    parts: self.parts,
                    quantized,
                    first,
                    count: CHUNK.min(block.len() - first),
                    // Where one segment is all, sums are finished at once and their places used again.
                    slot: if depth <= segment { 0 } else { first },
                };
                // SAFETY: the rows are quantised, and `ROW_BLOCK` at most.
                unsafe { sums.accumulate(d, rows, &weights) };
                if end == depth {
                    self.finish(d, sums, rows, block.start + first, panel);
                }
                first += rows.count;
            }
            k = end;
        }
    }

    /// Writes the complete sums of some rows, from `row` of `y` on.
    #[inline(always)]
    fn finish<D: Dot, P: Panels>(&self, d: D, sums: &P, rows: Rows<'_>, row: usize, panel: usize) {
        let column = panel * P::PANEL;
        let columns = self.parts.out_features;
        let start = row * columns + column;
        let mut finish = Finish {
            d,
            sums,
            rows,
            scales: self.parts.scales[column..column + P::PANEL].as_ptr(),
            bias: self.parts.bias[column..column + P::PANEL].as_ptr(),
            // SAFETY: the row and the panel begin within `y`.
            y: unsafe { self.y.add(start) },
            residual: match self.epilogue {
                Epilogue::Residual(residual) => Some(residual[start..].as_ptr()),
                _ => None,
            },
            stride: columns,
            width: P::PANEL.min(columns - column),
        };
        match self.epilogue {
            Epilogue::Activate(Activation::Identity) | Epilogue::Bias | Epilogue::Residual(_) => {
                finish.with(Unchanged);
            }
            Epilogue::Activate(Activation::GeluErf) => finish.with(P::GELU),
            Epilogue::Activate(activation) => activation.with_map(&mut finish),
        }
    }
}

/// x itself.
#[derive(Copy, Clone)]
struct Unchanged;

impl Map for Unchanged {
    #[inline(always)]
    fn apply<S: Simd>(self, _simd: S, value: S::V) -> S::V {
        value
    }
}

/// Sums on their way to `y`.
struct Finish<'a, D, P> {
    d: D,
    sums: &'a P,
    rows: Rows<'a>,
    scales: *const f32,
    bias: *const f32,
    /// `y` at the first of the rows and the panel's first column.
    y: *mut f32,
    residual: Option<*const f32>,
    /// Of `y` and of the residual.
    stride: usize,
    /// Columns of the panel which exist.
    width: usize,
}

impl<D: Dot, P: Panels> WithMap for Finish<'_, D, P> {
    #[inline(always)]
    fn with<M: Map>(&mut self, map: M) {
        // SAFETY: `IntegerLinear::apply` has checked that `y` and the residual hold all rows, and hands no
        // other part these rows and panels; `width` columns of the panel exist.
        unsafe {
            for row in 0..self.rows.count {
                if self.width == P::PANEL {
                    for lane in (0..P::PANEL).step_by(2 * D::F::LANES) {
                        self.pair(map, row, lane, 2 * D::F::LANES);
                    }
                } else {
                    for lane in (0..self.width).step_by(2 * D::F::LANES) {
                        self.pair(map, row, lane, (self.width - lane).min(2 * D::F::LANES));
                    }
                }
            }
        }
    }
}

impl<D: Dot, P: Panels> Finish<'_, D, P> {
    /// Writes `count` values of a row, up to two vectors, from `lane` of the panel on.
    ///
    /// # Safety
    /// They exist.
    #[inline(always)]
    unsafe fn pair<M: Map>(&self, map: M, row: usize, lane: usize, count: usize) {
        let pairs = Twice(self.d.floats());
        let at = row * self.stride + lane;
        // SAFETY: the sums and scales of the panel exist, of `y` and the residual `count` values.
        unsafe {
            let half = |lane| self.sums.value(self.d, self.rows, row, lane, self.scales);
            let value = [half(lane), half(lane + D::F::LANES)];
            let mut value = pairs.add(value, pairs.load(self.bias.add(lane)));
            let to = self.y.add(at);
            if count == 2 * D::F::LANES {
                if let Some(residual) = self.residual {
                    value = pairs.add(value, pairs.load(residual.add(at)));
                }
                pairs.store(to, map.apply(pairs, value));
            } else {
                if let Some(residual) = self.residual {
                    value = pairs.add(value, pairs.load_some(residual.add(at), count));
                }
                pairs.store_some(to, count, map.apply(pairs, value));
            }
        }
    }
}

/// Quantises all rows and nothing else.
pub(super) struct QuantizeOnly<'a> {
    pub(super) parts: &'a IntegerParts,
    pub(super) x: &'a [f32],
    /// Room for all rows, and no other thread's.
    pub(super) quantized: QuantizedRows,
}

impl IntegerOperation for QuantizeOnly<'_> {
    type Output = ();

    #[inline(always)]
    fn run<D: Dot>(self, d: D) {
        // SAFETY: there is room for all rows, by the field's promise.
        unsafe { self.quantized.quantize(d, self.parts, self.x) };
    }
}
