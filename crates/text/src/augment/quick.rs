//! Edits of characters where each byte is one: looked up instead of worked out.
//!
//! Which operation acts and what it does there is random, so a branch on either is guessed wrong about as often as
//! not, and costs more than all else of an edit. So everything an operation may do to a byte lies in a
//! table, in one form for all of them, and a row's edits are found without such branches. The results are
//! those of [`Operations`], number for number; what the table cannot say (several characters that stand for
//! others, long replacements) is asked of them, and where bounds take edits out or in, or anything is
//! protected, rows go that way altogether.

use std::hint::select_unpredictable;

use super::clusters::Bytes;
use super::edited::Edit;
use super::kind::{Kind, Unit};
use super::operations::{Confusions, MARKS, Operations};
use super::plan::{self, Change, Planned};
use super::process::Process;
use super::random::{Purpose, scaled};
use super::row::Row;

/// Rows of more bytes go the other way: beside what they cost, it makes no difference.
pub(crate) const LONGEST: usize = 64 << 10;

/// Operations on characters, as a power of two.
const KINDS: usize = 16;
const ASCII: usize = 128;

const _: () = {
    let mut at = 0;
    while at < Kind::ALL.len() {
        let is_of_characters = matches!(Kind::ALL[at].unit(), Unit::Character);
        assert!(!is_of_characters || (Kind::ALL[at] as usize) < KINDS);
        at += 1;
    }
};

/// What an operation may do at a byte.
#[derive(Clone, Copy, Debug)]
struct Choice {
    /// The first of its outcomes.
    first: u32,
    /// How many there are to draw from; so many more lie behind them where a number's highest bit is set.
    count: u16,
    more: u16,
    /// What must be true of the byte behind.
    needs: u8,
    /// Bits of the number that are not for drawing.
    shift: u8,
    /// Which bytes behind it make the operations be asked.
    asks: u8,
    /// Bytes that it takes.
    taken: u8,
}

/// White space, or the end of the text.
const WHITE: u8 = 1;
/// None of these.
const INKED: u8 = 2;
/// Another byte than that before it.
const OTHER: u8 = 4;
/// Never true.
const NEVER: u8 = 8;

const NOTHING: Choice = Choice {
    first: 0,
    count: 0,
    more: 0,
    needs: NEVER,
    shift: 0,
    asks: ASKS_NEVER,
    taken: 1,
};

const ASKS_NEVER: u8 = 0;
const ASKS_ALWAYS: u8 = 1;

/// What comes in a byte's place: its own bytes, and the byte itself and the one behind it where these stand as
/// factors.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    bytes: u64,
    own: u32,
    behind: u16,
    length: u8,
    asks: bool,
}

/// A byte among eight.
const fn place(at: usize) -> u32 {
    1 << (8 * at)
}

/// The memory in which a row is edited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quickly {
    /// The text before, with a margin behind it.
    source: Vec<u8>,
    /// The text after; what lies behind it is of other rows.
    made: Vec<u8>,
    /// Bytes of the text after, if it was made here.
    length: Option<usize>,
    word: String,
}

/// Bytes that are copied at once, whether they are needed or not.
const BLOCK: usize = 64;

/// All that operations on characters may do.
#[derive(Clone, Debug)]
pub(crate) struct Quick {
    choices: Box<[Choice; KINDS * ASCII]>,
    outcomes: Vec<Outcome>,
    /// Sets of bytes.
    asks: Vec<[bool; ASCII]>,
    behind: Box<[u8; 256]>,
}

impl Quick {
    pub(crate) fn new(operations: &Operations) -> Quick {
        let is_white = |byte: u8| char::from(byte & 127).is_whitespace();
        let behind = |byte: usize| if is_white(byte as u8) { WHITE } else { INKED };
        let mut quick = Quick {
            choices: Box::new([NOTHING; KINDS * ASCII]),
            outcomes: vec![Outcome::default()],
            asks: vec![[false; ASCII], [true; ASCII]],
            behind: Box::new(std::array::from_fn(behind)),
        };
        let lists = Lists::new(operations, &mut quick);
        for kind in Kind::ALL
            .iter()
            .filter(|kind| kind.unit() == Unit::Character)
        {
            for byte in 0..ASCII as u8 {
                let choice = quick.choice(operations, &lists, *kind, byte);
                quick.choices[*kind as usize * ASCII + usize::from(byte)] = choice;
            }
        }
        quick
    }

