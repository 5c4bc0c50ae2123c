//! From a model to a quantised directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kernels::{IntegerLinear, Isa, Width};
use safetensors::tensor::Dtype;

use super::file::{self, NewTensor, Values};
use super::manifest::{FORMAT, Manifest, PackedProduct, Panels, Source};
use super::staged::{self, IfThere, Staged, unwritable};
use super::sums::FileSum;
use super::{MANIFEST, ProductChoice, ProductName, QuantizeError, WEIGHTS};
use crate::directory::ModelDirectory;
use crate::encoder::ProductSource;
use crate::network::{LoadOptions, Network};
use crate::precision::Precision;
use crate::weights::Weights;

/// How to quantise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizeSpec {
    /// [`Precision::Near`] or [`Precision::Fast`].
    pub precision: Precision,
    /// Products that get 16 bits in a [`Precision::Fast`] model: those where 8 cost too much.
    pub keep_near: Vec<ProductChoice>,
    /// What becomes of something that is at the target.
    pub if_there: IfThere,
}

impl Default for QuantizeSpec {
    fn default() -> Self {
        QuantizeSpec {
            precision: Precision::Fast,
            keep_near: Vec::new(),
            if_there: IfThere::Refuse,
        }
    }
}

/// Quantises a model. What comes back is written whole, beside `target`; [`Staged::place`] brings it there.
///
/// ```no_run
/// use batchwright_networks::{ModelDirectory, QuantizeSpec, quantize};
///
/// let model = ModelDirectory::open("models/all-MiniLM-L6-v2".as_ref())?;
/// quantize(&model, "models/minilm-fast".as_ref(), &QuantizeSpec::default())?.place()?;
/// # Ok::<(), batchwright_networks::QuantizeError>(())
/// ```
///
/// # Errors
/// A model that cannot be loaded, a target that is there, a product that the model has not, or a disk that
/// is full. Nothing is left behind.
pub fn quantize(
    model: &ModelDirectory,
    target: &Path,
    spec: &QuantizeSpec,
) -> Result<Staged, QuantizeError> {
    let config = model.config();
    if spec.precision == Precision::Exact {
        return Err(QuantizeError::Exact);
    }
    if model.quantized().is_some() {
        return Err(QuantizeError::AlreadyQuantized {
            path: model.path().to_owned(),
        });
    }
    if let Some(&choice) = spec.keep_near.iter().find(|it| it.layer() >= config.layers) {
        return Err(QuantizeError::NoSuchLayer {
            choice,
            last: config.layers.saturating_sub(1),
        });
    }
    let staged = Staged::new(target, spec.if_there)?;
    // The model's own task: its head is all that there is beside the encoder.
    let weights = Weights::open(model.path(), model.encoder_folder())?;
    let source = ProductSource::Packed {
        precision: spec.precision,
        near: &spec.keep_near,
    };
    let network = Network::build(model, &weights, source, &options())?;
    let products: Vec<(ProductName, &IntegerLinear)> = network.integer_products().collect();

    let mut files = BTreeMap::new();
    for name in model.small_files() {
        let (from, to) = (model.path().join(name), staged.path().join(name));
        if !from.is_file() {
            continue;
        }
        copy(&from, &to)?;
        files.insert(name.to_string_lossy().replace('\\', "/"), FileSum::of(&to)?);
    }
    let mut tensors: Vec<NewTensor<'_>> = products
        .iter()
        .flat_map(|(name, linear)| packed_tensors(*name, linear))
        .collect();
    tensors.extend(other_tensors(model, &weights));
    let path = staged.path().join(WEIGHTS);
    let sum = file::write(&path, tensors).map_err(|error| unwritable(&path, &error))?;
    files.insert(WEIGHTS.to_owned(), sum);

    let manifest = Manifest {
        format: FORMAT,
        program: concat!("batchwright ", env!("CARGO_PKG_VERSION")).to_owned(),
        precision: spec.precision,
        source: Source {
            fingerprint: blake3::Hash::from_bytes(model.fingerprint()?)
                .to_hex()
                .to_string(),
        },
        panels: Panels::ours(),
        products: products
            .iter()
            .map(|(name, linear)| PackedProduct::of(*name, linear))
            .collect(),
        files,
        checksum: String::new(),
    };
    let path = staged.path().join(MANIFEST);
    let text = manifest
        .sealed()
        .map_err(|error| QuantizeError::Unwritable {
            path: path.clone(),
            message: error.to_string(),
        })?;
    fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
    sync_file(&path)?;
    staged::sync(staged.path());
    Ok(staged)
}

