//! `tokenize` and `augment`: rows edited and turned into token ids, by no network.
//!
//! ```text
//!            ┌─ fingerprint ─┐                    ┌─► data::ArrayJob  (.npy)
//! input ─────┤               ├─► ordered: edit, ──┤
//!            └─ survey ──────┘   tokenise         └─► data::Job       (other formats)
//!               characters, longest row,
//!               plain enough for blocks?
//! ```
//!
//! Into an array, plain text goes by the block ([`data::Block`]): no row has a string, a place or a cell of
//! its own. Everything else goes by chunks of rows, as in the other commands. Both give the same bytes.

mod arrays;
mod chunks;
mod clock;
mod columns;
mod edits;
mod ending;
mod known;
mod ordered;
mod plan;
mod preview;
mod report;
mod spans;
mod summary;
mod survey;
mod tally;
mod tokens;
mod vocabulary_file;
mod writing;

use std::path::Path;
use std::time::Instant;

use anyhow::{anyhow, bail};
use data::{DataError, JobSummary, Source};

use crate::args::{AugmentArgs, GeneralArgs, TokenizeArgs};
use crate::console::Console;
use crate::figures;
use crate::interrupt::Interrupt;
use crate::job::Ending;
use crate::plan::tell_of_unnamed_lines;
use clock::Clock;
use known::{Known, look};
use plan::RowsPlan;
use summary::Summary;
use tally::Tally;
use tokens::Tokens;

/// Rows are at most so wide; one long row must not widen millions.
const WIDEST: usize = 8_192;

/// Bytes that the ids of a piece have at most, where they are more than one row's: some pieces a thread are in
/// memory, however short the rows of which they are made.
const PIECE_BYTES: usize = 4 << 20;

/// Runs `batchwright tokenize`.
pub(crate) fn tokenize(
    args: TokenizeArgs,
    general: &GeneralArgs,
    console: &Console,
) -> anyhow::Result<Ending> {
    run(&RowsPlan::tokenize(args, general)?, console)
}

/// Runs `batchwright augment`.
pub(crate) fn augment(
    args: AugmentArgs,
    general: &GeneralArgs,
    console: &Console,
) -> anyhow::Result<Ending> {
    run(&RowsPlan::augment(args, general)?, console)
}

fn run(plan: &RowsPlan, console: &Console) -> anyhow::Result<Ending> {
    if plan.recipe.as_ref().is_some_and(|recipe| !recipe.acts()) {
        console.say(
            "the recipe changes nothing: none of its operations has both a chance above 0 and a `max` above 0; \
             every copy will be the row as it was",
        );
    }
    if let (Some(rows), Some(edits)) = (plan.reports.preview, &plan.edits) {
        return preview::show(plan, edits, rows, console);
    }
    match write(plan, console) {
        Err(error) if error.downcast_ref().is_some_and(DataError::is_broken_pipe) => {
            Ok(Ending::NobodyListens)
        }
        other => other,
    }
}

/// What all parts of a run need.
struct Rows<'a> {
    plan: &'a RowsPlan,
    console: &'a Console,
    interrupt: &'a Interrupt,
    clock: &'a Clock,
    /// Rows of the output for each row of the input.
    per_row: usize,
    /// Rows of the output, where that is known.
    total: Option<u64>,
}

/// How writing ended.
enum Ended {
    Complete(JobSummary),
    Interrupted { saved: u64, resumable: bool },
}

/// Whether there was anything to do.
enum Written {
    Nothing(JobSummary),
    Rows(Ended, u64),
}

/// What is there before the first row is written.
struct Ready {
    source: Source,
    known: Known,
    tokens: Option<Tokens>,
}

