//! The answers of a request, waited for by a thread or a task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::answer::{Answer, Origin, Outcome, assemble};
use crate::error::RowError;
use crate::prepare::PreparedRow;

/// The answers of an accepted request, when they have come: a future, or [`wait`](Self::wait) for
/// threads. Dropping it abandons whatever nobody has begun to compute.
#[must_use = "dropping a ticket abandons its request"]
pub struct Ticket {
    pending: Arc<Pending>,
    taken: bool,
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
/// last; with `prepare` they make up `total`, but for handing over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Tokenising and looking up.
    pub prepare: Duration,
    /// Waiting for a thread, and for rows to be computed with.
    pub queue: Duration,
    /// In the network, together with the rest of the batch.
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
    missing: usize,
    arrived: Instant,
    timing: Timing,
    waker: Option<Waker>,
}

impl Pending {
    /// A request whose rows are prepared; what the cache knew is in `outcomes`.
    pub(super) fn new(
        rows: Vec<Result<PreparedRow, RowError>>,
        outcomes: Vec<Option<Outcome>>,
        arrived: Instant,
    ) -> Arc<Self> {
        let prepare = arrived.elapsed();
        let state = State {
            missing: outcomes.iter().filter(|outcome| outcome.is_none()).count(),
            rows,
            outcomes,
            arrived,
            timing: Timing {
                prepare,
                total: prepare,
                ..Timing::default()
            },
            waker: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            done: Condvar::new(),
        })
    }

    /// Answers some distinct rows; gives the times of the whole request if these were the last.
    pub(super) fn deliver(
        &self,
        outcomes: impl IntoIterator<Item = (u32, Outcome)>,
        queue: Duration,
        compute: Duration,
    ) -> Option<Timing> {
        let mut state = self.lock();
        for (row, outcome) in outcomes {
            let place = &mut state.outcomes[row as usize];
            if place.is_none() {
                *place = Some(outcome);
                state.missing -= 1;
            }
        }
        if state.missing > 0 {
            return None;
        }
        state.timing.queue = queue;
        state.timing.compute = compute;
        state.timing.total = state.arrived.elapsed();
        let (timing, waker) = (state.timing, state.waker.take());
        drop(state);
        self.done.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(timing)
    }

    /// Nothing in here can panic half way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
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
    pub(super) fn new(pending: Arc<Pending>) -> Self {
        Self {
            pending,
            taken: false,
        }
    }

    /// Whether the answers are there: [`wait`](Self::wait) will not block.
    pub fn is_ready(&self) -> bool {
        self.pending.lock().missing == 0
    }

    /// Waits for the answers.
    pub fn wait(mut self) -> Served {
        self.taken = true;
        let mut state = self.pending.lock();
        while state.missing > 0 {
            state = self
                .pending
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.served()
    }
}

impl Future for Ticket {
    type Output = Served;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Served> {
        assert!(!self.taken, "a ticket was polled after it was ready");
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
        self.taken = true;
        Poll::Ready(served)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Ticket");
        out.field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
