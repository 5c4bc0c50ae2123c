//! From what is known of an input to the job that writes it: an array, or rows with columns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use batchwright::Progress;
use data::{
    ArrayBegun, ArrayJob, ArraySpec, Begun, Element, Format, INPUT_FINGERPRINT, InputProgress, Job,
    JobSpec, Output, Restart, SinkFormat, Source, short_hash,
};
use text::characters::TokenId;

use super::arrays::{Array, From};
use super::columns::{Columns, IdColumn};
use super::known::Known;
use super::plan::{OutputKind, TokensPlan};
use super::spans::{Nested, SpanColumn};
use super::survey::Survey;
use super::tally::Tally;
use super::tokens::Tokens;
use super::{Rows, WIDEST, Written, vocabulary_file};
use crate::args::IdType;
use crate::figures;
use crate::job::progress::{self, Watch};
use crate::job::reader::Reading;
use crate::plan::Target;

const NO_PADDING: &str = "this tokenizer names no padding, which rows of one width need: write lists, such \
                          as -o out.parquet without --width";

/// Tokens that are wanted, those that there are, and the type of their ids.
struct Ids<'a> {
    wanted: &'a TokensPlan,
    tokens: &'a Tokens,
    dtype: IdType,
}

impl<'a> Ids<'a> {
    fn of(wanted: &'a TokensPlan, tokens: &'a Tokens) -> anyhow::Result<Self> {
        let fits = u16::fits(tokens.id_bound());
        let dtype = match wanted.dtype {
            Some(IdType::U16) if !fits => bail!(
                "--dtype u16: the ids go up to {}, and u16 holds 65,535 at most; say --dtype u32",
                figures::count(tokens.id_bound().saturating_sub(1) as u64)
            ),
            Some(dtype) => dtype,
            None if fits => IdType::U16,
            None => IdType::U32,
        };
        Ok(Self {
            wanted,
            tokens,
            dtype,
        })
    }

    /// The id that fills rows of one width.
    fn pad(&self) -> anyhow::Result<u32> {
        self.tokens.pad().context(NO_PADDING)
    }
}

