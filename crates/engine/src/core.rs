//! What a loaded model consists of; shared by every handle, stream and thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use batch::Share;
use networks::{ModelDirectory, ProblemType, Task};

use crate::answer::{Answer, Origin, Outcome, assemble};
use crate::cache::{Cache, Entry, Key};
use crate::error::RowError;
use crate::execute::{BatchTime, Executor, Workers};
use crate::machine::Machine;
use crate::memory::GivesMemoryBack;
use crate::pipeline::{CacheUse, RunSettings};
use crate::prepare::{PreparedWindow, Preparer, Unique};

pub(crate) struct Core {
    /// The model as the caller named it.
    pub(crate) name: String,
    /// What the model came from: a directory, a hub, a package.
    pub(crate) source: String,
    pub(crate) directory: ModelDirectory,
    /// Hash of every file that determines answers.
    pub(crate) fingerprint: [u8; 32],
    /// The options that change what the network computes, as names and values.
    pub(crate) computed: Vec<(&'static str, String)>,
    pub(crate) machine: Machine,
    pub(crate) executor: Executor,
    pub(crate) preparer: Preparer,
    pub(crate) cache: Cache,
    pub(crate) settings: RunSettings,
    /// Rows read ahead and batched together.
    pub(crate) window: usize,
    /// Last, for parts are dropped in their order.
    pub(crate) _memory: GivesMemoryBack,
}

impl Core {
    pub(crate) fn task(&self) -> Task {
        self.executor.network().task()
    }

    pub(crate) fn labels(&self) -> &[String] {
        self.directory.labels()
    }

    pub(crate) fn problem_type(&self) -> ProblemType {
        self.directory.problem_type()
    }

    /// What the cache knows of distinct rows, one for each, in every tier; counted as hits of every row that they
    /// stand for. May wait for milliseconds.
    pub(crate) fn cached_all(&self, cache: CacheUse, rows: &[Unique]) -> Vec<Option<Outcome>> {
        let mut outcomes = self.all_in_memory(cache, rows);
        if cache == CacheUse::No || !self.cache.is_beyond_memory() {
            return outcomes;
        }
        let missing = (0..rows.len()).filter(|&row| outcomes[row].is_none());
        let missing: Vec<usize> = missing.collect();
        let asked: Vec<&Unique> = missing.iter().map(|&row| &rows[row]).collect();
        for (row, outcome) in missing.into_iter().zip(self.beyond_memory(&asked)) {
            outcomes[row] = outcome;
        }
        outcomes
    }

    /// The same of one row, in this process.
    pub(crate) fn cached(&self, cache: CacheUse, unique: &Unique) -> Option<Outcome> {
        if cache == CacheUse::No {
            return None;
        }
        let entry = self.cache.get(unique.key)?;
        Some(self.hit(unique, entry))
    }

    /// What memory alone knows of distinct rows.
    pub(crate) fn all_in_memory(&self, cache: CacheUse, rows: &[Unique]) -> Vec<Option<Outcome>> {
        match cache {
            CacheUse::Yes if self.cache.has_memory() => {
                rows.iter().map(|row| self.cached_in_memory(row)).collect()
            }
            _ => rows.iter().map(|_| None).collect(),
        }
    }

    /// What memory alone knows of a row: it takes no longer than it may under a lock.
    pub(crate) fn cached_in_memory(&self, unique: &Unique) -> Option<Outcome> {
        let entry = self.cache.get_in_memory(unique.key)?;
        Some(self.hit(unique, entry))
    }

    /// What the other tiers know of rows that memory does not know. May wait for milliseconds.
    pub(crate) fn beyond_memory(&self, rows: &[&Unique]) -> Vec<Option<Outcome>> {
        let keys: Vec<Key> = rows.iter().map(|row| row.key).collect();
        let found = self.cache.get_beyond_memory(&keys).into_iter();
        let found = found.zip(rows);
        found
            .map(|(entry, row)| entry.map(|entry| self.hit(row, entry)))
            .collect()
    }

    fn hit(&self, unique: &Unique, entry: Entry) -> Outcome {
        self.cache.count_hits(unique.count, entry.cost);
        Outcome {
            origin: Origin::Cache,
            answer: Ok(entry.values),
        }
    }