fn write(plan: &RowsPlan, console: &Console) -> anyhow::Result<Ending> {
    let started = Instant::now();
    let clock = Clock::new(plan.output.profile);
    let source = plan.open()?;
    tell_of_unnamed_lines(&plan.input, &source, console);
    check_spans(plan, &source)?;
    let interrupt = Interrupt::listen(console)?;
    let Some(ready) = prepare(plan, source, &interrupt, &clock, console)? else {
        console.complain("interrupted; nothing was written yet");
        return Ok(Ending::Interrupted);
    };
    let rows = Rows {
        plan,
        console,
        interrupt: &interrupt,
        clock: &clock,
        per_row: plan.per_row(),
        total: None,
    };
    let mut tally = Tally::default();
    let written = rows.write(ready.source, ready.known, ready.tokens.as_ref(), &mut tally)?;
    let (before, finished) = match &written {
        Written::Nothing(finished) => (finished.rows, Some(finished)),
        Written::Rows(Ended::Complete(finished), before) => (*before, Some(finished)),
        Written::Rows(Ended::Interrupted { .. }, before) => (*before, None),
    };
    let mut summary = Summary::new(plan, &tally, before, started.elapsed(), &clock);
    if let Some(finished) = finished {
        summary = summary.finished(finished);
    }
    match &written {
        Written::Nothing(finished) => console.say(format_args!(
            "nothing to do: {} holds the {} of this very job; --restart does them again",
            finished.path.as_deref().unwrap_or(Path::new("-")).display(),
            figures::rows(finished.rows),
        )),
        Written::Rows(..) => {
            console.say(summary.words());
            if plan.output.profile {
                let peak = batchwright::MemoryStats::of_process().peak_resident_bytes;
                console.say(clock.words(tally.rows, started.elapsed(), peak));
            }
        }
    }
    summary.save(plan.output.summary_json.as_deref())?;
    if let Written::Rows(..) = &written {
        report::tell(plan, &tally.counts, before, console)?;
    }
    match written {
        Written::Rows(Ended::Interrupted { saved, resumable }, _) => {
            console.complain(interrupted(plan, saved, resumable));
            Ok(Ending::Interrupted)
        }
        Written::Rows(Ended::Complete(finished), _) | Written::Nothing(finished) => {
            Ok(ending(&finished))
        }
    }
}

/// Looks at the input and finds the tokens; `None` where the user has stopped it.
fn prepare(
    plan: &RowsPlan,
    source: Source,
    interrupt: &Interrupt,
    clock: &Clock,
    console: &Console,
) -> anyhow::Result<Option<Ready>> {
    let Some(known) = look(plan, &source, interrupt, clock)? else {
        return Ok(None);
    };
    let wanted = plan.tokens.as_ref();
    let tokens = wanted
        .map(|wanted| known::tokens(plan, wanted, known.survey.as_ref(), console))
        .transpose()?;
    Ok(Some(Ready {
        source,
        known,
        tokens,
    }))
}

fn interrupted(plan: &RowsPlan, saved: u64, resumable: bool) -> String {
    let saved = figures::rows(saved);
    match (resumable, plan.path()) {
        (true, _) => format!("interrupted; {saved} are saved: the same command continues there"),
        (false, None) => format!("interrupted; {saved} were printed"),
        (false, Some(_)) => format!(
            "interrupted after {saved}; standard input cannot be read again, so the job cannot be continued"
        ),
    }
}

/// The fault of the input, with what is saved; if saving fails as well, less is.
fn with_saved(
    error: anyhow::Error,
    resumable: bool,
    paused: Result<u64, DataError>,
) -> anyhow::Error {
    match paused {
        Ok(rows) if resumable && rows > 0 => anyhow!(
            "{error:#}\n  {} are saved; the same command continues there, unless the input changes",
            figures::rows(rows)
        ),
        _ => error,
    }
}

fn ending(finished: &JobSummary) -> Ending {
    match finished.failed_rows {
        0 => Ending::Complete,
        _ => Ending::SomeRowsFailed,
    }
}

/// A slip in the name would lose all labels without a word.
fn check_spans(plan: &RowsPlan, source: &Source) -> anyhow::Result<()> {
    let Some(name) = &plan.spans_column else {
        return Ok(());
    };
    let fields = source.carried().fields();
    if fields.iter().any(|field| field.name() == name) {
        return Ok(());
    }
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    bail!(
        "--spans-column {name}: the input has no such column beside its text; its columns are: {}",
        names.join(", ")
    )
}
