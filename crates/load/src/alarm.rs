//! Waiting for sockets, but no longer than to a moment given in nanoseconds.
//!
//! `epoll_wait` counts in milliseconds, and a request that is begun a millisecond late has a latency
//! a millisecond too long. On Linux a timer among the polled files rings to the microsecond; elsewhere the
//! poll's own timeout must do (kqueue's is as fine; Windows counts in milliseconds).

use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token};

/// The timer's token; connections count from 0.
pub(crate) const ALARM: Token = Token(usize::MAX);

/// Waits for events and time.
#[derive(Debug)]
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    /// When it rings next, in nanoseconds of the test's clock; what is past has rung.
    #[cfg(target_os = "linux")]
    rings: u64,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(crate) fn new(poll: &Poll) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let raw = timer.as_raw_fd();
        // Edges: each ring is one event, and the timer need not be read.
        let source = &mut mio::unix::SourceFd(&raw);
        poll.registry()
            .register(source, ALARM, mio::Interest::READABLE)?;
        Ok(Self { timer, rings: 0 })
    }

    /// Waits for events, from `now` until `wake` at most, both in nanoseconds of the test's clock. It may return earlier.
    pub(crate) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        now: u64,
        wake: u64,
    ) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if wake <= now {
            return interrupted_is_nothing(poll.poll(events, Some(Duration::ZERO)));
        }
        let once = |time: Duration| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // A ring before its time ends a wait, and the next one sets it. Most never come, for an answer does before: setting
        // the timer for each wait would cost a call to the system for each answer.
        if self.rings <= now || self.rings > wake {
            let ring = Itimerspec {
                it_interval: once(Duration::ZERO),
                it_value: once(Duration::from_nanos(wake - now)),
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &ring)?;
            self.rings = wake;
        }
        // To the millisecond above: it ends the wait where the timer was set late, or has another idea of the time.
        let at_most = Duration::from_nanos(wake - now);
        interrupted_is_nothing(poll.poll(events, Some(at_most)))
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_poll: &Poll) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for events, from `now` until `wake` at most, both in nanoseconds of the test's clock.
    pub(crate) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        now: u64,
        wake: u64,
    ) -> io::Result<()> {
        let at_most = Duration::from_nanos(wake.saturating_sub(now));
        interrupted_is_nothing(poll.poll(events, Some(at_most)))
    }
}

fn interrupted_is_nothing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}
