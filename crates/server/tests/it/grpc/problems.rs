//! What is refused, and how that is said.

use batchwright_server::ServerSettings;
use tonic::{Code, Request};

use super::client::{
    Client, INFER, Infer, Inferred, Nothing, Parameter, Repository, Tensor, Truth, ask, reason,
    texts,
};
use crate::client::{Running, settings, spec};
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
