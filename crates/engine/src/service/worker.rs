//! The threads of a service: they take batches, compute them and tell whoever waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use batch::Budget;

use super::compute::{Right, Seat};
use super::flights::{Next, Row, Waiter, Work};
use super::ticket::{Times, Wakers};
use super::{Shared, State};
use crate::answer::{Origin, Outcome};
use crate::core::Core;
use crate::error::{RowError, codes};
use crate::execute::{BatchTime, Executed, Interlude, TokenRow, Workers};
use crate::pipeline::CacheUse;

/// What computes a batch.
pub(super) trait Run: Send + Sync {
    fn run(&self, rows: &[&TokenRow], workers: Workers, interlude: &dyn Interlude) -> Executed;

    /// Computes a batch in the middle of another, on the same thread.
    fn run_as_guest(&self, rows: &[&TokenRow]) -> Executed;
}

impl Run for Arc<Core> {
    fn run(&self, rows: &[&TokenRow], workers: Workers, interlude: &dyn Interlude) -> Executed {
        self.executor.run_with(rows, workers, interlude)
    }

    fn run_as_guest(&self, rows: &[&TokenRow]) -> Executed {
        self.executor.run_as_guest(rows)
    }
}

/// How long the machine takes for a token, as measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// 0 before the first batch.
    seconds_per_token: f64,
}

/// Tokens over which a rate is averaged: a few full batches. Small ones, which cost more for a token,
/// count for little beside them.
const RATE_TOKENS: f64 = 4_096.0;

/// A request may claim the machine for this many times what its tokens take, against those that come
/// later: while there are such, a long job runs at no less than a quarter of the machine's speed, and
/// what it has not got by then goes first.
const PACE: u32 = 4;

/// A batch that runs between the layers of another has at most one in so many of its tokens: it must gain
/// more time than it costs.
const GUEST_SHARE: usize = 4;

impl Rate {
    /// Counts a batch that has taken the time of `busy` on one of `threads` threads.
    pub(super) fn add(&mut self, tokens: u64, busy: Duration, threads: usize) {
        if tokens == 0 {
            return;
        }
        let tokens = tokens as f64;
        let new = busy.as_secs_f64() / tokens / threads.max(1) as f64;
        let weight = if self.seconds_per_token == 0.0 {
            1.0
        } else {
            tokens / (tokens + RATE_TOKENS)
        };
        self.seconds_per_token += weight * (new - self.seconds_per_token);
    }

    /// How long the machine takes for so many tokens; 0 if it is not known.
    pub(super) fn time(&self, tokens: usize) -> Duration {
        let seconds = self.seconds_per_token * tokens as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// A batch, and the right to compute it.
struct Turn<'a> {
    work: Work,
    right: Right<'a>,
    workers: Workers,
    /// How long the right was waited for.
    waited: Duration,
}

/// Between the layers of a batch, its worker looks for what would have gone first had it been there: a
/// short text need not wait for the end of a long one.
struct Urgent<'a> {
    shared: &'a Shared,
    number: usize,
    /// When the batch was due.
    due: Duration,
    tokens: usize,
}

impl Interlude for Urgent<'_> {
    fn play(&self) -> Duration {
        let start = Instant::now();
        match self.next() {
            None => Duration::ZERO,
            Some(work) => {
                let run = |rows: &[&TokenRow]| self.shared.run.run_as_guest(rows);
                self.shared.compute(self.number, &work, Duration::ZERO, run);
                start.elapsed()
            }
        }
    }
}

impl Urgent<'_> {
    fn next(&self) -> Option<Work> {
        loop {
            let mut state = self.shared.lock();
            // Who has nothing to do is awake already.
            if state.idle > 0 {
                return None;
            }
            let budget = Budget {
                tokens: state.budget.tokens.min(self.tokens / GUEST_SHARE),
                ..state.budget
            };
            let now = self.shared.now();
            match state.flights.next_before(self.due, now, budget) {
                Next::Nothing | Next::Wait(_) => return None,
                Next::Work(work) => return Some(work),
                Next::Late(waiters) => {
                    drop(state);
                    self.shared.tell_late(&waiters);
                }
            }
        }
    }
}

