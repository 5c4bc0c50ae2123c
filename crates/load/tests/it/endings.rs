//! When a measurement ends.

use std::time::Duration;

use batchwright_load::{Ended, LoadError, LoadSpec, Pacing, Stability, Until};

use crate::stand_in::{Act, StandIn};
use crate::{load, short};

/// A minute would be spent on what three windows have shown.
#[test]
fn agreement_ends_it_and_its_windows_are_the_figures() {
    let server = StandIn::new(|_| Act::Answer(200, Duration::from_millis(5)));
    let spec = LoadSpec {
        windows: 500,
        // A busy machine's windows still agree within so much, sooner or later.
        until: Until::Stable(Stability {
            windows: 3,
            within: 0.5,
        }),
        ..short()
    };
    let mut seen = Vec::new();
    let report = load(&server)
        .run(&spec, |window| seen.push(*window), || false)
        .unwrap();
    assert_eq!(report.ended, Ended::Stable);
    // A window that ends while the others are told to is no part of it.
    assert_eq!(report.windows, seen);
    assert!(report.windows.len() - report.first_window >= 3);
    let last = &seen[report.first_window..];
    let seconds: f64 = last.iter().map(|window| window.seconds).sum();
    assert!((report.seconds - seconds).abs() < 1e-9);
    assert_eq!(
        report.answered,
        last.iter().map(|window| window.answered).sum::<u64>()
    );
    assert!(report.requests_per_second.low.is_some());
}

/// Ctrl-C would lose what has been measured.
#[test]
fn an_interruption_keeps_what_there_is() {
    let server = StandIn::new(|_| Act::Answer(200, Duration::from_millis(1)));
    let spec = LoadSpec {
        windows: 1_000_000,
        threads: 2,
        ..short()
    };
    let started = server.started();
    let late = move || started.elapsed() > Duration::from_millis(500);
    let report = load(&server).run(&spec, |_| {}, late).unwrap();
    assert_eq!(report.ended, Ended::Interrupted);
    assert!(report.answered > 20 && report.seconds > 0.1, "{report:?}");
    // Within the very first window, too.
    let spec = LoadSpec {
        window: Duration::from_secs(1_000),
        ..spec
    };
    let started = std::time::Instant::now();
    let soon = || started.elapsed() > Duration::from_millis(300);
    let report = load(&server).run(&spec, |_| {}, soon).unwrap();
    assert!(
        report.windows.is_empty() && report.answered > 5,
        "{report:?}"
    );
    assert!(report.requests_per_second.mean > 0.0);
}

/// A server that is stopped in the middle would hang the test, or make it spin.
#[test]
fn a_server_that_goes_away_is_counted_and_the_end_comes() {
    let server = StandIn::new(|number| match number {
        0..50 => Act::Answer(200, Duration::ZERO),
        _ => Act::Close,
    });
    let load = load(&server);
    drop(server);
    let report = load.run(&short(), |_| {}, || false).unwrap();
    assert!(report.failed > 0, "{report:?}");
    // Places rest after a refused connection: 4 of them, 10 ms each, over half a second.
    let refused = report.failures.get("no connection").copied().unwrap_or(0);
    assert!(refused < 400, "{report:?}");
}

/// A setting that cannot be would be a division by zero.
#[test]
fn settings_that_cannot_be_are_refused() {
    let server = StandIn::new(|_| Act::Answer(200, Duration::ZERO));
    let load = load(&server);
    for spec in [
        LoadSpec {
            pacing: Pacing::Open { per_second: 0.0 },
            ..short()
        },
        LoadSpec {
            pacing: Pacing::Open {
                per_second: f64::NAN,
            },
            ..short()
        },
        LoadSpec {
            connections: 0,
            ..short()
        },
        LoadSpec {
            window: Duration::ZERO,
            ..short()
        },
    ] {
        let refused = load.run(&spec, |_| {}, || false);
        assert!(matches!(refused, Err(LoadError::Option { .. })), "{spec:?}");
    }
}
