//! The one table of routes. Router, OpenAPI document and metric labels derive from it.

use std::future::Future;
use std::pin::Pin;

use axum::response::Response;
use hyper::HeaderMap;

use crate::call::Call;
use crate::grpc::is_grpc;
use crate::handlers::benchmark::{self, BenchmarkAsk};
use crate::handlers::control::{self, SettingsBody};
use crate::handlers::stream::{self, Line, LineAnswer};
use crate::handlers::{grpc, oip, openai, own, page, state, tei};
use crate::openapi::{Schema, of};
use crate::problem::Problem;
use crate::rules;
use crate::wire::oip::{InferAnswer, InferAsk};
use crate::wire::openai::{EmbeddingsAnswer, EmbeddingsAsk};
use crate::wire::own::{Ask, PredictAnswer, TokenizeAnswer, TokenizeAsk};
use crate::wire::tei::{
    TeiEmbed, TeiPredict, TeiRank, TeiRerank, TeiScores, TeiSimilarity, TeiToken, TeiTokenize,
    TeiVectors,
};

/// Whose words a route speaks; errors have its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Our own.
    Own,
    /// OpenAI's.
    OpenAi,
    /// The Open Inference Protocol, version 2.
    OpenInference,
    /// Hugging Face's Text Embeddings Inference.
    TextEmbeddings,
    /// The Open Inference Protocol over gRPC, and gRPC's health service. No part of the OpenAPI document.
    Grpc,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: pages and health.
    Open,
    /// Whoever has a key, if there are keys.
    Use,
    /// Whoever has an administrator's key, if there are such.
    Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// What a route takes.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    Nothing,
    /// One of these, as JSON.
    Json(&'static [Schema]),
    /// One a line, and options in the query.
    Lines(Schema),
}

/// What a route gives.
#[derive(Clone, Copy)]
pub(crate) enum Gives {
    /// One of these, as JSON.
    Json(&'static [Schema]),
    /// One of these, as JSON; or bytes behind it, where they are asked for.
    JsonAndBytes(&'static [Schema]),
    /// An object that its words describe.
    Object,
    /// One a line.
    Lines(Schema),
    Text,
    Page,
}

/// What becomes of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Nobody looks at it.
    Ignored,
    /// There must be none: options stand in the body.
    Refused,
    /// It may name a version.
    Version,
    /// Options stand in it.
    Options,
}

pub(crate) type Reply = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) access: Access,
    pub(crate) words: &'static str,
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    pub(crate) query: Query,
    /// A body, as JSON, for people who read the document and for what tries the routes by it.
    pub(crate) example: Option<&'static str>,
    pub(crate) handler: fn(Call) -> Reply,
}

impl Route {
    const fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    const fn example(self, json: &'static str) -> Self {
        Self {
            example: Some(json),
            ..self
        }
    }
}

/// A method of gRPC: its own words say what it takes and gives.
macro_rules! method {
    ($path:literal $access:ident $handler:path, $words:literal) => {
        Route {
            method: Method::Post,
            path: $path,
            protocol: Protocol::Grpc,
            access: Access::$access,
            words: $words,
            takes: Takes::Nothing,
            gives: Gives::Object,
            query: Query::Ignored,
            example: None,
            handler: |call| Box::pin($handler(call)),
        }
    };
}

macro_rules! route {
    ($method:ident $path:literal $protocol:ident $access:ident $handler:path, $words:literal, $takes:expr, $gives:expr) => {
        Route {
            method: Method::$method,
            path: $path,
            protocol: Protocol::$protocol,
            access: Access::$access,
            words: $words,
            takes: $takes,
            gives: $gives,
            query: Query::Ignored,
            example: None,
            handler: |call| Box::pin($handler(call)),
        }
    };
}

