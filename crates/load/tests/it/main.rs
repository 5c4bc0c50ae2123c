//! Loads on a stand-in server whose behaviour is known, so that what the report says can be checked.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up must end it")]

mod counting;
mod endings;
mod latency;
mod stand_in;
mod sweeping;

use std::time::Duration;

use batchwright_load::{Endpoint, Load, LoadReport, LoadSpec, Payloads, Until};

use stand_in::StandIn;

/// A load on this server with three different requests.
fn load(server: &StandIn) -> Load {
    let target: batchwright_load::Target = server.url().parse().unwrap();
    let texts = ["a", "bb", "a long text of more than twenty characters"].map(str::to_owned);
    let payloads = Payloads::new(&target, &Endpoint::default(), &[], &texts, 1).unwrap();
    Load::prepare(target, payloads, Duration::from_secs(5)).unwrap()
}

/// A short measurement of its whole time.
fn short() -> LoadSpec {
    LoadSpec {
        connections: 4,
        warm_up: Duration::from_millis(50),
        window: Duration::from_millis(100),
        windows: 5,
        until: Until::TheEnd,
        timeout: Duration::from_secs(5),
        ..LoadSpec::default()
    }
}

fn measure(server: &StandIn, spec: &LoadSpec) -> LoadReport {
    load(server).run(spec, |_| {}, || false).unwrap()
}
