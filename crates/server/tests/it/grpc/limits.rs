//! Messages within the limits, and beyond them.

use std::io::Write;
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use batchwright_server::ServerSettings;
use prost::Message;
use serde_json::json;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::client::{Client, Infer, STREAM, Streamed, ask, reason, texts};
use crate::client::{Running, settings, spec};
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
