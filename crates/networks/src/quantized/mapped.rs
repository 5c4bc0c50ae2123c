//! Packed products of a quantised directory, used where they are mapped.

use kernels::{AlignedVec, IntegerLinear, IntegerParts, Isa, PackedBytes, Width};
use safetensors::tensor::Dtype;

use super::{Manifest, ProductName};
use crate::error::ModelError;
use crate::precision::Precision;
use crate::weights::{RawTensor, Weights};

/// The products of an opened quantised directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MappedProducts<'a> {
    manifest: &'a Manifest,
    weights: &'a Weights,
}

impl<'a> MappedProducts<'a> {
    pub(crate) fn new(manifest: &'a Manifest, weights: &'a Weights) -> MappedProducts<'a> {
        MappedProducts { manifest, weights }
    }

    pub(crate) fn precision(&self) -> Precision {
        self.manifest.precision
    }

    /// The product `name` of `[out_features, in_features]`: its weights in the map, and copies of the few
    /// numbers that belong to them.
    pub(crate) fn product(
        &self,
        isa: Isa,
        name: ProductName,
        [out_features, in_features]: [usize; 2],
    ) -> Result<IntegerLinear, ModelError> {
        let damaged = |problem: String| ModelError::QuantizedFile {
            path: self.weights.place().to_owned(),
            problem: format!("holds `{name}` {problem}"),
        };
        let Some(packed) = self.manifest.product(name) else {
            return Err(damaged("nowhere: the manifest does not list it".to_owned()));
        };
        let sizes = [packed.out_features, packed.in_features];
        if sizes != [out_features, in_features] {
            return Err(damaged(format!(
                "as {sizes:?}, expected {:?} from config.json",
                [out_features, in_features]
            )));
        }
        let Some(width) = packed.width() else {
            return Err(damaged(format!(
                "in {} bits, expected 8 or 16",
                packed.bits
            )));
        };
        let tensor = |part: &str, dtype| self.tensor(&format!("{name}.{part}"), dtype);
        let weights = match width {
            Width::Int8 => tensor("weight", Dtype::I8),
            Width::Int16 => tensor("weight", Dtype::I16),
        }?;
        let (owner, range) = weights.shared();
        let parts = IntegerParts {
            width,
            in_features,
            out_features,
            block: packed.block,
            factor_limit: packed.factor_limit,
            reduced: packed.reduced,
            weights: PackedBytes::shared(owner, range).map_err(|e| damaged(e.to_string()))?,
            scales: tensor("scales", Dtype::F32)?.numbers(f32::from_le_bytes),
            bias: tensor("bias", Dtype::F32)?.numbers(f32::from_le_bytes),
            sums: match width {
                Width::Int8 => tensor("sums", Dtype::I16)?.numbers(i16::from_le_bytes),
                Width::Int16 => AlignedVec::default(),
            },
        };
        IntegerLinear::from_parts(isa, parts).map_err(|error| damaged(format!("({error})")))
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<RawTensor<'a>, ModelError> {
        let found = self
            .weights
            .raw(name)
            .filter(|found| found.dtype() == dtype);
        found.ok_or_else(|| ModelError::QuantizedFile {
            path: self.weights.place().to_owned(),
            problem: format!("has no tensor `{name}` of type {dtype:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{LoadOptions, ModelDirectory, Network, Precision, QuantizeSpec, quantize};

    /// Loading would take the memory of the weights twice, each process its own, and the time of copying.
    #[test]
    fn weights_stay_in_the_map_aligned_to_cache_lines() {
        let place = tempfile::tempdir().unwrap();
        for model in testing::golden::all() {
            for precision in [Precision::Near, Precision::Fast] {
                let out = place.path().join(format!("{}-{precision}", model.name));
                let spec = QuantizeSpec {
                    precision,
                    ..QuantizeSpec::default()
                };
                let directory = ModelDirectory::open(&model.directory).unwrap();
                quantize(&directory, &out, &spec).unwrap().place().unwrap();
                let directory = ModelDirectory::open(&out).unwrap();
                let network = Network::load(&directory, &LoadOptions::default()).unwrap();
                let mut products = 0;
                for (name, linear) in network.integer_products() {
                    let weights = &linear.parts().weights;
                    let shown = format!("{weights:?}");
                    assert!(
                        shown.contains("owned: false"),
                        "{} {name}: {shown}",
                        model.name
                    );
                    assert_eq!(weights.as_ptr() as usize % 64, 0, "{} {name}", model.name);
                    products += 1;
                }
                assert_eq!(products, 4 * model.layers, "{}", model.name);
            }
        }
    }
}
