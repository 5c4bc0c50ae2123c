//! Answers over HTTP/2 that their client does not read: flow control holds each of them back by itself, for as long as
//! the client likes, and neither the connection nor the body is told.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

/// What is handed to HTTP/2 at once, where it waits for its client to make room: the size of its frames.
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// How the client reads the answer that this task gives.
    static READING: Reading;
}

/// Since when a piece of an answer waits for its client; none while there is none.
#[derive(Clone, Default)]
struct Reading(Arc<Mutex<Option<Instant>>>);

/// Runs a connection's streams, each as long as its client reads something within this time; for ever if there is none.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) idle: Option<Duration>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        match self.idle {
            Some(idle) => drop(tokio::spawn(while_read(stream, idle))),
            None => drop(tokio::spawn(stream)),
        }
    }
}

/// Runs it until it ends or its client has read nothing for so long. It is dropped then, which resets the stream and
/// gives back what the answer takes.
async fn while_read(stream: impl Future, idle: Duration) {
    let reading = Reading::default();
    let stream = READING.scope(reading.clone(), stream);
    tokio::pin!(stream);
    let mut patience: Option<(Instant, Pin<Box<Sleep>>)> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *reading.lock() else {
            patience = None;
            return Poll::Pending;
        };
        let (_, sleep) = match patience.take() {
            Some(known) if known.0 == since => patience.insert(known),
            _ => patience.insert((since, Box::pin(sleep(idle.saturating_sub(since.elapsed()))))),
        };
        sleep.as_mut().poll(context)
    })
    .await;
}

impl Reading {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, cut into pieces where it is the task of a stream that gives it: what is handed over whole would
/// be kept for a client that takes none of it.
pub(crate) fn in_pieces(body: Body) -> Body {
    match READING.try_with(Reading::clone) {
        Ok(reading) => Body::new(Pieces {
            body,
            rest: Bytes::new(),
            reading,
        }),
        // Over HTTP/1.1 the connection itself stands still.
        Err(_) => body,
    }
}

struct Pieces {
    body: Body,
    /// Of the frame that is being handed over.
    rest: Bytes,
    reading: Reading,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Who asks for more has room for it: what is waited for now is not the client.
        *self.reading.lock() = None;
        let is_rest = !self.rest.is_empty();
        let mut piece = match is_rest {
            true => std::mem::take(&mut self.rest),
            false => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            },
        };
        if piece.len() > PIECE {
            self.rest = piece.split_off(PIECE);
        } else if is_rest {
            // The last piece may wait long, and would keep the whole.
            piece = Bytes::copy_from_slice(&piece);
        }
        *self.reading.lock() = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        *self.reading.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    /// What HTTP/2 does with a body: it asks for a frame, and for the next once the client has room. Gives the lengths.
    async fn pipe(size: usize, mut room: mpsc::Receiver<()>, ended: oneshot::Sender<Vec<usize>>) {
        let mut body = in_pieces(Body::from(vec![7; size]));
        assert_eq!(body.size_hint().exact(), Some(size as u64));
        let mut lengths = Vec::new();
        while let Some(frame) = body.frame().await {
            lengths.push(frame.unwrap().into_data().unwrap().len());
            let left = size - lengths.iter().sum::<usize>();
            assert_eq!(body.is_end_stream(), left == 0);
            if left == 0 {
                break;
            }
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            if room.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        let _ = ended.send(lengths);
    }

    /// One client could fill the memory with answers that it never takes; one that reads slowly would lose them.
    #[tokio::test]
    async fn an_answer_is_given_as_long_as_it_is_read() {
        let day = Duration::from_secs(86_400);
        let (give, room) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let stream = tokio::spawn(while_read(pipe(2 * PIECE + 5, room, end), day));
        for _ in 0..2 {
            give.send(()).await.unwrap();
        }
        assert_eq!(ended.await.unwrap(), [PIECE, PIECE, 5]);
        stream.await.unwrap();

        let idle = Duration::from_millis(20);
        let (give, room) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let begun = Instant::now();
        give.send(()).await.unwrap();
        while_read(pipe(2 * PIECE + 5, room, end), idle).await;
        assert!(begun.elapsed() >= idle);
        assert!(ended.await.is_err());
        // What takes this program long is not the client's fault.
        let working = async { tokio::time::sleep(3 * idle).await };
        let begun = Instant::now();
        while_read(working, idle).await;
        assert!(begun.elapsed() >= 3 * idle);
    }

    /// Where no stream is, nothing is cut.
    #[tokio::test]
    async fn other_bodies_stay_whole() {
        let mut body = in_pieces(Body::from(vec![7; 3 * PIECE]));
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().len(), 3 * PIECE);
    }
}
