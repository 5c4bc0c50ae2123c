//! The fully connected layer: `y = epilogue(x·Wᵀ + bias)` with weights packed once.

use std::fmt;

use crate::activation::Activation;
use crate::error::{ShapeError, check_length, check_nonzero, check_product, check_rows};
use crate::isa::Isa;
use crate::memory::AlignedVec;
use crate::packing::{Geometry, Panels, geometry};
use crate::product::Product;
use crate::simd::dispatch;
use crate::team::{Shared, Team, run_parts, share};

const OPERATOR: &str = "linear";

/// What is done with a product before it is written, while it is still in registers or nearly so.
#[derive(Copy, Clone, Debug)]
pub enum Epilogue<'a> {
    /// The bias alone.
    Bias,
    /// The bias, then an activation.
    Activate(Activation),
    /// The bias, then the addition of these values, `[rows][out]`.
    Residual(&'a [f32]),
}

/// Rows of a weight matrix, as `torch.nn.Linear` keeps them.
#[derive(Copy, Clone, Debug)]
pub struct LinearPart<'a> {
    /// `[out][in]`, row-major.
    pub weight: &'a [f32],
    /// `[out]`; none is zero.
    pub bias: Option<&'a [f32]>,
    /// How many columns of the product it makes.
    pub out_features: usize,
}

/// The weights of a `torch.nn.Linear`, packed for one instruction set.
///
/// A product with them is bound by arithmetic: each weight is read once per micro-batch from a
/// panel of two vectors' width, see [`Linear::apply`].
///
/// ```
/// use batchwright_kernels::{Epilogue, Isa, Linear, Solo};
/// // out_0 = 1·x_0 + 2·x_1 + 0.5, out_1 = 3·x_0 + 4·x_1
/// let layer = Linear::pack(Isa::detect(), &[1.0, 2.0, 3.0, 4.0], Some(&[0.5, 0.0]), 2, 2)?;
/// let mut y = [0.0; 4];
/// layer.apply(&Solo, &[1.0, 0.0, 1.0, 1.0], Epilogue::Bias, &mut y)?;
/// assert_eq!(y, [1.5, 3.0, 3.5, 7.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
#[derive(Clone)]
pub struct Linear {
    isa: Isa,
    geometry: Geometry,
    weights: Panels,
    /// Padded with zeroes to whole panels.
    bias: AlignedVec<f32>,
    out_features: usize,
}

impl Linear {
    /// Packs `weight`, `[out_features][in_features]` row-major, and `bias`, `[out_features]`.
    ///
    /// # Errors
    /// A slice of another length, or a size of zero.
    pub fn pack(
        isa: Isa,
        weight: &[f32],
        bias: Option<&[f32]>,
        out_features: usize,
        in_features: usize,
    ) -> Result<Linear, ShapeError> {
        Linear::pack_many(
            isa,
            &[LinearPart {
                weight,
                bias,
                out_features,
            }],
            in_features,
        )
    }

    /// Packs several layers with the same input as one, their outputs side by side: query, key and
    /// value of attention become one product, whose input is read once.
    ///
    /// # Errors
    /// A slice of another length, or a size of zero.
    pub fn pack_many(
        isa: Isa,
        parts: &[LinearPart<'_>],
        in_features: usize,
    ) -> Result<Linear, ShapeError> {
        let isa = isa.or_scalar();
        let geometry = geometry(isa);
        check_nonzero(OPERATOR, "in_features", in_features)?;
        let mut out_features = 0usize;
        for part in parts {
            let size = check_product(OPERATOR, &[part.out_features, in_features])?;
            check_length(OPERATOR, "weight", size, part.weight.len())?;
            if let Some(bias) = part.bias {
                check_length(OPERATOR, "bias", part.out_features, bias.len())?;
            }
            out_features = out_features
                .checked_add(part.out_features)
                .ok_or(ShapeError::Overflow { operator: OPERATOR })?;
        }
        check_nonzero(OPERATOR, "out_features", out_features)?;
        let padded = out_features
            .checked_next_multiple_of(geometry.panel)
            .unwrap_or(usize::MAX);
        check_product(OPERATOR, &[padded, in_features, size_of::<f32>()])?;

        let mut weights = Panels::new_zeroed(out_features, in_features, geometry.panel);
        let mut bias = AlignedVec::new_zeroed(padded);
        let mut first = 0;
        for part in parts {
            weights.set_columns(first, part.weight);
            if let Some(values) = part.bias {
                bias[first..first + part.out_features].copy_from_slice(values);
            }
            first += part.out_features;
        }
        Ok(Linear {
            isa,
            geometry,
            weights,
            bias,
            out_features,
        })
    }

    /// Values in a row of the output.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Values in a row of the input.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.weights.depth
    }

    /// Bytes of the packed weights and bias.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weights.values.bytes() + self.bias.bytes()
    }

    /// `y = epilogue(x·Wᵀ + bias)`, with `x` `[rows][in_features]` and `y` `[rows][out_features]`.
    ///
    /// The team's parts take columns each, or rows each where that is the more even cut. A row's
    /// bits depend on that row alone: every output adds its products in one fixed order.
    ///
    /// # Errors
    /// `x` does not hold whole rows, or `y` or the residual another number of rows.
    pub fn apply(
        &self,
        team: &dyn Team,
        x: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        let rows = check_rows(OPERATOR, "x", self.in_features(), x.len())?;
        let size = check_product(OPERATOR, &[rows, self.out_features])?;
        check_length(OPERATOR, "y", size, y.len())?;
        if let Epilogue::Residual(residual) = epilogue {
            check_length(OPERATOR, "residual", size, residual.len())?;
        }
        if rows == 0 {
            return Ok(());
        }
        let parts = team.size().max(1);
        let tiles = rows.div_ceil(self.geometry.tile_rows);
        let by_columns = self.weights.panels.div_ceil(parts) * tiles;
        let by_rows = self.weights.panels * tiles.div_ceil(parts);
        let y = Shared::new(y);
        run_parts(team, |part, parts| {
            // On a tie by columns: then each part reads only its share of the weights.
            let (rows, panels) = if by_columns <= by_rows {
                (0..rows, share(self.weights.panels, part, parts))
            } else {
                (share(rows, part, parts), 0..self.weights.panels)
            };
            dispatch(
                self.isa,
                Product {
                    weights: &self.weights,
                    bias: &self.bias,
                    x,
                    epilogue,
                    y: y.pointer(),
                    columns: self.out_features,
                    rows,
                    panels,
                },
            );
        });
        Ok(())
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linear")
            .field("isa", &self.isa)
            .field("in_features", &self.in_features())
            .field("out_features", &self.out_features)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
