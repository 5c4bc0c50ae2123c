//! The messages as a client writes them, and one that asks.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::uri::PathAndQuery;
use axum::http::{Request as HttpRequest, Response as HttpResponse, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::client::Running;
#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Truth {
    #[prost(bool, tag = "1")]
    pub(super) is_so: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// As `RepositoryModelLoadRequest` names a model.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Repository {
    #[prost(string, tag = "2")]
    pub(super) model: String,
    #[prost(map = "string, message", tag = "3")]
    pub(super) parameters: HashMap<String, Nothing>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Parameter {
    #[prost(int64, optional, tag = "1000")]
    pub(super) unknown: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub(super) number: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Contents {
    #[prost(float, repeated, tag = "6")]
    pub(super) floats: Vec<f32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub(super) texts: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(super) shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    pub(super) contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Infer {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(map = "string, message", tag = "4")]
    pub(super) parameters: HashMap<String, Parameter>,
    #[prost(message, repeated, tag = "5")]
    pub(super) inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    pub(super) outputs: Vec<Named>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub(super) raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Inferred {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, tag = "3")]
    pub(super) id: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) outputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub(super) raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Streamed {
    #[prost(string, tag = "1")]
    pub(super) error: String,
    #[prost(message, optional, tag = "2")]
    pub(super) inferred: Option<Inferred>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Health {
    #[prost(int32, tag = "1")]
    pub(super) status: i32,
}

/// A connection by prior knowledge.
pub(super) struct Connection(SendRequest<Body>);

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
pub(super) struct Client {
    pub(super) runtime: Runtime,
    pub(super) grpc: tonic::client::Grpc<Connection>,
}

impl Client {
    pub(super) fn of(server: &Running) -> Self {
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

    pub(super) fn compressing(mut self) -> Self {
        self.grpc = self.grpc.send_compressed(Gzip).accept_compressed(Gzip);
        self
    }

    pub(super) fn ask<A, B>(
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

    pub(super) fn infer(&mut self, ask: Infer) -> Result<Inferred, Status> {
        let answer = self.ask(INFER, Request::new(ask))?;
        Ok(answer.into_inner())
    }

    pub(super) fn health(&mut self, service: &str) -> Result<i32, Status> {
        let name = service.to_owned();
        let answer =
            self.ask::<_, Health>("/grpc.health.v1.Health/Check", Request::new(Named { name }))?;
        Ok(answer.into_inner().status)
    }

    pub(super) fn is(&mut self, method: &'static str, name: &str) -> Result<bool, Status> {
        let name = name.to_owned();
        Ok(self
            .ask::<_, Truth>(method, Request::new(Named { name }))?
            .into_inner()
            .is_so)
    }
}

pub(super) const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
pub(super) const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
pub(super) const MODEL_READY: &str = "/inference.GRPCInferenceService/ModelReady";

pub(super) fn texts(name: &str, texts: &[&str]) -> Tensor {
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

pub(super) fn ask(model: &str, inputs: &[Tensor]) -> Infer {
    Infer {
        model: model.to_owned(),
        inputs: inputs.to_vec(),
        ..Infer::default()
    }
}

pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

#[track_caller]
pub(super) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .unwrap_or_else(|| panic!("{status:?}"))
        .reason
        .clone()
}
