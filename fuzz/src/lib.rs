//! A server in memory, with tiny models, that is asked whatever a fuzzer thinks of: [`bodies`] at the routes of the
//! OpenAPI document, and the messages of [`grpc`].
//!
//! What may not happen: a panic, an answer that says that this program failed, or none.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "whatever goes wrong is what is looked for"
)]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use batchwright_engine::{Model, ServiceSettings};
use batchwright_server::{ModelSpec, ServerSettings, router};
use tokio::runtime::Runtime;

pub mod bodies;
pub mod grpc;

/// Longer than any of these tiny models needs for what fits into an input.
const PATIENCE: Duration = Duration::from_secs(20);
/// By their tasks; `spare` has its settings changed, so that nobody else is refused for it.
const MODELS: [(&str, &str); 5] = [
    ("embed", "bert-embed"),
    ("classify", "bert-classify"),
    ("rerank", "bert-rerank"),
    ("tag", "bert-tag"),
    ("spare", "distilbert-embed"),
];

static SERVER: LazyLock<Server> = LazyLock::new(Server::new);

struct Server {
    runtime: Runtime,
    router: Router,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/testing/golden");
        let models = MODELS.map(|(name, directory)| ModelSpec {
            name: name.to_owned(),
            version: "1".to_owned(),
            source: directory.to_owned(),
            builder: Model::builder(golden.join(directory).to_str().expect("a path of text"))
                .threads(1)
                .cache_bytes(1 << 20),
            settings: ServiceSettings::default(),
        });
        let settings = ServerSettings {
            max_body_bytes: 1 << 20,
            threads: 1,
            compress_from: 1 << 10,
            ..ServerSettings::default()
        };
        let router = runtime
            .block_on(router(settings, models.into()))
            .expect("a router");
        Self { runtime, router }
    }

    /// What comes of it, which has to come.
    fn run<T>(&self, what: &str, answering: impl Future<Output = T>) -> T {
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answering).await });
        answered.unwrap_or_else(|_| panic!("no answer from {what}"))
    }
}

/// A body that comes in two pieces, cut at this share of 256.
fn in_two(body: &[u8], cut: u8) -> Body {
    let (first, second) = body.split_at(body.len() * usize::from(cut) / 256);
    let pieces = [first, second].map(|piece| Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(piece)));
    Body::from_stream(futures_util::stream::iter(pieces))
}

/// Writes what to begin with into the folder that the variable SEEDS names, if it does, and ends the program.
pub fn write_seeds(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("SEEDS") else {
        return;
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder).expect("a folder that can be written into");
    for (number, seed) in seeds().iter().enumerate() {
        let file = folder.join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("a file that can be written");
    }
    std::process::exit(0);
}
