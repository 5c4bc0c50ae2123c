//! What waits to be computed, and what of it runs next.
//!
//! Every entry has a time at which it is due, fixed when it comes; the entry that is due first heads the
//! next batch, and entries of about its length fill it. All that is promised about order follows from how
//! that time is chosen:
//!
//! ```text
//! due = arrived + ageing · class + pace · (tokens before it in its request + its own)
//!       but no later than half way to its deadline
//! ```
//!
//! - *Nothing starves*: whatever comes after an entry's due time is due later than the entry.
//! - *Classes*: an entry of a lower class is overtaken by those of the class above it that come within
//!   [`ageing`](QueuePolicy::ageing) after it.
//! - *Fair between requests*: the ten-thousandth text of a request is due when a machine that
//!   served the request alone, at its [`pace`](QueuePolicy::pace), would come to it. A single query in
//!   between goes first; two such requests take turns.
//! - *Short before long*: a long text is due later than a short one that came with it, by the time that
//!   it costs, and no more.
//!
//! Times are durations since an epoch of the caller's: the queue has no clock.
//!
//! ```
//! use batchwright_batch::{Budget, Entry, Queue, QueueLimits, QueuePolicy, Take};
//! use std::time::Duration;
//!
//! let mut queue = Queue::new(QueueLimits::default(), QueuePolicy::default());
//! let now = Duration::from_millis(5);
//! queue.push(Entry { tokens: 400, arrived: now, ..Entry::default() }, "long").unwrap();
//! queue.push(Entry { tokens: 12, arrived: now, ..Entry::default() }, "short").unwrap();
//! queue.push(Entry { tokens: 9, arrived: now, ..Entry::default() }, "shorter").unwrap();
//! match queue.take(now, Budget::tokens(384)) {
//!     Take::Batch(batch) => assert_eq!(batch.items, ["short", "shorter"]),
//!     other => panic!("{other:?}"),
//! }
//! ```

mod limits;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

pub use limits::{Full, Held, QueueLimits};

use crate::{Budget, Padding};

/// How a queue orders what waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// After how long a waiting entry stands level with newcomers of the class above its own.
    pub ageing: Duration,
    /// How long one request may claim the machine for a token, against requests that come later.
    /// Less than a token takes: long requests go before short ones that came later. Several times more:
    /// they are served at a fraction of the machine's rate while others wait.
    pub pace: Duration,
    /// How long an entry may wait for others to fill its batch; 0 takes what waits.
    pub max_wait: Duration,
}

/// What the queue must know about one thing that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its length.
    pub tokens: usize,
    /// Memory that it takes while it waits.
    pub bytes: usize,
    /// 0 goes first; at most [`CLASSES`](Queue::CLASSES) − 1.
    pub class: u8,
    /// Tokens of the same request that stand before it.
    pub ahead: u64,
    /// When it came.
    pub arrived: Duration,
    /// When nobody wants it any more.
    pub deadline: Option<Duration>,
}

/// Where an entry stands; good until the entry leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    slot: u32,
    sequence: u64,
}

/// What [`Queue::take`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take<T> {
    /// These run together.
    Batch(Batch<T>),
    /// These are past their deadlines; ask again.
    Expired(Vec<T>),
    /// Nothing before this time, unless more comes.
    Wait(Duration),
    /// Nothing waits.
    Empty,
}

/// Entries that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// In the order in which they were due.
    pub items: Vec<T>,
    /// When the first of them was due.
    pub due: Duration,
    /// What padding them to the longest would cost.
    pub padding: Padding,
}

/// What waits to be computed; see the head of this module.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    limits: QueueLimits,
    policy: QueuePolicy,
    held: Held,
    /// Tokens by class.
    waiting: [usize; CLASSES],
    /// By class and bucket.
    lanes: [[Lane; BUCKETS]; CLASSES],
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    deadlines: BTreeSet<(Duration, u32)>,
    next: u64,
}

/// Entries of one class and of about one length, by when they are due and then as they came.
type Lane = BTreeSet<Due>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    sequence: u64,
    slot: u32,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    entry: Entry,
    due: Due,
    item: T,
}

const CLASSES: usize = 3;
/// Lengths up to 16, 32, 64 and so on; the last takes all that is longer.
const BUCKETS: usize = 12;
const LEAST_BUCKET: usize = 16;

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            ageing: Duration::from_secs(1),
            pace: Duration::from_micros(500),
            max_wait: Duration::ZERO,
        }
    }
}

