//! Messages of every kind for every method of gRPC but the one that would leave no model to ask.
//!
//! The bytes of an input: which method, how it is sent, where it is cut, and then a message; two, where the second
//! byte says so, or the frames of messages as they are. What may not happen: a panic, a status that says that this
//! program failed, frames that are broken, an answer that does not come.

use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Version};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::{MODELS, SERVER, in_two};

const METHODS: [&str; 13] = [
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ServerMetadata",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelConfig",
    "/inference.GRPCInferenceService/ModelStatistics",
    "/inference.GRPCInferenceService/RepositoryIndex",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
    "/grpc.health.v1.Health/Check",
    WATCH,
];
/// It ends with the server alone: its first message is waited for.
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The messages are packed.
const PACKED: u8 = 1;
/// They are framed already.
const FRAMED: u8 = 2;
/// There are two.
const TWO: u8 = 4;
/// The client gives a time.
const TIMED: u8 = 8;
/// It says that a service of another protocol is meant.
const ASTRAY: u8 = 16;

/// Statuses that say that this program failed: unknown, unimplemented, internal, data loss.
const FAILED: [&str; 4] = ["2", "12", "13", "15"];

/// A field of a message, with less than 128 bytes.
fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2, value.len() as u8], value].concat()
}

/// Requests with typed texts, raw ones, pairs, outputs and parameters; the names of models; and some of them in two.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut messages = vec![Vec::new()];
    let tensor = |name: &str, typed: bool| {
        let contents = field(5, &field(8, b"turn on the lights"));
        let parts = [field(1, name.as_bytes()), field(2, b"BYTES"), vec![3 << 3, 1]];
        field(5, &[parts.concat(), if typed { contents } else { Vec::new() }].concat())
    };
    for (name, _) in MODELS {
        let named = field(1, name.as_bytes());
        let raw = field(7, b"\x02\0\0\0on");
        let number = [field(1, b"priority"), field(2, &[2 << 3, 1])].concat();
        let wanted = field(6, &field(1, b"embedding"));
        for rest in [
            Vec::new(),
            tensor("text", true),
            [tensor("text", true), tensor("pair", true)].concat(),
            [tensor("text", false), raw].concat(),
            [field(3, b"id"), field(4, &number), tensor("text", true), wanted].concat(),
        ] {
            messages.push([named.clone(), rest].concat());
        }
        // As the repository's methods number it.
        messages.push(field(2, name.as_bytes()));
    }
    let mut seeds = Vec::new();
    for (at, method) in METHODS.iter().enumerate() {
        for message in &messages {
            let is_inference = method.ends_with("Infer");
            if is_inference || message.len() < 16 {
                seeds.push([&[at as u8, 0, 7], &message[..]].concat());
            }
            if is_inference {
                seeds.push([&[at as u8, PACKED | TWO, 128], &message[..], &message[..]].concat());
                seeds.push([&[at as u8, FRAMED, 7], &framed(message, false)[..]].concat());
            }
        }
    }
    seeds
}

/// A message as it is sent.
fn framed(message: &[u8], packed: bool) -> Vec<u8> {
    let message = match packed {
        true => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(message).unwrap();
            packer.finish().unwrap()
        }
        false => message.to_vec(),
    };
    let length = (message.len() as u32).to_be_bytes();
    [&[u8::from(packed)], &length[..], &message[..]].concat()
}

/// Asks, and looks at the answer.
pub fn ask(data: &[u8]) {
    let [at, flags, cut, rest @ ..] = data else {
        return;
    };
    let server = &*SERVER;
    let method = METHODS[usize::from(*at) % METHODS.len()];
    let packed = flags & PACKED != 0;
    let (first, second) = rest.split_at(rest.len() * usize::from(*cut) / 256);
    let body = match flags & (FRAMED | TWO) {
        0 => framed(rest, packed),
        TWO => [framed(first, packed), framed(second, packed)].concat(),
        _ => rest.to_vec(),
    };
    let mut request = Request::post(method)
        .version(Version::HTTP_2)
        .header("host", "fuzz")
        .header("te", "trailers")
        .header("content-type", "application/grpc+proto")
        .header("grpc-accept-encoding", "gzip,identity");
    if packed {
        request = request.header("grpc-encoding", "gzip");
    }
    if flags & TIMED != 0 {
        request = request.header("grpc-timeout", format!("{cut}m"));
    }
    if flags & ASTRAY != 0 {
        request = request.header("content-encoding", "zstd");
    }
    let request = request.body(in_two(&body, *cut)).unwrap();
    let (heads, said) = server.run(method, async {
        let answer = server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{method}");
        let (head, body) = answer.into_parts();
        let (trailers, said) = match method {
            WATCH => first_of(body).await,
            _ => {
                let said = body.collect().await.expect("a whole answer");
                (said.trailers().cloned(), said.to_bytes().to_vec())
            }
        };
        ([Some(head.headers), trailers], said)
    });
    let mut statuses = heads.iter().flatten();
    match statuses.find_map(|head| head.get("grpc-status")) {
        Some(status) => assert!(!FAILED.iter().any(|failed| status == failed), "{method} {heads:?}"),
        None => assert!(method == WATCH && !said.is_empty(), "{method} {heads:?}"),
    }
    let mut rest = &said[..];
    while let [_, a, b, c, d, more @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        rest = more.get(length..).expect("a whole frame");
    }
    assert!(rest.is_empty(), "{method}: {} bytes behind the last frame", rest.len());
}

/// The first frame of an answer that does not end.
async fn first_of(mut body: Body) -> (Option<HeaderMap>, Vec<u8>) {
    match body.frame().await {
        None => (None, Vec::new()),
        Some(frame) => match frame.expect("a frame").into_data() {
            Ok(data) => (None, data.to_vec()),
            Err(frame) => (frame.into_trailers().ok(), Vec::new()),
        },
    }
}
