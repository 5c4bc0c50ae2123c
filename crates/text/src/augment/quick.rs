//! Edits of characters where each byte is one: looked up instead of worked out.
//!
//! Which operation acts and what it does there is random, so a branch on either is guessed wrong about as often as
//! not, and costs more than all else of an edit. So everything an operation may do to a byte lies in a
//! table, in one form for all of them, and a row's edits are found without such branches. The results are
//! those of [`Operations`], number for number; what the table cannot say (several characters that stand for
//! others, long replacements) is asked of them, and where bounds take edits out or in, or anything is
//! protected, rows go that way altogether.

use super::clusters::Bytes;
use super::edited::Edit;
use super::kind::{Kind, Unit};
use super::operations::{Confusions, MARKS, Operations};
use super::plan::{self, Change, Making, Planned};
use super::process::Process;
use super::random::{Purpose, scaled};
use super::row::Row;

/// Rows of more bytes go the other way: beside what they cost, it makes no difference.
pub(crate) const LONGEST: usize = 1 << 20;

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

/// An edit to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuickEdit {
    bytes: u64,
    start: u32,
    length: u8,
    taken: u8,
    kind: Kind,
}

const NO_EDIT: QuickEdit = QuickEdit {
    bytes: 0,
    start: 0,
    length: 0,
    taken: 0,
    kind: Kind::Delete,
};

/// The memory in which a row is edited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quickly {
    /// The text before, with a margin behind it.
    source: Vec<u8>,
    /// Edits of characters; those behind the last are of other rows.
    edits: Vec<QuickEdit>,
    count: usize,
    /// The text after; what lies behind it is of other rows.
    made: Vec<u8>,
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
    asks: Vec<u128>,
    behind: Box<[u8; 256]>,
}

