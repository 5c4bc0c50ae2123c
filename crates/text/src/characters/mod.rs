//! Characters as tokens: a vocabulary of them, and rows of a fixed width.
//!
//! A token is a character (a Unicode scalar value), not an extended grapheme: `é` written as `e` and a
//! combining accent is two. So the vocabulary is small and closed, every character has one id wherever
//! it stands, and the text can be read back from its ids.
//!
//! The ids are: the [special tokens](SpecialTokens) from 0 on, in the order in which they were named, and
//! after them the characters of the data by their code points. A vocabulary therefore depends on which
//! characters there are alone: not on how often, nor on how the data was split among threads or files. A
//! special token is never found in a text: the five characters `<PAD>` are five tokens.
//!
//! ```
//! use batchwright_text::characters::{CharacterSet, CharacterVocabulary, SpecialTokens};
//!
//! let mut seen = CharacterSet::default();
//! seen.add("abba");
//! let vocabulary = CharacterVocabulary::new(&seen, SpecialTokens::default());
//! let mut row = [0_u16; 6];
//! let encoded = vocabulary.encode("bad", &mut row);
//! // <BEG> b a <UNK> <END> <PAD>
//! assert_eq!((row, encoded.truncated), ([2, 5, 4, 1, 3, 0], false));
//! ```

mod file;
mod lookup;
mod set;
mod token_id;

pub use file::VocabularyError;
pub use set::CharacterSet;
pub use token_id::TokenId;

use lookup::{ByteIds, Run};

/// The tokens that are no characters, by name. Their ids in a new vocabulary are their places in this
/// order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Fills rows up to their width.
    pub pad: String,
    /// Stands for a character that the vocabulary has not.
    pub unknown: String,
    /// Stands before every text; `None` for nothing.
    pub begin: Option<String>,
    /// Stands behind every text; `None` for nothing.
    pub end: Option<String>,
}

impl Default for SpecialTokens {
    /// `<PAD>`, `<UNK>`, `<BEG>`, `<END>`.
    fn default() -> SpecialTokens {
        SpecialTokens {
            pad: "<PAD>".to_owned(),
            unknown: "<UNK>".to_owned(),
            begin: Some("<BEG>".to_owned()),
            end: Some("<END>".to_owned()),
        }
    }
}

impl SpecialTokens {
    /// The names, in the order of their ids.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let ends = [&self.begin, &self.end].into_iter().flatten();
        [&self.pad, &self.unknown]
            .into_iter()
            .chain(ends)
            .map(String::as_str)
    }

    /// Says what is wrong with the names, if anything is: a name that is a character, or that two bear,
    /// would have two ids.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn check(&self) -> Result<(), String> {
        let names: Vec<&str> = self.names().collect();
        for (at, name) in names.iter().enumerate() {
            if name.chars().nth(1).is_none() {
                return Err(format!(
                    "{name:?} cannot name a special token: it takes at least two characters, such as <PAD>"
                ));
            }
            if names[..at].contains(name) {
                return Err(format!("two special tokens are named {name:?}"));
            }
        }
        Ok(())
    }

    /// How many tokens stand around a text: 0 to 2.
    #[must_use]
    pub fn around(&self) -> usize {
        usize::from(self.begin.is_some()) + usize::from(self.end.is_some())
    }
}

/// Which id each character has. Shared by reference between threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharacterVocabulary {
    special: SpecialTokens,
    /// The names of all tokens, by id.
    tokens: Vec<String>,
    pad: u32,
    begin: Option<u32>,
    end: Option<u32>,
    unknown: u32,
    /// By the lower bits of a code point, in the page that its upper bits name.
    ids: Vec<u32>,
    pages: Vec<u16>,
    /// Ids of ASCII, where they fit.
    narrow: Box<[u16; 128]>,
    wide: Box<[u32; 128]>,
    /// The same where they are bytes and can be found quickly.
    bytes: Option<Box<ByteIds>>,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedCharacters {
    /// Tokens in the row that are not padding.
    pub length: usize,
    /// Whether characters were cut off for want of room.
    pub truncated: bool,
}

/// Characters of a page.
const PAGE: usize = 256;

impl CharacterVocabulary {
    /// A vocabulary of these characters behind the special tokens.
    #[must_use]
    pub fn new(characters: &CharacterSet, special: SpecialTokens) -> CharacterVocabulary {
        let names = special.names().map(str::to_owned);
        let tokens: Vec<String> = names
            .chain(characters.iter().map(|character| character.to_string()))
            .collect();
        let id = |at: usize| at as u32;
        let begin = special.begin.is_some().then_some(2);
        let end = special.end.is_some().then(|| id(1 + special.around()));
        let first = id(2 + special.around());
        let ids = characters.iter().zip(first..).collect();
        CharacterVocabulary::assemble(special, tokens, [Some(0), Some(1), begin, end], ids)
    }

