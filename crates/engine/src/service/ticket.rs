//! The answers of a request, waited for by a thread or a task.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use batch::Permit;

use super::Shared;
use super::stats::RowCounts;
use crate::answer::{Answer, Origin, Outcome, assemble};
use crate::error::RowError;
use crate::prepare::PreparedRow;

/// The answers of an accepted request, when they have come: a future, or [`wait`](Self::wait) for
/// threads. Dropping it abandons whatever nobody has begun to compute.
#[must_use = "dropping a ticket abandons its request"]
pub struct Ticket {
    pub(super) pending: Arc<Pending>,
    pub(super) shared: Arc<Shared>,
    /// What of it was not answered at once.
    pub(super) flights: Vec<u32>,
    /// Given back when the answers are taken.
    pub(super) permit: Option<Permit>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// An answer or an error for each row, in their order;
    /// [`Model::render`](crate::Model::render) makes predictions of answers.
    pub answers: Vec<Result<Answer, RowError>>,
    /// How long it took.
    pub timing: Timing,
    /// Tokens of all rows, cached ones included; a row that could not be read has none.
    pub tokens: u64,
    /// Rows that the cache answered.
    pub cached: usize,
}

/// How long a request took, and with what. Queueing and computing are those of the row that was answered
/// last; with `prepare` they make up `total`, but for handing over. Both are 0 where nothing had to be
/// computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Tokenising and looking up.
    pub prepare: Duration,
    /// Waiting for a thread, and for rows to be computed with.
    pub queue: Duration,
    /// In the network, together with the rest of the batch, and with what ran between its layers.
    pub compute: Duration,
    /// From the request's arrival to its last answer.
    pub total: Duration,
}

/// A request in flight: what has come of its rows so far.
pub(super) struct Pending {
    state: Mutex<State>,
    done: Condvar,
}

struct State {
    rows: Vec<Result<PreparedRow, RowError>>,
    /// One for each distinct row.
    outcomes: Vec<Option<Outcome>>,
    /// How many rows each of these stands for.
    counts: Vec<u32>,
    missing: usize,
    /// The last answer has come and is being counted.
    ending: bool,
    arrived: Instant,
    timing: Timing,
    abandoned: bool,
    waker: Option<Waker>,
    /// Whether a thread waits.
    is_waited_for: bool,
}

/// The last of a request's answers has come: what is to be counted, then told to whoever waits.
#[must_use]
pub(super) struct Done<'a> {
    pub(super) timing: Timing,
    pub(super) rows: RowCounts,
    pending: &'a Pending,
}

impl Pending {
    /// A request that arrived some time ago and whose rows are prepared. Of its distinct rows, `counts`
    /// says for how many rows each stands, and `outcomes` what the cache knew of it.
    pub(super) fn new(
        rows: Vec<Result<PreparedRow, RowError>>,
        counts: Vec<u32>,
        outcomes: Vec<Option<Outcome>>,
        arrived: Instant,
    ) -> Self {
        let prepare = arrived.elapsed();
        let state = State {
            missing: outcomes.iter().filter(|outcome| outcome.is_none()).count(),
            ending: false,
            rows,
            outcomes,
            counts,
            arrived,
            timing: Timing {
                prepare,
                total: prepare,
                ..Timing::default()
            },
            abandoned: false,
            waker: None,
            is_waited_for: false,
        };
        Self {
            state: Mutex::new(state),
            done: Condvar::new(),
        }
    }

    /// What to count where every row was answered at once.
    pub(super) fn done_at_once(&self) -> Option<(Timing, RowCounts)> {
        let state = self.lock();
        (state.missing == 0).then(|| (state.timing, state.row_counts()))
    }

