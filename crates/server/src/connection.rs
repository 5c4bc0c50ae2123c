//! A connection's stream, of which a part stays with this program: a client whose request does not come is told
//! so, which hyper leaves to others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The only answer that is written without a request.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    content-type: application/json\r\nconnection: close\r\ncontent-length: 102\r\n\r\n\
    {\"error\":{\"code\":\"slow_request\",\"message\":\"the request did not arrive in time; see --read-timeout-s\"}}";
/// Longest that writing it may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What HTTP/2 begins with: a part of it leaves open which HTTP is spoken.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that two may hold: the lock is never waited for, since both are in one task.
pub(crate) struct Line<S>(Arc<Mutex<Ends<S>>>);

struct Ends<S> {
    stream: S,
    /// Bytes that have come since anything was sent: a request's beginning.
    come: usize,
    /// How much of HTTP/2's preface has come; `None` once it is whole, or something else has come.
    preface: Option<usize>,
}

impl<S> Line<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Ends {
            stream,
            come: 0,
            preface: Some(0),
        })))
    }

    /// The other hold on it.
    pub(crate) fn other(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Whether enough has come to tell which HTTP it is.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().preface.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Ends<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Tells whoever has sent a part of a request that the rest is not waited for. Who has sent nothing is
    /// idle, and would take it for the answer to what is sent next.
    pub(crate) async fn tell_too_slow(mut self) {
        if self.lock().come > 0 {
            let telling = async {
                let _ = self.write_all(TOO_SLOW).await;
                let _ = self.shutdown().await;
            };
            let _ = tokio::time::timeout(PATIENCE, telling).await;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.lock();
        let before = into.filled().len();
        let polled = Pin::new(&mut ends.stream).poll_read(context, into);
        let new = &into.filled()[before..];
        ends.come += new.len();
        if let Some(come) = ends.preface {
            let rest = &PREFACE[come..];
            let is_part = rest.starts_with(new) && new.len() < rest.len();
            ends.preface = is_part.then_some(come + new.len());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.lock();
        ends.come = 0;
        Pin::new(&mut ends.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.lock();
        ends.come = 0;
        Pin::new(&mut ends.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client would wait for the rest of an answer that is complete.
    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_SLOW).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
