//! One measurement: threads that send, and what their windows add up to.

use std::io::ErrorKind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::http::Parser;
use crate::report::LoadReport;
use crate::sender::{Course, Ending, Orders, Sender, Signal, Word};
use crate::target::Address;
use crate::{Arrivals, LoadError, Payloads, Stability, Tally, Target, Window};

/// Bytes of a first answer that are shown where it is not the one that was hoped for.
const SHOWN: usize = 400;
/// Bytes that are kept for it.
const SHOWN_OF: usize = 16 << 10;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pacing {
    /// Open loop: as many users as there are ask whenever they like, at this mean rate, whether the
    /// server keeps up or not. Latency counts from the moment when a request was due.
    Open {
        /// Requests a second.
        per_second: f64,
    },
    /// Closed loop: each connection sends the next request when it has the answer to the last. Its
    /// throughput is the most that so many connections get; its latencies leave out whoever would
    /// have come while all of them waited.
    Closed,
}

/// When a measurement ends before its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Until {
    /// When windows agree.
    Stable(Stability),
    /// Not before.
    TheEnd,
}

/// What to send, how, and for how long.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// When requests are sent.
    pub pacing: Pacing,
    /// Connections: in closed loop so many, in open loop at most.
    pub connections: usize,
    /// Threads that send.
    pub threads: usize,
    /// Time that is not counted, at first.
    pub warm_up: Duration,
    /// Length of a window.
    pub window: Duration,
    /// Windows at most.
    pub windows: usize,
    /// What ends the measurement sooner.
    pub until: Until,
    /// In a sweep: three successive windows whose 99th percentile exceeds this end the measurement.
    pub give_up_p99: Option<Duration>,
    /// After which a request counts as failed.
    pub timeout: Duration,
    /// Where latencies of short and long texts are kept apart: the most characters of a short one.
    pub split_chars: Option<usize>,
    /// Of the arrivals in open loop.
    pub seed: u64,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            pacing: Pacing::Closed,
            connections: 16,
            threads: 1,
            warm_up: Duration::from_secs(2),
            window: Duration::from_secs(5),
            windows: 12,
            until: Until::Stable(Stability::default()),
            give_up_p99: None,
            timeout: Duration::from_secs(10),
            split_chars: None,
            seed: 1,
        }
    }
}

/// Why a measurement ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its last windows agreed; the figures are theirs.
    Stable,
    /// Its time was over; the figures are of the whole time.
    #[default]
    Limit,
    /// Three successive windows missed the target; the figures are of the whole time.
    Hopeless,
    /// Whoever asked for it stopped it; the figures are of the time until then.
    Interrupted,
}

/// A server that has answered, and what is to be sent to it.
#[derive(Clone, Debug)]
pub struct Load {
    target: Target,
    address: Address,
    payloads: Payloads,
}

