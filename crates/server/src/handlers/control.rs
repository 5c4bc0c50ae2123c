//! What changes the server: loading, unloading, settings, the cache.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use engine::{QueueLimits, ServiceLimits, ServiceSettings};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::state::model_json;
use crate::call::Call;
use crate::models::{Loaded, Slot};
use crate::problem::{Code, Problem};
use crate::reply;
use crate::wire::whole::whole;

/// `?version=`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionQuery {
    version: Option<String>,
}

/// The places that a path and `?version=` mean.
fn slots(call: &Call) -> Result<Vec<Arc<Slot>>, Problem> {
    let query: VersionQuery = call.query()?;
    call.app.models.named(
        call.place("name").unwrap_or_default(),
        query.version.as_deref(),
    )
}

/// Loads, on a thread where it holds up nobody.
pub(crate) async fn load_slot(call: &Call, slot: Arc<Slot>) -> Result<Arc<Loaded>, Problem> {
    if call.app.is_stopping() {
        return Err(Problem::new(
            Code::Unavailable,
            "the server is stopping; load nothing now",
        ));
    }
    // The start loads every model, and takes one that somebody else is loading for one that it cannot load.
    if !call.app.has_begun() {
        let words = "the models of the start are being loaded; try again when the server is ready";
        return Err(Problem::new(Code::Busy, words).after(Duration::from_secs(1)));
    }
    let app = Arc::clone(&call.app);
    let loading = tokio::task::spawn_blocking(move || app.models.load(&slot)).await;
    loading.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

pub(crate) async fn load(call: Call) -> Result<Response, Problem> {
    let slots = slots(&call)?;
    for slot in &slots {
        load_slot(&call, Arc::clone(slot)).await?;
    }
    let models: Vec<_> = slots.iter().map(|slot| model_json(slot)).collect();
    Ok(reply::json(reply::to_json(&json!({"models": models}))))
}

pub(crate) async fn unload(call: Call) -> Result<Response, Problem> {
    let slots = slots(&call)?;
    let app = Arc::clone(&call.app);
    // The last handle frees the weights: not on a thread that answers.
    let unloading = tokio::task::spawn_blocking(move || {
        slots.iter().try_for_each(|slot| app.models.unload(slot))?;
        let models: Vec<_> = slots.iter().map(|slot| model_json(slot)).collect();
        Ok(reply::json(reply::to_json(&json!({"models": models}))))
    });
    let unloaded = unloading.await;
    unloaded.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

/// What can be changed of a model while it runs. What is left out stays as it is; `null` takes back what was changed, to
/// what the server was started with.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsBody {
    /// Most tokens of a batch.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    batch_tokens: Count,
    /// Most texts of a batch.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    batch_size: Count,
    /// How long a text may wait for others, an hour at most; 0 takes what waits.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u64>, maximum = 3_600_000_000_u64)]
    max_wait_us: Time,
    /// After how long a waiting text moves up one class of priority, an hour at most.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u64>, maximum = 3_600_000)]
    ageing_ms: Time,
    /// The deadline of requests that name none; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    default_deadline_ms: Time,
    /// Most requests at once.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_requests: Count,
    /// Most texts of a request.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_texts: Count,
    /// Most tokens of all requests at once.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_tokens_in_flight: Count,
    /// Most bytes of all requests at once: texts, tokens and answers.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_bytes_in_flight: Count,
    /// Most distinct texts that wait.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_queue: Count,
    /// Most tokens that wait.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_queue_tokens: Count,
    /// Most bytes of the tokens that wait.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<usize>, minimum = 1)]
    max_queue_bytes: Count,
}

/// A number that is left out, null, or there.
type Count = Option<Option<usize>>;
/// A time, likewise.
type Time = Option<Option<u64>>;

/// What is there, be it null: serde takes null for what is left out.
fn given<'de, D, T>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    whole(from).map(Some)
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

impl SettingsBody {
    pub(crate) fn of(settings: &ServiceSettings) -> Self {
        // What is not set has no number that could be shown.
        let some = |number: Option<usize>| number.map(Some);
        Self {
            batch_tokens: some(settings.batch_tokens),
            batch_size: some(settings.batch_rows),
            max_wait_us: Some(Some(settings.max_wait.as_micros() as u64)),
            ageing_ms: Some(Some(ms(settings.ageing))),
            default_deadline_ms: settings.default_deadline.map(|time| Some(ms(time))),
            max_requests: some(Some(settings.limits.requests)),
            max_texts: some(Some(settings.limits.texts_per_request)),
            max_tokens_in_flight: some(Some(settings.limits.tokens)),
            max_bytes_in_flight: some(Some(settings.limits.bytes)),
            max_queue: some(Some(settings.queue.entries)),
            max_queue_tokens: some(Some(settings.queue.tokens)),
            max_queue_bytes: some(Some(settings.queue.bytes)),
        }
    }

    /// Changes settings; `own` are those that null takes them back to.
    fn onto(&self, now: &mut ServiceSettings, own: &ServiceSettings) {
        let ms = Duration::from_millis;
        let deadline = |of: u64| (of > 0).then_some(ms(of));
        put(
            &mut now.batch_tokens,
            self.batch_tokens,
            Some,
            own.batch_tokens,
        );
        put(&mut now.batch_rows, self.batch_size, Some, own.batch_rows);
        let us = Duration::from_micros;
        put(&mut now.max_wait, self.max_wait_us, us, own.max_wait);
        put(&mut now.ageing, self.ageing_ms, ms, own.ageing);
        let (place, given) = (&mut now.default_deadline, self.default_deadline_ms);
        put(place, given, deadline, own.default_deadline);
        self.limits_onto(&mut now.limits, own.limits);
        self.queue_onto(&mut now.queue, own.queue);
    }

    fn limits_onto(&self, now: &mut ServiceLimits, own: ServiceLimits) {
        let as_is = |number| number;
        put(&mut now.requests, self.max_requests, as_is, own.requests);
        let (place, given) = (&mut now.texts_per_request, self.max_texts);
        put(place, given, as_is, own.texts_per_request);
        put(
            &mut now.tokens,
            self.max_tokens_in_flight,
            as_is,
            own.tokens,
        );
        put(&mut now.bytes, self.max_bytes_in_flight, as_is, own.bytes);
    }

    fn queue_onto(&self, now: &mut QueueLimits, own: QueueLimits) {
        let as_is = |number| number;
        put(&mut now.entries, self.max_queue, as_is, own.entries);
        put(&mut now.tokens, self.max_queue_tokens, as_is, own.tokens);
        put(&mut now.bytes, self.max_queue_bytes, as_is, own.bytes);
    }
}

/// Changes a setting if it is given: to a value, or back to its own.
fn put<A, T>(place: &mut T, given: Option<Option<A>>, of: impl Fn(A) -> T, own: T) {
    if let Some(value) = given {
        *place = value.map_or(own, of);
    }
}

pub(crate) async fn settings(mut call: Call) -> Result<Response, Problem> {
    let query: VersionQuery = call.query()?;
    let payload = call.payload().await?;
    let body: SettingsBody = payload.json()?;
    let name = call.place("name").unwrap_or_default();
    let slot = call.app.models.slot(name, query.version.as_deref())?;
    let now = slot.change(|settings| body.onto(settings, &slot.spec.settings))?;
    Ok(reply::json(reply::to_json(&SettingsBody::of(&now))))
}

/// A query that is not understood must not clear more than was meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

pub(crate) async fn clear_cache(call: Call) -> Result<Response, Problem> {
    let NoQuery {} = call.query()?;
    let app = Arc::clone(&call.app);
    let clearing = tokio::task::spawn_blocking(move || {
        let mut cleared = Vec::new();
        let mut failed = Ok(());
        for loaded in app.models.loaded() {
            let model = loaded.service.model();
            let before = model.cache_stats();
            if let Err(error) = model.clear_cache() {
                // The others are to forget all the same.
                failed = Err(Problem::new(Code::Internal, error.to_string()));
            }
            cleared.push(json!({
                "name": loaded.name, "version": loaded.version,
                "entries": before.entries + before.disk_entries, "bytes": before.bytes + before.disk_bytes,
            }));
        }
        failed?;
        Ok(reply::json(reply::to_json(&json!({"cleared": cleared}))))
    });
    let cleared = clearing.await;
    cleared.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use engine::Model;
    use hyper::Request;
    use tower_service::Service;

    use super::*;
    use crate::app::App;
    use crate::gate;
    use crate::models::{ModelSpec, Models};
    use crate::settings::ServerSettings;

    /// Whoever loads a model before its turn would end the server, which then cannot load it itself.
    #[test]
    fn nothing_is_loaded_beside_the_start() {
        let directory = testing::golden::root().join("bert-embed");
        let spec = ModelSpec {
            name: "m".to_owned(),
            version: "1".to_owned(),
            source: "bert-embed".to_owned(),
            builder: Model::builder(directory.to_str().unwrap()),
            settings: ServiceSettings::default(),
        };
        let models = Models::new(1, vec![spec]).unwrap();
        let app = Arc::new(App::new(ServerSettings::default(), models, None));
        let mut router = gate::router(Arc::clone(&app));
        let mut load = async |path: &str| {
            let request = Request::post(path)
                .header("host", "test")
                .body(Body::empty())
                .unwrap();
            router.call(request).await.unwrap()
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            for path in ["/models/m/load", "/v2/repository/models/m/load"] {
                let refused = load(path).await;
                assert_eq!(refused.status(), 409, "{path}");
                assert_eq!(refused.headers()["retry-after"], "1");
            }
            assert!(app.models.loaded().next().is_none());
            app.begin();
            assert_eq!(load("/models/m/load").await.status(), 200);
        });
    }
}
