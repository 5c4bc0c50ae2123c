//! `/benchmark`.

use batchwright_server::{Benchmarks, ServerSettings};
use serde_json::json;

use crate::client::{Running, settings, spec};

/// Anybody could keep the server busy; whoever may would get no figures, or for ever.
#[test]
fn a_model_is_measured_if_that_is_switched_on() {
    let off = Running::of(&[("m", "bert-embed")]);
    let body = json!({"texts": ["turn on the lights", "what is my balance"]});
    assert_eq!(off.post("/benchmark", &body).code(403), "switched_off");
    let settings = ServerSettings {
        benchmarks: Benchmarks::On,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let body = json!({
        "texts": ["turn on the lights", "what is my balance"], "batch_tokens": [1, 64], "threads": [1],
        "rounds": 2, "single_queries": 3, "seconds": 30,
    });
    let report = server.post("/benchmark", &body).json(200);
    assert_eq!(report["rows"], 2);
    assert_eq!(report["single"]["queries"], 3);
    assert_eq!(report["budgets"].as_array().unwrap().len(), 2);
    assert_eq!(report["cut_short"], false);
    for (key, value, words) in [
        ("texts", json!([]), "number of texts"),
        ("rounds", json!(0), "`rounds` is 0"),
        ("seconds", json!(61), "1 to 60"),
        ("single_queries", json!(1_000_000), "1 to 10000"),
        ("threads", json!([3]), "`threads`"),
        ("batch_tokens", json!([0]), "`batch_tokens`"),
        ("batch_tokens", json!(vec![1; 101]), "1 to 100"),
        ("batch_tokens", json!([64, 5_000_000]), "1 to 65536"),
    ] {
        let mut bad = body.clone();
        bad[key] = value;
        let got = server.post("/benchmark", &bad);
        assert_eq!(got.code(400), "bad_option", "{key}");
        assert!(got.text().contains(words), "{}", got.text());
    }
    // What does not fit into the time is left out.
    let texts: Vec<String> = (0..3_000)
        .map(|row| format!("turn on light {row} {}", "very ".repeat(20)))
        .collect();
    // Six million batches: no machine computes them in a second.
    let budgets: Vec<usize> = (1..=100).collect();
    let long = json!({"texts": texts, "batch_tokens": budgets, "threads": [1], "rounds": 20, "single_queries": 10_000, "seconds": 1});
    let report = server.post("/benchmark", &long).json(200);
    assert_eq!(report["cut_short"], true);
}
