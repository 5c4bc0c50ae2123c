//! The distinct rows in flight: who waits for which, and which run next.
//!
//! A row is in flight from when somebody asks for it until its answer is there. Whoever asks for an equal
//! one meanwhile waits for the same flight, whether it is queued or being computed, so that it is computed
//! once. A flight waits as the most urgent of those who wait for it would; it is given up when the last of
//! them is gone. There are no threads and no locks here: [`Shared`](super::Shared) has them.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batch::{
    Batch, Budget, Entry, Full, Held, Padding, Place, Queue, QueueLimits, QueuePolicy, Take,
};

use super::ticket::Pending;
use crate::cache::{Key, KeyHasher};
use crate::execute::TokenRow;
use crate::pipeline::CacheUse;
use crate::prepare::Unique;

pub(super) struct Flights {
    pub(super) queue: Queue<u32>,
    slots: Vec<Option<Flight>>,
    free: Vec<u32>,
    by_key: HashMap<Key, u32, BuildHasherDefault<KeyHasher>>,
    /// Room in the queue that is promised to requests that are still coming in.
    reserved: Held,
}

struct Flight {
    key: Key,
    cache: CacheUse,
    /// With the worker while it is computed.
    tokens: Option<TokenRow>,
    entry: Entry,
    /// `None` once it has left the queue.
    place: Option<Place>,
    waiters: Vec<Waiter>,
}

/// A request that waits for a flight.
pub(super) struct Waiter {
    pub(super) pending: Arc<Pending>,
    /// Which of the request's distinct rows it is.
    pub(super) row: u32,
    /// How many rows of the request that stands for.
    pub(super) rows: u32,
    /// When it began to wait.
    pub(super) since: Instant,
    /// How it would have the flight wait.
    pub(super) entry: Entry,
}

/// Rows to compute together.
pub(super) struct Work {
    pub(super) flights: Vec<u32>,
    pub(super) rows: Vec<Row>,
    pub(super) padding: Padding,
    /// When the first of them was due.
    pub(super) due: Duration,
}

/// A row to compute.
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) cache: CacheUse,
    pub(super) tokens: TokenRow,
}

/// What is to be done next.
pub(super) enum Next {
    Work(Work),
    /// For these it is too late.
    Late(Vec<Waiter>),
    Wait(Duration),
    Nothing,
}

impl Flights {
    pub(super) fn new(limits: QueueLimits, policy: QueuePolicy) -> Self {
        Self {
            queue: Queue::new(limits, policy),
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            reserved: Held::default(),
        }
    }

    /// Whether no row is queued or computed.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Whether an equal row is in flight already.
    pub(super) fn knows(&self, unique: &Unique) -> bool {
        self.by_key.contains_key(&unique.key)
    }

    /// Promises room in the queue; [`enter`](Self::enter) uses it up, [`release`](Self::release) gives
    /// the rest back.
    /// Whether so much could be reserved.
    pub(super) fn admits(&self, more: Held) -> Result<(), Full> {
        self.queue.admits(self.reserved.and(more))
    }

    pub(super) fn reserve(&mut self, more: Held) -> Result<(), Full> {
        let sum = self.reserved.and(more);
        self.queue.admits(sum)?;
        self.reserved = sum;
        Ok(())
    }

    pub(super) fn release(&mut self, promised: Held) {
        self.reserved = self.reserved.less(promised);
    }

