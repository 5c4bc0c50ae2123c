//! One vector vocabulary for all instruction sets.
//!
//! Operators are written once, generically over [`Simd`], as an [`Operation`] whose `run` is
//! `#[inline(always)]` down to the intrinsics. [`dispatch`] calls it inside a function compiled for
//! the chosen instruction set, so that everything inlined there becomes that set's instructions.
//! A function which is *not* inlined would fall back to calls through memory, two orders of magnitude
//! slower: hence `#[inline(always)]` on every generic function, and no closures in hot loops.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod integer;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod twice;

use crate::isa::Isa;
pub(crate) use twice::Twice;

/// The operations on vectors of f32 which the operators are made of.
///
/// A value of an implementing type is a proof that the machine has these instructions (it is only
/// made in [`dispatch`]), which is why arithmetic is safe and only access through pointers is not.
///
/// `min` and `max` return their *second* argument where either is NaN; so with a constant first,
/// `min(constant, x)` keeps a NaN in `x`, and bad weights show in the answer instead of hiding.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Lanes of one vector.
    const LANES: usize;
    /// Rows of the largest micro-kernel tile: as many as accumulators fit the register file, at two
    /// vectors a row. At most [`MAX_TILE_ROWS`].
    const TILE_ROWS: usize;
    /// Columns of a tile and of a panel of packed weights: two vectors.
    const PANEL: usize = 2 * Self::LANES;
    /// `LANES` values.
    type V: Copy;

    fn splat(self, value: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `value`·2ⁿ for whole numbers n, where value and result are normal numbers.
    fn times_exp2(self, value: Self::V, whole: Self::V) -> Self::V;
    /// The sum of all lanes, in an order which depends on the instruction set alone.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane; any value where a lane is NaN.
    fn largest(self, a: Self::V) -> f32;

    /// Asks the memory for the cache line at `from`, which need not exist: wrong addresses do nothing.
    #[inline(always)]
    fn prefetch(self, _from: *const f32) {}

    /// # Safety
    /// `LANES` values can be read from `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// # Safety
    /// `LANES` values can be written to `to`.
    unsafe fn store(self, to: *mut f32, value: Self::V);
    /// The first `count` values, zero in the other lanes.
    ///
    /// # Safety
    /// `count <= LANES` values can be read from `from`.
    unsafe fn load_some(self, from: *const f32, count: usize) -> Self::V;
    /// The first `count` lanes.
    ///
    /// # Safety
    /// `count <= LANES` values can be written to `to`.
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Self::V);

    /// Transposes a block: `to[j·to_stride + i] = from[i·stride + j]` for i and j below `LANES`. Rows from
    /// `rows` (at least 1) on are read from the last one instead, so that a block may hang over the end.
    ///
    /// # Safety
    /// `LANES` values can be read of each of the first `rows` rows, and `LANES` values written at
    /// each of `LANES` strides.
    #[inline(always)]
    unsafe fn transpose(
        self,
        (from, stride): (*const f32, usize),
        rows: usize,
        (to, to_stride): (*mut f32, usize),
    ) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                // SAFETY: both by the caller's promise.
                unsafe {
                    *to.add(j * to_stride + i) = *from.add(i.min(rows - 1) * stride + j);
                }
            }
        }
    }

    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
}

/// An upper bound of [`Simd::TILE_ROWS`] over all instruction sets.
pub(crate) const MAX_TILE_ROWS: usize = 12;

/// An upper bound of [`Simd::PANEL`] over all instruction sets.
pub(crate) const MAX_PANEL: usize = 32;

/// Work written once for all instruction sets.
pub(crate) trait Operation {
    type Output;

    /// Must be `#[inline(always)]`, as everything generic that it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs an operation with the instructions of `isa`, or portably where the machine lacks them.
#[inline]
pub(crate) fn dispatch<O: Operation>(isa: Isa, operation: O) -> O::Output {
    match isa {
        // SAFETY: the guard asked the machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if isa.is_available() => unsafe { avx2::run(operation) },
        // SAFETY: the guard asked the machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if isa.is_available() => unsafe { avx512::run(operation) },
        // SAFETY: the guard asked the machine.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon if isa.is_available() => unsafe { neon::run(operation) },
        _ => operation.run(portable::Portable),
    }
}

/// Replaces every value by a function of it.
pub(crate) trait Map: Copy {
    /// Must be `#[inline(always)]`.
    fn apply<S: Simd>(self, simd: S, value: S::V) -> S::V;
}

/// Applies `map` to all values. A value's result does not depend on where it stands: the last,
/// partial vector goes through the same instructions.
#[inline(always)]
pub(crate) fn map_in_place<S: Simd, M: Map>(simd: S, values: &mut [f32], map: M) {
    let pairs = Twice(simd);
    let start = values.as_mut_ptr();
    let whole = values.len() - values.len() % (2 * S::LANES);
    let mut at = 0;
    while at < whole {
        // SAFETY: `at + 2·LANES <= whole <= values.len()`.
        unsafe { pairs.store(start.add(at), map.apply(pairs, pairs.load(start.add(at)))) };
        at += 2 * S::LANES;
    }
    let rest = values.len() - whole;
    if rest > 0 {
        // SAFETY: `rest < 2·LANES` values are left after `whole`.
        unsafe {
            let value = map.apply(pairs, pairs.load_some(start.add(whole), rest));
            pairs.store_some(start.add(whole), rest, value);
        }
    }
}

#[cfg(test)]
mod tests;
