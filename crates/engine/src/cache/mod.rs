//! Exact caching of what the network computed for a row.
//!
//! The key is a hash of everything that determines the answer ([`Scope`], then token ids), so that a
//! hit is the very same floats. What is kept is the network's output (a vector, or logits), not the
//! rendered prediction: `top_k` or a threshold may change without losing the cache.
//!
//! Memory is asked first, then the disk, then a server that others share; what is found there moves into memory.

mod disk;
mod key;
mod memory;
mod remote;
mod stats;
mod value;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use disk::{DiskFile, DiskTier};
pub(crate) use key::{Key, Scope};
pub(crate) use memory::KeyHasher;
use memory::MemoryTier;
pub(crate) use remote::RemotePlace;
use remote::RemoteTier;
use stats::Counters;
pub use stats::{CacheStats, RemoteStats};

use crate::Error;

/// Bounds of a cache. Both hold at once; a bound of 0 switches the memory tier off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// Most rows kept in memory.
    pub(crate) entries: usize,
    /// Most bytes kept in memory, overhead included.
    pub(crate) bytes: usize,
}

impl CacheLimits {
    fn is_off(self) -> bool {
        self.entries == 0 || self.bytes == 0
    }
}

/// What was computed for one row, and what that cost.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) values: Arc<[f32]>,
    /// Compute time of the row: its share, by tokens, of its batch's time on one worker.
    pub(crate) cost: Duration,
}

/// The cache of one model: memory, and disk if asked for.
pub(crate) struct Cache {
    memory: Option<MemoryTier>,
    disk: Option<DiskTier>,
    remote: Option<RemoteTier>,
    counters: Counters,
}

impl Cache {
    pub(crate) fn open(
        limits: CacheLimits,
        file: Option<&DiskFile>,
        place: Option<&RemotePlace>,
    ) -> Result<Self, Error> {
        Ok(Self {
            memory: (!limits.is_off()).then(|| MemoryTier::new(limits)),
            disk: file.map(DiskTier::open).transpose()?,
            remote: place.map(RemoteTier::open).transpose()?,
            counters: Counters::default(),
        })
    }

    /// Whether anything is kept at all.
    pub(crate) fn is_on(&self) -> bool {
        self.memory.is_some() || self.disk.is_some() || self.remote.is_some()
    }

    /// Whether there is more to ask than memory: a disk, or a server that others share, both of which may keep one
    /// waiting for milliseconds.
    pub(crate) fn is_beyond_memory(&self) -> bool {
        self.disk.is_some() || self.remote.is_some()
    }

    /// Looks rows up that [memory](Self::get_in_memory) does not know, on disk and then, together, with the server that
    /// others share; counts nothing: see [`count_hits`](Self::count_hits). May wait for milliseconds.
    pub(crate) fn get_beyond_memory(&self, keys: &[Key]) -> Vec<Option<Entry>> {
        let mut found: Vec<_> = keys.iter().map(|&key| self.get_on_disk(key)).collect();
        let Some(remote) = &self.remote else {
            return found;
        };
        let missing = (0..keys.len()).filter(|&at| found[at].is_none());
        let missing: Vec<usize> = missing.collect();
        let asked: Vec<Key> = missing.iter().map(|&at| keys[at]).collect();
        for (at, entry) in missing.into_iter().zip(remote.get(&asked)) {
            if let (Some(memory), Some(entry)) = (&self.memory, &entry) {
                self.counters.evicted(memory.put(keys[at], entry.clone()));
            }
            found[at] = entry;
        }
        found
    }

    /// Looks a row up in this process, in memory and on disk; counts nothing.
    pub(crate) fn get(&self, key: Key) -> Option<Entry> {
        let known = self.get_in_memory(key);
        known.or_else(|| self.get_on_disk(key))
    }

    fn get_on_disk(&self, key: Key) -> Option<Entry> {
        let entry = self.disk.as_ref()?.get(key)?;
        if let Some(memory) = &self.memory {
            self.counters.evicted(memory.put(key, entry.clone()));
        }
        Some(entry)
    }

    /// Looks a row up in memory, which takes no longer than it may under a lock; counts nothing.
    pub(crate) fn get_in_memory(&self, key: Key) -> Option<Entry> {
        self.memory.as_ref()?.get(key)
    }

    /// Keeps what was computed.
    pub(crate) fn put(&self, key: Key, entry: Entry) {
        if let Some(disk) = &self.disk {
            disk.put(key, &entry);
        }
        if let Some(remote) = &self.remote {
            remote.put(key, entry.clone());
        }
        if let Some(memory) = &self.memory {
            self.counters.evicted(memory.put(key, entry));
        }
    }

    /// Counts rows answered without computing, each of which would have cost `cost`. A row may be
    /// looked up twice (when it is prepared and when its batch starts), so looking and counting are
    /// apart.
    pub(crate) fn count_hits(&self, rows: u32, cost: Duration) {
        self.counters.hits(rows, cost);
    }

    /// Counts a row that had to be computed.
    pub(crate) fn count_miss(&self) {
        self.counters.miss();
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let (entries, bytes) = self.memory.as_ref().map_or((0, 0), MemoryTier::size);
        let (disk_entries, disk_bytes) = self.disk.as_ref().map_or((0, 0), DiskTier::size);
        CacheStats {
            entries,
            bytes,
            disk_entries,
            disk_bytes,
            disk_failures: self.disk.as_ref().map_or(0, DiskTier::failures),
            remote: self.remote.as_ref().map(RemoteTier::stats),
            ..self.counters.stats()
        }
    }

    /// Brings what is gathered for the disk onto it.
    pub(crate) fn flush(&self) {
        if let Some(disk) = &self.disk {
            disk.flush();
        }
    }

    /// Whether answers are kept in memory.
    pub(crate) fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Forgets the entries in memory.
    pub(crate) fn clear_memory(&self) {
        if let Some(memory) = &self.memory {
            memory.clear();
        }
    }

    /// Forgets every entry, in memory, on disk and at the server; the statistics stay. A tier that fails keeps no
    /// other from it.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.clear_memory();
        let disk = self.disk.as_ref().map_or(Ok(()), DiskTier::clear);
        let remote = self.remote.as_ref().map_or(Ok(()), RemoteTier::clear);
        disk.and(remote)
    }
}
