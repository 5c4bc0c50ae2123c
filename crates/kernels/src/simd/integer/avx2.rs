//! Integer products on AVX2: 8-bit values have 7 bits, so that nothing saturates.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Dot, IntegerOperation, PANEL8, PANEL16, Rows8, Rows16, portable};
use crate::simd::avx2::Avx2;

/// Proof that the machine has AVX2 and FMA.
#[derive(Copy, Clone)]
pub(super) struct Avx2Dot(Avx2);

/// Runs an operation compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has both.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<O: IntegerOperation>(operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    operation.run(Avx2Dot(unsafe { Avx2::assume() }))
}

// SAFETY of every block in this file: a value of `Avx2Dot` is only made inside `run`, whose caller has
// made sure of the instructions; pointers are good by the trait's own conditions.
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all, above"
)]
impl Dot for Avx2Dot {
    type F = Avx2;
    const LEVELS: i32 = 127;
    // One row at a time against 32 columns: four sums, four products in 16 bits, and weights straight from
    // the first-level cache. Micro-kernels alone on Zen 3, K = 384, where multipliers could do 331 Gop/s:
    // this one 293; 2 × 2 vectors 275, 3 × 2 271, 6 × 1 250. Adding two products of `vpmaddubsw` instead of
    // four: 241 (4 × 2). Eight instead of four gained 6 % at 2 × 2, but halve the bound of a lane's weights.
    // The rows follow each other in one call.
    const ROWS8: usize = 8;
    // 4 × 2 sums, two vectors of weights, six for products on their way: 169 Gop/s. With 6 × 2, there is
    // room for but two of those and additions take the multipliers' turns: 164.
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
        for row in 0..rows {
            unsafe {
                let factors = x.factors.add(row * x.factor_stride);
                let offsets = x.offsets.wrapping_add(row * x.offset_stride);
                let values = x.values.add(row * x.stride);
                x.ahead.ask(self.0, row..row + 1);
                row8(x, (values, factors, offsets), panel, sums.add(row * PANEL8));
            }
        }
    }

    #[inline(always)]
    unsafe fn dot16(self, rows: usize, x: Rows16, panel: *const i16, sums: *mut i32) {
        unsafe {
            match rows {
                1 => rows16::<1>(x, panel, sums),
                2 => rows16::<2>(x, panel, sums),
                3 => rows16::<3>(x, panel, sums),
                _ => four_rows16(x, panel, sums),
            }
        }
    }

    #[inline(always)]
    unsafe fn quantize8(self, count: usize, x: *const f32, inverse: f32, zero: i32, to: *mut u8) {
        unsafe { quantize8_avx2::<{ Self::LEVELS }>(count, x, inverse, zero, to) };
    }

    #[inline(always)]
    unsafe fn quantize16(self, count: usize, x: *const f32, inverse: f32, to: *mut i16) {
        unsafe { quantize16_avx2(count, x, inverse, to) };
    }
}

/// [`Dot::convert`] for eight lanes.
///
/// # Safety
/// As there, and the machine has AVX2; so for the next two.
#[inline(always)]
pub(super) unsafe fn convert8(from: *const i32) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_loadu_si256(from.cast())) }
}

/// [`Dot::quantize8`] for any levels.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn quantize8_avx2<const LEVELS: i32>(
    count: usize,
    x: *const f32,
    inverse: f32,
    zero: i32,
    to: *mut u8,
) {
    const STEP: usize = 32;
    let whole = count - count % STEP;
    // SAFETY: the caller's promise.
    unsafe {
        let (scale, offset) = (_mm256_set1_ps(inverse), _mm256_set1_epi32(zero));
        let most = _mm256_set1_epi8(LEVELS as i8);
        // Packing works within halves: this brings the eight fours back into their order.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let mut k = 0;
        while k < whole {
            let mut eights = [_mm256_setzero_si256(); 4];
            for (i, eight) in eights.iter_mut().enumerate() {
                let values = _mm256_mul_ps(_mm256_loadu_ps(x.add(k + 8 * i)), scale);
                *eight = _mm256_add_epi32(_mm256_cvtps_epi32(values), offset);
            }
            let low = _mm256_packs_epi32(eights[0], eights[1]);
            let high = _mm256_packs_epi32(eights[2], eights[3]);
            let bytes = _mm256_min_epu8(_mm256_packus_epi16(low, high), most);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm256_storeu_si256(to.add(k).cast(), bytes);
            k += STEP;
        }
        let (x, to) = (x.add(whole), to.add(whole));
        portable::quantize8::<LEVELS>(count - whole, x, inverse, zero, to);
    }
}