impl Load {
    /// Sends the first request alone and looks at the answer: a wrong path, model or key is found before
    /// minutes are spent measuring how fast the server says so.
    ///
    /// # Errors
    /// [`LoadError::Connect`], [`LoadError::NotHttp`], and [`LoadError::Refused`] unless the answer is 2xx,
    /// or 429 or 503, which a busy server gives.
    pub fn prepare(
        target: Target,
        payloads: Payloads,
        timeout: Duration,
    ) -> Result<Self, LoadError> {
        let (address, mut stream) = target.reach()?;
        let not_http = |reason: String| LoadError::NotHttp {
            url: target.to_string(),
            reason,
        };
        let broken = |error: std::io::Error| {
            not_http(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    format!("no answer to the first request within {timeout:?}")
                }
                _ => error.to_string(),
            })
        };
        stream.wait_at_most(timeout).map_err(broken)?;
        // An error while writing: the server may have answered before it closed.
        let written = stream.write_all(&payloads.list[0].bytes);
        let mut parser = Parser::default();
        let mut received = Vec::new();
        let mut buffer = [0; 16 << 10];
        let answer = loop {
            let count = stream.read(&mut buffer).map_err(broken)?;
            let bytes = &buffer[..count];
            // Enough for the words of a refusal.
            if received.len() < SHOWN_OF {
                received.extend_from_slice(bytes);
            }
            let fed = match count {
                0 => Ok(parser.closed()),
                _ => parser.feed(bytes),
            };
            match fed.map_err(|bad| not_http(bad.0.to_owned()))? {
                Some(answer) => break answer,
                None if count == 0 => {
                    written.map_err(broken)?;
                    return Err(not_http("the connection was closed".to_owned()));
                }
                None => {}
            }
        };
        if !matches!(answer.status, 200..300 | 429 | 503) {
            let text = String::from_utf8_lossy(&received);
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            return Err(LoadError::Refused {
                path: payloads.path.clone(),
                status: answer.status,
                body: body.chars().take(SHOWN).collect(),
            });
        }
        Ok(Self {
            target,
            address,
            payloads,
        })
    }

    /// The server.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What is sent.
    #[must_use]
    pub fn payloads(&self) -> &Payloads {
        &self.payloads
    }

    /// Measures. `watch` sees each window as it ends; `interrupted` is asked many times a second.
    ///
    /// # Errors
    /// [`LoadError::Option`] for a setting that cannot be, [`LoadError::System`] where the system gives no
    /// thread or poll.
    pub fn run(
        &self,
        spec: &LoadSpec,
        mut watch: impl FnMut(&Window),
        interrupted: impl Fn() -> bool,
    ) -> Result<LoadReport, LoadError> {
        spec.check()?;
        let signal = Signal::default();
        let (words, heard) = mpsc::channel();
        let threads = spec.threads.min(spec.connections);
        let epoch = Instant::now();
        let system = |what| {
            move |error: std::io::Error| LoadError::System {
                what,
                reason: error.to_string(),
            }
        };
        let mut senders = Vec::with_capacity(threads);
        for thread in 0..threads {
            let orders = self.orders(spec, thread, threads, epoch);
            senders.push(Sender::new(orders).map_err(system("a poll"))?);
        }
        std::thread::scope(|scope| {
            let mut running = Vec::with_capacity(threads);
            for sender in senders {
                let (signal, words) = (&signal, words.clone());
                let work = move || sender.run(signal, &words);
                let builder = std::thread::Builder::new().name("load".to_owned());
                match builder.spawn_scoped(scope, work) {
                    Ok(thread) => running.push(thread),
                    Err(error) => {
                        signal.set(Course::Stops);
                        return Err(system("a thread")(error));
                    }
                }
            }
            drop(words);
            let mut sum = Sum::new(threads);
            let ended = sum.listen(spec, &signal, &heard, &mut watch, &interrupted);
            for thread in running {
                match thread.join() {
                    Ok(result) => result.map_err(system("a poll"))?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(sum.report(self, spec, ended, threads))
        })
    }

    fn orders(&self, spec: &LoadSpec, thread: usize, threads: usize, epoch: Instant) -> Orders<'_> {
        let arrivals = match spec.pacing {
            // Poisson processes add up to one.
            Pacing::Open { per_second } => {
                let seed = spec.seed.wrapping_add((thread as u64) << 32);
                Some(Arrivals::new(per_second / threads as f64, seed))
            }
            Pacing::Closed => None,
        };
        Orders {
            thread,
            address: self.address.clone(),
            payloads: &self.payloads,
            first: thread * self.payloads.len() / threads,
            arrivals,
            connections: spec.connections / threads
                + usize::from(thread < spec.connections % threads),
            timeout: spec.timeout,
            warm_up: spec.warm_up,
            window: spec.window,
            windows: spec.windows,
            split_chars: spec.split_chars,
            epoch,
        }
    }
}

impl LoadSpec {
    fn check(&self) -> Result<(), LoadError> {
        let wrong = |option, reason: &str| {
            Err(LoadError::Option {
                option,
                reason: reason.to_owned(),
            })
        };
        match self.pacing {
            Pacing::Open { per_second } if !(per_second > 0.0 && per_second < 1e9) => {
                return wrong("rate", "requests a second are a number above 0");
            }
            _ => {}
        }
        if self.connections == 0 || self.threads == 0 || self.windows == 0 {
            return wrong("connections", "write at least 1");
        }
        if self.window < Duration::from_millis(1) {
            return wrong("window_seconds", "a window is at least a millisecond");
        }
        if self.timeout.is_zero() {
            return wrong("request_timeout_ms", "write at least 1");
        }
        Ok(())
    }
}

/// What the threads reported, added up.
struct Sum {
    threads: usize,
    /// By number of the window, with how many threads have reported it.
    windows: Vec<(usize, Tally)>,
    /// Of the whole ones, in their order.
    shown: Vec<Window>,
    cut: Option<Tally>,
    rest: Ending,
}

