//! The tier on disk: answers that outlive the job.
//!
//! One file for each scope (a model with its options), so that jobs with different models share a
//! directory. Writes are gathered and committed together; what a killed process had not committed is
//! computed again, nothing else is lost. A failing disk never fails a row: it is counted.
//!
//! A file that the disk has damaged never answers wrongly: each value carries a checksum over its key
//! and itself, and one that differs is a miss. Where the store itself cannot go on (it may panic over
//! its own pages), the file is set aside under `….damaged` and a new one begun.
//!
//! What the file holds is counted in the file, in the transaction that changes it, so that opening it
//! reads none of the answers and no two commits can lose each other's count.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::value::{decode, encode};
use super::{Entry, Key};
use crate::Error;

/// Key to: checksum (8 bytes), cost in ns (8), floats.
const ENTRIES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("entries");
/// Key to last use. Apart from the answers, so that using one does not write it again.
const USES: TableDefinition<'_, u128, u64> = TableDefinition::new("uses");
/// Last use to key: the order in which entries go.
const ORDER: TableDefinition<'_, u64, u128> = TableDefinition::new("order");
/// One row, which has no key: the bytes of all entries.
const BYTES: TableDefinition<'_, (), u64> = TableDefinition::new("bytes");

/// Answers committed together: a commit waits for the disk, so it must not come per row.
const COMMIT_ENTRIES: usize = 2_048;
/// The same in bytes of answers: token classification has many floats a row.
const COMMIT_BYTES: usize = 8 << 20;
/// Used entries whose new place in the order is written together. More than answers, for each costs
/// but 16 bytes of memory, and many at once touch the same pages of the file.
const COMMIT_USES: usize = 65_536;
/// redb's own page cache. Its default of a gigabyte would break the promise of bounded memory.
const PAGE_CACHE_BYTES: usize = 16 << 20;

pub(crate) struct DiskTier {
    path: PathBuf,
    /// There until the tier is dropped.
    database: Option<Database>,
    /// Whether the file was damaged beyond use. Then nothing is found and nothing kept.
    lost: AtomicBool,
    limit_bytes: u64,
    pending: Mutex<Pending>,
    /// Held by whoever changes the file, from before it takes what is pending: so nothing that was
    /// taken before a `clear` comes back after it.
    writing: Mutex<()>,
    failures: AtomicU64,
}

/// What the next commit writes.
#[derive(Default)]
struct Pending {
    computed: HashMap<Key, Entry>,
    /// Bytes of the floats in `computed`.
    bytes: usize,
    used: HashSet<Key>,
}

impl Pending {
    fn put(&mut self, key: Key, entry: Entry) {
        self.bytes += size_of_val(&*entry.values);
        if let Some(old) = self.computed.insert(key, entry) {
            self.bytes -= size_of_val(&*old.values);
        }
    }

    fn is_empty(&self) -> bool {
        self.computed.is_empty() && self.used.is_empty()
    }

