//! Counting what a cache did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What a cache holds and what it has done since the model was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct CacheStats {
    /// Rows answered without computing.
    pub hits: u64,
    /// Rows that had to be computed.
    pub misses: u64,
    /// Entries dropped from memory to stay within the bounds.
    pub evictions: u64,
    /// Entries in memory now.
    pub entries: u64,
    /// Bytes in memory now, overhead included.
    pub bytes: u64,
    /// Entries on disk now; those that are yet to be written do not count.
    pub disk_entries: u64,
    /// Bytes that these entries take on disk, with what the store needs around them.
    pub disk_bytes: u64,
    /// Reads and writes that the disk refused, and answers that it had damaged; the rows were computed
    /// instead.
    pub disk_failures: u64,
    /// What a server did that others share, if there is one.
    pub remote: Option<RemoteStats>,
    /// Compute time of one worker that hits have saved, in seconds.
    pub compute_seconds_saved: f64,
}

/// What the tier in a Redis or Valkey server has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RemoteStats {
    /// Rows that the server knew.
    pub hits: u64,
    /// Rows that it did not know.
    pub misses: u64,
    /// Rows that it was not asked for, or about which it said nothing in time: it was away, slow, or busy with
    /// others.
    pub skipped: u64,
    /// Computed rows that it has taken.
    pub written: u64,
    /// Computed rows that it was not given, or did not take.
    pub dropped: u64,
    /// Lookups, writes and connections that failed.
    pub failures: u64,
}

impl CacheStats {
    /// Hits as a share of all lookups: 0 to 1; 0 before the first.
    pub fn hit_rate(&self) -> f64 {
        let lookups = self.hits + self.misses;
        if lookups == 0 {
            0.0
        } else {
            self.hits as f64 / lookups as f64
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    saved_ns: AtomicU64,
}

impl Counters {
    pub(super) fn hits(&self, rows: u32, cost: Duration) {
        self.hits.fetch_add(rows.into(), Relaxed);
        self.saved_ns
            .fetch_add((cost * rows).as_nanos() as u64, Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    pub(super) fn evicted(&self, entries: u64) {
        if entries > 0 {
            self.evictions.fetch_add(entries, Relaxed);
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            compute_seconds_saved: self.saved_ns.load(Relaxed) as f64 / 1e9,
            ..CacheStats::default()
        }
    }
}
