//! What must be known of an input before its rows are written: its hash, its characters, its longest row, and
//! whether it is plain enough to be read by the block.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use data::{DataError, Lengths, PlainText, Source};
use text::characters::CharacterVocabulary;

use super::clock::{Clock, Stage};
use super::plan::{OutputKind, RowsPlan, TokensOf, TokensPlan};
use super::survey::{self, Looked, Survey, Wanted};
use super::tokens::{ModelTokens, Tokens};
use crate::console::Console;
use crate::interrupt::Interrupt;

/// What is known of an input before its rows are written.
pub(super) struct Known {
    pub(super) fingerprint: Option<String>,
    pub(super) survey: Option<Survey>,
    /// The input by the block, if it is plain and an array is to be written.
    pub(super) plain: Option<PlainText>,
}

/// Hashes the input and looks at its rows, side by side; `None` where the user has stopped it.
pub(super) fn look(
    plan: &RowsPlan,
    source: &Source,
    interrupt: &Interrupt,
    clock: &Clock,
) -> anyhow::Result<Option<Known>> {
    let is_array = matches!(plan.output.kind, OutputKind::Array(_));
    let plain = match is_array {
        true => source.plain_text()?,
        false => None,
    };
    let repeatable = source.is_repeatable();
    // Else a broken file would be told when all the others are hashed.
    let is_in_vain = AtomicBool::new(false);
    let (fingerprint, looked) = std::thread::scope(|scope| {
        let looked = scope.spawn(|| {
            let looked = clock.time(Stage::Survey, || {
                look_at_rows(plan, repeatable, plain, interrupt)
            });
            is_in_vain.store(looked.is_err(), Ordering::Relaxed);
            looked
        });
        let fingerprint = clock.time(Stage::Fingerprint, || {
            source.fingerprint_unless(&|| interrupt.came() || is_in_vain.load(Ordering::Relaxed))
        });
        let looked = looked.join();
        (
            fingerprint,
            looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    let Some((survey, plain)) = looked? else {
        return Ok(None);
    };
    if matches!(fingerprint, Err(DataError::Stopped)) {
        return Ok(None);
    }
    Ok(Some(Known {
        fingerprint: fingerprint?,
        survey,
        plain,
    }))
}

type Seen = Option<(Option<Survey>, Option<PlainText>)>;

fn look_at_rows(
    plan: &RowsPlan,
    repeatable: bool,
    plain: Option<PlainText>,
    interrupt: &Interrupt,
) -> anyhow::Result<Seen> {
    let tokens = plan.tokens.as_ref();
    let is_made = |tokens: &TokensPlan| matches!(tokens.of, TokensOf::Data(_));
    let wanted = Wanted {
        characters: tokens.is_some_and(is_made),
        lengths: match tokens.and_then(|tokens| tokens.width) {
            Some(_) => Lengths::Passed,
            None => Lengths::Measured,
        },
    };
    if let Some(input) = plain {
        match survey::plain(&input, wanted, plan.threads, interrupt)? {
            Looked::At(survey) => return Ok(Some((Some(*survey), Some(input)))),
            Looked::Interrupted => return Ok(None),
            Looked::NotPlain => {}
        }
    }
    let is_array = matches!(plan.output.kind, OutputKind::Array(_));
    let needs = plan.tokens.as_ref().is_some_and(|tokens| match tokens.of {
        TokensOf::Data(_) => true,
        TokensOf::Vocabulary(_) => is_array && tokens.width.is_none(),
        TokensOf::Model(..) => false,
    });
    if !needs {
        return Ok(Some((None, None)));
    }
    if !repeatable {
        bail!(
            "standard input cannot be read twice, once for its characters and once for its rows: give \
             --vocabulary and, for an array, --width; or save it to a file first"
        );
    }
    match survey::rows(plan.input.clone(), plan.threads, interrupt)? {
        Looked::At(survey) => Ok(Some((Some(*survey), None))),
        Looked::Interrupted | Looked::NotPlain => Ok(None),
    }
}

/// The tokens that are wanted: read, found, or made of the characters that were seen.
pub(super) fn tokens(
    plan: &RowsPlan,
    wanted: &TokensPlan,
    survey: Option<&Survey>,
    console: &Console,
) -> anyhow::Result<Tokens> {
    let tokens = match &wanted.of {
        TokensOf::Vocabulary(path) => {
            Tokens::Characters(Box::new(CharacterVocabulary::from_file(path)?))
        }
        TokensOf::Data(special) => {
            let survey = survey.context("the rows were not looked at")?;
            let characters = match &plan.recipe {
                Some(recipe) => &recipe.may_write(&survey.characters)?,
                None => &survey.characters,
            };
            let vocabulary = CharacterVocabulary::new(characters, special.clone());
            Tokens::Characters(Box::new(vocabulary))
        }
        TokensOf::Model(words, network) => {
            Tokens::Model(Box::new(ModelTokens::find(words, *network, console)?))
        }
    };
    if let Some(width) = wanted.width {
        tokens.check_width(width)?;
    }
    Ok(tokens)
}
