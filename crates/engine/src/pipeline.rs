//! Windows of rows through prepare → cache → batch → execute, and back in input order.
//!
//! ```text
//! reader ─► preparers ─► work queue ─► workers ─┐
//!    ▲          └────── windows ────────────────┴─► Windows (the caller's thread), in order
//!    └─ a permit for each window handed out
//! ```
//! Permits bound what is in flight: a window is read only when an earlier one has been handed out. So
//! memory depends on the window, not on the input, and a slow consumer slows the reader down.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use batch::{Budget, InOrder, Share};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use text::Input;

use crate::answer::{Answer, Origin, Outcome, assemble};
use crate::core::Core;
use crate::error::{RowError, codes};
use crate::execute::Workers;
use crate::prepare::{PreparedRow, Unique};
use crate::progress::{Counters, Progress, ProgressHandle};

/// Rows that are prepared and handed back together, with something of the caller's that rides along.
#[derive(Clone, Debug, PartialEq)]
pub struct Window<P> {
    /// The rows; one that could not even be read is an error here already, and stays one.
    pub rows: Vec<Result<Input, RowError>>,
    /// Whatever the caller needs again when the answers come: line numbers, other columns.
    pub payload: P,
}

/// A window's answers, one for each of its rows and in their order.
#[derive(Debug)]
pub struct AnsweredWindow<P> {
    /// The answers.
    pub answers: Vec<Result<Answer, RowError>>,
    /// What the caller sent along.
    pub payload: P,
}

/// How windows are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunSettings {
    pub(crate) budget: Budget,
    pub(crate) threads: usize,
    pub(crate) cache: CacheUse,
}

/// Whether a run reads and fills the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// Known answers are used, new ones kept.
    #[default]
    Yes,
    /// Everything is computed, and nothing kept.
    No,
}

/// One preparer for this many workers: the `tokenizers` crate prepares 50,000 short texts a second,
/// a worker computes under 1,000.
const WORKERS_PER_PREPARER: usize = 8;

/// Answered windows in input order; made by [`Model::run_windows`](crate::Model::run_windows).
///
/// Dropping it gives up what is not yet computed.
pub struct Windows<P> {
    messages: Receiver<Message<P>>,
    permits: Sender<()>,
    pending: HashMap<u64, Pending<P>>,
    ordered: InOrder<AnsweredWindow<P>>,
    reader: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

enum Message<P> {
    /// A window was prepared; its batches follow, from the workers.
    Window(u64, Pending<P>),
    /// Some distinct rows of a window are answered.
    Answers(u64, Vec<(u32, Outcome)>),
}

/// A window that waits for its answers.
struct Pending<P> {
    payload: P,
    rows: Vec<Result<PreparedRow, RowError>>,
    answers: Vec<Option<Outcome>>,
    missing: usize,
}

/// A batch for a worker: some distinct rows of one window.
struct Work {
    sequence: u64,
    unique: Arc<[Unique]>,
    rows: Vec<u32>,
    workers: Workers,
}

pub(crate) fn run<P, I>(core: &Arc<Core>, windows: I, settings: RunSettings) -> Windows<P>
where
    P: Send + 'static,
    I: Iterator<Item = Window<P>> + Send + 'static,
{
    let preparers = settings.threads.div_ceil(WORKERS_PER_PREPARER);
    // One window being written out, one computed, one ready behind it, one with each preparer.
    let in_flight = 3 + preparers;
    let (permits, permitted) = bounded(in_flight);
    for _ in 0..in_flight {
        // There is room for exactly these.
        let _ = permits.send(());
    }
    let (read, to_prepare) = bounded(1);
    // These two hold at most what the permits let in.
    let (queue, work) = unbounded();
    let (messages, received) = unbounded();
    let counters = Arc::new(Counters::default());

    let reader = Builder::new()
        .name("batchwright-reader".into())
        .spawn(move || {
            let mut sequence = 0;
            let mut windows = windows;
            while permitted.recv().is_ok() {
                let Some(window) = windows.next() else { break };
                if read.send((sequence, window)).is_err() {
                    break;
                }
                sequence += 1;
            }
        });
    start("preparer", preparers, || {
        let prepare = Prepare {
            core: Arc::clone(core),
            settings,
            counters: Arc::clone(&counters),
            queue: queue.clone(),
            messages: messages.clone(),
        };
        let to_prepare = to_prepare.clone();
        move || {
            for (sequence, window) in to_prepare {
                prepare.window(sequence, window);
            }
        }
    });
    start("worker", settings.threads, || {
        let worker = Worker {
            core: Arc::clone(core),
            cache: settings.cache,
            counters: Arc::clone(&counters),
            messages: messages.clone(),
        };
        let work = work.clone();
        move || {
            for item in work {
                if !worker.run(&item) {
                    break;
                }
            }
        }
    });
    Windows {
        messages: received,
        permits,
        pending: HashMap::new(),
        ordered: InOrder::default(),
        reader: Some(reader.unwrap_or_else(|error| refused("reader", &error))),
        counters,
    }
}

/// Starts up to `count` threads. Those that the system refuses make the run slower, nothing else,
/// unless it refuses all.
fn start<F: FnOnce() + Send + 'static>(name: &str, count: usize, work: impl Fn() -> F) {
    for number in 0..count {
        let thread = Builder::new().name(format!("batchwright-{name}-{number}"));
        match thread.spawn(work()) {
            Ok(_) => {}
            Err(error) if number == 0 => refused(name, &error),
            Err(_) => break,
        }
    }
}

