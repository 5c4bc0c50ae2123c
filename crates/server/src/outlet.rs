//! The answers of a stream on their way out: a client that does not read them stops the stream, for no longer than it
//! may, and the end of a stream that broke is not taken for that of a whole one.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::passing::GONE;
use crate::problem::{Code, Problem};

/// How long a stream that broke is left open: its connection ends at once, with all that it was given and has not sent.
const LAST: Duration = Duration::from_millis(20);

/// Where a stream's answers go.
pub(crate) struct Outlet<T> {
    out: mpsc::Sender<Piece<T>>,
    idle: Option<Duration>,
}

/// Where they come from.
pub(crate) struct Answers<T>(mpsc::Receiver<Piece<T>>);

enum Piece<T> {
    Answer(T),
    /// There were no more.
    Whole,
}

/// Why an answer cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Nobody listens any more.
    Gone,
    /// The client has not read for too long.
    Unread,
}

/// Both ends. One answer waits while one is being sent, for `idle` at most; none is for ever.
pub(crate) fn outlet<T>(idle: Option<Duration>) -> (Outlet<T>, Answers<T>) {
    let (out, answers) = mpsc::channel(1);
    (Outlet { out, idle }, Answers(answers))
}

impl Unsent {
    /// By which a stream is counted that ended so.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Gone => GONE,
            Self::Unread => Code::SlowRequest.status().as_u16(),
        }
    }
}

impl<T> Outlet<T> {
    pub(crate) async fn send(&self, answer: T) -> Result<(), Unsent> {
        self.put(Piece::Answer(answer)).await
    }

    /// Says that these were all answers: without it the stream is a broken one.
    pub(crate) async fn end(self) -> Result<(), Unsent> {
        self.put(Piece::Whole).await
    }

    async fn put(&self, piece: Piece<T>) -> Result<(), Unsent> {
        match within(self.idle, self.out.send(piece)).await {
            Some(sent) => sent.map_err(|_| Unsent::Gone),
            None => Err(Unsent::Unread),
        }
    }

    /// Until nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.out.closed().await;
    }
}

impl<T> Answers<T> {
    /// The answers; behind those of a stream that broke, what `broken` says of it.
    pub(crate) fn stream<E>(self, broken: fn() -> E) -> impl Stream<Item = Result<T, E>> {
        stream::unfold(Some(self.0), move |answers| async move {
            let mut answers = answers?;
            match answers.recv().await {
                Some(Piece::Answer(answer)) => Some((Ok(answer), Some(answers))),
                Some(Piece::Whole) => None,
                None => {
                    tokio::time::sleep(LAST).await;
                    Some((Err(broken()), None))
                }
            }
        })
    }
}

/// What comes of it within this time; none is for ever.
pub(crate) async fn within<T>(time: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match time {
        Some(time) => tokio::time::timeout(time, work).await.ok(),
        None => Some(work.await),
    }
}

/// Until a client that sends nothing has had its time; for ever if it has all.
pub(crate) async fn silence(idle: Option<Duration>) -> Problem {
    match idle {
        Some(idle) => tokio::time::sleep(idle).await,
        None => std::future::pending().await,
    }
    silent(idle)
}

/// A stream whose client sends nothing.
pub(crate) fn silent(idle: Option<Duration>) -> Problem {
    Problem::new(
        Code::SlowRequest,
        format!(
            "nothing was sent for {} s, and every answer is given; end a stream that is done, or see --idle-timeout-s",
            idle.unwrap_or_default().as_secs_f64()
        ),
    )
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    /// A client would take a part for the whole, or a stream hold its place as long as its client likes.
    #[tokio::test]
    async fn a_stream_is_whole_only_if_that_is_said_and_waits_no_longer_than_it_may() {
        let all =
            async |answers: Answers<u8>| -> Vec<_> { answers.stream(|| "broken").collect().await };
        let (outlet, answers) = outlet(None);
        let reading = tokio::spawn(all(answers));
        outlet.send(1).await.unwrap();
        outlet.send(2).await.unwrap();
        outlet.end().await.unwrap();
        assert_eq!(reading.await.unwrap(), [Ok(1), Ok(2)]);

        let time = Duration::from_millis(20);
        let idle = Some(time);
        let (outlet, answers) = super::outlet(idle);
        outlet.send(1).await.unwrap();
        let begun = std::time::Instant::now();
        assert_eq!(outlet.send(2).await, Err(Unsent::Unread));
        assert!(begun.elapsed() >= time);
        drop(outlet);
        assert_eq!(all(answers).await, [Ok(1), Err("broken")]);

        let (outlet, answers) = super::outlet(idle);
        drop(answers);
        outlet.closed().await;
        assert_eq!(outlet.send(1).await, Err(Unsent::Gone));
    }
}
