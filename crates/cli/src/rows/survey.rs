//! A look at all rows before the first is written: which characters there are, how long the longest row is,
//! and whether the input is plain enough to be read by the block.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use data::{Block, BlockFacts, Chunk, Filled, InputSpec, Lengths, PlainText, block_rows};
use text::characters::CharacterSet;

use super::chunks::Chunks;
use super::clock::{Clock, Stage};
use super::ordered::{self, Stopped};
use crate::interrupt::Interrupt;

/// What all rows together tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    pub(super) characters: CharacterSet,
    /// Characters of the longest row.
    pub(super) longest: usize,
    pub(super) rows: u64,
}

/// What there is to be found out; what is not wanted is not looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) characters: bool,
    pub(super) lengths: Lengths,
}

/// How a look ended.
pub(super) enum Looked {
    At(Box<Survey>),
    /// The input is not plain.
    NotPlain,
    Interrupted,
}

/// Looks at an input by the block.
pub(super) fn plain(
    input: &PlainText,
    wanted: Wanted,
    threads: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<Looked> {
    let mut blocks = input.blocks(1, usize::MAX);
    let is_plain = AtomicBool::new(true);
    let next = |block: &mut Block, _: &dyn Fn() -> bool| {
        if !is_plain.load(Ordering::Relaxed) {
            return Ok(false);
        }
        Ok(match blocks.fill(block)? {
            Filled::Block => true,
            Filled::End => false,
            Filled::NotPlain => {
                is_plain.store(false, Ordering::Relaxed);
                false
            }
        })
    };
    let work = |block: &mut Block, survey: &mut Survey| {
        match block.check(wanted.lengths) {
            Some(facts) => {
                survey.longest = survey.longest.max(facts.longest);
                survey.rows += block.rows;
                if wanted.characters {
                    add(&facts, &mut survey.characters);
                }
            }
            None => is_plain.store(false, Ordering::Relaxed),
        }
        Ok(())
    };
    let (stopped, surveys) = ordered::run(threads, interrupt, next, work, |_| Ok(()))?;
    if !is_plain.load(Ordering::Relaxed) {
        return Ok(Looked::NotPlain);
    }
    let mut looked = joined(stopped, surveys);
    if let Looked::At(survey) = &mut looked {
        survey.characters.remove('\n');
    }
    Ok(looked)
}

/// Adds a block's characters, without the ends of its rows.
fn add(facts: &BlockFacts<'_>, characters: &mut CharacterSet) {
    if facts.has_returns {
        block_rows(facts.text).for_each(|row| characters.add(row));
    } else {
        // All at once is quicker; no row holds a line feed, so it goes again in the end.
        characters.add(facts.text);
    }
}

/// Looks at the rows of any input; bad ones do not count.
pub(super) fn rows(
    input: InputSpec,
    threads: usize,
    interrupt: &Interrupt,
) -> anyhow::Result<Looked> {
    let mut chunks = Chunks::opening(input);
    // The whole look is on the clock.
    let unseen = Clock::default();
    let next = |chunk: &mut Option<Chunk>, is_over: &dyn Fn() -> bool| {
        *chunk = chunks.next(is_over, &unseen, Stage::Survey)?;
        Ok(chunk.is_some())
    };
    let work = |chunk: &mut Option<Chunk>, survey: &mut Survey| {
        let chunk = chunk.take().ok_or_else(|| anyhow!("there is no chunk"))?;
        survey.rows += chunk.len() as u64;
        for row in chunk.rows.iter().flatten() {
            survey.characters.add(&row.text);
            if row.text.len() > survey.longest {
                survey.longest = survey.longest.max(row.text.chars().count());
            }
        }
        Ok(())
    };
    let (stopped, surveys) = ordered::run(threads, interrupt, next, work, |_| Ok(()))?;
    Ok(joined(stopped, surveys))
}

fn joined(stopped: Stopped, surveys: Vec<Survey>) -> Looked {
    if stopped == Stopped::ByTheUser {
        return Looked::Interrupted;
    }
    let mut all = Survey::default();
    for survey in surveys {
        all.characters.merge(&survey.characters);
        all.longest = all.longest.max(survey.longest);
        all.rows += survey.rows;
    }
    Looked::At(Box::new(all))
}