impl Sum {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            windows: Vec::new(),
            shown: Vec::new(),
            cut: None,
            rest: Ending::default(),
        }
    }

    fn listen(
        &mut self,
        spec: &LoadSpec,
        signal: &Signal,
        heard: &mpsc::Receiver<Word>,
        watch: &mut impl FnMut(&Window),
        interrupted: &impl Fn() -> bool,
    ) -> Ended {
        let mut ended = Ended::Limit;
        // Each thread's windows come in order: the thread's n-th is the n-th of all.
        let mut endings = 0;
        let mut reported = Vec::new();
        while endings < self.threads {
            let word = match heard.recv_timeout(Duration::from_millis(20)) {
                Ok(word) => Some(word),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if interrupted() && signal.get() != Course::Stops {
                if signal.get() == Course::Goes {
                    ended = Ended::Interrupted;
                }
                signal.set(Course::Stops);
            }
            match word {
                Some(Word::Window(thread, tally)) => {
                    reported.resize(self.threads, 0);
                    let number: &mut usize = &mut reported[thread];
                    let whole = self.add(*number, &tally);
                    *number += 1;
                    if whole {
                        watch(&self.shown[self.shown.len() - 1]);
                    }
                }
                Some(Word::End(ending)) => {
                    endings += 1;
                    self.end(&ending);
                }
                None => {}
            }
            if signal.get() == Course::Goes
                && let Some(why) = self.verdict(spec)
            {
                ended = why;
                signal.set(Course::Ends);
            }
        }
        ended
    }

    /// Adds a thread's window; says whether all threads have reported it now.
    fn add(&mut self, number: usize, tally: &Tally) -> bool {
        if self.windows.len() <= number {
            self.windows.resize_with(number + 1, Default::default);
        }
        let (threads, sum) = &mut self.windows[number];
        sum.add_beside(tally);
        *threads += 1;
        if *threads < self.threads {
            return false;
        }
        let start = self
            .shown
            .last()
            .map_or(0.0, |last| last.start_seconds + last.seconds);
        self.shown.push(Window::of(sum, start));
        true
    }

    fn end(&mut self, ending: &Ending) {
        if let Some(cut) = &ending.cut {
            self.cut.get_or_insert_default().add_beside(cut);
        }
        self.rest.rest.add_beside(&ending.rest);
        self.rest.unanswered += ending.unanswered;
        self.rest.unsent += ending.unsent;
    }

    fn verdict(&self, spec: &LoadSpec) -> Option<Ended> {
        if let Some(target) = spec.give_up_p99 {
            let last = self.shown.iter().rev().take(3);
            let missed = last.filter(|window| window.p99_ms > 1e3 * target.as_secs_f64());
            if missed.count() == 3 {
                return Some(Ended::Hopeless);
            }
        }
        match spec.until {
            Until::Stable(rule) => rule.is_reached(&self.shown).then_some(Ended::Stable),
            Until::TheEnd => None,
        }
    }

    fn report(mut self, load: &Load, spec: &LoadSpec, ended: Ended, threads: usize) -> LoadReport {
        // A window that not all threads have finished is no window of the test.
        self.windows.truncate(self.shown.len());
        let measured = match (ended, spec.until) {
            (Ended::Stable, Until::Stable(rule)) => rule.windows.max(1),
            _ => self.windows.len(),
        };
        let first = self.windows.len() - measured.min(self.windows.len());
        let mut total = Tally::default();
        for (_, tally) in &self.windows[first..] {
            total.add_after(tally);
        }
        if ended == Ended::Stable {
            // What came after those windows is not in the figures, and not in these either.
            (self.rest.unanswered, self.rest.unsent) = (0, 0);
        } else {
            if let Some(cut) = &self.cut {
                total.add_after(cut);
            }
            total.add_after(&self.rest.rest);
        }
        LoadReport::new(
            load,
            spec,
            &Measured {
                ended,
                threads,
                total,
                windows: self.shown,
                first,
                unanswered: self.rest.unanswered,
                unsent: self.rest.unsent,
            },
        )
    }
}

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) ended: Ended,
    pub(crate) threads: usize,
    /// Of the windows from `first` on, and of what came after them.
    pub(crate) total: Tally,
    pub(crate) windows: Vec<Window>,
    pub(crate) first: usize,
    pub(crate) unanswered: u64,
    pub(crate) unsent: u64,
}
