//! One head of one text.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::memory::AlignedVec;
use crate::simd::{MAX_PANEL, Operation, Simd, Twice};
use crate::tile::{Panel, Rows, TileWork, for_tiles, products};
use crate::vecmath::exp;

use super::{AttentionInput, PositionBias};

/// Longer texts have their keys and values copied side by side first: each panel of queries reads them
/// all, and in `qkv` they lie on a page of memory each, in rows which compete for a cache set where
/// they are a power of two long. For 64 tokens the copy costs what it saves.
const READ_IN_PLACE: usize = 64;

/// How the buffer of a part is divided for a text of some length.
#[derive(Copy, Clone)]
pub(super) struct Plan {
    /// Values of a panel of queries, `[head_dim][panel]`.
    queries: usize,
    /// Scores, then their exponentials, of a panel of queries: `[length][panel]`.
    scores: usize,
    /// Keys side by side, `[length][head_dim]`, if the text is long.
    keys: usize,
    /// Values side by side, `[length][width of values]`, if the text is long or a head no whole panels.
    values: usize,
    /// Columns of the values' copy: whole panels.
    values_width: usize,
    /// The position bias by distance, query to key: `[2·length + panel]`.
    bias: usize,
}

impl Plan {
    /// Grows with `length`: the plan of the longest text has room for all.
    pub(super) fn new(length: usize, head_dim: usize, panel: usize) -> Plan {
        let long = length > READ_IN_PLACE;
        let values_width = head_dim.next_multiple_of(panel);
        Plan {
            queries: head_dim * panel,
            scores: length * panel,
            keys: if long { length * head_dim } else { 0 },
            values: if long || values_width > head_dim {
                length * values_width
            } else {
                0
            },
            values_width,
            bias: 2 * length + panel,
        }
    }

    /// Values of the whole buffer.
    pub(super) fn values(self) -> usize {
        self.queries + self.scores + self.keys + self.values + self.bias
    }
}

/// A part's work: heads of texts, drawn until none is left.
pub(super) struct Heads<'a> {
    pub(super) input: &'a AttentionInput<'a>,
    /// The next piece to be drawn: the heads of the first text, then those of the second, ….
    pub(super) next: &'a AtomicUsize,
    pub(super) buffer: &'a mut AlignedVec<f32>,
    /// `[tokens][heads·head_dim]`, of which a piece is its text's rows and its head's columns.
    pub(super) out: *mut f32,
}

impl Operation for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AttentionInput { lengths, heads, .. } = *self.input;
        // Pieces are drawn in order, so a part's position in the batch only ever advances.
        let (mut text, mut first) = (0, 0);
        loop {
            let piece = self.next.fetch_add(1, Ordering::Relaxed);
            while text < lengths.len() && text < piece / heads {
                first += lengths[text];
                text += 1;
            }
            if text == lengths.len() {
                return;
            }
            let head = Head {
                input: self.input,
                head: piece % heads,
                tokens: first..first + lengths[text],
                out: self.out,
            };
            head.run(s, self.buffer);
        }
    }
}

/// The work on one head of one text.
struct Head<'a> {
    input: &'a AttentionInput<'a>,
    head: usize,
    tokens: Range<usize>,
    out: *mut f32,
}

impl Head<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, buffer: &mut [f32]) {
        let (length, head_dim) = (self.tokens.len(), self.input.head_dim);
        let hidden = self.input.heads * head_dim;
        let stride = 3 * hidden;
        let column = self.head * head_dim;
        let plan = Plan::new(length, head_dim, S::PANEL);
        let (queries, rest) = buffer.split_at_mut(plan.queries);
        let (scores, rest) = rest.split_at_mut(plan.scores);
        let (keys, rest) = rest.split_at_mut(plan.keys);
        let (values, rest) = rest.split_at_mut(plan.values);

