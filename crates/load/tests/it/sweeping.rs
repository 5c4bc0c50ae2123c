//! The search for the highest rate, on a server whose limit is known.

use std::time::Duration;

use batchwright_load::{LoadSpec, SweepTarget, Watched};

use crate::stand_in::{Act, StandIn};
use crate::{load, short};

/// A user would provision for a rate that the server does not hold.
#[test]
fn the_rate_found_lies_below_what_one_worker_can_do() {
    // 5 ms each, one at a time: 200 a second at the very most.
    let server = StandIn::in_line(|_| Act::Answer(200, Duration::from_millis(5)));
    let spec = LoadSpec {
        window: Duration::from_millis(150),
        windows: 3,
        warm_up: Duration::from_millis(100),
        connections: 64,
        ..short()
    };
    let target = SweepTarget {
        p99: Duration::from_millis(100),
        first_per_second: None,
    };
    let mut trials = 0;
    let watch = |watched: Watched<'_>| {
        if let Watched::Trial(trial) = watched {
            trials += 1;
            assert!(!trial.met || trial.p99_ms <= 100.0);
        }
    };
    let found = load(&server).sweep(&spec, target, watch, || false).unwrap();
    assert_eq!(trials, found.trials.len());
    let closed = found.closed_loop.unwrap().requests_per_second.mean;
    assert!(closed < 205.0, "{closed}");
    let best = found.best.unwrap();
    // Half a second is short, and chance may bring a few more or fewer arrivals than the rate.
    let rate = best.offered_per_second.unwrap();
    assert!((20.0..320.0).contains(&rate), "{rate}: {:?}", found.trials);
    assert!(best.p99_ms() <= 100.0);
    assert!(
        found.trials.iter().any(|trial| !trial.met),
        "{:?}",
        found.trials
    );
}

/// Ctrl-C in a sweep of many minutes.
#[test]
fn a_sweep_can_be_stopped() {
    let server = StandIn::new(|_| Act::Answer(200, Duration::from_millis(1)));
    let spec = LoadSpec {
        windows: 1_000_000,
        ..short()
    };
    let target = SweepTarget {
        p99: Duration::from_secs(1),
        first_per_second: Some(50.0),
    };
    let started = server.started();
    let late = move || started.elapsed() > Duration::from_millis(400);
    let found = load(&server).sweep(&spec, target, |_| {}, late).unwrap();
    assert!(found.interrupted && found.best.is_none(), "{found:?}");
}