/// Packed weights are the same for all instruction sets.
fn options() -> LoadOptions {
    LoadOptions {
        isa: Isa::Scalar,
        ..LoadOptions::default()
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), QuantizeError> {
    let refused = |error: std::io::Error| unwritable(to, &error);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(refused)?;
    }
    // Read and written, not copied: the copy is the user's own, whatever rights the original has.
    let bytes = fs::read(from).map_err(|error| crate::error::ModelError::Unreadable {
        path: from.to_owned(),
        message: error.to_string(),
    })?;
    fs::write(to, bytes).map_err(refused)?;
    sync_file(to)
}

fn sync_file(path: &Path) -> Result<(), QuantizeError> {
    fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| unwritable(path, &error))
}

fn packed_tensors(name: ProductName, linear: &IntegerLinear) -> Vec<NewTensor<'_>> {
    let parts = linear.parts();
    let panel = parts.width.panels();
    let panels = parts.scales.len() / panel.columns;
    let depth = parts.in_features.next_multiple_of(panel.depth);
    let tensor = |part: &str, dtype, shape, values| NewTensor {
        name: format!("{name}.{part}"),
        dtype,
        shape,
        values,
    };
    let columns = vec![parts.scales.len()];
    let mut tensors = vec![
        tensor(
            "weight",
            match parts.width {
                Width::Int8 => Dtype::I8,
                Width::Int16 => Dtype::I16,
            },
            vec![
                panels,
                depth / panel.together,
                panel.columns,
                panel.together,
            ],
            Values::Bytes(&parts.weights),
        ),
        tensor(
            "scales",
            Dtype::F32,
            columns.clone(),
            Values::Floats((&parts.scales[..]).into()),
        ),
        tensor(
            "bias",
            Dtype::F32,
            columns,
            Values::Floats((&parts.bias[..]).into()),
        ),
    ];
    if !parts.sums.is_empty() {
        let pairs = parts.sums.len() / panels / panel.columns / 2;
        tensors.push(tensor(
            "sums",
            Dtype::I16,
            vec![panels, pairs, panel.columns, 2],
            Values::Shorts(&parts.sums),
        ));
    }
    tensors
}

/// Everything else that loading the network has read, in f32, so that it too can be used where it is mapped.
fn other_tensors<'w>(model: &ModelDirectory, weights: &'w Weights) -> Vec<NewTensor<'w>> {
    let layers = &model.config().family.layout().layers;
    let packed: BTreeSet<String> = (0..model.config().layers)
        .flat_map(|layer| {
            layers.products().into_iter().flat_map(move |name| {
                ["weight", "bias"].map(|kind| format!("{}{layer}.{name}.{kind}", layers.stem))
            })
        })
        .collect();
    let others = weights.used().into_iter().filter(|name| {
        // Under whatever prefix the encoder is.
        !packed.iter().any(|packed| name.ends_with(packed.as_str()))
    });
    others
        .filter_map(|name| {
            let tensor = weights.find(&name)?;
            Some(NewTensor {
                shape: tensor.shape().to_vec(),
                dtype: Dtype::F32,
                values: Values::Floats(tensor.values()),
                name,
            })
        })
        .collect()
}
