//! AVX2 with FMA: eight lanes, sixteen registers.

use std::arch::x86_64::*;

use super::{Operation, Simd};

/// Proof that the machine has AVX2 and FMA.
#[derive(Copy, Clone)]
pub(super) struct Avx2(());

impl Avx2 {
    /// A proof for others which have made sure.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Avx2 {
        Avx2(())
    }
}

/// Runs an operation compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has both.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Avx2(()))
}

/// Eight ones followed by eight zeroes: the mask of the first `n` lanes starts at `8 - n`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn first_lanes(_proof: Avx2, count: usize) -> __m256i {
    let start = 8 - count.min(8);
    // SAFETY: `start <= 8`, so eight values follow; the proof says that AVX2 is there.
    unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(start).cast()) }
}

// SAFETY of every block in this file: a value of `Avx2` is only made inside `run`, whose caller has
// made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Simd for Avx2 {
    const LANES: usize = 8;
    // 6 × 2 accumulators, two vectors of weights, one broadcast: 15 of 16 registers.
    const TILE_ROWS: usize = 6;
    type V = __m256;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn times_exp2(self, value: Self::V, whole: Self::V) -> Self::V {
        unsafe {
            let steps = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(whole));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), steps))
        }
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    unsafe fn load_some(self, from: *const f32, count: usize) -> Self::V {
        unsafe { _mm256_maskload_ps(from, first_lanes(self, count)) }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Self::V) {
        unsafe { _mm256_maskstore_ps(to, first_lanes(self, count), value) }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, stride): (*const f32, usize),
        rows: usize,
        (to, to_stride): (*mut f32, usize),
    ) {
        unsafe { transpose_8x8((from, stride), rows, (to, to_stride)) };
    }
}

/// [`Simd::transpose`] for blocks of 8 × 8: rows are interleaved in pairs, then in fours, then halves.
///
/// # Safety
/// As there, and AVX2 is available.
#[inline(always)]
pub(super) unsafe fn transpose_8x8(
    (from, stride): (*const f32, usize),
    rows: usize,
    (to, to_stride): (*mut f32, usize),
) {
    // SAFETY: rows are read up to the last that exists; the rest by the caller's promise.
    unsafe {
        let mut row = [_mm256_setzero_ps(); 8];
        for (i, row) in row.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i.min(rows - 1) * stride));
        }
        let mut pairs = row;
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
        }
        let mut fours = pairs;
        for half in [0, 4] {
            for i in [0, 1] {
                let (a, b) = (pairs[half + i], pairs[half + i + 2]);
                fours[half + 2 * i] = _mm256_shuffle_ps::<0x44>(a, b);
                fours[half + 2 * i + 1] = _mm256_shuffle_ps::<0xEE>(a, b);
            }
        }
        for j in 0..4 {
            let (a, b) = (fours[j], fours[j + 4]);
            _mm256_storeu_ps(to.add(j * to_stride), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(
                to.add((j + 4) * to_stride),
                _mm256_permute2f128_ps::<0x31>(a, b),
            );
        }
    }
}
