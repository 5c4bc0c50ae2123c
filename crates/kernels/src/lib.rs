//! CPU compute on slices: packed matrix products, variable-length attention, norms, activations, pooling.
