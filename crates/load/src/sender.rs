//! One thread's part of a load test: its connections, its clock, and what it counts.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::alarm::{ALARM, Alarm};
use crate::connection::{Connection, Outcome, Underway};
use crate::payload::Payload;
use crate::target::Address;
use crate::{Arrivals, Failure, Payloads, Tally};

/// No wait is longer, so that a signal to stop is heard.
const LISTEN: u64 = 20_000_000;
/// A wait that ends so much later than it was to was not the server's doing: this process was stopped, or
/// had no processor.
const OVERSLEPT: u64 = 100_000_000;
/// Connections that are being opened at the same time: more at once, and a server's list of those that wait
/// to be accepted overflows, which costs each a second.
const OPENING: usize = 32;
/// So long, at the end, those that are due still find a connection; and those underway are waited for
/// where the test is stopped.
const PARTING: u64 = 1_000_000_000;
/// A place whose connection could not be opened rests so long: without it, a server that is not there
/// would be called a hundred thousand times a second.
const REST: u64 = 10_000_000;

/// What a thread needs to know.
#[derive(Debug)]
pub(crate) struct Orders<'a> {
    /// The thread's number.
    pub(crate) thread: usize,
    pub(crate) address: Address,
    pub(crate) payloads: &'a Payloads,
    /// Which of them to begin with.
    pub(crate) first: usize,
    /// When requests are due; in closed loop, whenever a connection is free.
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) windows: usize,
    pub(crate) split_chars: Option<usize>,
    /// The test's start, the same for all threads.
    pub(crate) epoch: Instant,
}

/// What a thread reports.
#[derive(Debug)]
pub(crate) enum Word {
    /// A window of the thread with this number is over.
    Window(usize, Box<Tally>),
    /// All is over: what was counted in the window that was cut short, and afterwards, of the
    /// requests that were underway.
    End(Box<Ending>),
}

#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Since the last whole window, where the test was stopped within one.
    pub(crate) cut: Option<Tally>,
    /// Requests that were underway or due at the end: answered while the end was waited for, or counted with the time
    /// that they had waited.
    pub(crate) rest: Tally,
    /// Of these, underway and never answered.
    pub(crate) unanswered: u64,
    /// Of these, due and never sent, because all connections were waiting.
    pub(crate) unsent: u64,
}

/// How a test goes on, for all of its threads.
#[derive(Debug, Default)]
pub(crate) struct Signal(AtomicU8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Goes,
    /// No further requests; those underway are waited for.
    Ends,
    /// Those underway have a second.
    Stops,
}

impl Signal {
    pub(crate) fn set(&self, course: Course) {
        self.0.fetch_max(course as u8, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Course {
        match self.0.load(Ordering::Relaxed) {
            0 => Course::Goes,
            1 => Course::Ends,
            _ => Course::Stops,
        }
    }
}

/// What makes a request due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Its time.
    Open,
    /// A free connection.
    Closed,
}

/// A request that is due and has no connection yet.
struct Waiting {
    intended: u64,
    payload: usize,
}

/// When a request times out.
struct Due {
    at: u64,
    slot: usize,
    serial: u64,
}

pub(crate) struct Sender<'a> {
    pace: Pace,
    orders: Orders<'a>,
    poll: Poll,
    alarm: Alarm,
    connections: Vec<Connection>,
    /// Places with an open connection that waits; the last one used is used next, so that no more are kept
    /// busy than are needed.
    idle: Vec<usize>,
    /// Places without one.
    closed: Vec<usize>,
    /// How many are being opened.
    opening: usize,
    /// In open loop, what is due and has no connection yet, in its order.
    waiting: VecDeque<Waiting>,
    /// Places that rest after a failure to connect, and until when.
    resting: VecDeque<(u64, usize)>,
    /// When requests time out, ascending.
    due: VecDeque<Due>,
    underway: usize,
    next: usize,
    serial: u64,
    tally: Tally,
    buffer: Box<[u8]>,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(orders: Orders<'a>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(&poll)?;
        let count = orders.connections;
        Ok(Self {
            pace: match orders.arrivals {
                Some(_) => Pace::Open,
                None => Pace::Closed,
            },
            poll,
            alarm,
            connections: (0..count).map(|_| Connection::default()).collect(),
            idle: Vec::with_capacity(count),
            // The first place is on top.
            closed: (0..count).rev().collect(),
            opening: 0,
            waiting: VecDeque::new(),
            resting: VecDeque::new(),
            due: VecDeque::new(),
            underway: 0,
            next: orders.first,
            serial: 0,
            tally: Tally::default(),
            buffer: vec![0; 256 << 10].into(),
            orders,
        })
    }

