//! Integer products for every machine: plain loops, which compilers turn into 128-bit vectors.

use super::{Dot, GROUP, PANEL8, PANEL16, Rows8, Rows16};
use crate::simd::Simd;
use crate::simd::portable::Portable;

/// No instructions beyond the compiler's target.
#[derive(Copy, Clone)]
pub(super) struct PortableDot;

impl Dot for PortableDot {
    type F = Portable;
    const LEVELS: i32 = 127;
    const ROWS8: usize = 1;
    const ROWS16: usize = 1;

    #[inline(always)]
    fn floats(self) -> Portable {
        Portable
    }

    #[inline(always)]
    unsafe fn convert(self, from: *const i32) -> <Portable as Simd>::V {
        // SAFETY: as many values as the vector has lanes can be read, by the caller's promise.
        let values = unsafe { from.cast::<[i32; Portable::LANES]>().read_unaligned() };
        values.map(|value| value as f32)
    }

    #[inline(always)]
    unsafe fn dot8(self, rows: usize, x: Rows8, panel: *const i8, sums: *mut i32) {
        // SAFETY: all by the caller's promise.
        unsafe { dot8(rows, x, panel, sums) };
    }

    #[inline(always)]
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32) {
        for row in 0..rows {
            // SAFETY: all by the caller's promise.
            unsafe {
                let sums = sums.add(row * PANEL16);
                std::slice::from_raw_parts_mut(sums, PANEL16).fill(0);
                pairs_of_row::<PANEL16>(x.pairs, x.values.add(row * x.stride), panel, sums);
            }
        }
    }

    #[inline(always)]
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8) {
        // SAFETY: all by the caller's promise.
        unsafe { quantize8::<{ Self::LEVELS }>(count, x, inverse, zero, to) };
    }

    #[inline(always)]
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16) {
        // SAFETY: all by the caller's promise.
        unsafe { quantize16(count, x, inverse, to) };
    }
}

/// [`Dot::dot8`], for any levels.
///
/// # Safety
/// As there, for any number of rows.
#[inline(always)]
pub(super) unsafe fn dot8(rows: usize, x: Rows8, panel: *const i8, sums: *mut i32) {
    for row in 0..rows {
        // SAFETY: rows, factors and sums exist by the caller's promise.
        let (values, factors, sums) = unsafe {
            let values = std::slice::from_raw_parts(x.values.add(row * x.stride), x.groups * GROUP);
            let blocks = x.groups.div_ceil(x.block);
            let factors = std::slice::from_raw_parts(x.factors.add(row * x.factor_stride), blocks);
            let sums = sums.add(row * PANEL8);
            if x.pairs > 0 {
                std::slice::from_raw_parts_mut(sums, PANEL8).fill(0);
                let offsets = x.offsets.add(row * x.offset_stride);
                pairs_of_row::<PANEL8>(x.pairs, offsets, x.block_sums, sums);
            }
            let sums = std::slice::from_raw_parts_mut(sums, PANEL8);
            (values, factors, sums)
        };
        for (block, (values, factor)) in values.chunks(x.block * GROUP).zip(factors).enumerate() {
            let mut block_sums = [0i32; PANEL8];
            for (at, four) in values.chunks_exact(4).enumerate() {
                let start = (block * x.block * GROUP + 4 * at) * PANEL8;
                // SAFETY: the panel has four values for each column and each four of the row.
                let weights = unsafe { std::slice::from_raw_parts(panel.add(start), 4 * PANEL8) };
                for (sum, weights) in block_sums.iter_mut().zip(weights.chunks_exact(4)) {
                    for (&value, &weight) in four.iter().zip(weights) {
                        *sum += i32::from(value) * i32::from(weight);
                    }
                }
            }
            for (sum, block_sum) in sums.iter_mut().zip(block_sums) {
                // The factor is in the lower half, and again in the upper.
                *sum = sum.wrapping_add(block_sum.wrapping_mul(factor & 0xFFFF));
            }
        }
    }
}

/// Adds the products of a row with `COLUMNS` columns, in pairs of K.
///
/// # Safety
/// `2·pairs` values of the row, `2·COLUMNS·pairs` weights and `COLUMNS` sums can be accessed.
#[inline(always)]
pub(super) unsafe fn pairs_of_row<const COLUMNS: usize>(
    pairs: usize,
    row: *const i16,
    weights: *const i16,
    sums: *mut i32,
) {
    // SAFETY: by the caller's promise.
    let sums = unsafe { &mut *sums.cast::<[i32; COLUMNS]>() };
    for pair in 0..pairs {
        // SAFETY: `pair < pairs`.
        let (a, b, weights) = unsafe {
            // Weights may lie anywhere, in a map for one.
            let start = weights
                .add(2 * COLUMNS * pair)
                .cast::<[[i16; 2]; COLUMNS]>();
            (
                i32::from(*row.add(2 * pair)),
                i32::from(*row.add(2 * pair + 1)),
                start.read_unaligned(),
            )
        };
        for (sum, weights) in sums.iter_mut().zip(weights) {
            let products = a
                .wrapping_mul(i32::from(weights[0]))
                .wrapping_add(b.wrapping_mul(i32::from(weights[1])));
            *sum = sum.wrapping_add(products);
        }
    }
}

/// [`Dot::quantize8`], for any levels.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn quantize8<const LEVELS: i32>(
    count: usize,
    x: *const f32,
    inverse: f32,
    zero: i32,
    to: *mut u8,
) {
    for k in 0..count {
        // SAFETY: `k < count`.
        unsafe {
            // `as` saturates, and takes NaN to 0.
            let level = (*x.add(k) * inverse).round_ties_even() as i32;
            *to.add(k) = level.saturating_add(zero).clamp(0, LEVELS) as u8;
        }
    }
}

/// [`Dot::quantize16`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn quantize16(count: usize, x: *const f32, inverse: f32, to: *mut i16) {
    for k in 0..count {
        // SAFETY: `k < count`.
        unsafe { *to.add(k) = (*x.add(k) * inverse).round_ties_even() as i16 };
    }
}
