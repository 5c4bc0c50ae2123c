//! Integer products on processors with VNNI (x86-64 servers since 2019, laptops since 2021) and on AVX-512.
//!
//! `vpdpbusd` multiplies whole bytes and adds in 32 bits: rows have 255 levels. Compiled and type-checked
//! only: the machines that this was written on have neither.

use std::arch::x86_64::*;

use super::avx2::{convert8, quantize8_avx2, quantize16_avx2};
use super::{Dot, GROUP, IntegerOperation, PANEL8, PANEL16, Rows8, Rows16};
use crate::simd::avx2::Avx2;

/// Proof that the machine has AVX2, FMA and AVX-VNNI.
#[derive(Copy, Clone)]
pub(super) struct VnniDot(Avx2);

/// Proof that the machine has AVX2, FMA and AVX-512 F and BW, and VNNI for `VNNI`.
#[derive(Copy, Clone)]
pub(super) struct Avx512Dot<const VNNI: bool>(Avx2);

/// Runs an operation compiled for AVX-VNNI.
///
/// # Safety
/// The machine has AVX2, FMA and AVX-VNNI.
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) unsafe fn run<O: IntegerOperation>(operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    operation.run(VnniDot(unsafe { Avx2::assume() }))
}

/// Runs an operation compiled for AVX-512 with VNNI.
///
/// # Safety
/// The machine has AVX2, FMA, AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn run_512_vnni<O: IntegerOperation>(operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    operation.run(Avx512Dot::<true>(unsafe { Avx2::assume() }))
}

/// Runs an operation compiled for AVX-512 F and BW.
///
/// # Safety
/// The machine has AVX2, FMA, AVX-512 F and BW.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw")]
pub(super) unsafe fn run_512<O: IntegerOperation>(operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    operation.run(Avx512Dot::<false>(unsafe { Avx2::assume() }))
}

/// Calls a function with the number of rows as a constant.
macro_rules! with_rows {
    ($rows:expr, [$($count:literal)*], $function:ident, $arguments:tt) => {
        match $rows {
            $($count => $function::<$count> $arguments,)*
            _ => {}
        }
    };
    ($rows:expr, [$($count:literal)*], $function:ident::<$vnni:ident>, $arguments:tt) => {
        match $rows {
            $($count => $function::<$count, $vnni> $arguments,)*
            _ => {}
        }
    };
}

// SAFETY of every block in the implementations: values of these types are only made inside `run` and its
// like, whose callers have made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Dot for VnniDot {
    type F = Avx2;
    const LEVELS: i32 = 255;
    // 2 × 4 chains hide most of the latency of five cycles on one or two units.
    const ROWS8: usize = 2;
    const ROWS16: usize = 4;

    #[inline(always)]
    fn floats(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    unsafe fn convert(self, from: *const i32) -> __m256 {
        unsafe { convert8(from) }
    }
    #[inline(always)]
    unsafe fn dot8(self, rows: usize, x: Rows8, panel: *const i8, sums: *mut i32) {
        x.ahead.ask(self.floats(), 0..rows);
        unsafe { with_rows!(rows, [1 2], dot8_256, (x, panel, sums)) }
    }
    #[inline(always)]
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32) {
        unsafe { with_rows!(rows, [1 2 3 4], dot16_256, (x, panel, sums)) }
    }
    #[inline(always)]
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8) {
        unsafe { quantize8_avx2::<255>(count, x, inverse, zero, to) }
    }
    #[inline(always)]
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16) {
        unsafe { quantize16_avx2(count, x, inverse, to) }
    }
}

// SAFETY: as above.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl<const VNNI: bool> Dot for Avx512Dot<VNNI> {
    type F = Avx2;
    const LEVELS: i32 = if VNNI { 255 } else { 127 };
    // 8 × 2 sums of the 32 registers with VNNI; without, 4 × 2 and as many sums of 16 bits.
    const ROWS8: usize = if VNNI { 8 } else { 4 };
    const ROWS16: usize = 8;

    #[inline(always)]
    fn floats(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    unsafe fn convert(self, from: *const i32) -> __m256 {
        unsafe { convert8(from) }
    }
    #[inline(always)]
    unsafe fn dot8(self, rows: usize, x: Rows8, panel: *const i8, sums: *mut i32) {
        x.ahead.ask(self.floats(), 0..rows);
        unsafe {
            if VNNI {
                with_rows!(rows, [1 2 3 4 5 6 7 8], dot8_512_vnni, (x, panel, sums));
            } else {
                with_rows!(rows, [1 2 3 4], dot8_512, (x, panel, sums));
            }
        }
    }
    #[inline(always)]
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32) {
        unsafe {
            with_rows!(rows, [1 2 3 4 5 6 7 8], dot16_512::<VNNI>, (x, panel, sums));
        }
    }
    #[inline(always)]
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8) {
        unsafe {
            if VNNI {
                quantize8_avx2::<255>(count, x, inverse, zero, to);
            } else {
                quantize8_avx2::<127>(count, x, inverse, zero, to);
            }
        }
    }
    #[inline(always)]
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16) {
        unsafe { quantize16_avx2(count, x, inverse, to) }
    }
}