#[expect(
    clippy::panic,
    reason = "as `std::thread::spawn` does: without the thread no row can be answered"
)]
fn refused<T>(name: &str, error: &std::io::Error) -> T {
    panic!("the system refuses to start a thread ({name}): {error}")
}

/// A window that is tokenised, with what of it the cache knows and how the rest is to be computed.
struct Planned {
    rows: Vec<Result<PreparedRow, RowError>>,
    unique: Arc<[Unique]>,
    /// One for each in `unique`.
    answers: Vec<Option<Outcome>>,
    /// Those in `unique` that are to be computed.
    batches: Vec<Vec<u32>>,
    workers: Workers,
}

impl Planned {
    /// A window of which nothing will be answered.
    fn failed(rows: usize, problem: &str) -> Self {
        let error = RowError::new(codes::INTERNAL, problem);
        Self {
            rows: (0..rows).map(|_| Err(error.clone())).collect(),
            unique: Arc::new([]),
            answers: Vec::new(),
            batches: Vec::new(),
            workers: Workers::One,
        }
    }
}

struct Prepare<P> {
    core: Arc<Core>,
    settings: RunSettings,
    counters: Arc<Counters>,
    queue: Sender<Work>,
    messages: Sender<Message<P>>,
}

impl<P> Prepare<P> {
    /// Sends a window to whoever waits for it, and its batches to the workers. Whatever happens, the
    /// window arrives with all its rows: one that does not would hold up those after it for ever.
    fn window(&self, sequence: u64, window: Window<P>) {
        let Window { rows, payload } = window;
        let count = rows.len();
        let planned = self
            .counters
            .time_preparing(|| catch_unwind(AssertUnwindSafe(|| self.plan(rows))));
        let planned =
            planned.unwrap_or_else(|_| Planned::failed(count, "preparing this window panicked"));
        self.counters
            .refused(planned.rows.iter().filter(|row| row.is_err()).count());
        let pending = Pending {
            payload,
            rows: planned.rows,
            answers: planned.answers,
            missing: planned.batches.iter().map(Vec::len).sum(),
        };
        // Sent before its work is queued, so that it is there when the first answers come. If nobody
        // listens any more, the queue's readers end too.
        if self
            .messages
            .send(Message::Window(sequence, pending))
            .is_err()
        {
            return;
        }
        for rows in planned.batches {
            let work = Work {
                sequence,
                unique: Arc::clone(&planned.unique),
                rows,
                workers: planned.workers,
            };
            if self.queue.send(work).is_err() {
                return;
            }
        }
    }

