//! Looking tensors up by name under a prefix, with the shape they must have.

use super::Weights;
use super::tensor::Tensor;
use crate::error::ModelError;

/// The tensors whose names begin with a prefix.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'w> {
    weights: &'w Weights,
    prefix: String,
}

/// The scale and shift of a layer norm.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

impl Norm {
    pub(crate) fn with(&self, epsilon: f32) -> kernels::LayerNorm<'_> {
        kernels::LayerNorm {
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon,
        }
    }
}

/// Names that TensorFlow checkpoints, and those converted from them, have for a norm's parameters.
const LEGACY: [(&str, &str); 2] = [(".weight", ".gamma"), (".bias", ".beta")];

impl<'w> Scope<'w> {
    pub(super) fn new(weights: &'w Weights, prefix: String) -> Scope<'w> {
        Scope { weights, prefix }
    }

    /// The scope of a longer prefix.
    pub(crate) fn within(&self, more: &str) -> Scope<'w> {
        Scope {
            weights: self.weights,
            prefix: format!("{}{more}", self.prefix),
        }
    }

    /// A kernel's refusal of a shape, with the place of the weights.
    pub(crate) fn kernel_error(&self, error: &kernels::ShapeError) -> ModelError {
        ModelError::Kernel {
            path: self.weights.place().to_owned(),
            message: error.to_string(),
        }
    }

    /// The tensor with this name and shape, in a type that can be read.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'w>, ModelError> {
        let full = format!("{}{name}", self.prefix);
        let tensor = self.weights.find(&full).or_else(|| {
            LEGACY.iter().find_map(|(ending, legacy)| {
                let stem = full.strip_suffix(ending)?;
                self.weights.find(&format!("{stem}{legacy}"))
            })
        });
        let Some(tensor) = tensor else {
            return Err(ModelError::MissingTensor {
                path: self.weights.place().to_owned(),
                name: full,
                hint: self.weights.hint(),
            });
        };
        if tensor.shape() != shape {
            return Err(ModelError::TensorShape {
                path: tensor.path().to_owned(),
                name: full,
                expected: shape.to_vec(),
                found: tensor.shape().to_vec(),
            });
        }
        match tensor.foreign_type() {
            None => Ok(tensor),
            Some(found) => Err(ModelError::TensorType {
                path: tensor.path().to_owned(),
                name: full,
                found,
            }),
        }
    }

    /// A tensor with a first dimension of at least `rows`, as a table may have more rows than are
    /// used.
    pub(crate) fn rows(
        &self,
        name: &str,
        rows: usize,
        width: usize,
    ) -> Result<Tensor<'w>, ModelError> {
        let full = format!("{}{name}", self.prefix);
        let there = self
            .weights
            .find(&full)
            .map(|tensor| tensor.shape().to_vec());
        match there.as_deref() {
            Some([more, _]) if *more > rows => self.tensor(name, &[*more, width]),
            _ => self.tensor(name, &[rows, width]),
        }
    }

    /// The parameters of a layer norm.
    pub(crate) fn norm(&self, name: &str, width: usize) -> Result<Norm, ModelError> {
        let values = |part: &str| {
            let tensor = self.tensor(&format!("{name}.{part}"), &[width])?;
            Ok(tensor.values().into_owned())
        };
        Ok(Norm {
            gamma: values("weight")?,
            beta: values("bias")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Checkpoints converted from TensorFlow could not be loaded.
    #[test]
    fn legacy_names_of_layer_norms_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["old.LayerNorm.gamma", "old.LayerNorm.beta"]
            .into_iter()
            .chain(["new.LayerNorm.weight", "new.LayerNorm.bias"])
            .map(|name| format!("bert.{name}"));
        let names: Vec<String> = names.collect();
        let tensors: Vec<(&str, &[usize], &[f32])> = names
            .iter()
            .map(|name| (name.as_str(), &[2][..], &[1.0, 2.0][..]))
            .collect();
        testing::golden::save_tensors(&folder.path().join("model.safetensors"), &tensors);
        let weights = Weights::open(folder.path(), Path::new("")).unwrap();
        let scope = weights.encoder("bert.", "new.LayerNorm.weight");
        for name in ["old.LayerNorm", "new.LayerNorm"] {
            let norm = scope.norm(name, 2).unwrap();
            assert_eq!(
                (norm.gamma.as_slice(), norm.beta.as_slice()),
                (&[1.0, 2.0][..], &[1.0, 2.0][..])
            );
        }
        assert!(scope.within("old.").norm("LayerNorm", 3).is_err());
    }
}
