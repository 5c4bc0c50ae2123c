//! How a request comes in: admitted, tokenised, looked up, and what is left of it queued.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use batch::{Entry, Full, Held, Load, Permit};
use networks::PromptPooling;
use text::Input;

use super::flights::Waiter;
use super::ticket::{Pending, Times, Wakers};
use super::{Deadline, Reading, Refused, Request, ServiceLimits, Shared, State, Ticket};
use crate::answer::{Origin, Outcome};
use crate::error::{RowError, codes};
use crate::pipeline::CacheUse;
use crate::prepare::{PreparedRow, PreparedWindow, Unique};

/// Rows that are queued under one lock: ten thousand would keep everybody out for milliseconds.
const ROWS_A_LOCK: usize = 256;

/// What a row takes besides its text, tokens and answer.
const ROW_BYTES: usize = 256;

/// No wait is told to last longer, or shorter, than this: what it is derived from is a guess.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// What of a request has to be computed.
struct Missing {
    /// With their numbers among the request's distinct rows.
    rows: Vec<(u32, Unique)>,
    class: u8,
    cache: CacheUse,
    deadline: Option<Instant>,
    /// When the request came.
    came: Instant,
}

/// What a request has of what may be in flight.
struct Claim {
    permit: Permit,
    load: Load,
}

/// Whether a request that finds no room counts as refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusals {
    Counted,
    /// It comes again.
    Retried,
}

/// A request that is admitted, tokenised, and looked up in memory: [`submit`](Self::submit) hands it over. Dropping
/// it gives back what it holds.
///
/// ```no_run
/// # use batchwright_engine::{Refused, Request, Service, Ticket};
/// fn submit(service: &Service, request: Request) -> Result<Ticket, Refused> {
///     let admitted = service.admit(request)?;
///     if admitted.may_wait() {
///         // For a disk or another server: better on a thread that may stand still.
///     }
///     admitted.submit()
/// }
/// ```
#[must_use = "an admitted request holds its place until it is submitted or dropped"]
pub struct Admitted {
    shared: Arc<Shared>,
    claim: Claim,
    refusals: Refusals,
    /// When it was handed in.
    arrived: Instant,
    rows: Vec<Result<PreparedRow, RowError>>,
    /// For how many rows each distinct one stands.
    counts: Vec<u32>,
    /// What is known of the distinct rows.
    outcomes: Vec<Option<Outcome>>,
    missing: Missing,
}

/// A request's rows on their way into the queue.
struct Entering<'a> {
    shared: &'a Shared,
    pending: &'a Arc<Pending>,
    since: Instant,
    cache: CacheUse,
    /// The next row's.
    entry: Entry,
    promise: Promise,
    flights: Vec<u32>,
    /// Rows that were computed since they were looked up.
    found: Vec<(u32, Outcome)>,
}

/// Room in the queue that is promised to a request.
#[derive(Clone, Copy)]
enum Promise {
    /// To the rows that are not in flight yet, which all enter under one lock.
    New(Held),
    /// To every row, for others may come in between; each gives its own back when it enters.
    Every(Held),
}

