//! How far a job is: a bar on a terminal, a line every ten seconds elsewhere.
//!
//! A thread of its own looks at the run's counters, so that the figures move within a window too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use batchwright::{Progress, ProgressHandle};
use data::InputProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::console::{Console, Voice};
use crate::figures::{count, duration, percent, three_digits};

const BETWEEN_FRAMES: Duration = Duration::from_millis(200);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows the progress of a run until it is stopped.
pub(super) struct Watch {
    errors: Arc<AtomicU64>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
    console: Console,
}

/// Where the figures come from.
struct Sources {
    run: ProgressHandle,
    input: InputProgress,
    /// Rows of the whole input, where that is known.
    total: Option<u64>,
    /// Rows that an earlier process has written.
    before: u64,
    errors: Arc<AtomicU64>,
    started: Instant,
}

/// One look at a run.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    progress: Progress,
    before: u64,
    errors: u64,
    /// Rows in all, known or estimated.
    total: Option<u64>,
    time: Duration,
}

impl Watch {
    pub(super) fn start(
        console: &Console,
        run: ProgressHandle,
        total: Option<u64>,
        input: InputProgress,
        before: u64,
    ) -> Self {
        let errors = Arc::new(AtomicU64::new(0));
        let sources = Sources {
            run,
            input,
            total,
            before,
            errors: Arc::clone(&errors),
            started: Instant::now(),
        };
        let (stop, stopped) = channel();
        let shown = console.clone();
        let thread = (console.voice() != Voice::Quiet).then(|| {
            std::thread::spawn(move || match shown.voice() {
                Voice::Bar => draw(&shown, &sources, &stopped),
                Voice::Lines | Voice::Quiet => tell(&shown, &sources, &stopped),
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
    pub(super) fn errors(&self, errors: u64) {
        self.errors.store(errors, Ordering::Relaxed);
    }

    /// Takes the bar away.
    pub(super) fn stop(mut self) {
        // The thread may have ended.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            // A panic in drawing is not worth losing a job for.
            let _ = thread.join();
        }
        self.console.lower();
    }
}

fn draw(console: &Console, sources: &Sources, stopped: &std::sync::mpsc::Receiver<()>) {
    let style = |template| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    let bar = ProgressBar::new(0).with_style(style("{spinner} {msg}"));
    let bar = console.raise(bar);
    let mut known = false;
    loop {
        let look = sources.look();
        if let (Some(total), false) = (look.total, known) {
            known = true;
            bar.set_length(total);
            bar.set_style(style("{bar:24} {percent:>3} %  {msg}"));
        }
        if let Some(total) = look.total {
            bar.set_length(total);
            bar.set_position(look.rows());
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

fn tell(console: &Console, sources: &Sources, stopped: &std::sync::mpsc::Receiver<()>) {
    while matches!(
        stopped.recv_timeout(BETWEEN_LINES),
        Err(RecvTimeoutError::Timeout)
    ) {
        console.say(sources.look().words());
    }
}

impl Sources {
    fn look(&self) -> Look {
        let progress = self.run.progress();
        let rows = self.before + progress.rows;
        Look {
            progress,
            before: self.before,
            errors: self.errors.load(Ordering::Relaxed).max(progress.errors),
            total: self
                .total
                .or_else(|| estimated_total(rows, self.input.fraction())),
            time: self.started.elapsed(),
        }
    }
}

/// Rows of the whole input by the share of its bytes that has been read. A few windows are read ahead,
/// so it is a little low at first; below two percent it would be a guess.
fn estimated_total(rows: u64, fraction: Option<f64>) -> Option<u64> {
    let fraction = fraction.filter(|&fraction| fraction > 0.02 && rows > 0)?;
    Some(((rows as f64 / fraction) as u64).max(rows))
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
            Some(total) => format!("{} of {} rows", count(self.rows()), count(total)),
            None => format!("{} rows", count(self.rows())),
        }];
        parts.push(format!("{} rows/s", three_digits(rate)));
        parts.push(format!(
            "{} tokens/s",
            three_digits(progress.tokens as f64 / seconds)
        ));
        let reused = progress.cache_hits + progress.duplicates;
        if reused > 0 {
            let share = reused as f64 / progress.rows.max(1) as f64;
            parts.push(format!("cached {}", percent(share)));
        }
        parts.push(format!(
            "padding avoided {}",
            percent(progress.padding_avoided)
        ));
        if self.errors > 0 {
            parts.push(format!("{} errors", count(self.errors)));
        }
        if let Some(left) = self.total.and_then(|total| total.checked_sub(self.rows()))
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

    fn look(rows: u64, before: u64, total: Option<u64>) -> Look {
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
            look(1_000, 4_000, Some(10_000)).words(),
            "5,000 of 10,000 rows, 100 rows/s, 1,000 tokens/s, padding avoided 25.0 %, 50.0 s left"
        );
    }

    /// A job over standard input has no end that could be told.
    #[test]
    fn without_a_total_no_time_is_promised() {
        let words = look(1_000, 0, None).words();
        assert!(
            words.starts_with("1,000 rows, 100 rows/s") && !words.contains("left"),
            "{words}"
        );
        assert!(!look(0, 0, Some(5)).words().contains("left"));
    }

    /// Errors and hits that are not there would only be noise; those that are must be seen.
    #[test]
    fn errors_and_hits_are_shown_when_there_are_any() {
        let mut seen = look(1_000, 0, None);
        seen.errors = 3;
        seen.progress.cache_hits = 100;
        seen.progress.duplicates = 50;
        let words = seen.words();
        assert!(
            words.contains("cached 15.0 %") && words.contains("3 errors"),
            "{words}"
        );
    }

    #[test]
    fn the_total_is_estimated_from_bytes() {
        for (rows, fraction, expected) in [
            (0, Some(0.5), None),
            (100, None, None),
            (100, Some(0.01), None),
            (100, Some(0.25), Some(400)),
            (100, Some(1.0), Some(100)),
        ] {
            assert_eq!(estimated_total(rows, fraction), expected);
        }
    }
}
