//! Tensors in either form, and streams of them.

use std::time::Duration;

use axum::http::uri::PathAndQuery;
use batchwright_server::{ServerSettings, Stopped};
use serde_json::json;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::client::{Client, INFER, Infer, Named, Parameter, STREAM, Streamed, ask, floats, texts};
use crate::client::{Running, bits, builder, settings, spec};
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