impl Quick {
    pub(crate) fn new(operations: &Operations) -> Quick {
        let is_white = |byte: u8| char::from(byte & 127).is_whitespace();
        let behind = |byte: usize| if is_white(byte as u8) { WHITE } else { INKED };
        let mut quick = Quick {
            choices: Box::new([NOTHING; KINDS * ASCII]),
            outcomes: vec![Outcome::default()],
            asks: vec![0, u128::MAX],
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
        let mut longer = 0_u128;
        for (from, texts) in table.of_ascii(byte) {
            match from.as_bytes() {
                [_] => outcomes.extend(texts.map(|text| packed(operations.pool.text(text)))),
                [_, next, ..] if next.is_ascii() => longer |= 1 << next,
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
        if longer != 0 {
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

    /// Plans the edits of characters that no edit of a word in `plan` has taken. False where an edit is none
    /// that these tables could hold.
    pub(crate) fn plan(
        &self,
        row: &Row<'_, Bytes>,
        process: &Process,
        plan: &[Planned],
        memory: &mut Quickly,
    ) -> bool {
        memory.source.clear();
        memory.source.extend_from_slice(row.text.as_bytes());
        // White space is what the end of a text is to all operations.
        memory.source.extend_from_slice(&[b'\n'; BLOCK]);
        match plan.is_empty() {
            true => self.plan_among::<false>(row, process, plan, memory),
            false => self.plan_among::<true>(row, process, plan, memory),
        }
    }

    #[inline(always)]
    fn plan_among<const WORDS: bool>(
        &self,
        row: &Row<'_, Bytes>,
        process: &Process,
        plan: &[Planned],
        memory: &mut Quickly,
    ) -> bool {
        let Quickly { source, edits, .. } = memory;
        let mut numbers = row.key.numbers(Purpose::Characters);
        let (mut at, mut used, mut passed) = (0, 0, 0);
        while let Some((found, kind)) = process.next(&mut numbers, at, row.text.len()) {
            let (own, behind) = (source[found], source[found + 1]);
            let choice = self.choices[kind as usize % KINDS * ASCII + usize::from(own & 127)];
            let number = row.key.number(Purpose::Detail(kind), found as u64);
            let further = usize::from(choice.more) * (number >> 63) as usize;
            let drawn = scaled(number << choice.shift, usize::from(choice.count)) + further;
            let outcome = self.outcomes[choice.first as usize + drawn];
            let seen = self.behind[usize::from(behind)] | OTHER * u8::from(own != behind);
            let mut applies = choice.needs & !seen == 0;
            let mut edit = QuickEdit {
                bytes: outcome.bytes
                    + u64::from(outcome.own) * u64::from(own)
                    + u64::from(outcome.behind) * u64::from(behind),
                start: found as u32,
                length: outcome.length,
                taken: choice.taken,
                kind,
            };
            // One that would put a character in its own place is drawn again.
            let is_same = outcome.length == 1 && edit.bytes == u64::from(own);
            let asks = self.asks[usize::from(choice.asks)] >> (behind & 127) & 1 != 0;
            if asks | (applies & (is_same | outcome.asks)) {
                match row.quick(kind, found) {
                    Asked::Edit(asked) => (edit, applies) = (asked, true),
                    Asked::Nothing => applies = false,
                    Asked::TooLong => return false,
                }
            }
            if WORDS {
                let (start, end) = (found, found + usize::from(edit.taken));
                while passed < plan.len() && plan[passed].range.end <= start {
                    passed += 1;
                }
                let near = plan[passed..].iter();
                let mut near = near.take_while(|word| word.range.start < end);
                applies &= !near.any(|word| start < word.range.end);
            }
            if used == edits.len() {
                edits.resize(2 * used + 16, NO_EDIT);
            }
            edits[used] = edit;
            used += usize::from(applies);
            at = found + 1 + (usize::from(edit.taken) - 1) * usize::from(applies);
        }
        memory.count = used;
        true
    }

    /// Makes the edits of words and characters, which lie in order.
    pub(crate) fn make(
        &self,
        making: &Making<'_>,
        plan: &[Planned],
        memory: &mut Quickly,
        text: &mut String,
        edits: &mut Vec<Edit>,
    ) {
        let Quickly {
            source,
            edits: quick,
            count,
            made,
            word,
        } = memory;
        let quick = &quick[..*count];
        edits.reserve(quick.len() + plan.len());
        let most = source.len() + 8 * quick.len() + 2 * BLOCK;
        let mut maker = Maker {
            source,
            made,
            copied: 0,
            at: 0,
        };
        maker.reserve(most);
        let mut words = plan.iter();
        let mut next = words.next();
        for edit in quick {
            let start = edit.start as usize;
            let end = start + usize::from(edit.taken);
            while let Some(planned) = next.filter(|next| next.order() < (start, end)) {
                edits.push(maker.word(making, planned, word, most));
                next = words.next();
            }
            edits.push(maker.character(edit, start, end));
        }
        while let Some(planned) = next {
            edits.push(maker.word(making, planned, word, most));
            next = words.next();
        }
        let end = maker.copy(making.source.len());
        // What was copied begins and ends where characters do.
        text.push_str(std::str::from_utf8(&made[..end]).unwrap_or_default());
    }
}

impl Quickly {
    /// The kinds of the edits of characters.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + Clone + '_ {
        self.edits[..self.count].iter().map(|edit| edit.kind)
    }
}

/// A text that is written.
struct Maker<'a> {
    source: &'a [u8],
    made: &'a mut Vec<u8>,
    /// Bytes of the source that are done with.
    copied: usize,
    /// Bytes that are written.
    at: usize,
}

impl Maker<'_> {
    fn reserve(&mut self, bytes: usize) {
        if self.made.len() < bytes {
            self.made.resize(bytes, 0);
        }
    }

    /// Copies the source up to `end`, and gives how far it is written then.
    #[inline(always)]
    fn copy(&mut self, end: usize) -> usize {
        let mut done = 0;
        let length = end - self.copied;
        loop {
            let from = &self.source[self.copied + done..][..BLOCK];
            self.made[self.at + done..][..BLOCK].copy_from_slice(from);
            done += BLOCK;
            if done >= length {
                break;
            }
        }
        self.copied = end;
        self.at += length;
        self.at
    }

    #[inline(always)]
    fn character(&mut self, edit: &QuickEdit, start: usize, end: usize) -> Edit {
        let from = self.copy(start);
        self.made[from..][..8].copy_from_slice(&edit.bytes.to_le_bytes());
        self.at += usize::from(edit.length);
        self.copied = end;
        Edit {
            kind: edit.kind,
            before: start..end,
            after: from..self.at,
        }
    }

    fn word(
        &mut self,
        making: &Making<'_>,
        planned: &Planned,
        text: &mut String,
        most: usize,
    ) -> Edit {
        text.clear();
        plan::write(making, planned, text);
        let from = self.copy(planned.range.start);
        self.reserve(from + text.len() + most);
        self.made[from..][..text.len()].copy_from_slice(text.as_bytes());
        self.at += text.len();
        self.copied = planned.range.end;
        Edit {
            kind: planned.kind,
            before: planned.range.clone(),
            after: from..self.at,
        }
    }
}

/// What the operations say of a place.
enum Asked {
    Nothing,
    Edit(QuickEdit),
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
        let start = planned.range.start as u32;
        Asked::Edit(QuickEdit {
            bytes,
            start,
            length,
            taken,
            kind,
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