    /// `ends` are the ids of padding, unknown, begin and end.
    fn assemble(
        special: SpecialTokens,
        tokens: Vec<String>,
        [pad, unknown, begin, end]: [Option<u32>; 4],
        characters: Vec<(char, u32)>,
    ) -> CharacterVocabulary {
        let unknown = unknown.unwrap_or(1);
        // Page 0 is that of nothing known.
        let mut ids = vec![unknown; PAGE];
        let mut pages = vec![0_u16; 0x11_0000 / PAGE];
        for (character, id) in characters {
            let code = character as usize;
            let page = &mut pages[code / PAGE];
            if *page == 0 {
                *page = (ids.len() / PAGE) as u16;
                ids.resize(ids.len() + PAGE, unknown);
            }
            ids[usize::from(*page) * PAGE + code % PAGE] = id;
        }
        let ascii = |code: usize| ids[usize::from(pages[0]) * PAGE + code];
        let wide = Box::new(std::array::from_fn(ascii));
        let bytes = ByteIds::new(&wide);
        // Read only where all ids fit.
        let narrow = Box::new(std::array::from_fn(|code| ascii(code) as u16));
        CharacterVocabulary {
            special,
            tokens,
            pad: pad.unwrap_or(0),
            begin,
            end,
            unknown,
            ids,
            pages,
            narrow,
            wide,
            bytes,
        }
    }

    /// How many ids there are, those of special tokens included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token: never, for there are at least two special ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The special tokens.
    #[must_use]
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The id that fills rows.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The name of the token with this id: a character, or a special token's name.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The id of a character; that of the unknown token where the vocabulary has it not.
    #[must_use]
    pub fn id(&self, character: char) -> u32 {
        let code = character as usize;
        self.ids[usize::from(self.pages[code / PAGE]) * PAGE + code % PAGE]
    }

    /// Writes a text's ids into `row`, which they fill: begin, characters, end, padding. A text of more
    /// characters than the row has room for is cut at its end; the end token stays.
    ///
    /// A row too narrow for the tokens around a text holds as many of these as it can.
    pub fn encode<T: TokenId>(&self, text: &str, row: &mut [T]) -> EncodedCharacters {
        debug_assert!(T::fits(self.len()), "ids are wider than the row's");
        let width = row.len();
        let room = width.saturating_sub(self.special.around());
        // All of it first: how much is padding is another question in each row.
        row.fill(T::of(self.pad));
        let mut at = 0;
        if let (Some(begin), Some(slot)) = (self.begin, row.first_mut()) {
            *slot = T::of(begin);
            at = 1;
        }
        let slots = row.get_mut(at..at + room).unwrap_or_default();
        let (length, truncated) = self.characters(text, slots);
        at += length;
        if let (Some(end), Some(slot)) = (self.end, row.get_mut(at)) {
            *slot = T::of(end);
            at += 1;
        }
        EncodedCharacters {
            length: at,
            truncated,
        }
    }

    /// Appends a text's ids to `ids`, without padding and uncut.
    pub fn append<T: TokenId>(&self, text: &str, ids: &mut Vec<T>) {
        let start = ids.len();
        ids.resize(start + text.len() + self.special.around(), T::of(self.pad));
        let encoded = self.encode(text, &mut ids[start..]);
        ids.truncate(start + encoded.length);
    }

    /// Fills `slots`, which are padding, from the front; gives how many were filled, and whether characters are left.
    fn characters<T: TokenId>(&self, text: &str, slots: &mut [T]) -> (usize, bool) {
        let ids = self.bytes.as_deref();
        let written = |ids: &ByteIds| T::write_ascii(ids, text, slots);
        if ids.is_some_and(written) {
            return (slots.len().min(text.len()), text.len() > slots.len());
        }
        if text.is_ascii() {
            let table = T::ascii(&self.narrow, &self.wide);
            for (slot, byte) in slots.iter_mut().zip(text.bytes()) {
                // The bit that is masked is never set; so the compiler knows it, too.
                *slot = table[usize::from(byte & 0x7f)];
            }
            return (slots.len().min(text.len()), text.len() > slots.len());
        }
        match ids {
            Some(ids) => self.mixed(ids, text, slots),
            None => self.one_by_one(text, slots),
        }
    }

