//! The cache saves time and changes nothing.

use batchwright_engine::{Error, Origin, Window};
use testing::golden::Golden;

use crate::{bits, builder, texts};

/// A cached answer that differs in a bit would make jobs unrepeatable.
#[test]
fn a_hit_has_the_bits_of_what_was_computed() {
    let golden = Golden::load("roberta-embed");
    let texts = texts(40);
    let expected = builder(&golden).load().unwrap().embed(&texts).unwrap();
    let model = builder(&golden).cache_entries(1_000).load().unwrap();
    for round in 0..3 {
        let found = model.embed(&texts).unwrap();
        for (a, b) in found.iter().zip(&expected) {
            assert_eq!(bits(a), bits(b), "round {round}");
        }
    }
    let stats = model.cache_stats();
    assert_eq!(stats.hits + stats.misses, 3 * 40);
    assert_eq!(stats.misses, stats.entries);
    assert!(stats.compute_seconds_saved > 0.0);
    model.clear_cache().unwrap();
    assert_eq!(
        (model.cache_stats().entries, model.cache_stats().bytes),
        (0, 0)
    );
}

/// Equal rows that are each computed would cost a user with repetitive data all of the gain.
#[test]
fn equal_rows_are_computed_once_even_without_a_cache() {
    let golden = Golden::load("bert-embed");
    let model = builder(&golden).load().unwrap();
    let rows = ["a", "b", "a", "a"].map(|text| Ok(text.into())).to_vec();
    let mut windows = model.run_windows(std::iter::once(Window {
        rows,
        payload: "with it",
    }));
    let window = windows.next().unwrap();
    assert_eq!(window.payload, "with it");
    let origins: Vec<_> = window
        .answers
        .iter()
        .map(|a| a.as_ref().unwrap().origin)
        .collect();
    let (computed, duplicate) = (Origin::Computed, Origin::Duplicate);
    assert_eq!(origins, [computed, computed, duplicate, duplicate]);
    assert!(windows.next().is_none());
    let progress = windows.progress();
    assert_eq!(
        (progress.rows, progress.duplicates, progress.errors),
        (4, 2, 0)
    );
}

/// Memory that grows past its bound would end the job.
#[test]
fn bounds_in_entries_and_bytes_hold() {
    let golden = Golden::load("bert-embed");
    let texts = texts(60);
    let model = builder(&golden).cache_entries(10).load().unwrap();
    model.embed(&texts).unwrap();
    let stats = model.cache_stats();
    assert_eq!(stats.entries, 10);
    assert_eq!(stats.evictions, stats.misses - 10);
    let model = builder(&golden).cache_bytes(2_000).load().unwrap();
    model.embed(&texts).unwrap();
    let stats = model.cache_stats();
    assert!(stats.bytes <= 2_000 && stats.entries > 2, "{stats:?}");
}

/// Another model's answers, or those of other options, must never come out of the same directory.
#[test]
fn the_cache_on_disk_is_read_by_equal_models_alone() {
    let directory = tempfile::tempdir().unwrap();
    let golden = Golden::load("bert-embed");
    let texts = texts(30);
    let cached = || builder(&golden).cache_dir(directory.path());
    let first = cached().load().unwrap();
    let expected = first.embed(&texts).unwrap();
    match cached().load() {
        Err(Error::CacheDirectory { problem, .. }) => {
            assert!(problem.contains("another"), "{problem}")
        }
        _ => panic!("a cache in use must be refused"),
    }
    drop(first);

    let again = cached().load().unwrap();
    assert_eq!(again.embed(&texts).unwrap(), expected);
    assert_eq!(again.cache_stats().misses, 0);
    drop(again);

    let shorter = cached().dimensions(8).load().unwrap();
    assert_eq!(shorter.embed(&texts).unwrap()[0].len(), 8);
    assert!(shorter.cache_stats().misses > 0);
    let other = builder(&Golden::load("mpnet-embed"))
        .cache_dir(directory.path())
        .load()
        .unwrap();
    other.embed(&texts).unwrap();
    assert!(other.cache_stats().misses > 0);
}