    /// Sends until the signal or the last window ends it. Words go to whoever adds them up.
    pub(crate) fn run(mut self, signal: &Signal, words: &mpsc::Sender<Word>) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let (warm_up, window) = (ns(self.orders.warm_up), ns(self.orders.window));
        let mut begun = None;
        let mut border = warm_up;
        let mut windows = 0;
        self.restart_tally();
        while signal.get() == Course::Goes && windows < self.orders.windows {
            let now = self.now();
            if now >= border {
                let tally = self.restart_tally();
                if let Some(begun) = begun.replace(now) {
                    windows += 1;
                    let over = over(tally, begun, now);
                    // Nobody listens where the test has been stopped, which the signal says too.
                    let _ = words.send(Word::Window(self.orders.thread, Box::new(over)));
                }
                // From now and not from the border: a window that this process slept through is one window.
                border = now + window;
            }
            self.fall_due(now);
            self.send(now);
            let wake = self.next_wake(now).min(border).min(now + LISTEN);
            self.wait(&mut events, wake)?;
        }
        let now = self.now();
        let tally = self.restart_tally();
        let cut = begun.filter(|_| windows < self.orders.windows);
        let cut = cut.map(|begun| over(tally, begun, now));
        let rest = self.end(signal, &mut events, now)?;
        let _ = words.send(Word::End(Box::new(Ending { cut, ..rest })));
        Ok(())
    }

    /// Waits for what is underway, and counts what never came.
    fn end(&mut self, signal: &Signal, events: &mut Events, ended: u64) -> io::Result<Ending> {
        self.fall_due(ended);
        // No further arrivals, and in closed loop no further requests.
        self.orders.arrivals = None;
        loop {
            let now = self.now();
            let parting = now <= ended + PARTING;
            if parting && self.pace == Pace::Open {
                self.send(now);
            }
            let unsent = parting && !self.waiting.is_empty();
            let underway = self.underway > 0 && (parting || signal.get() != Course::Stops);
            if !unsent && !underway {
                break;
            }
            let wake = self.next_timeout().min(now + LISTEN);
            self.wait(events, wake)?;
        }
        let now = self.now();
        let mut ending = Ending {
            rest: std::mem::take(&mut self.tally),
            ..Ending::default()
        };
        let underway = self.connections.iter().filter_map(|of| of.underway);
        for (payload, intended) in underway.map(|request| (request.payload, request.intended)) {
            let waited = Duration::from_nanos(now.saturating_sub(intended));
            ending
                .rest
                .failed(Failure::Timeout, waited, self.class(payload));
            ending.unanswered += 1;
        }
        for Waiting { intended, payload } in &self.waiting {
            let waited = Duration::from_nanos(now.saturating_sub(*intended));
            ending
                .rest
                .failed(Failure::Timeout, waited, self.class(*payload));
            ending.unsent += 1;
        }
        ending.rest.processor = None;
        Ok(ending)
    }

    fn now(&self) -> u64 {
        ns(self.orders.epoch.elapsed())
    }

    /// What was counted so far; counting begins anew.
    fn restart_tally(&mut self) -> Tally {
        let used = processor_time();
        let tally = Tally {
            by_length: self.orders.split_chars.map(|_| Box::default()),
            // Until the end of the tally this is when it began.
            processor: used,
            ..Tally::default()
        };
        let mut old = std::mem::replace(&mut self.tally, tally);
        old.processor = match (old.processor, used) {
            (Some(then), Some(now)) => now.checked_sub(then),
            _ => None,
        };
        old
    }

    /// Puts in line what is due by now.
    fn fall_due(&mut self, now: u64) {
        while let Some(arrivals) = &mut self.orders.arrivals {
            let intended = ns(arrivals.due());
            if intended > now {
                break;
            }
            arrivals.advance();
            let payload = self.take_payload();
            let late = Duration::from_nanos(now - intended);
            self.tally.lateness.record(late);
            self.waiting.push_back(Waiting { intended, payload });
        }
    }

    /// Begins requests, as far as there are connections for them, and opens some where there are not.
    fn send(&mut self, now: u64) {
        while let Some(&(until, slot)) = self.resting.front() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.closed.push(slot);
        }
        // A user who has waited so long for a connection has gone.
        let timeout = ns(self.orders.timeout);
        while let Some(first) = self
            .waiting
            .front()
            .filter(|first| first.intended + timeout <= now)
        {
            let waited = Duration::from_nanos(now - first.intended);
            let class = self.class(first.payload);
            self.tally.failed(Failure::Timeout, waited, class);
            self.waiting.pop_front();
        }
        while let Some(slot) = self.idle.pop() {
            if let Some(first) = self.waiting.pop_front() {
                self.begin(slot, first.payload, first.intended);
            } else if self.pace == Pace::Closed {
                let payload = self.take_payload();
                self.begin(slot, payload, self.now());
            } else {
                self.idle.push(slot);
                break;
            }
        }
        let wanted = match self.pace {
            Pace::Open => self.waiting.len(),
            Pace::Closed => self.closed.len(),
        };
        while self.opening < wanted.min(OPENING) {
            let Some(slot) = self.closed.pop() else { break };
            self.opening += 1;
            let at = (self.poll.registry(), Token(slot));
            let outcome = self.connections[slot].open(&self.orders.address, at);
            self.settle(slot, outcome);
        }
    }

    fn begin(&mut self, slot: usize, payload: usize, intended: u64) {
        self.serial += 1;
        let request = Underway {
            payload,
            intended,
            serial: self.serial,
        };
        let bytes = &self.orders.payloads.list[payload].bytes;
        self.tally.sent += 1;
        self.tally.bytes_sent += bytes.len() as u64;
        self.underway += 1;
        self.due.push_back(Due {
            at: intended + ns(self.orders.timeout),
            slot,
            serial: request.serial,
        });
        self.connections[slot].begin(request, bytes);
    }

    /// Counts what became of a request, and makes its place free.
    fn settle(&mut self, slot: usize, outcome: Outcome) {
        match outcome {
            Outcome::Waits => {}
            Outcome::Connected => {
                self.opening -= 1;
                self.idle.push(slot);
            }
            Outcome::Gone => {
                self.idle.retain(|&idle| idle != slot);
                self.closed.push(slot);
            }
            Outcome::Failed(Failure::Connect) => self.refused(slot),
            Outcome::Answered(answer) => {
                if let Some((latency, class)) = self.finish(slot) {
                    self.tally.answered(answer.status, latency, class);
                }
                if answer.keeps {
                    self.idle.push(slot);
                } else {
                    self.connections[slot].close(self.poll.registry());
                    self.closed.push(slot);
                }
            }
            Outcome::Failed(failure) => {
                if let Some((latency, class)) = self.finish(slot) {
                    self.tally.failed(failure, latency, class);
                }
                self.connections[slot].close(self.poll.registry());
                self.closed.push(slot);
            }
        }
    }

    /// Takes the request from its connection; gives how long it took and its class.
    fn finish(&mut self, slot: usize) -> Option<(Duration, usize)> {
        let request = self.connections[slot].underway.take()?;
        self.underway -= 1;
        let latency = Duration::from_nanos(self.now().saturating_sub(request.intended));
        Some((latency, self.class(request.payload)))
    }

    /// A connection could not be opened: whoever waited for it has failed.
    fn refused(&mut self, slot: usize) {
        let now = self.now();
        self.opening -= 1;
        self.connections[slot].close(self.poll.registry());
        self.resting.push_back((now + REST, slot));
        if let Some(first) = self.waiting.pop_front() {
            let waited = Duration::from_nanos(now.saturating_sub(first.intended));
            let class = self.class(first.payload);
            self.tally.failed(Failure::Connect, waited, class);
        } else if self.pace == Pace::Closed {
            self.tally.failed(Failure::Connect, Duration::ZERO, 0);
        }
    }

    /// Waits for events until `wake`, and reacts to them.
    fn wait(&mut self, events: &mut Events, wake: u64) -> io::Result<()> {
        let now = self.now();
        self.alarm.wait(&mut self.poll, events, now, wake)?;
        let late = self.now().saturating_sub(wake);
        if late > OVERSLEPT {
            self.tally.stood_still += Duration::from_nanos(late);
        }
        for event in events.iter().filter(|event| event.token() != ALARM) {
            let slot = event.token().0;
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            let bytes: &[u8] = match connection.underway {
                Some(request) => &self.orders.payloads.list[request.payload].bytes,
                None => &[],
            };
            let received = &mut self.tally.bytes_received;
            let registry = self.poll.registry();
            let outcome = connection.react(event, bytes, &mut self.buffer, received, registry);
            self.settle(slot, outcome);
        }
        self.time_out();
        Ok(())
    }

    /// When something has to be done without an event. What is due already waits for one.
    fn next_wake(&self, now: u64) -> u64 {
        let rested = self.resting.front().map_or(u64::MAX, |&(until, _)| until);
        let arrival = self
            .orders
            .arrivals
            .as_ref()
            .map(|arrivals| ns(arrivals.due()));
        let arrival = arrival.filter(|&due| due > now || !self.idle.is_empty());
        let timeout = ns(self.orders.timeout);
        let gives_up = self
            .waiting
            .front()
            .map_or(u64::MAX, |first| first.intended + timeout);
        self.next_timeout()
            .min(rested)
            .min(arrival.unwrap_or(u64::MAX))
            .min(gives_up)
    }

    fn next_timeout(&self) -> u64 {
        self.due.front().map_or(u64::MAX, |due| due.at)
    }

    /// Gives up what has waited too long, and forgets what has been answered.
    fn time_out(&mut self) {
        let mut now = None;
        while let Some(due) = self.due.front() {
            let (at, slot) = (due.at, due.slot);
            let underway = self.connections[slot].underway;
            if underway.is_some_and(|request| request.serial == due.serial) {
                if at > *now.get_or_insert_with(|| ns(self.orders.epoch.elapsed())) {
                    break;
                }
                self.settle(slot, Outcome::Failed(Failure::Timeout));
            }
            self.due.pop_front();
        }
    }

    fn take_payload(&mut self) -> usize {
        let payload = self.next;
        self.next = (payload + 1) % self.orders.payloads.list.len();
        payload
    }

    fn class(&self, payload: usize) -> usize {
        let Payload { longest, .. } = &self.orders.payloads.list[payload];
        usize::from(self.orders.split_chars.is_some_and(|most| *longest > most))
    }
}

fn over(tally: Tally, begun: u64, now: u64) -> Tally {
    Tally {
        seconds: (now - begun) as f64 / 1e9,
        ..tally
    }
}

/// Nanoseconds; 584 years are enough.
fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of this thread.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    ))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}
