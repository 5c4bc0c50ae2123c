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
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use batch::{Budget, InOrder, Share};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use text::Input;

use crate::answer::{Answer, Outcome, assemble};
use crate::core::Core;
use crate::error::{RowError, codes};
use crate::execute::Workers;
use crate::prepare::{PreparedRow, PreparedWindow, Unique};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheUse {
    Yes,
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

    let reader = std::thread::spawn(move || {
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
    for _ in 0..preparers {
        let prepare = Prepare {
            core: Arc::clone(core),
            settings,
            counters: Arc::clone(&counters),
            queue: queue.clone(),
            messages: messages.clone(),
        };
        let to_prepare = to_prepare.clone();
        std::thread::spawn(move || {
            for (sequence, window) in to_prepare {
                prepare.window(sequence, window);
            }
        });
    }
    for _ in 0..settings.threads {
        let worker = Worker {
            core: Arc::clone(core),
            cache: settings.cache,
            counters: Arc::clone(&counters),
            messages: messages.clone(),
        };
        let work = work.clone();
        std::thread::spawn(move || {
            for item in work {
                if !worker.run(&item) {
                    break;
                }
            }
        });
    }
    Windows {
        messages: received,
        permits,
        pending: HashMap::new(),
        ordered: InOrder::default(),
        reader: Some(reader),
        counters,
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
    fn window(&self, sequence: u64, window: Window<P>) {
        let Window { rows, payload } = window;
        let count = rows.len();
        let prepared = self
            .counters
            .time_preparing(|| catch_unwind(AssertUnwindSafe(|| self.core.preparer.window(rows))));
        let prepared = prepared.unwrap_or_else(|_| PreparedWindow {
            rows: (0..count)
                .map(|_| {
                    Err(RowError::new(
                        codes::INTERNAL,
                        "preparing this window panicked",
                    ))
                })
                .collect(),
            unique: Vec::new(),
        });

        self.counters
            .refused(prepared.rows.iter().filter(|row| row.is_err()).count());
        let mut answers: Vec<Option<Outcome>> = Vec::new();
        answers.resize_with(prepared.unique.len(), || None);
        let mut lengths = Vec::new();
        let mut to_compute = Vec::new();
        for (index, unique) in prepared.unique.iter().enumerate() {
            if let Some(outcome) = self.core.cached(self.settings.cache, unique) {
                self.counters.hits(unique.count);
                answers[index] = Some(outcome);
            } else {
                lengths.push(unique.tokens.ids.len() as u32);
                to_compute.push(index as u32);
            }
        }

        let missing = to_compute.len();
        let unique: Arc<[Unique]> = prepared.unique.into();
        let pending = Pending {
            payload,
            rows: prepared.rows,
            answers,
            missing,
        };
        // Sent before its work is queued, so that it is there when the first answers come. If nobody
        // listens any more, the queue's readers end too.
        if self
            .messages
            .send(Message::Window(sequence, pending))
            .is_err()
            || missing == 0
        {
            return;
        }

        let total: usize = lengths.iter().map(|&length| length as usize).sum();
        let share = Share::of(total, missing, self.settings.threads, self.settings.budget);
        let (budget, workers) = match share {
            Share::Team => (Budget::tokens(usize::MAX), Workers::Team),
            Share::Batches(budget) => (budget, Workers::One),
        };
        let plan = batch::plan(&lengths, budget);
        self.counters.planned(plan.padding(), plan.batches().len());
        for planned in plan.batches() {
            let rows = planned
                .iter()
                .map(|&row| to_compute[row as usize])
                .collect();
            let work = Work {
                sequence,
                unique: Arc::clone(&unique),
                rows,
                workers,
            };
            if self.queue.send(work).is_err() {
                return;
            }
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
            self.counters.computed(computed.tokens, computed.elapsed);
            rows.iter()
                .for_each(|unique| self.counters.answered(unique.count));
            answers.extend(missing.into_iter().zip(computed.outcomes));
        }
        self.messages
            .send(Message::Answers(work.sequence, answers))
            .is_ok()
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
            && let Some(pending) = self.pending.remove(&sequence)
        {
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
                    return None;
                }
            }
        }
    }
}
