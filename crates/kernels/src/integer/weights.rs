//! Integer weights: how they are chosen, how they lie, and who owns them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::rows::LEVELS16;
use super::{OPERATOR, Width};
use crate::error::{ShapeError, check_length, check_nonzero, check_product};
use crate::linear::LinearPart;
use crate::memory::AlignedVec;
use crate::simd::integer::{GROUP, LANE_BOUND, PANEL8, PANEL16};

/// The largest magnitude of an 8-bit weight.
const LEVELS8: i32 = 127;
/// Values of K whose 16-bit products are added up as integers, and which share a scale in a row.
const BLOCK16: usize = 384;
/// K of 16-bit panels is padded to a multiple: what the micro-kernel takes at a time.
const STEP16: usize = 8;
/// The largest block of 8-bit rows: 256 · 127 is the largest sum of weights in 16 bits.
const LARGEST_BLOCK8: usize = 256;
/// The largest factor of a block, so that factor · zero point fits 16 bits for points up to 255.
const LARGEST_FACTOR: i32 = 127;
/// Factors are at least up to this: a column whose sum could overflow with them gets coarser weights.
const LEAST_FACTOR_LIMIT: i64 = 15;

// What keeps every sum in its bits; see the uses.
const _: () = assert!(LANE_BOUND * 127 <= i16::MAX as i32);
const _: () = assert!(LARGEST_BLOCK8 as i32 * LEVELS8 <= i16::MAX as i32);
const _: () = assert!(LARGEST_FACTOR * 255 <= i16::MAX as i32);

/// Bytes of packed weights: owned, or lying in something shared such as a memory map.
#[derive(Clone)]
pub struct PackedBytes(Bytes);

#[derive(Clone)]
enum Bytes {
    Owned(Arc<AlignedVec<u8>>),
    Shared {
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    },
}

impl PackedBytes {
    /// The bytes `range` of `owner`, which is kept as long as they are used. They are fastest at a multiple
    /// of 64 bytes; nothing depends on it.
    ///
    /// # Errors
    /// The owner has fewer bytes.
    pub fn shared(
        owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
        range: Range<usize>,
    ) -> Result<PackedBytes, ShapeError> {
        let found = (*owner).as_ref().len();
        if range.start > range.end || range.end > found {
            check_length(OPERATOR, "owner of weights", range.end, found)?;
            return Err(ShapeError::Overflow { operator: OPERATOR });
        }
        Ok(PackedBytes(Bytes::Shared { owner, range }))
    }
}

impl From<AlignedVec<u8>> for PackedBytes {
    fn from(bytes: AlignedVec<u8>) -> Self {
        PackedBytes(Bytes::Owned(Arc::new(bytes)))
    }
}

impl Deref for PackedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared { owner, range } => &(**owner).as_ref()[range.clone()],
        }
    }
}

impl fmt::Debug for PackedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owned = matches!(self.0, Bytes::Owned(_));
        f.debug_struct("PackedBytes")
            .field("length", &self.len())
            .field("owned", &owned)
            .finish()
    }
}

/// All of a packed integer layer: what a file has to keep. Numbers are of the machine's own byte order.
#[derive(Clone, Debug)]
pub struct IntegerParts {
    /// Bits of the weights.
    pub width: Width,
    /// Values in a row of the input.
    pub in_features: usize,
    /// Values in a row of the output.
    pub out_features: usize,
    /// Values of K that share a scale in a row; at 8 bits a multiple of 16 up to 256, at 16 bits one of 8.
    pub block: usize,
    /// The largest multiple of a row's scale that a block's scale may be, 1 to 127: with it no sum overflows.
    /// 1 at 16 bits.
    pub factor_limit: i32,
    /// How many 8-bit weights lost units for the bound of their lane, see the [module](self).
    pub reduced: usize,
    /// 8 bits: `[out / 32][in / 4][32][4]`; 16 bits: `[out / 16][in / 2][16][2]`. `in` is padded with zeroes
    /// to a multiple of 16 or 8, `out` to one of 32 or 16.
    pub weights: PackedBytes,
    /// What a unit of each column's weights is worth, and 0 for columns which pad a panel.
    pub scales: AlignedVec<f32>,
    /// One a column, and 0 for columns which pad a panel.
    pub bias: AlignedVec<f32>,
    /// 8 bits: the sums of each column's weights over each block of K, `[out / 32][blocks / 2][32][2]`, their
    /// number padded to an even one. 16 bits: none.
    pub sums: AlignedVec<i16>,
}

