//! One job: rows from a source through a model to an output that survives being killed.
//!
//! ```text
//! source ─► windows ─► engine ─► answers ─► columns ─► job (shards, manifest, output)
//!                         └────► progress
//! ```

mod columns;
mod identity;
pub(crate) mod progress;
pub(crate) mod reader;
mod running;
mod stages;
pub(crate) mod summary;
mod tally;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use batchwright::Progress;
use data::{Begun, DataError, Job, JobSpec, JobSummary, Output, Restart};

use crate::console::Console;
use crate::download::Download;
use crate::figures;
use crate::interrupt::Interrupt;
use crate::plan::{JobPlan, Pairs, Target, tell_of_unnamed_lines};
use columns::Shape;
use running::Running;
use summary::{Run, Summary};
use tally::Tally;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All rows are answered.
    Complete,
    /// All rows are there; some carry an error.
    SomeRowsFailed,
    /// Stopped by the user; the same command continues.
    Interrupted,
    /// Whoever read standard output has gone.
    NobodyListens,
}

/// Runs the job that `plan` describes.
pub(crate) fn run(plan: JobPlan, console: &Console) -> anyhow::Result<Ending> {
    match answer(&plan, console) {
        Err(error) if is_broken_pipe(&error) => Ok(Ending::NobodyListens),
        other => other,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(DataError::is_broken_pipe)
}

fn answer(plan: &JobPlan, console: &Console) -> anyhow::Result<Ending> {
    // What can fail at once comes before what takes minutes: columns before models.
    let source = plan.open()?;
    tell_of_unnamed_lines(&plan.input, &source, console);
    let (_, pair) = source.text_columns();
    let pairs = if pair.is_some() {
        Pairs::Yes
    } else {
        Pairs::No
    };

    let loading = Instant::now();
    let model = plan
        .model
        .clone()
        .load_with_progress(&Download::new(console))?;
    let model = model.with_rendering(plan.rendering);
    plan.check(model.task(), pairs)?;
    let load = loading.elapsed();

    let shape = Shape::of(&model, &plan.rendering, plan.vector_type);
    let mut spec = JobSpec::new(output(plan), shape.fields(), source.carried().clone());
    spec.fingerprints = identity::of(plan, &model, &source)?;
    spec.restart = if plan.restart {
        Restart::Yes
    } else {
        Restart::No
    };
    if let Some(rows) = plan.rows_per_shard {
        spec.rows_per_shard = rows.get() as u64;
    }
    let interrupt = Interrupt::listen(console)?;
    let job = match Job::begin(spec)? {
        Begun::Ready(job) => job,
        Begun::Complete(finished) => {
            let run = Run {
                load,
                time: Duration::ZERO,
                done_before: finished.rows,
                isa: plan.isa,
                progress: Progress::default(),
            };
            let summary = Summary::new(&model, &run, &Tally::default(), Some(&finished));
            save(plan, &summary)?;
            let path = finished.path.as_deref().unwrap_or(Path::new("-"));
            console.say(format_args!(
                "nothing to do: {} holds the {} of this very job; --restart computes them again",
                path.display(),
                figures::rows(finished.rows),
            ));
            return Ok(ending(&finished));
        }
    };
    let running = Running {
        plan,
        model: &model,
        shape,
        job,
        console,
        interrupt,
        load,
    };
    running.go(source)
}

fn output(plan: &JobPlan) -> Output {
    match &plan.target {
        Target::Stdout => Output::Stdout(plan.format),
        Target::File(path) => Output::File {
            path: path.clone(),
            format: Some(plan.format),
        },
    }
}

fn ending(finished: &JobSummary) -> Ending {
    match finished.failed_rows {
        0 => Ending::Complete,
        _ => Ending::SomeRowsFailed,
    }
}

/// Says what was done, and writes it where it was asked for.
fn report(plan: &JobPlan, summary: &Summary, console: &Console) -> anyhow::Result<()> {
    console.say(summary.words());
    save(plan, summary)?;
    if summary.rows_out_of_step() {
        bail!("rows were lost; this is a bug of this program, please report it");
    }
    Ok(())
}

fn save(plan: &JobPlan, summary: &Summary) -> anyhow::Result<()> {
    let Some(path) = &plan.summary_json else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(summary)? + "\n";
    std::fs::write(path, text)
        .with_context(|| format!("{}: the summary cannot be written", path.display()))
}
