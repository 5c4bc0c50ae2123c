//! Traces: a span for each sampled request, with its preparing, queueing and computing as spans within, sent to a
//! collector by OTLP (HTTP with protocol buffers).
//!
//! Whoever answers requests never waits for the collector. Finished requests go into a bounded queue; one thread
//! takes them out, makes spans of them and sends those in batches. What finds the queue full is dropped, and
//! counted; so is what the collector did not take.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use engine::Timing;
use hyper::header::HeaderValue;
use hyper::{Method, Version};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use crate::models::Loaded;
use crate::routes::{Protocol, Route};
use crate::settings::{OtlpSettings, Sampling};

/// Bytes of a `traceparent`.
const LENGTH: usize = 55;
/// Most spans of one export; as OpenTelemetry's own processors.
const BATCH: usize = 512;
/// How long an export may take, unless the environment says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server that stops waits for the last spans to be sent.
const LAST: Duration = Duration::from_secs(2);
/// A collector that answers with more than this is none.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Decides which requests are traced, and takes them when they are done.
pub(crate) struct Traces {
    sampling: Sampling,
    queue: ArcSwapOption<SyncSender<Box<Finished>>>,
    counts: Arc<Counts>,
    /// Tells when the thread has sent everything.
    done: Mutex<Receiver<()>>,
}

/// Spans by what became of them.
#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A request that is traced.
pub(crate) struct Trace {
    id: TraceId,
    parent: Option<SpanId>,
    state: TraceState,
    began: SystemTime,
}

/// What became of it.
pub(crate) struct Outcome {
    pub(crate) route: Option<&'static Route>,
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) request_id: HeaderValue,
    pub(crate) status: u16,
    pub(crate) arrived: Instant,
    pub(crate) took: Duration,
    pub(crate) spent: Option<Spent>,
}

/// What a model did for it. Travels with the response from the handler to the gate.
#[derive(Clone)]
pub(crate) struct Spent {
    pub(crate) loaded: Arc<Loaded>,
    /// When the texts were handed to the model.
    pub(crate) submitted: Instant,
    pub(crate) timing: Timing,
    pub(crate) tokens: u64,
}

struct Finished {
    trace: Trace,
    outcome: Outcome,
}

impl Traces {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// If the collector's address is none.
    pub(crate) fn start(settings: &OtlpSettings) -> Result<Self, String> {
        let exporter = exporter(settings)?;
        let (queue, finished) = sync_channel(settings.queue.max(1));
        let (tell, done) = sync_channel(1);
        let counts = Arc::new(Counts::default());
        let (delay, sums) = (settings.delay, Arc::clone(&counts));
        std::thread::Builder::new()
            .name("batchwright-otlp".to_owned())
            .spawn(move || {
                send_all(&exporter, &finished, delay, &sums);
                let _ = tell.send(());
            })
            .map_err(|error| format!("no thread for traces: {error}"))?;
        Ok(Self {
            sampling: settings.sampling,
            queue: ArcSwapOption::from_pointee(queue),
            counts,
            done: Mutex::new(done),
        })
    }

    /// A trace for a request, if it is to have one. `parent` is `traceparent`, if it is well-formed.
    pub(crate) fn begin(
        &self,
        parent: Option<&HeaderValue>,
        state: Option<&HeaderValue>,
    ) -> Option<Trace> {
        let parent = parent.and_then(|value| caller(value.as_bytes()));
        let id = parent.map_or_else(new_trace, |(id, ..)| id);
        let samples = match parent {
            Some((.., flags)) if self.sampling.follow_parent => flags.is_sampled(),
            _ => chosen(id, self.sampling.ratio),
        };
        samples.then(|| Trace {
            id,
            parent: parent.map(|(_, span, _)| span),
            state: state
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .unwrap_or_default(),
            began: SystemTime::now(),
        })
    }

    /// Hands a request over. Never waits.
    pub(crate) fn end(&self, trace: Trace, outcome: Outcome) {
        let finished = Box::new(Finished { trace, outcome });
        let queue = self.queue.load();
        let unsent = match queue.as_ref().map(|queue| queue.try_send(finished)) {
            Some(Ok(())) | None => return,
            Some(Err(TrySendError::Full(unsent) | TrySendError::Disconnected(unsent))) => unsent,
        };
        self.counts.dropped.fetch_add(unsent.spans(), Relaxed);
    }

    /// Sends what there is, and waits a moment for it. Blocks.
    pub(crate) fn finish(&self) {
        drop(self.queue.swap(None));
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if done.recv_timeout(LAST).is_err() {
            tracing::warn!("the last traces could not be sent in time");
        }
    }

    /// Spans by what became of them.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let Counts {
            exported,
            dropped,
            failed,
        } = &*self.counts;
        [
            ("exported", exported.load(Relaxed)),
            ("dropped", dropped.load(Relaxed)),
            ("failed", failed.load(Relaxed)),
        ]
    }
}

