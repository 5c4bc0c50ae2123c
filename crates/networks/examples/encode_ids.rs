//! Times forward passes over token ids and says how near to the machine's limit they run.
//!
//! ```text
//! cargo run --release -p batchwright-networks --example encode_ids -- MODEL_DIRECTORY [TOKENS [PRECISION]]
//! ```
//!
//! Two loads: short texts of about 11 tokens, as queries have, and mixed ones of 3 to 256 tokens,
//! median 40. TOKENS is the micro-batch (default 384), PRECISION exact, near or fast. Ids are pseudo-random: the time does not
//! depend on them. Where the system tells it (Linux), the share of peak is given for the time on
//! the processor too, which a machine shared with others leaves comparable.

#![expect(clippy::print_stdout, reason = "an example prints its measurements")]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use batchwright_networks::{
    LoadOptions, ModelDirectory, Network, Operator, Precision, TokenBatch, Workspace,
};
use kernels::Solo;

/// Rounds of which the fastest counts: a shared machine only ever slows one down.
const ROUNDS: usize = 4;
/// Work of one round.
const ROUND_TOKENS: usize = 12_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("usage: encode_ids MODEL_DIRECTORY [TOKENS [PRECISION]]")?;
    let budget = arguments.next().map_or(Ok(384), |tokens| tokens.parse())?;
    let precision = arguments
        .next()
        .map(|name| name.parse::<Precision>())
        .transpose()?;
    let started = Instant::now();
    let directory = ModelDirectory::open(Path::new(&path))?;
    let options = LoadOptions {
        precision,
        ..LoadOptions::default()
    };
    let network = Network::load(&directory, &options)?;
    println!(
        "loaded in {:.0} ms, {:.1} MFLOP a token, {:.0} MB of weights, {}",
        started.elapsed().as_secs_f64() * 1e3,
        network.flops_per_token() as f64 / 1e6,
        network.bytes() as f64 / 1e6,
        network.isa().name(),
    );
    println!("load    workers  texts/s  tokens/s  GFLOP/s  of peak  of peak on CPU  workspace");
    for (name, lengths) in [("short", short()), ("mixed", mixed(directory.max_tokens()))] {
        let batches = cut(&lengths, budget);
        let tokens = lengths.iter().sum::<usize>() as f64;
        let gflop = tokens * network.flops_per_token() as f64 / 1e9;
        for workers in [1, 2] {
            let peak = kernels::peak_gflops(network.isa(), workers);
            let best = fastest(&network, &batches, workers)?;
            let seconds = best.wall.as_secs_f64();
            let on_cpu = best.on_cpu.map_or("unknown".to_owned(), |on_cpu| {
                // Time of all workers, so against the peak of one.
                let rate = gflop / on_cpu.as_secs_f64();
                format!("{:.1} %", 100.0 * rate * workers as f64 / peak)
            });
            println!(
                "{name:7} {workers:7} {:8.0} {:9.0} {:8.1} {:6.1} % {on_cpu:>15} {:7.1} MB",
                lengths.len() as f64 / seconds,
                tokens / seconds,
                gflop / seconds,
                100.0 * gflop / seconds / peak,
                best.workspace_bytes as f64 / 1e6,
            );
        }
    }
    profile(&network, &cut(&short(), budget))?;
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak}");
    }
    Ok(())
}

/// One worker's time by operator over the short texts.
fn profile(network: &Network, batches: &[Vec<usize>]) -> Result<(), Box<dyn Error>> {
    let mut ws = Workspace::default();
    work(network, batches, &AtomicUsize::new(0), &mut ws)?;
    ws.take_profile();
    work(network, batches, &AtomicUsize::new(0), &mut ws)?;
    let (profile, peak) = (ws.take_profile(), kernels::peak_gflops(network.isa(), 1));
    let total = profile.total().time.as_secs_f64();
    println!("operator                share  of peak");
    for operator in Operator::ALL {
        let cost = profile.cost(operator);
        let seconds = cost.time.as_secs_f64();
        let rate = cost.operations as f64 / 1e9 / seconds;
        println!(
            "{:22} {:5.1} %  {:5.1} %",
            operator.name(),
            100.0 * seconds / total,
            100.0 * rate / peak
        );
    }
    Ok(())
}

