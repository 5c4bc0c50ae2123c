//! Words to ids, longest match first.

/// A WordPiece vocabulary.
pub(super) struct Vocabulary {
    /// What may begin a word.
    beginnings: Table,
    /// What may continue one, without the mark of continuation.
    continuations: Table,
}

/// A token found in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    /// One past its last byte in the word.
    pub(super) end: usize,
}

impl Vocabulary {
    /// `tokens` stand at the places that their ids name.
    pub(super) fn new(tokens: &[String], prefix: &str) -> Vocabulary {
        let numbered = || tokens.iter().map(String::as_str).zip(0..);
        let continuing =
            numbered().filter_map(|(token, id)| Some((token.strip_prefix(prefix)?, id)));
        Vocabulary {
            beginnings: Table::new(numbered()),
            continuations: Table::new(continuing),
        }
    }

    /// The id of a word that is one token.
    #[inline]
    pub(super) fn whole(&self, word: &[u8]) -> Option<u32> {
        self.beginnings.get(hash(word), word)
    }

    /// The longest token which a word has at `start`.
    pub(super) fn longest(&self, word: &[u8], start: usize) -> Option<Piece> {
        let table = if start == 0 {
            &self.beginnings
        } else {
            &self.continuations
        };
        table.longest(&word[start..]).map(|(id, length)| Piece {
            id,
            end: start + length,
        })
    }
}

/// A hash table of byte strings, open addressing. A look-up touches a slot and the bytes it names.
struct Table {
    /// A power of two of them, less than half in use.
    slots: Vec<Slot>,
    /// How far a hash is shifted to give a slot.
    shift: u32,
    bytes: Vec<u8>,
    /// Length of the longest key.
    longest: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The upper half of the hash.
    tag: u32,
    /// Where the key begins in `bytes`, and its length; a slot of length 0 is vacant.
    start: u32,
    length: u32,
    id: u32,
}

/// Prefixes whose hashes are made in one go; longer keys are rarer than words that have them.
const PREFIXES: usize = 64;

impl Table {
    /// Empty keys are left out: no part of a word is empty.
    fn new<'a>(entries: impl Iterator<Item = (&'a str, u32)> + Clone) -> Table {
        let slots = (2 * entries.clone().count() + 1).next_power_of_two();
        let mut table = Table {
            slots: vec![Slot::default(); slots.max(2)],
            shift: 64 - slots.max(2).trailing_zeros(),
            bytes: Vec::new(),
            longest: 0,
        };
        for (key, id) in entries.filter(|(key, _)| !key.is_empty()) {
            table.insert(key.as_bytes(), id);
        }
        table
    }

    fn insert(&mut self, key: &[u8], id: u32) {
        let hash = hash(key);
        let mut at = self.home(hash);
        while self.slots[at].length != 0 {
            at = self.next(at);
        }
        self.slots[at] = Slot {
            tag: (hash >> 32) as u32,
            start: self.bytes.len() as u32,
            length: key.len() as u32,
            id,
        };
        self.bytes.extend_from_slice(key);
        self.longest = self.longest.max(key.len());
    }

    #[inline]
    fn get(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot.length == 0 {
                return None;
            }
            if slot.tag == (hash >> 32) as u32 {
                let start = slot.start as usize;
                if self.bytes[start..start + slot.length as usize] == *key {
                    return Some(slot.id);
                }
            }
            at = self.next(at);
        }
    }

    /// The longest key with which `text` begins, and its length.
    fn longest(&self, text: &[u8]) -> Option<(u32, usize)> {
        let reach = self.longest.min(text.len());
        let mut hashes = [EMPTY; PREFIXES];
        let mut hash_so_far = EMPTY;
        for (hash, byte) in hashes.iter_mut().zip(&text[..reach]) {
            hash_so_far = extended(hash_so_far, *byte);
            *hash = hash_so_far;
        }
        (1..=reach).rev().find_map(|length| {
            let hash = match hashes.get(length - 1) {
                Some(hash) => *hash,
                None => hash(&text[..length]),
            };
            self.get(hash, &text[..length]).map(|id| (id, length))
        })
    }

    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

const EMPTY: u64 = 0xCBF2_9CE4_8422_2325;

/// The hash of a string one byte longer. Texts cannot do harm with strings of equal hashes: the
/// table holds the vocabulary alone.
#[inline]
fn extended(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[inline]
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |hash, byte| extended(hash, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a word would be cut into other pieces than in training.
    #[test]
    fn the_longest_piece_is_found_at_every_place() {
        let long = "ab".repeat(PREFIXES);
        let continued = format!("##{long}");
        let tokens = [
            "un",
            "unlock",
            "##lock",
            "##locking",
            "##l",
            "##",
            "é",
            &long,
            &continued,
        ];
        let tokens = tokens.map(str::to_owned);
        let marked = Vocabulary::new(&tokens, "##");
        let bare = Vocabulary::new(&tokens, "");
        let found = |id, end| Some(Piece { id, end });
        let cases = [
            ("whole", &marked, "unlock", 0, found(1, 6)),
            ("longer", &marked, "unlocks", 0, found(1, 6)),
            ("shorter", &marked, "unloc", 0, found(0, 2)),
            ("continued", &marked, "unlockings", 2, found(3, 9)),
            ("one letter", &marked, "unlo", 2, found(4, 3)),
            ("nothing", &marked, "unx", 2, None),
            (
                "marked tokens begin words too",
                &marked,
                "##lock",
                0,
                found(2, 6),
            ),
            ("half a character", &marked, "è", 0, None),
            (
                "longer than the hashes",
                &marked,
                &long,
                0,
                found(7, 2 * PREFIXES),
            ),
            (
                "the same, continued",
                &marked,
                &format!("un{long}"),
                2,
                found(8, 2 * PREFIXES + 2),
            ),
            ("no mark", &bare, "ununlock", 2, found(1, 8)),
        ];
        let mut table = testing::CaseTable::new("the longest piece is found");
        for (name, vocabulary, word, start, want) in cases {
            let got = vocabulary.longest(word.as_bytes(), start);
            table.equal(name, &got, &want);
        }
        table.equal("empty", &marked.whole(b""), &None);
        table.equal("whole word", &marked.whole(b"unlock"), &Some(1));
        table.equal("not a whole word", &marked.whole(b"unlocking"), &None);
        table.finish();
    }
}