    /// Lets a request wait for a row: on the flight that there is, or on one of its own, for which room
    /// was reserved. Gives the flight.
    pub(super) fn enter(
        &mut self,
        row: TokenRow,
        key: Key,
        cache: CacheUse,
        waiter: Waiter,
    ) -> u32 {
        let shared = (cache == CacheUse::Yes).then(|| self.by_key.get(&key));
        if let Some(&number) = shared.flatten()
            && let Some(flight) = &mut self.slots[number as usize]
        {
            let entry = more_urgent(flight.entry, waiter.entry);
            flight.waiters.push(waiter);
            if let Some(place) = flight.place
                && entry != flight.entry
            {
                flight.entry = entry;
                self.queue.change(place, entry);
            }
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let entry = waiter.entry;
        self.slots[number as usize] = Some(Flight {
            key,
            cache,
            tokens: Some(row),
            entry,
            place: Some(self.queue.put(entry, number)),
            waiters: vec![waiter],
        });
        if cache == CacheUse::Yes {
            self.by_key.insert(key, number);
        }
        number
    }

    /// A request waits no more for these flights.
    pub(super) fn leave(&mut self, pending: &Arc<Pending>, flights: &[u32]) {
        for &number in flights {
            // The number may be another flight's by now, for which the request does not wait.
            let Some(flight) = &mut self.slots[number as usize] else {
                continue;
            };
            let before = flight.waiters.len();
            flight
                .waiters
                .retain(|waiter| !Arc::ptr_eq(&waiter.pending, pending));
            if flight.waiters.is_empty()
                && before > 0
                && let Some(place) = flight.place
            {
                self.queue.remove(place);
                self.end(number);
            }
        }
    }

    /// What a worker should do, of `budget.workers` that have nothing to do.
    pub(super) fn next(&mut self, now: Duration, budget: Budget) -> Next {
        self.taken(now, |queue| queue.take(now, budget))
    }

    /// What a worker should do in the middle of a batch that was due at `due`.
    pub(super) fn next_before(&mut self, due: Duration, now: Duration, budget: Budget) -> Next {
        self.taken(now, |queue| queue.take_before(due, now, budget))
    }

    fn taken(&mut self, now: Duration, take: impl Fn(&mut Queue<u32>) -> Take<u32>) -> Next {
        loop {
            match take(&mut self.queue) {
                Take::Empty => return Next::Nothing,
                Take::Wait(until) => return Next::Wait(until),
                Take::Expired(numbers) => {
                    let late: Vec<Waiter> = numbers
                        .into_iter()
                        .flat_map(|number| self.expire(number, now))
                        .collect();
                    // Whoever had the first deadline may have given up since.
                    if !late.is_empty() {
                        return Next::Late(late);
                    }
                }
                Take::Batch(batch) => return Next::Work(self.work(batch)),
            }
        }
    }

    fn work(&mut self, batch: Batch<u32>) -> Work {
        let rows = batch.items.iter().filter_map(|&number| {
            let flight = self.slots[number as usize].as_mut()?;
            flight.place = None;
            Some(Row {
                key: flight.key,
                cache: flight.cache,
                tokens: flight.tokens.take().unwrap_or_default(),
            })
        });
        Work {
            rows: rows.collect(),
            flights: batch.items,
            padding: batch.padding,
            due: batch.due,
        }
    }

    /// A flight is over; gives those who wait for it, the first of whom it was computed for.
    pub(super) fn end(&mut self, number: u32) -> Vec<Waiter> {
        let Some(flight) = self.slots[number as usize].take() else {
            return Vec::new();
        };
        self.free.push(number);
        if self.by_key.get(&flight.key) == Some(&number) {
            self.by_key.remove(&flight.key);
        }
        flight.waiters
    }

    /// Takes out those for whom it is too late; the flight, which has left the queue, goes back if
    /// somebody is left.
    fn expire(&mut self, number: u32, now: Duration) -> Vec<Waiter> {
        let Some(flight) = &mut self.slots[number as usize] else {
            return Vec::new();
        };
        let is_late = |waiter: &mut Waiter| waiter.entry.deadline.is_some_and(|at| at <= now);
        let late = flight.waiters.extract_if(.., is_late).collect();
        match flight.waiters.iter().map(|w| w.entry).reduce(more_urgent) {
            Some(entry) => {
                flight.entry = entry;
                flight.place = Some(self.queue.put(entry, number));
            }
            None => drop(self.end(number)),
        }
        late
    }
}

/// The better of both in every way.
fn more_urgent(one: Entry, other: Entry) -> Entry {
    Entry {
        class: one.class.min(other.class),
        ahead: one.ahead.min(other.ahead),
        arrived: one.arrived.min(other.arrived),
        deadline: match (one.deadline, other.deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        ..one
    }
}