impl Shared {
    /// Admits a request, tokenises it and looks it up in memory.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: Request,
        refusals: Refusals,
    ) -> Result<Admitted, Refused> {
        let arrived = Instant::now();
        let (limits, default_deadline) = {
            let settings = self.settings.read();
            let settings = settings.unwrap_or_else(std::sync::PoisonError::into_inner);
            (settings.limits, settings.default_deadline)
        };
        let claim = self.claim(&request, limits)?;
        let came = request.arrived.map_or(arrived, |came| came.min(arrived));
        let mut missing = Missing {
            came,
            rows: Vec::new(),
            class: request.priority as u8,
            cache: request.cache,
            deadline: match request.deadline {
                Deadline::Default => default_deadline.and_then(|within| came.checked_add(within)),
                Deadline::Never => None,
                Deadline::At(at) => Some(at),
            },
        };
        let prepared = self.prepare(request.inputs, request.reading, request.prompt.as_deref());
        let counts = prepared.unique.iter().map(|unique| unique.count).collect();
        let core = self.model.core();
        let outcomes = core.all_in_memory(missing.cache, &prepared.unique);
        let numbered = (0..).zip(prepared.unique).zip(&outcomes);
        missing.rows = numbered
            .filter_map(|(row, outcome)| outcome.is_none().then_some(row))
            .collect();
        Ok(Admitted {
            shared: Arc::clone(self),
            claim,
            refusals,
            arrived,
            rows: prepared.rows,
            counts,
            outcomes,
            missing,
        })
    }

    /// A request's place among those in flight, if its size and they admit it.
    fn claim(&self, request: &Request, limits: ServiceLimits) -> Result<Claim, Refused> {
        if self.closed.load(SeqCst) {
            return Err(Refused::Closed);
        }
        let texts = request.inputs.len();
        if texts > limits.texts_per_request {
            return Err(Refused::TooLarge {
                limit: "texts_per_request",
                value: texts as u64,
                most: limits.texts_per_request as u64,
            });
        }
        let text_bytes: usize = request.inputs.iter().map(bytes_of).sum();
        // It is put before every text.
        let prompt = request.prompt.as_ref().map_or(0, String::len);
        let text_bytes = text_bytes.saturating_add(prompt.saturating_mul(texts));
        let load = Load::default();
        let permit = self.admission.admit(load).map_err(|full| self.full(full))?;
        let mut claim = Claim { permit, load };
        let taken = Load {
            requests: 1,
            bytes: text_bytes.saturating_add(texts.saturating_mul(ROW_BYTES)),
            tokens: 0,
        };
        claim.grow(self, taken)?;
        Ok(claim)
    }

    /// Counts a refusal, unless its request comes again.
    pub(super) fn counted<T>(
        &self,
        submitted: Result<T, Refused>,
        refusals: Refusals,
    ) -> Result<T, Refused> {
        match (&submitted, refusals) {
            (Ok(_), _) | (Err(Refused::TooMany { .. }), Refusals::Retried) => {}
            (Err(why), _) => self.counters.refused(why),
        }
        submitted
    }

    /// Whether there is room for one small row: costs a lock and no tokenising.
    pub(super) fn room(&self) -> Result<(), Refused> {
        let least = Load {
            requests: 1,
            tokens: 1,
            bytes: 1,
        };
        let _permit = self
            .admission
            .admit(least)
            .map_err(|full| self.full(full))?;
        let row = Held {
            entries: 1,
            tokens: 1,
            bytes: 1,
        };
        let state = self.lock();
        let admitted = state.flights.admits(row);
        admitted.map_err(|full| self.full_after(&state, full))
    }

    fn prepare(
        &self,
        inputs: Vec<Input>,
        reading: Reading,
        prompt: Option<&str>,
    ) -> PreparedWindow {
        let preparer = &self.model.core().preparer;
        let rows = inputs.into_iter().map(Ok).collect();
        let pooled = self.model.directory().prompt_pooling() == PromptPooling::Included;
        let prompt = prompt.filter(|_| pooled);
        if reading == Reading::default() && prompt.is_none() {
            return preparer.window(rows);
        }
        let mut encode = match prompt {
            Some(prompt) => preparer.prompted(prompt),
            None => preparer.encode.clone(),
        };
        encode.truncate = reading.truncate.unwrap_or(encode.truncate);
        encode.on_long = reading.on_long.unwrap_or(encode.on_long);
        let most = self.model.directory().max_tokens();
        let asked = reading.max_tokens.map(|asked| asked.clamp(1, most));
        encode.max_tokens = asked.or(encode.max_tokens);
        preparer.window_as(rows, &encode)
    }

    /// Queues what is missing, or lets it wait for equal rows in flight; gives the flights.
    fn enter(&self, missing: Missing, pending: &Arc<Pending>) -> Result<Vec<u32>, Refused> {
        let since = Instant::now();
        if missing.deadline.is_some_and(|deadline| deadline <= since) {
            self.fail_expired(&missing, pending, since);
            return Ok(Vec::new());
        }
        let mut state = self.lock();
        if self.closed.load(SeqCst) {
            return Err(Refused::Closed);
        }
        self.check_wait(&state, &missing, since)?;
        let promise = self.reserve(&mut state, &missing)?;
        self.counters.accepted();
        state.entering += 1;
        let mut entering = Entering {
            shared: self,
            pending,
            since,
            cache: missing.cache,
            entry: self.entry(&missing, since),
            promise,
            flights: Vec::with_capacity(missing.rows.len()),
            found: Vec::new(),
        };
        let mut rows = missing.rows.into_iter().peekable();
        while rows.peek().is_some() {
            for (number, row) in rows.by_ref().take(ROWS_A_LOCK) {
                entering.row(&mut state, number, row);
            }
            if state.idle > 0 {
                self.work.notify_one();
            }
            if rows.peek().is_some() {
                drop(state);
                state = self.lock();
            }
        }
        state.flights.release(entering.promise.held());
        if !entering.found.is_empty() {
            drop(state);
            let mut wakers = Wakers::default();
            let times = Times::at_once(since, since);
            for (row, outcome) in entering.found {
                self.deliver(pending, row, outcome, times, &mut wakers);
            }
            self.wake(wakers);
            state = self.lock();
        }
        self.entered(state);
        Ok(entering.flights)
    }

    /// Tells a request that its deadline has passed.
    fn fail_expired(&self, missing: &Missing, pending: &Arc<Pending>, now: Instant) {
        self.counters.accepted();
        let (code, words) = match missing.deadline <= Some(missing.came) {
            true => (
                codes::EXPIRED,
                "the deadline had passed when the request came; allow more time",
            ),
            false => (
                codes::DEADLINE,
                "the deadline passed while the request was read; allow more time, or send less at once",
            ),
        };
        let rows = missing.rows.iter().map(|&(row, _)| (row, pending, now));
        self.fail(rows, code, words);
    }

    /// Promises a request the room in the queue that it needs.
    fn reserve(&self, state: &mut State, missing: &Missing) -> Result<Promise, Refused> {
        let at_once = missing.rows.len() <= ROWS_A_LOCK;
        let is_new =
            |row: &Unique| missing.cache == CacheUse::No || !at_once || !state.flights.knows(row);
        let new = missing.rows.iter().filter(|(_, row)| is_new(row));
        let held = new
            .map(|(_, row)| held_by(row))
            .fold(Held::default(), Held::and);
        match state.flights.reserve(held) {
            Ok(()) if at_once => Ok(Promise::New(held)),
            Ok(()) => Ok(Promise::Every(held)),
            Err(full) if full.more > full.most => Err(too_large(full, full.more)),
            Err(full) => Err(self.full_after(state, full)),
        }
    }

    /// How a request's first row waits; its size is not in it.
    fn entry(&self, missing: &Missing, since: Instant) -> Entry {
        let time = |at: Instant| at.saturating_duration_since(self.epoch);
        Entry {
            class: missing.class,
            arrived: time(since),
            deadline: missing.deadline.map(time),
            ..Entry::default()
        }
    }

    /// All of a request's rows have come in.
    fn entered(&self, mut state: MutexGuard<'_, State>) {
        state.entering -= 1;
        let last = state.entering == 0 && self.closed.load(SeqCst);
        let quiet = state.entering + state.busy == 0 && state.flights.is_empty();
        drop(state);
        if last {
            self.work.notify_all();
        }
        if quiet {
            self.quiet.notify_all();
        }
    }

    /// Refuses a request that would not be answered in time: one that could not begin before half of its
    /// time is gone, or not end before all of it is. The other half is for whatever was not foreseen.
    fn check_wait(&self, state: &State, missing: &Missing, now: Instant) -> Result<(), Refused> {
        let Some(deadline) = missing.deadline else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(now);
        let ahead = state.flights.queue.tokens_before(missing.class);
        let begin = state.rate.time(ahead);
        let end = state.rate.time(ahead + missing.tokens());
        let late = begin.saturating_sub(left / 2).max(end.saturating_sub(left));
        if late.is_zero() {
            return Ok(());
        }
        Err(Refused::TooMany {
            limit: "wait_ms",
            value: end.as_millis() as u64,
            most: left.as_millis() as u64,
            retry_after: late.clamp(RETRY.0, RETRY.1),
        })
    }

    /// Tells requests that it is too late for rows of theirs.
    pub(super) fn fail_late<'a>(
        &self,
        rows: impl Iterator<Item = (u32, &'a Arc<Pending>, Instant)>,
    ) {
        let words = "the deadline passed while this row waited for a thread; allow more time, or send less at once";
        self.fail(rows, codes::DEADLINE, words);
    }

    fn fail<'a>(
        &self,
        rows: impl Iterator<Item = (u32, &'a Arc<Pending>, Instant)>,
        code: &'static str,
        words: &str,
    ) {
        let now = Instant::now();
        let mut wakers = Wakers::default();
        for (row, pending, since) in rows {
            let outcome = Outcome {
                origin: Origin::Computed,
                answer: Err(RowError::new(code, words)),
            };
            let times = Times::at_once(since, now);
            self.deliver(pending, row, outcome, times, &mut wakers);
        }
        self.wake(wakers);
    }

    /// Answers a row of a request, and the request if it was the last: then its task, if one waits, is put to those that
    /// are to be woken.
    pub(super) fn deliver(
        &self,
        pending: &Pending,
        row: u32,
        outcome: Outcome,
        times: Times,
        wakers: &mut Wakers,
    ) {
        if let Some(done) = pending.deliver(row, outcome, times) {
            self.counters.answered(done.timing, done.rows);
            done.tell(wakers);
        }
    }

    /// Wakes tasks, several in the way that their runtime prefers.
    pub(super) fn wake(&self, wakers: Wakers) {
        if let Some(wake) = self.wake_by.get()
            && wakers.is_several()
        {
            // The caller's code: a panic in it wakes them as well, and must not cost others their answers.
            let _ = catch_unwind(AssertUnwindSafe(|| wake(wakers)));
        }
    }

    /// Nobody waits for a request any more.
    pub(super) fn abandon(&self, pending: &Arc<Pending>, flights: &[u32]) {
        self.counters.abandoned();
        let mut state = self.lock();
        state.flights.leave(pending, flights);
        let quiet = state.flights.is_empty();
        drop(state);
        if quiet {
            self.quiet.notify_all();
        }
    }

    fn full(&self, full: Full) -> Refused {
        self.full_after(&self.lock(), full)
    }

    /// There is likely to be room when what waits now is done.
    fn full_after(&self, state: &State, full: Full) -> Refused {
        let wait = state.rate.time(state.flights.queue.held().tokens);
        Refused::TooMany {
            limit: full.limit,
            value: (full.held + full.more) as u64,
            most: full.most as u64,
            retry_after: wait.clamp(RETRY.0, RETRY.1),
        }
    }
}