impl Trace {
    /// As it stands in logs.
    pub(crate) fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Trace, span and flags of a `traceparent`, as W3C's Trace Context has it: `00-<32 hex>-<16 hex>-<2 hex>`. The
/// version `ff` is none, and neither are ids of zeros.
pub(crate) fn caller(value: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let is_plain = value.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
    });
    if !is_plain || value.len() != LENGTH || value.starts_with(b"ff") {
        return None;
    }
    let value = std::str::from_utf8(value).ok()?;
    let trace = TraceId::from_hex(value.get(3..35)?).ok()?;
    let span = SpanId::from_hex(value.get(36..52)?).ok()?;
    let flags = u8::from_str_radix(value.get(53..LENGTH)?, 16).ok()?;
    let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
    is_valid.then(|| (trace, span, TraceFlags::new(flags)))
}

fn new_trace() -> TraceId {
    TraceId::from(fastrand::u128(1..))
}

fn new_span() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

/// Whether a share of all traces includes this one: the same for everybody who asks, by OpenTelemetry's rule for
/// `traceidratio`.
fn chosen(id: TraceId, ratio: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = id.to_bytes();
    let place = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    ratio >= 1.0 || place < (ratio.max(0.0) * (1_u64 << 63) as f64) as u64
}

fn exporter(settings: &OtlpSettings) -> Result<SpanExporter, String> {
    let builder = SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_http_client(Client::new());
    let builder = match &settings.endpoint {
        Some(endpoint) => builder.with_endpoint(address(endpoint)),
        None => builder,
    };
    let mut exporter = builder
        .build()
        .map_err(|error| format!("traces cannot be sent by OTLP: {error}"))?;
    // What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, or our name.
    let mut resource = Resource::builder();
    let is_named = std::env::var_os("OTEL_SERVICE_NAME").is_some()
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES")
            .is_ok_and(|attributes| attributes.contains("service.name="));
    if !is_named {
        resource = resource.with_service_name("batchwright");
    }
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// Where traces go at a collector.
fn address(endpoint: &str) -> String {
    const PATH: &str = "/v1/traces";
    let bare = endpoint.trim_end_matches('/');
    match bare.ends_with(PATH) {
        true => bare.to_owned(),
        false => format!("{bare}{PATH}"),
    }
}

/// What the exporter sends with. It blocks: so may the thread that it runs on.
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let ms = |name| std::env::var(name).ok()?.parse().ok();
        let within = ms("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
            .or_else(|| ms("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .map_or(PATIENCE, Duration::from_millis);
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::PlatformVerifier)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(within));
        Self(config.build().new_agent())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(
        &self,
        request: hyper::Request<Bytes>,
    ) -> Result<hyper::Response<Bytes>, HttpError> {
        let response = self.0.run(request.map(|body| body.to_vec()))?;
        let (parts, mut body) = response.into_parts();
        let body = body.with_config().limit(LONGEST_ANSWER).read_to_vec()?;
        Ok(hyper::Response::from_parts(parts, body.into()))
    }
}

/// Sends until nobody can hand anything over any more, and everything is sent.
fn send_all(
    exporter: &SpanExporter,
    finished: &Receiver<Box<Finished>>,
    delay: Duration,
    counts: &Counts,
) {
    while let Ok(first) = finished.recv() {
        let until = Instant::now() + delay;
        let mut batch = first.into_spans();
        while batch.len() < BATCH {
            match finished.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(next) => batch.extend(next.into_spans()),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let size = batch.len() as u64;
        match futures_executor::block_on(exporter.export(batch)) {
            Ok(()) => counts.exported.fetch_add(size, Relaxed),
            Err(error) => {
                tracing::debug!(%error, spans = size, "traces were not taken");
                counts.failed.fetch_add(size, Relaxed)
            }
        };
    }
}

impl Finished {
    /// How many spans it makes.
    fn spans(&self) -> u64 {
        1 + self.stages().count() as u64
    }

    /// The parts of what the model did, each with its beginning after the request's arrival. Nothing was queued or
    /// computed where the cache knew everything.
    fn stages(&self) -> impl Iterator<Item = (&'static str, Duration, Duration)> {
        let stages = self.outcome.spent.as_ref().map(|spent| {
            let Timing {
                prepare,
                queue,
                compute,
                ..
            } = spent.timing;
            let mut begin = spent
                .submitted
                .saturating_duration_since(self.outcome.arrived);
            let stages = [("prepare", prepare), ("queue", queue), ("compute", compute)];
            stages.map(|(name, time)| {
                let stage = (name, begin, time);
                begin += time;
                stage
            })
        });
        let is_there =
            |(name, _, time): &(&str, _, Duration)| *name == "prepare" || !time.is_zero();
        stages.into_iter().flatten().filter(is_there)
    }

    fn into_spans(self) -> Vec<SpanData> {
        let own = new_span();
        let scope = InstrumentationScope::builder("batchwright")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let context = |span| {
            let state = self.trace.state.clone();
            SpanContext::new(self.trace.id, span, TraceFlags::SAMPLED, false, state)
        };
        let began = self.trace.began;
        let of = |span, parent: Option<SpanId>, name, begin, time| SpanData {
            span_context: context(span),
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name,
            start_time: began + begin,
            end_time: began + begin + time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.clone(),
        };
        let zero = Duration::ZERO;
        let request = SpanData {
            parent_span_is_remote: self.trace.parent.is_some(),
            span_kind: SpanKind::Server,
            attributes: self.outcome.attributes(),
            status: match self.outcome.status {
                500.. => Status::error(""),
                _ => Status::Unset,
            },
            ..of(
                own,
                self.trace.parent,
                self.outcome.name(),
                zero,
                self.outcome.took,
            )
        };
        let stages = self
            .stages()
            .map(|(name, begin, time)| of(new_span(), Some(own), name.into(), begin, time));
        std::iter::once(request).chain(stages).collect()
    }
}

impl Outcome {
    fn is_grpc(&self) -> bool {
        self.route
            .is_some_and(|route| route.protocol == Protocol::Grpc)
    }

    /// As OpenTelemetry's conventions name spans of HTTP and of gRPC: never by the client's own words.
    fn name(&self) -> Cow<'static, str> {
        match self.route {
            Some(route) if self.is_grpc() => route.path.trim_start_matches('/').into(),
            Some(route) => format!("{} {}", route.method.name(), route.path).into(),
            None => "other".into(),
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let version = match self.version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        let id = self.request_id.to_str().unwrap_or_default().to_owned();
        let mut all = vec![
            KeyValue::new("http.request.method", self.method.to_string()),
            KeyValue::new("http.response.status_code", i64::from(self.status)),
            KeyValue::new("network.protocol.version", version),
            KeyValue::new("batchwright.request_id", id),
        ];
        if let Some(route) = self.route {
            all.push(KeyValue::new("http.route", route.path));
            if let (true, Some((service, method))) =
                (self.is_grpc(), route.path[1..].split_once('/'))
            {
                all.push(KeyValue::new("rpc.system", "grpc"));
                all.push(KeyValue::new("rpc.service", service));
                all.push(KeyValue::new("rpc.method", method));
            }
        }
        if let Some(spent) = &self.spent {
            let tokens = i64::try_from(spent.tokens).unwrap_or(i64::MAX);
            let load = i64::try_from(spent.loaded.load).unwrap_or(i64::MAX);
            all.push(KeyValue::new(
                "batchwright.model",
                spent.loaded.name.clone(),
            ));
            all.push(KeyValue::new(
                "batchwright.version",
                spent.loaded.version.clone(),
            ));
            all.push(KeyValue::new("batchwright.load", load));
            all.push(KeyValue::new("batchwright.tokens", tokens));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that samples a tenth would be sampled otherwise here than by its neighbours.
    #[test]
    fn a_share_of_traces_is_chosen_by_their_ids() {
        let ids: Vec<TraceId> = (0..2_000).map(|_| new_trace()).collect();
        let chosen_of = |ratio| ids.iter().filter(|&&id| chosen(id, ratio)).count();
        assert_eq!((chosen_of(0.0), chosen_of(1.0)), (0, ids.len()));
        assert!((350..650).contains(&chosen_of(0.25)), "{}", chosen_of(0.25));
        assert!(chosen(TraceId::from(1_u128), 0.001));
        assert!(!chosen(TraceId::from(u128::MAX), 0.999));
    }

    /// A trace would break off at this server, or be one with somebody else's.
    #[test]
    fn callers_are_read() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (trace, span, flags) = caller(parent.as_bytes()).unwrap();
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.to_string(), "00f067aa0ba902b7");
        assert!(flags.is_sampled());
        let of = |from: &str, to: &str| caller(parent.replace(from, to).as_bytes());
        assert!(!of("-01", "-00").unwrap().2.is_sampled());
        assert!(of("00-4b", "01-4b").is_some());
        for (from, to) in [
            ("00-4b", "ff-4b"),
            ("00f067aa0ba902b7", "0000000000000000"),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "00000000000000000000000000000000",
            ),
            ("-01", "-0"),
            ("-01", "-01-more"),
            ("-01", "-+1"),
            ("4bf9", "4BF9"),
            ("736-00f", "736_00f"),
            ("00-4b", "cc-4\u{e4}"),
        ] {
            assert!(of(from, to).is_none(), "{to}");
        }
        assert!(caller(b"").is_none());
        assert_eq!(address("http://a:4318"), "http://a:4318/v1/traces");
        assert_eq!(
            address("http://a:4318/v1/traces/"),
            "http://a:4318/v1/traces"
        );
    }
}
