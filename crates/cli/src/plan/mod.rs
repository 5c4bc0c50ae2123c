//! What was meant: low-level flags turned into the settings of a job, with everything refused that
//! contradicts itself, before anything is fetched or read.

mod model;
mod written;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use batchwright::{Input, Isa, ModelBuilder, Rendering, Scores, Task};
use data::{
    ColumnChoice, DataError, ERROR_COLUMN, Format, InputSpec, RowText, SinkFormat, Source,
    SurveyDepth,
};

pub(crate) use model::{builder, model_name};
pub(crate) use written::refuse_to_write_over;

use crate::args::{GeneralArgs, InputArgs, JobArgs, OnError, Typed, VectorType};
use crate::console::Console;

/// Everything that a job needs to know.
#[derive(Debug)]
pub(crate) struct JobPlan {
    pub(crate) model: ModelBuilder,
    pub(crate) input: InputSpec,
    pub(crate) rendering: Rendering,
    pub(crate) vector_type: VectorType,
    pub(crate) target: Target,
    pub(crate) format: SinkFormat,
    pub(crate) on_error: OnError,
    pub(crate) restart: bool,
    pub(crate) rows_per_shard: Option<NonZeroUsize>,
    pub(crate) summary_json: Option<PathBuf>,
    pub(crate) isa: Isa,
    pub(crate) profile: Profiling,
    pub(crate) typed: Typed,
    /// The task that was asked for; else the model's own runs.
    pub(crate) said: Option<Task>,
}

/// Whether the time by stage and operator is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profiling {
    Hidden,
    Shown,
}

/// Where answers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
}

impl JobPlan {
    /// Makes the plan of `embed`, `classify`, …: `said` is the command's task, or `predict --task`'s.
    pub(crate) fn new(
        said: Option<Task>,
        args: JobArgs,
        general: &GeneralArgs,
        typed: Typed,
    ) -> anyhow::Result<Self> {
        if let Some(task) = said {
            typed.check(task)?;
        }
        let (target, format) = target(args.output.output, args.output.output_format)?;
        let name = model_name(&args.model, said)?;
        let mut model = builder(&name, &args.model.reading, general, &typed)?;
        if let Some(task) = said {
            model = model.task(task);
        }
        if matches!(said, None | Some(Task::Embed)) {
            model = model::vectors(model, &args.answer, &typed)?;
        }
        model = model::speed(model, &args.speed, &args.cache);

        let mut input = input(&args.input);
        input.chunk_rows = args.speed.window.get();
        input.columns.keep = args.output.keep.map(named);
        input.columns.drop = named(args.output.drop);
        // JSON Lines need no header; every other output must know all columns beforehand.
        input.survey = match format.format() {
            Format::Jsonl => SurveyDepth::FirstRows,
            _ => SurveyDepth::Everything,
        };
        Ok(Self {
            model,
            input,
            rendering: Rendering {
                top_k: args.answer.top_k.map(|k| k as usize),
                threshold: args.answer.threshold,
                scores: if args.answer.raw_scores {
                    Scores::Raw
                } else {
                    Scores::Probabilities
                },
                aggregation: args.answer.aggregation.into(),
            },
            vector_type: args.answer.vector_type,
            target,
            format,
            on_error: args.output.on_error,
            restart: args.output.restart,
            rows_per_shard: args.output.rows_per_shard,
            summary_json: args.output.summary_json,
            isa: general.isa.unwrap_or_else(Isa::detect),
            profile: if args.speed.profile {
                Profiling::Shown
            } else {
                Profiling::Hidden
            },
            typed,
            said,
        })
    }

    /// Opens the input, refusing what would be written over and pairs that are none.
    pub(crate) fn open(&self) -> anyhow::Result<Source> {
        let output = match &self.target {
            Target::File(path) => Some(path.as_path()),
            Target::Stdout => None,
        };
        let written = [
            ("-o", output),
            ("--summary-json", self.summary_json.as_deref()),
        ];
        refuse_to_write_over(&written, &self.input)?;
        let source = Source::open(&self.input);
        if self.said == Some(Task::Rerank) && self.input.columns.pair.is_none() {
            return Err(no_pairs(source));
        }
        let source = source?;
        refuse_texts_called_error(&source)?;
        Ok(source)
    }

    /// Checks what could not be checked before the model was known.
    pub(crate) fn check(&self, task: Task, pairs: Pairs) -> anyhow::Result<()> {
        self.typed.check(task)?;
        match (task, pairs) {
            (Task::Rerank, Pairs::No) => bail!("{NO_PAIR}"),
            (Task::Embed | Task::Tag, Pairs::Yes) => bail!(
                "a second text was chosen with --pair-column, and this model is to {task}, which \
                 takes one text; leave it out"
            ),
            _ => Ok(()),
        }
    }
}

