//! The Open Inference Protocol over gRPC, as a client of its own messages sees it.

use std::collections::HashMap;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use axum::http::{Request as HttpRequest, Response as HttpResponse, Uri};
use batchwright_server::{ServerSettings, Stopped};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::client::{Running, bits, builder, settings, spec};

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct Truth {
    #[prost(bool, tag = "1")]
    is_so: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// As `RepositoryModelLoadRequest` names a model.
#[derive(Clone, PartialEq, Message)]
struct Repository {
    #[prost(string, tag = "2")]
    model: String,
    #[prost(map = "string, message", tag = "3")]
    parameters: HashMap<String, Nothing>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(int64, optional, tag = "1000")]
    unknown: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    number: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(float, repeated, tag = "6")]
    floats: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    texts: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Infer {
    #[prost(string, tag = "1")]
    model: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(map = "string, message", tag = "4")]
    parameters: HashMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    outputs: Vec<Named>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Inferred {
    #[prost(string, tag = "1")]
    model: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Streamed {
    #[prost(string, tag = "1")]
    error: String,
    #[prost(message, optional, tag = "2")]
    inferred: Option<Inferred>,
}

#[derive(Clone, PartialEq, Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A connection by prior knowledge.
struct Connection(SendRequest<Body>);

impl tower_service::Service<HttpRequest<Body>> for Connection {
    type Response = HttpResponse<Incoming>;
    type Error = hyper::Error;
    type Future =
        Pin<Box<dyn Future<Output = Result<HttpResponse<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A client of gRPC, and the runtime that its connection lives in.
struct Client {
    runtime: Runtime,
    grpc: tonic::client::Grpc<Connection>,
}

impl Client {
    fn of(server: &Running) -> Self {
        let runtime = Runtime::new().unwrap();
        let address = server.address;
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = TokioIo::new(stream);
            let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        let origin = Uri::try_from(format!("http://{address}")).unwrap();
        Self {
            runtime,
            grpc: tonic::client::Grpc::with_origin(Connection(sender), origin),
        }
    }

    fn compressing(mut self) -> Self {
        self.grpc = self.grpc.send_compressed(Gzip).accept_compressed(Gzip);
        self
    }

    fn ask<A, B>(
        &mut self,
        method: &'static str,
        request: Request<A>,
    ) -> Result<Response<B>, Status>
    where
        A: Message + Send + Sync + 'static,
        B: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::from_static(method);
        let grpc = &mut self.grpc;
        self.runtime.block_on(async {
            grpc.ready().await.unwrap();
            grpc.unary(request, path, ProstCodec::<A, B>::default())
                .await
        })
    }

    fn infer(&mut self, ask: Infer) -> Result<Inferred, Status> {
        let answer = self.ask(INFER, Request::new(ask))?;
        Ok(answer.into_inner())
    }

    fn health(&mut self, service: &str) -> Result<i32, Status> {
        let name = service.to_owned();
        let answer =
            self.ask::<_, Health>("/grpc.health.v1.Health/Check", Request::new(Named { name }))?;
        Ok(answer.into_inner().status)
    }

    fn is(&mut self, method: &'static str, name: &str) -> Result<bool, Status> {
        let name = name.to_owned();
        Ok(self
            .ask::<_, Truth>(method, Request::new(Named { name }))?
            .into_inner()
            .is_so)
    }
}

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const MODEL_READY: &str = "/inference.GRPCInferenceService/ModelReady";

fn texts(name: &str, texts: &[&str]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        datatype: "BYTES".to_owned(),
        shape: vec![texts.len() as i64],
        contents: Some(Contents {
            texts: texts.iter().map(|text| text.as_bytes().to_vec()).collect(),
            ..Contents::default()
        }),
    }
}

