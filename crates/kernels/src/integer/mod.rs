//! The fully connected layer in integers: weights of 8 or 16 bits, rows quantised as they come.
//!
//! | width | weights | rows | a column's sum |
//! |---|---|---|---|
//! | [`Width::Int16`] | 12 to 16 bits, one scale a column | 14 bits, symmetric, one scale for each block of 384 values | exact over a block, then f32 |
//! | [`Width::Int8`] | 8 bits, one scale a column | 7 bits (8 where the machine can), a zero point and a scale for each block | exact over all |
//!
//! # Scales of blocks for nothing
//!
//! A block of an 8-bit row has a scale of its own, so that one outlier spoils only its own block. All are
//! whole multiples (1 to 127, the block's *factor*) of one scale of the row. The machine's way from sums of
//! 16 bits to sums of 32 is a multiplication, by one; we multiply by the factor, and sums go on over
//! blocks as integers. The zero points are set off by a product of few terms, factor · zero point · sum
//! of the block's weights, from which the sums start.
//!
//! # Eight products in sixteen bits
//!
//! `vpmaddubsw` multiplies 7-bit values by 8-bit weights and adds two products in 16 bits. We add four of
//! its results before they are widened, 9 instructions for 128 products instead of 12. It is exact
//! if in each lane the positive weights sum to at most 258, and the negative ones: 127 · 258 fits 16
//! bits. The packing sees to it, by taking units from the largest weights of a lane which exceeds that.
//!
//! # What was tried
//!
//! Larger tiles of rows and columns lose to small ones: on Zen 3 all four vector pipes are taken, by two
//! multiplications and as many additions in each cycle, and registers that delay additions are worth more than
//! those that save loads. The 16-bit tile alone does 154 Gop/s of its bound of 207 as the compiler orders it, 169
//! by hand, and with rows to be quantised and columns to be finished 155. Panels of twice the width and
//! tiles of three or six rows are within 2 % of that. At 8 bits two rows by two vectors need a fifth fewer loads and, in the
//! best of some five hundred orders of instructions, do 263 Gop/s where one row by four does 289; broadcasting
//! by shuffles instead of loads does 280. Huge pages for activations and weights changed nothing. The bias added by the
//! multiplication (`fma`) saves half a percent, but portable code has no such instruction, and bits would differ.
//!
//! What could still be had: the offsets for zero points are 3 % of the products; where a group's lane had room for 12 weights
//! instead of 8 there would be 7 % fewer multiplications, for a tenth more error.
//!
//! # Weights that come in time
//!
//! A batch goes through all layers' weights before the first is needed again, so each panel comes from the
//! third-level cache, and its first row would wait for it. Each row asks for a share of the next panel instead: six
//! layers in turn, 96 rows, AVX2 on Zen 3, 220 Gop/s before and 234 with it (`kernel_bench avx2 layers`); asked for in
//! bursts before each eight rows it gained nothing.
//!
//! # The same bits
//!
//! Integer sums are exact, so that they do not depend on tiles, teams or instruction sets; the floats
//! around them are a row's own. What the instruction sets' activations make of them may differ in the last
//! bits, and so do the rows of 8-bit machines from those of 7-bit ones.

mod product;
mod rows;
mod weights;

use std::fmt;

pub use rows::QuantizeScratch;
pub use weights::{IntegerParts, PackedBytes};

use crate::error::{ShapeError, check_length, check_product, check_rows};
use crate::isa::Isa;
use crate::linear::{Epilogue, LinearPart};
use crate::simd::integer::{GROUP, PANEL8, PANEL16, dispatch_integer};
use crate::team::{Shared, Team, run_parts, share};
use product::{IntegerProduct, QuantizeOnly, ROW_BLOCK};
use rows::RowRoom;

const OPERATOR: &str = "integer linear";

/// Up to as many rows a part of a team, columns are divided: then each part reads only its share of the
/// weights, which a product of few rows waits for.
const FEW_ROWS: usize = 24;

/// Bits of the weights of an [`IntegerLinear`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Nearly lossless: the precision *near*.
    Int16,
    /// The precision *fast*.
    Int8,
}

