//! Vectors of twice the length: two of another instruction set's, side by side.
//!
//! Long chains such as the activations wait for the latency of each step. Two vectors at once, step by
//! step, fill the wait; a processor looking ahead over two chains one after the other runs out
//! of scheduler entries first.

use super::Simd;

/// Pairs of vectors of `S`.
#[derive(Copy, Clone)]
pub(crate) struct Twice<S>(pub(crate) S);

/// A lane-wise operation, done on both halves.
macro_rules! both {
    ($($name:ident($($argument:ident),*);)*) => { $(
        #[inline(always)]
        fn $name(self, $($argument: Self::V),*) -> Self::V {
            [self.0.$name($($argument[0]),*), self.0.$name($($argument[1]),*)]
        }
    )* };
}

impl<S: Simd> Simd for Twice<S> {
    const LANES: usize = 2 * S::LANES;
    const TILE_ROWS: usize = S::TILE_ROWS / 2;
    type V = [S::V; 2];

    both! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        fma(a, b, c);
        min(a, b);
        max(a, b);
        round(a);
        times_exp2(value, whole);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [self.0.splat(value); 2]
    }
    #[inline(always)]
    fn sum(self, a: Self::V) -> f32 {
        self.0.sum(self.0.add(a[0], a[1]))
    }
    #[inline(always)]
    fn largest(self, a: Self::V) -> f32 {
        self.0.largest(self.0.max(a[0], a[1]))
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: twice the lanes can be read, by the caller's promise.
        unsafe { [self.0.load(from), self.0.load(from.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::V) {
        // SAFETY: twice the lanes can be written, by the caller's promise.
        unsafe {
            self.0.store(to, value[0]);
            self.0.store(to.add(S::LANES), value[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_some(self, from: *const f32, count: usize) -> Self::V {
        let first = count.min(S::LANES);
        // SAFETY: `count` values can be read, by the caller's promise; the second half takes
        // those beyond the first, if any.
        unsafe {
            [
                self.0.load_some(from, first),
                self.0.load_some(from.wrapping_add(S::LANES), count - first),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store_some(self, to: *mut f32, count: usize, value: Self::V) {
        let first = count.min(S::LANES);
        // SAFETY: as in `load_some`.
        unsafe {
            self.0.store_some(to, first, value[0]);
            self.0
                .store_some(to.wrapping_add(S::LANES), count - first, value[1]);
        }
    }
}
