//! `batchwright quantize`: a model written as packed integers, if it still answers as it did.

mod report;
mod sentences;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use batchwright::{
    Comparison, IfThere, Input, Likeness, Model, ModelBuilder, ProblemType, QuantizeSpec, Staged,
    Task,
};
use data::{ColumnChoice, InputSpec, Source};

use crate::args::{CheckArgs, GeneralArgs, QuantizeArgs};
use crate::console::{self, Console};
use crate::download::Download;
use crate::figures;
use crate::interrupt;
use report::Report;

/// Rows that both models answer before the next are read.
const ROWS_AT_ONCE: usize = 1_024;

/// Writes the model, compares it with the original, and puts it in its place if it is good enough.
pub(crate) fn run(
    args: &QuantizeArgs,
    general: &GeneralArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let target = args.output.as_deref().context("where to? say -o DIR")?;
    let spec = spec(args);
    let exact = builder(&args.original, general)
        .precision(batchwright::Precision::Exact)
        .load_with_progress(&Download::new(console))?;
    let rows = Rows::open(&args.check, &exact)?;
    let writing = Instant::now();
    let staged = exact.quantize(target, &spec)?;
    tidy_up_on_interrupt(&staged)?;
    let written = writing.elapsed();

    let loading = Instant::now();
    let quantized = builder(&args.original, general).load_from(staged.path())?;
    let load = loading.elapsed();
    console.say(format_args!(
        "comparing the answers of both on {}",
        rows.name
    ));
    let agreement = compare(&exact, &quantized, rows, console)?;
    let report = Report::new(&exact, &quantized, &staged, agreement, [written, load])?;

    if let Some(least) = args.check.min_agreement {
        let found = report.agreement.value();
        // It is NaN where an answer was no number.
        if found.is_nan() || found < least {
            report.save(args.check.summary_json.as_deref())?;
            bail!(
                "{}\nthis is less than --min-agreement {least}: nothing was written; try --precision \
                 near, or keep sensitive layers at 16 bits with --keep-near",
                report.accuracy()
            );
        }
    }
    staged.place()?;
    console::print(&report.text(target, started.elapsed()))?;
    report.save(args.check.summary_json.as_deref())
}

fn spec(args: &QuantizeArgs) -> QuantizeSpec {
    QuantizeSpec {
        precision: args
            .precision
            .map_or(batchwright::Precision::Fast, Into::into),
        keep_near: args.keep_near.clone(),
        if_there: if args.force {
            IfThere::Replace
        } else {
            IfThere::Refuse
        },
    }
}

fn builder(name: &str, general: &GeneralArgs) -> ModelBuilder {
    let mut model = Model::builder(name);
    if let Some(threads) = general.threads {
        model = model.threads(threads);
    }
    if let Some(isa) = general.isa {
        model = model.isa(isa);
    }
    if general.offline {
        model = model.offline();
    }
    model
}

/// A half-written directory is of use to nobody: Ctrl-C removes it.
fn tidy_up_on_interrupt(staged: &Staged) -> anyhow::Result<()> {
    let path = staged.path().to_owned();
    ctrlc::set_handler(move || {
        // Where it is in its place already, there is nothing here any more.
        drop(std::fs::remove_dir_all(&path));
        std::process::exit(interrupt::EXIT_CODE.into());
    })
    .context("cannot listen for Ctrl-C")
}

/// The rows to compare with.
struct Rows {
    name: String,
    texts: Texts,
    left: usize,
}

enum Texts {
    BuiltIn(std::vec::IntoIter<Input>),
    /// The texts, and the same file again with the labels for texts: whatever the format, both come in the
    /// same order.
    File(Box<Source>, Option<Box<Source>>),
}

