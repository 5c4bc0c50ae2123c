//! One memory-mapped safetensors file.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::error::ModelError;

/// Bytes of the header's length, before the header.
const LENGTH_BYTES: usize = 8;

/// One tensor's place in its file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Bytes of the file.
    pub(super) bytes: Range<usize>,
}

#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

impl MappedFile {
    /// Maps a file and reads its header. The header's offsets are checked against the file's
    /// length, against each other, and against shapes and element types.
    pub(super) fn open(path: &Path) -> Result<(MappedFile, Vec<(String, Entry)>), ModelError> {
        let unreadable = |error: std::io::Error| ModelError::Unreadable {
            path: path.to_owned(),
            message: error.to_string(),
        };
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the map is read-only, and model files are put in place whole and replaced by
        // renaming, which leaves a mapped file as it was. Someone who overwrites the file in place
        // meanwhile changes weights (as with any mapped file) and no invariant of this process:
        // every byte is read as part of a float, for which all bit patterns are valid. Someone who
        // cuts it short in place ends the process with SIGBUS at the next read beyond its end, which
        // is rude and not undefined.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let corrupt = |message: String| ModelError::CorruptWeights {
            path: path.to_owned(),
            message,
        };
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| corrupt(error.to_string()))?;
        let data = LENGTH_BYTES + header;
        let entries = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (start, end) = info.data_offsets;
                let bytes = data + start..data + end;
                (
                    name,
                    Entry {
                        dtype: info.dtype,
                        shape: info.shape.clone(),
                        bytes,
                    },
                )
            })
            .collect();
        Ok((
            MappedFile {
                path: path.to_owned(),
                map,
            },
            entries,
        ))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.map.get(range.clone()).unwrap_or_default()
    }

    /// The range as floats, in place; `None` where the file did not align it or the machine is
    /// big-endian.
    pub(super) fn floats(&self, range: &Range<usize>) -> Option<&[f32]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: every bit pattern is a valid f32, and `align_to` puts unaligned ends aside.
        let (before, floats, after) = unsafe { self.bytes(range).align_to::<f32>() };
        (before.is_empty() && after.is_empty()).then_some(floats)
    }

    /// Gives the pages of a range back to the system; reading them again loads them again. Only
    /// memory is at stake, so that a refusal is ignored.
    pub(super) fn release(&self, range: &Range<usize>) {
        #[cfg(unix)]
        {
            // SAFETY: the map is shared, read-only and backed by the file: a dropped page comes
            // back with the file's content.
            let advised = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            drop(advised);
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}