/// The process's largest resident size, where the system tells it (Linux).
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}

/// A generator whose sequence is the same on every machine (Knuth's MMIX constants).
fn numbers() -> impl Iterator<Item = usize> {
    let step = |state: &u64| {
        Some(
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407),
        )
    };
    std::iter::successors(Some(7u64), step).map(|state| (state >> 33) as usize)
}

/// Texts until there are enough tokens for a round.
fn enough(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut total = 0;
    lengths
        .take_while(|length| {
            total += length;
            total <= ROUND_TOKENS
        })
        .collect()
}

fn short() -> Vec<usize> {
    enough(numbers().map(|number| 6 + number % 11))
}

/// From 3 to 256 with median 40, longest first as the engine runs them.
fn mixed(limit: usize) -> Vec<usize> {
    let length = |number: usize| {
        let share = (number % 10_000) as f64 / 10_000.0;
        let length = if share < 0.5 {
            3.0 + 74.0 * share
        } else {
            40.0 * 6.4f64.powf(2.0 * share - 1.0)
        };
        (length as usize).min(limit)
    };
    let mut lengths = enough(numbers().map(length));
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths
}

/// Micro-batches of at most `budget` tokens, or of one text.
fn cut(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = usize::MAX;
    for &length in lengths {
        tokens = tokens.saturating_add(length);
        match batches.last_mut() {
            Some(batch) if tokens <= budget => batch.push(length),
            _ => {
                batches.push(vec![length]);
                tokens = length;
            }
        }
    }
    batches
}

/// The best of all rounds, each figure by itself.
struct Best {
    wall: Duration,
    /// Processor time of all workers together.
    on_cpu: Option<Duration>,
    workspace_bytes: usize,
}

fn fastest(
    network: &Network,
    batches: &[Vec<usize>],
    workers: usize,
) -> Result<Best, Box<dyn Error>> {
    let mut spaces: Vec<Workspace> = (0..workers).map(|_| Workspace::default()).collect();
    let mut best = Best {
        wall: Duration::MAX,
        on_cpu: None,
        workspace_bytes: 0,
    };
    for _ in 0..ROUNDS {
        let next = AtomicUsize::new(0);
        let started = Instant::now();
        let done: Vec<Result<Option<Duration>, String>> = std::thread::scope(|scope| {
            let running: Vec<_> = spaces
                .iter_mut()
                .map(|ws| scope.spawn(|| work(network, batches, &next, ws)))
                .collect();
            let died = || Err("a worker died".to_owned());
            running
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| died()))
                .collect()
        });
        best.wall = best.wall.min(started.elapsed());
        let times: Vec<Option<Duration>> = done.into_iter().collect::<Result<_, String>>()?;
        let on_cpu: Option<Duration> = times.into_iter().sum();
        best.on_cpu = best.on_cpu.into_iter().chain(on_cpu).min();
        best.workspace_bytes = spaces.iter().map(Workspace::bytes).max().unwrap_or(0);
    }
    Ok(best)
}

/// Takes micro-batches until there are none left; the time that this thread was on a processor.
fn work(
    network: &Network,
    batches: &[Vec<usize>],
    next: &AtomicUsize,
    ws: &mut Workspace,
) -> Result<Option<Duration>, String> {
    let vocabulary = network.config().vocabulary;
    let (mut ids, mut answers) = (Vec::new(), Vec::new());
    while let Some(lengths) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
        ids.clear();
        let tokens = lengths.iter().sum();
        ids.extend(
            numbers()
                .take(tokens)
                .map(|number| (number % vocabulary) as u32),
        );
        answers.clear();
        let batch = TokenBatch {
            ids: &ids,
            lengths,
            ..TokenBatch::default()
        };
        network
            .run(&Solo, &batch, ws, &mut answers)
            .map_err(|error| error.to_string())?;
    }
    Ok(on_cpu())
}

/// How long this thread has been on a processor (Linux: the first number of its `schedstat`).
fn on_cpu() -> Option<Duration> {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    line.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}
