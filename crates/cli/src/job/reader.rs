//! From a source's chunks to the engine's windows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use batchwright::{RowError, Window};
use data::{Chunk, DataError, Source};

use crate::plan;

/// Starts when the first row is about to be read, on the reading thread.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Instant>>);

impl Clock {
    fn start(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
    }

    /// Time since the first row; nothing before it.
    pub(super) fn elapsed(&self) -> Duration {
        let started = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        started.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

/// A window for each chunk, with the chunk riding along. Where the source breaks off, a last window
/// without rows carries the error: so it comes after all rows before it.
pub(super) fn windows(
    source: Source,
    clock: Arc<Clock>,
) -> impl Iterator<Item = Window<Result<Chunk, DataError>>> + Send + 'static {
    let mut source = source.fuse();
    std::iter::from_fn(move || {
        clock.start();
        Some(match source.next()? {
            Ok(chunk) => window(chunk),
            Err(error) => Window {
                rows: Vec::new(),
                payload: Err(error),
            },
        })
    })
}

/// Moves the texts out of the chunk: they are wanted once, and may be large. A bad row keeps its error
/// in the chunk, and the engine gets its code to count.
fn window(mut chunk: Chunk) -> Window<Result<Chunk, DataError>> {
    let rows = chunk.rows.iter_mut().map(|row| match row {
        Ok(row) => Ok(plan::to_input(std::mem::replace(
            row,
            data::RowText {
                text: String::new(),
                pair: None,
            },
        ))),
        Err(error) => Err(RowError::new(error.code, error.message.clone())),
    });
    let rows = rows.collect();
    Window {
        rows,
        payload: Ok(chunk),
    }
}