        let text = &self.input.qkv[self.tokens.start * stride..self.tokens.end * stride];
        let keys = if plan.keys > 0 {
            copy_rows(&text[hidden + column..], stride, keys, (head_dim, head_dim));
            (keys.as_ptr(), head_dim)
        } else {
            (text[(hidden + column).min(text.len())..].as_ptr(), stride)
        };
        let values = if plan.values > 0 {
            let width = plan.values_width;
            copy_rows(
                &text[2 * hidden + column..],
                stride,
                values,
                (head_dim, width),
            );
            (values.as_ptr(), width)
        } else {
            (
                text[(2 * hidden + column).min(text.len())..].as_ptr(),
                stride,
            )
        };
        let bias = self.input.position_bias.map(|bias| {
            let line = &mut rest[..plan.bias];
            by_distance(bias, self.head, length, line);
            &*line
        });

        // SAFETY: `attention` checked that `out` has a row for each token, and gave this head of
        // this text to no other part.
        let out = unsafe { self.out.add(self.tokens.start * hidden + column) };
        for start in (0..length).step_by(S::PANEL) {
            let rows = S::PANEL.min(length - start);
            transpose_queries(s, &text[start * stride + column..], stride, rows, queries);
            let work = Scores {
                depth: head_dim,
                keys,
                queries: queries.as_ptr(),
                scores: scores.as_mut_ptr(),
            };
            // SAFETY: `length` keys and rows of scores exist.
            unsafe { for_tiles(s, 0..length, &work) };
            if let Some(line) = bias {
                add_bias(scores, start, line, S::PANEL);
            }
            let mut factors = [0.0; MAX_PANEL];
            exponentials(s, scores, &mut factors);
            for panel in 0..head_dim.div_ceil(S::PANEL) {
                let work = Mix {
                    depth: length,
                    scores: scores.as_ptr(),
                    // SAFETY: a row holds the panel whole.
                    values: (unsafe { values.0.add(panel * S::PANEL) }, values.1),
                    factors: factors.as_ptr(),
                    // SAFETY: within the row: `start < length` and the panel begins inside the head.
                    out: unsafe { out.add(start * hidden + panel * S::PANEL) },
                    stride: hidden,
                    width: S::PANEL.min(head_dim - panel * S::PANEL),
                };
                // SAFETY: `rows` lanes of scores and rows of `out` exist.
                unsafe { for_tiles(s, 0..rows, &work) };
            }
        }
    }
}

/// Copies the first `head_dim` values of each row of `text` to rows of `width`, zero beyond.
#[inline(always)]
fn copy_rows(text: &[f32], stride: usize, to: &mut [f32], (head_dim, width): (usize, usize)) {
    for (token, row) in to.chunks_exact_mut(width).enumerate() {
        row[..head_dim].copy_from_slice(&text[token * stride..][..head_dim]);
        row[head_dim..].fill(0.0);
    }
}

/// Transposes `rows` queries to `[head_dim][panel]`. Lanes beyond repeat the last query: they need only
/// be numbers, for nothing reads what becomes of them.
#[inline(always)]
fn transpose_queries<S: Simd>(s: S, text: &[f32], stride: usize, rows: usize, queries: &mut [f32]) {
    let head_dim = queries.len() / S::PANEL;
    let whole = head_dim - head_dim % S::LANES;
    for half in [0, S::LANES] {
        let query = half.min(rows - 1);
        let count = (rows - query).min(S::LANES);
        let from = &text[query * stride..][..(count - 1) * stride + head_dim];
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: `i + LANES <= head_dim` values of `count` rows are in `from`; `queries` holds
            // `head_dim` rows of a panel, of which `half` is the first or the second half.
            unsafe {
                let to = queries.as_mut_ptr().add(i * S::PANEL + half);
                s.transpose((from.as_ptr().add(i), stride), count, (to, S::PANEL));
            }
        }
        for i in whole..head_dim {
            for lane in 0..S::LANES {
                queries[i * S::PANEL + half + lane] = from[lane.min(count - 1) * stride + i];
            }
        }
    }
}

