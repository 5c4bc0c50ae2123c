//! One job: rows from a source through a model to an output that survives being killed.
//!
//! ```text
//! source ─► windows ─► engine ─► answers ─► columns ─► job (shards, manifest, output)
//!                         └────► progress
//! ```

mod columns;
mod identity;
mod progress;
mod reader;
mod summary;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use batchwright::{Model, Windows};
use data::{
    AnswerColumns, Begun, Chunk, DataError, Job, JobSpec, JobSummary, Output, Restart, Source,
};

use crate::args::OnError;
use crate::console::Console;
use crate::download::Download;
use crate::figures;
use crate::interrupt::Interrupt;
use crate::plan::{JobPlan, Pairs, Target};
use columns::Shape;
use progress::Watch;
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
    // What can fail at once comes before what takes minutes: columns before models.
    let source = Source::open(&plan.input)?;
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
    let model = model.rendering(plan.rendering);
    plan.check(model.task(), pairs)?;
    let load = loading.elapsed();

    let shape = Shape::of(&model, &plan.rendering, plan.vector_type);
    let mut spec = JobSpec::new(output(&plan), shape.fields(), source.carried().clone());
    spec.fingerprints = identity::of(&plan, &model, &source)?;
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
            let rows = figures::rows(finished.rows);
            let path = finished
                .path
                .as_deref()
                .unwrap_or(std::path::Path::new("-"));
            console.say(format_args!(
                "nothing to do: {} holds the {rows} of this very job; --restart computes them again",
                path.display()
            ));
            return Ok(ending(&finished));
        }
    };
    let running = Running {
        plan: &plan,
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

/// A job in flight.
struct Running<'a> {
    plan: &'a JobPlan,
    model: &'a Model,
    shape: Shape,
    job: Job,
    console: &'a Console,
    interrupt: Interrupt,
    load: Duration,
}

impl Running<'_> {
    fn go(mut self, mut source: Source) -> anyhow::Result<Ending> {
        let done_before = self.job.rows_done();
        if done_before > 0 {
            let rows = figures::rows(done_before);
            self.console.say(format_args!(
                "continuing: {rows} of an earlier run are there"
            ));
            source.skip_rows(done_before)?;
        }
        self.model.warm_up();

        let total_rows = source.row_count();
        let input = source.progress();
        let clock = Arc::new(reader::Clock::default());
        let windows = self
            .model
            .run_windows(reader::windows(source, Arc::clone(&clock)));
        let progress = windows.progress_handle();
        let watch = Watch::start(
            self.console,
            progress.clone(),
            total_rows,
            input,
            done_before,
        );
        let mut tally = Tally::default();
        let stopped = self.write_all(windows, &mut tally, &watch);
        watch.stop();
        let time = clock.elapsed();
        self.model.flush_cache();

        let run = Run {
            load: self.load,
            time,
            done_before,
            isa: self.plan.isa,
            progress: progress.progress(),
        };
        let report = |finished: Option<&JobSummary>| {
            report(
                self.plan,
                &Summary::new(self.model, &run, &tally, finished),
                self.console,
            )
        };
        match stopped? {
            Stopped::AtTheEnd => {
                let finished = self.job.finish()?;
                report(Some(&finished))?;
                Ok(ending(&finished))
            }
            Stopped::ByTheUser => {
                let resumable = self.job.is_resumable();
                let saved = figures::rows(self.job.pause()?);
                report(None)?;
                self.console.complain(match (resumable, &self.plan.target) {
                    (true, _) => format!(
                        "interrupted; {saved} are saved: the same command continues there"
                    ),
                    (false, Target::Stdout) => format!("interrupted; {saved} were printed"),
                    (false, Target::File(_)) => format!(
                        "interrupted after {saved}; standard input cannot be read again, so the job \
                         cannot be continued"
                    ),
                });
                Ok(Ending::Interrupted)
            }
            Stopped::NobodyListens => Ok(Ending::NobodyListens),
            Stopped::ByWriting(error) => Err(error.into()),
            Stopped::ByInput(error) => {
                let resumable = self.job.is_resumable();
                // The fault of the input is the one to tell; if saving fails as well, less is saved.
                Err(match self.job.pause() {
                    Ok(rows) if resumable && rows > 0 => error.context(format!(
                        "stopped; {} are saved in {}",
                        figures::rows(rows),
                        parts(self.plan),
                    )),
                    _ => error,
                })
            }
        }
    }

    /// Writes windows as they are answered, until the end or until something stops it.
    fn write_all(
        &mut self,
        windows: Windows<Result<Chunk, DataError>>,
        tally: &mut Tally,
        watch: &Watch,
    ) -> anyhow::Result<Stopped> {
        for window in windows {
            let chunk = match window.payload {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Stopped::ByInput(error.into())),
            };
            let answers = columns::answers(&self.shape, self.model, &chunk, window.answers, tally)?;
            let stop = self.plan.on_error == OnError::Stop;
            if stop && let Some(error) = first_error(&chunk, &answers) {
                return Ok(Stopped::ByInput(anyhow!("{error} (--on-error stop)")));
            }
            let written = match self.job.write(&chunk, &answers) {
                Ok(written) => written,
                Err(error) if error.is_broken_pipe() => return Ok(Stopped::NobodyListens),
                Err(error) => return Ok(Stopped::ByWriting(error)),
            };
            if stop && written.failed_rows > 0 {
                return Ok(Stopped::ByInput(anyhow!(
                    "between rows {} and {} a value has no place in the output; its column `error` \
                     tells (--on-error stop)",
                    chunk.first_row + 1,
                    chunk.first_row + written.rows,
                )));
            }
            watch.errors(self.job.failed_rows());
            if self.interrupt.came() {
                return Ok(Stopped::ByTheUser);
            }
        }
        Ok(Stopped::AtTheEnd)
    }
}

/// Why no more windows are written.
enum Stopped {
    AtTheEnd,
    ByTheUser,
    NobodyListens,
    /// The input breaks off, or has a bad row where none is wanted. What was written is whole.
    ByInput(anyhow::Error),
    /// The output cannot be written. Its error says what is safe.
    ByWriting(DataError),
}

fn first_error(chunk: &Chunk, answers: &AnswerColumns) -> Option<String> {
    (0..chunk.len()).find_map(|row| match (&chunk.rows[row], &answers.errors[row]) {
        (Err(error), _) | (_, Some(error)) => Some(error.to_string()),
        _ => None,
    })
}

fn parts(plan: &JobPlan) -> String {
    match &plan.target {
        Target::Stdout => "standard output".to_owned(),
        Target::File(path) => format!("{}.parts", path.display()),
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
    if let Some(path) = &plan.summary_json {
        let text = serde_json::to_string_pretty(summary)? + "\n";
        std::fs::write(path, text)
            .with_context(|| format!("{}: the summary cannot be written", path.display()))?;
    }
    if summary.rows_out_of_step() {
        bail!("rows were lost; this is a bug of this program, please report it");
    }
    Ok(())
}