    /// What an operation may do at a byte, as [`Operations::character`] does it.
    fn choice(&mut self, operations: &Operations, lists: &Lists, kind: Kind, byte: u8) -> Choice {
        let own = char::from(byte);
        let table = match kind {
            Kind::Space if own.is_whitespace() => return lists.space,
            Kind::Punctuation if own.is_ascii_punctuation() => return lists.mark,
            Kind::Delete | Kind::Insert | Kind::Substitute | Kind::Repeat | Kind::Swap
                if own.is_whitespace() =>
            {
                return NOTHING;
            }
            Kind::Punctuation if own.is_whitespace() => return NOTHING,
            Kind::Delete => return lists.delete,
            Kind::Insert => return lists.insert,
            Kind::Substitute => return lists.substitute,
            Kind::Repeat => return lists.repeat,
            Kind::Swap => return lists.swap,
            Kind::Punctuation => return lists.mark_behind,
            Kind::Case if own.is_ascii_alphabetic() => {
                let flipped = u64::from(byte ^ 0x20);
                return self.list(&[literal(flipped, 1)]);
            }
            Kind::Keyboard => &operations.keyboard,
            Kind::Optical => &operations.optical,
            Kind::Similar => &operations.similar,
            Kind::Accent => &operations.accent,
            _ => return NOTHING,
        };
        let found = table
            .as_ref()
            .map(|table| self.replaced(operations, table, byte));
        found.unwrap_or(NOTHING)
    }

    /// What a table has for a byte.
    fn replaced(&mut self, operations: &Operations, table: &Confusions, byte: u8) -> Choice {
        let mut outcomes = Vec::new();
        let mut longer = [false; ASCII];
        for (from, texts) in table.of_ascii(byte) {
            match from.as_bytes() {
                [_] => outcomes.extend(texts.map(|text| packed(operations.pool.text(text)))),
                [_, next, ..] if next.is_ascii() => longer[usize::from(*next)] = true,
                _ => {}
            }
        }
        let Some(outcomes) = outcomes.into_iter().collect::<Option<Vec<_>>>() else {
            return Choice {
                asks: ASKS_ALWAYS,
                ..NOTHING
            };
        };
        let mut choice = self.list(&outcomes);
        if longer.contains(&true) {
            let known = self.asks.iter().position(|asks| *asks == longer);
            let at = known.unwrap_or(self.asks.len());
            choice.asks = u8::try_from(at).unwrap_or(ASKS_ALWAYS);
            if known.is_none() && choice.asks != ASKS_ALWAYS {
                self.asks.push(longer);
            }
        }
        choice
    }

    /// A choice among outcomes.
    fn list(&mut self, outcomes: &[Outcome]) -> Choice {
        let first = self.outcomes.len() as u32;
        match u16::try_from(outcomes.len()) {
            Ok(0) => NOTHING,
            Err(_) => Choice {
                asks: ASKS_ALWAYS,
                ..NOTHING
            },
            Ok(count) => {
                self.outcomes.extend_from_slice(outcomes);
                Choice {
                    first,
                    count,
                    needs: 0,
                    ..NOTHING
                }
            }
        }
    }

    /// Makes the edits of words in `plan`, which lie in order, and those of characters that these have not taken.
    /// False where an edit is none that these tables could hold: then nothing is done.
    pub(crate) fn edit(
        &self,
        row: &Row<'_, Bytes>,
        process: &Process,
        plan: &[Planned],
        memory: &mut Quickly,
        edits: &mut Vec<Edit>,
    ) -> bool {
        memory.reserve(row.text.len());
        let mut making = Making {
            row,
            plan,
            source: &memory.source,
            made: &mut memory.made,
            word: &mut memory.word,
            copied: 0,
            at: 0,
        };
        let is_done = match plan.is_empty() {
            true => self.edit_among::<false>(process, &mut making, edits),
            false => self.edit_among::<true>(process, &mut making, edits),
        };
        let end = making.copy(row.text.len());
        memory.length = Some(end);
        debug_assert!(std::str::from_utf8(&memory.made[..end]).is_ok());
        is_done
    }