fn ask(model: &str, inputs: &[Tensor]) -> Infer {
    Infer {
        model: model.to_owned(),
        inputs: inputs.to_vec(),
        ..Infer::default()
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

#[track_caller]
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .unwrap_or_else(|| panic!("{status:?}"))
        .reason
        .clone()
}

/// Triton's and KServe's clients would read other numbers than offline, or none.
#[test]
fn tensors_in_either_form_are_answered_in_that_form() {
    let models = [
        ("m", "bert-embed"),
        ("c", "bert-classify"),
        ("r", "bert-rerank"),
    ];
    let server = Running::of(&models);
    let expected = builder("bert-embed")
        .load()
        .unwrap()
        .embed(["turn on the lights", "b"])
        .unwrap();
    let wanted = bits(&expected.concat());
    for mut client in [Client::of(&server), Client::of(&server).compressing()] {
        let typed = Infer {
            id: "7".to_owned(),
            parameters: [("timeout", 60_000_000), ("priority", 1)]
                .map(|(name, number)| {
                    (
                        name.to_owned(),
                        Parameter {
                            number: Some(number),
                            unknown: None,
                        },
                    )
                })
                .into(),
            ..ask("m", &[texts("text", &["turn on the lights", "b"])])
        };
        let got = client.infer(typed.clone()).unwrap();
        assert_eq!((&*got.model, &*got.version, &*got.id), ("m", "1", "7"));
        let output = &got.outputs[0];
        assert_eq!((&*output.name, &*output.datatype), ("embedding", "FP32"));
        assert_eq!(output.shape, [2, expected[0].len() as i64]);
        assert_eq!(bits(&output.contents.as_ref().unwrap().floats), wanted);
        assert!(got.raw.is_empty());

        let mut raw = typed;
        raw.inputs[0].contents = None;
        raw.raw = vec![b"\x12\0\0\0turn on the lights\x01\0\0\0b".to_vec()];
        let got = client.infer(raw).unwrap();
        assert_eq!(bits(&floats(&got.raw[0])), wanted);
        assert_eq!(got.outputs[0].contents, None);
    }
    let mut client = Client::of(&server);
    // One output of two, and a pair.
    let labels = Infer {
        outputs: vec![Named {
            name: "label".to_owned(),
        }],
        ..ask("c", &[texts("text", &["turn on the lights"])])
    };
    let got = client.infer(labels).unwrap();
    let label = builder("bert-classify")
        .load()
        .unwrap()
        .classify(["turn on the lights"])
        .unwrap()[0][0]
        .label
        .clone();
    assert_eq!(got.outputs.len(), 1);
    assert_eq!(
        got.outputs[0].contents.as_ref().unwrap().texts,
        [label.into_bytes()]
    );
    let pair = [
        texts("text", &["lights"]),
        texts("pair", &["lights are on"]),
    ];
    let got = client.infer(ask("r", &pair)).unwrap();
    let expected = builder("bert-rerank")
        .load()
        .unwrap()
        .rerank("lights", ["lights are on"])
        .unwrap();
    assert_eq!(
        bits(&got.outputs[0].contents.as_ref().unwrap().floats),
        bits(&expected)
    );
    // Counted by method, like any route.
    let page = server.get("/metrics").text();
    assert!(
        page.contains(&format!(
            "{{route=\"{INFER}\",method=\"POST\",code=\"200\"}} 6"
        )),
        "{page}"
    );
}

/// A client would take a mistake of its own for the server's, or not know what to mend.
#[test]
fn problems_are_statuses_with_the_stable_code() {
    let server = Running::with(
        ServerSettings {
            max_body_bytes: 4_096,
            ..settings()
        },
        vec![spec("m", "bert-embed")],
    );
    let mut client = Client::of(&server);
    let good = texts("text", &["a"]);
    let of = |change: &dyn Fn(&mut Tensor)| {
        let mut input = good.clone();
        change(&mut input);
        ask("m", &[input])
    };
    let many = |row: &'static str, count| ask("m", &[texts("text", &vec![row; count])]);
    let negative = Infer {
        parameters: [(
            "timeout".to_owned(),
            Parameter {
                number: Some(-1),
                unknown: None,
            },
        )]
        .into(),
        ..ask("m", std::slice::from_ref(&good))
    };
    let two_raw = Infer {
        raw: vec![vec![], vec![]],
        ..of(&|input| input.contents = None)
    };
    for (ask, code, name, words) in [
        (ask("x", &[]), Code::NotFound, "unknown_model", "`x`"),
        (
            ask("m", &[]),
            Code::InvalidArgument,
            "bad_request",
            "`text` is missing",
        ),
        (
            of(&|input| input.shape = vec![2]),
            Code::InvalidArgument,
            "bad_request",
            "has 1 values",
        ),
        (
            of(&|input| input.shape = vec![-1]),
            Code::InvalidArgument,
            "bad_request",
            "has 1 values",
        ),
        (
            of(&|input| input.datatype = "FP32".to_owned()),
            Code::InvalidArgument,
            "bad_request",
            "texts are BYTES",
        ),
        (
            of(&|input| input.contents.as_mut().unwrap().texts[0] = vec![0xff]),
            Code::InvalidArgument,
            "bad_request",
            "not UTF-8",
        ),
        (
            of(&|input| {
                input.contents = None;
                input.shape = vec![0];
            }),
            Code::InvalidArgument,
            "bad_request",
            "no text",
        ),
        (negative, Code::InvalidArgument, "bad_request", "`timeout`"),
        (
            two_raw,
            Code::InvalidArgument,
            "bad_request",
            "2 raw_input_contents",
        ),
        (
            many("aaaaaaaaaaaaaaa", 400),
            Code::ResourceExhausted,
            "too_large",
            "max_body_bytes",
        ),
    ] {
        let status = client.infer(ask).unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (code, name),
            "{status:?}"
        );
        assert!(status.message().contains(words), "{status:?}");
    }
    // Its own words come back only as far as a header holds them.
    let long = client.infer(ask(&"ß".repeat(1_500), &[])).unwrap_err();
    assert_eq!(
        (long.code(), reason(&long).as_str()),
        (Code::NotFound, "unknown_model")
    );
    assert!(long.message().len() < 1_100, "{long:?}");
    // A method that is not there, and a message that is none.
    let astray = client.ask::<_, Nothing>(
        "/inference.GRPCInferenceService/LogSettings",
        Request::new(Nothing {}),
    );
    assert_eq!(astray.unwrap_err().code(), Code::Unimplemented);
    let astray = client.ask::<_, Nothing>("/other.Service/Method", Request::new(Nothing {}));
    assert_eq!(astray.unwrap_err().code(), Code::Unimplemented);
    let truth = Truth { is_so: true };
    let broken = client
        .ask::<_, Nothing>(INFER, Request::new(truth))
        .unwrap_err();
    assert_eq!(
        (broken.code(), reason(&broken).as_str()),
        (Code::InvalidArgument, "bad_request")
    );
    // What time has run out for is not computed. The client's own clock is not asked.
    let mut late = Request::new(ask("m", std::slice::from_ref(&good)));
    late.metadata_mut()
        .insert("grpc-timeout", "1n".parse().unwrap());
    let late = client.ask::<_, Inferred>(INFER, late).unwrap_err();
    assert_eq!(
        (late.code(), reason(&late).as_str()),
        (Code::DeadlineExceeded, "deadline")
    );
    // By the way of HTTP/1.1 there are no trailers, so no gRPC.
    let kind = [("content-type", "application/grpc")];
    let got = server.ask("POST", INFER, &kind, b"\0\0\0\0\0");
    assert_eq!(got.headers["grpc-status"], "3");
    assert!(got.headers["grpc-message"].contains("HTTP/2"), "{got:?}");
    assert_eq!(client.infer(ask("m", &[good])).unwrap().outputs.len(), 1);
    let page = server.get("/metrics").text();
    for (code, count) in [(200, 1), (404, 2), (413, 1), (429, 1)] {
        let line = format!("{{route=\"{INFER}\",method=\"POST\",code=\"{code}\"}} {count}");
        assert!(page.contains(&line), "{line}\n{page}");
    }
    assert!(page.contains("batchwright_body_bytes 0\n"), "{page}");
}

