//! Rows of integers from rows of f32: scales, zero points, and where they lie.

use std::ops::Range;

use super::product::SUMS;
use super::{IntegerParts, Width};
use crate::memory::AlignedVec;
use crate::simd::integer::{Ahead, Dot, GROUP, Rows8, Rows16};
use crate::simd::{Simd, Twice};
use crate::team::Shared;

/// The largest magnitude of a 16-bit row. Of the 31 bits of a sum, this leaves a typical column 11 to 12 bits.
/// Simulated on MiniLM (1,500 queries, one scale a row), the worst cosine of an embedding: 0.99998 with 4,095,
/// 0.99999 with 8,191, 0.99996 with 16,383.
pub(super) const LEVELS16: i32 = 8191;

/// A block whose values range over less counts as zero: its scale would be no normal number.
const SMALLEST_RANGE: f32 = 1e-30;

/// Lanes of the longest vector of floats that integer products are finished with.
const MAX_LANES: usize = 8;

/// Buffers for rows on their way through an [`IntegerLinear`](super::IntegerLinear): one for each thread that calls it.
///
/// It grows to what the largest call needs, and is then used again.
#[derive(Default)]
pub struct QuantizeScratch {
    values: AlignedVec<u8>,
    factors: AlignedVec<i32>,
    offsets: AlignedVec<i16>,
    scales: AlignedVec<f32>,
    sums: AlignedVec<i32>,
}

impl QuantizeScratch {
    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let rows = self.values.bytes() + self.factors.bytes() + self.offsets.bytes();
        rows + self.scales.bytes() + self.sums.bytes()
    }
}

impl std::fmt::Debug for QuantizeScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuantizeScratch")
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// How much of each buffer a row takes.
#[derive(Copy, Clone)]
struct RowSize {
    /// Bytes of values.
    values: usize,
    /// Of an 8-bit row, one for each block.
    factors: usize,
    /// Of an 8-bit row, one for each block and an even number.
    offsets: usize,
    /// Of an 8-bit row one, then room to find out about its blocks. Of a 16-bit row one for each block.
    scales: usize,
}

impl RowSize {
    /// Whole vectors of blocks, on every instruction set.
    fn padded(blocks: usize) -> usize {
        blocks.next_multiple_of(MAX_LANES)
    }

    fn of(parts: &IntegerParts) -> RowSize {
        let blocks = parts.blocks();
        match parts.width {
            Width::Int8 => RowSize {
                values: parts.padded_depth(),
                factors: blocks,
                offsets: blocks.next_multiple_of(2),
                scales: 1 + 3 * RowSize::padded(blocks),
            },
            Width::Int16 => RowSize {
                values: parts.padded_depth() * size_of::<i16>(),
                factors: 0,
                offsets: 0,
                scales: blocks,
            },
        }
    }
}

/// Room for rows in a scratch, shared by the parts of a team.
pub(super) struct RowRoom<'a> {
    values: Shared<'a, u8>,
    factors: Shared<'a, i32>,
    offsets: Shared<'a, i16>,
    scales: Shared<'a, f32>,
    sums: Shared<'a, i32>,
    size: RowSize,
    rows: usize,
    team: usize,
}

impl<'a> RowRoom<'a> {
    /// Room for `rows` rows, and for the sums of as many parts of a team as `team`.
    pub(super) fn new(
        scratch: &'a mut QuantizeScratch,
        parts: &IntegerParts,
        rows: usize,
        team: usize,
    ) -> Self {
        let size = RowSize::of(parts);
        scratch.values.ensure(rows * size.values);
        scratch.factors.ensure(rows * size.factors);
        scratch.offsets.ensure(rows * size.offsets);
        scratch.scales.ensure(rows * size.scales);
        scratch.sums.ensure(team * SUMS);
        RowRoom {
            values: Shared::new(&mut scratch.values),
            factors: Shared::new(&mut scratch.factors),
            offsets: Shared::new(&mut scratch.offsets),
            scales: Shared::new(&mut scratch.scales),
            sums: Shared::new(&mut scratch.sums),
            size,
            rows,
            team,
        }
    }

    /// Room for the [`SUMS`] sums of a part.
    pub(super) fn sums(&self, part: usize) -> *mut i32 {
        // Memory safety must not hang on a team that changes its size.
        assert!(part < self.team, "a part that the team did not have");
        self.sums.pointer().wrapping_add(part * SUMS)
    }

    /// The first row of a part to which an equal share of the rows belongs.
    pub(super) fn first(&self, part: usize) -> usize {
        assert!(part < self.team, "a part that the team did not have");
        part * (self.rows / self.team)
    }

    /// The rows from `first` on.
    pub(super) fn from(&self, first: usize) -> QuantizedRows {
        assert!(first <= self.rows, "rows outside their room");
        // SAFETY: at most `rows` rows fit, by `new`.
        unsafe {
            QuantizedRows {
                values: self.values.pointer().add(first * self.size.values),
                factors: self.factors.pointer().add(first * self.size.factors),
                offsets: self.offsets.pointer().add(first * self.size.offsets),
                scales: self.scales.pointer().add(first * self.size.scales),
                size: self.size,
            }
        }
    }
}

