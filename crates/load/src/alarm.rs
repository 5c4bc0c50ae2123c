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
        Ok(Self { timer })
    }

    /// Waits for events, for `at_most` at most.
    pub(crate) fn wait(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        at_most: Duration,
    ) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        if at_most.is_zero() {
            return interrupted_is_nothing(poll.poll(events, Some(Duration::ZERO)));
        }
        let once = |time: Duration| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let ring = Itimerspec {
            it_interval: once(Duration::ZERO),
            it_value: once(at_most),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &ring)?;
        interrupted_is_nothing(poll.poll(events, None))
    }
}

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_poll: &Poll) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for events, for `at_most` at most.
    pub(crate) fn wait(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        at_most: Duration,
    ) -> io::Result<()> {
        interrupted_is_nothing(poll.poll(events, Some(at_most)))
    }
}

fn interrupted_is_nothing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other,
    }
}
