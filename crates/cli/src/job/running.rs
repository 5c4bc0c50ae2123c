//! A job in flight: windows out of the engine, rows into the output, until the end or a stop.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::anyhow;
use batchwright::{AnsweredWindow, Model, Windows};
use data::{Chunk, DataError, Job, JobSummary, Source};

use super::columns::{self, Shape};
use super::progress::{self, Watch};
use super::reader::{self, Reading};
use super::stages::Stages;
use super::summary::{Run, Summary};
use super::tally::Tally;
use super::{Ending, ending, report};
use crate::args::OnError;
use crate::console::Console;
use crate::figures;
use crate::interrupt::Interrupt;
use crate::plan::{JobPlan, Profiling, Target};
use crate::stopping::{first_error, misfit};

/// How often Ctrl-C is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A job in flight.
pub(super) struct Running<'a> {
    pub(super) plan: &'a JobPlan,
    pub(super) model: &'a Model,
    pub(super) shape: Shape,
    pub(super) job: Job,
    pub(super) console: &'a Console,
    pub(super) interrupt: Interrupt,
    pub(super) load: Duration,
}

impl Running<'_> {
    pub(super) fn go(mut self, mut source: Source) -> anyhow::Result<Ending> {
        let done_before = self.job.rows_done();
        if done_before > 0 {
            let rows = figures::rows(done_before);
            self.console.say(format_args!(
                "continuing: {rows} of an earlier run are there"
            ));
            source.skip_rows(done_before)?;
        }
        self.model.warm_up();
        // What warming up cost is nobody's question.
        self.model.take_operator_profile();

        let total = source.row_count();
        let input = source.progress();
        let reading = Arc::new(Reading::default());
        let windows = self
            .model
            .run_windows(reader::windows(source, Arc::clone(&reading)));
        let progress = windows.progress_handle();
        let watch = Watch::start(
            self.console,
            progress::Sources {
                run: {
                    let progress = progress.clone();
                    Box::new(move || progress.progress())
                },
                reading: Arc::clone(&reading),
                input,
                total,
                before: done_before,
            },
        );
        let mut tally = Tally::default();
        let stopped = self.write_all(windows, &mut tally, &watch);
        watch.stop();
        let time = reading.elapsed();
        self.model.flush_cache();

        let run = Run {
            load: self.load,
            time,
            done_before,
            isa: self.plan.isa,
            progress: progress.progress(),
        };
        let stages =
            (self.plan.profile == Profiling::Shown).then(|| Stages::of(self.model, &run.progress));
        let tell = |finished: Option<&JobSummary>| {
            let summary = Summary::new(self.model, &run, &tally, finished);
            let done = report(self.plan, &summary, self.console);
            if let Some(stages) = &stages {
                self.console.say(stages.words());
            }
            done
        };
        match stopped? {
            Stopped::AtTheEnd => {
                let finished = self.job.finish()?;
                tell(Some(&finished))?;
                Ok(ending(&finished))
            }
            Stopped::ByTheUser => {
                let resumable = self.job.is_resumable();
                let saved = figures::rows(self.job.pause()?);
                tell(None)?;
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
            Stopped::ByWriting(error) => Err(error.into()),
            Stopped::ByInput(error) => {
                let resumable = self.job.is_resumable();
                // The fault of the input is the one to tell; if saving fails as well, less is saved.
                Err(match self.job.pause() {
                    Ok(rows) if resumable && rows > 0 => anyhow!(
                        "{error:#}\n  {} are saved; the same command continues there, unless the input \
                         changes",
                        figures::rows(rows),
                    ),
                    _ => error,
                })
            }
        }
    }

    /// Writes windows as they are answered, until the end or until something stops it.
    ///
    /// A thread waits for the windows, so that this one can listen for Ctrl-C meanwhile: a window may
    /// take half a minute, and one of standard input for ever.
    fn write_all(
        &mut self,
        windows: Windows<Result<Chunk, DataError>>,
        tally: &mut Tally,
        watch: &Watch,
    ) -> anyhow::Result<Stopped> {
        let (answered, received) = sync_channel(0);
        let waiting = std::thread::spawn(move || {
            for window in windows {
                if answered.send(window).is_err() {
                    break;
                }
            }
        });
        loop {
            match received.recv_timeout(BETWEEN_LOOKS) {
                Ok(window) => {
                    if let Some(stopped) = self.write(window, tally)? {
                        return Ok(stopped);
                    }
                    watch.errors(self.job.failed_rows());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.interrupt.came() {
                return Ok(Stopped::ByTheUser);
            }
        }
        match waiting.join() {
            Ok(()) => Ok(Stopped::AtTheEnd),
            // Taking this for the end would lose rows.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Writes one window; says why if it is the last.
    fn write(
        &mut self,
        window: AnsweredWindow<Result<Chunk, DataError>>,
        tally: &mut Tally,
    ) -> anyhow::Result<Option<Stopped>> {
        let chunk = match window.payload {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Some(Stopped::ByInput(error.into()))),
        };
        let answers = columns::answers(&self.shape, self.model, &chunk, window.answers, tally)?;
        let stop = self.plan.on_error == OnError::Stop;
        if stop && let Some(error) = first_error(&chunk, &answers) {
            return Ok(Some(Stopped::ByInput(anyhow!(error))));
        }
        let written = match self.job.write(&chunk, &answers) {
            Ok(written) => written,
            Err(error) => return Ok(Some(Stopped::ByWriting(error))),
        };
        if stop && let Some(error) = misfit(&chunk, written) {
            return Ok(Some(Stopped::ByInput(anyhow!(error))));
        }
        Ok(None)
    }
}

/// Why no more windows are written.
enum Stopped {
    AtTheEnd,
    ByTheUser,
    /// The input breaks off, or has a bad row where none is wanted. What was written is whole.
    ByInput(anyhow::Error),
    /// The output cannot be written. Its error says what is safe.
    ByWriting(DataError),
}
