//! Products of integer vectors: what [`Simd`] is for f32, for rows and weights of 8 or 16 bits.
//!
//! Sums are exact, so an instruction set may take them in any order and in tiles of any height: the
//! bits of an integer product are the same on all, as long as rows have as many levels.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::ops::Range;

use super::Simd;
use crate::isa::Isa;

/// Columns of a panel of 8-bit weights.
pub(crate) const PANEL8: usize = 32;
/// Columns of a panel of 16-bit weights.
pub(crate) const PANEL16: usize = 16;
/// Values of K that one group of 8-bit products spans: what may be added up in 16 bits before the sum
/// is widened. Within it, columns have two lanes: values 0, 1, 4, 5, 8, 9, 12, 13, and the others.
pub(crate) const GROUP: usize = 16;
/// The bound on the positive weights of a lane, and on the negative ones: 127 · 258 fits 16 bits.
pub(crate) const LANE_BOUND: i32 = 258;
/// A few rows of 8-bit values, and what their blocks count.
#[derive(Copy, Clone)]
pub(crate) struct Rows8 {
    /// The rows' values, each a multiple of [`GROUP`] long.
    pub(crate) values: *const u8,
    /// Bytes from a row to the next.
    pub(crate) stride: usize,
    /// For each block of K the factor of its products, twice: in the lower and the upper 16 bits.
    pub(crate) factors: *const i32,
    /// Factors from a row to the next.
    pub(crate) factor_stride: usize,
    /// For each pair of blocks, what is taken off for the zero points: minus factor times zero point.
    pub(crate) offsets: *const i16,
    /// Offsets from a row to the next.
    pub(crate) offset_stride: usize,
    /// The columns' sums over the same blocks, `[pairs][PANEL8][2]`.
    pub(crate) block_sums: *const i16,
    /// Pairs of blocks if sums begin with Σ offset · block's sum, none if they go on.
    pub(crate) pairs: usize,
    /// Groups of a block.
    pub(crate) block: usize,
    /// Groups in all; the last block may be shorter.
    pub(crate) groups: usize,
    /// What the rows ask for.
    pub(crate) ahead: Ahead,
}

/// Weights to have in the cache for the next panel: each row asks for a share, one behind the other.
#[derive(Copy, Clone)]
pub(crate) struct Ahead {
    /// The first row's share. It may lie beyond what there is: asking is a hint.
    pub(crate) start: *const u8,
    /// Bytes of a share: whole lines, or none.
    pub(crate) share: usize,
}

impl Ahead {
    /// Bytes that come into the cache together.
    pub(crate) const LINE: usize = 64;

    /// Asks for the shares of some rows.
    #[inline(always)]
    pub(crate) fn ask<S: Simd>(self, s: S, rows: Range<usize>) {
        for at in (rows.start * self.share..rows.end * self.share).step_by(Ahead::LINE) {
            s.prefetch(self.start.wrapping_add(at).cast());
        }
    }
}

/// A few rows of 16-bit values.
#[derive(Copy, Clone)]
pub(crate) struct Rows16 {
    /// The rows' values.
    pub(crate) values: *const i16,
    /// Values from a row to the next.
    pub(crate) stride: usize,
    /// Pairs of values in a row.
    pub(crate) pairs: usize,
}

/// Integer products, and the ways between floats and integers.
pub(crate) trait Dot: Copy + Send + Sync {
    /// The floats of this instruction set.
    type F: Simd;

    /// The largest value of an 8-bit row: 127, where products of two are added up in 16 bits, or 255.
    const LEVELS: i32;
    /// Rows of the largest tile of 8-bit products, 1 to 8.
    const ROWS8: usize;
    /// Rows of the largest tile of 16-bit products, 1 to 8.
    const ROWS16: usize;

    fn floats(self) -> Self::F;

    /// As many values as a vector has lanes, from integers.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn convert(self, from: *const i32) -> <Self::F as Simd>::V;

    /// Adds to `sums[i][j]`, `[rows][PANEL8]`, the products of row i with column j: for each block of K its
    /// factor times Σ value·weight. Where there are pairs of offsets, the sums begin with Σ offset·block's
    /// sum instead of what is there. The panel is `[K / 4][PANEL8][4]`. No value exceeds [`Dot::LEVELS`], no
    /// lane of a group [`LANE_BOUND`]; sums wrap at 32 bits.
    ///
    /// # Safety
    /// `1 <= rows <= ROWS8`, and there is a group; all that is named can be read, the sums written.
    unsafe fn dot8(self, rows: usize, x: Rows8, panel: *const i8, sums: *mut i32);

    /// Puts into `sums`, `[rows][PANEL16]`, the products of the rows with the columns of a panel
    /// `[pairs][PANEL16][2]`. Sums wrap at 32 bits.
    ///
    /// # Safety
    /// `1 <= rows <= ROWS16`; the rows and the panel can be read, the sums written.
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32);

    /// `to[k] = clamp(round(x[k]·inverse) + zero, 0, LEVELS)`; ties to even; any value where x is NaN or infinite.
    ///
    /// # Safety
    /// `count` values can be read and written.
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8);

    /// `to[k] = round(x[k]·inverse)`, for |x·inverse| below 32767; any value where x is NaN or infinite.
    ///
    /// # Safety
    /// `count` values can be read and written.
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16);
}

/// Work written once for all instruction sets.
pub(crate) trait IntegerOperation {
    type Output;

    /// Must be `#[inline(always)]`, as everything generic that it calls.
    fn run<D: Dot>(self, dot: D) -> Self::Output;
}

/// Runs an operation with the best integer instructions that go with `isa` on this machine.
#[inline]
pub(crate) fn dispatch_integer<O: IntegerOperation>(isa: Isa, operation: O) -> O::Output {
    match isa {
        // SAFETY: the guards asked the machine.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 if isa.is_available() => unsafe {
            let bytes = isa == Isa::Avx512 && is_x86_feature_detected!("avx512bw");
            if bytes && is_x86_feature_detected!("avx512vnni") {
                vnni::run_512_vnni(operation)
            } else if is_x86_feature_detected!("avxvnni") {
                vnni::run(operation)
            } else if bytes {
                vnni::run_512(operation)
            } else {
                avx2::run(operation)
            }
        },
        // SAFETY: the guard asked the machine.
        #[cfg(target_arch = "aarch64")]
        Isa::Neon if isa.is_available() && std::arch::is_aarch64_feature_detected!("dotprod") => unsafe {
            neon::run(operation)
        },
        _ => operation.run(portable::PortableDot),
    }
}
