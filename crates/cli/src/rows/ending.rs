//! How the writing of rows ends, whatever they are written to.

use anyhow::anyhow;
use data::{ArrayJob, DataError, Job, JobSummary};

use super::clock::{Clock, Stage};
use super::ordered::Stopped;
use super::{Ended, with_saved};

/// A job as it is left: done, or to be taken up again.
pub(super) trait Left {
    fn is_resumable(&self) -> bool;
    fn pause(self) -> Result<u64, DataError>;
    fn finish(self) -> Result<JobSummary, DataError>;
}

/// Whose fault it is, where writing ends with an error.
pub(super) enum Fault {
    /// The input's: what was written before is whole.
    Input,
    /// A bad row's, at which the user wants to stop.
    Row(String),
    /// The output's: the job must be left as it is.
    Output,
}

/// Finishes a job, or saves what it has.
pub(super) fn end<J: Left>(
    job: J,
    run: anyhow::Result<Stopped>,
    fault: Fault,
    clock: &Clock,
) -> anyhow::Result<Ended> {
    let resumable = job.is_resumable();
    match (run, fault) {
        (Ok(Stopped::AtTheEnd), _) => {
            let finished = clock.time(Stage::Finish, || job.finish())?;
            Ok(Ended::Complete(finished))
        }
        (Ok(Stopped::ByTheUser), _) => Ok(Ended::Interrupted {
            saved: job.pause()?,
            resumable,
        }),
        (Err(_), Fault::Row(words)) => Err(anyhow!("{words}\n  {} rows are saved", job.pause()?)),
        (Err(error), Fault::Output) => Err(error),
        (Err(error), Fault::Input) => Err(with_saved(error, resumable, job.pause())),
    }
}

impl Left for Job {
    fn is_resumable(&self) -> bool {
        self.is_resumable()
    }

    fn pause(self) -> Result<u64, DataError> {
        self.pause()
    }

    fn finish(self) -> Result<JobSummary, DataError> {
        self.finish()
    }
}

impl Left for ArrayJob {
    fn is_resumable(&self) -> bool {
        self.is_resumable()
    }

    fn pause(self) -> Result<u64, DataError> {
        self.pause()
    }

    fn finish(self) -> Result<JobSummary, DataError> {
        self.finish()
    }
}
