//! Models that come and go, and who watches them.

use std::collections::HashMap;

use axum::http::uri::PathAndQuery;
use batchwright_server::Stopped;
use serde_json::json;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::client::{Client, Health, MODEL_READY, Named, Nothing, Repository, ask, texts};
use crate::client::Running;
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