    #[inline(always)]
    fn edit_among<const WORDS: bool>(
        &self,
        process: &Process,
        making: &mut Making<'_>,
        edits: &mut Vec<Edit>,
    ) -> bool {
        let row = making.row;
        let mut numbers = row.key.numbers(Purpose::Characters);
        let mut at = 0;
        while let Some((found, kind)) = process.next(&mut numbers, at, row.text.len()) {
            at = found + 1;
            let (own, behind) = (making.source[found], making.source[found + 1]);
            let choice = self.choices[kind as usize % KINDS * ASCII + usize::from(own & 127)];
            let number = row.key.number(Purpose::Detail(kind), found as u64);
            let further = usize::from(choice.more) * (number >> 63) as usize;
            let drawn = scaled(number << choice.shift, usize::from(choice.count)) + further;
            let outcome = self.outcomes[choice.first as usize + drawn];
            let seen = self.behind[usize::from(behind)] | (OTHER * u8::from(own != behind));
            let mut applies = choice.needs & !seen == 0;
            let mut change = Bits {
                bytes: outcome.bytes
                    + u64::from(outcome.own) * u64::from(own)
                    + u64::from(outcome.behind) * u64::from(behind),
                length: outcome.length,
                taken: choice.taken,
            };
            // One that would put a character in its own place is drawn again.
            let is_same = (outcome.length == 1) & (change.bytes == u64::from(own));
            let asks = self.asks[usize::from(choice.asks)][usize::from(behind & 127)];
            if asks | (applies & (is_same | outcome.asks)) {
                match row.quick(kind, found) {
                    Asked::Change(asked) => (change, applies) = (asked, true),
                    Asked::Nothing => applies = false,
                    Asked::TooLong => return false,
                }
            }
            if WORDS {
                while let Some(word) = making.plan.first().filter(|word| word.range.end <= found) {
                    making.word(word, edits);
                }
                let end = found + usize::from(change.taken);
                let next = making.plan.first();
                applies &= next.is_none_or(|word| word.range.start >= end);
            }
            making.character(kind, found, change, applies, edits);
            if applies & (change.taken > 1) {
                rare();
                at = found + usize::from(change.taken);
            }
        }
        if WORDS {
            while let Some(word) = making.plan.first() {
                making.word(word, edits);
            }
        }
        true
    }
}

/// A branch on it is taken for one that need not be: the places of later edits are then known before what is done
/// at this one.
#[cold]
#[inline(never)]
fn rare() {}

impl Quickly {
    pub(crate) fn clear(&mut self) {
        self.length = None;
    }

    /// The text after, if it was made here.
    pub(crate) fn text(&self) -> Option<&str> {
        let made = &self.made[..self.length?];
        // SAFETY: the source is ASCII, so every part of it is UTF-8; what came in place of edits are whole
        // characters, of texts or of the source.
        Some(unsafe { std::str::from_utf8_unchecked(made) })
    }

    fn reserve(&mut self, text: usize) {
        if self.made.len() < room(text) {
            self.made.resize(room(text), 0);
        }
    }

    /// Begins with a row.
    pub(crate) fn begin(&mut self, text: &str) {
        self.source.clear();
        self.source.extend_from_slice(text.as_bytes());
        // It is what the end of a text is to all operations.
        self.source.extend_from_slice(&[b'\n'; BLOCK]);
    }
}

/// Bytes that may be written for so many, whatever is done to them.
fn room(text: usize) -> usize {
    9 * text + 2 * BLOCK
}

/// What comes in a place: its first bytes, and how many of the text these take.
#[derive(Clone, Copy, Debug)]
struct Bits {
    bytes: u64,
    length: u8,
    taken: u8,
}

/// A text that is written.
struct Making<'a> {
    row: &'a Row<'a, Bytes>,
    /// Edits of words that are to be made.
    plan: &'a [Planned],
    source: &'a [u8],
    made: &'a mut Vec<u8>,
    word: &'a mut String,
    /// Bytes of the source that are done with.
    copied: usize,
    /// Bytes that are written.
    at: usize,
}

impl Making<'_> {
    /// Copies the source up to `end`, and gives how far it is written then; nothing of that counts yet.
    #[inline(always)]
    fn copy(&mut self, end: usize) -> usize {
        let length = end - self.copied;
        let mut done = 0;
        loop {
            let from = &self.source[self.copied + done..][..BLOCK];
            self.made[self.at + done..][..BLOCK].copy_from_slice(from);
            done += BLOCK;
            if done >= length {
                break;
            }
        }
        self.at + length
    }

    /// Makes an edit of a character; one that does not apply is written as well, to be written over.
    #[inline(always)]
    fn character(
        &mut self,
        kind: Kind,
        start: usize,
        change: Bits,
        applies: bool,
        edits: &mut Vec<Edit>,
    ) {
        let from = self.copy(start);
        self.made[from..][..8].copy_from_slice(&change.bytes.to_le_bytes());
        let end = start + usize::from(change.taken);
        let to = from + usize::from(change.length);
        let count = edits.len() + usize::from(applies);
        edits.push(Edit {
            kind,
            before: start..end,
            after: from..to,
        });
        edits.truncate(count);
        self.at = select_unpredictable(applies, to, self.at);
        self.copied = select_unpredictable(applies, end, self.copied);
    }

    fn word(&mut self, planned: &Planned, edits: &mut Vec<Edit>) {
        self.plan = &self.plan[1..];
        self.word.clear();
        let made = plan::Making {
            source: self.row.text,
            words: self.row.words,
            pool: &self.row.operations.pool,
        };
        plan::write(&made, planned, self.word);
        let from = self.copy(planned.range.start);
        let text = self.word.as_bytes();
        self.copied = planned.range.end;
        self.at = from + text.len();
        let most = self.at + room(self.row.text.len() - self.copied);
        if self.made.len() < most {
            self.made.resize(most, 0);
        }
        self.made[from..self.at].copy_from_slice(text);
        edits.push(Edit {
            kind: planned.kind,
            before: planned.range.clone(),
            after: from..self.at,
        });
    }
}

