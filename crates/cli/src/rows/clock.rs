//! Where the time of the threads goes, by stage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::args::ByteSize;
use crate::figures::{duration, percent, three_digits};
use crate::table::{Align, Table};

/// What a thread can be at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Hashing the input: it says whether a job is the same again.
    Fingerprint,
    /// The first look at all rows: whether they are plain, characters, the longest.
    Survey,
    /// From the disk, or the system's memory of it, to rows.
    Read,
    Edit,
    Tokenize,
    /// Hashing the output and handing it to the system.
    Write,
    /// Waiting until everything is durable, and renaming.
    Finish,
}

impl Stage {
    const ALL: [Stage; 7] = [
        Stage::Fingerprint,
        Stage::Survey,
        Stage::Read,
        Stage::Edit,
        Stage::Tokenize,
        Stage::Write,
        Stage::Finish,
    ];

    fn name(self) -> &'static str {
        match self {
            Stage::Fingerprint => "hashing the input",
            Stage::Survey => "looking at all rows",
            Stage::Read => "reading",
            Stage::Edit => "editing",
            Stage::Tokenize => "tokenising",
            Stage::Write => "hashing and writing",
            Stage::Finish => "making durable",
        }
    }
}

/// Sums up times of all threads.
#[derive(Debug, Default)]
pub(super) struct Clock {
    nanoseconds: [AtomicU64; Stage::ALL.len()],
    /// Whether rows are timed one by one, which itself takes time.
    pub(super) each_row: bool,
}

impl Clock {
    pub(super) fn new(each_row: bool) -> Self {
        Self {
            each_row,
            ..Self::default()
        }
    }

    pub(super) fn time<T>(&self, stage: Stage, action: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = action();
        self.add(stage, started.elapsed());
        result
    }

    pub(super) fn add(&self, stage: Stage, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds[stage as usize].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Seconds of threads in a stage.
    pub(super) fn seconds(&self, stage: Stage) -> f64 {
        self.nanoseconds[stage as usize].load(Ordering::Relaxed) as f64 / 1e9
    }

    /// Seconds by stage, with their names.
    pub(super) fn stages(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        Stage::ALL
            .into_iter()
            .map(|stage| (stage.name(), self.seconds(stage)))
    }

    /// A table, with what each costs a row of the output.
    pub(super) fn words(&self, rows: u64, wall: Duration, peak_bytes: u64) -> String {
        let mut table = Table::new(&[
            ("stage", Align::Left),
            ("thread seconds", Align::Right),
            ("share", Align::Right),
            ("ns/row", Align::Right),
        ]);
        let all: f64 = self.stages().map(|(_, seconds)| seconds).sum();
        for (name, seconds) in self.stages() {
            table.row([
                name.to_owned(),
                three_digits(seconds),
                percent(if all > 0.0 { seconds / all } else { 0.0 }),
                three_digits(seconds * 1e9 / rows.max(1) as f64),
            ]);
        }
        format!(
            "{} in all, {} of them on the clock; {} of memory at most\n{}",
            duration(Duration::from_secs_f64(all)),
            duration(wall),
            ByteSize(peak_bytes),
            table.render().trim_end()
        )
    }
}