/// Quantised rows in a scratch.
#[derive(Copy, Clone)]
pub(super) struct QuantizedRows {
    values: *mut u8,
    factors: *mut i32,
    offsets: *mut i16,
    scales: *mut f32,
    size: RowSize,
}

impl QuantizedRows {
    /// The rows from `first` on.
    #[inline(always)]
    pub(super) fn skip(&self, first: usize) -> QuantizedRows {
        QuantizedRows {
            values: self.values.wrapping_add(first * self.size.values),
            factors: self.factors.wrapping_add(first * self.size.factors),
            offsets: self.offsets.wrapping_add(first * self.size.offsets),
            scales: self.scales.wrapping_add(first * self.size.scales),
            size: self.size,
        }
    }

    /// The groups `groups` of 8-bit rows, for [`Dot::dot8`]; they begin with block `block`.
    ///
    /// # Safety
    /// `row`, the groups and the block exist.
    #[inline(always)]
    pub(super) unsafe fn eights(
        &self,
        row: usize,
        groups: Range<usize>,
        (block, groups_of_block): (usize, usize),
        (pairs, block_sums): (usize, *const i16),
    ) -> Rows8 {
        // SAFETY: by the caller's promise.
        unsafe {
            Rows8 {
                values: self
                    .values
                    .add(row * self.size.values + groups.start * GROUP),
                stride: self.size.values,
                factors: self.factors.add(row * self.size.factors + block),
                factor_stride: self.size.factors,
                offsets: self.offsets.add(row * self.size.offsets),
                offset_stride: self.size.offsets,
                block_sums,
                pairs,
                block: groups_of_block,
                groups: groups.len(),
                ahead: Ahead {
                    start: std::ptr::null(),
                    share: 0,
                },
            }
        }
    }

    /// The pairs of K `pairs` of 16-bit rows, for [`Dot::dot16`].
    ///
    /// # Safety
    /// `row` and the pairs exist.
    #[inline(always)]
    pub(super) unsafe fn sixteens(&self, row: usize, pairs: Range<usize>) -> Rows16 {
        // SAFETY: by the caller's promise.
        let values = unsafe { self.values.add(row * self.size.values).cast::<i16>() };
        Rows16 {
            // SAFETY: as above.
            values: unsafe { values.add(2 * pairs.start) },
            stride: self.size.values / size_of::<i16>(),
            pairs: pairs.len(),
        }
    }

    /// The scale of a row's block; 8-bit rows have but block 0.
    ///
    /// # Safety
    /// The row and the block exist.
    #[inline(always)]
    pub(super) unsafe fn scale(&self, row: usize, block: usize) -> f32 {
        // SAFETY: by the caller's promise.
        unsafe { *self.scales.add(row * self.size.scales + block) }
    }

    /// Fills in the rows of `x`.
    ///
    /// # Safety
    /// They have room here, and no other thread touches them.
    #[inline(always)]
    pub(super) unsafe fn quantize<D: Dot>(&self, d: D, parts: &IntegerParts, x: &[f32]) {
        for (row, x) in x.chunks_exact(parts.in_features).enumerate() {
            // SAFETY: by the caller's promise.
            unsafe {
                match parts.width {
                    Width::Int8 => self.quantize8(d, parts, row, x),
                    Width::Int16 => self.quantize16(d, parts, row, x),
                }
            }
        }
    }

