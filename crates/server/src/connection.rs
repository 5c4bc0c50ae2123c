//! A connection's stream, of which a part stays with this program: a client whose request does not come is told
//! so, which hyper leaves to others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Sleep, sleep};

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
    /// How long a client may take to read something; for ever if none.
    idle: Option<Duration>,
    /// Until when it may, while it reads nothing.
    patience: Option<Pin<Box<Sleep>>>,
    /// Bytes that have come since anything was sent: a request's beginning.
    come: usize,
    /// How much of HTTP/2's preface has come; `None` once it is whole, or something else has come.
    preface: Option<usize>,
}

impl<S> Line<S> {
    /// A client that reads nothing for `idle` is cut off.
    pub(crate) fn new(stream: S, idle: Option<Duration>) -> Self {
        Self(Arc::new(Mutex::new(Ends {
            stream,
            idle,
            patience: None,
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

impl<S> Ends<S> {
    /// What came of writing, unless the client has read nothing for too long.
    fn patiently<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let idle = match (polled.is_pending(), self.idle) {
            (true, Some(idle)) => idle,
            _ => {
                self.patience = None;
                return polled;
            }
        };
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(patience.as_mut().poll(context));
        let words = format!("the client read nothing for {} s", idle.as_secs_f64());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, words)))
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
        let polled = Pin::new(&mut ends.stream).poll_write(context, bytes);
        ends.patiently(context, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.lock();
        ends.come = 0;
        let polled = Pin::new(&mut ends.stream).poll_write_vectored(context, slices);
        ends.patiently(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.lock();
        let polled = Pin::new(&mut ends.stream).poll_flush(context);
        ends.patiently(context, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.lock();
        let polled = Pin::new(&mut ends.stream).poll_shutdown(context);
        ends.patiently(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A client that reads nothing would keep its connection, and the answer for it, for ever; one that reads slowly
    /// would lose it.
    #[tokio::test]
    async fn who_reads_nothing_is_cut_off() {
        let (mut client, server) = tokio::io::duplex(8);
        let day = Duration::from_secs(86_400);
        let mut line = Line::new(server, Some(day));
        let other = line.other();
        let reading = async {
            let mut bytes = [0; 16];
            for part in bytes.chunks_mut(8) {
                // It has been waited for.
                while other.lock().patience.is_none() {
                    tokio::task::yield_now().await;
                }
                client.read_exact(part).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(line.write_all(&[7; 24]), reading);
        written.unwrap();
        assert!(other.lock().patience.is_none());

        other.lock().idle = Some(Duration::from_millis(20));
        let begun = std::time::Instant::now();
        let error = line.write_all(&[7; 24]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= Duration::from_millis(20));

        other.lock().idle = None;
        let writing = tokio::time::timeout(Duration::from_millis(50), line.write_all(&[7; 24]));
        assert!(writing.await.is_err());
        drop(client);
    }

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
