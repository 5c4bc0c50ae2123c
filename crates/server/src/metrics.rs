//! Counting requests, and everything that is counted as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use engine::{HistogramStats, RemoteStats, ServiceStats};

use crate::app::App;
use crate::gpus::Gpu;
use crate::models::Loaded;
use crate::passing::GONE;
use crate::predict::limit_name;
use crate::routes::ROUTES;
use crate::tally::CONFIDENCES;

/// Statuses that this server answers with; all others are counted as the last.
const STATUSES: [u16; 19] = [
    200, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, GONE, 500, 503, 504, 304, 0,
];

/// Upper bounds of a request's duration.
const SECONDS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// What came in by route; one more for what is no route.
pub(crate) struct HttpMetrics {
    routes: Vec<RouteMetrics>,
}

struct RouteMetrics {
    statuses: [AtomicU64; STATUSES.len()],
    seconds: [AtomicU64; SECONDS.len() + 1],
    micros: AtomicU64,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let route = || RouteMetrics {
            statuses: Default::default(),
            seconds: Default::default(),
            micros: AtomicU64::new(0),
        };
        Self {
            routes: (0..=ROUTES.len()).map(|_| route()).collect(),
        }
    }
}

impl HttpMetrics {
    /// Counts a request; `route` is its place in the table, or the table's length.
    pub(crate) fn count(&self, route: usize, status: u16, took: Duration) {
        let last = STATUSES.len() - 1;
        let status = STATUSES
            .iter()
            .position(|&known| known == status)
            .unwrap_or(last);
        let seconds = took.as_secs_f64();
        let bucket = SECONDS.partition_point(|&bound| bound < seconds);
        let route = &self.routes[route];
        route.statuses[status].fetch_add(1, Relaxed);
        route.seconds[bucket].fetch_add(1, Relaxed);
        route.micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// Path, status and count of everything that has come in.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u16, u64)> {
        self.routes.iter().enumerate().flat_map(|(at, route)| {
            let (path, method) = name(at);
            let counts = STATUSES.iter().zip(&route.statuses);
            let counts =
                counts.map(move |(&status, count)| (path, method, status, count.load(Relaxed)));
            counts.filter(|(.., count)| *count > 0)
        })
    }
}

fn name(route: usize) -> (&'static str, &'static str) {
    match ROUTES.get(route) {
        Some(route) => (route.path, route.method.name()),
        None => ("other", "ANY"),
    }
}

/// A text in Prometheus' form.
#[derive(Default)]
struct Page(String);

impl Page {
    /// The head of a family; samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            for (at, (label, value)) in labels.iter().enumerate() {
                self.0.push(if at == 0 { '{' } else { ',' });
                let value = value
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                let _ = write!(self.0, "{label}=\"{value}\"");
            }
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        cumulative: impl Iterator<Item = (f64, u64)>,
        sum: f64,
    ) {
        let mut count = 0;
        for (bound, upto) in cumulative {
            count = upto;
            let bound = if bound.is_infinite() {
                "+Inf".to_owned()
            } else {
                bound.to_string()
            };
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .copied()
                .chain([("le", bound.as_str())])
                .collect();
            self.sample(&format!("{name}_bucket"), &labels, upto as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }
}

/// A family with one number a model: its name, kind, words, and where the number is.
type Number = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ServiceStats) -> f64,
);