impl Missing {
    fn tokens(&self) -> usize {
        self.rows.iter().map(|(_, row)| row.tokens.ids.len()).sum()
    }
}

impl Claim {
    /// Takes more, or leaves everything as it is.
    fn grow(&mut self, shared: &Shared, more: Load) -> Result<(), Refused> {
        self.load.requests += more.requests;
        self.load.tokens += more.tokens;
        self.load.bytes = self.load.bytes.saturating_add(more.bytes);
        let Load { tokens, bytes, .. } = self.load;
        self.permit.grow(more).map_err(|full| match full.limit {
            "tokens" if tokens > full.most => too_large(full, tokens),
            "bytes" if bytes > full.most => too_large(full, bytes),
            _ => shared.full(full),
        })
    }
}

impl Admitted {
    /// Whether [`submit`](Self::submit) may wait for some milliseconds: it asks a cache on disk or at a server for
    /// rows that memory does not know.
    pub fn may_wait(&self) -> bool {
        let cache = &self.shared.model.core().cache;
        let is_asked = self.missing.cache == CacheUse::Yes && cache.is_beyond_memory();
        is_asked && !self.missing.rows.is_empty()
    }

    /// Hands the request over: what no cache knows is queued.
    ///
    /// # Errors
    /// If the service is closed, or the request is beyond a limit.
    pub fn submit(self) -> Result<Ticket, Refused> {
        let (shared, refusals) = (Arc::clone(&self.shared), self.refusals);
        shared.counted(self.hand_over(), refusals)
    }