impl Rows<'_> {
    /// Writes all rows, or those that are left of an earlier run.
    pub(super) fn write(
        mut self,
        source: Source,
        known: Known,
        tokens: Option<&Tokens>,
        tally: &mut Tally,
    ) -> anyhow::Result<Written> {
        let plan = self.plan;
        let survey_rows = known.survey.as_ref().map(|survey| survey.rows);
        let rows = survey_rows.or(source.row_count());
        self.total = rows.map(|rows| rows * self.per_row as u64);
        let ids = match (&plan.tokens, tokens) {
            (Some(wanted), Some(tokens)) => Some(Ids::of(wanted, tokens)?),
            _ => None,
        };
        match &plan.output.kind {
            OutputKind::Array(path) => {
                let ids = ids.context("there are no tokens")?;
                self.write_array(path, source, known, &ids, tally)
            }
            OutputKind::Rows(target, format) => {
                self.write_columns((target, *format), source, &known, ids.as_ref(), tally)
            }
        }
    }

    fn write_array(
        &self,
        path: &Path,
        source: Source,
        known: Known,
        ids: &Ids<'_>,
        tally: &mut Tally,
    ) -> anyhow::Result<Written> {
        let tokens = ids.tokens;
        let array = Array {
            rows: self,
            tokens,
            width: match ids.wanted.width {
                Some(width) => width,
                None => self.found_width(known.survey.as_ref(), tokens)?,
            },
            pad: ids.pad()?,
        };
        let element = match ids.dtype {
            IdType::U16 => Element::U16,
            IdType::U32 => Element::U32,
        };
        let mut spec = ArraySpec::new(path, element, array.width);
        // Only a survey by the block counts every row as it will be written.
        spec.rows = known.plain.is_some().then_some(self.total).flatten();
        spec.fingerprints = self.facts(&source, &known, Some(tokens));
        spec.companion = vocabulary_file::companion(tokens);
        spec.restart = self.restart();
        let job = match ArrayJob::begin(spec)? {
            ArrayBegun::Complete(finished) => return Ok(Written::Nothing(finished)),
            ArrayBegun::Ready(job) => *job,
        };
        let before = self.continuing(job.rows_done());
        let from = match known.plain {
            Some(input) => From::Blocks(input),
            None => From::Source(Box::new(source)),
        };
        let ended = match ids.dtype {
            IdType::U16 => array.write::<u16>(job, from, tally)?,
            IdType::U32 => array.write::<u32>(job, from, tally)?,
        };
        Ok(Written::Rows(ended, before))
    }

    fn write_columns(
        &self,
        (target, format): (&Target, SinkFormat),
        source: Source,
        known: &Known,
        ids: Option<&Ids<'_>>,
        tally: &mut Tally,
    ) -> anyhow::Result<Written> {
        let plan = self.plan;
        let width = match ids.and_then(|ids| Some((ids, ids.wanted.width?))) {
            Some((ids, width)) => Some((width, ids.pad()?)),
            None => None,
        };
        let tokens = ids.map(|ids| ids.tokens);
        let columns = Columns {
            rows: self,
            tokens,
            ids: IdColumn {
                dtype: ids.map_or(IdType::U16, |ids| ids.dtype),
                width,
            },
            text: plan
                .edits
                .is_some()
                .then(|| source.text_columns().0.to_owned()),
            spans: self.spans(&source, format),
        };
        let carried = match &plan.spans_column {
            Some(name) => source.carried().without(name),
            None => source.carried().clone(),
        };
        let mut spec = JobSpec::new(output(target, format), columns.fields(), carried);
        spec.fingerprints = self.facts(&source, known, tokens);
        let width = width.map(|(width, _)| width.to_string());
        let width = width.unwrap_or("as long as they are".to_owned());
        spec.fingerprints.insert("width".to_owned(), width);
        spec.companion = tokens.and_then(vocabulary_file::companion);
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

    fn spans(&self, source: &Source, format: SinkFormat) -> Option<SpanColumn> {
        let name = self.plan.spans_column.as_ref()?;
        let fields = source.carried().fields();
        let nested = match format.format() {
            Format::Parquet | Format::Arrow => Nested::AsTypes,
            _ => Nested::AsJson,
        };
        let input = fields.iter().find(|field| field.name() == name)?;
        Some(SpanColumn::new(input, nested))
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
        known: &Known,
        tokens: Option<&Tokens>,
    ) -> BTreeMap<String, String> {
        let mut facts = self.plan.options.clone();
        let mut put = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
        if let Some(input) = &known.fingerprint {
            put(INPUT_FINGERPRINT, short_hash(input).to_owned());
        }
        put("command", self.plan.command.to_owned());
        put("input format", source.format().to_string());
        put("text column", source.text_columns().0.to_owned());
        if let Some(tokens) = tokens {
            put("tokens", tokens.fingerprint());
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

    /// Shows progress until it is stopped.
    pub(super) fn watch(&self, input: InputProgress, before: u64) -> RowsWatch {
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

fn output(target: &Target, format: SinkFormat) -> Output {
    match target {
        Target::Stdout => Output::Stdout(format),
        Target::File(path) => Output::File {
            path: path.clone(),
            format: Some(format),
        },
    }
}

/// Progress of rows that are written.
pub(super) struct RowsWatch {
    watch: Watch,
    reading: Arc<Reading>,
    written: Arc<AtomicU64>,
}

impl RowsWatch {
    pub(super) fn wrote(&self, rows: u64, errors: u64) {
        self.reading.count(rows);
        self.written.fetch_add(rows, Ordering::Relaxed);
        self.watch.errors(errors);
    }

    pub(super) fn stop(self) {
        self.watch.stop();
    }
}