    fn is_full(&self) -> bool {
        self.computed.len() >= COMMIT_ENTRIES
            || self.bytes >= COMMIT_BYTES
            || self.used.len() >= COMMIT_USES
    }
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
        let mut failures = 0;
        let database = match open(&file.path) {
            Err(Fault::Damage(_)) => {
                set_aside(&file.path).map_err(|e| fail(e.to_string()))?;
                failures = 1;
                open(&file.path)
            }
            other => other,
        };
        let database = database.map_err(|fault| match fault {
            Fault::InUse => fail("another process uses the cache of this model now".into()),
            Fault::Damage(problem) | Fault::Other(problem) => fail(problem),
        })?;
        Ok(Self {
            path: file.path.clone(),
            database: Some(database),
            lost: AtomicBool::new(false),
            limit_bytes: file.limit_bytes,
            pending: Mutex::default(),
            writing: Mutex::default(),
            failures: AtomicU64::new(failures),
        })
    }

    pub(crate) fn get(&self, key: Key) -> Option<Entry> {
        if let Some(entry) = self.lock().computed.get(&key) {
            return Some(entry.clone());
        }
        let entry = self.read(key)?;
        let full = {
            let mut pending = self.lock();
            pending.used.insert(key);
            pending.is_full()
        };
        if full {
            self.flush();
        }
        Some(entry)
    }

    pub(crate) fn put(&self, key: Key, entry: &Entry) {
        let full = {
            let mut pending = self.lock();
            pending.put(key, entry.clone());
            pending.is_full()
        };
        if full {
            self.flush();
        }
    }

    /// Writes what has been gathered.
    pub(crate) fn flush(&self) {
        let _writing = self.writing();
        let pending = std::mem::take(&mut *self.lock());
        if !pending.is_empty() {
            self.attempt(|database| self.commit(database, &pending));
        }
    }

    /// Entries and bytes in the file; zeros if it cannot be read.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.attempt(|database| {
            let read = database.begin_read()?;
            let bytes = read.open_table(BYTES)?.get(())?;
            let bytes = bytes.map_or(0, |bytes| bytes.value());
            Ok((read.open_table(ENTRIES)?.len()?, bytes))
        })
        .unwrap_or_default()
    }

    /// Reads and commits that the disk refused, and answers that it had damaged.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        let _writing = self.writing();
        *self.lock() = Pending::default();
        let Some(database) = &self.database else {
            return Ok(());
        };
        let cleared = guarded(|| {
            let write = database.begin_write()?;
            write.delete_table(ENTRIES)?;
            write.delete_table(USES)?;
            write.delete_table(ORDER)?;
            write.delete_table(BYTES)?;
            write.commit()?;
            make_tables(database)
        });
        cleared.map_err(|fault| Error::CacheDirectory {
            path: self.path.clone(),
            problem: fault.into_words(),
        })
    }

    fn read(&self, key: Key) -> Option<Entry> {
        self.attempt(|database| {
            let read = database.begin_read()?;
            let table = read.open_table(ENTRIES)?;
            let Some(value) = table.get(key)? else {
                return Ok(None);
            };
            let entry = decode(key, value.value());
            if entry.is_none() {
                self.failures.fetch_add(1, Relaxed);
            }
            Ok(entry)
        })
        .flatten()
    }

    fn commit(&self, database: &Database, pending: &Pending) -> Result<(), redb::Error> {
        let write = database.begin_write()?;
        {
            let mut entries = write.open_table(ENTRIES)?;
            let mut uses = write.open_table(USES)?;
            let mut order = write.open_table(ORDER)?;
            let mut total = write.open_table(BYTES)?;
            let mut bytes = total.get(())?.map_or(0, |bytes| bytes.value());
            let mut now = order.last()?.map_or(0, |(last, _)| last.value() + 1);

            // A used entry moves to the end of the order, unless it has gone meanwhile. By key, so that
            // neighbours in a page are changed together.
            let mut used: Vec<Key> = pending.used.iter().copied().collect();
            used.sort_unstable();
            for key in used {
                let Some(before) = uses.get(key)?.map(|before| before.value()) else {
                    continue;
                };
                order.remove(before)?;
                order.insert(now, key)?;
                uses.insert(key, now)?;
                now += 1;
            }
            for (&key, entry) in &pending.computed {
                let value = encode(key, entry);
                bytes += size_on_disk(&value);
                if let Some(old) = entries.insert(key, value.as_slice())? {
                    bytes = bytes.saturating_sub(size_on_disk(old.value()));
                }
                if let Some(before) = uses.insert(key, now)? {
                    order.remove(before.value())?;
                }
                order.insert(now, key)?;
                now += 1;
            }
            while bytes > self.limit_bytes {
                let Some(oldest) = order.pop_first()?.map(|(_, key)| key.value()) else {
                    break;
                };
                uses.remove(oldest)?;
                if let Some(value) = entries.remove(oldest)? {
                    bytes = bytes.saturating_sub(size_on_disk(value.value()));
                }
            }
            total.insert((), bytes)?;
        }
        write.commit()?;
        Ok(())
    }

    /// What was read or done, unless the disk refused, which is counted.
    fn attempt<T>(&self, step: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Option<T> {
        if self.lost.load(Relaxed) {
            return None;
        }
        let database = self.database.as_ref()?;
        let fault = match guarded(|| step(database)) {
            Ok(done) => return Some(done),
            Err(fault) => fault,
        };
        self.failures.fetch_add(1, Relaxed);
        if matches!(fault, Fault::Damage(_)) && !self.lost.swap(true, Relaxed) {
            // If that fails, the next process tries it.
            let _ = set_aside(&self.path);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DiskTier {
    fn drop(&mut self) {
        self.flush();
        let Some(database) = self.database.take() else {
            return;
        };
        if *self.lost.get_mut() {
            // Its own tidying would go over the same damage.
            std::mem::forget(database);
        } else {
            // A panic here would end a job whose rows are all answered.
            let _ = guarded(|| {
                drop(database);
                Ok(())
            });
        }
    }
}

/// Why the store did not do something.
enum Fault {
    /// Another process has the file.
    InUse,
    /// The file does not hold what was written into it.
    Damage(String),
    Other(String),
}

impl Fault {
    fn into_words(self) -> String {
        match self {
            Fault::InUse => "it is in use".into(),
            Fault::Damage(words) | Fault::Other(words) => words,
        }
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        let damaged = match &error {
            redb::Error::DatabaseAlreadyOpen => return Fault::InUse,
            redb::Error::Io(io) => matches!(io.kind(), InvalidData | UnexpectedEof),
            redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. } => true,
            _ => false,
        };
        if damaged {
            Fault::Damage(error.to_string())
        } else {
            Fault::Other(error.to_string())
        }
    }
}

/// A step of the store, whose panic over damaged pages is a fault like others.
fn guarded<T>(step: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(Fault::from),
        Err(_) => Err(Fault::Damage("its pages are damaged".into())),
    }
}

fn open(path: &Path) -> Result<Database, Fault> {
    guarded(|| {
        let database = Database::builder()
            .set_cache_size(PAGE_CACHE_BYTES)
            .create(path)?;
        make_tables(&database)?;
        Ok(database)
    })
}

/// Readers need tables that are there, if empty.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(ENTRIES)?;
    write.open_table(USES)?;
    write.open_table(ORDER)?;
    write.open_table(BYTES)?;
    write.commit()?;
    Ok(())
}