impl IntegerParts {
    /// Columns of a panel.
    pub(super) fn panel(&self) -> usize {
        match self.width {
            Width::Int8 => PANEL8,
            Width::Int16 => PANEL16,
        }
    }

    /// Panels of the output.
    pub(super) fn panels(&self) -> usize {
        self.out_features.div_ceil(self.panel())
    }

    /// Values in a quantised row.
    pub(super) fn padded_depth(&self) -> usize {
        let step = match self.width {
            Width::Int8 => GROUP,
            Width::Int16 => STEP16,
        };
        self.in_features.next_multiple_of(step)
    }

    /// Blocks of a row.
    pub(super) fn blocks(&self) -> usize {
        self.in_features.div_ceil(self.block)
    }

    /// The weights of a panel of 8 bits from value `k` on, a multiple of four.
    #[inline(always)]
    pub(super) fn panel8(&self, panel: usize, k: usize) -> *const i8 {
        let depth = self.padded_depth();
        self.weights[panel * depth * PANEL8..(panel + 1) * depth * PANEL8][k * PANEL8..]
            .as_ptr()
            .cast()
    }

    /// The weights of a panel of 16 bits from value `k` on, an even one.
    #[inline(always)]
    pub(super) fn panel16(&self, panel: usize, k: usize) -> *const i16 {
        let size = 2 * self.padded_depth() * PANEL16;
        self.weights[panel * size..(panel + 1) * size][2 * k * PANEL16..]
            .as_ptr()
            .cast()
    }

    /// The sums of a panel's blocks, and how many pairs of blocks there are.
    #[inline(always)]
    pub(super) fn block_sums(&self, panel: usize) -> (usize, *const i16) {
        let pairs = self.blocks().div_ceil(2);
        let size = 2 * pairs * PANEL8;
        let sums = &self.sums[panel * size..(panel + 1) * size];
        (pairs, sums.as_ptr())
    }

    pub(super) fn bytes(&self) -> usize {
        self.weights.len() + self.scales.bytes() + self.bias.bytes() + self.sums.bytes()
    }

    /// The lengths that the pieces must have: weights, scales and bias, sums.
    fn lengths(&self) -> Result<[usize; 3], ShapeError> {
        let overflow = ShapeError::Overflow { operator: OPERATOR };
        let columns = self.out_features.checked_next_multiple_of(self.panel());
        let columns = columns.ok_or(overflow.clone())?;
        let padded = self.in_features.checked_next_multiple_of(GROUP);
        check_product(OPERATOR, &[columns, padded.ok_or(overflow)?, 4])?;
        Ok(match self.width {
            Width::Int8 => [
                columns * self.padded_depth(),
                columns,
                columns * self.blocks().next_multiple_of(2),
            ],
            Width::Int16 => [2 * columns * self.padded_depth(), columns, 0],
        })
    }

    /// Checks that all pieces have the lengths that the sizes ask for.
    pub(super) fn check(&self) -> Result<(), ShapeError> {
        check_nonzero(OPERATOR, "in_features", self.in_features)?;
        check_nonzero(OPERATOR, "out_features", self.out_features)?;
        match self.width {
            Width::Int8 => check_block(self.block)?,
            Width::Int16 => check_length(OPERATOR, "block", BLOCK16, self.block)?,
        }
        let limit = self.factor_limit.clamp(1, LARGEST_FACTOR);
        check_length(
            OPERATOR,
            "factor_limit",
            limit as usize,
            self.factor_limit as usize,
        )?;
        let [weights, columns, sums] = self.lengths()?;
        check_length(OPERATOR, "weights", weights, self.weights.len())?;
        check_length(OPERATOR, "scales", columns, self.scales.len())?;
        check_length(OPERATOR, "bias", columns, self.bias.len())?;
        check_length(OPERATOR, "sums", sums, self.sums.len())
    }

    /// Where the weight of a column for value `k` lies, in weights.
    fn place(&self, column: usize, k: usize) -> usize {
        let (panel, lane) = (column / self.panel(), column % self.panel());
        let together = match self.width {
            Width::Int8 => 4,
            Width::Int16 => 2,
        };
        let start = panel * self.padded_depth() * self.panel();
        start + k / together * together * self.panel() + lane * together + k % together
    }

