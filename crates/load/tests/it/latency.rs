//! Latency is what a user would have waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use batchwright_load::{LoadSpec, Pacing};

use crate::stand_in::{Act, StandIn};
use crate::{measure, short};

/// A server in line that stands still for this long, once, while it is measured.
const STALL: Duration = Duration::from_millis(400);

fn stalling() -> StandIn {
    let (first, done) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let epoch = Instant::now();
    StandIn::in_line(move |_| {
        let now = epoch.elapsed().as_millis() as u64 + 1;
        let begun = match first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now,
            Err(begun) => begun,
        };
        // A good while after the first request, and once.
        if now > begun + 250 && done.fetch_add(1, Ordering::Relaxed) == 0 {
            return Act::Answer(200, STALL);
        }
        Act::Answer(200, Duration::ZERO)
    })
}

/// The heart of the matter: those who would have come during a stall would be left out, and a server that
/// stands still for 0.4 of a second would have a 95th percentile of a fraction of a millisecond.
#[test]
fn open_loop_counts_whoever_came_during_a_stall() {
    let windows = LoadSpec {
        windows: 10,
        ..short()
    };
    let open = LoadSpec {
        pacing: Pacing::Open { per_second: 300.0 },
        ..windows.clone()
    };
    let report = measure(&stalling(), &open);
    // A second at 300 a second, of which 0.4 in the stall: the worst tenth waited nearly all of it.
    let p90 = report.latency.percentile(90.0).unwrap().ms;
    assert!(p90 > 150.0, "{:?}", report.latency);
    assert!(report.latency.highest_ms > 380.0, "{:?}", report.latency);
    assert_eq!(report.failed, 0, "{report:?}");

    let report = measure(&stalling(), &windows);
    let p95 = report.latency.percentile(95.0).unwrap().ms;
    assert!(report.latency.highest_ms > 380.0, "{:?}", report.latency);
    assert!(
        p95 < 100.0,
        "closed loop has few in the stall: {:?}",
        report.latency
    );
}

/// A server that never answers again would seem to have been fast until then.
#[test]
fn what_is_never_answered_has_waited() {
    let server = StandIn::new(|number| match number {
        0..60 => Act::Answer(200, Duration::ZERO),
        _ => Act::Silence,
    });
    let spec = LoadSpec {
        pacing: Pacing::Open { per_second: 200.0 },
        timeout: Duration::from_millis(150),
        ..short()
    };
    let report = measure(&server, &spec);
    assert!(report.failures["timed out"] > 20, "{report:?}");
    assert_eq!(report.failures["timed out"], report.failed);
    assert_eq!(report.latency.count, report.answered + report.failed);
    let p90 = report.latency.percentile(90.0).unwrap().ms;
    assert!(p90 >= 100.0, "{:?}", report.latency);
}

/// The generator would be the bottleneck of its own measurement and nobody would know.
#[test]
fn lateness_is_small_where_the_server_keeps_up() {
    let server = StandIn::new(|_| Act::Answer(200, Duration::ZERO));
    let spec = LoadSpec {
        pacing: Pacing::Open { per_second: 200.0 },
        ..short()
    };
    let report = measure(&server, &spec);
    let offered = report.sent as f64 / report.seconds;
    assert!((100.0..320.0).contains(&offered), "{offered}");
    // This machine may be busy; that it is not always is enough.
    assert!(report.lateness.unwrap().percentile(50.0).unwrap().ms < 20.0);
    let report = measure(&server, &short());
    assert!(report.lateness.is_none());
}