impl<T> Queue<T> {
    /// How many classes there are.
    pub const CLASSES: usize = CLASSES;

    /// An empty queue.
    pub fn new(limits: QueueLimits, policy: QueuePolicy) -> Self {
        Self {
            limits,
            policy,
            held: Held::default(),
            waiting: [0; CLASSES],
            lanes: Default::default(),
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BTreeSet::new(),
            next: 0,
        }
    }

    /// What waits in it.
    pub fn held(&self) -> Held {
        self.held
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.entries == 0
    }

    /// Tokens that wait in `class` and those before it: about what a newcomer of the class finds ahead.
    pub fn tokens_before(&self, class: u8) -> usize {
        self.waiting[..=class_of(class)].iter().sum()
    }

    /// When the longest waiting of those that would head a batch came.
    pub fn oldest(&self) -> Option<Duration> {
        let heads = self.lanes.iter().flatten().filter_map(BTreeSet::first);
        let slots = heads.filter_map(|due| self.slots[due.slot as usize].as_ref());
        slots.map(|slot| slot.entry.arrived).min()
    }

    /// The first deadline of all that waits.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// How what comes from now on is ordered; what waits already keeps its place.
    pub fn set_policy(&mut self, policy: QueuePolicy) {
        self.policy = policy;
    }

    /// The order in force.
    pub fn policy(&self) -> QueuePolicy {
        self.policy
    }