    /// Tokenises a window, looks its distinct rows up, and cuts what is left into batches.
    fn plan(&self, rows: Vec<Result<Input, RowError>>) -> Planned {
        let prepared = self.core.preparer.window(rows);
        let answers = self.core.cached_all(self.settings.cache, &prepared.unique);
        let mut lengths = Vec::new();
        let mut to_compute = Vec::new();
        for (index, (unique, cached)) in prepared.unique.iter().zip(&answers).enumerate() {
            if cached.is_some() {
                self.counters.hits(unique.count);
            } else {
                lengths.push(unique.tokens.ids.len() as u32);
                to_compute.push(index as u32);
            }
        }
        let total: usize = lengths.iter().map(|&length| length as usize).sum();
        let RunSettings {
            budget, threads, ..
        } = self.settings;
        let (budget, workers) = match Share::of(total, to_compute.len(), threads, budget) {
            Share::Team => (Budget::tokens(usize::MAX), Workers::Team),
            Share::Batches(budget) => (budget, Workers::One),
        };
        let plan = batch::plan(&lengths, budget);
        self.counters.planned(plan.padding(), plan.batches().len());
        let batches = plan.batches().map(|batch| {
            let rows = batch.iter().map(|&row| to_compute[row as usize]);
            rows.collect()
        });
        Planned {
            rows: prepared.rows,
            unique: prepared.unique.into(),
            answers,
            batches: batches.collect(),
            workers,
        }
    }
}

struct Worker<P> {
    core: Arc<Core>,
    cache: CacheUse,
    counters: Arc<Counters>,
    messages: Sender<Message<P>>,
}

impl<P> Worker<P> {
    /// Answers a batch; false when nobody listens any more.
    fn run(&self, work: &Work) -> bool {
        let answers = catch_unwind(AssertUnwindSafe(|| self.answers(work)));
        let answers = answers.unwrap_or_else(|_| {
            let failed = |&index: &u32| {
                let error = RowError::new(codes::INTERNAL, "answering this row's batch panicked");
                let outcome = Outcome {
                    origin: Origin::Computed,
                    answer: Err(error),
                };
                (index, outcome)
            };
            work.rows.iter().map(failed).collect()
        });
        self.messages
            .send(Message::Answers(work.sequence, answers))
            .is_ok()
    }

    /// An answer for each row of a batch, with its index among the window's distinct rows.
    fn answers(&self, work: &Work) -> Vec<(u32, Outcome)> {
        let mut answers = Vec::with_capacity(work.rows.len());
        let mut missing = Vec::with_capacity(work.rows.len());
        for &index in &work.rows {
            let unique = &work.unique[index as usize];
            // An earlier window may have computed the row since this one was prepared.
            match self.core.cached(self.cache, unique) {
                Some(outcome) => {
                    self.counters.hits(unique.count);
                    answers.push((index, outcome));
                }
                None => missing.push(index),
            }
        }
        if !missing.is_empty() {
            let rows: Vec<_> = missing.iter().map(|&i| &work.unique[i as usize]).collect();
            let computed = self.core.compute(self.cache, &rows, work.workers);
            self.counters.computed(computed.tokens, computed.time);
            rows.iter()
                .for_each(|unique| self.counters.answered(unique.count));
            answers.extend(missing.into_iter().zip(computed.outcomes));
        }
        answers
    }
}

impl<P> Windows<P> {
    /// What the run has done so far.
    pub fn progress(&self) -> Progress {
        self.counters.progress()
    }

    /// A handle that tells, from any thread, what the run has done so far.
    pub fn progress_handle(&self) -> ProgressHandle {
        ProgressHandle(Arc::clone(&self.counters))
    }

    fn receive(&mut self, message: Message<P>) {
        let sequence = match message {
            Message::Window(sequence, pending) => {
                self.pending.insert(sequence, pending);
                sequence
            }
            Message::Answers(sequence, answers) => {
                if let Some(pending) = self.pending.get_mut(&sequence) {
                    pending.missing -= answers.len();
                    for (unique, outcome) in answers {
                        pending.answers[unique as usize] = Some(outcome);
                    }
                }
                sequence
            }
        };
        if self
            .pending
            .get(&sequence)
            .is_some_and(|pending| pending.missing == 0)
        {
            self.finish(sequence);
        }
    }

