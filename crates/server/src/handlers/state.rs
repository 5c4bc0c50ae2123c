//! How the server is: health, models, statistics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::response::Response;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::control::SettingsBody;
use crate::app::App;
use crate::aside::aside;
use crate::call::Call;
use crate::metrics;
use crate::models::{Loaded, Slot, State};
use crate::problem::Problem;
use crate::reply;
use crate::tally::CONFIDENCES;

/// A 200, or a 503 that says why.
fn health(why: Vec<String>) -> Response {
    let state = if why.is_empty() { "ok" } else { "unavailable" };
    let mut response = reply::json(reply::to_json(&json!({"status": state, "problems": why})));
    if !why.is_empty() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// False when something hangs that only a restart cures.
pub(crate) async fn live(call: Call) -> Result<Response, Problem> {
    Ok(health(call.app.wedged()))
}

/// False, too, while models are loaded and while the server stops.
pub(crate) async fn ready(call: Call) -> Result<Response, Problem> {
    Ok(health(call.app.unready()))
}

pub(crate) async fn models(call: Call) -> Result<Response, Problem> {
    let models: Vec<Value> = call
        .app
        .models
        .slots()
        .iter()
        .map(|slot| model_json(slot))
        .collect();
    Ok(reply::json(reply::to_json(&json!({"models": models}))))
}

pub(crate) async fn model(call: Call) -> Result<Response, Problem> {
    let slots = call
        .app
        .models
        .named(call.place("name").unwrap_or_default(), None)?;
    let versions: Vec<Value> = slots.iter().map(|slot| model_json(slot)).collect();
    Ok(reply::json(reply::to_json(
        &json!({"name": call.place("name"), "versions": versions}),
    )))
}

/// A model as the listing shows it.
pub(crate) fn model_json(slot: &Slot) -> Value {
    let state = slot.state();
    let mut shown = json!({
        "name": slot.spec.name,
        "version": slot.spec.version,
        "source": slot.spec.source,
        "state": state.name(),
    });
    if let State::Failed(why) = state {
        shown["error"] = why.into();
    }
    if let Some(loaded) = slot.current() {
        let model = loaded.service.model();
        let at = loaded.loaded.duration_since(UNIX_EPOCH).unwrap_or_default();
        shown["task"] = model.task().name().into();
        shown["load"] = loaded.load.into();
        shown["loaded_unix_seconds"] = at.as_secs().into();
        shown["load_seconds"] = loaded.load_time.as_secs_f64().into();
        shown["fingerprint"] = loaded.fingerprint.as_str().into();
        shown["precision"] = model.precision().to_string().into();
        shown["outputs"] = model.outputs().into();
        shown["max_tokens"] = model.directory().max_tokens().into();
        shown["labels"] = json!(model.directory().labels());
        shown["settings"] = json!(SettingsBody::of(&loaded.service.settings()));
    }
    shown
}

pub(crate) async fn stats(call: Call) -> Result<Response, Problem> {
    // A cache on disk is asked for its size.
    let stats = aside(|| stats_json(&call.app));
    Ok(reply::json(reply::to_json(&stats)))
}

fn stats_json(app: &App) -> Value {
    let requests = app.metrics.requests();
    let requests: Vec<Value> = requests
        .map(|(path, method, code, count)| {
            json!({"route": path, "method": method, "code": code, "count": count})
        })
        .collect();
    let models: Vec<Value> = app.models.slots().iter().map(slot_json).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.uptime().as_secs_f64(),
        "problems": app.unready(),
        "connections": app.connections.count(),
        "streams": app.streams.count(),
        "body_bytes": app.body_bytes.held(),
        "spans": app.traces.as_ref().map(|traces| BTreeMap::from(traces.counts())),
        "requests": requests,
        "models": models,
    })
}

fn slot_json(slot: &Arc<Slot>) -> Value {
    let mut shown = model_json(slot);
    if let Some(loaded) = slot.current() {
        shown["stats"] = json!(loaded.service.stats());
        shown["percentiles_seconds"] = percentiles(&loaded);
        shown["memory"] = {
            let memory = loaded.service.model().memory_stats();
            json!({
                "weights_bytes": memory.weights_bytes, "workspace_bytes": memory.workspace_bytes,
                "cache_bytes": memory.cache_bytes, "resident_bytes": memory.resident_bytes,
            })
        };
        let labels: serde_json::Map<String, Value> = loaded
            .tally
            .labels()
            .map(|(label, count)| (label.to_owned(), count.into()))
            .collect();
        let confidences = CONFIDENCES.into_iter().zip(loaded.tally.confidences());
        shown["predictions"] = json!({
            "labels": labels,
            "confidences": confidences.collect::<Vec<_>>(),
        });
    }
    shown
}

/// About, from histograms: over everything since the model was loaded.
fn percentiles(loaded: &Loaded) -> Value {
    let stats = loaded.service.stats();
    let of = |histogram: &engine::HistogramStats| {
        json!({
            "p50": histogram.quantile(0.5), "p90": histogram.quantile(0.9),
            "p99": histogram.quantile(0.99), "mean": histogram.mean(),
        })
    };
    json!({
        "prepare": of(&stats.prepare_seconds), "queue": of(&stats.queue_seconds),
        "compute": of(&stats.compute_seconds), "total": of(&stats.total_seconds),
    })
}

pub(crate) async fn metrics(call: Call) -> Result<Response, Problem> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(reply::of(aside(|| metrics::prometheus(&call.app)), kind))
}
