//! How a request comes in: admitted, tokenised, looked up, and what is left of it queued.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use batch::{Entry, Full, Held, Load, Permit};
use networks::PromptPooling;
use text::Input;

use super::flights::Waiter;
use super::ticket::Pending;
use super::{Deadline, Reading, Refused, Request, Shared, State, Ticket};
use crate::answer::{Origin, Outcome};
use crate::error::{RowError, codes};
use crate::pipeline::CacheUse;
use crate::prepare::{PreparedWindow, Unique};

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
    tokens: usize,
    class: u8,
    cache: CacheUse,
    deadline: Option<Instant>,
    /// When the request came.
    came: Instant,
}

impl Shared {
    pub(super) fn submit(self: &Arc<Self>, request: Request) -> Result<Ticket, Refused> {
        let arrived = Instant::now();
        if self.closed.load(SeqCst) {
            return Err(Refused::Closed);
        }
        let (limits, default_deadline) = {
            let settings = self.settings.read();
            let settings = settings.unwrap_or_else(std::sync::PoisonError::into_inner);
            (settings.limits, settings.default_deadline)
        };
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
        let mut load = Load::default();
        let mut permit = self.admission.admit(load).map_err(|full| self.full(full))?;
        let mut admit = |permit: &mut Permit, more: Load| {
            load.requests += more.requests;
            load.tokens += more.tokens;
            load.bytes = load.bytes.saturating_add(more.bytes);
            let own = [load.requests, load.tokens, load.bytes];
            permit.grow(more).map_err(|full| match full.limit {
                "tokens" if own[1] > full.most => too_large(full, own[1]),
                "bytes" if own[2] > full.most => too_large(full, own[2]),
                _ => self.full(full),
            })
        };
        let taken = Load {
            requests: 1,
            bytes: text_bytes.saturating_add(texts.saturating_mul(ROW_BYTES)),
            tokens: 0,
        };
        admit(&mut permit, taken)?;

        let prepared = self.prepare(request.inputs, request.reading, request.prompt.as_deref());
        let counts = prepared.unique.iter().map(|unique| unique.count).collect();
        let came = request.arrived.map_or(arrived, |came| came.min(arrived));
        let mut missing = Missing {
            came,
            rows: Vec::new(),
            tokens: 0,
            class: request.priority as u8,
            cache: request.cache,
            deadline: match request.deadline {
                Deadline::Default => default_deadline.and_then(|within| came.checked_add(within)),
                Deadline::Never => None,
                Deadline::At(at) => Some(at),
            },
        };
        let outcomes = self.look_up(prepared.unique, &mut missing);
        let network = self.model.core().executor.network();
        let lengths = missing.rows.iter().map(|(_, row)| row.tokens.ids.len());
        let answers: usize = lengths.map(|tokens| network.answer_width(tokens)).sum();
        let taken = Load {
            requests: 0,
            tokens: missing.tokens,
            bytes: size_of::<u32>() * (missing.tokens + answers),
        };
        admit(&mut permit, taken)?;

        let pending = Arc::new(Pending::new(prepared.rows, counts, outcomes, arrived));
        let flights = match pending.done_at_once() {
            Some((timing, rows)) => {
                self.counters.accepted();
                self.counters.answered(timing, rows);
                Vec::new()
            }
            None => self.enter(missing, &pending)?,
        };
        Ok(Ticket {
            pending,
            shared: Arc::clone(self),
            flights,
            permit: Some(permit),
        })
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

    /// What the cache knows of distinct rows, one for each; the others go to `missing`.
    fn look_up(&self, unique: Vec<Unique>, missing: &mut Missing) -> Vec<Option<Outcome>> {
        let outcomes = self.model.core().cached_all(missing.cache, &unique);
        for ((number, unique), cached) in (0..).zip(unique).zip(&outcomes) {
            if cached.is_none() {
                missing.tokens += unique.tokens.ids.len();
                missing.rows.push((number, unique));
            }
        }
        outcomes
    }

    /// Queues what is missing, or lets it wait for equal rows in flight; gives the flights.
    fn enter(&self, missing: Missing, pending: &Arc<Pending>) -> Result<Vec<u32>, Refused> {
        let since = Instant::now();
        if missing.deadline.is_some_and(|deadline| deadline <= since) {
            self.counters.accepted();
            let rows = missing.rows.iter().map(|&(row, _)| (row, pending, since));
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
            self.fail(rows, code, words);
            return Ok(Vec::new());
        }
        let arrived = since.saturating_duration_since(self.epoch);
        let mut entry = Entry {
            class: missing.class,
            arrived,
            deadline: missing
                .deadline
                .map(|deadline| deadline.saturating_duration_since(self.epoch)),
            ..Entry::default()
        };
        let held_by = |row: &Unique| {
            let tokens = row.tokens.ids.len();
            Held {
                entries: 1,
                tokens,
                bytes: size_of::<u32>() * tokens + row.tokens.types.len(),
            }
        };
        let mut flights = Vec::with_capacity(missing.rows.len());
        let mut found = Vec::new();
        let at_once = missing.rows.len() <= ROWS_A_LOCK;

        let mut state = self.lock();
        if self.closed.load(SeqCst) {
            return Err(Refused::Closed);
        }
        self.check_wait(&state, &missing, since)?;
        let is_new =
            |row: &Unique| missing.cache == CacheUse::No || !at_once || !state.flights.knows(row);
        let new = missing.rows.iter().filter(|(_, row)| is_new(row));
        let mut reserved = new
            .map(|(_, row)| held_by(row))
            .fold(Held::default(), Held::and);
        state.flights.reserve(reserved).map_err(|full| {
            if full.more > full.most {
                too_large(full, full.more)
            } else {
                self.full_after(&state, full)
            }
        })?;
        self.counters.accepted();
        state.entering += 1;
        let mut rows = missing.rows.into_iter().peekable();
        while rows.peek().is_some() {
            for (number, row) in rows.by_ref().take(ROWS_A_LOCK) {
                let held = held_by(&row);
                if !at_once {
                    state.flights.release(held);
                    reserved = reserved.less(held);
                }
                // It may have been computed since it was looked up.
                if missing.cache == CacheUse::Yes
                    && !state.flights.knows(&row)
                    && let Some(outcome) = self.model.core().cached_in_memory(&row)
                {
                    found.push((number, outcome));
                    continue;
                }
                entry.tokens = held.tokens;
                entry.bytes = held.bytes;
                let waiter = Waiter {
                    pending: Arc::clone(pending),
                    row: number,
                    rows: row.count,
                    since,
                    entry,
                };
                entry.ahead += held.tokens as u64;
                let flight = state
                    .flights
                    .enter(row.tokens, row.key, missing.cache, waiter);
                flights.push(flight);
            }
            if state.idle > 0 {
                self.work.notify_one();
            }
            if rows.peek().is_some() {
                drop(state);
                state = self.lock();
            }
        }
        state.flights.release(reserved);
        if !found.is_empty() {
            drop(state);
            for (row, outcome) in found {
                self.deliver(pending, row, outcome, since, since, since);
            }
            state = self.lock();
        }
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
        Ok(flights)
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
        let end = state.rate.time(ahead + missing.tokens);
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
        for (row, pending, since) in rows {
            let outcome = Outcome {
                origin: Origin::Computed,
                answer: Err(RowError::new(code, words)),
            };
            self.deliver(pending, row, outcome, since, now, now);
        }
    }

    /// Answers a row of a request, and the request if it was the last.
    pub(super) fn deliver(
        &self,
        pending: &Pending,
        row: u32,
        outcome: Outcome,
        since: Instant,
        start: Instant,
        end: Instant,
    ) {
        if let Some(done) = pending.deliver(row, outcome, since, start, end) {
            self.counters.answered(done.timing, done.rows);
            done.tell();
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