/// Refuses texts that would stand in the output beside the column of errors.
pub(crate) fn refuse_texts_called_error(source: &Source) -> anyhow::Result<()> {
    let (text, pair) = source.text_columns();
    let is_error = |name: &str| name == ERROR_COLUMN;
    let passes = source
        .carried()
        .fields()
        .iter()
        .any(|field| is_error(field.name()));
    if passes && (is_error(text) || pair.is_some_and(is_error)) {
        bail!(
            "the column `{ERROR_COLUMN}` holds the texts, and the output has a column of that name for \
             what is wrong with a row: rename it in the input, or leave it out of the output with \
             --drop {ERROR_COLUMN}"
        );
    }
    Ok(())
}

/// Whether rows have a second text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    Yes,
    No,
}

const NO_PAIR: &str = "rerank scores pairs of texts; say which columns hold them, such as \
                       --text-column query --pair-column passage";

/// Why pairs cannot be scored where no second column was named, with the columns that there are.
fn no_pairs(source: Result<Source, DataError>) -> anyhow::Error {
    match source {
        Ok(source) if source.format() == Format::Lines => anyhow!(
            "rerank scores pairs of texts, and plain lines hold one text each; give a file with two \
             columns of text"
        ),
        Ok(source) => {
            let fields = source.carried().fields().iter();
            let names: Vec<&str> = fields.map(|field| field.name().as_str()).collect();
            anyhow!("{NO_PAIR}; the columns are: {}", names.join(", "))
        }
        Err(DataError::NoTextColumn { available, .. }) => {
            anyhow!("{NO_PAIR}; the columns are: {available}")
        }
        Err(other) => other.into(),
    }
}

/// What to read, without the columns that pass through.
pub(crate) fn input(args: &InputArgs) -> InputSpec {
    InputSpec {
        paths: args.inputs.clone(),
        format: args.input_format,
        columns: ColumnChoice {
            text: args.text_column.clone(),
            pair: args.pair_column.clone(),
            ..ColumnChoice::default()
        },
        ..InputSpec::default()
    }
}

/// A row's text as the engine takes it.
pub(crate) fn to_input(row: RowText) -> Input {
    match row.pair {
        Some(pair) => Input::Pair(row.text, pair),
        None => Input::Text(row.text),
    }
}

/// Says what an input was taken for where nothing but its first line tells, which CSV looks like too.
pub(crate) fn tell_of_unnamed_lines(input: &InputSpec, source: &Source, console: &Console) {
    if source.format() != Format::Lines || !source.format_is_guessed() {
        return;
    }
    let what = match input.paths.iter().any(|path| path == Path::new("-")) {
        true => "standard input",
        false => "the input",
    };
    console.say(format_args!(
        "{what} is taken as plain lines, each a text; if it has a header or columns, say --input-format"
    ));
}

/// Names without the empty ones: `--keep ''` keeps no column.
pub(crate) fn named(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

pub(crate) fn target(
    path: Option<PathBuf>,
    said: Option<Format>,
) -> anyhow::Result<(Target, SinkFormat)> {
    let path = path.filter(|path| path != Path::new("-"));
    let Some(path) = path else {
        let format = match said {
            Some(format) => SinkFormat::new(format, data::Compression::None)?,
            None => SinkFormat::JSONL,
        };
        return Ok((Target::Stdout, format));
    };
    let format = match said {
        Some(format) => SinkFormat::new(format, SinkFormat::compression_of_path(&path))?,
        None => match SinkFormat::of_path(&path) {
            // A device's name tells nothing; it is written as standard output is.
            Err(_) if data::is_stream(&path) => SinkFormat::JSONL,
            told => told?,
        },
    };
    Ok((Target::File(path), format))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers would go into a format that was not asked for.
    #[test]
    fn the_target_follows_the_name_and_then_the_flag() {
        let file = |name: &str| Some(PathBuf::from(name));
        for (path, said, expected) in [
            (None, None, "jsonl"),
            (file("-"), None, "jsonl"),
            (None, Some(Format::Csv), "csv"),
            (file("a.csv.gz"), None, "csv.gz"),
            (file("a.dat"), Some(Format::Parquet), "parquet"),
            (file("a.dat.zst"), Some(Format::Csv), "csv.zst"),
        ] {
            let (target, format) = target(path.clone(), said).unwrap();
            assert_eq!(format.to_string(), expected, "{path:?} {said:?}");
            let expected = path.filter(|path| path != Path::new("-"));
            assert_eq!(target == Target::Stdout, expected.is_none());
        }
        assert!(target(file("a.dat"), None).is_err());
        assert!(target(file("a.txt"), None).is_err());
    }
}
