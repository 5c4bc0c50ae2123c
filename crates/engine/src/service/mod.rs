//! A loaded model being served: requests from many threads, batched together.
//!
//! It knows neither HTTP nor an asynchronous runtime: whoever has requests calls
//! [`Service::submit`] from any thread and gets a [`Ticket`], which a thread can wait for and a task can
//! await.
//!
//! ```text
//! submit ──► admit ──► tokenise ──► cache ──► flights ──► queue ──► workers ──► flights ──► ticket
//! caller's   permit    caller's     hits are  equal rows  batch::   one a       everybody   wakes the
//! thread     or 429    thread       answered  are one     Queue     thread      who waits   caller
//! ```
//!
//! - A request holds a permit ([`batch::Permit`]) from its arrival until its answers are taken or its ticket
//!   is dropped; what is in flight is therefore bounded, and the counters cannot leak.
//! - Memory is asked for a request's rows as soon as they are tokenised. What it does not know is asked for on disk
//!   and at a server only after that ([`Admitted::may_wait`]), for callers whose threads must not stand still.
//! - A request whose rows are all cached is answered within `submit`, and touches neither queue nor workers.
//! - The queue and the list of rows in flight ([`flights`]) stand under one lock, which nobody holds while
//!   tokenising or computing. A worker takes a batch under the same lock as it looks for one.
//! - A worker takes its batch when it may compute ([`compute`]), not before: while other models have the
//!   threads, what comes is batched together.
//! - Between two layers of a batch, its worker runs what would have gone before it had it been there, if that
//!   is small beside it: a short text does not wait for the end of a long one, or of a large request's batch.
//! - If a batch is all that waits and every thread is idle, all of them share its products; else each worker
//!   runs batches of its own.

mod compute;
mod flights;
mod histogram;
mod request;
mod settings;
mod stats;
mod submit;
#[cfg(test)]
mod tests;
mod ticket;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use batch::{Admission, Budget, QueuePolicy};

pub use batch::QueueLimits;
pub use compute::Compute;
use flights::Flights;
pub use histogram::HistogramStats;
pub use request::{Deadline, Priority, Reading, Refused, Request};
pub use settings::{ServiceLimits, ServiceSettings};
use stats::Counters;
pub use stats::ServiceStats;
pub use submit::Admitted;
use submit::Refusals;
pub use ticket::{Served, Ticket, Timing, Wakers};
use worker::{Rate, Run};

use crate::error::Error;
use crate::model::Model;

/// A model being served. Clones share it.
///
/// ```no_run
/// use batchwright_engine::{Input, Model, Request, Service, ServiceSettings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = Model::builder("all-MiniLM-L6-v2").cache_entries(10_000).load()?;
/// let service = Service::start(model, ServiceSettings::default())?;
/// let ticket = service.submit(Request::new(vec![Input::from("turn on the lights")]))?;
/// for answer in ticket.wait().answers {
///     println!("{:?}", service.model().render(&answer?));
/// }
/// service.close();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Service {
    handle: Arc<Handle>,
}

/// Whether a service does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Well,
    /// A batch takes longer than [`wedged_after`](ServiceSettings::wedged_after).
    Wedged {
        /// How long it has been computing.
        batch: Duration,
    },
    /// A row has waited longer than that for a thread.
    Stalled {
        /// How long it has waited.
        waiting: Duration,
    },
    /// No thread computes any more.
    NoWorkers,
}

impl Health {
    /// Whether it does its work.
    pub fn is_well(self) -> bool {
        self == Self::Well
    }
}

/// Closes the service when its last handle goes.
struct Handle {
    shared: Arc<Shared>,
}

/// What the handles, the tickets and the workers of a service have in common.
struct Shared {
    model: Model,
    run: Box<dyn Run>,
    settings: RwLock<ServiceSettings>,
    counters: Counters,
    admission: Admission,
    state: Mutex<State>,
    /// Something to do, or to end for.
    work: Condvar,
    /// Nothing in flight any more, or a worker less.
    quiet: Condvar,
    /// Set under the lock of `state`.
    closed: AtomicBool,
    /// Times are counted from here.
    epoch: Instant,
    /// For each worker, when its batch began, in nanoseconds; 0 while it has none.
    began: Box<[AtomicU64]>,
    /// When a batch ended last, in nanoseconds.
    landed: AtomicU64,
    /// How several tasks are woken, if not one after the other.
    wake_by: OnceLock<Box<WakeBy>>,
}

type WakeBy = dyn Fn(Wakers) + Send + Sync;

