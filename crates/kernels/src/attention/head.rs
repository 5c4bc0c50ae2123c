//! One head of one text.

use crate::memory::AlignedVec;
use crate::packing::Geometry;
use crate::simd::{Operation, Simd, Twice};
use crate::tile::{TileWork, for_tiles, products};
use crate::vecmath::exp;

use super::{AttentionInput, PositionBias};

/// Scores held at once: 64 KB, which leaves room for the keys in the second-level cache.
const SCORES: usize = 16 * 1024;

/// How the buffer of a part is divided for a text of some length.
#[derive(Copy, Clone)]
pub(super) struct Plan {
    /// Tokens of the text.
    length: usize,
    /// The same, rounded up to whole panels.
    padded: usize,
    head_dim: usize,
    /// Values of packed keys, `[padded / panel][head_dim][panel]`.
    keys: usize,
    /// Values of packed values, `[head_dim / panel, rounded up][length][panel]`.
    values: usize,
    /// Queries taken at once.
    block: usize,
}

impl Plan {
    pub(super) fn new(length: usize, head_dim: usize, geometry: Geometry) -> Plan {
        let padded = length.next_multiple_of(geometry.panel);
        let tiles = SCORES / padded.max(1) / geometry.tile_rows;
        Plan {
            length,
            padded,
            head_dim,
            keys: padded * head_dim,
            values: length * head_dim.next_multiple_of(geometry.panel),
            block: (tiles.max(1) * geometry.tile_rows).min(length),
        }
    }

    /// Values of the whole buffer: keys, values, scores, one factor a query.
    pub(super) fn values(self) -> usize {
        self.keys + self.values + self.block * self.padded + self.block
    }
}

/// The work on one head of one text.
pub(super) struct Head<'a> {
    pub(super) input: &'a AttentionInput<'a>,
    pub(super) plan: Plan,
    pub(super) head: usize,
    /// The text's first token.
    pub(super) first: usize,
    pub(super) buffer: &'a mut AlignedVec<f32>,
    /// `[tokens][heads·head_dim]`, of which this writes its text's rows and its head's columns.
    pub(super) out: *mut f32,
}

impl Operation for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Plan {
            length,
            padded,
            head_dim,
            block,
            ..
        } = self.plan;
        let hidden = self.input.heads * head_dim;
        let stride = 3 * hidden;
        let (keys, rest) = self.buffer.split_at_mut(self.plan.keys);
        let (values, rest) = rest.split_at_mut(self.plan.values);
        let (scores, factors) = rest.split_at_mut(block * padded);
        let factors = &mut factors[..block];

        let text = &self.input.qkv[self.first * stride..(self.first + length) * stride];
        let column = self.head * head_dim;
        pack_keys(s, &text[hidden + column..], stride, self.plan, keys);
        pack_values::<S>(&text[2 * hidden + column..], stride, self.plan, values);

        let bias = self
            .input
            .position_bias
            .map(|PositionBias { table, span }| {
                let row = 2 * span + 1;
                PositionBias {
                    table: &table[self.head * row..(self.head + 1) * row],
                    span,
                }
            });
        // SAFETY: `attention` checked that `out` has a row for each token, and gave this head of
        // this text to no other part.
        let out = unsafe { self.out.add(self.first * hidden + column) };

        for start in (0..length).step_by(block) {
            let rows = block.min(length - start);
            let queries = &text[start * stride + column..];
            for panel in 0..padded / S::PANEL {
                let work = Scores {
                    depth: head_dim,
                    queries: (queries.as_ptr(), stride),
                    keys: keys[panel * head_dim * S::PANEL..].as_ptr(),
                    scores: scores[panel * S::PANEL..].as_mut_ptr(),
                    stride: padded,
                };
                // SAFETY: `rows` queries and rows of scores exist.
                unsafe { for_tiles(s, 0..rows, &work) };
            }
            for row in 0..rows {
                let scores = &mut scores[row * padded..(row + 1) * padded];
                if let Some(bias) = bias {
                    add_bias(&mut scores[..length], start + row, bias);
                }
                factors[row] = 1.0 / exponentials(s, scores, length);
            }
            for panel in 0..head_dim.div_ceil(S::PANEL) {
                let work = Mix {
                    depth: length,
                    scores: (scores.as_ptr(), padded),
                    values: values[panel * length * S::PANEL..].as_ptr(),
                    factors: factors.as_ptr(),
                    // SAFETY: within the row: `start < length` and the panel begins inside the head.
                    out: unsafe { out.add(start * hidden + panel * S::PANEL) },
                    stride: hidden,
                    width: S::PANEL.min(head_dim - panel * S::PANEL),
                };
                // SAFETY: `rows` rows of scores and of `out` exist.
                unsafe { for_tiles(s, 0..rows, &work) };
            }
        }
    }
}

/// Transposes keys to `[padded / panel][head_dim][panel]`. Keys beyond the text repeat the last one:
/// they need only be numbers, for their scores are overwritten or never read.
#[inline(always)]
fn pack_keys<S: Simd>(s: S, text: &[f32], stride: usize, plan: Plan, keys: &mut [f32]) {
    let Plan {
        length, head_dim, ..
    } = plan;
    let whole = head_dim - head_dim % S::LANES;
    for (panel, columns) in keys.chunks_exact_mut(head_dim * S::PANEL).enumerate() {
        for half in [0, S::LANES] {
            let token = (panel * S::PANEL + half).min(length - 1);
            let rows = (length - token).min(S::LANES);
            let from = &text[token * stride..][..(rows - 1) * stride + head_dim];
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: `i + LANES <= head_dim` values of `rows` rows are in `from`; `columns` holds
                // `head_dim` rows of a panel, of which `half` is the first or the second half.
                unsafe {
                    let to = columns.as_mut_ptr().add(i * S::PANEL + half);
                    s.transpose((from.as_ptr().add(i), stride), rows, (to, S::PANEL));
                }
            }
            for i in whole..head_dim {
                for lane in 0..S::LANES {
                    columns[i * S::PANEL + half + lane] = from[lane.min(rows - 1) * stride + i];
                }
            }
        }
    }
}