impl Rows {
    /// Opens what was asked for, before anything is computed.
    fn open(args: &CheckArgs, model: &Model) -> anyhow::Result<Rows> {
        let left = args.rows.map_or(usize::MAX, usize::from);
        let pairs = model.task() == Task::Rerank;
        let Some(file) = &args.calibration else {
            if args.label_column.is_some() {
                bail!("--label-column names a column of --calibration FILE; say which file");
            }
            let rows = if pairs {
                sentences::pairs()
            } else {
                sentences::texts()
            };
            return Ok(Rows {
                name: figures::rows(rows.len().min(left) as u64) + " that come with this program",
                texts: Texts::BuiltIn(rows.into_iter()),
                left,
            });
        };
        if file == "-" {
            bail!("--calibration -: standard input cannot be read twice; give a file");
        }
        if pairs && args.pair_column.is_none() {
            bail!(
                "this model scores pairs; say which columns hold them, such as --text-column query \
                 --pair-column passage"
            );
        }
        let source = |text: Option<&String>, pair: Option<&String>| {
            Source::open(&InputSpec {
                columns: ColumnChoice {
                    text: text.cloned(),
                    pair: pair.cloned(),
                    keep: Some(Vec::new()),
                    ..ColumnChoice::default()
                },
                chunk_rows: ROWS_AT_ONCE,
                ..InputSpec::new(file)
            })
        };
        let texts = source(args.text_column.as_ref(), args.pair_column.as_ref())?;
        let labels = match &args.label_column {
            None => None,
            Some(_) if !excluding_labels(model) => bail!(
                "--label-column is for classifiers whose labels exclude each other, and this model is \
                 none; leave it out"
            ),
            Some(column) => Some(Box::new(source(Some(column), None)?)),
        };
        Ok(Rows {
            name: file.clone(),
            texts: Texts::File(Box::new(texts), labels),
            left,
        })
    }

    /// The next rows, with their labels where they are known; none at the end. Rows that cannot be read, or
    /// have no label, are counted in `bad`.
    fn next(&mut self, bad: &mut u64) -> anyhow::Result<Option<(Vec<Input>, Vec<String>)>> {
        let some = ROWS_AT_ONCE.min(self.left);
        if some == 0 {
            return Ok(None);
        }
        let (source, labels) = match &mut self.texts {
            Texts::BuiltIn(rows) => {
                let rows: Vec<Input> = rows.take(some).collect();
                self.left -= rows.len();
                return Ok((!rows.is_empty()).then_some((rows, Vec::new())));
            }
            Texts::File(source, labels) => (source, labels),
        };
        let Some(chunk) = source.next().transpose()? else {
            return Ok(None);
        };
        let mut texts = Vec::new();
        let mut right = Vec::new();
        let read = chunk.rows.into_iter().take(some);
        self.left -= read.len();
        let Some(labels) = labels else {
            for row in read {
                match row {
                    Ok(row) => texts.push(crate::plan::to_input(row)),
                    Err(_) => *bad += 1,
                }
            }
            return Ok(Some((texts, right)));
        };
        let found = labels.next().transpose()?;
        let found = found.map(|chunk| chunk.rows).unwrap_or_default();
        if found.len() < read.len() {
            bail!("{}: has changed while it was read", self.name);
        }
        for (row, label) in read.zip(found) {
            match (row, label) {
                (Ok(row), Ok(label)) => {
                    texts.push(crate::plan::to_input(row));
                    right.push(label.text);
                }
                _ => *bad += 1,
            }
        }
        Ok(Some((texts, right)))
    }
}

fn excluding_labels(model: &Model) -> bool {
    model.task() == Task::Classify && model.directory().problem_type() == ProblemType::SingleLabel
}

fn compare(
    exact: &Model,
    quantized: &Model,
    mut rows: Rows,
    console: &Console,
) -> anyhow::Result<batchwright::Agreement> {
    let mut comparison = Comparison::new(exact, quantized)?;
    let mut bad = 0;
    while let Some((texts, labels)) = rows.next(&mut bad)? {
        comparison.add(texts, &labels);
    }
    let agreement = comparison.finish();
    if agreement.rows == 0 {
        bail!("{}: no row that could be compared", rows.name);
    }
    let left_out = bad + agreement.failed as u64;
    if left_out > 0 {
        console.say(format_args!(
            "{} could not be read or answered and are left out",
            figures::rows(left_out)
        ));
    }
    if let Likeness::Labels {
        accuracy: Some(found),
        ..
    } = &agreement.likeness
        && found.unknown > 0
    {
        let known = exact.directory().labels().join(", ");
        if found.unknown == agreement.rows {
            bail!("no row has a label that the model knows; it knows {known}");
        }
        console.say(format_args!(
            "{} have a label that the model does not know; it knows {known}",
            figures::rows(found.unknown as u64)
        ));
    }
    Ok(agreement)
}

/// Bytes of all files of a directory; 0 where it cannot be looked at.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.path() {
        path if path.is_dir() => bytes(&path),
        // A hub's cache has links to the files.
        path => path.metadata().map_or(0, |facts| facts.len()),
    });
    sizes.sum()
}

/// Seconds as a number, for JSON.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
