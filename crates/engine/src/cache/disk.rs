//! The tier on disk: answers that outlive the job.
//!
//! One file for each scope (a model with its options), so that jobs with different models share a
//! directory. Writes are gathered and committed together; what a killed process had not committed is
//! computed again, nothing else is lost. A failing disk never fails a row: it is counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{Entry, Key};
use crate::Error;

/// Key to: last use (8 bytes), cost in ns (8), floats.
const ENTRIES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("entries");
/// Last use to key: the order in which entries go.
const ORDER: TableDefinition<'_, u64, u128> = TableDefinition::new("order");
/// Answers committed together: a commit waits for the disk, so it must not come per row.
const COMMIT_ENTRIES: usize = 2_048;
/// redb's own page cache. Its default of a gigabyte would break the promise of bounded memory.
const PAGE_CACHE_BYTES: usize = 16 << 20;
const HEADER_BYTES: usize = 16;

pub(crate) struct DiskTier {
    path: PathBuf,
    database: Database,
    limit_bytes: u64,
    pending: Mutex<Pending>,
    entries: AtomicU64,
    bytes: AtomicU64,
    clock: AtomicU64,
    failures: AtomicU64,
}

#[derive(Default)]
struct Pending {
    computed: HashMap<Key, Entry>,
    used: Vec<Key>,
}

impl DiskTier {
    pub(crate) fn open(file: &DiskFile) -> Result<Self, Error> {
        let fail = |problem: String| Error::CacheDirectory {
            path: file.path.clone(),
            problem,
        };
        if let Some(directory) = file.path.parent() {
            std::fs::create_dir_all(directory).map_err(|e| fail(e.to_string()))?;
        }
        let database = Database::builder()
            .set_cache_size(PAGE_CACHE_BYTES)
            .create(&file.path)
            .map_err(|e| match e {
                redb::DatabaseError::DatabaseAlreadyOpen => {
                    fail("another process uses the cache of this model now".into())
                }
                other => fail(format!("{other} (remove the file to start afresh)")),
            })?;
        let tier = Self {
            path: file.path.clone(),
            database,
            limit_bytes: file.limit_bytes,
            pending: Mutex::default(),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        tier.measure().map_err(|e| fail(e.to_string()))?;
        Ok(tier)
    }

    pub(crate) fn get(&self, key: Key) -> Option<Entry> {
        {
            let mut pending = self.lock();
            if let Some(entry) = pending.computed.get(&key) {
                return Some(entry.clone());
            }
            pending.used.push(key);
        }
        match self.read(key) {
            Ok(entry) => entry,
            Err(_) => {
                self.failures.fetch_add(1, Relaxed);
                None
            }
        }
    }

    pub(crate) fn put(&self, key: Key, entry: &Entry) {
        let full = {
            let mut pending = self.lock();
            pending.computed.insert(key, entry.clone());
            (pending.computed.len() >= COMMIT_ENTRIES).then(|| std::mem::take(&mut *pending))
        };
        if let Some(pending) = full {
            self.commit(pending);
        }
    }

    /// Writes what has been gathered.
    pub(crate) fn flush(&self) {
        let pending = std::mem::take(&mut *self.lock());
        self.commit(pending);
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        let pending = self.lock().computed.len() as u64;
        (
            self.entries.load(Relaxed) + pending,
            self.bytes.load(Relaxed),
        )
    }

    /// Reads and commits that the disk refused.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        *self.lock() = Pending::default();
        let cleared = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            write.delete_table(ENTRIES)?;
            write.delete_table(ORDER)?;
            write.open_table(ENTRIES)?;
            write.open_table(ORDER)?;
            write.commit()?;
            Ok(())
        };
        cleared().map_err(|e| Error::CacheDirectory {
            path: self.path.clone(),
            problem: e.to_string(),
        })?;
        self.entries.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
        Ok(())
    }

    fn read(&self, key: Key) -> Result<Option<Entry>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = read.open_table(ENTRIES)?;
        Ok(table.get(key)?.and_then(|value| decode(value.value())))
    }

    fn commit(&self, pending: Pending) {
        if (!pending.computed.is_empty() || !pending.used.is_empty())
            && self.try_commit(&pending).is_err()
        {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    fn try_commit(&self, pending: &Pending) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        let (mut entries, mut bytes) = (self.entries.load(Relaxed), self.bytes.load(Relaxed));
        {
            let mut table = write.open_table(ENTRIES)?;
            let mut order = write.open_table(ORDER)?;
            // A used entry moves to the end of the order. One that was computed anew is written below.
            for &key in &pending.used {
                let Some(mut value) = table.get(key)?.map(|v| v.value().to_vec()) else {
                    continue;
                };
                order.remove(last_use(&value))?;
                let now = self.tick();
                value[..8].copy_from_slice(&now.to_le_bytes());
                table.insert(key, value.as_slice())?;
                order.insert(now, key)?;
            }
            for (&key, entry) in &pending.computed {
                let now = self.tick();
                let value = encode(entry, now);
                bytes += value.len() as u64;
                entries += 1;
                let replaced = table.insert(key, value.as_slice())?.map(|old| {
                    let old = old.value();
                    (last_use(old), old.len() as u64)
                });
                if let Some((used, length)) = replaced {
                    order.remove(used)?;
                    bytes -= length;
                    entries -= 1;
                }
                order.insert(now, key)?;
            }
            while bytes > self.limit_bytes {
                let Some(oldest) = order.pop_first()?.map(|(_, key)| key.value()) else {
                    break;
                };
                if let Some(value) = table.remove(oldest)? {
                    bytes -= value.value().len() as u64;
                    entries -= 1;
                }
            }
        }
        write.commit()?;
        self.entries.store(entries, Relaxed);
        self.bytes.store(bytes, Relaxed);
        Ok(())
    }

    /// Counts what an existing file holds.
    fn measure(&self) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let table = write.open_table(ENTRIES)?;
            let order = write.open_table(ORDER)?;
            self.entries.store(table.len()?, Relaxed);
            let mut bytes = 0;
            for entry in table.iter()? {
                bytes += entry?.1.value().len() as u64;
            }
            self.bytes.store(bytes, Relaxed);
            let last = order.last()?.map_or(0, |(used, _)| used.value());
            self.clock.store(last + 1, Relaxed);
        }
        write.commit()?;
        Ok(())
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Where a model's answers are kept on disk.
#[derive(Clone, Debug)]
pub(crate) struct DiskFile {
    path: PathBuf,
    limit_bytes: u64,
}

