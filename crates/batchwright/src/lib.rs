//! Batch prediction with transformer text encoders.
