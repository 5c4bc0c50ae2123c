//! The cache saves time and changes nothing.

use std::cell::Cell;

use batchwright_engine::{
    BenchmarkSpec, CacheUse, Error, Input, ModelBuilder, Origin, Request, Service, ServiceSettings,
    Window,
};
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

/// A cache that was switched off by one bound would be switched on again by the other.
#[test]
fn both_bounds_hold_in_whatever_order_they_are_set() {
    let golden = Golden::load("bert-embed");
    let builder = || builder(&golden);
    for (what, builder, entries) in [
        ("none", builder(), 0),
        ("entries", builder().cache_entries(3), 3),
        ("bytes", builder().cache_bytes(1 << 20), 5),
        (
            "0 entries",
            builder().cache_entries(0).cache_bytes(1 << 20),
            0,
        ),
        (
            "0 entries, last",
            builder().cache_bytes(1 << 20).cache_entries(0),
            0,
        ),
        ("0 bytes", builder().cache_bytes(0).cache_entries(3), 0),
        (
            "0 bytes, last",
            builder().cache_entries(3).cache_bytes(0),
            0,
        ),
        ("both", builder().cache_bytes(1 << 20).cache_entries(2), 2),
    ] {
        let model = builder.load().unwrap();
        model.embed(["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(model.cache_stats().entries, entries, "{what}");
    }
}

/// A measurement would wipe what earlier jobs had computed, or call uncached queries cached.
#[test]
fn measuring_leaves_the_disk_alone_and_calls_nothing_cached_that_is_not() {
    let golden = Golden::load("bert-embed");
    let directory = tempfile::tempdir().unwrap();
    let spec = BenchmarkSpec {
        batch_tokens: vec![64],
        rounds: 1,
        single_queries: 4,
        ..BenchmarkSpec::new(["a", "b", "c", "d"].map(Input::from).to_vec())
    };
    let measured = |builder: ModelBuilder| {
        let model = builder.load().unwrap();
        (model.benchmark(&spec).unwrap(), model.cache_stats())
    };
    assert!(measured(builder(&golden)).0.cached.is_none());
    assert!(
        measured(builder(&golden).cache_entries(3))
            .0
            .cached
            .is_none()
    );
    let (report, stats) = measured(builder(&golden).cache_entries(4));
    assert_eq!((report.cached.unwrap().queries, stats.entries), (4, 0));

    let on_disk = || builder(&golden).cache_dir(directory.path());
    let model = on_disk().load().unwrap();
    model.embed(["of an earlier job"]).unwrap();
    drop(model);
    measured(on_disk().cache_entries(4));
    let model = on_disk().load().unwrap();
    model.embed(["of an earlier job"]).unwrap();
    assert_eq!(model.cache_stats().misses, 0);
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

/// A thread that answers many connections would stand still for a disk; or every request take the way round, also
/// those that memory answers.
#[test]
fn a_request_waits_for_the_disk_only_if_memory_does_not_know_it() {
    let directory = tempfile::tempdir().unwrap();
    let golden = Golden::load("bert-embed");
    let serve = |builder: ModelBuilder| {
        let model = builder.threads(1).load().unwrap();
        Service::start(model, ServiceSettings::default()).unwrap()
    };
    let rows = ["of an earlier job", "the same"];
    let request = || Request::new(rows.map(Input::from).to_vec());
    let on_disk = || builder(&golden).cache_dir(directory.path());
    let expected = on_disk().load().unwrap().embed(rows).unwrap();

    let again = serve(on_disk().cache_entries(9));
    let admitted = again.admit(request()).unwrap();
    assert!(admitted.may_wait());
    let served = admitted.submit().unwrap().wait();
    assert_eq!(served.cached, 2);
    for (answer, expected) in served.answers.iter().zip(&expected) {
        assert_eq!(bits(&answer.as_ref().unwrap().values), bits(expected));
    }
    // Memory knows it now.
    let admitted = again.admit(request()).unwrap();
    assert!(!admitted.may_wait());
    assert_eq!(admitted.submit().unwrap().wait().cached, 2);
    let uncached = Request {
        cache: CacheUse::No,
        ..request()
    };
    assert!(!again.admit(uncached).unwrap().may_wait());
    // Nobody holds a place.
    assert_eq!(again.stats().requests_in_flight, 0);
    assert_eq!(
        (again.stats().rows_computed, again.stats().cache.hits),
        (0, 4)
    );

    let in_memory = serve(builder(&golden).cache_entries(9));
    assert!(!in_memory.admit(request()).unwrap().may_wait());
}

/// A measurement that nobody waits for any more would go on for its minute, beside those who are served.
#[test]
fn measuring_ends_when_nobody_wants_it() {
    let model = builder(&Golden::load("bert-embed")).load().unwrap();
    let spec = BenchmarkSpec {
        batch_tokens: vec![64],
        rounds: 100_000,
        single_queries: 1_000,
        ..BenchmarkSpec::new(["a", "b"].map(Input::from).to_vec())
    };
    let asked = Cell::new(0);
    let report = model.benchmark_while(&spec, || {
        asked.set(asked.get() + 1);
        asked.get() < 10
    });
    let report = report.unwrap();
    assert!(report.cut_short);
    assert_eq!(report.single.queries, 10);
    assert!(report.budgets.is_empty());
}