impl DiskFile {
    /// The file of one scope (named by its hash) in `directory`.
    pub(crate) fn new(directory: &Path, scope_name: &str, limit_bytes: u64) -> Self {
        Self {
            path: directory.join(format!("answers-{scope_name}.redb")),
            limit_bytes,
        }
    }
}

fn encode(entry: &Entry, last_use: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + 4 * entry.values.len());
    value.extend_from_slice(&last_use.to_le_bytes());
    value.extend_from_slice(&(entry.cost.as_nanos() as u64).to_le_bytes());
    for float in entry.values.iter() {
        value.extend_from_slice(&float.to_le_bytes());
    }
    value
}

fn decode(value: &[u8]) -> Option<Entry> {
    let (header, floats) = value.split_at_checked(HEADER_BYTES)?;
    let cost = u64::from_le_bytes(header[8..].try_into().ok()?);
    let values = floats
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    Some(Entry {
        values,
        cost: Duration::from_nanos(cost),
    })
}

fn last_use(value: &[u8]) -> u64 {
    value
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: f32) -> Entry {
        Entry {
            values: vec![value, -0.0, f32::MIN_POSITIVE].into(),
            cost: Duration::from_micros(7),
        }
    }

    fn open(directory: &Path, limit_bytes: u64) -> DiskTier {
        DiskTier::open(&DiskFile::new(directory, "test", limit_bytes)).unwrap()
    }

    /// Answers computed by yesterday's job would be computed, and paid for, again.
    #[test]
    fn answers_outlive_the_process_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), 1 << 20);
        tier.put(7, &entry(1.5));
        assert!(tier.get(7).is_some(), "not yet committed, but there");
        drop(tier);
        let tier = open(directory.path(), 1 << 20);
        let found = tier.get(7).unwrap();
        let bits = |entry: &Entry| entry.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&entry(1.5)));
        assert_eq!(found.cost, Duration::from_micros(7));
        assert!(tier.get(8).is_none());
        assert_eq!(tier.size(), (1, 28));
        tier.clear().unwrap();
        assert!(tier.get(7).is_none());
        assert_eq!((tier.size(), tier.failures()), ((0, 0), 0));
    }

    /// A cache without bound would fill the disk under the job that it serves.
    #[test]
    fn the_least_recently_used_go_first() {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), 3 * 28);
        for key in 0..3 {
            tier.put(key, &entry(key as f32));
            tier.flush();
        }
        assert!(tier.get(0).is_some());
        tier.put(3, &entry(3.0));
        tier.flush();
        let kept: Vec<u128> = (0..4).filter(|&key| tier.get(key).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
        assert_eq!(tier.size(), (3, 3 * 28));
    }

    /// Two jobs writing one file would corrupt it.
    #[test]
    fn a_file_in_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path(), 1 << 20);
        let second = DiskTier::open(&DiskFile::new(directory.path(), "test", 1 << 20));
        let message = second.err().unwrap().to_string();
        assert!(message.contains("another process"), "{message}");
    }
}
