//! The tier in memory: exactly least recently used.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::{CacheLimits, Entry, Key};

/// What an entry costs besides its floats: the map's slot and links, the key and the counters of the
/// shared slice.
const OVERHEAD_BYTES: usize = 112;

/// One lock around one map: an exact order of use needs it, and a lookup holds it for less than a
/// microsecond, a thousandth of what the row would cost to compute.
pub(super) struct MemoryTier {
    limits: CacheLimits,
    inner: Mutex<Inner>,
}

struct Inner {
    entries: LruCache<Key, Entry, BuildHasherDefault<KeyHasher>>,
    bytes: usize,
}

impl MemoryTier {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let entries = LruCache::unbounded_with_hasher(BuildHasherDefault::default());
        Self {
            limits,
            inner: Mutex::new(Inner { entries, bytes: 0 }),
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<Entry> {
        self.lock().entries.get(&key).cloned()
    }

    /// Keeps an entry; gives the number of entries that had to go.
    pub(super) fn put(&self, key: Key, entry: Entry) -> u64 {
        let bytes = bytes_of(&entry);
        if bytes > self.limits.bytes {
            return 0;
        }
        let mut inner = self.lock();
        inner.bytes += bytes;
        if let Some(old) = inner.entries.put(key, entry) {
            inner.bytes -= bytes_of(&old);
        }
        let mut evicted = 0;
        while inner.entries.len() > self.limits.entries || inner.bytes > self.limits.bytes {
            let Some((_, old)) = inner.entries.pop_lru() else {
                break;
            };
            inner.bytes -= bytes_of(&old);
            evicted += 1;
        }
        evicted
    }

    /// Entries and bytes.
    pub(super) fn size(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.entries.len() as u64, inner.bytes as u64)
    }

    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.entries.clear();
        inner.bytes = 0;
    }

    /// A panic while the lock was held cannot leave the map half changed in a way that matters: the
    /// byte count is put right before anything can panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(entry: &Entry) -> usize {
    OVERHEAD_BYTES + std::mem::size_of_val(&*entry.values)
}

/// Keys are uniform hashes already: their low half serves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entry(floats: usize, value: f32) -> Entry {
        Entry {
            values: vec![value; floats].into(),
            cost: Duration::ZERO,
        }
    }

    /// An operation on the cache.
    #[derive(Clone, Debug)]
    enum Operation {
        Get(u8),
        Put(u8, usize),
        Clear,
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let one = prop_oneof![
            8 => (0u8..12).prop_map(Operation::Get),
            8 => (0u8..12, 0usize..40).prop_map(|(key, floats)| Operation::Put(key, floats)),
            1 => Just(Operation::Clear),
        ];
        prop::collection::vec(one, 0..200)
    }

    proptest! {
        /// Against a plain list in order of use: the same hits, the same bytes, never over a bound. A
        /// cache that evicts the wrong row costs time; one that counts bytes wrongly costs the machine.
        #[test]
        fn it_is_exactly_least_recently_used(
            operations in operations(),
            entries in 1usize..8,
            bytes in 0usize..1_500,
        ) {
            let tier = MemoryTier::new(CacheLimits { entries, bytes });
            let mut order: Vec<u8> = Vec::new();
            let mut floats_of: HashMap<u8, usize> = HashMap::new();
            for operation in operations {
                match operation {
                    Operation::Get(key) => {
                        let found = tier.get(key.into());
                        prop_assert_eq!(found.map(|e| e.values.len()), floats_of.get(&key).copied());
                        if let Some(at) = order.iter().position(|&k| k == key) {
                            order.remove(at);
                            order.push(key);
                        }
                    }
                    Operation::Put(key, floats) => {
                        let evicted = tier.put(key.into(), entry(floats, key.into()));
                        if OVERHEAD_BYTES + 4 * floats > bytes {
                            prop_assert_eq!(evicted, 0);
                            continue;
                        }
                        order.retain(|&k| k != key);
                        order.push(key);
                        floats_of.insert(key, floats);
                        let mut gone = 0;
                        while order.len() > entries
                            || floats_of.values().map(|f| OVERHEAD_BYTES + 4 * f).sum::<usize>() > bytes
                        {
                            floats_of.remove(&order.remove(0));
                            gone += 1;
                        }
                        prop_assert_eq!(evicted, gone);
                    }
                    Operation::Clear => {
                        tier.clear();
                        order.clear();
                        floats_of.clear();
                    }
                }
                let sum: usize = floats_of.values().map(|f| OVERHEAD_BYTES + 4 * f).sum();
                prop_assert_eq!(tier.size(), (floats_of.len() as u64, sum as u64));
            }
        }
    }
}
