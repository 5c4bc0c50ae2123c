//! Integer products on NEON with the dot-product instructions (ARMv8.2, all servers since 2018).
//!
//! `sdot` multiplies signed bytes, so rows have 127 levels, as on AVX2. Tested by emulation.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Dot, GROUP, IntegerOperation, PANEL8, PANEL16, Rows8, Rows16, portable};
use crate::simd::neon::Neon;

/// Proof that the machine has NEON with dot products.
#[derive(Copy, Clone)]
pub(super) struct NeonDot(Neon);

/// Runs an operation compiled for NEON with dot products.
///
/// # Safety
/// The machine has both.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn run<O: IntegerOperation>(operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    operation.run(NeonDot(unsafe { Neon::assume() }))
}

// SAFETY of every block in this file: a value of `NeonDot` is only made inside `run`, whose caller has
// made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Dot for NeonDot {
    type F = Neon;
    const LEVELS: i32 = 127;
    // 2 × 8 sums, eight vectors of weights, two of values: 26 of 32 registers.
    const ROWS8: usize = 2;
    // 2 × 8 sums of half a column each.
    const ROWS16: usize = 2;

    #[inline(always)]
    fn floats(self) -> Neon {
        self.0
    }
    #[inline(always)]
    unsafe fn convert(self, from: *const i32) -> <Neon as crate::simd::Simd>::V {
        unsafe { self.0.convert(from) }
    }
    #[inline(always)]
    unsafe fn dot8(self, rows: usize, x: Rows8, panel: *const i8, sums: *mut i32) {
        x.ahead.ask(self.floats(), 0..rows);
        unsafe {
            if rows == 1 {
                dot8::<1>(x, panel, sums);
            } else {
                dot8::<2>(x, panel, sums);
            }
        }
    }
    #[inline(always)]
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32) {
        unsafe {
            if rows == 1 {
                dot16::<1>(x, panel, sums);
            } else {
                dot16::<2>(x, panel, sums);
            }
        }
    }
    // In plain loops, which the compiler turns into NEON's.
    #[inline(always)]
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8) {
        unsafe { portable::quantize8::<{ Self::LEVELS }>(count, x, inverse, zero, to) };
    }
    #[inline(always)]
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16) {
        unsafe { portable::quantize16(count, x, inverse, to) };
    }
}

/// Adds to four sums the products of four values each with four weights.
///
/// # Safety
/// The machine has dot products. (Their intrinsics are not stable yet.)
#[inline(always)]
unsafe fn sdot(mut sums: int32x4_t, values: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise; registers only.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {values:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            values = in(vreg) values,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// [`Dot::dot8`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot8<const ROWS: usize>(x: Rows8, panel: *const i8, sums: *mut i32) {
    const VECTORS: usize = PANEL8 / 4;
    // SAFETY: all by the caller's promise.
    unsafe {
        if x.pairs > 0 {
            for row in 0..ROWS {
                let sums = sums.add(row * PANEL8);
                sums.write_bytes(0, PANEL8);
                let offsets = x.offsets.add(row * x.offset_stride);
                portable::pairs_of_row::<PANEL8>(x.pairs, offsets, x.block_sums, sums);
            }
        }
        let mut group = 0;
        while group < x.groups {
            let end = x.groups.min(group + x.block);
            let mut total = [[vdupq_n_s32(0); VECTORS]; ROWS];
            for at in group * GROUP / 4..end * GROUP / 4 {
                let weights = panel.add(4 * PANEL8 * at);
                for (row, total) in total.iter_mut().enumerate() {
                    let four = x.values.add(row * x.stride + 4 * at).cast::<i32>();
                    let values = vreinterpretq_s8_s32(vdupq_n_s32(four.read_unaligned()));
                    for (j, total) in total.iter_mut().enumerate() {
                        *total = sdot(*total, values, vld1q_s8(weights.add(16 * j)));
                    }
                }
            }
            for (row, total) in total.into_iter().enumerate() {
                let factor = *x.factors.add(row * x.factor_stride + group / x.block) & 0xFFFF;
                for (j, total) in total.into_iter().enumerate() {
                    let to = sums.add(row * PANEL8 + 4 * j);
                    vst1q_s32(to, vmlaq_n_s32(vld1q_s32(to), total, factor));
                }
            }
            group = end;
        }
    }
}

/// [`Dot::dot16`].
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot16<const ROWS: usize>(x: Rows16, panel: *const i16, sums: *mut i32) {
    const VECTORS: usize = PANEL16 / 4;
    // SAFETY: all by the caller's promise.
    unsafe {
        // The two values of a pair apart: two columns in each vector.
        let mut total = [[[vdupq_n_s32(0); 2]; VECTORS]; ROWS];
        for pair in 0..x.pairs {
            let weights = panel.add(2 * PANEL16 * pair);
            for (row, total) in total.iter_mut().enumerate() {
                let two = x.values.add(row * x.stride + 2 * pair).cast::<i32>();
                let values = vreinterpretq_s16_s32(vdupq_n_s32(two.read_unaligned()));
                for (j, [low, high]) in total.iter_mut().enumerate() {
                    let weights = vld1q_s16(weights.add(8 * j));
                    *low = vmlal_s16(*low, vget_low_s16(values), vget_low_s16(weights));
                    *high = vmlal_high_s16(*high, values, weights);
                }
            }
        }
        for (row, total) in total.into_iter().enumerate() {
            for (j, [low, high]) in total.into_iter().enumerate() {
                vst1q_s32(sums.add(row * PANEL16 + 4 * j), vpaddq_s32(low, high));
            }
        }
    }
}