    /// Puts a window in order; rows whose answers have not come carry an error.
    fn finish(&mut self, sequence: u64) {
        if let Some(pending) = self.pending.remove(&sequence) {
            let answers = assemble(pending.rows, &pending.answers);
            let errors = answers.iter().filter(|answer| answer.is_err()).count();
            let answered = AnsweredWindow {
                answers,
                payload: pending.payload,
            };
            self.counters.errors(errors);
            // A sequence number comes once: the reader counts them.
            let _ = self.ordered.put(sequence, answered);
        }
    }
}

impl<P> Iterator for Windows<P> {
    type Item = AnsweredWindow<P>;

    /// Waits for the next window in input order.
    ///
    /// # Panics
    /// If the iterator that gave the windows panicked, with its panic: ending quietly would lose rows.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(window) = self.ordered.take() {
                // The reader may have ended; then nobody needs the permit.
                let _ = self.permits.try_send(());
                return Some(window);
            }
            match self.messages.recv() {
                Ok(message) => self.receive(message),
                Err(_) => {
                    // Every thread has ended, so this does not wait.
                    if let Some(Err(panic)) = self.reader.take().map(JoinHandle::join) {
                        resume_unwind(panic);
                    }
                    // Answers that will never come must not look like the end of the input.
                    let &waiting = self.pending.keys().min()?;
                    self.finish(waiting);
                }
            }
        }
    }
}

impl<P> fmt::Debug for Windows<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Windows");
        out.field("progress", &self.progress());
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use testing::golden::Golden;

    use super::*;
    use crate::Model;

    fn windows(messages: Vec<Message<&'static str>>) -> Windows<&'static str> {
        let (sender, receiver) = unbounded();
        for message in messages {
            sender.send(message).unwrap();
        }
        Windows {
            messages: receiver,
            permits: bounded(9).0,
            pending: HashMap::new(),
            ordered: InOrder::default(),
            reader: None,
            counters: Arc::default(),
        }
    }

    fn pending(payload: &'static str) -> Pending<&'static str> {
        let row = PreparedRow {
            unique: 0,
            tokens: 3,
            truncated: false,
            source: None,
        };
        Pending {
            payload,
            rows: vec![Ok(row)],
            answers: vec![None],
            missing: 1,
        }
    }

    /// Rows whose worker died would be missing from the end of an output that looks complete.
    #[test]
    fn windows_without_answers_come_out_as_errors() {
        let answer = || {
            let outcome = Outcome {
                origin: Origin::Computed,
                answer: Ok([1.0].into()),
            };
            vec![(0, outcome)]
        };
        let found: Vec<_> = windows(vec![
            Message::Window(1, pending("second")),
            Message::Window(0, pending("first")),
            Message::Window(2, pending("third")),
            Message::Answers(1, answer()),
        ])
        .map(|window| {
            let code = window.answers[0].as_ref().err().map(|error| error.code);
            (window.payload, code)
        })
        .collect();
        let lost = Some(codes::INTERNAL);
        assert_eq!(found, [("first", lost), ("second", None), ("third", lost)]);
    }

    /// A batch whose worker panics would keep its window, and the whole stream, waiting for ever.
    #[test]
    fn a_worker_that_panics_answers_with_errors() {
        let golden = Golden::load("bert-embed");
        let model = Model::builder(golden.directory.to_str().unwrap())
            .profile(crate::ProfileUse::Ignored)
            .load()
            .unwrap();
        let (messages, received) = unbounded();
        let worker = Worker::<()> {
            core: Arc::clone(model.core()),
            cache: CacheUse::Yes,
            counters: Arc::default(),
            messages,
        };
        // There is no such row: the look-up panics.
        let work = Work {
            sequence: 5,
            unique: Arc::new([]),
            rows: vec![7],
            workers: Workers::One,
        };
        assert!(worker.run(&work));
        match received.try_recv() {
            Ok(Message::Answers(5, answers)) => {
                let error = answers[0].1.answer.as_ref().unwrap_err();
                assert_eq!((answers[0].0, error.code), (7, codes::INTERNAL));
            }
            _ => panic!("no answers"),
        }
    }
}
