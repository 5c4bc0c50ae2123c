//! Whole jobs, from files to files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows these in tests, but does not see helpers of a test binary as such"
)]

mod bad_rows;
mod broken_files;
mod formats;
mod parquet_input;
mod properties;
mod resume;
mod states;
mod streams;
mod support;