/// What the operations say of a place.
enum Asked {
    Nothing,
    Change(Bits),
    /// More bytes than fit.
    TooLong,
}

impl Row<'_, Bytes> {
    #[cold]
    #[inline(never)]
    fn quick(&self, kind: Kind, at: usize) -> Asked {
        let Some(planned) = self.at(kind, at) else {
            return Asked::Nothing;
        };
        let outcome = match planned.change {
            Change::Remove => Some(literal(0, 0)),
            Change::Character(c) => packed(c.encode_utf8(&mut [0; 4])),
            Change::Text(text) => packed(self.operations.pool.text(text)),
            _ => None,
        };
        let taken = u8::try_from(planned.range.len());
        let (Some(Outcome { bytes, length, .. }), Ok(taken)) = (outcome, taken) else {
            return Asked::TooLong;
        };
        Asked::Change(Bits {
            bytes,
            length,
            taken,
        })
    }
}

/// The choices that are the same for all bytes to which an operation applies.
struct Lists {
    delete: Choice,
    insert: Choice,
    substitute: Choice,
    repeat: Choice,
    swap: Choice,
    space: Choice,
    mark: Choice,
    mark_behind: Choice,
}

impl Lists {
    fn new(operations: &Operations, quick: &mut Quick) -> Lists {
        let remove = literal(0, 0);
        let twice = Outcome {
            own: place(0) + place(1),
            length: 2,
            ..remove
        };
        let turned = Outcome {
            own: place(1),
            behind: 1,
            length: 2,
            ..remove
        };
        let asks = Outcome {
            asks: true,
            ..remove
        };
        let marks: Vec<Outcome> = MARKS.iter().filter_map(|mark| after(*mark)).collect();
        let [before, after, alone] = [before, after, alone].map(|made| {
            let outcomes = operations.alphabet.characters().iter().map(|c| made(*c));
            outcomes.collect::<Option<Vec<Outcome>>>()
        });
        let mut insert = Choice {
            asks: ASKS_ALWAYS,
            ..NOTHING
        };
        if let (Some(mut before), Some(after)) = (before, after) {
            before.extend(after);
            insert = quick.list(&before);
            insert.count /= 2;
            (insert.more, insert.shift) = (insert.count, 1);
        }
        let substitute = alone.map(|alone| quick.list(&alone));
        let mut space = quick.list(&[remove, twice]);
        (space.count, space.more) = (1, 1);
        Lists {
            delete: quick.list(&[remove]),
            insert,
            substitute: substitute.unwrap_or(Choice {
                asks: ASKS_ALWAYS,
                ..NOTHING
            }),
            repeat: quick.list(&[twice]),
            swap: Choice {
                needs: INKED | OTHER,
                taken: 2,
                ..quick.list(&[turned])
            },
            space,
            mark: quick.list(&[remove, twice, asks]),
            mark_behind: Choice {
                needs: WHITE,
                ..quick.list(&marks)
            },
        }
    }
}

fn literal(bytes: u64, length: usize) -> Outcome {
    Outcome {
        bytes,
        length: length as u8,
        ..Outcome::default()
    }
}

/// A text, if it fits.
fn packed(text: &str) -> Option<Outcome> {
    let mut bytes = [0; 8];
    bytes
        .get_mut(..text.len())?
        .copy_from_slice(text.as_bytes());
    Some(literal(u64::from_le_bytes(bytes), text.len()))
}

fn alone(c: char) -> Option<Outcome> {
    packed(c.encode_utf8(&mut [0; 4]))
}

/// A character and the byte itself.
fn before(c: char) -> Option<Outcome> {
    let outcome = alone(c).filter(|_| c.len_utf8() < 4)?;
    let length = outcome.length + 1;
    Some(Outcome {
        own: place(c.len_utf8()),
        length,
        ..outcome
    })
}

/// The byte itself and a character.
fn after(c: char) -> Option<Outcome> {
    let outcome = alone(c)?;
    Some(Outcome {
        own: 1,
        bytes: outcome.bytes << 8,
        length: outcome.length + 1,
        ..outcome
    })
}