const NUMBERS: &[Number] = &[
    (
        "requests_accepted_total",
        "counter",
        "Requests accepted",
        |s| s.accepted as f64,
    ),
    (
        "requests_answered_total",
        "counter",
        "Requests all of whose texts have an answer or an error",
        |s| s.answered as f64,
    ),
    (
        "requests_abandoned_total",
        "counter",
        "Requests given up by their clients before they were answered",
        |s| s.abandoned as f64,
    ),
    (
        "requests_in_flight",
        "gauge",
        "Requests accepted whose answers are not taken yet",
        |s| s.requests_in_flight as f64,
    ),
    (
        "tokens_in_flight",
        "gauge",
        "Tokens of the requests in flight",
        |s| s.tokens_in_flight as f64,
    ),
    (
        "bytes_in_flight",
        "gauge",
        "Bytes of the requests in flight: texts, tokens and answers",
        |s| s.bytes_in_flight as f64,
    ),
    (
        "queue_entries",
        "gauge",
        "Distinct texts that wait for a thread",
        |s| s.queue_entries as f64,
    ),
    ("queue_tokens", "gauge", "Their tokens", |s| {
        s.queue_tokens as f64
    }),
    ("queue_bytes", "gauge", "Bytes of their tokens", |s| {
        s.queue_bytes as f64
    }),
    (
        "workers",
        "gauge",
        "Threads that compute when there is something to compute",
        |s| s.workers as f64,
    ),
    ("workers_busy", "gauge", "Threads that have a batch", |s| {
        s.workers_busy as f64
    }),
    (
        "worker_panics_total",
        "counter",
        "Panics in the network; each failed one batch or some of its texts",
        |s| s.worker_panics as f64,
    ),
    ("tokens_computed_total", "counter", "Tokens computed", |s| {
        s.tokens as f64
    }),
    (
        "tokens_padded_total",
        "counter",
        "Tokens that would have been computed if each batch were padded to its longest text",
        |s| s.padded_tokens as f64,
    ),
    (
        "padding_waste_avoided_ratio",
        "gauge",
        "Share of those that would have been padding, 0 to 1; nothing is padded here",
        |s| s.padding_waste,
    ),
    (
        "compute_busy_seconds_total",
        "counter",
        "Time in the network, summed over the threads that worked",
        |s| s.busy_seconds,
    ),
    (
        "cache_hits_total",
        "counter",
        "Texts answered from the cache",
        |s| s.cache.hits as f64,
    ),
    (
        "cache_misses_total",
        "counter",
        "Texts that the cache did not know",
        |s| s.cache.misses as f64,
    ),
    (
        "cache_evictions_total",
        "counter",
        "Answers that made room for others",
        |s| s.cache.evictions as f64,
    ),
    ("cache_entries", "gauge", "Answers kept in memory", |s| {
        s.cache.entries as f64
    }),
    (
        "cache_bytes",
        "gauge",
        "Bytes of the answers kept in memory",
        |s| s.cache.bytes as f64,
    ),
    ("cache_disk_entries", "gauge", "Answers kept on disk", |s| {
        s.cache.disk_entries as f64
    }),
    (
        "cache_disk_bytes",
        "gauge",
        "Bytes of the answers kept on disk",
        |s| s.cache.disk_bytes as f64,
    ),
    (
        "cache_shared_hits_total",
        "counter",
        "Texts answered from the cache's server",
        |s| shared(s).hits as f64,
    ),
    (
        "cache_shared_misses_total",
        "counter",
        "Texts that the cache's server did not know",
        |s| shared(s).misses as f64,
    ),
    (
        "cache_shared_skipped_total",
        "counter",
        "Texts that the cache's server was not asked for, or did not tell in time",
        |s| shared(s).skipped as f64,
    ),
    (
        "cache_shared_written_total",
        "counter",
        "Answers that the cache's server has taken",
        |s| shared(s).written as f64,
    ),
    (
        "cache_shared_dropped_total",
        "counter",
        "Answers that the cache's server was not given, or did not take",
        |s| shared(s).dropped as f64,
    ),
    (
        "cache_shared_failures_total",
        "counter",
        "Lookups, writes and connections to the cache's server that failed",
        |s| shared(s).failures as f64,
    ),
    (
        "cache_compute_seconds_saved_total",
        "counter",
        "Time of one thread that the cache saved",
        |s| s.cache.compute_seconds_saved,
    ),
];

fn shared(stats: &ServiceStats) -> RemoteStats {
    stats.cache.remote.unwrap_or_default()
}

type Distribution = (
    &'static str,
    &'static str,
    fn(&ServiceStats) -> &HistogramStats,
);

const DISTRIBUTIONS: &[Distribution] = &[
    (
        "prepare_duration_seconds",
        "Tokenising and looking up, by request",
        |s| &s.prepare_seconds,
    ),
    (
        "queue_duration_seconds",
        "Waiting for a thread, by request",
        |s| &s.queue_seconds,
    ),
    (
        "compute_duration_seconds",
        "In the network, by request",
        |s| &s.compute_seconds,
    ),
    (
        "total_duration_seconds",
        "From arrival to answer, by request",
        |s| &s.total_seconds,
    ),
    ("batch_size", "Texts of a batch", |s| &s.batch_rows),
    ("batch_tokens", "Tokens of a batch", |s| &s.batch_tokens),
    (
        "batch_duration_seconds",
        "A batch from its start to its end",
        |s| &s.batch_seconds,
    ),
];