    /// How much may wait from now on; what waits already stays.
    pub fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
    }

    /// Whether this much more would be taken in; all of it or nothing.
    ///
    /// # Errors
    /// The first limit in the way.
    pub fn admits(&self, more: Held) -> Result<(), Full> {
        self.limits.admit(self.held, more)
    }

    /// Takes an entry in.
    ///
    /// # Errors
    /// If it would pass a limit.
    pub fn push(&mut self, entry: Entry, item: T) -> Result<Place, Full> {
        self.admits(Held::of(&entry))?;
        Ok(self.put(entry, item))
    }

    /// Takes an entry in whatever the limits say: for what was [admitted](Self::admits) before.
    pub fn put(&mut self, entry: Entry, item: T) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let place = Place {
            slot,
            sequence: self.next,
        };
        self.next += 1;
        self.insert(entry, place, item);
        place
    }

    /// Lets an entry wait as another would, in the same place; false if it has left. This passes over
    /// the limits.
    pub fn change(&mut self, place: Place, entry: Entry) -> bool {
        let Some(item) = self.remove(place) else {
            return false;
        };
        // Its slot, which was freed just now, stays its own.
        self.free.pop();
        self.insert(entry, place, item);
        true
    }

    /// Takes an entry out, unless it has left.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let slot = self.slots.get(place.slot as usize)?.as_ref()?;
        if slot.due.sequence != place.sequence {
            return None;
        }
        self.take_out(place.slot).map(|slot| slot.item)
    }

    /// What runs next on one of `budget.workers` workers that have nothing to do.
    ///
    /// Entries of the class and about the length of the one that is due first, as many as the budget
    /// lets in; fewer if that leaves another idle worker without.
    pub fn take(&mut self, now: Duration, budget: Budget) -> Take<T> {
        let expired = self.expire(now);
        if !expired.is_empty() {
            return Take::Expired(expired);
        }
        let Some(head) = self.first() else {
            return Take::Empty;
        };
        if let Some(until) = self.waits_until(budget).filter(|&until| until > now) {
            let first_deadline = self.next_deadline().unwrap_or(Duration::MAX);
            return Take::Wait(until.min(first_deadline));
        }
        Take::Batch(self.batch(head, budget.at_end(self.held.tokens)))
    }

    /// What runs in the middle of a batch that was due at `due`: a batch of entries that would have gone
    /// before it had they been there, if no single one is larger than the budget.
    ///
    /// Nothing waits for others to fill such a batch; [`Take::Empty`] is that nothing goes before.
    pub fn take_before(&mut self, due: Duration, now: Duration, budget: Budget) -> Take<T> {
        let expired = self.expire(now);
        if !expired.is_empty() {
            return Take::Expired(expired);
        }
        let Some(head) = self.first().filter(|(first, ..)| first.at < due) else {
            return Take::Empty;
        };
        match &self.slots[head.0.slot as usize] {
            Some(slot) if slot.entry.tokens <= budget.tokens => {
                Take::Batch(self.batch(head, budget))
            }
            _ => Take::Empty,
        }
    }

    /// A batch headed by an entry of a class and bucket.
    fn batch(&mut self, (head, class, bucket): (Due, usize, usize), budget: Budget) -> Batch<T> {
        let mut items = Vec::new();
        let (mut tokens, mut longest) = (0, 0);
        // The gap that the own bucket leaves is filled by shorter ones, and by longer ones if need be.
        let neighbours = [Some(bucket), bucket.checked_sub(1), Some(bucket + 1)];
        for bucket in neighbours.into_iter().flatten().filter(|&b| b < BUCKETS) {
            while let Some(&due) = self.lanes[class][bucket].first() {
                let Some(slot) = &self.slots[due.slot as usize] else {
                    break;
                };
                let length = slot.entry.tokens;
                if !budget.admits(items.len(), tokens, length) {
                    break;
                }
                tokens += length;
                longest = longest.max(length);
                items.extend(self.take_out(due.slot).map(|slot| slot.item));
            }
        }
        let mut padding = Padding::default();
        padding.add_batch(items.len(), tokens, longest);
        Batch {
            items,
            due: head.at,
            padding,
        }
    }

    /// Takes out all that is past its deadline, first deadline first.
    pub fn expire(&mut self, now: Duration) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(&(deadline, slot)) = self.deadlines.first()
            && deadline <= now
        {
            expired.extend(self.take_out(slot).map(|slot| slot.item));
        }
        expired
    }

    /// The entry that is due first, with its class and bucket.
    fn first(&self) -> Option<(Due, usize, usize)> {
        let lanes = self.lanes.iter().enumerate().flat_map(|(class, lanes)| {
            let lanes = lanes.iter().enumerate();
            lanes.filter_map(move |(bucket, lane)| Some((*lane.first()?, class, bucket)))
        });
        lanes.min()
    }

    /// Until when more is waited for; `None` if what waits is enough.
    fn waits_until(&self, budget: Budget) -> Option<Duration> {
        if self.policy.max_wait.is_zero()
            || self.held.tokens >= budget.tokens
            || self.held.entries >= budget.rows
        {
            return None;
        }
        Some(self.oldest()?.saturating_add(self.policy.max_wait))
    }

    fn due(&self, entry: &Entry, place: Place) -> Due {
        let class = class_of(entry.class) as u32;
        let tokens = entry
            .ahead
            .saturating_add(upper(bucket_of(entry.tokens)) as u64);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let at = entry
            .arrived
            .saturating_add(self.policy.ageing.saturating_mul(class))
            .saturating_add(self.policy.pace.saturating_mul(tokens));
        let half_way = |deadline: Duration| {
            entry
                .arrived
                .saturating_add(deadline.saturating_sub(entry.arrived) / 2)
        };
        Due {
            at: at.min(entry.deadline.map_or(Duration::MAX, half_way)),
            sequence: place.sequence,
            slot: place.slot,
        }
    }

    fn insert(&mut self, entry: Entry, place: Place, item: T) {
        let due = self.due(&entry, place);
        let class = class_of(entry.class);
        self.lanes[class][bucket_of(entry.tokens)].insert(due);
        if let Some(deadline) = entry.deadline {
            self.deadlines.insert((deadline, due.slot));
        }
        self.held = self.held.and(Held::of(&entry));
        self.waiting[class] += entry.tokens;
        self.slots[due.slot as usize] = Some(Slot { entry, due, item });
    }

    fn take_out(&mut self, slot: u32) -> Option<Slot<T>> {
        let taken = self.slots[slot as usize].take()?;
        let Slot { entry, due, .. } = &taken;
        let class = class_of(entry.class);
        self.lanes[class][bucket_of(entry.tokens)].remove(due);
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, slot));
        }
        self.held = self.held.less(Held::of(entry));
        self.waiting[class] -= entry.tokens;
        self.free.push(slot);
        Some(taken)
    }
}

fn class_of(class: u8) -> usize {
    usize::from(class).min(CLASSES - 1)
}

/// The longest that goes into a bucket.
fn upper(bucket: usize) -> usize {
    LEAST_BUCKET << bucket
}

fn bucket_of(tokens: usize) -> usize {
    let times = tokens.div_ceil(LEAST_BUCKET).max(1);
    (times.next_power_of_two().ilog2() as usize).min(BUCKETS - 1)
}
