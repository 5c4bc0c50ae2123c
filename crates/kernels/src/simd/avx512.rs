//! AVX-512F: sixteen lanes, thirty-two registers.

use std::arch::x86_64::*;

use super::avx2::transpose_8x8;
use super::{Operation, Simd};

/// Proof that the machine has AVX-512F.
#[derive(Copy, Clone)]
pub(super) struct Avx512(());

/// Runs an operation compiled for AVX-512F.
///
/// # Safety
/// The machine has AVX-512F, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Avx512(()))
}

/// The mask of the first `count` lanes.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    ((1u32 << count.min(16)) - 1) as __mmask16
}

// SAFETY of every block in this file: a value of `Avx512` is only made inside `run`, whose caller
// has made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Simd for Avx512 {
    const LANES: usize = 16;
    // 12 × 2 accumulators and two vectors of weights; broadcasts are operands in memory.
    const TILE_ROWS: usize = 12;
    type V = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn times_exp2(self, value: Self::V, whole: Self::V) -> Self::V {
        unsafe {
            let steps = _mm512_slli_epi32::<23>(_mm512_cvtps_epi32(whole));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), steps))
        }
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn load_some(self, from: *const f32, count: usize) -> Self::V {
        unsafe { _mm512_maskz_loadu_ps(first_lanes(count), from) }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Self::V) {
        unsafe { _mm512_mask_storeu_ps(to, first_lanes(count), value) }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, stride): (*const f32, usize),
        rows: usize,
        (to, to_stride): (*mut f32, usize),
    ) {
        for i in [0, 8] {
            for j in [0, 8] {
                unsafe {
                    let last = rows - 1;
                    let from = from.add(i.min(last) * stride + j);
                    let rows = if last > i { rows - i } else { 1 };
                    let to = to.add(j * to_stride + i);
                    transpose_8x8((from, stride), rows, (to, to_stride));
                }
            }
        }
    }
}
