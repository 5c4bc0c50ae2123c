//! The key of a row: a hash of everything that determines its answer.

/// 128 bits of BLAKE3: two different rows meet by chance once in 10^19 rows or more.
pub(crate) type Key = u128;

/// What all rows of a model under one set of options share.
#[derive(Clone, Debug)]
pub(crate) struct Scope([u8; 32]);

impl Scope {
    /// `parts` are the model's fingerprint and every option that changes what the network computes;
    /// each is hashed with its length, so that no two lists of parts run together.
    pub(crate) fn new<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("batchwright 2026 prediction cache scope");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// A name for files that belong to this scope: 32 hexadecimal digits.
    pub(crate) fn name(&self) -> String {
        self.0[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The key of a row: its token ids, and its token types where the model has them.
    pub(crate) fn key(&self, ids: &[u32], types: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(ids.len() as u64).to_le_bytes());
        // Through a small buffer: one call of the hasher per 64 ids rather than per id.
        let mut buffer = [0u8; 256];
        for chunk in ids.chunks(64) {
            for (to, id) in buffer.chunks_exact_mut(4).zip(chunk) {
                to.copy_from_slice(&id.to_le_bytes());
            }
            hasher.update(&buffer[..4 * chunk.len()]);
        }
        // All-zero types are the same input as none.
        if types.iter().any(|&t| t != 0) {
            hasher.update(types);
        }
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        u128::from_le_bytes(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collision here would answer one text with another's vector.
    #[test]
    fn whatever_determines_the_answer_is_in_the_key() {
        let scope = Scope::new([&b"model"[..], b"embed"]);
        let other = Scope::new([&b"modele"[..], b"mbed"]);
        let long: Vec<u32> = (0..512).collect();
        let keys = [
            scope.key(&[1, 2, 3], &[]),
            other.key(&[1, 2, 3], &[]),
            scope.key(&[1, 2], &[]),
            scope.key(&[1, 2, 3, 0], &[]),
            scope.key(&[3, 2, 1], &[]),
            scope.key(&[1, 2, 3], &[0, 0, 1]),
            scope.key(&[1, 2, 3], &[0, 1, 1]),
            scope.key(&[], &[]),
            scope.key(&long, &[]),
            scope.key(&long[..511], &[]),
            scope.key(&long[..64], &[]),
        ];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate().skip(i + 1) {
                assert_ne!(a, b, "keys {i} and {j}");
            }
        }
        assert_eq!(
            scope.key(&[1, 2, 3], &[]),
            scope.key(&[1, 2, 3], &[0, 0, 0])
        );
    }
}
