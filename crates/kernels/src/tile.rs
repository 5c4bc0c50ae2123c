//! The micro-kernel: a tile of a matrix product held in registers.

use crate::simd::Simd;

/// Values of a cache line.
const LINE: usize = 16;

/// The products of `ROWS` rows with one panel.
///
/// Returns sums[i][j] = Σₖ `rows[i·rows.row + k·rows.step]` · `panel[k·panel.step + j·LANES ..]`. Every
/// sum adds its products in the order of k, with one rounding each, whatever `ROWS` is: that is what
/// makes a row's bits independent of the tile it falls into.
///
/// The rows are not packed: each value is broadcast from where it lies. With six rows, twelve
/// independent chains of multiply-adds hide their latency of four cycles on two units.
///
/// # Safety
/// For each k below `depth`, one value of each of `ROWS` rows and two vectors of the panel can be read.
#[inline(always)]
pub(crate) unsafe fn products<S: Simd, const ROWS: usize>(
    s: S,
    depth: usize,
    mut rows: Rows,
    mut panel: Panel,
) -> [[S::V; 2]; ROWS] {
    const UNROLL: usize = 4;
    let mut sums = [[s.zero(); 2]; ROWS];
    // SAFETY: `k` stays below `depth` in both loops.
    unsafe {
        for _ in 0..depth / UNROLL {
            for u in 0..UNROLL {
                step(s, &mut sums, rows.at(u), panel.at(u));
            }
            rows = rows.at(UNROLL);
            panel = panel.at(UNROLL);
        }
        for k in 0..depth % UNROLL {
            step(s, &mut sums, rows.at(k), panel.at(k));
        }
    }
    sums
}

/// Rows whose values are broadcast.
#[derive(Copy, Clone)]
pub(crate) struct Rows {
    pub(crate) start: *const f32,
    /// From one row to the next.
    pub(crate) row: usize,
    /// From one k to the next.
    pub(crate) step: usize,
}

impl Rows {
    /// # Safety
    /// The rows reach that far.
    #[inline(always)]
    unsafe fn at(self, k: usize) -> Rows {
        Rows {
            // SAFETY: the caller's promise.
            start: unsafe { self.start.add(k * self.step) },
            ..self
        }
    }
}

/// Two vectors for each k.
#[derive(Copy, Clone)]
pub(crate) struct Panel {
    pub(crate) start: *const f32,
    /// From one k to the next.
    pub(crate) step: usize,
    /// How far beyond them lies what is wanted next, for the memory to be asked for it; 0 where that is
    /// not known. A query of ten tokens reads all weights of a model once, from beyond the caches: it takes a tenth less time
    /// so, and batches lose nothing.
    pub(crate) ahead: usize,
}

impl Panel {
    /// # Safety
    /// The panel reaches that far.
    #[inline(always)]
    unsafe fn at(self, k: usize) -> Panel {
        Panel {
            // SAFETY: the caller's promise.
            start: unsafe { self.start.add(k * self.step) },
            ..self
        }
    }
}

/// One k of [`products`].
///
/// # Safety
/// As there, for depth 1.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize>(
    s: S,
    sums: &mut [[S::V; 2]; ROWS],
    rows: Rows,
    panel: Panel,
) {
    // SAFETY: two vectors of the panel and one value of each row, by the caller's promise.
    unsafe {
        let (left, right) = (s.load(panel.start), s.load(panel.start.add(S::LANES)));
        s.prefetch(panel.start.wrapping_add(panel.ahead));
        if S::LANES >= LINE {
            s.prefetch(panel.start.wrapping_add(panel.ahead + S::LANES));
        }
        for (i, sum) in sums.iter_mut().enumerate() {
            let value = s.splat(*rows.start.add(i * rows.row));
            sum[0] = s.fma(value, left, sum[0]);
            sum[1] = s.fma(value, right, sum[1]);
        }
    }
}

/// Something done with a tile of 1 to `TILE_ROWS` rows, the number known at compile time.
pub(crate) trait TileWork<S: Simd> {
    /// Handles rows `first..first + ROWS`. Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The rows exist.
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize);

    /// What remains to be done with a tile just made: compiled once, not for every height.
    ///
    /// # Safety
    /// Rows `first..first + count` exist.
    #[inline(always)]
    unsafe fn finish(&self, _s: S, _first: usize, _count: usize) {}
}

/// Covers `rows` by tiles.
///
/// A last tile of few rows has too few chains to hide their latency, so the last two tiles share
/// their rows evenly: 8 rows are 4 + 4, not 6 + 2.
///
/// # Safety
/// `work` may be given any of `rows`.
#[inline(always)]
pub(crate) unsafe fn for_tiles<S: Simd>(
    s: S,
    rows: std::ops::Range<usize>,
    work: &impl TileWork<S>,
) {
    let mut first = rows.start;
    while first < rows.end {
        let rest = rows.end - first;
        let count = match rest {
            _ if rest <= S::TILE_ROWS => rest,
            _ if rest < 2 * S::TILE_ROWS => rest.div_ceil(2),
            _ => S::TILE_ROWS,
        };
        // One call, for each is compiled with every height.
        // SAFETY: `first + count <= rows.end`.
        unsafe { tile_of(s, count, first, work) };
        first += count;
    }
}

/// # Safety
/// `work` may be given rows `first..first + count`.
#[inline(always)]
unsafe fn tile_of<S: Simd>(s: S, count: usize, first: usize, work: &impl TileWork<S>) {
    // The guards are constants: tiles larger than this instruction set's are not compiled.
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            1 => work.tile::<1>(s, first),
            2 => work.tile::<2>(s, first),
            3 => work.tile::<3>(s, first),
            4 => work.tile::<4>(s, first),
            5 if S::TILE_ROWS > 4 => work.tile::<5>(s, first),
            6 if S::TILE_ROWS > 4 => work.tile::<6>(s, first),
            7 if S::TILE_ROWS > 6 => work.tile::<7>(s, first),
            8 if S::TILE_ROWS > 6 => work.tile::<8>(s, first),
            9 if S::TILE_ROWS > 6 => work.tile::<9>(s, first),
            10 if S::TILE_ROWS > 6 => work.tile::<10>(s, first),
            11 if S::TILE_ROWS > 6 => work.tile::<11>(s, first),
            12 if S::TILE_ROWS > 6 => work.tile::<12>(s, first),
            _ => {}
        }
        work.finish(s, first, count);
    }
}
