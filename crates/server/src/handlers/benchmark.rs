//! `/benchmark`: a model measured while it is served, on the caller's own texts.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use axum::response::Response;
use engine::{BenchmarkSpec, Input};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::call::Call;
use crate::models::{Loaded, Pick};
use crate::problem::{Code, Problem};
use crate::reply;
use crate::settings::Benchmarks;
use crate::wire::rows::Row;
use crate::wire::whole::{whole, wholes};

/// More rows make nothing more exact, and hold up everybody else.
const MOST_ROWS: usize = 10_000;
const MOST_ROUNDS: usize = 20;
const MOST_QUERIES: usize = 10_000;
const MOST_COMBINATIONS: usize = 100;
/// Workspace grows with the batch, and the threads keep it.
const MOST_BATCH_TOKENS: usize = 65_536;
const MOST_SECONDS: u64 = 60;
const DEFAULT_SECONDS: u64 = 10;

/// What is measured, and with what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BenchmarkAsk {
    /// The model's name; not needed where there is only one.
    #[serde(default)]
    model: Option<String>,
    /// The model's version; the last one if left out.
    #[serde(default)]
    version: Option<String>,
    /// The texts, or pairs of texts: real ones, for lengths decide everything. 10,000 at most.
    texts: Vec<Row>,
    /// Token budgets to try, 1 to 100 of 1 to 65,536 each; a range around the default if left out.
    #[serde(default, deserialize_with = "wholes")]
    batch_tokens: Vec<usize>,
    /// Numbers of threads to try, 1 to 100; one and all of the model's if left out.
    #[serde(default, deserialize_with = "wholes")]
    threads: Vec<usize>,
    /// Rounds over all combinations, of which each figure is the median; 1 to 20, and 3 if left out.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 20)]
    rounds: Option<usize>,
    /// Single queries to time, one after the other; 1 to 10,000, and 200 if left out.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 10_000)]
    single_queries: Option<usize>,
    /// About how long it may take; 1 to 60, and 10 if left out. What is not measured by then is left out.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 60)]
    seconds: Option<u64>,
}

impl BenchmarkAsk {
    fn spec(self) -> Result<BenchmarkSpec, Problem> {
        let within = |name: &'static str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(value);
            }
            let words = format!("`{name}` is {value}; it must be {least} to {most}");
            Err(Problem::new(Code::BadOption, words))
        };
        let seconds = self.seconds.unwrap_or(DEFAULT_SECONDS);
        let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
        let seconds = within("seconds", seconds, 1, MOST_SECONDS as usize)?;
        let combinations = self.batch_tokens.len().max(1) * self.threads.len().max(1);
        within(
            "batch_tokens times threads",
            combinations,
            1,
            MOST_COMBINATIONS,
        )?;
        for &tokens in &self.batch_tokens {
            within("batch_tokens", tokens, 1, MOST_BATCH_TOKENS)?;
        }
        within("number of texts", self.texts.len(), 1, MOST_ROWS)?;
        let mut spec = BenchmarkSpec::new(self.texts.into_iter().map(Input::from).collect());
        spec.rounds = within("rounds", self.rounds.unwrap_or(spec.rounds), 1, MOST_ROUNDS)?;
        let queries = self.single_queries.unwrap_or(spec.single_queries);
        spec.single_queries = within("single_queries", queries, 1, MOST_QUERIES)?;
        spec.batch_tokens = self.batch_tokens;
        spec.threads = self.threads;
        spec.within = Some(Duration::from_secs(seconds as u64));
        Ok(spec)
    }
}

/// Whoever waits for a report; says, when it is dropped, that nobody does.
#[derive(Default)]
struct Waiting {
    is_given_up: Arc<AtomicBool>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.is_given_up.store(true, Relaxed);
    }
}

pub(crate) async fn benchmark(mut call: Call) -> Result<Response, Problem> {
    if call.app.settings.benchmarks == Benchmarks::Off {
        return Err(Problem::new(
            Code::SwitchedOff,
            "/benchmark is switched off; start the server with --enable-benchmark",
        ));
    }
    let payload = call.payload().await?;
    let ask: BenchmarkAsk = payload.json()?;
    let loaded = call.app.models.find(Pick {
        name: ask.model.as_deref(),
        version: ask.version.as_deref(),
        task: None,
    })?;
    let spec = ask.spec()?;
    let app = Arc::clone(&call.app);
    let waiting = Waiting::default();
    let is_given_up = Arc::clone(&waiting.is_given_up);
    let measuring = tokio::task::spawn_blocking(move || {
        let _alone = match app.benchmark.try_lock() {
            Ok(alone) => alone,
            // It holds nothing that a panic could have left half done.
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let words = "a model is being measured already; try again when that is done";
                let seconds = Duration::from_secs(DEFAULT_SECONDS);
                return Err(Problem::new(Code::Busy, words).after(seconds));
            }
        };
        let is_wanted = || !is_given_up.load(Relaxed) && !app.is_stopping();
        measure(&loaded, &spec, is_wanted)
    });
    let measured = measuring.await;
    drop(waiting);
    measured.unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())))
}

fn measure(
    loaded: &Loaded,
    spec: &BenchmarkSpec,
    is_wanted: impl Fn() -> bool,
) -> Result<Response, Problem> {
    let report = loaded.service.model().benchmark_while(spec, is_wanted);
    let report = report.map_err(|error| match error {
        engine::Error::Row { row, error } => Problem::of_row(row, &error),
        engine::Error::Option { name, problem } => {
            Problem::new(Code::BadOption, format!("`{name}`: {problem}"))
        }
        error => Problem::new(Code::Internal, error.to_string()),
    })?;
    Ok(reply::json(reply::to_json(&report)))
}
