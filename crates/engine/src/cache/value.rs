//! An answer as bytes, for the tiers outside memory: checksum (8 bytes), cost in ns (8), floats, all little-endian.

use std::time::Duration;

use super::{Entry, Key};

const SUM_BYTES: usize = 8;
/// What stands before the floats.
pub(super) const HEADER_BYTES: usize = SUM_BYTES + 8;

/// An entry's bytes, which are good under this key alone.
pub(super) fn encode(key: Key, entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + 4 * entry.values.len());
    value.extend_from_slice(&[0; SUM_BYTES]);
    value.extend_from_slice(&(entry.cost.as_nanos() as u64).to_le_bytes());
    for float in entry.values.iter() {
        value.extend_from_slice(&float.to_le_bytes());
    }
    let sum = checksum(key, &value[SUM_BYTES..]);
    value[..SUM_BYTES].copy_from_slice(&sum);
    value
}

/// The entry, if the value is the one that was written under this key.
pub(super) fn decode(key: Key, value: &[u8]) -> Option<Entry> {
    let (sum, content) = value.split_first_chunk::<SUM_BYTES>()?;
    if *sum != checksum(key, content) {
        return None;
    }
    let (cost, floats) = content.split_first_chunk::<8>()?;
    let values = floats
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    Some(Entry {
        values,
        cost: Duration::from_nanos(u64::from_le_bytes(*cost)),
    })
}

fn checksum(key: Key, content: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.to_le_bytes()).update(content);
    let mut sum = [0; SUM_BYTES];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
