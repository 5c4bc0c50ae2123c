//! `batchwright.json`: what a quantised directory holds, and how to know that it still does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use kernels::{IntegerLinear, Width};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sums::FileSum;
use super::{MANIFEST, ProductName, WEIGHTS};
use crate::directory::modules::inside;
use crate::error::ModelError;
use crate::precision::Precision;

/// The version of the format that is written, and the only one that is read.
pub(crate) const FORMAT: u64 = 1;

/// What to do about a quantised directory that cannot be used.
pub(super) const AGAIN: &str =
    "quantise the original model again: batchwright quantize MODEL -o OUT";

/// The manifest of a quantised directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Version of the format.
    pub(super) format: u64,
    /// The program that wrote it.
    pub(super) program: String,
    /// The precision that the directory was made for; single products may be closer.
    pub(crate) precision: Precision,
    pub(super) source: Source,
    pub(super) panels: Panels,
    /// In the order in which they run.
    pub(super) products: Vec<PackedProduct>,
    /// Every file of the directory but this one.
    pub(super) files: BTreeMap<String, FileSum>,
    /// BLAKE3 of this very file with nothing between these quotes and without white space between tokens.
    pub(super) checksum: String,
}

/// The model that was quantised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) fingerprint: String,
}

/// How packed weights lie, by the bits of a weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panels {
    int8: Panel,
    int16: Panel,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    columns: usize,
    together: usize,
    depth: usize,
}

impl Panel {
    fn of(width: Width) -> Panel {
        let shape = width.panels();
        Panel {
            columns: shape.columns,
            together: shape.together,
            depth: shape.depth,
        }
    }
}

impl Panels {
    /// Those of this program.
    pub(super) fn ours() -> Panels {
        Panels {
            int8: Panel::of(Width::Int8),
            int16: Panel::of(Width::Int16),
        }
    }
}

/// A product: everything about its packed weights but their bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackedProduct {
    pub(super) name: String,
    pub(super) bits: u32,
    pub(super) in_features: usize,
    pub(super) out_features: usize,
    pub(super) block: usize,
    pub(super) factor_limit: i32,
    pub(super) reduced: usize,
}

impl PackedProduct {
    pub(super) fn of(name: ProductName, linear: &IntegerLinear) -> PackedProduct {
        let parts = linear.parts();
        PackedProduct {
            name: name.to_string(),
            bits: bits(parts.width),
            in_features: parts.in_features,
            out_features: parts.out_features,
            block: parts.block,
            factor_limit: parts.factor_limit,
            reduced: parts.reduced,
        }
    }

    pub(super) fn width(&self) -> Option<Width> {
        [Width::Int8, Width::Int16]
            .into_iter()
            .find(|&width| bits(width) == self.bits)
    }
}

/// Bits of a weight.
pub(super) fn bits(width: Width) -> u32 {
    match width {
        Width::Int8 => 8,
        Width::Int16 => 16,
    }
}

impl Manifest {
    /// Reads and checks the manifest of a directory, and the small files against it; `None` where the
    /// directory is no quantised one.
    pub(crate) fn read(root: &Path) -> Result<Option<Manifest>, ModelError> {
        let path = root.join(MANIFEST);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(ModelError::Unreadable {
                    path,
                    message: error.to_string(),
                });
            }
        };
        let damaged = |problem: String| ModelError::QuantizedFile {
            path: path.clone(),
            problem,
        };
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(format!("is not valid JSON ({error})")))?;
        // The version first: what else there is depends on it.
        let Some(format) = value.get("format").and_then(Value::as_u64) else {
            return Err(damaged("does not say which `format` it has".to_owned()));
        };
        let program = value.get("program").and_then(Value::as_str);
        let other = |found: String| ModelError::QuantizedFormat {
            path: path.clone(),
            found,
            program: program.unwrap_or("another program").to_owned(),
        };
        if format != FORMAT {
            return Err(other(format!(
                "format {format}, and this program reads {FORMAT}"
            )));
        }
        let manifest: Manifest =
            serde_json::from_value(value.clone()).map_err(|error| damaged(error.to_string()))?;
        if manifest.sum() != Some(manifest.checksum.clone()) {
            return Err(damaged(
                "was altered or damaged: its checksum is another".to_owned(),
            ));
        }
        if manifest.panels != Panels::ours() {
            return Err(other(
                "weights packed for other kernels than this program's".to_owned(),
            ));
        }
        if cfg!(target_endian = "big") {
            return Err(other(
                "numbers of the other byte order than this machine's".to_owned(),
            ));
        }
        for (name, sum) in &manifest.files {
            if name != WEIGHTS {
                sum.check(&root.join(inside(&path, name)?))?;
            }
        }
        Ok(Some(manifest))
    }

    /// Checks the weights, which takes as long as reading them.
    pub(crate) fn check_weights(&self, root: &Path) -> Result<(), ModelError> {
        match self.files.get(WEIGHTS) {
            Some(sum) => sum.check(&root.join(WEIGHTS)),
            None => Err(ModelError::QuantizedFile {
                path: root.join(MANIFEST),
                problem: format!("does not list {WEIGHTS}"),
            }),
        }
    }

    pub(super) fn product(&self, name: ProductName) -> Option<&PackedProduct> {
        let name = name.to_string();
        self.products.iter().find(|product| product.name == name)
    }

    /// The manifest with its checksum, as it is written.
    pub(super) fn sealed(mut self) -> Result<String, serde_json::Error> {
        self.checksum = self.sum().unwrap_or_default();
        Ok(serde_json::to_string_pretty(&self)? + "\n")
    }

    fn sum(&self) -> Option<String> {
        let bare = Manifest {
            checksum: String::new(),
            ..self.clone()
        };
        let bytes = serde_json::to_vec(&bare).ok()?;
        Some(blake3::hash(&bytes).to_hex().to_string())
    }
}
