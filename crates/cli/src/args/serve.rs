//! What to serve, where, and within which limits.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::model::ReadingArgs;
use super::{ByteSize, CacheArgs, TaskArgs};

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright serve -m all-MiniLM-L6-v2
  batchwright serve -m search=all-MiniLM-L6-v2 -m mood=roberta-base-go_emotions --port 8003
  batchwright serve --config serve.toml          with a [[model]] for each model
  curl localhost:8003/embed -d '{\"texts\": [\"turn on the lights\"]}'

Pages for people: /dashboard and /docs. Ctrl-C or SIGTERM finishes what was accepted.";

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// A model to serve, and the name that requests know it by; several with several -m, or separated by
    /// commas. NAME@VERSION=MODEL serves several versions of one name
    #[arg(
        long,
        short,
        value_name = "NAME=MODEL",
        value_delimiter = ',',
        help_heading = "Model"
    )]
    pub(crate) models: Vec<String>,
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) batching: BatchingArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Share answers with other servers through this Redis or Valkey, such as redis://localhost:6379; one that is away or
    /// slow fails no request. Its password is better said in BATCHWRIGHT_CACHE_REDIS
    #[arg(long, value_name = "URL", help_heading = "Cache")]
    pub(crate) cache_redis: Option<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// Address to listen on; 0.0.0.0 for all of the machine's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8003)]
    pub(crate) port: u16,
    /// Listen on this Unix socket, and on no port unless one is typed
    #[arg(long, value_name = "FILE")]
    pub(crate) unix_socket: Option<PathBuf>,
    /// Speak TLS with this certificate (PEM, followed by those that vouch for it)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Batching")]
pub(crate) struct BatchingArgs {
    /// Most tokens computed together by one thread; by default measured (`bench --save`), or found
    /// from the model and the processor's caches
    #[arg(long, value_name = "TOKENS", value_parser = super::count)]
    pub(crate) batch_tokens: Option<NonZeroUsize>,
    /// Most rows computed together by one thread; 32 if no number is given, unbounded without the flag
    #[arg(long, value_name = "ROWS", num_args = 0..=1, default_missing_value = "32", value_parser = super::count)]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// How long a text may wait for others to fill its batch; 0 takes what waits
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    pub(crate) max_wait_us: u64,
    /// After how long a waiting text moves up one class of priority, so that none waits for ever
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000)]
    pub(crate) ageing_ms: u64,
    /// Deadline of requests that name none; texts that are not being computed by then are dropped
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) default_deadline_ms: Option<u64>,
}

/// Beyond these a request is answered with 429 or 413.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits, for each model")]
pub(crate) struct LimitArgs {
    /// Most requests at once
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) max_requests: Option<NonZeroUsize>,
    /// Most texts of one request
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) max_texts: Option<NonZeroUsize>,
    /// Most tokens of all requests at once
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) max_tokens_in_flight: Option<NonZeroUsize>,
    /// Most memory of all requests at once: texts, tokens and answers
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_bytes_in_flight: Option<ByteSize>,
    /// Most distinct texts that wait for a thread
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) max_queue: Option<NonZeroUsize>,
    /// Most tokens that wait for a thread
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) max_queue_tokens: Option<NonZeroUsize>,
    /// Most bytes of the tokens that wait for a thread
    #[arg(long, value_name = "SIZE")]
    pub(crate) max_queue_bytes: Option<ByteSize>,
    /// Most bytes of a request's body, and of a stream's line
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16MiB",
        help_heading = "Limits of the server"
    )]
    pub(crate) max_body_bytes: ByteSize,
    /// Most bytes of all bodies in memory at once; at least --max-body-bytes
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "256MiB",
        help_heading = "Limits of the server"
    )]
    pub(crate) max_body_bytes_in_flight: ByteSize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Keys that open the server, separated by commas; none leaves it open. Better said in
    /// BATCHWRIGHT_API_KEYS, for other users of the machine can see typed ones
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) api_keys: Vec<String>,
    /// Keys for loading, unloading, changing settings and clearing caches; by default those of --api-keys
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) admin_keys: Vec<String>,
    /// Switch off what changes the server while it runs
    #[arg(long)]
    pub(crate) no_control: bool,
    /// Open POST /benchmark to whoever may change the server: it measures a model beside what is served
    #[arg(long)]
    pub(crate) enable_benchmark: bool,
    /// Origins of web pages that may call the server, such as https://example.org, separated by commas; * for
    /// all. Without keys, pages of other origins cannot change the server
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Operation")]
pub(crate) struct OperationArgs {
    /// Seconds within which a request's head, and then its body, must arrive; a stream's line has as long to come in once it
    /// is larger than 1 MiB, and to wait for room among the bodies in flight
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) read_timeout_s: u32,
    /// Seconds that a client may leave a stream without sending or reading anything, or any answer without reading; 0
    /// for as long as it likes
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) idle_timeout_s: u32,
    /// Seconds that accepted requests have to finish after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) stop_timeout_s: u32,
    /// Compress answers of at least this size for clients that accept it; off for none
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    pub(crate) compress_from: ByteSize,
    /// Threads that speak HTTP, beside those that compute; by default half as many. More answer more from the
    /// cache, and interrupt those that compute more often
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) http_threads: Option<NonZeroUsize>,
    /// Send traces by OTLP (HTTP, protocol buffers) to this collector, such as http://localhost:4318. The variables
    /// that start with OTEL_ are honoured too, and OTEL_EXPORTER_OTLP_ENDPOINT switches traces on as well
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Share of requests that are traced, 0 to 1; callers that send a traceparent decide for themselves. By default
    /// as OTEL_TRACES_SAMPLER says, or all
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(crate) otlp_sample_ratio: Option<f64>,
    /// How lines on standard error are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// How much is logged; debug has a line for each request
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
}

fn ratio(word: &str) -> Result<f64, String> {
    let ratio: f64 = word.parse().map_err(|_| "not a number".to_owned())?;
    match (0.0..=1.0).contains(&ratio) {
        true => Ok(ratio),
        false => Err("it must be from 0 to 1".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}
