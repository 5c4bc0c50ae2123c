//! Answers that are kept, so that equal rows are computed once.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ByteSize;

#[derive(Args, Debug)]
#[command(next_help_heading = "Cache")]
pub(crate) struct CacheArgs {
    /// Memory for answers to rows that come again; off for none
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub(crate) cache: ByteSize,
    /// Keep answers in this directory too, for later jobs
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Most that a model's answers may take in the cache directory; the least recently used go first
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    pub(crate) cache_dir_limit: ByteSize,
}

#[derive(Args, Debug)]
pub(crate) struct CacheCommand {
    #[command(subcommand)]
    pub(crate) action: CacheAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show what a cache directory holds
    Stats(CacheDirArgs),
    /// Remove every kept answer from a cache directory
    Clear(CacheDirArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CacheDirArgs {
    /// The directory, as it was given to the jobs
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}
