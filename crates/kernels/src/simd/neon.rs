//! NEON: vectors of eight lanes made of two 128-bit registers, out of thirty-two.
//!
//! Pairs make the tile 6 × 16, as on AVX2: 24 accumulators, four registers of weights and one
//! broadcast. That needs ten loads for 24 multiply-adds; an 8 × 8 tile would need ten for 16.

use std::arch::aarch64::*;

use super::{Operation, Simd};

/// Proof that the machine has NEON.
#[derive(Copy, Clone)]
pub(super) struct Neon(());

impl Neon {
    /// A proof for others which have made sure.
    ///
    /// # Safety
    /// The machine has NEON.
    #[inline(always)]
    pub(super) unsafe fn assume() -> Neon {
        Neon(())
    }

    /// Eight lanes from integers.
    ///
    /// # Safety
    /// They can be read.
    #[inline(always)]
    pub(super) unsafe fn convert(self, from: *const i32) -> Pair {
        // SAFETY: the caller's promise; the value is the proof that NEON is there.
        unsafe {
            Pair(
                vcvtq_f32_s32(vld1q_s32(from)),
                vcvtq_f32_s32(vld1q_s32(from.add(4))),
            )
        }
    }
}

/// Runs an operation compiled for NEON.
///
/// # Safety
/// The machine has NEON.
#[target_feature(enable = "neon")]
pub(super) unsafe fn run<O: Operation>(operation: O) -> O::Output {
    operation.run(Neon(()))
}

/// Eight lanes.
#[derive(Copy, Clone)]
pub(super) struct Pair(float32x4_t, float32x4_t);

// SAFETY of every block in this file: a value of `Neon` is only made inside `run`, whose caller
// has made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Simd for Neon {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    type V = Pair;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        unsafe { Pair(vdupq_n_f32(value), vdupq_n_f32(value)) }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        unsafe { Pair(vdivq_f32(a.0, b.0), vdivq_f32(a.1, b.1)) }
    }
    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        unsafe { Pair(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1)) }
    }
    // The machine's own minimum is NaN where either is; the trait promises the second argument.
    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        unsafe {
            Pair(
                vbslq_f32(vcltq_f32(a.0, b.0), a.0, b.0),
                vbslq_f32(vcltq_f32(a.1, b.1), a.1, b.1),
            )
        }
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        unsafe {
            Pair(
                vbslq_f32(vcgtq_f32(a.0, b.0), a.0, b.0),
                vbslq_f32(vcgtq_f32(a.1, b.1), a.1, b.1),
            )
        }
    }
    #[inline(always)]
    fn round(self, a: Pair) -> Pair {
        unsafe { Pair(vrndnq_f32(a.0), vrndnq_f32(a.1)) }
    }
    #[inline(always)]
    fn times_exp2(self, value: Pair, whole: Pair) -> Pair {
        unsafe {
            let low = vshlq_n_s32::<23>(vcvtq_s32_f32(whole.0));
            let high = vshlq_n_s32::<23>(vcvtq_s32_f32(whole.1));
            Pair(
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(value.0), low)),
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(value.1), high)),
            )
        }
    }
    #[inline(always)]
    fn sum(self, a: Pair) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(a.0, a.1)) }
    }
    #[inline(always)]
    fn largest(self, a: Pair) -> f32 {
        unsafe { vmaxvq_f32(vmaxq_f32(a.0, a.1)) }
    }
    #[inline(always)]
    fn prefetch(self, from: *const f32) {
        // The intrinsic is not stable yet.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) from, options(nostack, readonly, preserves_flags));
        }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Pair {
        unsafe { Pair(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Pair) {
        unsafe {
            vst1q_f32(to, value.0);
            vst1q_f32(to.add(4), value.1);
        }
    }
    // There are no masked loads: through eight values on the stack.
    #[inline(always)]
    unsafe fn load_some(self, from: *const f32, count: usize) -> Pair {
        let mut lanes = [0.0f32; 8];
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(8));
            self.load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Pair) {
        let mut lanes = [0.0f32; 8];
        unsafe {
            self.store(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(8));
        }
    }
}