/// Copies values to `[head_dim / panel][length][panel]`; columns beyond the head are zero. Side by side
/// they need no more than one page of translations for 64 tokens, and no two rows compete for
/// a cache set, as they do in `qkv` where a row is a power of two long.
#[inline(always)]
fn pack_values<S: Simd>(text: &[f32], stride: usize, plan: Plan, values: &mut [f32]) {
    for (panel, rows) in values.chunks_exact_mut(plan.length * S::PANEL).enumerate() {
        let column = panel * S::PANEL;
        let width = S::PANEL.min(plan.head_dim - column);
        for (token, row) in rows.chunks_exact_mut(S::PANEL).enumerate() {
            row[..width].copy_from_slice(&text[token * stride + column..][..width]);
            row[width..].fill(0.0);
        }
    }
}

/// Adds the bias of `query` to its scores with the keys 0, 1, ….
#[inline(always)]
fn add_bias(scores: &mut [f32], query: usize, bias: PositionBias<'_>) {
    // Keys before `near` are further than `span` back, keys from `far` on further than `span` ahead.
    let near = query.saturating_sub(bias.span).min(scores.len());
    let far = query
        .saturating_add(bias.span)
        .saturating_add(1)
        .min(scores.len());
    let (back, rest) = scores.split_at_mut(near);
    let (middle, ahead) = rest.split_at_mut(far - near);
    for score in back {
        *score += bias.table[0];
    }
    let start = near + bias.span - query;
    for (score, value) in middle.iter_mut().zip(&bias.table[start..]) {
        *score += value;
    }
    for score in ahead {
        *score += bias.table[2 * bias.span];
    }
}

/// Replaces the first `length` scores by exp(score - largest) and returns their sum.
///
/// The lanes beyond are set so far below that they become the smallest number, which changes no
/// sum; nothing reads them.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [f32], length: usize) -> f32 {
    let vectors = length.div_ceil(S::LANES);
    scores[length..vectors * S::LANES].fill(f32::NEG_INFINITY);
    let start = scores.as_mut_ptr();
    // SAFETY: scores are padded to whole panels, so whole vectors can be read and written.
    unsafe {
        let mut largest = s.load(start);
        for vector in 1..vectors {
            largest = s.max(largest, s.load(start.add(vector * S::LANES)));
        }
        let largest = s.largest(largest);
        let pairs = Twice(s);
        let (largest_pair, mut sum) = (pairs.splat(largest), pairs.zero());
        for pair in 0..vectors / 2 {
            let at = start.add(pair * S::PANEL);
            let powers = exp(pairs, pairs.sub(pairs.load(at), largest_pair));
            pairs.store(at, powers);
            sum = pairs.add(sum, powers);
        }
        let mut total = pairs.sum(sum);
        if vectors % 2 == 1 {
            let at = start.add((vectors - 1) * S::LANES);
            let powers = exp(s, s.sub(s.load(at), s.splat(largest)));
            s.store(at, powers);
            total += s.sum(powers);
        }
        total
    }
}

/// Tiles of scores: queries times a panel of keys.
struct Scores {
    depth: usize,
    queries: (*const f32, usize),
    keys: *const f32,
    scores: *mut f32,
    stride: usize,
}

impl<S: Simd> TileWork<S> for Scores {
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize) {
        // SAFETY: the rows exist; scores are padded to whole panels.
        unsafe {
            let (queries, stride) = self.queries;
            let queries = (queries.add(first * stride), stride);
            let sums = products::<S, ROWS>(s, self.depth, queries, self.keys);
            for (i, [left, right]) in sums.into_iter().enumerate() {
                let at = self.scores.add((first + i) * self.stride);
                s.store(at, left);
                s.store(at.add(S::LANES), right);
            }
        }
    }
}

/// Tiles of the result: exponentials times a panel of values, divided by the exponentials' sum.
struct Mix {
    depth: usize,
    scores: (*const f32, usize),
    values: *const f32,
    factors: *const f32,
    out: *mut f32,
    stride: usize,
    /// Columns of the panel which exist.
    width: usize,
}

impl<S: Simd> TileWork<S> for Mix {
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize) {
        // SAFETY: the rows exist; of each only `width` columns are written.
        unsafe {
            let (scores, stride) = self.scores;
            let scores = (scores.add(first * stride), stride);
            let sums = products::<S, ROWS>(s, self.depth, scores, self.values);
            for (i, [left, right]) in sums.into_iter().enumerate() {
                let factor = s.splat(*self.factors.add(first + i));
                let at = self.out.add((first + i) * self.stride);
                let (left, right) = (s.mul(left, factor), s.mul(right, factor));
                if self.width == S::PANEL {
                    s.store(at, left);
                    s.store(at.add(S::LANES), right);
                } else {
                    let in_left = self.width.min(S::LANES);
                    s.store_some(at, in_left, left);
                    s.store_some(at.wrapping_add(S::LANES), self.width - in_left, right);
                }
            }
        }
    }
}
