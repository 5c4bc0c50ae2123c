//! The Open Inference Protocol: metadata, inference, the repository.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use engine::{Input, Priority, Task};
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::control::load_slot;
use crate::app::App;
use crate::call::{Call, from_json};
use crate::models::{Loaded, Pick, State};
use crate::predict::{Options, Receipt, answer};
use crate::problem::{Code, Problem};
use crate::reply;
use crate::wire::grpc::{InferStatistics, ModelIndex, ModelStatistics, StatisticDuration};
use crate::wire::oip::{
    self, InferAnswer, InferAsk, InferOutput, OutputAnswer, TensorSpec, Values,
};

/// The state of a model that answers.
pub(crate) const READY: &str = "READY";
const HEADER_LENGTH: &str = "inference-header-content-length";

/// What else this server understands of the protocol.
pub(crate) const EXTENSIONS: [&str; 4] = [
    "binary_tensor_data",
    "model_repository",
    "model_configuration",
    "statistics",
];

fn find(call: &Call) -> Result<Arc<Loaded>, Problem> {
    call.app.models.find(Pick {
        name: call.place("name"),
        version: call.place("version"),
        task: None,
    })
}

pub(crate) fn specs(loaded: &Loaded) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    let model = loaded.service.model();
    let task = model.task();
    (oip::inputs(task), oip::outputs(task, model.outputs()))
}

pub(crate) async fn server(_: Call) -> Result<Response, Problem> {
    Ok(reply::json(reply::to_json(&json!({
        "name": "batchwright",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": EXTENSIONS,
    }))))
}

pub(crate) async fn model(call: Call) -> Result<Response, Problem> {
    let loaded = find(&call)?;
    let (inputs, outputs) = specs(&loaded);
    let shown = |spec: &TensorSpec| json!({"name": spec.name, "datatype": spec.datatype, "shape": [-1, spec.width]});
    Ok(reply::json(reply::to_json(&json!({
        "name": loaded.name,
        "versions": versions(&call.app, &loaded)?,
        "platform": "batchwright",
        "inputs": inputs.iter().map(shown).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(shown).collect::<Vec<_>>(),
    }))))
}

/// The versions of a model that answer.
pub(crate) fn versions(app: &App, loaded: &Loaded) -> Result<Vec<String>, Problem> {
    let slots = app.models.named(&loaded.name, None)?;
    let ready = slots.iter().filter(|slot| slot.current().is_some());
    Ok(ready.map(|slot| slot.spec.version.clone()).collect())
}

pub(crate) async fn model_ready(call: Call) -> Result<Response, Problem> {
    let loaded = find(&call)?;
    if loaded.service.health().is_well() {
        Ok(reply::json(reply::to_json(
            &json!({"name": loaded.name, "ready": true}),
        )))
    } else {
        Err(Problem::new(
            Code::Unavailable,
            "the model hangs; see /health",
        ))
    }
}

pub(crate) async fn config(call: Call) -> Result<Response, Problem> {
    let loaded = find(&call)?;
    let (inputs, outputs) = specs(&loaded);
    let shown = |spec: &TensorSpec| {
        let kind = match spec.datatype {
            "BYTES" => "TYPE_STRING".to_owned(),
            other => format!("TYPE_{other}"),
        };
        json!({"name": spec.name, "data_type": kind, "dims": [spec.width]})
    };
    let settings = loaded.service.settings();
    Ok(reply::json(reply::to_json(&json!({
        "name": loaded.name,
        "platform": "batchwright",
        "backend": "batchwright",
        "max_batch_size": settings.limits.texts_per_request,
        "input": inputs.iter().map(shown).collect::<Vec<_>>(),
        "output": outputs.iter().map(shown).collect::<Vec<_>>(),
        "dynamic_batching": {"max_queue_delay_microseconds": settings.max_wait.as_micros() as u64},
    }))))
}

pub(crate) async fn stats(call: Call) -> Result<Response, Problem> {
    let loaded = find(&call)?;
    Ok(reply::json(reply::to_json(
        &json!({"model_stats": [statistics(&loaded)]}),
    )))
}

