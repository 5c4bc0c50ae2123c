//! Which characters there are.

use super::lookup;

/// A set of characters, which grows text by text. Takes 136 KiB, whatever is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharacterSet {
    /// One byte a byte that was seen in ASCII texts: marking one needs no reading.
    ascii: Box<[bool; 256]>,
    /// One bit a code point.
    bits: Box<[u64]>,
}

impl Default for CharacterSet {
    fn default() -> CharacterSet {
        CharacterSet {
            ascii: Box::new([false; 256]),
            bits: vec![0; 0x11_0000 / 64].into_boxed_slice(),
        }
    }
}

impl CharacterSet {
    /// Adds the characters of a text. Line feeds between texts are characters like others.
    pub fn add(&mut self, text: &str) {
        if text.is_ascii() {
            lookup::mark(&mut self.ascii, text.as_bytes());
        } else {
            text.chars().for_each(|character| self.insert(character));
        }
    }

    /// Adds a character.
    pub fn insert(&mut self, character: char) {
        match u8::try_from(character) {
            Ok(byte @ 0..128) => self.ascii[usize::from(byte)] = true,
            _ => self.bits[character as usize / 64] |= 1 << (character as usize % 64),
        }
    }

    /// Takes a character out.
    pub fn remove(&mut self, character: char) {
        match u8::try_from(character) {
            Ok(byte @ 0..128) => self.ascii[usize::from(byte)] = false,
            _ => self.bits[character as usize / 64] &= !(1 << (character as usize % 64)),
        }
    }

    /// Adds what another set has. The order in which sets are merged makes no difference.
    pub fn merge(&mut self, other: &CharacterSet) {
        for (own, theirs) in self.ascii.iter_mut().zip(other.ascii.iter()) {
            *own |= *theirs;
        }
        for (own, theirs) in self.bits.iter_mut().zip(other.bits.iter()) {
            *own |= *theirs;
        }
    }

    /// Whether the character is in it.
    #[must_use]
    pub fn contains(&self, character: char) -> bool {
        match u8::try_from(character) {
            Ok(byte @ 0..128) => self.ascii[usize::from(byte)],
            _ => self.bits[character as usize / 64] & (1 << (character as usize % 64)) != 0,
        }
    }

    /// The characters, by their code points.
    pub fn iter(&self) -> impl Iterator<Item = char> + '_ {
        let ascii = (0..128_u8)
            .filter(|&byte| self.ascii[usize::from(byte)])
            .map(char::from);
        let words = self.bits.iter().enumerate();
        let some = words.filter(|(_, bits)| **bits != 0);
        let others = some.flat_map(|(word, &bits)| {
            let set = (0..64_u32).filter(move |bit| bits & (1 << bit) != 0);
            set.filter_map(move |bit| char::from_u32(word as u32 * 64 + bit))
        });
        ascii.chain(others)
    }
}

impl Extend<char> for CharacterSet {
    fn extend<I: IntoIterator<Item = char>>(&mut self, characters: I) {
        characters.into_iter().for_each(|c| self.insert(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids would depend on which thread read which rows.
    #[test]
    fn merging_in_any_order_gives_the_same() {
        let texts = ["ba\u{7f}", "é\u{10ffff}", "", "\0😀a", "zß"];
        let sets: Vec<CharacterSet> = texts
            .iter()
            .map(|text| {
                let mut set = CharacterSet::default();
                set.add(text);
                set
            })
            .collect();
        let merged = |order: &[usize]| {
            let mut all = CharacterSet::default();
            order.iter().for_each(|&at| all.merge(&sets[at]));
            all
        };
        let all = merged(&[0, 1, 2, 3, 4]);
        assert_eq!(all, merged(&[4, 2, 3, 1, 0]));
        let listed: String = all.iter().collect();
        assert_eq!(listed, "\0abz\u{7f}ßé😀\u{10ffff}");
        let mut fewer = all.clone();
        fewer.remove('a');
        fewer.remove('😀');
        assert!(all.contains('😀') && !fewer.contains('😀') && !fewer.contains('a'));
    }
}