    fn hand_over(mut self) -> Result<Ticket, Refused> {
        if self.may_wait() {
            self.look_beyond_memory();
        }
        self.claim_answers()?;
        let Self {
            shared,
            claim,
            arrived,
            rows,
            counts,
            outcomes,
            missing,
            ..
        } = self;
        let pending = Arc::new(Pending::new(rows, counts, outcomes, arrived));
        let flights = match pending.done_at_once() {
            Some((timing, rows)) => {
                shared.counters.accepted();
                shared.counters.answered(timing, rows);
                Vec::new()
            }
            None => shared.enter(missing, &pending)?,
        };
        Ok(Ticket {
            pending,
            shared,
            flights,
            permit: Some(claim.permit),
        })
    }

    /// Asks the tiers of the cache that may wait for what memory does not know.
    fn look_beyond_memory(&mut self) {
        let rows: Vec<&Unique> = self.missing.rows.iter().map(|(_, row)| row).collect();
        let found = self.shared.model.core().beyond_memory(&rows);
        let outcomes = &mut self.outcomes;
        let mut found = found.into_iter();
        self.missing.rows.retain(|&(number, _)| {
            let outcome = found.next().flatten();
            let is_missing = outcome.is_none();
            if !is_missing {
                outcomes[number as usize] = outcome;
            }
            is_missing
        });
    }

