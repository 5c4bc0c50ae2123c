//! A small HTTP server that does as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What to do about a request, given its number from 0 on.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// This answer, after this time.
    Answer(u16, Duration),
    /// The same in chunks, in several pieces.
    Chunked,
    /// The same, and the connection is closed, with or without a word about it.
    ThenClose { said: bool },
    /// The connection is closed without an answer.
    Close,
    /// It is closed in the middle of one.
    CloseWithin,
    /// Something that is no answer.
    Babble,
    /// Nothing, ever.
    Silence,
}

type Choose = dyn Fn(u64) -> Act + Send + Sync;

/// The server; it ends with the test.
pub(crate) struct StandIn {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    choose: Box<Choose>,
    /// Those answered one at a time stand in line here, as they would for one worker.
    line: Option<Mutex<()>>,
    requests: AtomicU64,
    connections: AtomicU64,
    ended: AtomicBool,
    bodies: Mutex<Vec<Vec<u8>>>,
    started: Instant,
}

impl StandIn {
    pub(crate) fn new(choose: impl Fn(u64) -> Act + Send + Sync + 'static) -> Self {
        Self::start(Box::new(choose), None)
    }

    /// Answers one request at a time: a queue forms.
    pub(crate) fn in_line(choose: impl Fn(u64) -> Act + Send + Sync + 'static) -> Self {
        Self::start(Box::new(choose), Some(Mutex::new(())))
    }

    fn start(choose: Box<Choose>, line: Option<Mutex<()>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            choose,
            line,
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            bodies: Mutex::default(),
            started: Instant::now(),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.ended.load(Ordering::Relaxed) {
                    return;
                }
                ours.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&ours);
                thread::spawn(move || {
                    // A client that goes away is no concern of the server's.
                    let _ = stream.and_then(|stream| shared.serve(stream));
                });
            }
        });
        Self { url, shared }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Requests that came, the first one alone included.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.shared.bodies.lock().unwrap().clone()
    }

    pub(crate) fn started(&self) -> Instant {
        self.shared.started
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let address = self.url.trim_start_matches("http://");
        drop(TcpStream::connect(address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(body) = read_request(&mut reader)? {
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            {
                let mut bodies = self.bodies.lock().unwrap();
                if bodies.len() < 100 {
                    bodies.push(body);
                }
            }
            let turn = self.line.as_ref().map(|line| line.lock().unwrap());
            match (self.choose)(number) {
                Act::Answer(status, time) => {
                    thread::sleep(time);
                    write!(
                        writer,
                        "HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\nbody"
                    )?;
                }
                Act::Chunked => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    for piece in [head, "3\r\nbo", "d\r\n1\r\ny\r\n", "0\r\n\r\n"] {
                        writer.write_all(piece.as_bytes())?;
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                Act::ThenClose { said } => {
                    let word = if said { "connection: close\r\n" } else { "" };
                    write!(
                        writer,
                        "HTTP/1.1 200 OK\r\n{word}content-length: 4\r\n\r\nbody"
                    )?;
                    return writer.shutdown(Shutdown::Both);
                }
                Act::Close => return writer.shutdown(Shutdown::Both),
                Act::CloseWithin => {
                    write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbody")?;
                    return writer.shutdown(Shutdown::Both);
                }
                Act::Babble => {
                    writer.write_all(b"what do you want?\r\n\r\n")?;
                    return writer.shutdown(Shutdown::Both);
                }
                Act::Silence => {
                    // Until the client gives up.
                    let mut byte = [0];
                    drop(turn);
                    return reader.read(&mut byte).map(drop);
                }
            }
        }
        Ok(())
    }
}

/// The body of the next request; `None` where the client has closed.
fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(body))
}