/// A legal message would be refused, or one that unpacks beyond the limit be called a client's mistake.
#[test]
fn the_limit_of_a_message_is_its_own_size_unpacked() {
    let most = 4_096;
    let server = Running::with(
        ServerSettings {
            max_body_bytes: most,
            ..settings()
        },
        vec![spec("m", "bert-embed")],
    );
    let sized = |size: usize| {
        let with = |length: usize| ask("m", &[texts("text", &["a ".repeat(length).trim_end()])]);
        let longest = (0..size).rev().map(with);
        let mut fitting = longest.filter(|ask| ask.encoded_len() <= size);
        let mut ask = fitting.next().unwrap();
        ask.id = "x".repeat((size - ask.encoded_len()).saturating_sub(2));
        assert!(ask.encoded_len() >= size - 1, "{}", ask.encoded_len());
        ask
    };
    for mut client in [Client::of(&server), Client::of(&server).compressing()] {
        client.infer(sized(most)).unwrap();
        let status = client.infer(sized(2 * most)).unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::ResourceExhausted, "too_large")
        );
        let details = status.get_error_details();
        let limit = &details.error_info().unwrap().metadata["limit"];
        assert_eq!(limit, "max_body_bytes");
    }
    // Of messages that come together each is its own.
    let mut client = Client::of(&server);
    let requests = futures_util::stream::iter(vec![sized(most); 3]);
    let (grpc, codec) = (&mut client.grpc, ProstCodec::<Infer, Streamed>::default());
    client.runtime.block_on(async {
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(STREAM);
        let answers = grpc.streaming(Request::new(requests), path, codec).await;
        let mut answers = answers.unwrap().into_inner();
        for _ in 0..3 {
            assert_eq!(answers.message().await.unwrap().unwrap().error, "");
        }
        assert_eq!(answers.message().await.unwrap(), None);
    });
}

