//! Streams: unlimited rows in constant memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use batchwright_engine::{Input, Prediction};
use futures_util::StreamExt;
use testing::golden::Golden;

use crate::{builder, load, texts};

/// A reader that runs ahead of the answers would hold the whole input in memory.
#[test]
fn rows_are_read_a_few_windows_ahead_and_no_more() {
    const WINDOW: usize = 8;
    let golden = Golden::load("bert-embed");
    let model = builder(&golden).threads(2).window(WINDOW).load().unwrap();
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let endless = (0..).map(move |n: usize| {
        counted.fetch_add(1, Ordering::SeqCst);
        format!("row {n}")
    });
    let mut most = 0;
    for (answered, prediction) in model.predict_stream(endless).take(400).enumerate() {
        prediction.unwrap();
        most = most.max(read.load(Ordering::SeqCst) - answered);
    }
    assert!(most <= 6 * WINDOW, "{most} rows in flight");
}

/// An asynchronous program would miss rows, or get them in another order.
#[test]
fn the_asynchronous_stream_gives_the_same() {
    let model = load("bert-embed");
    let texts = texts(30);
    let expected: Vec<_> = model.predict_stream(texts.clone()).collect();
    let stream = model.predict_stream(texts).into_stream();
    let found: Vec<_> = futures_executor::block_on(stream.collect());
    assert_eq!(found, expected);
    assert_eq!(found.len(), 30);
}

/// A reader that fails must not look like the end of the input: rows would be lost silently.
#[test]
fn a_panic_of_the_input_reaches_the_consumer() {
    let model = load("bert-embed");
    let rows = |count: usize| {
        (0..).map(move |n: usize| {
            assert!(n < count, "the input broke");
            format!("row {n}")
        })
    };
    let stream = model.predict_stream(rows(5));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stream.count()));
    assert!(caught.is_err());
    let stream = model.predict_stream(rows(5)).into_stream();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        futures_executor::block_on(stream.count())
    }));
    assert!(caught.is_err());
}

/// A stream that is given up must not hang, nor keep the next from running.
#[test]
fn a_stream_may_be_dropped_at_any_time() {
    let model = load("bert-embed");
    for taken in [0, 1, 5] {
        let endless = (0..).map(|n: usize| format!("row {n}"));
        assert_eq!(model.predict_stream(endless).take(taken).count(), taken);
    }
    assert_eq!(model.embed(["still here"]).unwrap().len(), 1);
}

/// Progress that does not add up would mislead whoever watches a long job.
#[test]
fn progress_counts_every_row_once() {
    let golden = Golden::load("bert-embed");
    let model = builder(&golden)
        .window(10)
        .cache_entries(100)
        .load()
        .unwrap();
    let inputs: Vec<Input> = texts(35).into_iter().map(Input::from).collect();
    let mut seen = Vec::new();
    let answers = model.predict_batch(&inputs, |progress| seen.push(progress));
    assert_eq!(answers.len(), 35);
    assert_eq!(seen.len(), 4);
    let last = seen[3];
    assert_eq!((last.rows, last.errors), (35, 0));
    // Five rows stand twice; texts that are equal once they are cut come on top.
    assert!(last.duplicates + last.cache_hits >= 5, "{last:?}");
    let cache = model.cache_stats();
    assert_eq!(
        (cache.hits, cache.hits + cache.misses),
        (last.duplicates + last.cache_hits, 35)
    );
    assert!(last.tokens > 0 && last.compute_seconds > 0.0 && last.batches > 0);
    assert!(matches!(answers[0], Ok(Prediction::Embedding(_))));
    assert!(model.predict_batch(&[], |_| {}).is_empty());
}