/// Everything, as Prometheus reads it.
pub(crate) fn prometheus(app: &App) -> String {
    let mut page = Page::default();
    http(&mut page, app);
    spans(&mut page, app);
    let models: Vec<_> = app
        .models
        .loaded()
        .map(|loaded| {
            let stats = loaded.service.stats();
            (loaded, stats)
        })
        .collect();
    for (name, kind, help, number) in NUMBERS {
        let name = format!("batchwright_{name}");
        page.family(&name, kind, help);
        for (loaded, stats) in &models {
            page.sample(&name, &labels(loaded), number(stats));
        }
    }
    for (name, help, of) in DISTRIBUTIONS {
        let name = format!("batchwright_{name}");
        page.family(&name, "histogram", help);
        for (loaded, stats) in &models {
            let histogram = of(stats);
            page.histogram(
                &name,
                &labels(loaded),
                histogram.cumulative(),
                histogram.sum,
            );
        }
    }
    by_cause(&mut page, &models);
    predictions(&mut page, &models);
    memory(&mut page, &models);
    gpus(&mut page, &app.gpus.read());
    page.0
}

fn labels(loaded: &Loaded) -> [(&str, &str); 2] {
    [("model", &loaded.name), ("version", &loaded.version)]
}

fn http(page: &mut Page, app: &App) {
    page.family(
        "batchwright_up_seconds",
        "gauge",
        "Seconds since the server started",
    );
    page.sample("batchwright_up_seconds", &[], app.uptime().as_secs_f64());
    requests(page, app);
    durations(page, app);
    gauges(page, app);
}

fn requests(page: &mut Page, app: &App) {
    let name = "batchwright_http_requests_total";
    page.family(
        name,
        "counter",
        "HTTP requests by route and status; 499: the client went away before its answer, or in the middle of a stream",
    );
    for (path, method, status, count) in app.metrics.requests() {
        let code = status.to_string();
        let labels = [("route", path), ("method", method), ("code", code.as_str())];
        page.sample(name, &labels, count as f64);
    }
}

fn durations(page: &mut Page, app: &App) {
    let name = "batchwright_http_duration_seconds";
    page.family(
        name,
        "histogram",
        "HTTP requests from their head to the head of the answer",
    );
    for (at, route) in app.metrics.routes.iter().enumerate() {
        let seconds = route.seconds.iter();
        let counts: Vec<u64> = seconds.map(|count| count.load(Relaxed)).collect();
        if counts.iter().all(|&count| count == 0) {
            continue;
        }
        let (path, method) = self::name(at);
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let mut upto = 0;
        let cumulative = bounds.zip(counts).map(|(bound, count)| {
            upto += count;
            (bound, upto)
        });
        let sum = route.micros.load(Relaxed) as f64 / 1e6;
        let labels = [("route", path), ("method", method)];
        page.histogram(name, &labels, cumulative, sum);
    }
}

fn gauges(page: &mut Page, app: &App) {
    for (name, help, value) in [
        (
            "batchwright_connections",
            "Connections that are open",
            app.connections.count(),
        ),
        (
            "batchwright_streams",
            "Streams of predictions that are open",
            app.streams.count(),
        ),
        (
            "batchwright_body_bytes",
            "Bytes of bodies in memory",
            app.body_bytes.held() as u64,
        ),
        (
            "batchwright_ready",
            "Whether requests are welcome",
            u64::from(app.unready().is_empty()),
        ),
    ] {
        page.family(name, "gauge", help);
        page.sample(name, &[], value as f64);
    }
}

/// Only where traces are wanted.
fn spans(page: &mut Page, app: &App) {
    let Some(traces) = &app.traces else { return };
    let name = "batchwright_spans_total";
    page.family(
        name,
        "counter",
        "Spans of traces: sent, dropped because the queue was full, or not taken by the collector",
    );
    for (outcome, count) in traces.counts() {
        page.sample(name, &[("outcome", outcome)], count as f64);
    }
}

type Of<'a> = [(std::sync::Arc<Loaded>, ServiceStats)];

