//! A stream of predictions over a stream of rows.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use crate::core::Core;
use crate::error::RowError;
use crate::pipeline::Windows;
use crate::prediction::{Prediction, Rendering};
use crate::progress::{Progress, ProgressHandle};

/// Predictions in input order; made by [`Model::predict_stream`](crate::Model::predict_stream).
///
/// Rows are read ahead by a few windows and no more, so memory does not depend on how many there are.
/// Dropping it gives up what is not yet computed.
pub struct PredictStream {
    core: Arc<Core>,
    rendering: Rendering,
    windows: Windows<()>,
    current: std::vec::IntoIter<Result<crate::Answer, RowError>>,
}

impl PredictStream {
    pub(crate) fn new(core: Arc<Core>, rendering: Rendering, windows: Windows<()>) -> Self {
        Self {
            core,
            rendering,
            windows,
            current: Vec::new().into_iter(),
        }
    }

    /// What has been done so far.
    pub fn progress(&self) -> Progress {
        self.windows.progress()
    }

    /// The same as an asynchronous stream, which never blocks the thread that polls it.
    ///
    /// It reads from a thread of its own, at most one window ahead of the reader.
    ///
    /// # Panics
    /// If the system refuses that thread.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), batchwright_engine::Error> {
    /// use futures_util::StreamExt;
    ///
    /// let model = batchwright_engine::Model::builder("all-MiniLM-L6-v2").load()?;
    /// let mut answers = model.predict_stream(["one", "two"]).into_stream();
    /// while let Some(answer) = answers.next().await {
    ///     println!("{answer:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream(self) -> AsyncPredictStream {
        let progress = self.windows.progress_handle();
        let (mut sender, receiver) = futures_channel::mpsc::channel(ASYNC_BUFFER);
        let pump = std::thread::spawn(move || {
            for answer in self {
                // Waits for room; an error means that the reader has gone.
                if futures_executor::block_on(send(&mut sender, answer)).is_err() {
                    break;
                }
            }
        });
        AsyncPredictStream {
            receiver,
            progress,
            pump: Some(pump),
        }
    }
}

/// Answers that wait for an asynchronous reader.
const ASYNC_BUFFER: usize = 256;

async fn send<T>(
    sender: &mut futures_channel::mpsc::Sender<T>,
    item: T,
) -> Result<(), futures_channel::mpsc::SendError> {
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    sender.start_send(item)
}

impl Iterator for PredictStream {
    type Item = Result<Prediction, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(answer) = self.current.next() {
                return Some(answer.map(|answer| self.core.render(&answer, &self.rendering)));
            }
            self.current = self.windows.next()?.answers.into_iter();
        }
    }
}

/// A [`PredictStream`] for asynchronous programs.
pub struct AsyncPredictStream {
    receiver: futures_channel::mpsc::Receiver<Result<Prediction, RowError>>,
    progress: ProgressHandle,
    pump: Option<JoinHandle<()>>,
}

impl AsyncPredictStream {
    /// What has been done so far.
    pub fn progress(&self) -> Progress {
        self.progress.progress()
    }
}

impl futures_core::Stream for AsyncPredictStream {
    type Item = Result<Prediction, RowError>;

    /// # Panics
    /// If the iterator that gave the rows panicked, with its panic: ending quietly would lose rows.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.receiver).poll_next(context);
        if matches!(polled, Poll::Ready(None)) {
            // The sender has gone, so the thread has ended: this does not wait.
            if let Some(Err(panic)) = self.pump.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
        polled
    }
}

impl fmt::Debug for PredictStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "PredictStream", self.progress())
    }
}

impl fmt::Debug for AsyncPredictStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "AsyncPredictStream", self.progress())
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, progress: Progress) -> fmt::Result {
    let mut out = f.debug_struct(name);
    out.field("progress", &progress).finish_non_exhaustive()
}
