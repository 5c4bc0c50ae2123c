//! A loaded model being served: requests from many threads, batched together.

mod compute;
mod histogram;
mod request;
mod settings;
mod stats;
mod ticket;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};

pub use compute::Compute;
pub use histogram::HistogramStats;
pub use request::{Priority, Reading, Refused, Request};
pub use settings::{QueueLimits, ServiceLimits, ServiceSettings};
pub use stats::ServiceStats;
pub use ticket::{Served, Ticket, Timing};

use crate::error::Error;
use crate::model::Model;
use crate::pipeline::CacheUse;
use crate::prepare::Unique;
use stats::{Counters, RowCounts};
use ticket::Pending;

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

struct Shared {
    model: Model,
    settings: RwLock<ServiceSettings>,
    counters: Counters,
    closed: AtomicBool,
    in_flight: AtomicUsize,
    jobs: Sender<Job>,
}

struct Job {
    unique: Vec<Unique>,
    pending: Arc<Pending>,
    cache: CacheUse,
    queued: Instant,
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
        settings.check()?;
        let (jobs, work) = unbounded::<Job>();
        let shared = Arc::new(Shared {
            model,
            settings: RwLock::new(settings),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            jobs,
        });
        let seat = Arc::new(compute.join());
        for number in 0..shared.model.threads() {
            let (shared, work, seat) = (Arc::downgrade(&shared), work.clone(), Arc::clone(&seat));
            let thread = std::thread::Builder::new().name(format!("batchwright-serve-{number}"));
            let spawned = thread.spawn(move || {
                for job in work {
                    let Some(shared) = shared.upgrade() else {
                        break;
                    };
                    let mut right = seat.right();
                    let _ = right.grow();
                    shared.answer(job);
                }
            });
            if let (Err(error), 0) = (spawned, number) {
                return Err(Error::Option {
                    name: "threads",
                    problem: format!("the system refuses to start a thread: {error}"),
                });
            }
        }
        Ok(Self {
            handle: Arc::new(Handle { shared }),
        })
    }

    /// The model that is served.
    pub fn model(&self) -> &Model {
        &self.handle.shared.model
    }

    /// Takes a request on. It tokenises on the calling thread and never waits for anything: 10,000 long
    /// texts keep a thread for some tenths of a second, one for microseconds.
    ///
    /// # Errors
    /// If the service is closed, or the request is beyond a limit.
    pub fn submit(&self, request: Request) -> Result<Ticket, Refused> {
        let shared = &self.handle.shared;
        let submitted = shared.submit(request);
        if let Err(why) = &submitted {
            shared.counters.refused(why);
        }
        submitted
    }

    /// The settings in force.
    pub fn settings(&self) -> ServiceSettings {
        let settings = self.handle.shared.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the settings; what is in flight is not touched by lower limits.
    ///
    /// # Errors
    /// If one cannot be honoured; then all stay as they are.
    pub fn set(&self, settings: ServiceSettings) -> Result<(), Error> {
        settings.check()?;
        let mut place = self
            .handle
            .shared
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = settings;
        Ok(())
    }

    /// What it has done and is doing.
    pub fn stats(&self) -> ServiceStats {
        let shared = &self.handle.shared;
        ServiceStats {
            requests_in_flight: shared.in_flight.load(SeqCst) as u64,
            workers: shared.model.threads() as u64,
            cache: shared.model.cache_stats(),
            ..shared.counters.stats()
        }
    }

    /// Whether it does its work. Cheap enough to be asked every second.
    pub fn health(&self) -> Health {
        Health::Well
    }

    /// Refuses new requests from now on; those accepted are answered.
    pub fn close(&self) {
        self.handle.shared.closed.store(true, SeqCst);
    }

    /// Waits until everything accepted is answered, but no longer than `within`; says whether it is.
    pub fn drained(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.handle.shared.in_flight.load(SeqCst) > 0 {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Shared {
    fn submit(&self, request: Request) -> Result<Ticket, Refused> {
        let arrived = Instant::now();
        let limits = {
            let settings = self.settings.read();
            settings.unwrap_or_else(PoisonError::into_inner).limits
        };
        let texts = request.inputs.len();
        if texts > limits.texts_per_request {
            return Err(Refused::TooLarge {
                limit: "texts_per_request",
                value: texts as u64,
                most: limits.texts_per_request as u64,
            });
        }
        // In flight first: whoever closes and then sees none has seen all.
        let in_flight = self.in_flight.fetch_add(1, SeqCst) + 1;
        let refuse = |why| {
            self.in_flight.fetch_sub(1, SeqCst);
            Err(why)
        };
        if self.closed.load(SeqCst) {
            return refuse(Refused::Closed);
        }
        if in_flight > limits.requests {
            return refuse(Refused::TooMany {
                limit: "requests",
                value: in_flight as u64,
                most: limits.requests as u64,
                retry_after: Duration::from_secs(1),
            });
        }
        self.counters.accepted();
        let core = self.model.core();
        let prepared = core
            .preparer
            .window(request.inputs.into_iter().map(Ok).collect());
        let outcomes = prepared.unique.iter().map(|_| None).collect();
        let pending = Pending::new(prepared.rows, outcomes, arrived);
        let job = Job {
            unique: prepared.unique,
            pending: Arc::clone(&pending),
            cache: request.cache,
            queued: Instant::now(),
        };
        // The receivers are the workers, which stay as long as this does.
        let _ = self.jobs.send(job);
        Ok(Ticket::new(pending))
    }

    fn answer(&self, job: Job) {
        let start = Instant::now();
        let outcomes = self.model.core().outcomes_now(&job.unique, job.cache);
        let mut rows = RowCounts::default();
        for (unique, outcome) in job.unique.iter().zip(&outcomes) {
            if let Some(outcome) = outcome {
                rows.outcome(outcome, unique.count.into());
            }
        }
        let outcomes = (0..).zip(outcomes.into_iter().flatten());
        let (queue, compute) = (start - job.queued, start.elapsed());
        if let Some(timing) = job.pending.deliver(outcomes, queue, compute) {
            self.counters.answered(timing, rows);
        }
        self.in_flight.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Service");
        out.field("model", self.model()).finish_non_exhaustive()
    }
}