struct State {
    flights: Flights,
    budget: Budget,
    rate: Rate,
    /// Workers that wait for something to do.
    idle: usize,
    /// Workers that compute a batch or tell those who wait for it.
    busy: usize,
    workers: usize,
    /// Requests of which a part is queued and another will be.
    entering: usize,
}

impl Service {
    /// Starts serving a model, on as many threads as it computes with.
    ///
    /// # Errors
    /// If a setting cannot be honoured, or the system refuses to start threads.
    pub fn start(model: Model, settings: ServiceSettings) -> Result<Self, Error> {
        let compute = Compute::new(model.threads());
        Self::start_on(&compute, model, settings)
    }

    /// Starts serving a model on threads that it shares with other services.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        compute: &Compute,
        model: Model,
        settings: ServiceSettings,
    ) -> Result<Self, Error> {
        let run = Box::new(Arc::clone(model.core()));
        Self::start_with(compute, model, settings, run)
    }

    /// The same with something else that computes, for tests.
    fn start_with(
        compute: &Compute,
        model: Model,
        settings: ServiceSettings,
        run: Box<dyn Run>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let workers = model.threads();
        let state = State {
            flights: Flights::new(settings.queue, QueuePolicy::default()),
            budget: Budget::tokens(1),
            rate: Rate::default(),
            idle: 0,
            busy: 0,
            workers: 0,
            entering: 0,
        };
        let shared = Arc::new(Shared {
            run,
            admission: Admission::new(settings.limits.most()),
            settings: RwLock::new(settings.clone()),
            counters: Counters::default(),
            state: Mutex::new(state),
            work: Condvar::new(),
            quiet: Condvar::new(),
            closed: AtomicBool::new(false),
            epoch: Instant::now(),
            began: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            landed: AtomicU64::new(0),
            wake_by: OnceLock::new(),
            model,
        });
        shared.apply(settings);
        let service = Self {
            handle: Arc::new(Handle {
                shared: Arc::clone(&shared),
            }),
        };
        let seat = Arc::new(compute.join());
        for number in 0..workers {
            // A thread that the system refuses makes the service slower, nothing else, unless it
            // refuses all.
            match shared.start_worker(number, &seat) {
                Err(error) if number == 0 => {
                    let problem = format!("the system refuses to start a thread: {error}");
                    return Err(Error::Option {
                        name: "threads",
                        problem,
                    });
                }
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(service)
    }

    /// The model that is served.
    pub fn model(&self) -> &Model {
        &self.handle.shared.model
    }

    /// Takes a request on. It tokenises on the calling thread, a short text for microseconds, ten thousand long ones
    /// for some tenths of a second; and it waits for a cache on disk or at a server, for milliseconds, if it has one
    /// and memory does not know every row. [`admit`](Self::admit) does all but the waiting.
    ///
    /// # Errors
    /// If the service is closed, or the request is beyond a limit.
    pub fn submit(&self, request: Request) -> Result<Ticket, Refused> {
        self.admit(request)?.submit()
    }

    /// The first half of [`submit`](Self::submit), which waits for nothing: the request is admitted, tokenised, and
    /// looked up in memory.
    ///
    /// # Errors
    /// If the service is closed, or the request is beyond a limit.
    pub fn admit(&self, request: Request) -> Result<Admitted, Refused> {
        let shared = &self.handle.shared;
        let admitted = shared.admit(request, Refusals::Counted);
        shared.counted(admitted, Refusals::Counted)
    }

    /// As [`admit`](Self::admit), for callers that come again with the same: while nothing has room it is refused
    /// before it is tokenised, and what is refused with [`Refused::TooMany`], here or when it is submitted, is not
    /// counted as refused.
    ///
    /// # Errors
    /// If the service is closed, or the request is beyond a limit.
    pub fn offer(&self, request: Request) -> Result<Admitted, Refused> {
        let shared = &self.handle.shared;
        shared.room()?;
        let admitted = shared.admit(request, Refusals::Retried);
        shared.counted(admitted, Refusals::Retried)
    }

    /// Says how tasks are woken whose answers are there together, when a batch ends: `wake` is given them in one
    /// piece, and wakes them by dropping it. Each by itself, from a thread that computes, they could wake the runtime's
    /// thread as many times. The first call counts; a task alone is woken at once.
    ///
    /// `wake` runs on a thread that computes, also between the layers of another batch, where no runtime is entered:
    /// it must not block, and what it hands to a runtime goes by a handle, of the one on which the requests' tasks
    /// run. Tasks whose piece is kept, or forgotten, wait as long. If it panics they are woken. It must not own this
    /// service, which would then never end.
    ///
    /// ```
    /// # fn example(service: &batchwright_engine::Service) {
    /// let (tell, told) = std::sync::mpsc::channel();
    /// std::thread::spawn(move || told.iter().for_each(drop));
    /// service.wake_by(move |wakers| drop(tell.send(wakers)));
    /// # }
    /// ```
    pub fn wake_by(&self, wake: impl Fn(Wakers) + Send + Sync + 'static) {
        let _ = self.handle.shared.wake_by.set(Box::new(wake));
    }

    /// The settings in force.
    pub fn settings(&self) -> ServiceSettings {
        let settings = self.handle.shared.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the settings. Lower limits let be what is in flight, and what waits keeps its place.
    ///
    /// # Errors
    /// If one cannot be honoured; then all stay as they are.
    pub fn set(&self, settings: ServiceSettings) -> Result<(), Error> {
        settings.check()?;
        self.handle.shared.apply(settings);
        Ok(())
    }

    /// What it has done and is doing.
    pub fn stats(&self) -> ServiceStats {
        let shared = &self.handle.shared;
        let in_flight = shared.admission.held();
        let counted = shared.counters.stats();
        let state = shared.lock();
        let queue = state.flights.queue.held();
        ServiceStats {
            worker_panics: counted.worker_panics + shared.model.core().executor.panics(),
            requests_in_flight: in_flight.requests as u64,
            tokens_in_flight: in_flight.tokens as u64,
            bytes_in_flight: in_flight.bytes as u64,
            queue_entries: queue.entries as u64,
            queue_tokens: queue.tokens as u64,
            queue_bytes: queue.bytes as u64,
            workers: state.workers as u64,
            workers_busy: state.busy as u64,
            cache: shared.model.cache_stats(),
            ..counted
        }
    }

    /// Whether it does its work. Cheap enough to be asked every second.
    pub fn health(&self) -> Health {
        let shared = &self.handle.shared;
        let limit = self.settings().wedged_after;
        let now = shared.now();
        let since = |ns: u64| now.saturating_sub(Duration::from_nanos(ns));
        let began = shared.began.iter().map(|began| began.load(SeqCst));
        let longest = began.filter(|&ns| ns > 0).map(since).max();
        if let Some(batch) = longest.filter(|&batch| batch > limit) {
            return Health::Wedged { batch };
        }
        let state = shared.lock();
        if state.workers == 0 && !shared.closed.load(SeqCst) {
            return Health::NoWorkers;
        }
        // A long queue is no fault as long as it moves.
        let waiting = state.flights.queue.oldest();
        let waiting = waiting.map(|arrived| now.saturating_sub(arrived));
        let waiting = waiting.map(|waiting| waiting.min(since(shared.landed.load(SeqCst))));
        match waiting.filter(|&waiting| waiting > limit) {
            Some(waiting) => Health::Stalled { waiting },
            None => Health::Well,
        }
    }

    /// Refuses new requests from now on; those accepted are answered, and then its threads end. Dropping
    /// the last handle does the same.
    pub fn close(&self) {
        self.handle.shared.close();
    }

    /// Waits until everything accepted is answered or abandoned (and after [`close`](Self::close), until
    /// its threads have ended), but no longer than `within`; says whether it is.
    pub fn drained(&self, within: Duration) -> bool {
        let shared = &self.handle.shared;
        let busy = |state: &mut State| {
            let threads = shared.closed.load(SeqCst) && state.workers > 0;
            !state.flights.is_empty() || state.entering + state.busy > 0 || threads
        };
        let waited = shared.quiet.wait_timeout_while(shared.lock(), within, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !busy(&mut state)
    }
}

impl Shared {
    /// Puts settings into force.
    fn apply(&self, settings: ServiceSettings) {
        self.admission.set_most(settings.limits.most());
        let model = self.model.core().settings.budget;
        let mut state = self.lock();
        state.budget = Budget {
            tokens: settings.batch_tokens.unwrap_or(model.tokens),
            rows: settings.batch_rows.unwrap_or(model.rows),
            workers: 1,
        };
        let queue = &mut state.flights.queue;
        queue.set_limits(settings.queue);
        queue.set_policy(QueuePolicy {
            ageing: settings.ageing,
            max_wait: settings.max_wait,
            ..queue.policy()
        });
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
        drop(state);
        self.work.notify_all();
    }

    fn close(&self) {
        let state = self.lock();
        self.closed.store(true, SeqCst);
        drop(state);
        self.work.notify_all();
        self.quiet.notify_all();
    }

    /// Time since the service began.
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// What panics under the lock is a bug, and may have cost a row; it must not cost all others.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Service");
        out.field("model", self.model()).finish_non_exhaustive()
    }
}