/// [`Dot::quantize16`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn quantize16_avx2(count: usize, x: *const f32, inverse: f32, to: *mut i16) {
    const STEP: usize = 16;
    let whole = count - count % STEP;
    // SAFETY: the caller's promise.
    unsafe {
        let scale = _mm256_set1_ps(inverse);
        let mut k = 0;
        while k < whole {
            let low = _mm256_mul_ps(_mm256_loadu_ps(x.add(k)), scale);
            let high = _mm256_mul_ps(_mm256_loadu_ps(x.add(k + 8)), scale);
            let both = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
            let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(both);
            _mm256_storeu_si256(to.add(k).cast(), both);
            k += STEP;
        }
        portable::quantize16(count - whole, x.add(whole), inverse, to.add(whole));
    }
}

/// One row of [`Dot::dot8`], by hand, with additions some instructions after their products. Alone, the
/// compiler's order does 286 Gop/s and this one 293 (of some hundred random ones: 284 to 294); but what the
/// compiler makes of it changes with the code around.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn row8(
    x: Rows8,
    (values, factors, offsets): (*const u8, *const i32, *const i16),
    panel: *const i8,
    sums: *mut i32,
) {
    // SAFETY: all by the caller's promise; the loops read what the row's groups and pairs have.
    unsafe {
        asm!(
            "test {pairs}, {pairs}",
            "jz 3f",
            // Sums begin with the offsets.
            "vpxor xmm0, xmm0, xmm0",
            "vpxor xmm1, xmm1, xmm1",
            "vpxor xmm2, xmm2, xmm2",
            "vpxor xmm3, xmm3, xmm3",
            "2:",
            "vpbroadcastd ymm4, [{offsets}]",
            "vpmaddwd ymm5, ymm4, [{block_sums}]",
            "vpmaddwd ymm6, ymm4, [{block_sums} + 32]",
            "vpmaddwd ymm7, ymm4, [{block_sums} + 64]",
            "vpmaddwd ymm8, ymm4, [{block_sums} + 96]",
            "vpaddd ymm0, ymm0, ymm5",
            "vpaddd ymm1, ymm1, ymm6",
            "vpaddd ymm2, ymm2, ymm7",
            "vpaddd ymm3, ymm3, ymm8",
            "add {offsets}, 4",
            "add {block_sums}, 128",
            "dec {pairs}",
            "jnz 2b",
            "jmp 4f",
            // Or with what they were.
            "3:",
            "vmovdqu ymm0, [{sums}]",
            "vmovdqu ymm1, [{sums} + 32]",
            "vmovdqu ymm2, [{sums} + 64]",
            "vmovdqu ymm3, [{sums} + 96]",
            "4:",
            "vpbroadcastd ymm4, [{factors}]",
            "add {factors}, 4",
            "mov {count}, {block}",
            "cmp {groups}, {block}",
            "cmovb {count}, {groups}",
            "sub {groups}, {count}",
            // One group: four products of two added up in 16 bits, which the packing has made sure of.
            ".p2align 5",
            "5:",
            concat!(
                "vpbroadcastd ymm5, [{x}]\n",
                "vpmaddubsw ymm6, ymm5, [{w} + 96]\n",
                "vpmaddubsw ymm7, ymm5, [{w}]\n",
                "vpmaddubsw ymm8, ymm5, [{w} + 32]\n",
                "vpmaddubsw ymm5, ymm5, [{w} + 64]\n",
                "vpbroadcastd ymm9, [{x} + 4]\n",
                "vpmaddubsw ymm10, ymm9, [{w} + 128]\n",
                "vpmaddubsw ymm11, ymm9, [{w} + 160]\n",
                "vpmaddubsw ymm12, ymm9, [{w} + 192]\n",
                "vpmaddubsw ymm9, ymm9, [{w} + 224]\n",
                "vpbroadcastd ymm13, [{x} + 8]\n",
                "vpmaddubsw ymm14, ymm13, [{w} + 320]\n",
                "vpmaddubsw ymm15, ymm13, [{w} + 352]\n",
                "vpaddw ymm7, ymm7, ymm10\n",
                "vpmaddubsw ymm10, ymm13, [{w} + 288]\n",
                "vpmaddubsw ymm13, ymm13, [{w} + 256]\n",
                "vpaddw ymm11, ymm8, ymm11\n",
                "vpbroadcastd ymm8, [{x} + 12]\n",
                "vpaddw ymm6, ymm6, ymm9\n",
                "vpmaddubsw ymm9, ymm8, [{w} + 416]\n",
                "vpaddw ymm12, ymm5, ymm12\n",
                "vpmaddubsw ymm5, ymm8, [{w} + 384]\n",
                "vpaddw ymm13, ymm7, ymm13\n",
                "vpmaddubsw ymm7, ymm8, [{w} + 448]\n",
                "vpmaddubsw ymm8, ymm8, [{w} + 480]\n",
                "vpaddw ymm11, ymm11, ymm10\n",
                "vpaddw ymm6, ymm6, ymm15\n",
                "vpaddw ymm13, ymm13, ymm5\n",
                "vpmaddwd ymm13, ymm13, ymm4\n",
                "vpaddw ymm12, ymm12, ymm14\n",
                "vpaddw ymm9, ymm11, ymm9\n",
                "vpmaddwd ymm9, ymm9, ymm4\n",
                "vpaddw ymm6, ymm6, ymm8\n",
                "vpmaddwd ymm6, ymm6, ymm4\n",
                "vpaddd ymm0, ymm0, ymm13\n",
                "vpaddd ymm1, ymm1, ymm9\n",
                "vpaddw ymm7, ymm12, ymm7\n",
                "vpmaddwd ymm7, ymm7, ymm4\n",
                "vpaddd ymm3, ymm3, ymm6\n",
                "vpaddd ymm2, ymm2, ymm7\n",
            ),
            "add {x}, 16",
            "add {w}, 512",
            "dec {count}",
            "jnz 5b",
            "test {groups}, {groups}",
            "jnz 4b",
            "vmovdqu [{sums}], ymm0",
            "vmovdqu [{sums} + 32], ymm1",
            "vmovdqu [{sums} + 64], ymm2",
            "vmovdqu [{sums} + 96], ymm3",
            x = inout(reg) values => _,
            w = inout(reg) panel => _,
            factors = inout(reg) factors => _,
            offsets = inout(reg) offsets => _,
            block_sums = inout(reg) x.block_sums => _,
            pairs = inout(reg) x.pairs => _,
            groups = inout(reg) x.groups => _,
            block = in(reg) x.block,
            count = out(reg) _,
            sums = in(reg) sums,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}

/// [`Dot::dot16`] for the last rows.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn rows16<const ROWS: usize>(x: Rows16, panel: *const i16, sums: *mut i32) {
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
                let value = x.values.add(row * x.stride + 2 * pair).cast::<i32>();
                let value = _mm256_set1_epi32(value.read_unaligned());
                total[0] = _mm256_add_epi32(total[0], _mm256_madd_epi16(value, left));
                total[1] = _mm256_add_epi32(total[1], _mm256_madd_epi16(value, right));
            }
        }
        for (row, total) in total.into_iter().enumerate() {
            let sums = sums.add(row * PANEL16).cast::<__m256i>();
            _mm256_storeu_si256(sums, total[0]);
            _mm256_storeu_si256(sums.add(1), total[1]);
        }
    }
}

