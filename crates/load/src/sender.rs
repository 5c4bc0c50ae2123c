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
/// So long those underway are waited for where the test is stopped.
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

struct Due {
    at: u64,
    slot: usize,
    serial: u64,
}

pub(crate) struct Sender<'a> {
    orders: Orders<'a>,
    poll: Poll,
    alarm: Alarm,
    connections: Vec<Connection>,
    /// Places with an open connection that waits; the last one used is used next, so that no more are kept
    /// busy than are needed.
    idle: Vec<usize>,
    /// Places without one.
    closed: Vec<usize>,
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
            poll,
            alarm,
            connections: (0..count).map(|_| Connection::default()).collect(),
            idle: Vec::with_capacity(count),
            // The first place is on top.
            closed: (0..count).rev().collect(),
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
            self.send_due(now);
            let wake = self.next_wake().min(border).min(now + LISTEN);
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
        // Those due in the last moment, for which there is a connection, would seem to have found none.
        if self.orders.arrivals.is_some() {
            self.send_due(ended);
        }
        while self.underway > 0 {
            let now = self.now();
            if signal.get() == Course::Stops && now > ended + PARTING {
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
        for connection in &self.connections {
            if let Some(request) = connection.underway {
                let class = self.class(request.payload);
                let waited = Duration::from_nanos(now.saturating_sub(request.intended));
                ending.rest.failed(Failure::Timeout, waited, class);
                ending.unanswered += 1;
            }
        }
        // These were due before the end, and all connections were waiting.
        while let Some(arrivals) = &mut self.orders.arrivals {
            let due = ns(arrivals.due());
            if due > ended {
                break;
            }
            arrivals.advance();
            let payload = self.take_payload();
            let waited = Duration::from_nanos(ended - due);
            let class = self.class(payload);
            ending.rest.failed(Failure::Timeout, waited, class);
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

    /// Begins the requests that are due, as far as there are connections for them.
    fn send_due(&mut self, now: u64) {
        while let Some(&(until, slot)) = self.resting.front() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.closed.push(slot);
        }
        while !self.idle.is_empty() || !self.closed.is_empty() {
            let intended = match &mut self.orders.arrivals {
                None => self.now(),
                Some(arrivals) => {
                    let due = ns(arrivals.due());
                    if due > now {
                        break;
                    }
                    arrivals.advance();
                    due
                }
            };
            let payload = self.take_payload();
            let waited = Duration::from_nanos(now.saturating_sub(intended));
            if self.orders.arrivals.is_some() {
                self.tally.lateness.record(waited);
            }
            // A user who has waited so long for a connection has gone.
            if waited >= self.orders.timeout {
                let class = self.class(payload);
                self.tally.failed(Failure::Timeout, waited, class);
                continue;
            }
            let Some(slot) = self.idle.pop().or_else(|| self.closed.pop()) else {
                break;
            };
            self.begin(slot, payload, intended);
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
        let at = (self.poll.registry(), Token(slot));
        let outcome = self.connections[slot].begin(request, bytes, &self.orders.address, at);
        self.settle(slot, outcome);
    }

    /// Counts what became of a request, and makes its place free.
    fn settle(&mut self, slot: usize, outcome: Outcome) {
        if outcome == Outcome::Waits {
            return;
        }
        if outcome == Outcome::Gone {
            self.idle.retain(|&idle| idle != slot);
            self.closed.push(slot);
            return;
        }
        let now = self.now();
        let Some(request) = self.connections[slot].underway.take() else {
            return;
        };
        self.underway -= 1;
        let latency = Duration::from_nanos(now.saturating_sub(request.intended));
        let class = self.class(request.payload);
        match outcome {
            Outcome::Answered(answer) => {
                self.tally.answered(answer.status, latency, class);
                if answer.keeps {
                    self.idle.push(slot);
                } else {
                    self.connections[slot].close(self.poll.registry());
                    self.closed.push(slot);
                }
            }
            Outcome::Failed(failure) => {
                self.tally.failed(failure, latency, class);
                self.connections[slot].close(self.poll.registry());
                if failure == Failure::Connect {
                    self.resting.push_back((now + REST, slot));
                } else {
                    self.closed.push(slot);
                }
            }
            Outcome::Waits | Outcome::Gone => {}
        }
    }

    /// Waits for events until `wake`, and reacts to them.
    fn wait(&mut self, events: &mut Events, wake: u64) -> io::Result<()> {
        let at_most = Duration::from_nanos(wake.saturating_sub(self.now()));
        self.alarm.wait(&mut self.poll, events, at_most)?;
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

    /// When something has to be done without an event.
    fn next_wake(&self) -> u64 {
        let rested = self.resting.front().map_or(u64::MAX, |&(until, _)| until);
        let arrival = match &self.orders.arrivals {
            Some(arrivals) if !(self.idle.is_empty() && self.closed.is_empty()) => {
                ns(arrivals.due())
            }
            _ => u64::MAX,
        };
        self.next_timeout().min(rested).min(arrival)
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