/// Small messages would take memory that nobody counts, until there is none.
#[test]
fn what_a_message_takes_is_counted_before_it_is_made() {
    let server = Running::with(
        ServerSettings {
            max_body_bytes: 32_768,
            max_body_bytes_in_flight: 65_536,
            ..settings()
        },
        vec![spec("m", "bert-embed")],
    );
    let mut client = Client::of(&server);
    let many = ask("m", &[texts("text", &[""; 1_000])]);
    assert!(many.encoded_len() < 3_000);
    let status = client.infer(many).unwrap_err();
    let details = status.get_error_details();
    let limit = &details.error_info().unwrap().metadata["limit"];
    assert_eq!(
        (status.code(), reason(&status).as_str(), limit.as_str()),
        (
            Code::ResourceExhausted,
            "too_large",
            "max_body_bytes_in_flight"
        )
    );
    let inputs = vec![texts("text", &["a"]); 9];
    let status = client.infer(ask("m", &inputs)).unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "bad_request")
    );
    assert!(
        status.message().contains("more than 8 `inputs`"),
        "{status:?}"
    );
    client.infer(ask("m", &[texts("text", &["a"])])).unwrap();
    // JSON is counted alike.
    let got = server.post("/embed", &json!({"texts": vec![""; 1_000]}));
    assert_eq!(
        got.json(413)["error"]["limit"]["name"],
        "max_body_bytes_in_flight"
    );
    server
        .post("/embed", &json!({"texts": vec!["a"; 100]}))
        .json(200);
    let page = server.get("/metrics").text();
    assert!(page.contains("batchwright_body_bytes 0\n"), "{page}");
}

/// A full server would be hammered by clients that try again at once.
#[test]
fn a_limit_is_named_and_says_when_to_come_again() {
    let server = Running::with(
        ServerSettings {
            max_body_bytes: 4_096,
            max_body_bytes_in_flight: 4_096,
            ..settings()
        },
        vec![spec("m", "bert-embed")],
    );
    // Another keeps the room, for it never sends the rest.
    let mut slow = server.connect();
    let part = "x".repeat(4_000);
    let head = "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: 4090\r\n\r\n";
    slow.write_all(format!("{head}{part}").as_bytes()).unwrap();
    server.until("/metrics", |got| {
        got.text().contains("batchwright_body_bytes 4000")
    });
    let mut client = Client::of(&server);
    let status = client
        .infer(ask("m", &[texts("text", &["a"; 32])]))
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "overloaded")
    );
    let details = status.get_error_details();
    assert_eq!(
        details.error_info().unwrap().metadata["limit"],
        "max_body_bytes_in_flight"
    );
    let wait = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::ZERO);
    assert_eq!(
        status.metadata().get("grpc-retry-pushback-ms").unwrap(),
        "1000"
    );
}

