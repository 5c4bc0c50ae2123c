//! How far a job is: a bar on a terminal, a line every ten seconds elsewhere.
//!
//! A thread of its own looks at the run's counters, so that the figures move within a window too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use batchwright::Progress;
use data::InputProgress;
use indicatif::{ProgressBar, ProgressStyle};

use super::reader::Reading;
use crate::console::{Console, Voice};
use crate::figures::{count, duration, percent, three_digits};

const BETWEEN_FRAMES: Duration = Duration::from_millis(200);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows the progress of a run until it is stopped.
pub(crate) struct Watch {
    errors: Arc<AtomicU64>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    console: Console,
}

/// Where the figures come from.
pub(crate) struct Sources {
    pub(crate) run: Box<dyn Fn() -> Progress + Send>,
    pub(crate) reading: Arc<Reading>,
    pub(crate) input: InputProgress,
    /// Rows of the whole input, where that is known.
    pub(crate) total: Option<u64>,
    /// Rows that an earlier process has written.
    pub(crate) before: u64,
}

/// One look at a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    progress: Progress,
    before: u64,
    errors: u64,
    total: Total,
    time: Duration,
}

/// Rows of the whole input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Total {
    Known(u64),
    Estimated(u64),
    Unknown,
}

impl Watch {
    pub(crate) fn start(console: &Console, sources: Sources) -> Self {
        let errors = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel();
        let (shown, counted) = (console.clone(), Arc::clone(&errors));
        let thread = (console.voice() != Voice::Quiet).then(|| {
            std::thread::spawn(move || {
                let look = || sources.look(counted.load(Ordering::Relaxed));
                match shown.voice() {
                    Voice::Bar => draw(&shown, look, &stopped),
                    Voice::Lines | Voice::Quiet => tell(&shown, look, &stopped),
                }
            })
        });
        Self {
            errors,
            stop,
            thread,
            console: console.clone(),
        }
    }

    /// Tells how many rows carry an error so far.
    pub(crate) fn errors(&self, errors: u64) {
        self.errors.store(errors, Ordering::Relaxed);
    }

    /// Takes the bar away.
    pub(crate) fn stop(mut self) {
        // The thread may have ended.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            // A panic in drawing is not worth losing a job for.
            let _ = thread.join();
        }
        self.console.lower();
    }
}

fn draw(console: &Console, look: impl Fn() -> Look, stopped: &Receiver<()>) {
    let style = |template| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    let bar = ProgressBar::new(0).with_style(style("{spinner} {msg}"));
    let bar = console.raise(bar);
    let mut has_length = false;
    loop {
        let look = look();
        if let Some(total) = look.total.rows() {
            bar.set_length(total);
            bar.set_position(look.rows());
            if !has_length {
                has_length = true;
                bar.set_style(style("{bar:24} {percent:>3} %  {msg}"));
            }
        }
        bar.set_message(look.words());
        bar.tick();
        if !matches!(
            stopped.recv_timeout(BETWEEN_FRAMES),
            Err(RecvTimeoutError::Timeout)
        ) {
            return;
        }
    }
}

fn tell(console: &Console, look: impl Fn() -> Look, stopped: &Receiver<()>) {
    while matches!(
        stopped.recv_timeout(BETWEEN_LINES),
        Err(RecvTimeoutError::Timeout)
    ) {
        console.say(look().words());
    }
}

impl Sources {
    fn look(&self, errors: u64) -> Look {
        let progress = (self.run)();
        let read = self.before + self.reading.rows();
        Look {
            progress,
            before: self.before,
            errors: errors.max(progress.errors),
            total: match self.total {
                Some(total) => Total::Known(total),
                None if self.reading.ended() => Total::Known(read),
                None => Total::estimate(read, self.input.fraction()),
            },
            time: self.reading.elapsed(),
        }
    }
}

impl Total {
    /// By the share of the input's bytes that the rows read so far have taken. Bytes are read in
    /// blocks: once all are there, they no longer tell how many rows are still to come of them.
    fn estimate(rows_read: u64, fraction: Option<f64>) -> Self {
        match fraction {
            Some(fraction) if fraction > 0.0 && fraction < 1.0 && rows_read > 0 => {
                Total::Estimated((rows_read as f64 / fraction) as u64)
            }
            _ => Total::Unknown,
        }
    }

