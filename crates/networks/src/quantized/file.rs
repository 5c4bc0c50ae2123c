//! Writing safetensors so that they can be used where they are mapped.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use super::sums::FileSum;

/// One cache line: what vector code likes its data to begin at.
const ALIGNMENT: usize = 64;

/// A tensor to be written.
pub(super) struct NewTensor<'a> {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) values: Values<'a>,
}

/// A tensor's values, written as the machine's own bytes: little-endian ones, as the format asks.
pub(super) enum Values<'a> {
    Bytes(&'a [u8]),
    Floats(std::borrow::Cow<'a, [f32]>),
    Shorts(&'a [i16]),
}

impl Values<'_> {
    fn bytes(&self) -> usize {
        match self {
            Values::Bytes(bytes) => bytes.len(),
            Values::Floats(floats) => size_of_val(floats.as_ref()),
            Values::Shorts(shorts) => size_of_val(*shorts),
        }
    }

    fn write(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        /// Values converted at a time.
        const SOME: usize = 16_384;
        let mut buffer = Vec::with_capacity(4 * SOME);
        match self {
            Values::Bytes(bytes) => return write(bytes),
            Values::Floats(floats) => {
                for some in floats.chunks(SOME) {
                    buffer.clear();
                    buffer.extend(some.iter().flat_map(|value| value.to_le_bytes()));
                    write(&buffer)?;
                }
            }
            Values::Shorts(shorts) => {
                for some in shorts.chunks(SOME) {
                    buffer.clear();
                    buffer.extend(some.iter().flat_map(|value| value.to_le_bytes()));
                    write(&buffer)?;
                }
            }
        }
        Ok(())
    }
}

/// Writes tensors one after the other, and sums up the file on the way.
///
/// The data begin at a multiple of 64 bytes. Tensors whose size is such a multiple come first, so that each
/// of them begins at one too: all packed weights are among them. The others follow by the largest
/// power of two that divides their size, so that f32 lie at multiples of four at least.
pub(super) fn write(path: &Path, mut tensors: Vec<NewTensor<'_>>) -> io::Result<FileSum> {
    let alignment = |tensor: &NewTensor<'_>| {
        let bytes = tensor.values.bytes();
        ALIGNMENT.min(1 << bytes.trailing_zeros().min(31))
    };
    // Stable: within an alignment the order stays the one in which they are used.
    tensors.sort_by_key(|tensor| std::cmp::Reverse(alignment(tensor)));
    let mut header = Map::new();
    let mut end = 0;
    for tensor in &tensors {
        let start = end;
        end += tensor.values.bytes();
        let entry = json!({
            "dtype": format!("{:?}", tensor.dtype),
            "shape": tensor.shape,
            "data_offsets": [start, end],
        });
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The format lets a header end in spaces; its length takes eight bytes before it.
    header.resize((8 + header.len()).next_multiple_of(ALIGNMENT) - 8, b' ');

    let mut out = BufWriter::new(File::create(path)?);
    let (mut hash, mut written) = (blake3::Hasher::new(), 0_u64);
    let mut put = |bytes: &[u8]| {
        hash.update(bytes);
        written += bytes.len() as u64;
        out.write_all(bytes)
    };
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for tensor in &tensors {
        tensor.values.write(&mut put)?;
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(FileSum::new(written, &hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    /// Packed weights would be copied, or read across cache lines, and other programs could not read the
    /// file at all.
    #[test]
    fn data_are_aligned_and_come_back() {
        let tensor = |name: &str, values: Values<'static>| NewTensor {
            name: name.to_owned(),
            dtype: match values {
                Values::Bytes(_) => Dtype::I8,
                Values::Floats(_) => Dtype::F32,
                Values::Shorts(_) => Dtype::I16,
            },
            shape: vec![
                values.bytes()
                    / match values {
                        Values::Bytes(_) => 1,
                        Values::Floats(_) => 4,
                        Values::Shorts(_) => 2,
                    },
            ],
            values,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        for odd in 1..40 {
            let name = "n".repeat(odd);
            let tensors = vec![
                tensor("odd", Values::Shorts(&[1, -2, 3])),
                tensor(&name, Values::Floats(vec![0.5; odd].into())),
                tensor("packed", Values::Bytes(&[7; 128])),
                tensor("sums", Values::Shorts(&[-9; 64])),
            ];
            let sum = write(&path, tensors).unwrap();
            assert_eq!(sum, FileSum::of(&path).unwrap());
            let file = std::fs::read(&path).unwrap();
            let read = SafeTensors::deserialize(&file).unwrap();
            let at = |name: &str| {
                read.tensor(name).unwrap().data().as_ptr() as usize - file.as_ptr() as usize
            };
            assert_eq!((at("packed") % 64, at("sums") % 64), (0, 0));
            assert_eq!(at(&name) % 4, 0);
            assert_eq!(read.tensor("packed").unwrap().data(), [7; 128]);
            assert_eq!(
                read.tensor(&name).unwrap().data(),
                0.5f32.to_le_bytes().repeat(odd)
            );
            assert_eq!(read.tensor("odd").unwrap().data(), [1, 0, 254, 255, 3, 0]);
        }
    }
}