    /// Answers a distinct row. Gives what is left to do if it was the last: only then does anybody learn of it.
    pub(super) fn deliver(&self, row: u32, outcome: Outcome, times: Times) -> Option<Done<'_>> {
        let Times { since, start, end } = times;
        let mut state = self.lock();
        let place = &mut state.outcomes[row as usize];
        if place.is_some() {
            return None;
        }
        *place = Some(outcome);
        if state.missing > 1 || state.abandoned {
            state.missing -= 1;
            return None;
        }
        // `missing` stays until it is counted: who has the answers finds them in the statistics.
        state.ending = true;
        state.timing.queue = start.saturating_duration_since(since);
        state.timing.compute = end.saturating_duration_since(start.max(since));
        state.timing.total = end.saturating_duration_since(state.arrived);
        Some(Done {
            timing: state.timing,
            rows: state.row_counts(),
            pending: self,
        })
    }

    #[cfg(test)]
    pub(super) fn tokens(&self) -> usize {
        let state = self.lock();
        let rows = state.rows.iter().flatten();
        rows.map(|row| row.tokens as usize).sum()
    }

    /// Nothing in here can panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a row waited and was computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Since when it waited.
    pub(super) since: Instant,
    /// When it had its turn.
    pub(super) start: Instant,
    /// When it was done.
    pub(super) end: Instant,
}

impl Times {
    /// Of a row that never had a turn.
    pub(super) fn at_once(since: Instant, now: Instant) -> Self {
        Self {
            since,
            start: now,
            end: now,
        }
    }
}

impl Done<'_> {
    /// Tells whoever waits, but for a task: that is put to those that are to be woken.
    pub(super) fn tell(self, wakers: &mut Wakers) {
        let mut state = self.pending.lock();
        state.missing = 0;
        let waker = state.waker.take();
        let is_waited_for = state.is_waited_for;
        drop(state);
        // A call to the system, which tasks need not pay for.
        if is_waited_for {
            self.pending.done.notify_one();
        }
        wakers.0.extend(waker);
    }
}

/// Tasks whose answers are there, to be woken together: dropping this wakes them, on whichever thread that is.
///
/// A runtime that is given them in one piece ([`Service::wake_by`](crate::Service::wake_by)) wakes a thread once, and not
/// for each.
#[derive(Debug, Default)]
#[must_use = "dropping it wakes them"]
pub struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn is_several(&self) -> bool {
        self.0.len() > 1
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        for waker in self.0.drain(..) {
            // The caller's code: a panic in it must not cost others their answers.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

impl State {
    fn row_counts(&self) -> RowCounts {
        let mut counts = RowCounts::default();
        for error in self.rows.iter().filter_map(|row| row.as_ref().err()) {
            counts.failed(error.code, 1);
        }
        for (outcome, &rows) in self.outcomes.iter().zip(&self.counts) {
            if let Some(outcome) = outcome {
                counts.outcome(outcome, rows.into());
            }
        }
        counts
    }

    fn served(&mut self) -> Served {
        let rows = std::mem::take(&mut self.rows);
        let tokens = rows.iter().flatten().map(|row| u64::from(row.tokens)).sum();
        let answers = assemble(rows, &self.outcomes);
        let cached = |answer: &&Result<Answer, RowError>| matches!(answer, Ok(answer) if answer.origin == Origin::Cache);
        Served {
            cached: answers.iter().filter(cached).count(),
            answers,
            timing: self.timing,
            tokens,
        }
    }
}

impl Ticket {
    /// Whether the answers are there: [`wait`](Self::wait) will not block.
    pub fn is_ready(&self) -> bool {
        self.pending.lock().missing == 0
    }

    /// Waits for the answers.
    pub fn wait(mut self) -> Served {
        let mut state = self.pending.lock();
        state.is_waited_for = true;
        while state.missing > 0 {
            state = self
                .pending
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let served = state.served();
        drop(state);
        self.permit = None;
        served
    }
}

impl Future for Ticket {
    type Output = Served;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Served> {
        assert!(
            self.permit.is_some(),
            "a ticket was polled after it was ready"
        );
        let mut state = self.pending.lock();
        if state.missing > 0 {
            match &mut state.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let served = state.served();
        drop(state);
        self.permit = None;
        Poll::Ready(served)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.pending.lock();
        if state.missing == 0 || state.ending {
            return;
        }
        state.abandoned = true;
        state.waker = None;
        drop(state);
        self.shared.abandon(&self.pending, &self.flights);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Ticket");
        out.field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
