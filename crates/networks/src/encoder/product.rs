//! A layer's matrix product in the precision asked for, packed from floats or mapped as it was packed.

use kernels::{
    Epilogue, IntegerLinear, Isa, Linear, LinearPart, QuantizeScratch, ShapeError, Team, Width,
};

use crate::error::ModelError;
use crate::precision::Precision;
use crate::quantized::{MappedProducts, ProductChoice, ProductName};
use crate::weights::Scope;

/// Where the encoder's products come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProductSource<'a> {
    /// They are packed from the model's own weights.
    Packed {
        precision: Precision,
        /// Those that are no coarser than [`Precision::Near`].
        near: &'a [ProductChoice],
    },
    /// They were packed before.
    Mapped(MappedProducts<'a>),
}

impl ProductSource<'_> {
    /// The precision as a whole; single products may be closer.
    pub(crate) fn precision(&self) -> Precision {
        match self {
            ProductSource::Packed { precision, .. } => *precision,
            ProductSource::Mapped(mapped) => mapped.precision(),
        }
    }

    /// The product `name` of `[out_features, in_features]`, from `pack` where it has to be packed.
    pub(super) fn product(
        &self,
        isa: Isa,
        name: ProductName,
        sizes: [usize; 2],
        pack: impl FnOnce(Precision) -> Result<Product, ModelError>,
    ) -> Result<Product, ModelError> {
        match self {
            ProductSource::Mapped(mapped) => mapped.product(isa, name, sizes).map(Product::Integer),
            ProductSource::Packed { precision, near } => {
                let kept = near.iter().any(|choice| choice.has(name));
                pack(match precision {
                    Precision::Fast if kept => Precision::Near,
                    precision => *precision,
                })
            }
        }
    }
}

/// Packed weights, in f32 or as integers.
#[derive(Debug)]
pub(crate) enum Product {
    Float(Linear),
    Integer(IntegerLinear),
}

impl Product {
    /// Packs layers with the same input, their outputs side by side.
    pub(crate) fn pack(
        isa: Isa,
        precision: Precision,
        parts: &[LinearPart<'_>],
        in_features: usize,
    ) -> Result<Product, ShapeError> {
        let width = match precision {
            Precision::Exact => {
                return Linear::pack_many(isa, parts, in_features).map(Product::Float);
            }
            Precision::Near => Width::Int16,
            Precision::Fast => Width::Int8,
        };
        IntegerLinear::pack(isa, width, parts, in_features).map(Product::Integer)
    }

    /// The linear layer `name` of the model, its pages given back.
    pub(crate) fn from_layer(
        (isa, precision): (Isa, Precision),
        scope: &Scope<'_>,
        name: &str,
        [out_features, in_features]: [usize; 2],
    ) -> Result<Product, ModelError> {
        let weight = scope.tensor(&format!("{name}.weight"), &[out_features, in_features])?;
        let bias = scope.tensor(&format!("{name}.bias"), &[out_features])?;
        let part = LinearPart {
            weight: &weight.values(),
            bias: Some(&bias.values()),
            out_features,
        };
        let packed = Product::pack(isa, precision, &[part], in_features);
        weight.release();
        packed.map_err(|error| scope.kernel_error(&error))
    }

    /// `y = epilogue(x·Wᵀ + bias)` for whole rows.
    pub(crate) fn apply(
        &self,
        team: &dyn Team,
        x: &[f32],
        epilogue: Epilogue<'_>,
        scratch: &mut QuantizeScratch,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        match self {
            Product::Float(linear) => linear.apply(team, x, epilogue, y),
            Product::Integer(linear) => linear.apply(team, x, epilogue, scratch, y),
        }
    }

    pub(crate) fn in_features(&self) -> usize {
        match self {
            Product::Float(linear) => linear.in_features(),
            Product::Integer(linear) => linear.in_features(),
        }
    }

    pub(crate) fn out_features(&self) -> usize {
        match self {
            Product::Float(linear) => linear.out_features(),
            Product::Integer(linear) => linear.out_features(),
        }
    }

    /// Multiplications and additions that so many rows cost.
    pub(crate) fn operations(&self, rows: usize) -> usize {
        2 * rows * self.in_features() * self.out_features()
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Product::Float(linear) => linear.bytes(),
            Product::Integer(linear) => linear.bytes(),
        }
    }
}