/// What a model has done, in Triton's words.
pub(crate) fn statistics(loaded: &Loaded) -> ModelStatistics {
    let stats = loaded.service.stats();
    let took = |count: u64, seconds: f64| {
        Some(StatisticDuration {
            count,
            ns: (seconds * 1e9) as u64,
        })
    };
    ModelStatistics {
        name: loaded.name.clone(),
        version: loaded.version.clone(),
        last_inference: 0,
        batch_stats: Vec::new(),
        inference_count: stats.rows_computed + stats.rows_shared + stats.rows_cached,
        execution_count: stats.batches,
        inference_stats: Some(InferStatistics {
            success: took(stats.answered, stats.total_seconds.sum),
            fail: took(stats.failures.iter().map(|(_, count)| count).sum(), 0.0),
            queue: took(stats.queue_seconds.count, stats.queue_seconds.sum),
            compute_input: took(stats.prepare_seconds.count, stats.prepare_seconds.sum),
            compute_infer: took(stats.compute_seconds.count, stats.compute_seconds.sum),
            compute_output: took(0, 0.0),
            cache_hit: took(stats.rows_cached, 0.0),
            cache_miss: took(stats.rows_computed, 0.0),
        }),
    }
}

pub(crate) async fn infer(mut call: Call) -> Result<Response, Problem> {
    let payload = call.payload().await?;
    let (header, binary) = oip::split(&payload.bytes, call.number(HEADER_LENGTH)?)?;
    let ask: InferAsk = from_json(header)?;
    let loaded = find(&call)?;
    let inputs = oip::texts(&ask.inputs, binary)?;
    let parameters = &ask.parameters;
    let asked = (parameters.timeout, parameters.priority);
    let options = options(&call, loaded.task(), call.arrived, asked)?;
    let wanted = wanted(&ask, &specs(&loaded).1)?;
    let rows = inputs.len();
    let specs = wanted.iter().map(|(spec, _)| *spec);
    let (values, receipt) = run(Arc::clone(&loaded), inputs, specs, &options).await?;
    let mut behind = Vec::new();
    let mut outputs = Vec::with_capacity(values.len());
    for ((spec, binary), values) in wanted.iter().zip(&values) {
        let before = behind.len();
        if *binary {
            values.pack(&mut behind);
        }
        outputs.push(OutputAnswer {
            name: spec.name,
            datatype: spec.datatype,
            shape: [rows, spec.width],
            parameters: binary.then(|| json!({"binary_data_size": behind.len() - before})),
            data: (!binary).then_some(values),
        });
    }
    let json = reply::to_json(&InferAnswer {
        model_name: &loaded.name,
        model_version: &loaded.version,
        id: ask.id.as_deref(),
        outputs,
    });
    let all_json = wanted.iter().all(|(_, binary)| !binary);
    Ok(receipt.on(if all_json {
        reply::json(json)
    } else {
        with_binary(&json, behind)
    }))
}

/// Texts in, the values of these outputs out.
pub(crate) async fn run(
    loaded: Arc<Loaded>,
    inputs: Vec<Input>,
    wanted: impl Iterator<Item = TensorSpec>,
    options: &Options,
) -> Result<(Vec<Values>, Receipt), Problem> {
    let (predictions, receipt) = answer(Arc::clone(&loaded), inputs, options).await?.all()?;
    let labels = loaded.service.model().directory().labels();
    let values = wanted.map(|spec| oip::values(spec.name, &predictions, labels));
    Ok((values.collect(), receipt))
}

/// With every label of a classifier, so that scores can stand in the model's order; with a timeout in microseconds
/// since then, and Triton's level of priority.
pub(crate) fn options(
    call: &Call,
    task: Task,
    since: Instant,
    (timeout_us, priority): (Option<u64>, Option<u64>),
) -> Result<Options, Problem> {
    let mut options = match task {
        Task::Classify => Options {
            top_k: Some(usize::MAX),
            threshold: Some(f32::MIN),
            ..Options::default()
        },
        _ => Options::default(),
    };
    let timeout = timeout_us.filter(|&us| us > 0).map(Duration::from_micros);
    options.deadline = timeout.and_then(|time| since.checked_add(time)).into();
    let priority = priority.filter(|&level| level > 0);
    if let Some(level) = priority {
        options.priority = match level {
            1 => Priority::High,
            2 => Priority::Normal,
            _ => Priority::Low,
        };
    }
    options.by_headers(call, priority.is_some())?;
    options.arrived = Some(since);
    Ok(options)
}