/// Four bytes, or two values of 16 bits, for all lanes.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn four<T>(from: *const T) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<i32>().read_unaligned() }
}

/// [`Dot::dot8`] with AVX-VNNI.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot8_256<const ROWS: usize>(x: Rows8, panel: *const i8, sums: *mut i32) {
    const VECTORS: usize = PANEL8 / 8;
    // SAFETY: all by the caller's promise.
    unsafe {
        for row in 0..ROWS {
            let sums = sums.add(row * PANEL8).cast::<__m256i>();
            for j in 0..VECTORS {
                let mut sum = _mm256_setzero_si256();
                if x.pairs == 0 {
                    sum = _mm256_loadu_si256(sums.add(j));
                }
                for pair in 0..x.pairs {
                    let offset = four(x.offsets.add(row * x.offset_stride + 2 * pair));
                    let blocks = x.block_sums.cast::<__m256i>().add(pair * VECTORS + j);
                    let blocks = _mm256_loadu_si256(blocks);
                    let both = _mm256_madd_epi16(_mm256_set1_epi32(offset), blocks);
                    sum = _mm256_add_epi32(sum, both);
                }
                _mm256_storeu_si256(sums.add(j), sum);
            }
        }
        let mut group = 0;
        while group < x.groups {
            let end = x.groups.min(group + x.block);
            let mut total = [[_mm256_setzero_si256(); VECTORS]; ROWS];
            for at in group * GROUP / 4..end * GROUP / 4 {
                let weights = panel.cast::<__m256i>().add(at * VECTORS);
                for (row, total) in total.iter_mut().enumerate() {
                    let value = _mm256_set1_epi32(four(x.values.add(row * x.stride + 4 * at)));
                    for (j, total) in total.iter_mut().enumerate() {
                        let weight = _mm256_loadu_si256(weights.add(j));
                        *total = _mm256_dpbusd_avx_epi32(*total, value, weight);
                    }
                }
            }
            for (row, total) in total.into_iter().enumerate() {
                let factor = *x.factors.add(row * x.factor_stride + group / x.block) & 0xFFFF;
                let sums = sums.add(row * PANEL8).cast::<__m256i>();
                for (j, total) in total.into_iter().enumerate() {
                    let sum = _mm256_mullo_epi32(total, _mm256_set1_epi32(factor));
                    let sum = _mm256_add_epi32(_mm256_loadu_si256(sums.add(j)), sum);
                    _mm256_storeu_si256(sums.add(j), sum);
                }
            }
            group = end;
        }
    }
}

/// [`Dot::dot16`] with AVX-VNNI.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot16_256<const ROWS: usize>(x: Rows16, panel: *const i16, sums: *mut i32) {
    // SAFETY: all by the caller's promise.
    unsafe {
        let mut total = [[_mm256_setzero_si256(); 2]; ROWS];
        for pair in 0..x.pairs {
            let weights = panel.add(2 * PANEL16 * pair).cast::<__m256i>();
            let (left, right) = (
                _mm256_loadu_si256(weights),
                _mm256_loadu_si256(weights.add(1)),
            );
            for (row, total) in total.iter_mut().enumerate() {
                let value = _mm256_set1_epi32(four(x.values.add(row * x.stride + 2 * pair)));
                total[0] = _mm256_dpwssd_avx_epi32(total[0], value, left);
                total[1] = _mm256_dpwssd_avx_epi32(total[1], value, right);
            }
        }
        for (row, total) in total.into_iter().enumerate() {
            let sums = sums.add(row * PANEL16).cast::<__m256i>();
            _mm256_storeu_si256(sums, total[0]);
            _mm256_storeu_si256(sums.add(1), total[1]);
        }
    }
}

/// Vectors of a panel of 8 bits on AVX-512.
const VECTORS_512: usize = PANEL8 / 16;

/// What the sums of a row begin with.
///
/// # Safety
/// As for [`Dot::dot8`].
#[inline(always)]
unsafe fn start_512(x: Rows8, row: usize, sums: *const i32) -> [__m512i; VECTORS_512] {
    // SAFETY: all by the caller's promise.
    unsafe {
        let mut start = [_mm512_setzero_si512(); VECTORS_512];
        if x.pairs == 0 {
            let sums = sums.add(row * PANEL8);
            for (j, start) in start.iter_mut().enumerate() {
                *start = _mm512_loadu_si512(sums.add(16 * j).cast());
            }
        }
        for pair in 0..x.pairs {
            let offset = four(x.offsets.add(row * x.offset_stride + 2 * pair));
            let blocks = x.block_sums.add(2 * PANEL8 * pair);
            for (j, start) in start.iter_mut().enumerate() {
                let blocks = _mm512_loadu_si512(blocks.add(32 * j).cast());
                let both = _mm512_madd_epi16(_mm512_set1_epi32(offset), blocks);
                *start = _mm512_add_epi32(*start, both);
            }
        }
        start
    }
}