    /// The weight of a column for value `k`.
    fn weight(&self, column: usize, k: usize) -> i32 {
        let at = self.place(column, k);
        match self.width {
            Width::Int8 => i32::from(self.weights[at] as i8),
            Width::Int16 => i32::from(i16::from_ne_bytes([
                self.weights[2 * at],
                self.weights[2 * at + 1],
            ])),
        }
    }

    pub(super) fn dequantized(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.out_features * self.in_features);
        for column in 0..self.out_features {
            let scale = self.scales[column];
            values.extend((0..self.in_features).map(|k| self.weight(column, k) as f32 * scale));
        }
        values
    }
}

fn check_block(block: usize) -> Result<(), ShapeError> {
    check_nonzero(OPERATOR, "block", block)?;
    if !block.is_multiple_of(GROUP) {
        return Err(ShapeError::Ragged {
            operator: OPERATOR,
            argument: "block",
            width: GROUP,
            found: block,
        });
    }
    check_length(OPERATOR, "block", block.min(LARGEST_BLOCK8), block)
}

/// Checks the parts of a layer, and adds up their columns.
fn check_parts(parts: &[LinearPart<'_>], in_features: usize) -> Result<usize, ShapeError> {
    check_nonzero(OPERATOR, "in_features", in_features)?;
    let mut out_features = 0usize;
    for part in parts {
        let size = check_product(OPERATOR, &[part.out_features, in_features])?;
        check_length(OPERATOR, "weight", size, part.weight.len())?;
        if let Some(bias) = part.bias {
            check_length(OPERATOR, "bias", part.out_features, bias.len())?;
        }
        let sum = out_features.checked_add(part.out_features);
        out_features = sum.ok_or(ShapeError::Overflow { operator: OPERATOR })?;
    }
    check_nonzero(OPERATOR, "out_features", out_features)?;
    Ok(out_features)
}

/// A layer under construction: all zero.
struct Packing {
    parts: IntegerParts,
    weights: AlignedVec<u8>,
}

impl Packing {
    fn new(
        width: Width,
        block: usize,
        out_features: usize,
        in_features: usize,
    ) -> Result<Packing, ShapeError> {
        let mut parts = IntegerParts {
            width,
            in_features,
            out_features,
            block,
            factor_limit: 1,
            reduced: 0,
            weights: AlignedVec::default().into(),
            scales: AlignedVec::default(),
            bias: AlignedVec::default(),
            sums: AlignedVec::default(),
        };
        let [weights, columns, sums] = parts.lengths()?;
        parts.scales = AlignedVec::new_zeroed(columns);
        parts.bias = AlignedVec::new_zeroed(columns);
        parts.sums = AlignedVec::new_zeroed(sums);
        Ok(Packing {
            parts,
            weights: AlignedVec::new_zeroed(weights),
        })
    }

    fn set8(&mut self, column: usize, weights: &[i8], scale: f32) {
        self.parts.scales[column] = scale;
        for (k, &weight) in weights.iter().enumerate() {
            let at = self.parts.place(column, k);
            self.weights[at] = weight as u8;
        }
        let (panel, lane) = (column / PANEL8, column % PANEL8);
        let start = panel * PANEL8 * self.parts.blocks().next_multiple_of(2);
        for (i, block) in weights.chunks(self.parts.block).enumerate() {
            let sum: i16 = block.iter().map(|&weight| i16::from(weight)).sum();
            self.parts.sums[start + i / 2 * 2 * PANEL8 + 2 * lane + i % 2] = sum;
        }
    }

    fn set16(&mut self, column: usize, weights: &[i16], scale: f32) {
        self.parts.scales[column] = scale;
        for (k, &weight) in weights.iter().enumerate() {
            let at = 2 * self.parts.place(column, k);
            self.weights[at..at + 2].copy_from_slice(&weight.to_ne_bytes());
        }
    }

    fn finish(mut self) -> IntegerParts {
        self.parts.weights = self.weights.into();
        self.parts
    }
}

/// Quantises a layer to 16 bits.
pub(super) fn pack16(
    parts: &[LinearPart<'_>],
    in_features: usize,
) -> Result<IntegerParts, ShapeError> {
    let out_features = check_parts(parts, in_features)?;
    let mut packing = Packing::new(Width::Int16, BLOCK16, out_features, in_features)?;
    let mut integers = vec![0i16; in_features];
    let mut column = 0;
    for part in parts {
        for (i, weights) in part.weight.chunks_exact(in_features).enumerate() {
            packing.parts.bias[column] = part.bias.map_or(0.0, |bias| bias[i]);
            let scale = quantize16(weights, &mut integers);
            packing.set16(column, &integers, scale);
            column += 1;
        }
    }
    Ok(packing.finish())
}

/// Quantises a layer to 8 bits.
pub(super) fn pack8(
    block: usize,
    parts: &[LinearPart<'_>],
    in_features: usize,
) -> Result<IntegerParts, ShapeError> {
    let out_features = check_parts(parts, in_features)?;
    check_block(block)?;
    let mut packing = Packing::new(Width::Int8, block, out_features, in_features)?;
    let mut chosen = Column8::new(in_features);
    let mut heaviest = 0;
    let mut column = 0;
    for part in parts {
        for (i, weights) in part.weight.chunks_exact(in_features).enumerate() {
            packing.parts.bias[column] = part.bias.map_or(0.0, |bias| bias[i]);
            chosen.choose(weights);
            heaviest = heaviest.max(weight_of(&chosen.integers));
            packing.parts.reduced += chosen.reduced;
            packing.set8(column, &chosen.integers, chosen.scale);
            column += 1;
        }
    }
    packing.parts.factor_limit = factor_limit(heaviest);
    Ok(packing.finish())
}

/// Packs 8-bit weights as they are, but for lanes that exceed their bound.
pub(super) fn pack_int8(
    block: usize,
    weights: &[i8],
    scales: &[f32],
    bias: Option<&[f32]>,
    in_features: usize,
) -> Result<IntegerParts, ShapeError> {
    check_nonzero(OPERATOR, "in_features", in_features)?;
    check_nonzero(OPERATOR, "out_features", scales.len())?;
    check_block(block)?;
    let size = check_product(OPERATOR, &[scales.len(), in_features])?;
    check_length(OPERATOR, "weight", size, weights.len())?;
    if let Some(bias) = bias {
        check_length(OPERATOR, "bias", scales.len(), bias.len())?;
    }
    let mut packing = Packing::new(Width::Int8, block, scales.len(), in_features)?;
    let mut heaviest = 0;
    for (column, weights) in weights.chunks_exact(in_features).enumerate() {
        let mut integers: Vec<i8> = weights.iter().map(|&weight| weight.max(-127)).collect();
        packing.parts.reduced += bound_lanes(&mut integers);
        heaviest = heaviest.max(weight_of(&integers));
        packing.parts.bias[column] = bias.map_or(0.0, |bias| bias[column]);
        packing.set8(column, &integers, scales[column]);
    }
    packing.parts.factor_limit = factor_limit(heaviest);
    Ok(packing.finish())
}

/// Σ |weight|.
fn weight_of(integers: &[i8]) -> i64 {
    integers.iter().map(|&weight| i64::from(weight).abs()).sum()
}

/// The largest factor with which no column's sum leaves 32 bits, whatever the rows.
fn factor_limit(heaviest: i64) -> i32 {
    // A level is at most 255 from its zero point.
    let limit = i64::from(i32::MAX) / (255 * heaviest.max(1));
    limit.clamp(1, i64::from(LARGEST_FACTOR)) as i32
}

fn largest(weights: &[f32]) -> f32 {
    weights
        .iter()
        .fold(0.0, |most, weight| most.max(weight.abs()))
}

/// Chooses 16-bit weights for a column and returns their scale. NaN where a weight is no finite number.
///
/// As many levels as keep every block's sum in 32 bits with rows at their largest: |Σ| ≤ 8191 · Σ|weight|.
fn quantize16(weights: &[f32], integers: &mut [i16]) -> f32 {
    const BUDGET: i64 = i32::MAX as i64 / LEVELS16 as i64;
    integers.fill(0);
    if weights.iter().any(|weight| !weight.is_finite()) {
        return f32::NAN;
    }
    let largest = largest(weights);
    if largest < f32::MIN_POSITIVE {
        return 0.0;
    }
    let magnitude = |block: &[f32]| {
        block
            .iter()
            .map(|weight| f64::from(weight.abs()))
            .sum::<f64>()
    };
    let heaviest = weights.chunks(BLOCK16).map(magnitude).fold(0.0, f64::max);
    let mut levels = (BUDGET as f64 * f64::from(largest) / heaviest).min(f64::from(i16::MAX));
    loop {
        let scale = (f64::from(largest) / levels) as f32;
        for (integer, &weight) in integers.iter_mut().zip(weights) {
            *integer = (weight / scale).round_ties_even().clamp(-32767.0, 32767.0) as i16;
        }
        let heaviest = integers
            .chunks(BLOCK16)
            .map(|block| {
                block
                    .iter()
                    .map(|&weight| i64::from(weight).abs())
                    .sum::<i64>()
            })
            .max();
        if heaviest <= Some(BUDGET) {
            return scale;
        }
        // Rounding up took more than the budget has.
        levels *= 0.999;
    }
}

/// The choice of a column's 8-bit weights.
struct Column8 {
    integers: Vec<i8>,
    trial: Vec<i8>,
    scale: f32,
    reduced: usize,
}

impl Column8 {
    fn new(in_features: usize) -> Column8 {
        Column8 {
            integers: vec![0; in_features],
            trial: vec![0; in_features],
            scale: 0.0,
            reduced: 0,
        }
    }

    /// The finest scale with the least error. With all 127 levels nothing else is tried where no lane
    /// exceeds its bound; where one does, coarser scales may cost less than what is taken from the largest.
    fn choose(&mut self, weights: &[f32]) {
        self.integers.fill(0);
        self.reduced = 0;
        self.scale = f32::NAN;
        if weights.iter().any(|weight| !weight.is_finite()) {
            return;
        }
        let largest = largest(weights);
        self.scale = 0.0;
        if largest < f32::MIN_POSITIVE {
            return;
        }
        let mut least = f64::INFINITY;
        for levels in [LEVELS8, 121, 115, 109, 103, 97, 91, 85, 79, 73, 64] {
            let scale = largest / levels as f32;
            for (integer, &weight) in self.trial.iter_mut().zip(weights) {
                let level = (weight / scale).round_ties_even();
                *integer = level.clamp(-127.0, 127.0) as i8;
            }
            let reduced = bound_lanes(&mut self.trial);
            let heavy = i64::from(i32::MAX) / (255 * LEAST_FACTOR_LIMIT);
            let error = if weight_of(&self.trial) > heavy && levels > 64 {
                f64::MAX
            } else {
                square_error(weights, &self.trial, scale)
            };
            if error < least {
                least = error;
                std::mem::swap(&mut self.integers, &mut self.trial);
                (self.scale, self.reduced) = (scale, reduced);
            }
            if reduced == 0 && error < f64::MAX {
                break;
            }
        }
    }
}

fn square_error(weights: &[f32], integers: &[i8], scale: f32) -> f64 {
    let square = |(&weight, &integer): (&f32, &i8)| {
        let error = f64::from(weight) - f64::from(integer) * f64::from(scale);
        error * error
    };
    weights.iter().zip(integers).map(square).sum()
}

/// Takes units from the largest weights of each lane of each group until its positive weights sum to at
/// most [`LANE_BOUND`], and its negative ones. Returns how many weights lost something.
fn bound_lanes(integers: &mut [i8]) -> usize {
    let mut reduced = 0;
    for group in integers.chunks_mut(GROUP) {
        for lane in [0, 2] {
            let places = (0..group.len()).filter(|k| k % 4 == lane || k % 4 == lane + 1);
            for sign in [1, -1] {
                let part = |weight: i8| (sign * i32::from(weight)).max(0);
                let mut excess = places.clone().map(|k| part(group[k])).sum::<i32>() - LANE_BOUND;
                let mut lowered = [false; GROUP];
                while excess > 0 {
                    let Some(most) = places.clone().max_by_key(|&k| part(group[k])) else {
                        break;
                    };
                    group[most] -= sign as i8;
                    lowered[most] = true;
                    excess -= 1;
                }
                reduced += lowered.into_iter().filter(|&lowered| lowered).count();
            }
        }
    }
    reduced
}
