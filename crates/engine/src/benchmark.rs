//! Measuring a model on a user's own texts: which budget, how many threads, what a cache gives.

use std::time::{Duration, Instant};

use batch::Budget;
use serde::Serialize;
use text::Input;

use crate::error::{Error, RowError};
use crate::machine::Machine;
use crate::memory::MemoryStats;
use crate::model::Model;
use crate::pipeline::{CacheUse, RunSettings};

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchmarkSpec {
    /// The rows; real ones, for lengths decide everything.
    pub inputs: Vec<Input>,
    /// Token budgets to try. Empty: a single row, then a range around the default.
    pub batch_tokens: Vec<usize>,
    /// Numbers of threads to try. Empty: one, and all that the model has.
    pub threads: Vec<usize>,
    /// Rounds over all combinations; each figure is the median. They alternate, so that a machine
    /// that slows down slows every combination.
    pub rounds: usize,
    /// Single queries to time, one after the other.
    pub single_queries: usize,
    /// About how long it may take; none: until it is done. What is not measured by then is left out.
    pub within: Option<Duration>,
}

impl BenchmarkSpec {
    /// The defaults on these rows: three rounds, 200 single queries.
    pub fn new(inputs: Vec<Input>) -> Self {
        Self {
            inputs,
            batch_tokens: Vec::new(),
            threads: Vec::new(),
            rounds: 3,
            single_queries: 200,
            within: None,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchmarkReport {
    /// The model as it was named.
    pub model: String,
    /// The machine.
    pub machine: Machine,
    /// Rows measured with.
    pub rows: usize,
    /// Tokens of those rows.
    pub tokens: u64,
    /// Measured floating-point peak of all threads, in GFLOP/s.
    pub peak_gflops: f64,
    /// One query at a time, all threads on it, nothing cached.
    pub single: Latency,
    /// The same queries again, all cached; `None` where the model has no cache in memory that holds
    /// them all.
    pub cached: Option<Latency>,
    /// Every budget at every number of threads that was measured.
    pub budgets: Vec<BudgetResult>,
    /// Whether the time was up before everything was measured as often as it was meant to be.
    pub cut_short: bool,
    /// The budget to use: the smallest that is within 2 % of the best at the most threads.
    pub recommended_batch_tokens: usize,
    /// Memory when all was done.
    pub memory: MemoryStats,
}

/// Times of single queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Queries timed.
    pub queries: usize,
    /// Queries a second, one after the other.
    pub per_second: f64,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile, in milliseconds.
    pub p90_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// One budget at one number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetResult {
    /// Most tokens in a batch. 1: every row alone.
    pub batch_tokens: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Rows a second, tokenising included; median of the rounds.
    pub rows_per_second: f64,
    /// Tokens a second; median of the rounds.
    pub tokens_per_second: f64,
    /// Rows in a batch, on average.
    pub rows_per_batch: f64,
    /// Time of a batch from start to end, on average, in milliseconds: what a row waits for its batch.
    pub batch_ms: f64,
    /// Share of the floating-point peak of these threads that the network's products reached, 0 to 1.
    pub share_of_peak: f64,
    /// Share of the work that padding to the longest row of each batch would have added, 0 to 1.
    pub padding_avoided: f64,
    /// Most memory that the process has had by then, in bytes.
    pub peak_resident_bytes: u64,
}

impl Model {
    /// Measures this model on the caller's rows. The cache is neither read nor filled, but for the
    /// cached queries; in memory it is empty afterwards.
    ///
    /// # Errors
    /// If there are no rows, a row fails, or a setting is 0.
    ///
    /// ```no_run
    /// use batchwright_engine::{BenchmarkSpec, Input, Model};
    ///
    /// # fn main() -> Result<(), batchwright_engine::Error> {
    /// let model = Model::builder("all-MiniLM-L6-v2").cache_entries(1_000).load()?;
    /// let rows = vec![Input::from("turn on the lights"), Input::from("what is my balance")];
    /// let report = model.benchmark(&BenchmarkSpec::new(rows))?;
    /// println!("use batches of {} tokens", report.recommended_batch_tokens);
    /// # Ok(())
    /// # }
    /// ```
    pub fn benchmark(&self, spec: &BenchmarkSpec) -> Result<BenchmarkReport, Error> {
        self.benchmark_with_progress(spec, |_, _| {})
    }

    /// The same as [`benchmark`](Self::benchmark); `progress` gets steps done and steps in all.
    ///
    /// # Errors
    /// As [`benchmark`](Self::benchmark).
    pub fn benchmark_with_progress(
        &self,
        spec: &BenchmarkSpec,
        progress: impl FnMut(usize, usize),
    ) -> Result<BenchmarkReport, Error> {
        self.measure(spec, &|| true, progress)
    }

    /// The same as [`benchmark`](Self::benchmark) for as long as somebody wants it, who is asked between two queries and
    /// between two windows of rows. What is not measured by then is left out.
    ///
    /// # Errors
    /// As [`benchmark`](Self::benchmark).
    pub fn benchmark_while(
        &self,
        spec: &BenchmarkSpec,
        is_wanted: impl Fn() -> bool,
    ) -> Result<BenchmarkReport, Error> {
        self.measure(spec, &is_wanted, |_, _| {})
    }

    fn measure(
        &self,
        spec: &BenchmarkSpec,
        is_wanted: &dyn Fn() -> bool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<BenchmarkReport, Error> {
        let combinations = self.combinations(spec)?;
        let time = Time {
            until: spec
                .within
                .and_then(|within| Instant::now().checked_add(within)),
            is_wanted,
        };
        let steps = combinations.len() * spec.rounds + 2;
        self.warm_up();

        let queries: Vec<&Input> = spec
            .inputs
            .iter()
            .cycle()
            .take(spec.single_queries.max(1))
            .collect();
        let single = self.time_queries(&queries, CacheUse::No, &time)?;
        progress(1, steps);
        let cached = self.time_cached(&queries[..single.queries], &time)?;
        progress(2, steps);

        let peaks: Vec<f64> = combinations
            .iter()
            .map(|&(_, threads)| {
                kernels::peak_gflops(self.core().executor.network().isa(), threads)
            })
            .collect();
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); combinations.len()];
        let mut cut_short = single.queries < queries.len();
        for round in 0..spec.rounds {
            for (at, &(batch_tokens, threads)) in combinations.iter().enumerate() {
                match self.time_round(&spec.inputs, batch_tokens, threads, &time)? {
                    Some(measured) => rounds[at].push(measured),
                    None => cut_short = true,
                }
                progress(3 + round * combinations.len() + at, steps);
            }
        }

        let tokens = rounds
            .first()
            .and_then(|rounds| rounds.first())
            .map_or(0, |r| r.tokens);
        let budgets: Vec<BudgetResult> = combinations
            .iter()
            .zip(rounds)
            .zip(&peaks)
            .filter(|((_, rounds), _)| !rounds.is_empty())
            .map(|((&combination, rounds), &peak)| self.summarise(combination, rounds, peak))
            .collect();
        Ok(BenchmarkReport {
            model: self.name().to_owned(),
            machine: self.machine().clone(),
            rows: spec.inputs.len(),
            tokens,
            peak_gflops: peaks.iter().copied().fold(0.0, f64::max),
            single,
            cached,
            recommended_batch_tokens: recommend(&budgets).unwrap_or(self.batch_tokens()),
            budgets,
            cut_short,
            memory: self.memory_stats(),
        })
    }

    /// Every number of threads with every budget.
    fn combinations(&self, spec: &BenchmarkSpec) -> Result<Vec<(usize, usize)>, Error> {
        let fail = |name, problem: &str| {
            Err(Error::Option {
                name,
                problem: problem.into(),
            })
        };
        if spec.inputs.is_empty() {
            return fail("inputs", "no rows; give at least one to measure with");
        }
        if spec.rounds == 0 {
            return fail("rounds", "0; it must be at least 1");
        }
        if spec.batch_tokens.contains(&0) {
            return fail("batch_tokens", "0 tokens; it must be at least 1");
        }
        if spec
            .threads
            .iter()
            .any(|&threads| threads == 0 || threads > self.threads())
        {
            let problem = format!("each must be 1 to {}, the model's threads", self.threads());
            return fail("threads", &problem);
        }
        let mut budgets = spec.batch_tokens.clone();
        if budgets.is_empty() {
            budgets = vec![1, 48, 96, 192, 384, 768, 1_536, 4_096, self.batch_tokens()];
        }
        let mut threads = spec.threads.clone();
        if threads.is_empty() {
            threads = vec![1, self.threads()];
        }
        for list in [&mut budgets, &mut threads] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(threads
            .iter()
            .flat_map(|&t| budgets.iter().map(move |&b| (b, t)))
            .collect())
    }

    /// Times queries until all are timed or the time is up; at least one.
    fn time_queries(
        &self,
        queries: &[&Input],
        cache: CacheUse,
        time: &Time<'_>,
    ) -> Result<Latency, Error> {
        let mut times = Vec::with_capacity(queries.len());
        for (row, &input) in queries.iter().enumerate() {
            if row > 0 && time.is_over() {
                break;
            }
            let start = Instant::now();
            let prepared = self.core().preparer.window(vec![Ok(input.clone())]);
            let answers = self.core().answer_now(prepared, cache);
            times.push(start.elapsed());
            check(row, answers)?;
        }
        Ok(Latency::of(&mut times))
    }

    /// The latency of queries that the cache answers, every one.
    fn time_cached(&self, queries: &[&Input], time: &Time<'_>) -> Result<Option<Latency>, Error> {
        let cache = &self.core().cache;
        if !cache.has_memory() || time.is_over() {
            return Ok(None);
        }
        let known = self.time_queries(queries, CacheUse::Yes, time)?;
        let queries = &queries[..known.queries];
        let before = cache.stats().hits;
        let latency = self.time_queries(queries, CacheUse::Yes, &Time::endless())?;
        let hits = cache.stats().hits - before;
        cache.clear_memory();
        Ok((hits >= queries.len() as u64).then_some(latency))
    }

    fn time_round(
        &self,
        inputs: &[Input],
        batch_tokens: usize,
        threads: usize,
        time: &Time<'_>,
    ) -> Result<Option<Round>, Error> {
        if time.is_over() {
            return Ok(None);
        }
        let rows = self.core().settings.budget.rows;
        let settings = RunSettings {
            budget: Budget::tokens(batch_tokens).rows(rows),
            threads,
            cache: CacheUse::No,
        };
        let (total, inputs) = (inputs.len(), inputs.to_vec());
        let start = Instant::now();
        let mut windows = self.windows_of(inputs.into_iter(), settings);
        let mut row = 0;
        for window in windows.by_ref() {
            let count = window.answers.len();
            check(row, window.answers)?;
            row += count;
            if row < total && time.is_over() {
                return Ok(None);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let progress = windows.progress();
        Ok(Some(Round {
            seconds,
            tokens: progress.tokens,
            rows: row,
            batches: progress.batches,
            compute_seconds: progress.compute_seconds,
            batch_seconds: progress.batch_seconds,
            padding_avoided: progress.padding_avoided,
            peak_resident_bytes: self.memory_stats().peak_resident_bytes,
        }))
    }

    fn summarise(
        &self,
        (batch_tokens, threads): (usize, usize),
        mut rounds: Vec<Round>,
        peak_gflops: f64,
    ) -> BudgetResult {
        rounds.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let median = rounds[rounds.len() / 2];
        let batches = median.batches.max(1) as f64;
        let flops = median.tokens as f64 * self.flops_per_token();
        let thread_seconds = median.compute_seconds.max(f64::MIN_POSITIVE);
        BudgetResult {
            batch_tokens,
            threads,
            rows_per_second: median.rows as f64 / median.seconds,
            tokens_per_second: median.tokens as f64 / median.seconds,
            rows_per_batch: median.rows as f64 / batches,
            batch_ms: 1e3 * median.batch_seconds / batches,
            share_of_peak: flops / thread_seconds / 1e9 / (peak_gflops / threads as f64),
            padding_avoided: median.padding_avoided,
            peak_resident_bytes: median.peak_resident_bytes,
        }
    }
}

#[derive(Clone, Copy)]
struct Round {
    seconds: f64,
    tokens: u64,
    rows: usize,
    batches: u64,
    compute_seconds: f64,
    batch_seconds: f64,
    padding_avoided: f64,
    peak_resident_bytes: u64,
}

impl Latency {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let total: f64 = times.iter().map(Duration::as_secs_f64).sum();
        let at = |share: f64| {
            // The nearest-rank percentile: the least time that at least this share does not exceed.
            let rank = (share * times.len() as f64).ceil() as usize;
            times
                .get(rank.saturating_sub(1))
                .map_or(0.0, |time| 1e3 * time.as_secs_f64())
        };
        Self {
            queries: times.len(),
            per_second: times.len() as f64 / total.max(f64::MIN_POSITIVE),
            p50_ms: at(0.50),
            p90_ms: at(0.90),
            p99_ms: at(0.99),
        }
    }
}

/// How long it may take.
struct Time<'a> {
    until: Option<Instant>,
    is_wanted: &'a dyn Fn() -> bool,
}

impl Time<'_> {
    fn endless() -> Self {
        Time {
            until: None,
            is_wanted: &|| true,
        }
    }