    fn rows(self) -> Option<u64> {
        match self {
            Total::Known(rows) | Total::Estimated(rows) => Some(rows),
            Total::Unknown => None,
        }
    }
}

impl Look {
    fn rows(&self) -> u64 {
        self.before + self.progress.rows
    }

    fn words(&self) -> String {
        let seconds = self.time.as_secs_f64().max(1e-3);
        let progress = &self.progress;
        let rate = progress.rows as f64 / seconds;
        let mut parts = vec![match self.total {
            Total::Known(total) => format!("{} of {} rows", count(self.rows()), count(total)),
            Total::Estimated(total) => {
                format!("{} of about {} rows", count(self.rows()), count(total))
            }
            Total::Unknown => format!("{} rows", count(self.rows())),
        }];
        parts.push(format!("{} rows/s", three_digits(rate)));
        if progress.tokens > 0 {
            parts.push(format!(
                "{} tokens/s",
                three_digits(progress.tokens as f64 / seconds)
            ));
        }
        let reused = progress.cache_hits + progress.duplicates;
        if reused > 0 {
            let share = reused as f64 / progress.rows.max(1) as f64;
            parts.push(format!("cached {}", percent(share)));
        }
        if progress.tokens > 0 {
            parts.push(format!(
                "padding avoided {}",
                percent(progress.padding_avoided)
            ));
        }
        if self.errors > 0 {
            parts.push(format!("{} errors", count(self.errors)));
        }
        if let Some(left) = self
            .total
            .rows()
            .and_then(|total| total.checked_sub(self.rows()))
            && progress.rows > 0
        {
            let left = Duration::from_secs_f64((left as f64 / rate).min(1e9));
            parts.push(format!("{} left", duration(left)));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rows: u64, before: u64, total: Total) -> Look {
        Look {
            progress: Progress {
                rows,
                tokens: 10 * rows,
                padding_avoided: 0.25,
                ..Progress::default()
            },
            before,
            errors: 0,
            total,
            time: Duration::from_secs(10),
        }
    }

    /// A continued job would show the speed of rows it did not compute, and a wrong time left.
    #[test]
    fn rates_are_of_this_run_and_the_time_left_of_the_whole() {
        assert_eq!(
            look(1_000, 4_000, Total::Known(10_000)).words(),
            "5,000 of 10,000 rows, 100 rows/s, 1,000 tokens/s, padding avoided 25.0 %, 50.0 s left"
        );
    }

    /// A job over standard input has no end that could be told.
    #[test]
    fn without_a_total_no_time_is_promised() {
        let words = look(1_000, 0, Total::Unknown).words();
        assert!(
            words.starts_with("1,000 rows, 100 rows/s") && !words.contains("left"),
            "{words}"
        );
        assert!(!look(0, 0, Total::Known(5)).words().contains("left"));
    }

    /// Errors and hits that are not there would only be noise; those that are must be seen.
    #[test]
    fn errors_and_hits_are_shown_when_there_are_any() {
        let mut seen = look(1_000, 0, Total::Unknown);
        seen.errors = 3;
        seen.progress.cache_hits = 100;
        seen.progress.duplicates = 50;
        let words = seen.words();
        assert!(
            words.contains("cached 15.0 %") && words.contains("3 errors"),
            "{words}"
        );
    }

    /// A bar that is full at once, or never.
    #[test]
    fn the_total_is_estimated_from_bytes() {
        for (rows, fraction, expected) in [
            (0, Some(0.5), Total::Unknown),
            (100, None, Total::Unknown),
            (100, Some(0.25), Total::Estimated(400)),
            (100, Some(1.0), Total::Unknown),
        ] {
            assert_eq!(Total::estimate(rows, fraction), expected);
        }
        let words = look(100, 0, Total::Estimated(400)).words();
        assert!(words.starts_with("100 of about 400 rows"), "{words}");
    }
}