impl Shared {
    /// Starts a worker, which lives until the service is closed and has answered everything.
    pub(super) fn start_worker(
        self: &Arc<Self>,
        number: usize,
        seat: &Arc<Seat>,
    ) -> std::io::Result<()> {
        let (shared, seat) = (Arc::clone(self), Arc::clone(seat));
        self.lock().workers += 1;
        let thread = std::thread::Builder::new().name(format!("batchwright-serve-{number}"));
        let started = thread.spawn(move || {
            // Whatever panics outside of a batch is a bug here; the worker goes on.
            while catch_unwind(AssertUnwindSafe(|| shared.turns(number, &seat))).is_err() {
                shared.counters.worker_panicked();
            }
            shared.lock().workers -= 1;
            shared.quiet.notify_all();
        });
        if started.is_err() {
            self.lock().workers -= 1;
        }
        started.map(drop)
    }

    fn turns(&self, number: usize, seat: &Seat) {
        while let Some(turn) = self.next_turn(seat) {
            self.take_turn(number, turn);
        }
    }

    /// Waits for something to compute and the right to do so; `None` when there will be nothing more.
    fn next_turn<'a>(&self, seat: &'a Seat) -> Option<Turn<'a>> {
        let mut state = self.lock();
        loop {
            if state.flights.queue.is_empty() {
                if self.closed.load(SeqCst) && state.entering == 0 {
                    return None;
                }
                state = self.sleep(state, None);
                continue;
            }
            let mut waited = Duration::ZERO;
            // What comes while other models compute is batched together: the batch is taken last.
            let mut right = match seat.try_right() {
                Some(right) => right,
                None => {
                    drop(state);
                    let start = Instant::now();
                    let right = seat.right();
                    waited = start.elapsed();
                    state = self.lock();
                    right
                }
            };
            let budget = state.budget.workers(state.idle + 1);
            match state.flights.next(self.now(), budget) {
                Next::Nothing => {}
                Next::Wait(until) => {
                    drop(right);
                    state = self.sleep(state, Some(until));
                }
                Next::Late(waiters) => {
                    state.busy += 1;
                    drop(state);
                    drop(right);
                    self.tell_late(&waiters);
                    state = self.told();
                }
                Next::Work(work) => {
                    let alone = state.flights.queue.is_empty() && state.idle + 1 == state.workers;
                    let workers = if alone && right.grow(self.model.threads()) {
                        Workers::Team
                    } else {
                        Workers::One
                    };
                    // Who put in more than one batch woke one worker; it wakes the next.
                    if !state.flights.queue.is_empty() && state.idle > 0 {
                        self.work.notify_one();
                    }
                    state.busy += 1;
                    return Some(Turn {
                        work,
                        right,
                        workers,
                        waited,
                    });
                }
            }
        }
    }

    fn tell_late(&self, waiters: &[Waiter]) {
        let rows = waiters.iter();
        self.fail_late(rows.map(|waiter| (waiter.row, &waiter.pending, waiter.since)));
    }

    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        until: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.idle += 1;
        let woken = match until {
            None => self.work.wait(state),
            Some(until) => self
                .work
                .wait_timeout(state, until.saturating_sub(self.now()))
                .map(|(state, _)| state)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        };
        let mut state = woken.unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state
    }

    fn take_turn(&self, number: usize, turn: Turn<'_>) {
        let Turn {
            work,
            right,
            workers,
            waited,
        } = turn;
        let urgent = Urgent {
            shared: self,
            number,
            due: work.due,
            tokens: work.padding.tokens as usize,
        };
        self.compute(number, &work, waited, |rows| {
            let executed = self.run.run(rows, workers, &urgent);
            drop(right);
            executed
        });
        drop(self.told());
    }

    /// Computes a batch and tells those who wait for it. Whatever happens, they hear something.
    fn compute(
        &self,
        number: usize,
        work: &Work,
        waited: Duration,
        run: impl FnOnce(&[&TokenRow]) -> Executed,
    ) {
        let start = Instant::now();
        let began = start.saturating_duration_since(self.epoch).as_nanos() as u64;
        // A guest's host, which has begun before it, goes on after it.
        let host = self.began[number].swap(began.max(1), SeqCst);
        let rows: Vec<&TokenRow> = work.rows.iter().map(|row| &row.tokens).collect();
        let total = work.padding.tokens as usize;
        let executed = catch_unwind(AssertUnwindSafe(|| {
            let executed = run(&rows);
            for (row, answer) in work.rows.iter().zip(&executed.answers) {
                if let (CacheUse::Yes, Ok(values)) = (row.cache, answer) {
                    let cost = executed.time.share(row.tokens.ids.len(), total);
                    self.model.core().keep(row.key, values, cost);
                }
            }
            executed
        }));
        let executed = executed.unwrap_or_else(|_| {
            self.counters.worker_panicked();
            Executed::default()
        });
        let end = Instant::now();
        self.began[number].store(host, SeqCst);
        let ended = end.saturating_duration_since(self.epoch).as_nanos() as u64;
        self.landed.store(ended, SeqCst);
        self.land(work, executed, waited, (start, end));
    }

    /// Takes a batch's rows off the list of those in flight, and tells those who wait for them.
    fn land(
        &self,
        work: &Work,
        executed: Executed,
        waited: Duration,
        (start, end): (Instant, Instant),
    ) {
        let Executed { answers, time } = executed;
        let tokens = work.padding.tokens;
        let mut state = self.lock();
        if !answers.is_empty() {
            let threads = self.model.threads();
            state.rate.add(tokens, time.busy + waited, threads);
            let pace = state.rate.time(1).saturating_mul(PACE);
            let queue = &mut state.flights.queue;
            queue.set_policy(batch::QueuePolicy {
                pace,
                ..queue.policy()
            });
        }
        let landed: Vec<Vec<Waiter>> = work
            .flights
            .iter()
            .map(|&flight| state.flights.end(flight))
            .collect();
        drop(state);

        self.counters.batch(work.rows.len(), work.padding, time);
        // A batch that panicked has no answers.
        let missing = || {
            let words = "computing this row's batch panicked; please report this";
            Err(RowError::new(codes::INTERNAL, words))
        };
        let answers = answers.into_iter().chain(std::iter::repeat_with(missing));
        let mut wakers = Wakers::default();
        for ((row, waiters), answer) in work.rows.iter().zip(landed).zip(answers) {
            self.count_computed(row, &waiters, answer.is_ok(), time, tokens as usize);
            let mut origin = Origin::Computed;
            for waiter in waiters {
                let outcome = Outcome {
                    origin: std::mem::replace(&mut origin, Origin::Duplicate),
                    answer: answer.clone(),
                };
                let times = Times {
                    since: waiter.since,
                    start,
                    end,
                };
                self.deliver(&waiter.pending, waiter.row, outcome, times, &mut wakers);
            }
        }
        self.wake(wakers);
    }

    /// A worker has told everybody who waited for what it had.
    fn told(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.busy -= 1;
        if state.busy == 0 && state.flights.is_empty() {
            self.quiet.notify_all();
        }
        state
    }

    fn count_computed(
        &self,
        row: &Row,
        waiters: &[Waiter],
        answered: bool,
        time: BatchTime,
        total: usize,
    ) {
        if answered && row.cache == CacheUse::Yes {
            let rows = waiters.iter().map(|waiter| waiter.rows).sum();
            let cost = time.share(row.tokens.ids.len(), total);
            self.model.core().count_computed(rows, cost);
        }
    }
}