fn by_cause(page: &mut Page, models: &Of<'_>) {
    for (name, label, help, of) in [
        (
            "batchwright_requests_refused_total",
            "cause",
            "Requests refused, by the limit that they met",
            (|stats| &stats.refused) as fn(&ServiceStats) -> &Vec<(&'static str, u64)>,
        ),
        (
            "batchwright_failures_total",
            "code",
            "Texts that carry an error, by its code",
            |stats| &stats.failures,
        ),
    ] {
        page.family(name, "counter", help);
        for (loaded, stats) in models {
            for (cause, count) in of(stats) {
                let [model, version] = labels(loaded);
                page.sample(
                    name,
                    &[model, version, (label, limit_name(cause))],
                    *count as f64,
                );
            }
        }
    }
    let name = "batchwright_texts_total";
    page.family(
        name,
        "counter",
        "Texts answered, by how: computed, shared with an equal one, or cached",
    );
    for (loaded, stats) in models {
        let [model, version] = labels(loaded);
        for (how, count) in [
            ("computed", stats.rows_computed),
            ("shared", stats.rows_shared),
            ("cached", stats.rows_cached),
        ] {
            page.sample(name, &[model, version, ("how", how)], count as f64);
        }
    }
}

fn predictions(page: &mut Page, models: &Of<'_>) {
    let name = "batchwright_predictions_total";
    page.family(
        name,
        "counter",
        "Predictions by label: the best of a text, or each entity's",
    );
    for (loaded, _) in models {
        let [model, version] = labels(loaded);
        for (label, count) in loaded.tally.labels() {
            page.sample(name, &[model, version, ("label", label)], count as f64);
        }
    }
    let name = "batchwright_confidence";
    page.family(
        name,
        "histogram",
        "Scores of the predictions that are counted, 0 to 1",
    );
    for (loaded, _) in models {
        let mut upto = 0;
        let mut cumulative: Vec<(f64, u64)> = Vec::with_capacity(CONFIDENCES.len() + 1);
        for (bound, count) in CONFIDENCES.into_iter().zip(loaded.tally.confidences()) {
            upto += count;
            // As the bound is written, not as the nearest f64 to an f32.
            cumulative.push(((f64::from(bound) * 10.0).round() / 10.0, upto));
        }
        cumulative.push((f64::INFINITY, upto));
        page.histogram(
            name,
            &labels(loaded),
            cumulative.into_iter(),
            loaded.tally.sum(),
        );
    }
}

fn memory(page: &mut Page, models: &Of<'_>) {
    let name = "batchwright_model_memory_bytes";
    page.family(
        name,
        "gauge",
        "What a model takes: weights, workspaces, cache",
    );
    for (loaded, _) in models {
        let memory = loaded.service.model().memory_stats();
        let [model, version] = labels(loaded);
        for (kind, bytes) in [
            ("weights", memory.weights_bytes),
            ("workspaces", memory.workspace_bytes),
            ("cache", memory.cache_bytes),
        ] {
            page.sample(name, &[model, version, ("kind", kind)], bytes as f64);
        }
    }
    let name = "batchwright_model_load_seconds";
    page.family(
        name,
        "gauge",
        "How long the model took to load and to warm up",
    );
    for (loaded, _) in models {
        page.sample(name, &labels(loaded), loaded.load_time.as_secs_f64());
    }
    if let Some((loaded, _)) = models.first() {
        let memory = loaded.service.model().memory_stats();
        page.family(
            "process_resident_memory_bytes",
            "gauge",
            "Memory that the process holds",
        );
        page.sample(
            "process_resident_memory_bytes",
            &[],
            memory.resident_bytes as f64,
        );
    }
}

/// Only where there are any that answer.
fn gpus(page: &mut Page, gpus: &[Gpu]) {
    for (name, help, of) in [
        (
            "batchwright_gpu_memory_used_bytes",
            "Memory of the GPU that is in use, whoever uses it, without what the driver reserves",
            (|gpu| Some(gpu.used)) as fn(&Gpu) -> Option<u64>,
        ),
        (
            "batchwright_gpu_memory_total_bytes",
            "Memory that the GPU has",
            |gpu| Some(gpu.total),
        ),
        (
            "batchwright_gpu_memory_process_bytes",
            "Memory of the GPU that this process holds",
            |gpu| gpu.process,
        ),
    ] {
        let samples = gpus.iter().filter_map(|gpu| Some((gpu, of(gpu)?)));
        let samples: Vec<_> = samples.collect();
        if samples.is_empty() {
            continue;
        }
        page.family(name, "gauge", help);
        for (gpu, bytes) in samples {
            let labels = [
                ("index", gpu.index.as_str()),
                ("uuid", &gpu.uuid),
                ("name", &gpu.name),
            ];
            page.sample(name, &labels, bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A label with a quotation mark would make the whole page unreadable to Prometheus.
    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.sample("a", &[("label", "say \"hi\"\\\n")], 1.0);
        assert_eq!(page.0, "a{label=\"say \\\"hi\\\"\\\\\\n\"} 1\n");
    }

    /// A duration in two buckets, or in none, is a wrong percentile on somebody's dashboard.
    #[test]
    fn a_request_is_counted_once() {
        let metrics = HttpMetrics::default();
        for (status, ms) in [(200, 1), (200, 20_000), (418, 0)] {
            metrics.count(ROUTES.len(), status, Duration::from_millis(ms));
        }
        let counted: Vec<_> = metrics.requests().collect();
        assert_eq!(counted, [("other", "ANY", 200, 2), ("other", "ANY", 0, 1)]);
        let buckets = &metrics.routes[ROUTES.len()].seconds;
        let buckets: Vec<u64> = buckets.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(buckets.iter().sum::<u64>(), 3);
        assert_eq!((buckets[0], buckets[2], buckets[SECONDS.len()]), (1, 1, 1));
    }
}