/// One pair of K of [`four_rows16`]: `$x` and `$w` are its offsets in the rows and in the panel. The six
/// products of the first three rows are on their way before the first is added.
macro_rules! pair16 {
    ($x:literal, $w:literal, $w1:literal) => {
        concat!(
            "vmovdqu ymm8, [{w} + ",
            $w,
            "]\n",
            "vmovdqu ymm9, [{w} + ",
            $w1,
            "]\n",
            "vpbroadcastd ymm10, [{x} + ",
            $x,
            "]\n",
            "vpmaddwd ymm11, ymm10, ymm8\n",
            "vpmaddwd ymm10, ymm10, ymm9\n",
            "vpbroadcastd ymm12, [{x} + {stride} + ",
            $x,
            "]\n",
            "vpmaddwd ymm13, ymm12, ymm8\n",
            "vpmaddwd ymm12, ymm12, ymm9\n",
            "vpbroadcastd ymm14, [{x} + 2*{stride} + ",
            $x,
            "]\n",
            "vpmaddwd ymm15, ymm14, ymm8\n",
            "vpmaddwd ymm14, ymm14, ymm9\n",
            "vpaddd ymm0, ymm0, ymm11\n",
            "vpbroadcastd ymm11, [{last} + ",
            $x,
            "]\n",
            "vpmaddwd ymm8, ymm11, ymm8\n",
            "vpmaddwd ymm11, ymm11, ymm9\n",
            "vpaddd ymm1, ymm1, ymm10\n",
            "vpaddd ymm2, ymm2, ymm13\n",
            "vpaddd ymm3, ymm3, ymm12\n",
            "vpaddd ymm4, ymm4, ymm15\n",
            "vpaddd ymm5, ymm5, ymm14\n",
            "vpaddd ymm6, ymm6, ymm8\n",
            "vpaddd ymm7, ymm7, ymm11\n",
        )
    };
}

