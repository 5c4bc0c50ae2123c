//! The messages of `inference.GRPCInferenceService`, as KServe's `open_inference_grpc.proto` and Triton's
//! `grpc_service.proto` number their fields, and of `grpc.health.v1.Health`.
//!
//! They are written by hand, so that no build needs `protoc`: those fields stand here that this server reads or
//! writes; what it does not know is skipped, as in every protocol buffer. `benches/clients` holds them against
//! Triton's own client. Statistics and the index have the same words over HTTP.

use std::collections::HashMap;

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

use crate::grpc::{Asked, Repeated};

/// No model here has as many inputs or outputs.
const MOST_TENSORS: usize = 8;

/// A request of `ServerLive`, `ServerReady` and `ServerMetadata`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NothingAsked {}

impl Asked for NothingAsked {}
impl Asked for ModelAsked {}
impl Asked for IndexRequest {}
impl Asked for RepositoryAsked {}
impl Asked for HealthRequest {}

/// The answer of `ServerLive`, `ServerReady` and `ModelReady`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Truth {
    #[prost(bool, tag = "1")]
    pub(crate) is_so: bool,
}

/// A request of `ModelReady`, `ModelMetadata`, `ModelConfig` and `ModelStatistics`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelAsked {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ServerMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) extensions: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) versions: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) platform: String,
    #[prost(message, repeated, tag = "4")]
    pub(crate) inputs: Vec<TensorMetadata>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) outputs: Vec<TensorMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorMetadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) shape: Vec<i64>,
}

/// A parameter of one of several types.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InferParameter {
    #[prost(oneof = "ParameterChoice", tags = "1, 2, 3, 4, 5")]
    pub(crate) choice: Option<ParameterChoice>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum ParameterChoice {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// Values by their type. Texts and `FP32` alone are ever used here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorContents {
    #[prost(float, repeated, tag = "6")]
    pub(crate) fp32: Vec<f32>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub(crate) bytes: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InferRequest {
    #[prost(string, tag = "1")]
    pub(crate) model_name: String,
    #[prost(string, tag = "2")]
    pub(crate) model_version: String,
    #[prost(string, tag = "3")]
    pub(crate) id: String,
    #[prost(map = "string, message", tag = "4")]
    pub(crate) parameters: HashMap<String, InferParameter>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) inputs: Vec<Tensor>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) outputs: Vec<OutputAsked>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(crate) raw: Vec<Bytes>,
}

impl Asked for InferRequest {
    const REPEATED: &'static [Repeated] = &[
        Repeated {
            tag: 5,
            name: "inputs",
            most: MOST_TENSORS,
            within: Some(&[Repeated {
                tag: 5,
                name: "contents",
                most: 1,
                within: Some(&[]),
            }]),
        },
        Repeated {
            tag: 6,
            name: "outputs",
            most: MOST_TENSORS,
            within: Some(&[]),
        },
        Repeated {
            tag: 7,
            name: "raw_input_contents",
            most: MOST_TENSORS,
            within: None,
        },
    ];
}

/// An input or an output.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) datatype: String,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    pub(crate) contents: Option<TensorContents>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutputAsked {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(map = "string, message", tag = "2")]
    pub(crate) parameters: HashMap<String, InferParameter>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InferResponse {
    #[prost(string, tag = "1")]
    pub(crate) model_name: String,
    #[prost(string, tag = "2")]
    pub(crate) model_version: String,
    #[prost(string, tag = "3")]
    pub(crate) id: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) outputs: Vec<Tensor>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) raw: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StreamInferResponse {
    #[prost(string, tag = "1")]
    pub(crate) error: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) response: Option<InferResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) config: Option<ModelConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelConfig {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) platform: String,
    #[prost(int32, tag = "4")]
    pub(crate) max_batch_size: i32,
    #[prost(message, repeated, tag = "5")]
    pub(crate) input: Vec<ConfigInput>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) output: Vec<ConfigOutput>,
    #[prost(message, optional, tag = "11")]
    pub(crate) dynamic_batching: Option<DynamicBatching>,
    #[prost(string, tag = "17")]
    pub(crate) backend: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigInput {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "DataType", tag = "2")]
    pub(crate) data_type: i32,
    #[prost(int64, repeated, tag = "4")]
    pub(crate) dims: Vec<i64>,
    #[prost(bool, tag = "8")]
    pub(crate) optional: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ConfigOutput {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "DataType", tag = "2")]
    pub(crate) data_type: i32,
    #[prost(int64, repeated, tag = "3")]
    pub(crate) dims: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(crate) enum DataType {
    Invalid = 0,
    Fp32 = 11,
    String = 13,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DynamicBatching {
    #[prost(uint64, tag = "2")]
    pub(crate) max_queue_delay_microseconds: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatisticsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) model_stats: Vec<ModelStatistics>,
}

#[derive(Clone, PartialEq, Message, serde::Serialize)]
pub(crate) struct ModelStatistics {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    /// Not kept: 0.
    #[prost(uint64, tag = "3")]
    pub(crate) last_inference: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) inference_count: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) execution_count: u64,
    #[prost(message, optional, tag = "6")]
    pub(crate) inference_stats: Option<InferStatistics>,
    /// Not kept: none. `/metrics` has histograms.
    #[prost(message, repeated, tag = "7")]
    pub(crate) batch_stats: Vec<Done>,
}

#[derive(Clone, PartialEq, Message, serde::Serialize)]
pub(crate) struct InferStatistics {
    #[prost(message, optional, tag = "1")]
    pub(crate) success: Option<StatisticDuration>,
    #[prost(message, optional, tag = "2")]
    pub(crate) fail: Option<StatisticDuration>,
    #[prost(message, optional, tag = "3")]
    pub(crate) queue: Option<StatisticDuration>,
    #[prost(message, optional, tag = "4")]
    pub(crate) compute_input: Option<StatisticDuration>,
    #[prost(message, optional, tag = "5")]
    pub(crate) compute_infer: Option<StatisticDuration>,
    #[prost(message, optional, tag = "6")]
    pub(crate) compute_output: Option<StatisticDuration>,
    #[prost(message, optional, tag = "7")]
    pub(crate) cache_hit: Option<StatisticDuration>,
    #[prost(message, optional, tag = "8")]
    pub(crate) cache_miss: Option<StatisticDuration>,
}

#[derive(Clone, Copy, PartialEq, Message, serde::Serialize)]
pub(crate) struct StatisticDuration {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) ns: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct IndexRequest {
    #[prost(string, tag = "1")]
    pub(crate) repository_name: String,
    /// Those that are ready, alone.
    #[prost(bool, tag = "2")]
    pub(crate) ready: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct IndexResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) models: Vec<ModelIndex>,
}

#[derive(Clone, PartialEq, Message, serde::Serialize)]
pub(crate) struct ModelIndex {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(string, tag = "3")]
    pub(crate) state: String,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
}

/// A request of `RepositoryModelLoad` and `RepositoryModelUnload`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RepositoryAsked {
    #[prost(string, tag = "1")]
    pub(crate) repository_name: String,
    #[prost(string, tag = "2")]
    pub(crate) model_name: String,
    #[prost(map = "string, message", tag = "3")]
    pub(crate) parameters: HashMap<String, RepositoryParameter>,
}

/// Its value is looked at by nobody: the name alone says whether it can be honoured.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RepositoryParameter {}

/// The answer of `RepositoryModelLoad` and `RepositoryModelUnload`.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
pub(crate) struct Done {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HealthRequest {
    /// A service, a model, or nothing for the server as a whole.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HealthResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub(crate) status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(crate) enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}