    /// The same for a text of which most characters may be ASCII.
    fn mixed<T: TokenId>(&self, ids: &ByteIds, text: &str, slots: &mut [T]) -> (usize, bool) {
        let (mut length, mut rest) = (0, text);
        let truncated = loop {
            let run = T::write_run(ids, rest, &mut slots[length..]);
            let (Run::UpToAnother(count) | Run::TooShort(count)) = run;
            (length, rest) = (length + count, &rest[count..]);
            // A run is only tried where there is one: else each letter of other scripts would cost as much.
            let end = match run {
                Run::UpToAnother(_) => rest.bytes().position(|byte| byte.is_ascii()),
                Run::TooShort(_) => None,
            };
            let (others, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let (more, truncated) = self.one_by_one(others, &mut slots[length..]);
            (length, rest) = (length + more, behind);
            if truncated || rest.is_empty() {
                break truncated;
            }
        };
        // What runs have left behind them.
        slots[length..].fill(T::of(self.pad));
        (length, truncated)
    }

    fn one_by_one<T: TokenId>(&self, text: &str, slots: &mut [T]) -> (usize, bool) {
        let mut characters = text.chars();
        let mut length = 0;
        for (slot, character) in slots.iter_mut().zip(characters.by_ref()) {
            *slot = T::of(self.id(character));
            length += 1;
        }
        (length, characters.next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vocabulary(text: &str) -> CharacterVocabulary {
        let mut seen = CharacterSet::default();
        seen.add(text);
        CharacterVocabulary::new(&seen, SpecialTokens::default())
    }

    fn encode(vocabulary: &CharacterVocabulary, text: &str, width: usize) -> (Vec<u16>, bool) {
        let mut row = vec![0xffff; width];
        let encoded = vocabulary.encode(text, &mut row);
        (row, encoded.truncated)
    }

    /// A model would be trained on rows without an end, or on what the row before left there.
    #[test]
    fn rows_are_cut_and_filled() {
        let known = vocabulary("abcé😀");
        let mut table = testing::CaseTable::new("rows have begin, characters, end and padding");
        let cases: [(&str, usize, &[u16], bool); 9] = [
            ("", 4, &[2, 3, 0, 0], false),
            ("abc", 6, &[2, 4, 5, 6, 3, 0], false),
            ("abc", 5, &[2, 4, 5, 6, 3], false),
            ("abc", 4, &[2, 4, 5, 3], true),
            ("é😀x", 5, &[2, 7, 8, 1, 3], false),
            ("é😀x", 4, &[2, 7, 8, 3], true),
            ("a", 2, &[2, 3], true),
            ("a", 1, &[2], true),
            ("a", 0, &[], true),
        ];
        for (text, width, ids, truncated) in cases {
            let case = format!("{text:?} in {width}");
            table.equal(
                case,
                &encode(&known, text, width),
                &(ids.to_vec(), truncated),
            );
        }
        table.finish();
    }

    /// A row with a letter beyond ASCII would end in ids of its bytes instead of padding.
    #[test]
    fn padding_follows_rows_of_any_script() {
        let (ascii, beyond) = ("abcdefgh".repeat(9), "é".repeat(20));
        let known = vocabulary("abcdefghé");
        for text in [
            ascii.clone(),
            beyond.clone(),
            ascii.clone() + "é",
            beyond.clone() + &ascii,
            ascii.clone() + "éé" + &ascii + &beyond,
        ] {
            let length = text.chars().count();
            for width in [length + 2, length + 3, length + 100] {
                let (row, truncated) = encode(&known, &text, width);
                let ids = text.chars().map(|c| known.id(c) as u16);
                let mut expected: Vec<u16> = [2].into_iter().chain(ids).chain([3]).collect();
                expected.resize(width, 0);
                assert_eq!(
                    (row, truncated),
                    (expected.clone(), false),
                    "{text} in {width}"
                );
            }
            // Cut within a run, at another character, beside it, and before the only one.
            for width in 30..length + 2 {
                let (row, truncated) = encode(&known, &text, width);
                let ids = text.chars().map(|c| known.id(c) as u16).take(width - 2);
                let expected: Vec<u16> = [2].into_iter().chain(ids).chain([3]).collect();
                assert_eq!((row, truncated), (expected, true), "{text} in {width}");
            }
        }
    }

    /// Who wants no ends would get rows that are two tokens short.
    #[test]
    fn ends_can_be_left_out() {
        let mut seen = CharacterSet::default();
        seen.add("ab");
        for (begin, end, expected) in [
            (None, None, [2_u16, 3, 0]),
            (Some("^".to_owned()), None, [2, 3, 4]),
            (None, Some("$".to_owned()), [3, 4, 2]),
        ] {
            let special = SpecialTokens {
                begin,
                end,
                ..SpecialTokens::default()
            };
            let known = CharacterVocabulary::new(&seen, special);
            assert_eq!(encode(&known, "ab", 3), (expected.to_vec(), false));
        }
    }

    /// Text that looks like a special token would end a row, or become padding.
    #[test]
    fn special_tokens_are_never_found_in_a_text() {
        let known = vocabulary("<PAD>");
        let mut ids: Vec<u32> = Vec::new();
        known.append("<PAD>", &mut ids);
        assert_eq!(ids.len(), 7);
        assert!(!ids.contains(&known.pad()));
    }

    proptest! {
        /// A text could not be read back from its ids; ASCII and the rest would be encoded otherwise.
        #[test]
        fn texts_can_be_read_back(text in any::<String>(), known in "[ -~]*") {
            let known = vocabulary(&(text.clone() + &known));
            let mut wide: Vec<u32> = Vec::new();
            known.append(&text, &mut wide);
            let back: Option<String> = wide[1..wide.len() - 1].iter().map(|&id| known.token(id)).collect();
            prop_assert_eq!(back, Some(text.clone()));
            let (narrow, truncated) = encode(&known, &text, wide.len());
            prop_assert_eq!(narrow.iter().map(|&id| u32::from(id)).collect::<Vec<_>>(), wide);
            prop_assert!(!truncated);
        }
    }
}