impl Width {
    /// How the packed weights of this width lie.
    #[must_use]
    pub const fn panels(self) -> PanelShape {
        match self {
            Width::Int8 => PanelShape {
                columns: PANEL8,
                together: 4,
                depth: GROUP,
            },
            Width::Int16 => PanelShape {
                columns: PANEL16,
                together: 2,
                depth: weights::STEP16,
            },
        }
    }
}

/// How packed weights lie: `[out / columns][in / together][columns][together]`. What a file records, so that
/// weights which another version packed in another way are not taken for ours.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PanelShape {
    /// Columns of a panel; `out` is padded to a multiple.
    pub columns: usize,
    /// Values of a column that lie side by side.
    pub together: usize,
    /// `in` is padded to a multiple.
    pub depth: usize,
}

/// The weights of a `torch.nn.Linear`, as packed integers.
///
/// Each column has one scale. Rows are quantised as they come: to 14 bits, symmetrically, with a scale for
/// each block of 384 values; or to 7 bits (8 where the machine multiplies those without loss), with a zero
/// point and a scale for each block of [`IntegerLinear::BLOCK`]. Sums are exact integers.
///
/// ```
/// use batchwright_kernels::{Epilogue, IntegerLinear, Isa, LinearPart, QuantizeScratch, Solo, Width};
/// let part = LinearPart { weight: &[1.0, 2.0, 3.0, 4.0], bias: Some(&[0.5, 0.0]), out_features: 2 };
/// let layer = IntegerLinear::pack(Isa::detect(), Width::Int16, &[part], 2)?;
/// let (mut scratch, mut y) = (QuantizeScratch::default(), [0.0; 2]);
/// layer.apply(&Solo, &[1.0, 0.5], Epilogue::Bias, &mut scratch, &mut y)?;
/// assert!((y[0] - 2.5).abs() < 1e-3 && (y[1] - 5.0).abs() < 1e-3);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
#[derive(Clone)]
pub struct IntegerLinear {
    isa: Isa,
    parts: IntegerParts,
}

impl IntegerLinear {
    /// Values of K which share a scale in an 8-bit row, where nothing else is asked for.
    pub const BLOCK: usize = 64;

    /// Quantises and packs layers with the same input, their outputs side by side.
    ///
    /// # Errors
    /// A slice of another length, or a size of zero.
    pub fn pack(
        isa: Isa,
        width: Width,
        parts: &[LinearPart<'_>],
        in_features: usize,
    ) -> Result<IntegerLinear, ShapeError> {
        IntegerLinear::pack_blocks(isa, width, IntegerLinear::BLOCK, parts, in_features)
    }

    /// As [`IntegerLinear::pack`], with another block of K for 8-bit rows: a multiple of 16, at most 256. 16-bit
    /// layers take no notice of it.
    ///
    /// # Errors
    /// A slice of another length, a size of zero, or another block.
    pub fn pack_blocks(
        isa: Isa,
        width: Width,
        block: usize,
        parts: &[LinearPart<'_>],
        in_features: usize,
    ) -> Result<IntegerLinear, ShapeError> {
        let parts = match width {
            Width::Int16 => weights::pack16(parts, in_features)?,
            Width::Int8 => weights::pack8(block, parts, in_features)?,
        };
        Ok(IntegerLinear::from_checked(isa, parts))
    }

    /// Packs 8-bit weights that somebody else has chosen: `[out][in]`, -127..=127, and a scale a column.
    ///
    /// Units are taken from lanes which exceed their bound, as in packing.
    ///
    /// # Errors
    /// A slice of another length, a size of zero, or another block.
    pub fn pack_int8(
        isa: Isa,
        block: usize,
        weights: &[i8],
        scales: &[f32],
        bias: Option<&[f32]>,
        in_features: usize,
    ) -> Result<IntegerLinear, ShapeError> {
        let parts = weights::pack_int8(block, weights, scales, bias, in_features)?;
        Ok(IntegerLinear::from_checked(isa, parts))
    }

    /// Takes up what [`IntegerLinear::parts`] gave, on this machine or another.
    ///
    /// # Errors
    /// A piece of another length than its sizes ask for.
    pub fn from_parts(isa: Isa, parts: IntegerParts) -> Result<IntegerLinear, ShapeError> {
        parts.check()?;
        Ok(IntegerLinear::from_checked(isa, parts))
    }

    fn from_checked(isa: Isa, parts: IntegerParts) -> IntegerLinear {
        IntegerLinear {
            isa: isa.or_scalar(),
            parts,
        }
    }

    /// The packed weights and what belongs to them. They are the same for all instruction sets.
    #[must_use]
    pub fn parts(&self) -> &IntegerParts {
        &self.parts
    }

    /// Bits of the weights.
    #[must_use]
    pub fn width(&self) -> Width {
        self.parts.width
    }

    /// Values in a row of the output.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.parts.out_features
    }

    /// Values in a row of the input.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.parts.in_features
    }

