//! A tensor as floats: in place where the file holds aligned f32, converted otherwise.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::tensor::Dtype;

use super::map::{Entry, MappedFile};

/// A tensor of a mapped file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tensor<'w> {
    file: &'w Arc<MappedFile>,
    entry: &'w Entry,
}

impl<'w> Tensor<'w> {
    pub(super) fn new(file: &'w Arc<MappedFile>, entry: &'w Entry) -> Tensor<'w> {
        Tensor { file, entry }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.entry.shape
    }

    /// The element type's name, where it is not one that [`Tensor::values`] reads.
    pub(super) fn foreign_type(&self) -> Option<String> {
        match self.entry.dtype {
            Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => None,
            other => Some(format!("{other:?}")),
        }
    }

    /// The values in row-major order; half and double precision are converted to f32.
    pub(crate) fn values(&self) -> Cow<'w, [f32]> {
        let file: &'w MappedFile = self.file;
        let bytes = file.bytes(&self.entry.bytes);
        match self.entry.dtype {
            Dtype::F32 => match file.floats(&self.entry.bytes) {
                Some(floats) => Cow::Borrowed(floats),
                None => Cow::Owned(convert(bytes, f32::from_le_bytes)),
            },
            Dtype::F16 => Cow::Owned(convert(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Cow::Owned(convert(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            Dtype::F64 => Cow::Owned(convert(bytes, |b| f64::from_le_bytes(b) as f32)),
            // `foreign_type` keeps every other type out before a tensor is handed on.
            _ => Cow::Owned(Vec::new()),
        }
    }

    /// Gives back the pages that reading the values made resident.
    pub(crate) fn release(self) {
        self.file.release(&self.entry.bytes);
    }

    /// Keeps the values for lookups by row: in the map where they are f32, so that only rows in use
    /// take memory.
    pub(crate) fn into_table(self) -> Table {
        match self.values() {
            Cow::Borrowed(_) => {
                self.release();
                Table::Mapped {
                    file: Arc::clone(self.file),
                    bytes: self.entry.bytes.clone(),
                }
            }
            Cow::Owned(values) => {
                self.release();
                Table::Owned(values)
            }
        }
    }
}

/// A tensor of any type, as the bytes that it is: packed weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawTensor<'w> {
    file: &'w Arc<MappedFile>,
    entry: &'w Entry,
}

impl<'w> RawTensor<'w> {
    pub(super) fn new(file: &'w Arc<MappedFile>, entry: &'w Entry) -> RawTensor<'w> {
        RawTensor { file, entry }
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    /// The bytes where they are: the map, and their place in it.
    pub(crate) fn shared(&self) -> (Arc<dyn AsRef<[u8]> + Send + Sync>, Range<usize>) {
        let owner: Arc<MappedFile> = Arc::clone(self.file);
        (owner, self.entry.bytes.clone())
    }

    /// A copy of the bytes as numbers.
    pub(crate) fn numbers<T: kernels::Number + Default, const N: usize>(
        &self,
        number: impl Fn([u8; N]) -> T,
    ) -> kernels::AlignedVec<T> {
        let (elements, _) = self.file.bytes(&self.entry.bytes).as_chunks::<N>();
        let mut numbers = kernels::AlignedVec::new_zeroed(elements.len());
        for (to, element) in numbers.iter_mut().zip(elements) {
            *to = number(*element);
        }
        numbers
    }
}

fn convert<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|element| number(*element)).collect()
}

/// The values of a lookup table.
#[derive(Debug)]
pub(crate) enum Table {
    Mapped {
        file: Arc<MappedFile>,
        bytes: Range<usize>,
    },
    Owned(Vec<f32>),
}

impl Table {
    /// Bytes of all rows; of a mapped table only those in use are resident.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Table::Mapped { bytes, .. } => bytes.len(),
            Table::Owned(values) => size_of_val(values.as_slice()),
        }
    }
}

impl Deref for Table {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Table::Mapped { file, bytes } => file.floats(bytes).unwrap_or_default(),
            Table::Owned(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Weights;
    use crate::error::ModelError;
    use safetensors::tensor::{Dtype, TensorView};
    use std::path::Path;

    fn saved(dtype: Dtype, count: usize, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let view = TensorView::new(dtype, vec![count], bytes).unwrap();
        let path = folder.path().join("model.safetensors");
        safetensors::serialize_to_file([("t", view)], None, &path).unwrap();
        folder
    }

    /// Checkpoints in half precision, which many models come in, would give wrong answers.
    #[test]
    fn every_float_type_is_read() {
        let values = [0.0f32, -1.5, 0.25, 1024.0];
        let cases: [(Dtype, Vec<u8>); 4] = [
            (
                Dtype::F32,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ),
            (
                Dtype::F64,
                values
                    .iter()
                    .flat_map(|v| f64::from(*v).to_le_bytes())
                    .collect(),
            ),
            (
                Dtype::F16,
                values
                    .iter()
                    .flat_map(|v| half::f16::from_f32(*v).to_le_bytes())
                    .collect(),
            ),
            (
                Dtype::BF16,
                values
                    .iter()
                    .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
                    .collect(),
            ),
        ];
        for (dtype, bytes) in cases {
            let folder = saved(dtype, values.len(), &bytes);
            let weights = Weights::open(folder.path(), Path::new("")).unwrap();
            let tensor = weights.scope("").tensor("t", &[4]).unwrap();
            assert_eq!(tensor.values().as_ref(), values, "{dtype:?}");
            let table = tensor.into_table();
            drop(weights);
            // The table outlives the set of weights: the map stays open.
            assert_eq!(*table, values, "{dtype:?}");
        }
    }

    /// Integer weights taken for floats would give random answers.
    #[test]
    fn quantised_weights_are_refused_by_type() {
        let folder = saved(Dtype::I8, 4, &[1, 2, 3, 4]);
        let weights = Weights::open(folder.path(), Path::new("")).unwrap();
        let error = weights.scope("").tensor("t", &[4]).unwrap_err();
        assert!(
            matches!(&error, ModelError::TensorType { found, .. } if found == "I8"),
            "{error:?}"
        );
    }
}
