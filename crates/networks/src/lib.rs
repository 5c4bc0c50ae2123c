//! Transformer encoders: reading Hugging Face directories and running them on the kernels.
