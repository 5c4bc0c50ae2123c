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
mod ordered;
mod plan;
mod preview;
mod report;
mod spans;
mod summary;
mod survey;
mod tally;
mod tokens;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use batchwright::Progress;
use data::{
    ArrayBegun, ArrayJob, ArraySpec, Begun, Companion, DataError, Element, INPUT_FINGERPRINT,
    InputProgress, Job, JobSpec, JobSummary, Lengths, Output, PlainText, Restart, Source,
};
use text::characters::{CharacterVocabulary, TokenId};

use crate::args::{AugmentArgs, GeneralArgs, IdType, TokenizeArgs};
use crate::console::Console;
use crate::figures;
use crate::interrupt::Interrupt;
use crate::job::Ending;
use crate::job::progress::{self, Watch};
use crate::job::reader::Reading;
use crate::plan::Target;
use arrays::{Array, From};
use clock::{Clock, Stage};
use columns::{Columns, IdColumn};
use plan::{OutputKind, RowsPlan, TokensOf, TokensPlan};
use summary::Summary;
use survey::{Looked, Survey, Wanted};
use tally::Tally;
use tokens::{ModelTokens, Tokens};

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
    if let (Some(rows), Some(edits)) = (plan.reports.preview, &plan.edits) {
        return preview::show(plan, edits, rows);
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

fn write(plan: &RowsPlan, console: &Console) -> anyhow::Result<Ending> {
    let started = Instant::now();
    let clock = Clock::new(plan.output.profile);
    let source = plan.open()?;
    check_spans(plan, &source)?;
    let interrupt = Interrupt::listen(console)?;
    let looked = look(plan, &source, &interrupt, &clock)?;
    let Some(looked) = looked else {
        console.complain("interrupted; nothing was written yet");
        return Ok(Ending::Interrupted);
    };
    let tokens = plan
        .tokens
        .as_ref()
        .map(|wanted| tokens(plan, wanted, looked.survey.as_ref(), console))
        .transpose()?;
    let rows = Rows {
        plan,
        console,
        interrupt: &interrupt,
        clock: &clock,
        per_row: plan.per_row(),
        total: None,
    };
    let mut tally = Tally::default();
    let written = rows.write(source, looked, tokens.as_ref(), &mut tally)?;
    let (ended, before) = match written {
        Written::Nothing(finished) => {
            let path = finished.path.as_deref().unwrap_or(Path::new("-"));
            console.say(format_args!(
                "nothing to do: {} holds the {} of this very job; --restart does them again",
                path.display(),
                figures::rows(finished.rows),
            ));
            let summary = Summary::new(plan, &tally, finished.rows, started.elapsed(), &clock)
                .finished(&finished);
            summary.save(plan.output.summary_json.as_deref())?;
            return Ok(ending(&finished));
        }
        Written::Rows(ended, before) => (ended, before),
    };
    let mut summary = Summary::new(plan, &tally, before, started.elapsed(), &clock);
    if let Ended::Complete(finished) = &ended {
        summary = summary.finished(finished);
    }
    console.say(summary.words());
    if plan.output.profile {
        let peak = batchwright::MemoryStats::of_process().peak_resident_bytes;
        console.say(clock.words(tally.rows, started.elapsed(), peak));
    }
    summary.save(plan.output.summary_json.as_deref())?;
    report::tell(plan, &tally.counts, before, console)?;
    match ended {
        Ended::Complete(finished) => Ok(ending(&finished)),
        Ended::Interrupted { saved, resumable } => {
            let saved = figures::rows(saved);
            console.complain(match (resumable, plan.path()) {
                (true, _) => {
                    format!("interrupted; {saved} are saved: the same command continues there")
                }
                (false, None) => format!("interrupted; {saved} were printed"),
                (false, Some(_)) => format!(
                    "interrupted after {saved}; standard input cannot be read again, so the job cannot \
                     be continued"
                ),
            });
            Ok(Ending::Interrupted)
        }
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

/// What is known of an input before its rows are written.
struct Known {
    fingerprint: Option<String>,
    survey: Option<Survey>,
    /// The input by the block, if it is plain and an array is to be written.
    plain: Option<PlainText>,
}

/// Hashes the input and looks at its rows, side by side; `None` where the user has stopped it.
fn look(
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
    let (fingerprint, looked) = std::thread::scope(|scope| {
        let looked = scope.spawn(|| {
            clock.time(Stage::Survey, || {
                look_at_rows(plan, repeatable, plain, interrupt)
            })
        });
        let fingerprint = clock.time(Stage::Fingerprint, || source.fingerprint());
        let looked = looked.join();
        (
            fingerprint,
            looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    });
    let Some((survey, plain)) = looked? else {
        return Ok(None);
    };
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
    match survey::rows(plan.open()?, plan.threads, interrupt)? {
        Looked::At(survey) => Ok(Some((Some(*survey), None))),
        Looked::Interrupted | Looked::NotPlain => Ok(None),
    }
}

fn tokens(
    plan: &RowsPlan,
    wanted: &TokensPlan,
    survey: Option<&Survey>,
    console: &Console,
) -> anyhow::Result<Tokens> {
    Ok(match &wanted.of {
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
            let model = ModelTokens::find(words, *network, console)?;
            if let Some(width) = wanted.width {
                model.check_width(width)?;
            }
            Tokens::Model(Box::new(model))
        }
    })
}

/// The type of the ids.
fn dtype(wanted: &TokensPlan, tokens: &Tokens) -> anyhow::Result<IdType> {
    let fits = u16::fits(tokens.id_bound());
    match wanted.dtype {
        Some(IdType::U16) if !fits => bail!(
            "--dtype u16: the ids go up to {}, and u16 holds 65,535 at most; say --dtype u32",
            figures::count(tokens.id_bound().saturating_sub(1) as u64)
        ),
        Some(dtype) => Ok(dtype),
        None if fits => Ok(IdType::U16),
        None => Ok(IdType::U32),
    }
}

impl Rows<'_> {
    fn write(
        mut self,
        source: Source,
        known: Known,
        tokens: Option<&Tokens>,
        tally: &mut Tally,
    ) -> anyhow::Result<Written> {
        let (per_row, plan) = (self.per_row as u64, self.plan);
        let survey_rows = known.survey.as_ref().map(|survey| survey.rows);
        self.total = survey_rows
            .or(source.row_count())
            .map(|rows| rows * per_row);
        let mut facts = self.facts(&source, known.fingerprint.clone(), tokens);
        let ids = match (&plan.tokens, tokens) {
            (Some(wanted), Some(tokens)) => Some((wanted, tokens, dtype(wanted, tokens)?)),
            _ => None,
        };
        match &plan.output.kind {
            OutputKind::Array(path) => {
                let (wanted, tokens, dtype) = ids.context("there are no tokens")?;
                let width = match wanted.width {
                    Some(width) => width,
                    None => self.found_width(known.survey.as_ref(), tokens)?,
                };
                let pad = tokens.pad().context(NO_PADDING)?;
                let mut spec = ArraySpec::new(
                    path,
                    match dtype {
                        IdType::U16 => Element::U16,
                        IdType::U32 => Element::U32,
                    },
                    width,
                );
                // Only a survey by the block counts every row as it will be written.
                spec.rows = known.plain.is_some().then_some(self.total).flatten();
                spec.fingerprints = facts;
                spec.companion = self.companion(Some(tokens));
                spec.restart = self.restart();
                let job = match ArrayJob::begin(spec)? {
                    ArrayBegun::Complete(finished) => return Ok(Written::Nothing(finished)),
                    ArrayBegun::Ready(job) => *job,
                };
                let before = self.continuing(job.rows_done());
                let array = Array {
                    rows: &self,
                    tokens,
                    width,
                    pad,
                };
                let from = match known.plain {
                    Some(input) => From::Blocks(input),
                    None => From::Source(Box::new(source)),
                };
                let ended = match dtype {
                    IdType::U16 => array.write::<u16>(job, from, tally)?,
                    IdType::U32 => array.write::<u32>(job, from, tally)?,
                };
                Ok(Written::Rows(ended, before))
            }
            OutputKind::Rows(target, format) => {
                let width = ids.and_then(|(wanted, ..)| wanted.width);
                let pad = match (width, tokens) {
                    (Some(_), Some(tokens)) => tokens.pad().context(NO_PADDING)?,
                    _ => 0,
                };
                let dtype = ids.map_or(IdType::U16, |(.., dtype)| dtype);
                facts.insert(
                    "width".to_owned(),
                    width.map_or("as long as they are".to_owned(), |width| width.to_string()),
                );
                let text = source.text_columns().0.to_owned();
                let columns = Columns {
                    rows: &self,
                    tokens,
                    ids: IdColumn {
                        dtype,
                        width: width.map(|width| (width, pad)),
                    },
                    text: plan.edits.is_some().then_some(text),
                };
                let output = match target {
                    Target::Stdout => Output::Stdout(*format),
                    Target::File(path) => Output::File {
                        path: path.clone(),
                        format: Some(*format),
                    },
                };
                let carried = match &plan.spans_column {
                    Some(name) => source.carried().without(name),
                    None => source.carried().clone(),
                };
                let mut spec = JobSpec::new(output, columns.fields(), carried);
                spec.fingerprints = facts;
                spec.companion = self.companion(tokens);
                spec.restart = self.restart();
                if let Some(rows) = plan.output.rows_per_shard {
                    spec.rows_per_shard = rows.get() as u64;
                }
                let job = match Job::begin(spec)? {
                    Begun::Complete(finished) => return Ok(Written::Nothing(finished)),
                    Begun::Ready(job) => job,
                };
                let before = self.continuing(job.rows_done());
                let ended = columns.write(job, source, tally)?;
                Ok(Written::Rows(ended, before))
            }
        }
    }

    fn restart(&self) -> Restart {
        match self.plan.output.restart {
            true => Restart::Yes,
            false => Restart::No,
        }
    }

    /// Says what an earlier run left, and how much.
    fn continuing(&self, done: u64) -> u64 {
        if done > 0 {
            let rows = figures::rows(done);
            self.console.say(format_args!(
                "continuing: {rows} of an earlier run are there"
            ));
        }
        done
    }

    /// Everything that decides about the bytes of the output.
    fn facts(
        &self,
        source: &Source,
        fingerprint: Option<String>,
        tokens: Option<&Tokens>,
    ) -> BTreeMap<String, String> {
        let mut facts = self.plan.options.clone();
        if let Some(input) = fingerprint {
            facts.insert(INPUT_FINGERPRINT.to_owned(), input[..32].to_owned());
        }
        facts.insert("command".to_owned(), self.plan.command.to_owned());
        facts.insert("input format".to_owned(), source.format().to_string());
        facts.insert("text column".to_owned(), source.text_columns().0.to_owned());
        if let Some(tokens) = tokens {
            facts.insert("tokens".to_owned(), tokens.fingerprint());
        }
        facts
    }

    /// The width of an array of characters where none was asked for: that of the longest row and, where
    /// rows are edited, an eighth more of it.
    fn found_width(&self, survey: Option<&Survey>, tokens: &Tokens) -> anyhow::Result<usize> {
        let Tokens::Characters(vocabulary) = tokens else {
            bail!("the rows of an array have one width: say --width, such as 64");
        };
        let longest = survey.context("the rows were not looked at")?.longest;
        let grown = match self.plan.edits {
            Some(_) => longest + longest.div_ceil(8),
            None => longest,
        };
        let width = grown + vocabulary.special().around();
        if width > WIDEST {
            bail!(
                "the longest row has {} characters, which would make every row of the array as wide: say \
                 --width, and longer rows are cut",
                figures::count(longest as u64)
            );
        }
        Ok(width.max(1))
    }

    /// The vocabulary, to be put beside the output.
    fn companion(&self, tokens: Option<&Tokens>) -> Option<Companion> {
        let Some(Tokens::Characters(vocabulary)) = tokens else {
            return None;
        };
        Some(Companion {
            suffix: plan::VOCABULARY.to_owned(),
            content: vocabulary.to_json().into(),
        })
    }

    /// Shows progress until it is stopped.
    fn watch(&self, input: InputProgress, before: u64) -> RowsWatch {
        let reading = Arc::new(Reading::default());
        reading.start();
        let written = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&written);
        let watch = Watch::start(
            self.console,
            progress::Sources {
                run: Box::new(move || Progress {
                    rows: counted.load(Ordering::Relaxed),
                    ..Progress::default()
                }),
                reading: Arc::clone(&reading),
                input,
                total: self.total,
                before,
            },
        );
        RowsWatch {
            watch,
            reading,
            written,
        }
    }
}

const NO_PADDING: &str = "this tokenizer names no padding, which rows of one width need: write lists, such \
                          as -o out.parquet without --width";

/// Progress of rows that are written.
struct RowsWatch {
    watch: Watch,
    reading: Arc<Reading>,
    written: Arc<AtomicU64>,
}

impl RowsWatch {
    fn wrote(&self, rows: u64, errors: u64) {
        self.reading.count(rows);
        self.written.fetch_add(rows, Ordering::Relaxed);
        self.watch.errors(errors);
    }

    fn stop(self) {
        self.watch.stop();
    }
}
