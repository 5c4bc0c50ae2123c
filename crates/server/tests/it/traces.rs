//! Traces, as a collector of the test's own receives them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use batchwright_server::{OtlpSettings, Sampling, ServerSettings, Stopped};
use prost::Message;
use serde_json::json;

use crate::client::{Running, settings, spec};

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    begin: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, tag = "3")]
    number: i64,
}

fn value(attributes: &[Attribute], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|one| one.key == key);
    found.and_then(|one| one.value.clone())
}

/// Takes what is exported; gives its address.
fn collector() -> (String, Receiver<Export>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(body) = post(&mut stream) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer).unwrap();
                    let _ = send.send(Export::decode(&body[..]).unwrap());
                }
            });
        }
    });
    (address, receive)
}

/// The body of a request for `/v1/traces`; none once the connection has ended.
fn post(from: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut line, mut length, mut kind) = (String::new(), 0, String::new());
    from.read_line(&mut line).ok().filter(|&size| size > 0)?;
    assert!(line.starts_with("POST /v1/traces HTTP/1.1"), "{line}");
    loop {
        line.clear();
        from.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => kind = value.to_owned(),
            _ => {}
        }
    }
    assert_eq!(kind, "application/x-protobuf");
    let mut body = vec![0; length];
    from.read_exact(&mut body).unwrap();
    Some(body)
}

fn traced(endpoint: &str, otlp: OtlpSettings) -> Running {
    let otlp = OtlpSettings {
        endpoint: Some(endpoint.to_owned()),
        delay: Duration::from_millis(10),
        ..otlp
    };
    let settings = ServerSettings {
        otlp: Some(otlp),
        ..settings()
    };
    Running::with(settings, vec![spec("m", "bert-embed")])
}

/// The spans of a trace, once its request is among them. Others may come before.
fn spans_of(exports: &Receiver<Export>, trace: &[u8]) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    while !found.iter().any(|span| span.kind == 2) {
        let export = exports.recv_timeout(Duration::from_secs(120)).unwrap();
        for resource in export.resources {
            let attributes = resource.resource.unwrap().attributes;
            assert_eq!(
                value(&attributes, "service.name").unwrap().text,
                "batchwright"
            );
            let spans = resource.scopes.into_iter().flat_map(|scope| scope.spans);
            found.extend(spans.filter(|span| span.trace == trace));
        }
    }
    found
}

const TRACE: [u8; 16] = [
    0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36,
];
const CALLER: [u8; 8] = [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

fn parent(flags: &str) -> String {
    format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}")
}

/// A trace would end at this server, or not tell where a request's time went.
#[test]
fn a_request_is_a_span_of_its_caller_s_trace_and_its_stages_lie_within() {
    let (address, exports) = collector();
    let server = traced(&address, OtlpSettings::default());
    let body = br#"{"text": "turn on the lights"}"#;
    // What its caller does not trace is not traced here.
    let unsampled = parent("00").replace("4bf9", "5bf9");
    server
        .ask("POST", "/embed", &[("traceparent", &unsampled)], body)
        .json(200);
    let sampled = [
        ("traceparent", parent("01")),
        ("x-request-id", "mine".to_owned()),
    ];
    let sampled: Vec<(&str, &str)> = sampled
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let other = br#"{"text": "what is my balance"}"#;
    let got = server.ask("POST", "/embed", &sampled, other);
    assert_eq!(
        (got.status, &*got.headers["traceparent"]),
        (200, &*parent("01"))
    );
    let spans = spans_of(&exports, &TRACE);
    let request = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!(
        (&*request.name, &request.parent[..]),
        ("POST /embed", &CALLER[..])
    );
    for (key, wanted) in [
        ("http.route", "/embed"),
        ("batchwright.model", "m"),
        ("batchwright.request_id", "mine"),
    ] {
        assert_eq!(
            value(&request.attributes, key).unwrap().text,
            wanted,
            "{key}"
        );
    }
    assert_eq!(
        value(&request.attributes, "http.response.status_code")
            .unwrap()
            .number,
        200
    );
    assert!(
        value(&request.attributes, "batchwright.tokens")
            .unwrap()
            .number
            > 0
    );
    let mut stages: Vec<&Span> = spans.iter().filter(|span| span.kind == 1).collect();
    stages.sort_by_key(|span| span.begin);
    let names: Vec<&str> = stages.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["prepare", "queue", "compute"]);
    let mut before = request.begin;
    for stage in stages {
        assert_eq!(stage.parent, request.id);
        assert!(
            before <= stage.begin && stage.begin <= stage.end && stage.end <= request.end,
            "{spans:?}"
        );
        before = stage.end;
    }
    // An error has no stages, and gRPC's names are its own.
    let bad = parent("01").replace("4bf9", "6bf9");
    let got = server.ask(
        "POST",
        "/inference.GRPCInferenceService/ModelInfer",
        &[("traceparent", &bad)],
        b"",
    );
    assert_eq!(got.headers["grpc-status"], "3");
    let mut trace = TRACE;
    trace[0] = 0x6b;
    let spans = spans_of(&exports, &trace);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "inference.GRPCInferenceService/ModelInfer");
    assert_eq!(
        value(&spans[0].attributes, "rpc.method").unwrap().text,
        "ModelInfer"
    );
    assert_eq!(
        value(&spans[0].attributes, "http.response.status_code")
            .unwrap()
            .number,
        400
    );
    let page = server.get("/metrics").text();
    assert!(
        page.contains("batchwright_spans_total{outcome=\"dropped\"} 0"),
        "{page}"
    );
    assert!(server.get("/stats").json(200)["spans"]["exported"].as_u64() >= Some(5));
    // The last ones are sent before the server has ended.
    let last = parent("01").replace("4bf9", "7bf9");
    server
        .ask("GET", "/models", &[("traceparent", &last)], b"")
        .json(200);
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
    trace[0] = 0x7b;
    assert_eq!(spans_of(&exports, &trace)[0].name, "GET /models");
    trace[0] = 0x5b;
    let rest = exports.try_iter().flat_map(|export| export.resources);
    let rest = rest
        .flat_map(|resource| resource.scopes)
        .flat_map(|scope| scope.spans);
    assert!(rest.into_iter().all(|span| span.trace != trace));
}