    /// Keeps a row's answer in the cache, if there is one.
    pub(crate) fn keep(&self, key: Key, values: &Arc<[f32]>, cost: Duration) {
        if self.cache.is_on() {
            let values = Arc::clone(values);
            self.cache.put(key, Entry { values, cost });
        }
    }

    /// Counts a row that was computed for so many rows.
    pub(crate) fn count_computed(&self, rows: u32, cost: Duration) {
        if self.cache.is_on() {
            self.cache.count_miss();
            self.cache.count_hits(rows.saturating_sub(1), cost);
        }
    }

    /// Computes distinct rows as one batch and keeps the answers in the cache.
    pub(crate) fn compute(&self, cache: CacheUse, rows: &[&Unique], workers: Workers) -> Computed {
        let tokens: Vec<_> = rows.iter().map(|unique| &unique.tokens).collect();
        let executed = self.executor.run(&tokens, workers);
        let total: usize = tokens.iter().map(|row| row.ids.len()).sum();
        let outcomes = rows.iter().zip(executed.answers).map(|(unique, answer)| {
            if let Ok(values) = &answer
                && cache == CacheUse::Yes
            {
                let cost = executed.time.share(unique.tokens.ids.len(), total);
                self.count_computed(unique.count, cost);
                self.keep(unique.key, values, cost);
            }
            Outcome {
                origin: Origin::Computed,
                answer,
            }
        });
        Computed {
            outcomes: outcomes.collect(),
            tokens: total,
            time: executed.time,
        }
    }

    /// Answers a prepared window without queues, on the calling thread and as many more as there are
    /// batches for: the shortest way for few rows.
    pub(crate) fn answer_now(
        &self,
        prepared: PreparedWindow,
        cache: CacheUse,
    ) -> Vec<Result<Answer, RowError>> {
        let outcomes = self.outcomes_now(&prepared.unique, cache);
        assemble(prepared.rows, &outcomes)
    }

    /// What comes of distinct rows, one for each.
    pub(crate) fn outcomes_now(&self, unique: &[Unique], cache: CacheUse) -> Vec<Option<Outcome>> {
        let mut outcomes = self.cached_all(cache, unique);
        let missing: Vec<usize> = (0..outcomes.len())
            .filter(|&index| outcomes[index].is_none())
            .collect();
        let rows: Vec<&Unique> = missing.iter().map(|&index| &unique[index]).collect();
        for (row, outcome) in self.compute_now(&rows, cache) {
            outcomes[missing[row]] = Some(outcome);
        }
        outcomes
    }

    /// Computes distinct rows; gives outcomes with their rows' indices, in any order.
    fn compute_now(&self, rows: &[&Unique], cache: CacheUse) -> Vec<(usize, Outcome)> {
        let RunSettings {
            budget, threads, ..
        } = self.settings;
        let lengths: Vec<u32> = rows.iter().map(|row| row.tokens.ids.len() as u32).collect();
        let total = lengths.iter().map(|&length| length as usize).sum();
        let budget = match Share::of(total, rows.len(), threads, budget) {
            Share::Team if rows.is_empty() => return Vec::new(),
            Share::Team => {
                let computed = self.compute(cache, rows, Workers::Team);
                return computed.outcomes.into_iter().enumerate().collect();
            }
            Share::Batches(budget) => budget,
        };
        let plan = batch::plan(&lengths, budget);
        let batches: Vec<&[u32]> = plan.batches().collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut outcomes = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Relaxed)) {
                let some: Vec<&Unique> = batch.iter().map(|&row| rows[row as usize]).collect();
                let computed = self.compute(cache, &some, Workers::One);
                outcomes.extend(batch.iter().map(|&row| row as usize).zip(computed.outcomes));
            }
            outcomes
        };
        std::thread::scope(|scope| {
            let others = threads.min(batches.len()) - 1;
            // A thread that the system refuses makes the call slower, nothing else.
            let others: Vec<_> = (0..others)
                .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut outcomes = work();
            for other in others {
                match other.join() {
                    Ok(some) => outcomes.extend(some),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            outcomes
        })
    }
}

/// What came of computing a batch of distinct rows.
pub(crate) struct Computed {
    /// One for each, in the batch's order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) tokens: usize,
    pub(crate) time: BatchTime,
}
