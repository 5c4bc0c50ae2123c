//! `batchwright bench`: a model measured on the user's own texts.

mod chart;
mod report;

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context, bail};
use batchwright::{BenchmarkReport, BenchmarkSpec, Input, Model, Profile, Task};
use data::{InputSpec, Source};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::{BenchArgs, ByteSize, GeneralArgs, Typed};
use crate::console::{self, Console};
use crate::download::Download;
use crate::figures;
use crate::plan;

/// The cache that cached queries are measured with.
const CACHE: ByteSize = ByteSize(64 << 20);

/// What `--report-json` holds: the engine's report, and what it was measured with.
#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    inputs: Vec<Cow<'a, str>>,
    task: String,
    source: &'a str,
    #[serde(flatten)]
    report: &'a BenchmarkReport,
}

/// Measures, prints the table, and writes what else was asked for.
pub(crate) fn run(
    args: &BenchArgs,
    general: &GeneralArgs,
    typed: &Typed,
    console: &Console,
) -> anyhow::Result<()> {
    let reports = [
        ("--report-json", args.measure.report_json.as_deref()),
        ("--report-svg", args.measure.report_svg.as_deref()),
    ];
    plan::refuse_to_write_over(&reports, &plan::input(&args.input))?;
    let inputs = read(args, console)?;
    let spec = plan::model_name(&args.model, args.task.task.or(Some(Task::Embed)))?;
    let builder = plan::builder(&spec, &args.model.reading, general, typed)?;
    let builder = match args.task.task {
        Some(task) => builder.task(task),
        None => builder,
    };
    let builder = builder.cache_bytes(CACHE.0 as usize);
    let model = builder.load_with_progress(&Download::new(console))?;
    let report = measure(&model, args, inputs, console)?;

    console::print(&report::text(&report, &model))?;
    if let Some(path) = &args.measure.report_json {
        let document = Document {
            version: env!("CARGO_PKG_VERSION"),
            inputs: args
                .input
                .inputs
                .iter()
                .map(|path| path.to_string_lossy())
                .collect(),
            task: model.task().to_string(),
            source: model.source(),
            report: &report,
        };
        console.write(path, &(serde_json::to_string_pretty(&document)? + "\n"))?;
    }
    if let Some(path) = &args.measure.report_svg {
        console.write(path, &chart::svg(&report)?)?;
    }
    if args.measure.save {
        save(&model, &report, console)?;
    }
    Ok(())
}

/// The first rows of the input. Bad rows cannot be measured and are passed over.
fn read(args: &BenchArgs, console: &Console) -> anyhow::Result<Vec<Input>> {
    let wanted = args.measure.rows.get();
    let spec = InputSpec {
        chunk_rows: wanted.min(4_096),
        ..plan::input(&args.input)
    };
    let mut inputs = Vec::new();
    let mut bad = 0_u64;
    for chunk in Source::open(&spec)? {
        for row in chunk?.rows {
            match row {
                Ok(row) if inputs.len() < wanted => inputs.push(plan::to_input(row)),
                Ok(_) => {}
                Err(_) => bad += 1,
            }
        }
        if inputs.len() == wanted {
            break;
        }
    }
    if inputs.is_empty() {
        let names: Vec<_> = args
            .input
            .inputs
            .iter()
            .map(|path| path.to_string_lossy())
            .collect();
        bail!("{}: no row to measure with", names.join(" "));
    }
    if bad > 0 {
        console.say(format_args!(
            "{} could not be read and are left out",
            figures::rows(bad)
        ));
    }
    Ok(inputs)
}

fn measure(
    model: &Model,
    args: &BenchArgs,
    inputs: Vec<Input>,
    console: &Console,
) -> anyhow::Result<BenchmarkReport> {
    let measure = &args.measure;
    let spec = BenchmarkSpec {
        batch_tokens: measure.try_batch_tokens.iter().map(|n| n.get()).collect(),
        threads: measure.try_threads.iter().map(|n| n.get()).collect(),
        rounds: measure.rounds.get(),
        single_queries: measure.queries.get(),
        ..BenchmarkSpec::new(inputs)
    };
    let style = ProgressStyle::with_template("measuring  {bar:24}  {pos} of {len}  {eta} left")?;
    let bar = console.raise(ProgressBar::new(0).with_style(style));
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = model.benchmark_with_progress(&spec, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    console.lower();
    Ok(report?)
}

fn save(model: &Model, report: &BenchmarkReport, console: &Console) -> anyhow::Result<()> {
    let best = report::recommended(report)
        .filter(|best| best.threads == model.threads())
        .with_context(|| {
            format!(
                "nothing was measured with all {} threads of this run, so nothing is saved; leave \
                 --try-threads out, or say --threads",
                model.threads()
            )
        })?;
    let profile = Profile {
        batch_tokens: best.batch_tokens,
        rows_per_second: best.rows_per_second,
        machine: report.machine.clone(),
        model: report.model.clone(),
    };
    let path = profile.save(model.fingerprint())?;
    console.say(format_args!(
        "saved to {}; later runs on this machine use it",
        path.display()
    ));
    Ok(())
}