/// A collector that is away would take the service with it, or its loss go unseen.
#[test]
fn a_collector_that_is_away_or_hangs_costs_no_request() {
    // Nobody listens there, and no other test is ever given that port.
    let server = traced("http://127.0.0.1:1", OtlpSettings::default());
    for _ in 0..20 {
        server
            .post("/embed", &json!({"text": "turn on the lights"}))
            .json(200);
    }
    server.until("/metrics", |got| {
        let page = got.text();
        let failed = page
            .lines()
            .find_map(|line| line.strip_prefix("batchwright_spans_total{outcome=\"failed\"} "));
        failed.is_some_and(|count| count.parse::<u64>().unwrap() > 0)
    });
    assert_eq!(server.stop().unwrap(), Stopped::Clean);

    // It takes connections on and never answers: what does not fit into the queue is dropped.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hanging.local_addr().unwrap());
    let server = traced(
        &address,
        OtlpSettings {
            queue: 4,
            ..OtlpSettings::default()
        },
    );
    // More than an export holds, so that one hangs while others wait.
    for _ in 0..800 {
        server.get("/health/live").json(200);
    }
    server.until("/stats", |got| {
        got.json(200)["spans"]["dropped"].as_u64() > Some(0)
    });
    let begun = Instant::now();
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    drop(hanging);
}

/// A share of requests would be another than was asked for.
#[test]
fn requests_without_a_caller_are_traced_by_the_ratio() {
    let (address, exports) = collector();
    let none = Sampling {
        follow_parent: true,
        ratio: 0.0,
    };
    let server = traced(
        &address,
        OtlpSettings {
            sampling: none,
            ..OtlpSettings::default()
        },
    );
    server.post("/embed", &json!({"text": "a"})).json(200);
    server
        .ask("GET", "/models", &[("traceparent", &parent("01"))], b"")
        .json(200);
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
    let all: Vec<Span> = exports
        .try_iter()
        .flat_map(|export| export.resources)
        .flat_map(|resource| resource.scopes)
        .flat_map(|scope| scope.spans)
        .collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].trace, TRACE);
}

/// A misspelt address would be found out from missing traces.
#[test]
fn an_address_that_is_none_is_said_at_the_start() {
    let settings = ServerSettings {
        otlp: Some(OtlpSettings {
            endpoint: Some("not an address".to_owned()),
            ..OtlpSettings::default()
        }),
        ..settings()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bound = runtime.block_on(batchwright_server::Server::bind(
        settings,
        vec![spec("m", "bert-embed")],
    ));
    let words = bound.err().map(|error| error.to_string());
    assert!(
        words.as_ref().is_some_and(|words| words.contains("OTLP")),
        "{words:?}"
    );
}
