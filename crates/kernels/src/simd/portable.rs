//! Vectors for every machine: four plain floats, which compilers turn into 128-bit vectors.

use super::Simd;

/// No instructions beyond the compiler's target.
#[derive(Copy, Clone)]
pub(super) struct Portable;

/// Lanes, with an operation applied to each.
macro_rules! lanes {
    ($lane:ident => $value:expr) => {{
        let mut result = [0.0f32; 4];
        let mut $lane = 0;
        while $lane < 4 {
            result[$lane] = $value;
            $lane += 1;
        }
        result
    }};
}

impl Simd for Portable {
    const LANES: usize = 4;
    // 4 × 2 accumulators leave half of SSE2's 16 registers to the products: there is no fused
    // multiply-add, so each product needs one.
    const TILE_ROWS: usize = 4;
    type V = [f32; 4];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; 4]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => a[i] / b[i])
    }
    /// Rounded twice: `f32::mul_add` is a library call where the target has no such instruction.
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        lanes!(i => a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }
    /// By adding and taking away 1.5·2²³, where the spacing of floats is 1; so for |a| < 2²².
    #[inline(always)]
    fn round(self, a: Self::V) -> Self::V {
        const MAGIC: f32 = 12_582_912.0;
        lanes!(i => (a[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn times_exp2(self, value: Self::V, whole: Self::V) -> Self::V {
        lanes!(i => f32::from_bits(value[i].to_bits().wrapping_add((whole[i] as i32 as u32) << 23)))
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        a[0].max(a[2]).max(a[1].max(a[3]))
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: four values can be read, by the caller's promise.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        // SAFETY: four values can be written, by the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_some(self, from: *const f32, count: usize) -> Self::V {
        // SAFETY: `i < count` values can be read, by the caller's promise.
        lanes!(i => if i < count { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Self::V) {
        for (i, lane) in value.into_iter().enumerate().take(count) {
            // SAFETY: `i < count` values can be written, by the caller's promise.
            unsafe { *to.add(i) = lane };
        }
    }
}
