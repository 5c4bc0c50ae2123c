//! A bar while a model is fetched.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use batchwright::FetchProgress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::ByteSize;
use crate::console::{Console, Voice};

/// Where no terminal shows a bar, a line says how far the transfer is.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows the progress of a fetch on the console.
pub(crate) struct Download<'a> {
    console: &'a Console,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    what: String,
    total: Option<u64>,
    last_line: Option<Instant>,
}

impl<'a> Download<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self {
            console,
            state: Mutex::default(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => {
            "{msg}  {bar:24} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left"
        }
        None => "{msg}  {spinner} {binary_bytes}  {binary_bytes_per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl FetchProgress for Download<'_> {
    fn begin(&self, what: &str, total_bytes: Option<u64>) {
        let bar = match total_bytes {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let bar = bar
            .with_style(style(total_bytes))
            .with_message(format!("fetching {what}"));
        if self.console.voice() == Voice::Lines {
            let size = total_bytes.map_or_else(String::new, |b| format!(" ({})", ByteSize(b)));
            self.console.say(format_args!("fetching {what}{size}"));
        }
        let bar = self.console.raise(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with(|state| {
            *state = State {
                bar: Some(bar),
                what: what.to_owned(),
                total: total_bytes,
                last_line: Some(Instant::now()),
            };
        });
    }

    fn position(&self, done_bytes: u64) {
        let line = self.with(|state| {
            if let Some(bar) = &state.bar {
                bar.set_position(done_bytes);
            }
            let due = state
                .last_line
                .is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
            if !due || self.console.voice() != Voice::Lines {
                return None;
            }
            state.last_line = Some(Instant::now());
            let of = state
                .total
                .map_or_else(String::new, |b| format!(" of {}", ByteSize(b)));
            Some(format!(
                "fetching {}: {}{of}",
                state.what,
                ByteSize(done_bytes)
            ))
        });
        if let Some(line) = line {
            self.console.say(line);
        }
    }

    fn note(&self, message: &str) {
        self.console.say(message);
    }

    fn end(&self) {
        self.with(|state| *state = State::default());
        self.console.lower();
    }
}