    /// Bytes of the packed weights and what belongs to them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.bytes()
    }

    /// The weights that it computes with, `[out_features][in_features]`.
    #[must_use]
    pub fn dequantized(&self) -> Vec<f32> {
        self.parts.dequantized()
    }

    /// `y = epilogue(x·Wᵀ + bias)`, with `x` `[rows][in_features]` and `y` `[rows][out_features]`.
    ///
    /// At 8 bits [`crate::Activation::GeluErf`] has an error up to 2e-4, or of 5e-5·x where that is more: a fraction of what the next
    /// product's rows lose.
    /// A row's bits depend on that row alone. A row with a value that is NaN or infinite, or whose values
    /// span more than f32 holds, gives NaN everywhere; one that spans less than 1e-30 counts as zero.
    ///
    /// # Errors
    /// `x` does not hold whole rows, or `y` or the residual another number of rows.
    pub fn apply(
        &self,
        team: &dyn Team,
        x: &[f32],
        epilogue: Epilogue<'_>,
        scratch: &mut QuantizeScratch,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        let rows = check_rows(OPERATOR, "x", self.in_features(), x.len())?;
        let size = check_product(OPERATOR, &[rows, self.out_features()])?;
        check_length(OPERATOR, "y", size, y.len())?;
        if let Epilogue::Residual(residual) = epilogue {
            check_length(OPERATOR, "residual", size, residual.len())?;
        }
        if rows == 0 {
            return Ok(());
        }
        let parts = team.size().max(1);
        let panels = self.parts.panels();
        // Rows are cut where columns would leave a part a quarter more to do.
        let even = 4 * panels.div_ceil(parts) * rows <= 5 * panels * rows.div_ceil(parts);
        let by_columns = parts > 1 && rows <= FEW_ROWS * parts && even;
        // A part which has rows to itself quantises a block of them just before it is used. Where columns
        // are divided, all parts need all rows: the calling thread quantises them, in a microsecond or two.
        let room_rows = if by_columns {
            rows
        } else {
            parts * ROW_BLOCK.min(rows)
        };
        check_product(OPERATOR, &[room_rows, self.parts.padded_depth(), 4])?;
        let room = RowRoom::new(scratch, &self.parts, room_rows, parts);
        if by_columns {
            dispatch_integer(
                self.isa,
                QuantizeOnly {
                    parts: &self.parts,
                    x,
                    quantized: room.from(0),
                },
            );
        }
        let y = Shared::new(y);
        run_parts(team, |part, parts| {
            let (rows, panels, first) = if by_columns {
                (0..rows, share(panels, part, parts), 0)
            } else {
                (share(rows, part, parts), 0..panels, room.first(part))
            };
            dispatch_integer(
                self.isa,
                IntegerProduct {
                    parts: &self.parts,
                    x,
                    quantized: room.from(first),
                    quantize: !by_columns,
                    sums: room.sums(part),
                    epilogue,
                    y: y.pointer(),
                    rows,
                    panels,
                },
            );
        });
        Ok(())
    }
}

impl fmt::Debug for IntegerLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntegerLinear")
            .field("isa", &self.isa)
            .field("width", &self.width())
            .field("in_features", &self.in_features())
            .field("out_features", &self.out_features())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
