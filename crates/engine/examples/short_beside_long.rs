//! How long short texts wait while one in eleven is long: the service's queue against a FIFO batcher.
//!
//! ```text
//! cargo run --release -p batchwright-engine --example short_beside_long -- MODEL TEXTS [SECONDS]
//! ```
//!
//! TEXTS is a file with a text on each line. Lines below 80 characters are the short ones; a long one is made
//! of so many lines that it has 256 tokens. Both batchers compute on as many threads, with the same budget and
//! without padding. The FIFO batcher takes requests as they came, up to the budget, and ends its batch at the
//! first that does not fit; each of its threads has a service to itself, with nothing in it but the batch.
//! Requests come at random times (Poisson), the same ones for both, at given shares of what the machine can
//! do; latencies count from when a request was due.

#![expect(clippy::print_stdout, reason = "an example prints its measurements")]

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use batchwright_engine::{CacheUse, Compute, Input, Model, Request, Service, ServiceSettings};
use load::Arrivals;

/// One in so many is long.
const LONG_EVERY: usize = 11;
const LONG_TOKENS: usize = 256;
const LOADS: [f64; 3] = [0.5, 0.7, 0.85];
const ROUNDS: u64 = 3;

struct Query {
    text: String,
    tokens: usize,
    long: bool,
}

/// How long short and long requests took.
#[derive(Default)]
struct Latencies {
    short: Vec<Duration>,
    long: Vec<Duration>,
}

impl Latencies {
    fn add(&mut self, query: &Query, latency: Duration) {
        let kind = if query.long {
            &mut self.long
        } else {
            &mut self.short
        };
        kind.push(latency);
    }

    fn join(&mut self, other: Self) {
        self.short.extend(other.short);
        self.long.extend(other.long);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, rest @ ..] = arguments.as_slice() else {
        return Err("usage: short_beside_long MODEL TEXTS [SECONDS]".into());
    };
    let seconds = rest.first().map_or(Ok(5.0), |seconds| seconds.parse())?;
    let name = model;
    let model = Model::builder(name).offline().load()?;
    let queries = queries(&model, &std::fs::read_to_string(texts)?)?;
    let threads = model.threads();
    let service = Service::start(model, ServiceSettings::default())?;
    let singles: Vec<Service> = (0..threads)
        .map(|_| {
            let model = Model::builder(name).offline().threads(1).load()?;
            Service::start_on(&Compute::new(1), model, ServiceSettings::default())
        })
        .collect::<Result<_, _>>()?;
    let capacity = capacity(&service, &queries)?;
    println!("{capacity:.0} requests/s at most; one in {LONG_EVERY} of {LONG_TOKENS} tokens");
    println!("load  order    short p50     p99   long p50     p99 (ms)");
    for load in LOADS {
        let (mut ours, mut fifo) = (Latencies::default(), Latencies::default());
        for seed in 0..ROUNDS {
            let due = arrivals(capacity * load, seconds, seed);
            ours.join(by_service(&service, &queries, &due)?);
            fifo.join(by_fifo(&singles, &queries, &due));
        }
        for (name, latencies) in [("service", &mut ours), ("FIFO", &mut fifo)] {
            let [short, long] = [&mut latencies.short, &mut latencies.long].map(|times| {
                times.sort_unstable();
                [percentile(times, 0.5), percentile(times, 0.99)]
            });
            println!(
                "{:3.0}%  {name:8} {:8.1} {:7.1} {:10.1} {:7.1}",
                100.0 * load,
                short[0],
                short[1],
                long[0],
                long[1]
            );
        }
    }
    Ok(())
}

fn queries(model: &Model, texts: &str) -> Result<Vec<Query>, Box<dyn Error>> {
    let mut lines = texts.lines().filter(|line| !line.is_empty()).cycle();
    let mut queries = Vec::new();
    for number in 0..1_100 {
        let long = number % LONG_EVERY == LONG_EVERY - 1;
        let mut text = String::new();
        loop {
            let line = lines.next().ok_or("the file has no text")?;
            if long || line.len() < 80 {
                text.push_str(line);
            }
            let tokens = model.tokenize(&text.as_str().into())?.ids.len();
            if !text.is_empty() && (!long || tokens >= LONG_TOKENS.min(model.batch_tokens())) {
                queries.push(Query { text, tokens, long });
                break;
            }
            text.push(' ');
        }
    }
    Ok(queries)
}