    /// Room for the tokens of what is missing, and for its answers.
    fn claim_answers(&mut self) -> Result<(), Refused> {
        let tokens = self.missing.tokens();
        let network = self.shared.model.core().executor.network();
        let rows = self.missing.rows.iter();
        let answers: usize = rows
            .map(|(_, row)| network.answer_width(row.tokens.ids.len()))
            .sum();
        let taken = Load {
            requests: 0,
            tokens,
            bytes: size_of::<u32>() * (tokens + answers),
        };
        self.claim.grow(&self.shared, taken)
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Admitted");
        out.field("missing", &self.missing.rows.len())
            .finish_non_exhaustive()
    }
}

impl Entering<'_> {
    /// Lets a row wait for its answer, unless it has been computed since it was looked up.
    fn row(&mut self, state: &mut State, number: u32, row: Unique) {
        let held = held_by(&row);
        if let Promise::Every(rest) = &mut self.promise {
            state.flights.release(held);
            *rest = rest.less(held);
        }
        if self.cache == CacheUse::Yes
            && !state.flights.knows(&row)
            && let Some(outcome) = self.shared.model.core().cached_in_memory(&row)
        {
            self.found.push((number, outcome));
            return;
        }
        self.entry.tokens = held.tokens;
        self.entry.bytes = held.bytes;
        let waiter = Waiter {
            pending: Arc::clone(self.pending),
            row: number,
            rows: row.count,
            since: self.since,
            entry: self.entry,
        };
        self.entry.ahead += held.tokens as u64;
        let flights = &mut state.flights;
        let flight = flights.enter(row.tokens, row.key, self.cache, waiter);
        self.flights.push(flight);
    }
}

impl Promise {
    /// What is left of it.
    fn held(self) -> Held {
        match self {
            Self::New(held) | Self::Every(held) => held,
        }
    }
}

/// What a row takes of the queue.
fn held_by(row: &Unique) -> Held {
    let tokens = row.tokens.ids.len();
    Held {
        entries: 1,
        tokens,
        bytes: size_of::<u32>() * tokens + row.tokens.types.len(),
    }
}

fn too_large(full: Full, value: usize) -> Refused {
    Refused::TooLarge {
        limit: full.limit,
        value: value as u64,
        most: full.most as u64,
    }
}

fn bytes_of(input: &Input) -> usize {
    input.text().len() + input.pair().map_or(0, str::len)
}
