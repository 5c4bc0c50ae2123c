//! Threads to compute on, shared by several services.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The right to compute on a number of threads, which the services of a process share: however many
/// models are served, no more threads compute at once than there are.
///
/// A right that falls free goes to the service that has computed least among those that wait: services
/// that all have work get equal time, whatever their batches cost, and one alone gets the machine. What a
/// service did not use while it had nothing to do is not saved up.
///
/// Calls of a model that go past its service ([`Model::predict`](crate::Model::predict)) are not counted.
///
/// ```
/// use batchwright_engine::Compute;
///
/// let compute = Compute::new(2);
/// assert_eq!(compute.threads(), 2);
/// ```
#[derive(Clone)]
pub struct Compute {
    shared: Arc<Shared>,
}

struct Shared {
    threads: usize,
    state: Mutex<State>,
}

struct State {
    /// Nobody waits while this is above 0.
    free: usize,
    seats: Vec<Option<Member>>,
}

/// A service, as the others see it.
struct Member {
    /// Threads that it computes on, or may start to.
    held: usize,
    waiting: usize,
    /// Of `held`, those that were handed over and not yet taken up.
    granted: usize,
    /// Time computed, summed over threads.
    used: Duration,
    wake: Arc<Condvar>,
}

/// A service's membership of a [`Compute`].
pub(super) struct Seat {
    shared: Arc<Shared>,
    number: usize,
    wake: Arc<Condvar>,
}

/// The right to compute on some threads, until it is dropped.
pub(super) struct Right<'a> {
    seat: &'a Seat,
    threads: usize,
    since: Instant,
}

impl Compute {
    /// The right to compute on so many threads at once (at least one).
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let state = State {
            free: threads,
            seats: Vec::new(),
        };
        Self {
            shared: Arc::new(Shared {
                threads,
                state: Mutex::new(state),
            }),
        }
    }

    /// How many threads may compute at once.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        let state = self.shared.lock();
        let waits = |member: &Member| member.waiting > 0;
        state.seats.iter().flatten().any(waits)
    }

    pub(super) fn join(&self) -> Seat {
        let wake = Arc::new(Condvar::new());
        let member = Member {
            held: 0,
            waiting: 0,
            granted: 0,
            used: Duration::ZERO,
            wake: Arc::clone(&wake),
        };
        let mut state = self.shared.lock();
        let empty = state.seats.iter().position(Option::is_none);
        let number = empty.unwrap_or_else(|| {
            state.seats.push(None);
            state.seats.len() - 1
        });
        state.seats[number] = Some(member);
        drop(state);
        Seat {
            shared: Arc::clone(&self.shared),
            number,
            wake,
        }
    }
}

impl Seat {
    /// The right to compute on one thread; waits for it.
    pub(super) fn right(&self) -> Right<'_> {
        if let Some(right) = self.try_right() {
            return right;
        }
        let mut state = self.shared.lock();
        state.arrives(self.number);
        if let Some(member) = state.member(self.number) {
            member.waiting += 1;
        }
        // A right may have fallen free since.
        if state.free > 0 {
            state.free -= 1;
            state.hand_on();
        }
        while !state.takes_up(self.number) {
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.taken()
    }

    /// The right to compute on one thread, if there is one now.
    pub(super) fn try_right(&self) -> Option<Right<'_>> {
        let mut state = self.shared.lock();
        if state.free == 0 {
            return None;
        }
        state.arrives(self.number);
        state.free -= 1;
        if let Some(member) = state.member(self.number) {
            member.held += 1;
        }
        Some(self.taken())
    }

    fn taken(&self) -> Right<'_> {
        Right {
            seat: self,
            threads: 1,
            since: Instant::now(),
        }
    }
}

impl Right<'_> {
    /// Makes it the right to compute on so many threads, if there are as many; says whether.
    pub(super) fn grow(&mut self, threads: usize) -> bool {
        let more = threads.saturating_sub(self.threads);
        let mut state = self.seat.shared.lock();
        if state.free < more {
            return false;
        }
        state.free -= more;
        if let Some(member) = state.member(self.seat.number) {
            member.held += more;
        }
        self.threads += more;
        true
    }
}

impl Drop for Right<'_> {
    fn drop(&mut self) {
        let used = self.since.elapsed() * self.threads as u32;
        let mut state = self.seat.shared.lock();
        if let Some(member) = state.member(self.seat.number) {
            member.used += used;
            member.held -= self.threads;
        }
        for _ in 0..self.threads {
            state.hand_on();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.lock().seats[self.number] = None;
    }
}

impl Shared {
    /// Every change is done before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn member(&mut self, number: usize) -> Option<&mut Member> {
        self.seats.get_mut(number)?.as_mut()
    }

    /// A member that had nothing to do starts level with those that have: what it did not use is gone.
    fn arrives(&mut self, number: usize) {
        let least = self
            .seats
            .iter()
            .flatten()
            .filter(|other| other.is_active());
        let least = least.map(|other| other.used).min();
        if let (Some(least), Some(member)) = (least, self.member(number))
            && !member.is_active()
        {
            member.used = member.used.max(least);
        }
    }

    fn takes_up(&mut self, number: usize) -> bool {
        // A member that is gone waits no more: its threads hold its seat, so there is none.
        self.member(number).is_none_or(|member| {
            let granted = member.granted > 0;
            member.granted -= usize::from(granted);
            granted
        })
    }

    /// Gives one right to whoever has used least among those that wait.
    fn hand_on(&mut self) {
        let waiting = self.seats.iter_mut().flatten();
        let waiting = waiting.filter(|member| member.waiting > 0);
        match waiting.min_by_key(|member| member.used) {
            Some(member) => {
                member.waiting -= 1;
                member.held += 1;
                member.granted += 1;
                member.wake.notify_one();
            }
            None => self.free += 1,
        }
    }
}

impl Member {
    fn is_active(&self) -> bool {
        self.held + self.waiting > 0
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = self.shared.lock().free;
        let mut out = f.debug_struct("Compute");
        out.field("threads", &self.threads())
            .field("free", &free)
            .finish()
    }
}
