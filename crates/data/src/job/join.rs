//! From complete shards to one file, without decoding them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::job::durable::{Hashing, hash_file, write_whole};
use crate::job::journal::ShardLine;
use crate::job::parts::Parts;
use crate::sink::{join_arrow, join_parquet};
use crate::{DataError, Format};

/// Why joining failed.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// This shard, and so every later one, has to be computed again.
    Damaged(usize, DataError),
    /// The disk failed.
    Disk(DataError),
}

/// Joins all `shards` into [`Parts::joined`], and returns its bytes and hash.
pub(crate) fn join(
    parts: &Parts,
    format: Format,
    shards: &[ShardLine],
) -> Result<(u64, String), JoinError> {
    let mut first_row = 1;
    for (at, shard) in shards.iter().enumerate() {
        verify(&parts.shard(shard.shard), shard, first_row)
            .map_err(|error| JoinError::Damaged(at, error))?;
        first_row += shard.rows;
    }
    let mut facts = (0, String::new());
    let paths = || shards.iter().map(|shard| parts.shard(shard.shard));
    let joined = write_whole(&parts.joined(), |file| {
        let mut out = Hashing::new(io::BufWriter::with_capacity(1 << 20, file));
        match format {
            Format::Parquet => join_parquet(paths().map(File::open), &mut out)?,
            Format::Arrow => join_arrow(paths().map(File::open), &mut out)?,
            _ => paths().try_for_each(|path| copy(&path, &mut out))?,
        }
        out.flush()?;
        facts = out.finish();
        Ok(())
    });
    joined.map_err(JoinError::Disk)?;
    Ok(facts)
}

fn copy(path: &Path, out: &mut impl Write) -> io::Result<()> {
    io::copy(&mut File::open(path)?, out).map(drop)
}

/// Whether the file holds what was written into it.
fn verify(path: &Path, shard: &ShardLine, row: u64) -> Result<(), DataError> {
    let damaged = |reason: String| DataError::ShardDamaged {
        path: path.into(),
        reason,
        row,
    };
    let (bytes, hash) = hash_file(path).map_err(|error| damaged(error.to_string()))?;
    if bytes != shard.bytes {
        return Err(damaged(format!(
            "{bytes} bytes where {} were written",
            shard.bytes
        )));
    }
    if hash != shard.blake3 {
        return Err(damaged("its hash is another one".to_owned()));
    }
    Ok(())
}