    /// One row of 8 bits. Its blocks have scales which are whole multiples, *factors*, of one scale of the
    /// row: so products are added up over blocks as integers.
    ///
    /// # Safety
    /// As for [`QuantizedRows::quantize`].
    #[inline(always)]
    unsafe fn quantize8<D: Dot>(&self, d: D, parts: &IntegerParts, row: usize, x: &[f32]) {
        let (block, blocks) = (parts.block, parts.blocks());
        let padded = RowSize::padded(blocks);
        let limit = parts.factor_limit as f32;
        // SAFETY: the row has room for these, by the caller's promise.
        let (values, factors, offsets, (scale, work)) = unsafe {
            let size = self.size;
            let factors = self.factors.add(row * size.factors);
            let offsets = self.offsets.add(row * size.offsets);
            let scales = self.scales.add(row * size.scales);
            let work = std::slice::from_raw_parts_mut(scales.add(1), 3 * padded);
            (
                self.values.add(row * size.values),
                std::slice::from_raw_parts_mut(factors, blocks),
                std::slice::from_raw_parts_mut(offsets, size.offsets),
                (&mut *scales, work),
            )
        };
        let (lows, rest) = work.split_at_mut(padded);
        let (widths, counts) = rest.split_at_mut(padded);
        let s = d.floats();
        let mut widest = 0.0f32;
        let mut poison = [s.zero(); 2];
        for (x, (low, width)) in x.chunks(block).zip(lows.iter_mut().zip(widths.iter_mut())) {
            let (lowest, highest) = span(s, x, &mut poison);
            (*low, *width) = (lowest, highest - lowest);
            widest = widest.max(*width);
        }
        // Nothing but zeroes, or no numbers, which every output must show.
        let broken = poisoned(s, poison) || widest == f32::INFINITY;
        if broken || widest < SMALLEST_RANGE {
            *scale = if broken { f32::NAN } else { 0.0 };
            factors.fill(0);
            offsets.fill(0);
            return;
        }
        let levels = D::LEVELS as f32;
        *scale = widest / (levels * limit);
        let per_width = s.splat(limit / widest);
        for i in (0..padded).step_by(D::F::LANES) {
            // Widths become inverses of scales, lowest values zero points.
            let (low, width) = (lows[i..].as_mut_ptr(), widths[i..].as_mut_ptr());
            // SAFETY: the three are padded to whole vectors.
            unsafe {
                // Rounded up, or one more where it is whole: the widest has the limit all the same.
                let count = s.add(s.mul(s.load(width), per_width), s.splat(0.5));
                let count = s.min(s.splat(limit), s.max(s.splat(1.0), s.round(count)));
                let inverse = s.div(s.splat(1.0), s.mul(s.splat(*scale), count));
                let zero = s.round(s.mul(s.sub(s.zero(), s.load(low)), inverse));
                s.store(counts[i..].as_mut_ptr(), count);
                s.store(width, inverse);
                s.store(low, s.min(s.splat(levels), zero));
            }
        }
        // The one that makes their number even, if there is one.
        offsets[self.size.offsets - 1] = 0;
        for (i, (x, factor)) in x.chunks(block).zip(factors.iter_mut()).enumerate() {
            // SAFETY: counts are at most 127 and zero points 255; the row has room for as many values as `x`
            // has, and blocks follow each other.
            unsafe {
                let count: i32 = counts[i].to_int_unchecked();
                let zero: i32 = lows[i].to_int_unchecked();
                *factor = count | count << 16;
                offsets[i] = (-count * zero) as i16;
                d.quantize8(x.len(), x.as_ptr(), widths[i], zero, values.add(i * block));
            }
        }
    }

    /// One row of 16 bits, each block with its own scale.
    ///
    /// # Safety
    /// As for [`QuantizedRows::quantize`].
    #[inline(always)]
    unsafe fn quantize16<D: Dot>(&self, d: D, parts: &IntegerParts, row: usize, x: &[f32]) {
        for (i, x) in x.chunks(parts.block).enumerate() {
            let s = d.floats();
            let mut poison = [s.zero(); 2];
            let (lowest, highest) = span(s, x, &mut poison);
            let largest = highest.max(-lowest);
            // SAFETY: the row has room for as many blocks and values as `x` has.
            unsafe {
                let to = self.values.add(row * self.size.values).cast::<i16>();
                let to = to.add(i * parts.block);
                let scale = &mut *self.scales.add(row * self.size.scales + i);
                if poisoned(s, poison) {
                    *scale = f32::NAN;
                    to.write_bytes(0, x.len());
                } else if largest < SMALLEST_RANGE {
                    *scale = 0.0;
                    to.write_bytes(0, x.len());
                } else {
                    *scale = largest / LEVELS16 as f32;
                    d.quantize16(x.len(), x.as_ptr(), LEVELS16 as f32 / largest, to);
                }
            }
        }
    }
}

/// What a block of a row spans, zero included: its lowest value and its highest.
///
/// Adds to `poison` zeroes, or NaN where a value is NaN or infinite.
#[inline(always)]
fn span<S: Simd>(s: S, x: &[f32], poison: &mut [S::V; 2]) -> (f32, f32) {
    let whole = x.len() - x.len() % (2 * S::LANES);
    let (mut low, mut high) = ([s.zero(); 2], [s.zero(); 2]);
    let mut take = |value: [S::V; 2]| {
        for (i, value) in value.into_iter().enumerate() {
            low[i] = s.min(low[i], value);
            high[i] = s.max(high[i], value);
            poison[i] = s.fma(value, s.zero(), poison[i]);
        }
    };
    let (pairs, start) = (Twice(s), x.as_ptr());
    let mut k = 0;
    // SAFETY: two vectors, then what is left of the slice; zeroes in its place change nothing.
    unsafe {
        while k < whole {
            take(pairs.load(start.add(k)));
            k += 2 * S::LANES;
        }
        if k < x.len() {
            take(pairs.load_some(start.add(k), x.len() - whole));
        }
    }
    let low = s.sub(s.zero(), s.min(low[0], low[1]));
    (-s.largest(low), s.largest(s.max(high[0], high[1])))
}

/// Whether a value was NaN or infinite.
#[inline(always)]
fn poisoned<S: Simd>(s: S, poison: [S::V; 2]) -> bool {
    s.sum(s.add(poison[0], poison[1])) != 0.0
}