fn arrivals(per_second: f64, seconds: f64, seed: u64) -> Vec<Duration> {
    let mut arrivals = Arrivals::new(per_second, seed);
    let mut due = Vec::new();
    while arrivals.due().as_secs_f64() < seconds {
        due.push(arrivals.due());
        arrivals.advance();
    }
    due
}

fn request(query: &Query) -> Request {
    Request {
        cache: CacheUse::No,
        ..Request::new(vec![Input::from(query.text.as_str())])
    }
}

/// Requests a second if they all wait.
fn capacity(service: &Service, queries: &[Query]) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let tickets: Result<Vec<_>, _> = queries
        .iter()
        .map(|query| service.submit(request(query)))
        .collect();
    for ticket in tickets? {
        let _ = ticket.wait();
    }
    Ok(queries.len() as f64 / start.elapsed().as_secs_f64())
}

fn by_service(
    service: &Service,
    queries: &[Query],
    due: &[Duration],
) -> Result<Latencies, Box<dyn Error>> {
    let start = Instant::now();
    let mut tickets = Vec::new();
    for (&due, query) in due.iter().zip(queries.iter().cycle()) {
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let late = start.elapsed().saturating_sub(due);
        tickets.push((query, late, service.submit(request(query))?));
    }
    let mut latencies = Latencies::default();
    for (query, late, ticket) in tickets {
        latencies.add(query, late + ticket.wait().timing.total);
    }
    Ok(latencies)
}

/// Requests in the order in which they came.
#[derive(Default)]
struct Fifo<'a> {
    state: Mutex<(VecDeque<(&'a Query, Instant)>, bool)>,
    more: Condvar,
}

impl<'a> Fifo<'a> {
    fn push(&self, query: &'a Query, due: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push_back((query, due));
        self.more.notify_one();
    }

    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = true;
        self.more.notify_all();
    }

    /// What runs next; nothing at the end.
    fn batch(&self, budget: usize) -> Vec<(&'a Query, Instant)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .more
            .wait_while(state, |(queue, closed)| queue.is_empty() && !*closed)
            .unwrap_or_else(PoisonError::into_inner);
        let mut batch = Vec::new();
        let mut tokens = 0;
        while let Some(&(query, since)) = state.0.front()
            && (batch.is_empty() || tokens + query.tokens <= budget)
        {
            tokens += query.tokens;
            batch.push((query, since));
            state.0.pop_front();
        }
        batch
    }
}

/// A batch at a time for each thread.
fn by_fifo(services: &[Service], queries: &[Query], due: &[Duration]) -> Latencies {
    let fifo = Fifo::default();
    let latencies = Mutex::new(Latencies::default());
    let work = |service: &Service| {
        loop {
            let batch = fifo.batch(service.model().batch_tokens());
            if batch.is_empty() {
                return;
            }
            let inputs = batch.iter().map(|(query, _)| query.text.as_str().into());
            let together = Request {
                cache: CacheUse::No,
                ..Request::new(inputs.collect())
            };
            let Ok(ticket) = service.submit(together) else {
                return;
            };
            let _ = ticket.wait();
            let end = Instant::now();
            let mut latencies = latencies.lock().unwrap_or_else(PoisonError::into_inner);
            for (query, since) in batch {
                latencies.add(query, end.saturating_duration_since(since));
            }
        }
    };
    std::thread::scope(|scope| {
        for service in services {
            scope.spawn(|| work(service));
        }
        let start = Instant::now();
        for (&due, query) in due.iter().zip(queries.iter().cycle()) {
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            fifo.push(query, start + due);
        }
        fifo.close();
    });
    latencies
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// In milliseconds, of sorted times.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = (share * sorted.len() as f64) as usize;
    let time = sorted.get(at.min(sorted.len().saturating_sub(1)));
    time.map_or(f64::NAN, |time| 1e3 * time.as_secs_f64())
}