/// The port would be open to whoever speaks gRPC.
#[test]
fn keys_hold_for_grpc_too() {
    let server = Running::with(
        ServerSettings {
            api_keys: vec!["use".to_owned()],
            admin_keys: vec!["admin".to_owned()],
            ..settings()
        },
        vec![spec("m", "bert-embed")],
    );
    let mut client = Client::of(&server);
    assert!(
        client
            .is("/inference.GRPCInferenceService/ServerReady", "")
            .unwrap()
    );
    assert_eq!(client.health("").unwrap(), 1);
    let good = ask("m", &[texts("text", &["a"])]);
    let status = client.infer(good.clone()).unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unauthenticated, "unauthorized")
    );
    let mut keyed = Request::new(good);
    keyed
        .metadata_mut()
        .insert("authorization", "Bearer use".parse().unwrap());
    keyed
        .metadata_mut()
        .insert("x-request-id", "mine".parse().unwrap());
    let got = client.ask::<_, Inferred>(INFER, keyed).unwrap();
    assert_eq!(got.metadata().get("x-request-id").unwrap(), "mine");
    assert!(got.metadata().contains_key("x-compute-time-us"));
    let unload = |key: &str| {
        let mut request = Request::new(Repository {
            model: "m".to_owned(),
            ..Repository::default()
        });
        let key = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", key);
        request
    };
    let method = "/inference.GRPCInferenceService/RepositoryModelUnload";
    assert_eq!(
        client
            .ask::<_, Nothing>(method, unload("use"))
            .unwrap_err()
            .code(),
        Code::Unauthenticated
    );
    client.ask::<_, Nothing>(method, unload("admin")).unwrap();
}

/// A deployment would send requests to a model that is not there, or never find that it is back.
#[test]
fn models_come_and_go() {
    let server = Running::of(&[("m", "bert-embed"), ("c", "bert-classify")]);
    let mut client = Client::of(&server);
    assert!(client.is(MODEL_READY, "m").unwrap());
    assert_eq!(
        client.is(MODEL_READY, "x").unwrap_err().code(),
        Code::NotFound
    );
    let model = |client: &mut Client, method, parameters| {
        let model = Repository {
            model: "m".to_owned(),
            parameters,
        };
        client.ask::<_, Nothing>(method, Request::new(model))
    };
    let (load, unload) = (
        "/inference.GRPCInferenceService/RepositoryModelLoad",
        "/inference.GRPCInferenceService/RepositoryModelUnload",
    );
    model(&mut client, unload, HashMap::new()).unwrap();
    assert!(!client.is(MODEL_READY, "m").unwrap());
    assert_eq!(
        (
            client.health("m").unwrap(),
            client.health("c").unwrap(),
            client.health("").unwrap()
        ),
        (2, 1, 1)
    );
    assert_eq!(client.health("x").unwrap_err().code(), Code::NotFound);
    assert_eq!(
        client
            .infer(ask("m", &[texts("text", &["a"])]))
            .unwrap_err()
            .code(),
        Code::Unavailable
    );
    let other = HashMap::from([("config".to_owned(), Nothing {})]);
    assert_eq!(
        model(&mut client, load, other).unwrap_err().code(),
        Code::InvalidArgument
    );
    model(&mut client, load, HashMap::new()).unwrap();
    assert!(client.is(MODEL_READY, "m").unwrap());
}

