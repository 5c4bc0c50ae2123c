//! From a source's chunks to the engine's windows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use batchwright::{RowError, Window};
use data::{Chunk, DataError, Source};

use crate::plan;

/// What the reading thread has done, for whoever measures or draws.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    started: Mutex<Option<Instant>>,
    rows: AtomicU64,
    ended: AtomicBool,
}

impl Reading {
    /// Notes that the first row is about to be read.
    pub(crate) fn start(&self) {
        self.started().get_or_insert_with(Instant::now);
    }

    /// Counts rows that were read.
    pub(crate) fn count(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Time since the first row was about to be read; nothing before that.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started()
            .map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Rows read so far, by this run.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether there are no more rows.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn started(&self) -> MutexGuard<'_, Option<Instant>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A window for each chunk, with the chunk riding along. Where the source breaks off, a last window
/// without rows carries the error: so it comes after all rows before it.
pub(super) fn windows(
    source: Source,
    reading: Arc<Reading>,
) -> impl Iterator<Item = Window<Result<Chunk, DataError>>> + Send + 'static {
    let mut source = source.fuse();
    std::iter::from_fn(move || {
        reading.start();
        let Some(chunk) = source.next() else {
            reading.ended.store(true, Ordering::Relaxed);
            return None;
        };
        Some(match chunk {
            Ok(chunk) => {
                reading.count(chunk.len() as u64);
                window(chunk)
            }
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
