//! One pass over a text.

use super::alphabet::Glyph;
use super::{Unknown, WordPiece};
use crate::tokens::{Place, Tokens, Unit};

/// The pass: the word that is being gathered, and the tokens so far.
pub(super) struct Scan<'a> {
    tokenizer: &'a WordPiece,
    /// Normalised bytes of the word.
    word: Vec<u8>,
    origins: Option<Origins>,
    ids: Vec<u32>,
    places: Vec<Place>,
}

/// Where the bytes of the word come from.
struct Origins {
    unit: Unit,
    /// How far places are behind bytes: the bytes so far that begin no character, if those count.
    behind: usize,
    /// Start and end of the character that each byte of the word was made of.
    of: Vec<(usize, usize)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(tokenizer: &'a WordPiece, places: Option<Unit>) -> Scan<'a> {
        Scan {
            tokenizer,
            word: Vec::with_capacity(64),
            origins: places.map(|unit| Origins {
                unit,
                behind: 0,
                of: Vec::new(),
            }),
            ids: Vec::new(),
            places: Vec::new(),
        }
    }

    pub(super) fn tokens(mut self, text: &str) -> Option<Tokens> {
        let bytes = text.as_bytes();
        // A token has 4 to 5 bytes in English.
        self.ids.reserve(bytes.len() / 4 + 4);
        let mut at = 0;
        loop {
            at = self.plain(bytes, at);
            let Some(character) = text[at..].chars().next() else {
                break;
            };
            if self.tokenizer.begins_added[usize::from(bytes[at])]
                && self.tokenizer.adds(&text[at..])
            {
                return None;
            }
            let size = character.len_utf8();
            match self.tokenizer.alphabet.glyph(character) {
                Glyph::Part(spelling) => self.gather(spelling.bytes(), at, size),
                Glyph::Alone(spelling) => {
                    self.end_word();
                    self.gather(spelling.bytes(), at, size);
                    self.end_word();
                }
                Glyph::Space => self.end_word(),
                Glyph::Gone => {}
                Glyph::Unsure => return None,
            }
            if let Some(origins) = &mut self.origins {
                origins.pass(size);
            }
            at += size;
        }
        self.end_word();
        Some(Tokens::new(self.ids, self.places))
    }

    /// Gathers the plain letters that begin at `at`; gives where they end.
    fn plain(&mut self, bytes: &[u8], at: usize) -> usize {
        let plain = &self.tokenizer.plain;
        let letters = bytes[at..].iter().map(|byte| plain[usize::from(*byte)]);
        let before = self.word.len();
        self.word.extend(letters.take_while(|letter| *letter != 0));
        let end = at + self.word.len() - before;
        if let Some(Origins { behind, of, .. }) = &mut self.origins {
            of.extend((at - *behind..end - *behind).map(|place| (place, place + 1)));
        }
        end
    }

    /// Adds what a character of `size` bytes at `at` becomes to the word.
    fn gather(&mut self, spelling: &[u8], at: usize, size: usize) {
        self.word.extend_from_slice(spelling);
        if let Some(origins) = &mut self.origins {
            let place = origins.place(at, size);
            origins.of.extend(spelling.iter().map(|_| place));
        }
    }

    /// Turns the gathered word into tokens.
    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let most = self.tokenizer.most_characters;
        let short = self.word.len() <= most || characters(&self.word) <= most;
        match self.tokenizer.vocabulary.whole(&self.word) {
            Some(id) if short => self.push(id, 0, self.word.len()),
            _ if short && self.pieces() => {}
            _ => self.unknown(),
        }
        self.word.clear();
        if let Some(origins) = &mut self.origins {
            origins.of.clear();
        }
    }

    /// Spells the word with several tokens; without a trace if that cannot be done.
    fn pieces(&mut self) -> bool {
        let (ids, places) = (self.ids.len(), self.places.len());
        let mut start = 0;
        while start < self.word.len() {
            let Some(piece) = self.tokenizer.vocabulary.longest(&self.word, start) else {
                self.ids.truncate(ids);
                self.places.truncate(places);
                return false;
            };
            self.push(piece.id, start, piece.end);
            start = piece.end;
        }
        true
    }

    /// Adds a token that stands for the bytes from `start` to `end` of the word.
    #[inline]
    fn push(&mut self, id: u32, start: usize, end: usize) {
        self.ids.push(id);
        if let Some(origins) = &self.origins {
            let mark = if start > 0 { self.tokenizer.prefix } else { 0 };
            self.places.push(Place {
                start: origins.of[start].0,
                end: origins.of[end - 1].1,
                written: mark + characters(&self.word[start..end]),
            });
        }
    }

    fn unknown(&mut self) {
        let Unknown { id, written } = self.tokenizer.unknown;
        self.push(id, 0, self.word.len());
        if let Some(place) = self.places.last_mut() {
            place.written = written;
        }
    }
}

impl Origins {
    fn place(&self, at: usize, size: usize) -> (usize, usize) {
        let start = at - self.behind;
        let size = match self.unit {
            Unit::Bytes => size,
            Unit::Characters => 1,
        };
        (start, start + size)
    }

    fn pass(&mut self, size: usize) {
        if self.unit == Unit::Characters {
            self.behind += size - 1;
        }
    }
}

/// Characters of valid UTF-8: the bytes that begin one.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}