    fn is_over(&self) -> bool {
        !(self.is_wanted)() || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

fn check(first: usize, answers: Vec<Result<crate::Answer, RowError>>) -> Result<(), Error> {
    match answers
        .into_iter()
        .enumerate()
        .find_map(|(at, answer)| Some((at, answer.err()?)))
    {
        Some((at, error)) => Err(Error::Row {
            row: first + at,
            error,
        }),
        None => Ok(()),
    }
}

/// The smallest budget within 2 % of the best at the most threads: beyond noise, less memory and
/// shorter batches are worth having.
fn recommend(budgets: &[BudgetResult]) -> Option<usize> {
    let threads = budgets.iter().map(|result| result.threads).max()?;
    let at_most = || budgets.iter().filter(|result| result.threads == threads);
    let best = at_most()
        .map(|result| result.rows_per_second)
        .fold(0.0, f64::max);
    at_most()
        .filter(|result| result.rows_per_second >= 0.98 * best)
        .map(|result| result.batch_tokens)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong percentile would be a wrong promise to whoever waits.
    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let latency = Latency::of(&mut times);
        assert_eq!(
            (latency.p50_ms, latency.p90_ms, latency.p99_ms),
            (50.0, 90.0, 99.0)
        );
        assert_eq!(Latency::of(&mut [Duration::from_millis(7)]).p99_ms, 7.0);
        assert_eq!(Latency::of(&mut []).p50_ms, 0.0);
    }

    /// A recommendation from one thread's figures would be wrong for all of them.
    #[test]
    fn the_smallest_good_budget_at_most_threads_is_recommended() {
        let result = |batch_tokens, threads, rows_per_second| BudgetResult {
            batch_tokens,
            threads,
            rows_per_second,
            tokens_per_second: 0.0,
            rows_per_batch: 0.0,
            batch_ms: 0.0,
            share_of_peak: 0.0,
            padding_avoided: 0.0,
            peak_resident_bytes: 0,
        };
        let results = [
            result(48, 1, 999.0),
            result(48, 2, 600.0),
            result(192, 2, 730.0),
            result(384, 2, 735.0),
            result(4096, 2, 610.0),
        ];
        assert_eq!(recommend(&results), Some(192));
        assert_eq!(recommend(&[]), None);
    }
}
