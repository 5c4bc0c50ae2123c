//! A server in memory, with four tiny models, that is asked whatever a fuzzer thinks of.
//!
//! The bytes of an input: which route, which headers, where the body is cut in two, then the query up to the first
//! end of a line if the headers' byte says so, then the body. What may not happen: a panic, a 5xx other than a
//! deadline that has passed, an error that is no JSON, an answer that does not come.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "whatever goes wrong is what is looked for"
)]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use batchwright_engine::{Model, ServiceSettings};
use batchwright_server::{ModelSpec, ServerSettings, router};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

/// Longer than any of these tiny models needs for what fits into an input.
const PATIENCE: Duration = Duration::from_secs(20);
/// By their tasks; `spare` has its settings changed, so that nobody else is refused for it.
const MODELS: [(&str, &str); 5] = [
    ("embed", "bert-embed"),
    ("classify", "bert-classify"),
    ("rerank", "bert-rerank"),
    ("tag", "bert-tag"),
    ("spare", "distilbert-embed"),
];
const CODINGS: [Option<&str>; 4] = [None, Some("gzip"), Some("zstd"), Some("deflate")];

static SERVER: LazyLock<Server> = LazyLock::new(Server::new);

/// A route that takes a body.
struct Route {
    method: String,
    path: String,
    example: Option<Value>,
}

struct Server {
    runtime: Runtime,
    router: Router,
    routes: Vec<Route>,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/testing/golden");
        let models = MODELS.map(|(name, directory)| ModelSpec {
            name: name.to_owned(),
            version: "1".to_owned(),
            source: directory.to_owned(),
            builder: Model::builder(golden.join(directory).to_str().expect("a path of text"))
                .threads(1)
                .cache_bytes(1 << 20),
            settings: ServiceSettings::default(),
        });
        let settings = ServerSettings {
            max_body_bytes: 1 << 20,
            threads: 1,
            compress_from: 1 << 10,
            ..ServerSettings::default()
        };
        let router = runtime
            .block_on(router(settings, models.into()))
            .expect("a router");
        let document = Request::get("/openapi.json").header("host", "fuzz");
        let document = document.body(Body::empty());
        let document = runtime.block_on(async {
            let answer = router.clone().oneshot(document.unwrap()).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        });
        let document: Value = serde_json::from_slice(&document).expect("a document");
        Self {
            runtime,
            router,
            routes: routes(&document),
        }
    }
}

/// Whatever the document says takes a body.
fn routes(document: &Value) -> Vec<Route> {
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(content) = operation["requestBody"]["content"].as_object() else {
                continue;
            };
            let name = if method == "patch" { "spare" } else { "embed" };
            let example = content.values().find_map(|kind| kind.get("example")).cloned();
            routes.push(Route {
                method: method.to_uppercase(),
                path: path.replace("{name}", name).replace("{version}", "1"),
                example,
            });
        }
    }
    assert!(routes.len() > 10, "{}", routes.len());
    routes
}

/// Writes what to begin with into the folder that the variable SEEDS names, if it does, and ends the program.
pub fn write_seeds() {
    let Some(folder) = std::env::var_os("SEEDS") else {
        return;
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).expect("a folder that can be written into");
    for (number, seed) in seeds().iter().enumerate() {
        let file = folder.join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("a file that can be written");
    }
    std::process::exit(0);
}

/// Each example of the document, as it is, behind a query, and with other headers.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (at, route) in SERVER.routes.iter().enumerate() {
        let examples = match &route.example {
            Some(Value::Array(several)) if route.path.ends_with("stream") => several.clone(),
            Some(one) => vec![one.clone()],
            None => vec![Value::Null],
        };
        let body: Vec<String> = examples.iter().map(Value::to_string).collect();
        let body = body.join("\n");
        for (flags, before) in [(0, ""), (4, "top_k=1&model=classify\n"), (8, ""), (16, "")] {
            let head = [at as u8, flags, 7];
            seeds.push([&head, before.as_bytes(), body.as_bytes()].concat());
        }
    }
    seeds
}

/// Asks, and looks at the answer.
pub fn ask(data: &[u8]) {
    let [at, flags, cut, rest @ ..] = data else {
        return;
    };
    let server = &*SERVER;
    let route = &server.routes[usize::from(*at) % server.routes.len()];
    let end = rest.iter().position(|&byte| byte == b'\n');
    let (query, body) = match end.filter(|_| flags & 4 != 0) {
        Some(end) => (std::str::from_utf8(&rest[..end]).ok(), &rest[end + 1..]),
        None => (None, rest),
    };
    let address = match query {
        Some(query) => format!("{}?{query}", route.path),
        None => route.path.clone(),
    };
    let mut request = Request::builder()
        .method(route.method.as_str())
        .uri(address)
        .header("host", "fuzz")
        .header("content-type", "application/json");
    if let Some(coding) = CODINGS[usize::from(flags & 3)] {
        request = request.header("content-encoding", coding);
    }
    if flags & 8 != 0 {
        request = request.header("accept-encoding", "zstd");
    }
    if flags & 16 != 0 {
        let length = body.len() * usize::from(*cut) / 256;
        request = request.header("inference-header-content-length", length.to_string());
    }
    if flags & 32 != 0 {
        request = request.header("x-request-priority", "low");
    }
    let (first, second) = body.split_at(body.len() * usize::from(*cut) / 256);
    let pieces = [first, second].map(|piece| {
        Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(piece))
    });
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    // An address can be none.
    let Ok(request) = request.body(body) else {
        return;
    };
    let (status, kind, said) = server.runtime.block_on(async {
        let answering = async {
            let answer = server.router.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let packed = answer.headers().contains_key("content-encoding");
            let kind = answer.headers().get("content-type").cloned();
            // A stream that breaks has an error for its end.
            let said = answer.into_body().collect().await.map(|body| body.to_bytes());
            (status, kind.filter(|_| !packed), said.ok())
        };
        tokio::time::timeout(PATIENCE, answering)
            .await
            .unwrap_or_else(|_| panic!("no answer from {}", route.path))
    });
    let said = said.unwrap_or_default();
    let shown = || String::from_utf8_lossy(&said);
    assert!(status < 500 || status == 504, "{} {status}: {}", route.path, shown());
    if kind.is_some_and(|kind| kind == "application/json") {
        let read = serde_json::from_slice::<Value>(&said);
        assert!(read.is_ok(), "{} {status}: {}", route.path, shown());
    }
}