const PREDICTIONS: &[Schema] = &[of::<PredictAnswer<'static>>];
const NONE: Takes = Takes::Nothing;
const OBJECT: Gives = Gives::Object;
const INFER: Takes = Takes::Json(&[of::<InferAsk>]);
const INFERRED: Gives = Gives::JsonAndBytes(&[of::<InferAnswer<'static>>]);
const TENSORS: &str = r#"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["turn on the lights"]}]}"#;

pub(crate) static ROUTES: &[Route] = &[
    route!(Post "/predict" Own Use own::predict, "Run the model's own task. With `inputs`: as Text Embeddings Inference does", Takes::Json(&[of::<Ask>, of::<TeiPredict>, of::<TeiEmbed>, of::<TeiRerank>]), Gives::Json(&[of::<PredictAnswer<'static>>, of::<TeiScores<'static>>, of::<TeiVectors<'static>>, of::<Vec<TeiRank>>])).query(Query::Refused).example(r#"{"text": "the train was late again"}"#),
    route!(Post "/embed" Own Use own::embed, "Turn texts into vectors. With `inputs`: as Text Embeddings Inference does", Takes::Json(&[rules::embed_ask, of::<TeiEmbed>]), Gives::Json(&[of::<PredictAnswer<'static>>, of::<TeiVectors<'static>>])).query(Query::Refused).example(r#"{"texts": ["turn on the lights", "what is my balance"]}"#),
    route!(Post "/classify" Own Use own::classify, "Label texts, or pairs of texts. With `inputs`: as Text Embeddings Inference's /predict does", Takes::Json(&[rules::classify_ask, of::<TeiPredict>]), Gives::Json(&[of::<PredictAnswer<'static>>, of::<TeiScores<'static>>])).query(Query::Refused).example(r#"{"texts": ["the train was late again"], "top_k": 2}"#),
    route!(Post "/rerank" Own Use own::rerank, "Score pairs of texts, or passages against a query. With `query` and `texts`: as Text Embeddings Inference does", Takes::Json(&[rules::rerank_ask, of::<TeiRerank>]), Gives::Json(&[of::<PredictAnswer<'static>>, of::<Vec<TeiRank>>])).query(Query::Refused).example(r#"{"query": "opening hours", "passages": ["We open at nine.", "Parking is free."]}"#),
    route!(Post "/tag" Own Use own::tag, "Find named spans in texts", Takes::Json(&[rules::tag_ask]), Gives::Json(PREDICTIONS)).query(Query::Refused).example(r#"{"text": "Ada Lovelace lived in London"}"#),
    route!(Post "/tokenize" Own Use own::tokenize, "Show the tokens of texts. With `inputs`: as Text Embeddings Inference does", Takes::Json(&[of::<TokenizeAsk>, of::<TeiTokenize>]), Gives::Json(&[of::<TokenizeAnswer<'static>>, of::<Vec<Vec<TeiToken>>>])).query(Query::Refused).example(r#"{"text": "turn on the lights"}"#),
    route!(Post "/predict/stream" Own Use stream::predict, "Run the model's own task on JSON Lines, without end and in constant memory; answers come in the lines' order. Options stand in the query", Takes::Lines(of::<Line>), Gives::Lines(of::<LineAnswer<'static>>)).query(Query::Options).example(r#"["turn on the lights", {"id": 7, "text": "what is my balance"}]"#),
    route!(Post "/benchmark" Own Control benchmark::benchmark, "Measure a model on these texts, for some seconds: which token budget, how many threads, what a cache gives. Off unless the server is started with --enable-benchmark; it computes beside what is served, and empties the model's cache in memory", Takes::Json(&[of::<BenchmarkAsk>]), OBJECT).query(Query::Refused).example(r#"{"texts": ["turn on the lights", "what is my balance"], "seconds": 5}"#),
    route!(Get "/health" Own Open state::ready, "As /health/ready", NONE, OBJECT),
    route!(Get "/health/live" Own Open state::live, "200, or 503 when something hangs that a restart would cure", NONE, OBJECT),
    route!(Get "/health/ready" Own Open state::ready, "200, or 503 while models are loaded, when the server stops, and when something hangs", NONE, OBJECT),
    route!(Get "/models" Own Use state::models, "The models, their states and settings", NONE, OBJECT),
    route!(Get "/models/{name}" Own Use state::model, "The versions of a model", NONE, OBJECT),
    route!(Patch "/models/{name}" Own Control control::settings, "Change a model's batching and limits while it runs", Takes::Json(&[of::<SettingsBody>]), Gives::Json(&[of::<SettingsBody>])).query(Query::Version).example(r#"{"max_wait_us": 0, "max_texts": 10000}"#),
    route!(Post "/models/{name}/load" Own Control control::load, "Load a model, or load it again from where it lies: the old one answers until the new one is ready, and goes on if that fails", NONE, OBJECT).query(Query::Version),
    route!(Post "/models/{name}/unload" Own Control control::unload, "Take a model out of memory; requests that are on their way finish", NONE, OBJECT).query(Query::Version),
    route!(Delete "/cache" Own Control control::clear_cache, "Forget every cached answer", NONE, OBJECT),
    route!(Get "/stats" Own Use state::stats, "Everything that is counted, as JSON", NONE, OBJECT),
    route!(Get "/metrics" Own Use state::metrics, "Everything that is counted, as Prometheus reads it", NONE, Gives::Text),
    route!(Get "/openapi.json" Own Open page::openapi, "This document", NONE, OBJECT),
    route!(Get "/docs" Own Open page::docs, "This document as a page", NONE, Gives::Page),
    route!(Get "/dashboard" Own Open page::dashboard, "What the server is doing, live, and a form to try a model", NONE, Gives::Page),
    route!(Post "/v1/embeddings" OpenAi Use openai::embeddings, "Turn texts into vectors, as OpenAI does", Takes::Json(&[of::<EmbeddingsAsk>]), Gives::Json(&[of::<EmbeddingsAnswer<'static>>])).example(r#"{"input": ["turn on the lights"], "encoding_format": "base64"}"#),
    route!(Get "/v1/models" OpenAi Use openai::models, "The models, as OpenAI lists them", NONE, OBJECT),
    route!(Get "/v1/models/{name}" OpenAi Use openai::model, "A model, as OpenAI shows it", NONE, OBJECT),
    route!(Get "/v2" OpenInference Use oip::server, "The server and its extensions", NONE, OBJECT),
    route!(Get "/v2/health/live" OpenInference Open state::live, "As /health/live", NONE, OBJECT),
    route!(Get "/v2/health/ready" OpenInference Open state::ready, "As /health/ready", NONE, OBJECT),
    route!(Get "/v2/models/{name}" OpenInference Use oip::model, "A model's tensors", NONE, OBJECT),
    route!(Get "/v2/models/{name}/versions/{version}" OpenInference Use oip::model, "A version's tensors", NONE, OBJECT),
    route!(Get "/v2/models/{name}/ready" OpenInference Use oip::model_ready, "Whether a model answers", NONE, OBJECT),
    route!(Get "/v2/models/{name}/versions/{version}/ready" OpenInference Use oip::model_ready, "Whether a version answers", NONE, OBJECT),
    route!(Get "/v2/models/{name}/config" OpenInference Use oip::config, "A model's configuration, as Triton shows it", NONE, OBJECT),
    route!(Get "/v2/models/{name}/versions/{version}/config" OpenInference Use oip::config, "A version's configuration, as Triton shows it", NONE, OBJECT),
    route!(Get "/v2/models/{name}/stats" OpenInference Use oip::stats, "What a model has done, as Triton shows it", NONE, OBJECT),
    route!(Get "/v2/models/{name}/versions/{version}/stats" OpenInference Use oip::stats, "What a version has done, as Triton shows it", NONE, OBJECT),
    route!(Post "/v2/models/{name}/infer" OpenInference Use oip::infer, "Tensors in, tensors out; as JSON, or as bytes behind it", INFER, INFERRED).example(TENSORS),
    route!(Post "/v2/models/{name}/versions/{version}/infer" OpenInference Use oip::infer, "Tensors in, tensors out; as JSON, or as bytes behind it", INFER, INFERRED).example(TENSORS),
    route!(Post "/v2/repository/index" OpenInference Use oip::index, "The models and their states", NONE, OBJECT),
    route!(Post "/v2/repository/models/{name}/load" OpenInference Control oip::load, "As /models/{name}/load", NONE, OBJECT),
    route!(Post "/v2/repository/models/{name}/unload" OpenInference Control oip::unload, "As /models/{name}/unload", NONE, OBJECT),
    route!(Get "/info" TextEmbeddings Use tei::info, "The model that answers where none is named, as Text Embeddings Inference shows it", NONE, OBJECT),
    route!(Post "/similarity" TextEmbeddings Use tei::similarity, "How near sentences are to one, by the cosine of their vectors", Takes::Json(&[of::<TeiSimilarity>]), Gives::Json(&[of::<Vec<f32>>])).example(r#"{"inputs": {"source_sentence": "opening hours", "sentences": ["We open at nine."]}}"#),
    route!(Post "/" TextEmbeddings Use tei::root, "The model's own task, with the bodies of Text Embeddings Inference", Takes::Json(&[of::<TeiEmbed>, of::<TeiPredict>, of::<TeiRerank>]), Gives::Json(&[of::<TeiVectors<'static>>, of::<TeiScores<'static>>, of::<Vec<TeiRank>>])).example(r#"{"inputs": "turn on the lights"}"#),
    method!("/inference.GRPCInferenceService/ServerLive" Open grpc::server_live, "As /health/live"),
    method!("/inference.GRPCInferenceService/ServerReady" Open grpc::server_ready, "As /health/ready"),
    method!("/inference.GRPCInferenceService/ModelReady" Use grpc::model_ready, "Whether a model answers"),
    method!("/inference.GRPCInferenceService/ServerMetadata" Use grpc::server, "The server and its extensions"),
    method!("/inference.GRPCInferenceService/ModelMetadata" Use grpc::model, "A model's tensors"),
    method!("/inference.GRPCInferenceService/ModelInfer" Use grpc::infer, "Tensors in, tensors out"),
    method!("/inference.GRPCInferenceService/ModelStreamInfer" Use grpc::stream_infer, "Requests in, answers out, in their order"),
    method!("/inference.GRPCInferenceService/ModelConfig" Use grpc::config, "A model's configuration, as Triton shows it"),
    method!("/inference.GRPCInferenceService/ModelStatistics" Use grpc::statistics, "What models have done, as Triton shows it"),
    method!("/inference.GRPCInferenceService/RepositoryIndex" Use grpc::index, "The models and their states"),
    method!("/inference.GRPCInferenceService/RepositoryModelLoad" Control grpc::load, "As /models/{name}/load"),
    method!("/inference.GRPCInferenceService/RepositoryModelUnload" Control grpc::unload, "As /models/{name}/unload"),
    method!("/grpc.health.v1.Health/Check" Open grpc::health, "As /health/ready, or whether one model answers"),
    method!("/grpc.health.v1.Health/Watch" Open grpc::watch, "The same, and again when it changes"),
];

/// Whose shape an error has on a path that is no route.
pub(crate) fn protocol_of(path: &str, headers: &HeaderMap) -> Protocol {
    match path {
        _ if is_grpc(headers) => Protocol::Grpc,
        "/v1" => Protocol::OpenAi,
        "/v2" => Protocol::OpenInference,
        path if path.starts_with("/v1/") => Protocol::OpenAi,
        path if path.starts_with("/v2/") => Protocol::OpenInference,
        _ => Protocol::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two handlers for one route would be a panic when the server starts.
    #[test]
    fn routes_are_distinct_and_described() {
        let mut seen = std::collections::BTreeSet::new();
        for route in ROUTES {
            assert!(
                seen.insert((route.path, route.method.name())),
                "{}",
                route.path
            );
            assert!(route.words.len() > 5, "{}", route.path);
            // Whatever changes the server needs the right to.
            let changes = matches!(route.method, Method::Delete | Method::Patch)
                || route.path == "/benchmark"
                || route.path.to_lowercase().ends_with("load");
            assert_eq!(route.access == Access::Control, changes, "{}", route.path);
            // Own bodies have every option, and would silently win over the same in the query.
            let has_body = matches!(route.takes, Takes::Json(_)) && route.method == Method::Post;
            let is_refused = route.query == Query::Refused;
            assert_eq!(
                is_refused,
                has_body && route.protocol == Protocol::Own,
                "{}",
                route.path
            );
        }
    }
}