/// Which outputs, and whether as bytes.
fn wanted(ask: &InferAsk, outputs: &[TensorSpec]) -> Result<Vec<(TensorSpec, bool)>, Problem> {
    let all = ask.parameters.binary_data_output;
    if ask.outputs.is_empty() {
        return Ok(outputs.iter().map(|spec| (*spec, all)).collect());
    }
    let one = |output: &InferOutput| {
        let classes = output.parameters.classification.unwrap_or(0);
        let spec = named(&output.name, classes > 0, outputs)?;
        Ok((spec, output.parameters.binary_data.unwrap_or(all)))
    };
    once(ask.outputs.iter().map(|output| output.name.as_str()))?;
    ask.outputs.iter().map(one).collect()
}

/// Refuses an output that is asked for again: each would be another copy of all its values.
pub(crate) fn once<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let mut before = HashSet::new();
    for name in names {
        if !before.insert(name) {
            return Err(Problem::bad_request(format!(
                "the output `{name}` stands twice; ask for it once"
            )));
        }
    }
    Ok(())
}

/// An output by its name.
pub(crate) fn named(
    name: &str,
    classification: bool,
    outputs: &[TensorSpec],
) -> Result<TensorSpec, Problem> {
    if classification {
        return Err(Problem::new(
            Code::BadOption,
            "`classification` is not supported; a classifier's output `label` is its best label",
        ));
    }
    let found = outputs.iter().find(|spec| spec.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = outputs.iter().map(|spec| spec.name).collect();
        Problem::bad_request(format!(
            "there is no output `{name}`; this model has {}",
            names.join(", ")
        ))
    })
}

fn with_binary(json: &[u8], behind: Vec<u8>) -> Response {
    let mut body = json.to_vec();
    body.extend_from_slice(&behind);
    let mut response = reply::of(body, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(
        HeaderName::from_static(HEADER_LENGTH),
        HeaderValue::from(json.len()),
    );
    response
}

pub(crate) async fn index(call: Call) -> Result<Response, Problem> {
    let rows: Vec<ModelIndex> = indexed(&call.app).collect();
    Ok(reply::json(reply::to_json(&rows)))
}

/// The models and their states, in Triton's words.
pub(crate) fn indexed(app: &App) -> impl Iterator<Item = ModelIndex> {
    app.models.slots().iter().map(|slot| {
        let (state, reason) = match (slot.current(), slot.state()) {
            (Some(_), _) => (READY, String::new()),
            (None, State::Loading) => ("LOADING", String::new()),
            (None, State::Failed(why)) => ("UNAVAILABLE", why),
            (None, _) => ("UNAVAILABLE", "unloaded".to_owned()),
        };
        ModelIndex {
            name: slot.spec.name.clone(),
            version: slot.spec.version.clone(),
            state: state.to_owned(),
            reason,
        }
    })
}

pub(crate) async fn load(call: Call) -> Result<Response, Problem> {
    load_named(&call, call.place("name").unwrap_or_default()).await?;
    Ok(reply::json(reply::to_json(&json!({}))))
}

pub(crate) async fn unload(call: Call) -> Result<Response, Problem> {
    unload_named(&call, call.place("name").unwrap_or_default()).await?;
    Ok(reply::json(reply::to_json(&json!({}))))
}

/// Loads every version of a name.
pub(crate) async fn load_named(call: &Call, name: &str) -> Result<(), Problem> {
    for slot in call.app.models.named(name, None)? {
        load_slot(call, slot).await?;
    }
    Ok(())
}

/// Unloads every version of a name.
pub(crate) async fn unload_named(call: &Call, name: &str) -> Result<(), Problem> {
    let slots = call.app.models.named(name, None)?;
    let app = Arc::clone(&call.app);
    let unloading = tokio::task::spawn_blocking(move || {
        slots.iter().try_for_each(|slot| app.models.unload(slot))
    });
    let unloaded = unloading.await;
    unloaded.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}