/// Writes the bias of query q and key k to `line[q - k + length]`.
#[inline(always)]
fn by_distance(bias: PositionBias<'_>, head: usize, length: usize, line: &mut [f32]) {
    let PositionBias { table, span } = bias;
    let row = &table[head * (2 * span + 1)..(head + 1) * (2 * span + 1)];
    for (i, value) in line.iter_mut().enumerate() {
        // Key minus query is `length - i`.
        *value = row[(span + length).saturating_sub(i).min(2 * span)];
    }
}

/// Adds the bias to the scores of the queries from `start` on.
#[inline(always)]
fn add_bias(scores: &mut [f32], start: usize, line: &[f32], panel: usize) {
    let length = scores.len() / panel;
    for (key, scores) in scores.chunks_exact_mut(panel).enumerate() {
        let line = &line[start + length - key..][..panel];
        for (score, value) in scores.iter_mut().zip(line) {
            *score += value;
        }
    }
}

/// Replaces each score by exp(score - largest score of its query), and writes 1 / Σ for each query to
/// `factors`.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [f32], factors: &mut [f32; MAX_PANEL]) {
    // A panel is two vectors.
    let pairs = Twice(s);
    let (start, length) = (scores.as_mut_ptr(), scores.len() / S::PANEL);
    // SAFETY: scores are whole panels, and `factors` is as long as the longest.
    unsafe {
        let mut largest = pairs.load(start);
        for key in 1..length {
            largest = pairs.max(largest, pairs.load(start.add(key * S::PANEL)));
        }
        let mut sum = pairs.zero();
        for key in 0..length {
            let at = start.add(key * S::PANEL);
            let powers = exp(pairs, pairs.sub(pairs.load(at), largest));
            pairs.store(at, powers);
            sum = pairs.add(sum, powers);
        }
        pairs.store(factors.as_mut_ptr(), pairs.div(pairs.splat(1.0), sum));
    }
}

/// Tiles of scores: keys times the panel of queries.
struct Scores {
    depth: usize,
    /// The first key, and how far it is to the next.
    keys: (*const f32, usize),
    queries: *const f32,
    scores: *mut f32,
}

impl<S: Simd> TileWork<S> for Scores {
    #[inline(always)]
    unsafe fn tile<const ROWS: usize>(&self, s: S, first: usize) {
        // SAFETY: the rows exist.
        unsafe {
            let (start, row) = self.keys;
            let keys = Rows {
                start: start.add(first * row),
                row,
                step: 1,
            };
            let queries = Panel {
                start: self.queries,
                step: S::PANEL,
                ahead: 0,
            };
            let sums = products::<S, ROWS>(s, self.depth, keys, queries);
            for (i, [left, right]) in sums.into_iter().enumerate() {
                let at = self.scores.add((first + i) * S::PANEL);
                s.store(at, left);
                s.store(at.add(S::LANES), right);
            }
        }
    }
}

/// Tiles of the result: exponentials times a panel of values, divided by the exponentials' sum.
struct Mix {
    depth: usize,
    /// `[keys][panel]`: a query is a column.
    scores: *const f32,
    /// The panel's first column of the first value, and how far it is to the next.
    values: (*const f32, usize),
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
            let scores = Rows {
                start: self.scores.add(first),
                row: 1,
                step: S::PANEL,
            };
            let (start, step) = self.values;
            let sums = products::<S, ROWS>(
                s,
                self.depth,
                scores,
                Panel {
                    start,
                    step,
                    ahead: 0,
                },
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose a batch whose longest text needs less room than a shorter one.
    #[test]
    fn the_longest_text_needs_the_most_room() {
        for panel in [8, 16, 32] {
            for head_dim in [1, 8, 20, 32, 64] {
                for length in 0..600 {
                    let room = |length| Plan::new(length, head_dim, panel).values();
                    assert!(room(length) <= room(length + 1), "{length} tokens");
                }
            }
        }
    }
}
