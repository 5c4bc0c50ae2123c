//! Bytes of every kind against every route that takes a body.
//!
//! The bytes of an input: which route, which headers, where the body is cut in two, then the query up to the first
//! end of a line if the headers' byte says so, then the body. What may not happen: a panic, a 5xx other than a
//! deadline that has passed, an error that is no JSON, an answer that does not come.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{SERVER, in_two};

const CODINGS: [Option<&str>; 4] = [None, Some("gzip"), Some("zstd"), Some("deflate")];

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(routes);

/// A route that takes a body.
struct Route {
    method: String,
    path: String,
    example: Option<Value>,
}

/// Whatever the document says takes a body.
fn routes() -> Vec<Route> {
    let server = &*SERVER;
    let document = Request::get("/openapi.json").header("host", "fuzz");
    let document = document.body(Body::empty());
    let document = server.run("/openapi.json", async {
        let answer = server.router.clone().oneshot(document.unwrap());
        answer.await.unwrap().into_body().collect().await.unwrap().to_bytes()
    });
    let document: Value = serde_json::from_slice(&document).expect("a document");
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

/// Each example of the document, as it is, behind a query, and with other headers.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (at, route) in ROUTES.iter().enumerate() {
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
    let route = &ROUTES[usize::from(*at) % ROUTES.len()];
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
    // An address can be none.
    let Ok(request) = request.body(in_two(body, *cut)) else {
        return;
    };
    let (status, kind, said) = server.run(&route.path, async {
        let answer = server.router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let packed = answer.headers().contains_key("content-encoding");
        let kind = answer.headers().get("content-type").cloned();
        // A stream that breaks has an error for its end.
        let said = answer.into_body().collect().await;
        let said = said.ok().map(|body| body.to_bytes());
        (status, kind.filter(|_| !packed), said)
    });
    let said = said.unwrap_or_default();
    let shown = || String::from_utf8_lossy(&said);
    assert!(status < 500 || status == 504, "{} {status}: {}", route.path, shown());
    if kind.is_some_and(|kind| kind == "application/json") {
        let read = serde_json::from_slice::<Value>(&said);
        assert!(read.is_ok(), "{} {status}: {}", route.path, shown());
    }
}