/// [`Dot::dot8`] with AVX-512 VNNI.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot8_512_vnni<const ROWS: usize>(x: Rows8, panel: *const i8, sums: *mut i32) {
    // SAFETY: all by the caller's promise.
    unsafe {
        for row in 0..ROWS {
            for (j, start) in start_512(x, row, sums).into_iter().enumerate() {
                _mm512_storeu_si512(sums.add(row * PANEL8 + 16 * j).cast(), start);
            }
        }
        let mut group = 0;
        while group < x.groups {
            let end = x.groups.min(group + x.block);
            let mut total = [[_mm512_setzero_si512(); VECTORS_512]; ROWS];
            for at in group * GROUP / 4..end * GROUP / 4 {
                let weights = panel.add(4 * PANEL8 * at);
                let left = _mm512_loadu_si512(weights.cast());
                let right = _mm512_loadu_si512(weights.add(64).cast());
                for (row, total) in total.iter_mut().enumerate() {
                    let value = _mm512_set1_epi32(four(x.values.add(row * x.stride + 4 * at)));
                    total[0] = _mm512_dpbusd_epi32(total[0], value, left);
                    total[1] = _mm512_dpbusd_epi32(total[1], value, right);
                }
            }
            for (row, total) in total.into_iter().enumerate() {
                let factor = *x.factors.add(row * x.factor_stride + group / x.block) & 0xFFFF;
                for (j, total) in total.into_iter().enumerate() {
                    let to = sums.add(row * PANEL8 + 16 * j);
                    let sum = _mm512_mullo_epi32(total, _mm512_set1_epi32(factor));
                    let sum = _mm512_add_epi32(_mm512_loadu_si512(to.cast()), sum);
                    _mm512_storeu_si512(to.cast(), sum);
                }
            }
            group = end;
        }
    }
}

/// [`Dot::dot8`] with AVX-512 BW: as on AVX2, with the same bounds.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot8_512<const ROWS: usize>(x: Rows8, panel: *const i8, sums: *mut i32) {
    // SAFETY: all by the caller's promise.
    unsafe {
        let mut total = [[_mm512_setzero_si512(); VECTORS_512]; ROWS];
        for (row, total) in total.iter_mut().enumerate() {
            *total = start_512(x, row, sums);
        }
        for group in 0..x.groups {
            let mut lanes = [[_mm512_setzero_si512(); VECTORS_512]; ROWS];
            for at in group * GROUP / 4..(group + 1) * GROUP / 4 {
                let weights = panel.add(4 * PANEL8 * at);
                let left = _mm512_loadu_si512(weights.cast());
                let right = _mm512_loadu_si512(weights.add(64).cast());
                for (row, lanes) in lanes.iter_mut().enumerate() {
                    let value = _mm512_set1_epi32(four(x.values.add(row * x.stride + 4 * at)));
                    let products = _mm512_maddubs_epi16(value, left);
                    lanes[0] = _mm512_add_epi16(lanes[0], products);
                    let products = _mm512_maddubs_epi16(value, right);
                    lanes[1] = _mm512_add_epi16(lanes[1], products);
                }
            }
            for (row, (total, lanes)) in total.iter_mut().zip(lanes).enumerate() {
                let factor = *x.factors.add(row * x.factor_stride + group / x.block);
                let factor = _mm512_set1_epi32(factor);
                for (total, lane) in total.iter_mut().zip(lanes) {
                    *total = _mm512_add_epi32(*total, _mm512_madd_epi16(lane, factor));
                }
            }
        }
        for (row, total) in total.into_iter().enumerate() {
            for (j, total) in total.into_iter().enumerate() {
                _mm512_storeu_si512(sums.add(row * PANEL8 + 16 * j).cast(), total);
            }
        }
    }
}

/// [`Dot::dot16`] with AVX-512.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn dot16_512<const ROWS: usize, const VNNI: bool>(
    x: Rows16,
    panel: *const i16,
    sums: *mut i32,
) {
    // SAFETY: all by the caller's promise.
    unsafe {
        let mut total = [_mm512_setzero_si512(); ROWS];
        for pair in 0..x.pairs {
            let weights = _mm512_loadu_si512(panel.add(2 * PANEL16 * pair).cast());
            for (row, total) in total.iter_mut().enumerate() {
                let value = _mm512_set1_epi32(four(x.values.add(row * x.stride + 2 * pair)));
                *total = if VNNI {
                    _mm512_dpwssd_epi32(*total, value, weights)
                } else {
                    _mm512_add_epi32(*total, _mm512_madd_epi16(value, weights))
                };
            }
        }
        for (row, total) in total.into_iter().enumerate() {
            _mm512_storeu_si512(sums.add(row * PANEL16).cast(), total);
        }
    }
}