/// Answers of a stream would come in another order, one bad request end it, or a stop hang on an idle client.
#[test]
fn a_stream_keeps_order_outlives_an_error_and_ends_with_the_server() {
    let mut server = Running::of(&[("m", "bert-embed")]);
    let mut client = Client::of(&server);
    let (send, requests) = tokio::sync::mpsc::channel(64);
    let rows: Vec<String> = (0..20).map(|row| format!("turn on light {row}")).collect();
    for (row, text) in rows.iter().enumerate() {
        let model = if row == 7 { "x" } else { "m" };
        let request = Infer {
            id: row.to_string(),
            ..ask(model, &[texts("text", &[text])])
        };
        send.try_send(request).unwrap();
    }
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        requests.recv().await.map(|request| (request, requests))
    });
    let (grpc, codec) = (&mut client.grpc, ProstCodec::<Infer, Streamed>::default());
    let model = builder("bert-embed").load().unwrap();
    client.runtime.block_on(async {
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(STREAM);
        let answers = grpc.streaming(Request::new(requests), path, codec).await;
        let mut answers = answers.unwrap().into_inner();
        for (row, text) in rows.iter().enumerate() {
            let got = answers.message().await.unwrap().unwrap();
            let inferred = got.inferred.unwrap();
            assert_eq!(inferred.id, row.to_string());
            if row == 7 {
                assert!(got.error.starts_with("unknown_model: "), "{}", got.error);
                continue;
            }
            assert_eq!(got.error, "");
            let found = &inferred.outputs[0].contents.as_ref().unwrap().floats;
            assert_eq!(bits(found), bits(&model.embed([text]).unwrap()[0]));
        }
        server.tell();
        // The client's side is still open.
        assert_eq!(
            answers.message().await.unwrap_err().code(),
            Code::Unavailable
        );
    });
    drop(send);
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
}

/// A client that neither sends nor goes away would keep its stream for ever; and be taken for one that was answered.
#[test]
fn a_stream_that_stands_still_is_ended() {
    let settings = ServerSettings {
        idle_timeout: Some(Duration::from_millis(200)),
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let mut client = Client::of(&server);
    let (send, requests) = tokio::sync::mpsc::channel(64);
    let infer = || ask("m", &[texts("text", &["turn on the lights"])]);
    let requests = futures_util::stream::unfold(requests, |mut requests| async {
        requests.recv().await.map(|request| (request, requests))
    });
    send.try_send(infer()).unwrap();
    let (grpc, codec) = (&mut client.grpc, ProstCodec::<Infer, Streamed>::default());
    client.runtime.block_on(async {
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(STREAM);
        let answers = grpc.streaming(Request::new(requests), path, codec).await;
        let mut answers = answers.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().error, "");
        let status = answers.message().await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("--idle-timeout-s"), "{status}");
    });
    let stats = server.until("/stats", |got| got.json(200)["streams"] == 0);
    let stats = stats.json(200);
    let mut rows = stats["requests"].as_array().unwrap().iter();
    let row = rows.find(|row| row["route"] == STREAM).unwrap();
    assert_eq!((&row["code"], &row["count"]), (&json!(408), &json!(1)));
    drop(send);
}

/// A load balancer would not learn that a server is about to go, or a client give up on a name it may yet know.
#[test]
fn a_watched_health_says_what_changes_and_that_the_server_stops() {
    let mut server = Running::of(&[("m", "bert-embed"), ("c", "bert-classify")]);
    let mut client = Client::of(&server);
    let grpc = &mut client.grpc;
    client.runtime.block_on(async {
        let mut watched = Vec::new();
        for (name, status) in [("", 1), ("m", 1), ("x", 3)] {
            grpc.ready().await.unwrap();
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
            let name = name.to_owned();
            let codec = ProstCodec::<Named, Health>::default();
            let asked = Request::new(Named { name });
            let states = grpc.server_streaming(asked, path, codec).await;
            let mut states = states.unwrap().into_inner();
            assert_eq!(states.message().await.unwrap().unwrap().status, status);
            watched.push(states);
        }
        server.post("/models/m/unload", &json!({})).json(200);
        assert_eq!(watched[1].message().await.unwrap().unwrap().status, 2);
        server.post("/models/m/load", &json!({})).json(200);
        assert_eq!(watched[1].message().await.unwrap().unwrap().status, 1);
        server.tell();
        for (states, is_known) in watched.iter_mut().zip([true, true, false]) {
            if is_known {
                assert_eq!(states.message().await.unwrap().unwrap().status, 2);
            }
            assert_eq!(states.message().await.unwrap(), None);
        }
    });
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
}

/// People would look for the methods where they cannot be described.
#[test]
fn methods_stand_in_no_openapi_document() {
    let server = Running::of(&[("m", "bert-embed")]);
    let document = server.get("/openapi.json").json(200);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.keys().all(|path| !path.contains("GRPC")), "{paths:?}");
    assert_eq!(
        server
            .post("/grpc.health.v1.Health/Check", &json!({}))
            .status,
        200
    );
}