/// [`Dot::dot16`] for four rows, by hand. The compiler moves each addition to its product and keeps
/// half of the sums on the stack: 154 Gop/s instead of 169.
///
/// # Safety
/// As there.
#[inline(always)]
unsafe fn four_rows16(x: Rows16, panel: *const i16, sums: *mut i32) {
    const PAIRS: usize = 4;
    let stride = x.stride * size_of::<i16>();
    // SAFETY: all by the caller's promise; the loop reads `PAIRS` pairs of the rows and the panel at a time.
    unsafe {
        asm!(
            "vpxor xmm0, xmm0, xmm0",
            "vpxor xmm1, xmm1, xmm1",
            "vpxor xmm2, xmm2, xmm2",
            "vpxor xmm3, xmm3, xmm3",
            "vpxor xmm4, xmm4, xmm4",
            "vpxor xmm5, xmm5, xmm5",
            "vpxor xmm6, xmm6, xmm6",
            "vpxor xmm7, xmm7, xmm7",
            "test {count}, {count}",
            "jz 3f",
            ".p2align 5",
            "2:",
            pair16!("0", "0", "32"),
            pair16!("4", "64", "96"),
            pair16!("8", "128", "160"),
            pair16!("12", "192", "224"),
            "add {x}, 16",
            "add {last}, 16",
            "add {w}, 256",
            "dec {count}",
            "jnz 2b",
            "3:",
            "vmovdqu [{sums}], ymm0",
            "vmovdqu [{sums} + 32], ymm1",
            "vmovdqu [{sums} + 64], ymm2",
            "vmovdqu [{sums} + 96], ymm3",
            "vmovdqu [{sums} + 128], ymm4",
            "vmovdqu [{sums} + 160], ymm5",
            "vmovdqu [{sums} + 192], ymm6",
            "vmovdqu [{sums} + 224], ymm7",
            x = inout(reg) x.values => _,
            last = inout(reg) x.values.add(3 * x.stride) => _,
            stride = in(reg) stride,
            w = inout(reg) panel => _,
            count = inout(reg) x.pairs / PAIRS => _,
            sums = in(reg) sums,
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
            out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
            out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack),
        );
    }
}