/// Out of the way of a new file, but not gone: it may tell what has happened.
fn set_aside(path: &Path) -> std::io::Result<()> {
    std::fs::rename(path, path.with_extension("redb.damaged"))
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

/// What an entry takes of the file, at most: its place in three tables, and a value in pages of 4 KiB
/// that are half full or better. Measured before the checksum, in pages in use a row: 1 float 108 bytes, 16 floats 197,
/// 384 floats 2,830, 768 floats 4,219, 1,024 floats 8,313.
fn size_on_disk(value: &[u8]) -> u64 {
    const OVERHEAD_BYTES: u64 = 128;
    OVERHEAD_BYTES + 2 * value.len() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::value::HEADER_BYTES;

    fn entry(value: f32) -> Entry {
        Entry {
            values: vec![value, -0.0, f32::MIN_POSITIVE].into(),
            cost: Duration::from_micros(7),
        }
    }

    fn open(directory: &Path, limit_bytes: u64) -> DiskTier {
        DiskTier::open(&DiskFile::new(directory, "test", limit_bytes)).unwrap()
    }

    /// What [`entry`] counts for.
    const ENTRY_BYTES: u64 = 128 + 2 * (HEADER_BYTES as u64 + 3 * 4);

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
        assert_eq!(tier.size(), (1, ENTRY_BYTES));
        tier.clear().unwrap();
        assert!(tier.get(7).is_none());
        assert_eq!((tier.size(), tier.failures()), ((0, 0), 0));
    }

    /// A cache without bound would fill the disk under the job that it serves.
    #[test]
    fn the_least_recently_used_go_first() {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), 3 * ENTRY_BYTES);
        for key in 0..3 {
            tier.put(key, &entry(key as f32));
            tier.flush();
        }
        assert!(tier.get(0).is_some());
        tier.put(3, &entry(3.0));
        tier.flush();
        let kept: Vec<u128> = (0..4).filter(|&key| tier.get(key).is_some()).collect();
        assert_eq!(kept, [0, 2, 3]);
        assert_eq!(tier.size(), (3, 3 * ENTRY_BYTES));
    }

    /// `--cache-dir-limit` would be exceeded several times over by answers of a few bytes.
    #[test]
    fn the_limit_is_that_of_the_file() {
        const LIMIT: u64 = 2 << 20;
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), LIMIT);
        let score = Entry {
            values: vec![0.5].into(),
            cost: Duration::ZERO,
        };
        for row in 0..60_000_u128 {
            // Keys are hashes: they come in no order.
            tier.put(
                row.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
                &score,
            );
        }
        tier.flush();
        let (entries, bytes) = tier.size();
        assert!(
            bytes <= LIMIT && entries >= LIMIT / 170,
            "{entries} {bytes}"
        );
        let write = tier.database.as_ref().unwrap().begin_write().unwrap();
        let in_use = write.stats().unwrap().allocated_pages() * 4_096;
        assert!(in_use <= LIMIT, "{in_use}");
        // The store doubles its file as it grows.
        let file = std::fs::metadata(&tier.path).unwrap().len();
        assert!(file <= 3 * LIMIT, "{file}");
    }

    /// A job of a billion rows that are all there would remember each until it ends: 16 GB.
    #[test]
    fn lookups_are_remembered_within_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), 1 << 30);
        tier.put(0, &entry(0.0));
        tier.flush();
        for _ in 0..10 {
            assert!(tier.get(0).is_some());
            assert!(tier.get(1).is_none());
        }
        assert_eq!(tier.lock().used.len(), 1);
        tier.lock().used.extend(2..COMMIT_USES as u128 + 2);
        assert!(tier.get(0).is_some());
        assert!(tier.lock().is_empty());

        let large = Entry {
            values: vec![0.0; COMMIT_BYTES / 4 / 3].into(),
            cost: Duration::ZERO,
        };
        for key in 0..9 {
            tier.put(key, &large);
            assert!(tier.lock().bytes <= COMMIT_BYTES);
        }
        assert_eq!(tier.failures(), 0);
    }

    /// Counts that two threads lose would let the file grow past its limit.
    #[test]
    fn commits_at_the_same_time_are_all_counted() {
        let directory = tempfile::tempdir().unwrap();
        let tier = open(directory.path(), 1 << 30);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let tier = &tier;
                scope.spawn(move || {
                    for row in 0..25 {
                        tier.put(100 * thread + row, &entry(0.0));
                        tier.flush();
                    }
                });
            }
        });
        assert_eq!(tier.size(), (100, 100 * ENTRY_BYTES));
        drop(tier);
        assert_eq!(
            open(directory.path(), 1 << 30).size(),
            (100, 100 * ENTRY_BYTES)
        );
    }

    /// Some rows would have another row's vector, or one of noise, and exit code 0.
    #[test]
    fn a_damaged_file_never_answers_wrongly() {
        const ROWS: u128 = 400;
        let directory = tempfile::tempdir().unwrap();
        let vector = |row: u128| Entry {
            values: (0..16).map(|at| (row * 16 + at) as f32).collect(),
            cost: Duration::from_micros(7),
        };
        let tier = open(directory.path(), 1 << 20);
        (0..ROWS).for_each(|row| tier.put(row, &vector(row)));
        let path = tier.path.clone();
        drop(tier);
        let whole = std::fs::read(&path).unwrap();
        let (mut missed, mut set_aside) = (0, 0);
        // Blocks of noise over the whole file, its head included, and what a cut leaves.
        for start in (0..whole.len()).step_by(whole.len() / 60) {
            for cut in [false, true] {
                let mut bytes = whole.clone();
                if cut {
                    bytes.truncate(start);
                } else {
                    for at in start..bytes.len().min(start + 300) {
                        bytes[at] ^= 0x5a_u8.wrapping_add(at as u8);
                    }
                }
                std::fs::write(&path, bytes).unwrap();
                let tier = open(directory.path(), 1 << 20);
                for row in 0..ROWS {
                    match tier.get(row) {
                        Some(found) => assert_eq!(found.values, vector(row).values, "{start}"),
                        None => missed += 1,
                    }
                }
                (0..ROWS).for_each(|row| tier.put(row, &vector(row)));
                tier.flush();
                drop(tier);
                let aside = path.with_extension("redb.damaged");
                set_aside += usize::from(std::fs::remove_file(aside).is_ok());
                // What is there now serves the next job.
                let tier = open(directory.path(), 1 << 20);
                assert!(
                    tier.get(0)
                        .is_none_or(|found| found.values == vector(0).values)
                );
            }
        }
        assert!(missed > 0 && set_aside > 0, "{missed} {set_aside}");
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
