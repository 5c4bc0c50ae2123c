//! One keep-alive connection, over a non-blocking socket.

use std::io::{self, Read, Write};

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::Failure;
use crate::http::{Answer, Parser};
use crate::target::Address;

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Underway {
    /// Which of the prepared ones.
    pub(crate) payload: usize,
    /// When it was due, or, in closed loop, when it was begun; in nanoseconds of the test's clock.
    pub(crate) intended: u64,
    /// Tells it from the connection's other requests.
    pub(crate) serial: u64,
}

/// A place for a connection, which is opened when it is needed and again after it was closed.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    stream: Option<Stream>,
    phase: Phase,
    pub(crate) underway: Option<Underway>,
    written: usize,
    length: usize,
    parser: Parser,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Connecting,
    Open,
}

/// What an event led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Waits,
    /// The connection stands, and can take a request.
    Connected,
    /// The answer is whole.
    Answered(Answer),
    /// There will be none; the connection is closed.
    Failed(Failure),
    /// A connection without a request was closed by the server.
    Gone,
}

impl Connection {
    pub(crate) fn close(&mut self, registry: &Registry) {
        if let Some(mut stream) = self.stream.take() {
            // Closing takes it out of the poll in any case.
            let _ = stream.deregister(registry);
        }
        *self = Self::default();
    }

    /// Begins to connect.
    pub(crate) fn open(&mut self, address: &Address, at: (&Registry, Token)) -> Outcome {
        let (registry, token) = at;
        let opened = Stream::connect(address).and_then(|mut stream| {
            stream.register(registry, token)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => return self.fail(registry, Failure::Connect),
        }
        self.phase = Phase::Connecting;
        Outcome::Waits
    }

    /// Begins a request, on a connection that stands and has none.
    pub(crate) fn begin(&mut self, request: Underway, bytes: &[u8]) {
        self.underway = Some(request);
        self.written = 0;
        self.length = bytes.len();
        self.write(bytes);
    }

    /// Goes on after an event. `bytes` are those of the request that is underway; `buffer` is for reading,
    /// and `received` grows by what was read.
    pub(crate) fn react(
        &mut self,
        event: &Event,
        bytes: &[u8],
        buffer: &mut [u8],
        received: &mut u64,
        registry: &Registry,
    ) -> Outcome {
        if self.phase == Phase::Connecting {
            if !event.is_writable() && !event.is_error() {
                return Outcome::Waits;
            }
            match self.stream.as_ref().map(Stream::connected) {
                Some(Ok(true)) => {
                    self.phase = Phase::Open;
                    return Outcome::Connected;
                }
                Some(Ok(false)) => return Outcome::Waits,
                Some(Err(_)) | None => return self.fail(registry, Failure::Connect),
            }
        }
        if self.phase == Phase::Closed {
            return Outcome::Waits;
        }
        if event.is_writable() && self.underway.is_some() && self.written < bytes.len() {
            self.write(bytes);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            return self.read(event, buffer, received, registry);
        }
        Outcome::Waits
    }

    fn write(&mut self, bytes: &[u8]) {
        while self.written < bytes.len() {
            let Some(stream) = &mut self.stream else {
                break;
            };
            match stream.write(&bytes[self.written..]) {
                Ok(count) if count > 0 => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full; or closed: what the server said before that, such as 413, may still be there to
                // read. In either case an event tells, now or soon.
                Ok(_) | Err(_) => break,
            }
        }
    }

    fn read(
        &mut self,
        event: &Event,
        buffer: &mut [u8],
        received: &mut u64,
        registry: &Registry,
    ) -> Outcome {
        loop {
            let Some(stream) = &mut self.stream else {
                return Outcome::Waits;
            };
            match stream.read(buffer) {
                Ok(0) => {
                    return match self.parser.closed() {
                        Some(answer) if self.underway.is_some() => Outcome::Answered(answer),
                        _ => self.lost(registry),
                    };
                }
                Ok(count) => {
                    *received += count as u64;
                    if self.underway.is_none() {
                        return self.lost(registry);
                    }
                    match self.parser.feed(&buffer[..count]) {
                        Ok(Some(answer)) => {
                            let keeps = answer.keeps && self.is_reusable(event, buffer);
                            return Outcome::Answered(Answer { keeps, ..answer });
                        }
                        // A short read has emptied the socket, and saves the call that would say so,
                        // where an event will come for whatever comes next (epoll and kqueue).
                        Ok(None)
                            if cfg!(unix) && count < buffer.len() && !event.is_read_closed() =>
                        {
                            return Outcome::Waits;
                        }
                        Ok(None) => {}
                        Err(_) => return self.fail(registry, Failure::Malformed),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Waits,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost(registry),
            }
        }
    }

    /// Whether the next request can follow on this connection.
    fn is_reusable(&mut self, event: &Event, buffer: &mut [u8]) -> bool {
        // An answer before the end of the request leaves the rest of it unsent.
        if event.is_read_closed() || self.written < self.length {
            return false;
        }
        // Elsewhere no event comes before a read that would block.
        cfg!(unix)
            || self.stream.as_mut().is_some_and(|stream| {
                let more = stream.read(buffer);
                more.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            })
    }

    fn lost(&mut self, registry: &Registry) -> Outcome {
        if self.underway.is_none() {
            self.close(registry);
            return Outcome::Gone;
        }
        let failure = if self.parser.has_begun() {
            Failure::ClosedWithin
        } else {
            Failure::ClosedBefore
        };
        self.fail(registry, failure)
    }

    fn fail(&mut self, registry: &Registry, failure: Failure) -> Outcome {
        let underway = self.underway;
        self.close(registry);
        // Whoever counts the failure needs to know which request it was.
        self.underway = underway;
        Outcome::Failed(failure)
    }
}

/// A socket of either kind.
#[derive(Debug)]
enum Stream {
    Network(mio::net::TcpStream),
    #[cfg(unix)]
    Socket(mio::net::UnixStream),
}

macro_rules! on_either {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Network($socket) => $call,
            #[cfg(unix)]
            Stream::Socket($socket) => $call,
        }
    };
}

impl Stream {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Network(address) => mio::net::TcpStream::connect(*address).map(Self::Network),
            #[cfg(unix)]
            Address::Socket(path) => mio::net::UnixStream::connect(path).map(Self::Socket),
        }
    }

    /// Edges of both kinds, once for the connection's life: no call to the system for each request.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        on_either!(self, socket => registry.register(socket, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        on_either!(self, socket => registry.deregister(socket))
    }

    /// Whether the connection stands, or why it never will.
    fn connected(&self) -> io::Result<bool> {
        if let Some(error) = on_either!(self, socket => socket.take_error())? {
            return Err(error);
        }
        match self {
            Self::Network(socket) => match socket.peer_addr() {
                // A small request must not wait for the acknowledgement of the one before it.
                Ok(_) => socket.set_nodelay(true).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
                Err(error) => Err(error),
            },
            #[cfg(unix)]
            Self::Socket(_) => Ok(true),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        on_either!(self, socket => socket.read(buffer))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on_either!(self, socket => socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
