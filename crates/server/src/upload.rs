//! A body on its way in: unpacked where it is compressed, and read to its end where nobody wants it any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body as _;
use hyper::header;

use crate::app::App;
use crate::call::words;
use crate::coding::{Coding, Unpacker};
use crate::passing::Passing;
use crate::problem::{Code, Problem};

/// Of a body that nobody wants, no more than this is read.
const LEFTOVER_BYTES: usize = 64 << 20;
/// And nothing more once nothing has come for so long.
const LEFTOVER_PAUSE: Duration = Duration::from_secs(5);

/// A request's body. What is left of it when it is dropped is read and thrown away, within bounds: a client that
/// is refused while it sends would otherwise meet a broken connection instead of the answer.
pub(crate) struct Upload {
    passing: Arc<Passing>,
    /// `None` once it has ended.
    body: Option<Body>,
    unpacker: Unpacking,
    /// What has arrived and is not unpacked yet.
    packed: Bytes,
    /// The client sends nothing before it is told to go on, which asking for the first piece does.
    is_held_back: bool,
}

enum Unpacking {
    No,
    Yes(Box<Unpacker>),
    /// By a coding that nobody knows here.
    Unknown(String),
}

impl Upload {
    pub(crate) fn new(passing: Arc<Passing>, headers: &HeaderMap, body: Body) -> Self {
        let unpacker = match headers.get(header::CONTENT_ENCODING) {
            None => Unpacking::No,
            Some(name) => match Coding::named(name.as_bytes()) {
                _ if name.as_bytes().eq_ignore_ascii_case(b"identity") => Unpacking::No,
                Some(coding) => Unpacking::Yes(Box::new(Unpacker::new(coding))),
                None => Unpacking::Unknown(String::from_utf8_lossy(name.as_bytes()).into_owned()),
            },
        };
        Self {
            passing,
            body: Some(body),
            unpacker,
            packed: Bytes::new(),
            is_held_back: headers.contains_key(header::EXPECT),
        }
    }

    /// The next piece, unpacked; `None` at the end. Nothing is lost if it is not waited for.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if let Unpacking::Unknown(name) = &self.unpacker {
            return Err(Problem::new(
                Code::UnknownCoding,
                format!(
                    "the body is compressed as `{name}`; send it as gzip, deflate or zstd, or as it is"
                ),
            ));
        }
        loop {
            if let Unpacking::Yes(unpacker) = &mut self.unpacker
                && (!self.packed.is_empty() || unpacker.is_full())
            {
                // A little can become a lot: others have their turn in between.
                tokio::task::yield_now().await;
                let piece = unpacker.next(&mut self.packed)?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                continue;
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            self.is_held_back = false;
            let Some(frame) = body.frame().await else {
                self.body = None;
                if let Unpacking::Yes(unpacker) = &self.unpacker {
                    unpacker.end()?;
                }
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                self.passing.broke(&error);
                Problem::bad_request(format!("the body broke off: {}", words(&error)))
            });
            let frame = frame.inspect_err(|_| self.body = None)?;
            match (frame.into_data(), &self.unpacker) {
                (Ok(data), Unpacking::Yes(_)) => self.packed = data,
                (Ok(data), _) if data.is_empty() => {}
                (Ok(data), _) => return Ok(Some(data)),
                // Trailers.
                (Err(_), _) => {}
            }
        }
    }

    /// Reads nothing more, not even to throw it away.
    pub(crate) fn give_up(&mut self) {
        self.body = None;
    }

    /// The body as it comes, for who reads it otherwise.
    pub(crate) fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_default()
    }

    /// Leaves nothing behind that would be read on.
    pub(crate) fn take(&mut self) -> Upload {
        Upload {
            passing: Arc::clone(&self.passing),
            body: self.body.take(),
            unpacker: std::mem::replace(&mut self.unpacker, Unpacking::No),
            packed: std::mem::take(&mut self.packed),
            is_held_back: self.is_held_back,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        if self.is_held_back || body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(discard(Arc::clone(&self.passing.app), body));
        }
    }
}

async fn discard(app: Arc<App>, mut body: Body) {
    let until = Instant::now() + app.settings.read_timeout;
    let mut left = LEFTOVER_BYTES;
    while !app.is_stopping() {
        let patience = until.saturating_duration_since(Instant::now());
        let frame = tokio::time::timeout(patience.min(LEFTOVER_PAUSE), body.frame());
        let Ok(Some(Ok(frame))) = frame.await else {
            return;
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
