//! Running batches on the network: who may compute, with which buffers, alone or as a team.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use kernels::{Solo, Team};
use networks::{Network, TokenBatch, Workspace};

use crate::error::{RowError, codes};
use crate::team::SpinTeam;

/// A row as the network takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) ids: Vec<u32>,
    /// Empty where all are 0.
    pub(crate) types: Vec<u8>,
}

/// Who runs a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// The calling thread.
    One,
    /// All threads of the model together, if nobody else computes now; else the calling thread.
    Team,
}

/// An answer or an error for each row of a batch.
type RowAnswers = Vec<Result<Arc<[f32]>, RowError>>;

/// What came of a batch: an answer or an error for each row, in the batch's order.
pub(crate) struct Executed {
    pub(crate) answers: RowAnswers,
    /// Wall time of the batch.
    pub(crate) elapsed: Duration,
}

/// A network and the threads that may compute with it.
pub(crate) struct Executor {
    network: Network,
    threads: usize,
    /// Tokens at the start of each row that pooling leaves out; 0 for almost every model.
    prompt_tokens: usize,
    /// Each slot is the right to compute on one thread, and the buffers to do so. Whoever computes
    /// holds one, whatever the stream or call: so the machine is never oversubscribed.
    free: (Sender<Slot>, Receiver<Slot>),
    team: OnceLock<Mutex<SpinTeam>>,
    workspace_bytes: AtomicU64,
}

#[derive(Default)]
struct Slot {
    workspace: Workspace,
    ids: Vec<u32>,
    types: Vec<u8>,
    lengths: Vec<usize>,
    prompt_tokens: Vec<usize>,
    answers: Vec<f32>,
}

impl Executor {
    pub(crate) fn new(network: Network, threads: usize, prompt_tokens: usize) -> Self {
        let free = bounded(threads);
        for _ in 0..threads {
            // The channel has room for exactly these, and both ends live in `self`.
            let _ = free.0.send(Slot::default());
        }
        Self {
            network,
            threads,
            prompt_tokens,
            free,
            team: OnceLock::new(),
            workspace_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of all buffers that computing has needed so far.
    pub(crate) fn workspace_bytes(&self) -> u64 {
        self.workspace_bytes.load(Relaxed)
    }

    /// Runs one batch; waits while all threads of the model compute for others.
    ///
    /// Never fails as a whole: if the network refuses the batch or panics, each of its rows carries
    /// the error, and buffers that may be half written are thrown away.
    pub(crate) fn run(&self, rows: &[&TokenRow], workers: Workers) -> Executed {
        let Ok(mut slot) = self.free.1.recv() else {
            return failed(rows.len(), "the model's threads are gone");
        };
        let idle = self.free.1.len() + 1 == self.threads;
        let before = slot.bytes();
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| match workers {
            Workers::Team if idle && self.threads > 1 => self.run_as_team(&mut slot, rows),
            _ => slot.run(self, &Solo, rows),
        }));
        let elapsed = start.elapsed();
        let executed = match outcome {
            Ok(Ok(answers)) => Executed { answers, elapsed },
            Ok(Err(error)) => failed(rows.len(), &error.to_string()),
            Err(_) => {
                slot = Slot::default();
                failed(
                    rows.len(),
                    "computing this batch panicked; please report this",
                )
            }
        };
        // Slots differ by what they grew or lost in this call.
        self.workspace_bytes
            .fetch_add(slot.bytes().wrapping_sub(before), Relaxed);
        let _ = self.free.0.send(slot);
        executed
    }

    fn run_as_team(
        &self,
        slot: &mut Slot,
        rows: &[&TokenRow],
    ) -> Result<RowAnswers, networks::RunError> {
        let team = self
            .team
            .get_or_init(|| Mutex::new(SpinTeam::new(self.threads)));
        match team.try_lock() {
            Ok(mut team) => slot.run(self, &team.lead(), rows),
            // A panic inside a team's job is caught in its threads; the team itself is whole.
            Err(TryLockError::Poisoned(team)) => slot.run(self, &team.into_inner().lead(), rows),
            Err(TryLockError::WouldBlock) => slot.run(self, &Solo, rows),
        }
    }
}

impl Slot {
    fn run(
        &mut self,
        executor: &Executor,
        team: &dyn Team,
        rows: &[&TokenRow],
    ) -> Result<RowAnswers, networks::RunError> {
        self.ids.clear();
        self.types.clear();
        self.lengths.clear();
        self.prompt_tokens.clear();
        self.answers.clear();
        let typed = rows.iter().any(|row| !row.types.is_empty());
        for row in rows {
            self.ids.extend_from_slice(&row.ids);
            if typed {
                self.types.extend_from_slice(&row.types);
                // A row without types is one of zeros.
                self.types.resize(self.ids.len(), 0);
            }
            self.lengths.push(row.ids.len());
            if executor.prompt_tokens > 0 {
                self.prompt_tokens
                    .push(executor.prompt_tokens.min(row.ids.len()));
            }
        }
        let batch = TokenBatch {
            ids: &self.ids,
            types: &self.types,
            lengths: &self.lengths,
            prompt_tokens: &self.prompt_tokens,
        };
        let network = &executor.network;
        network.run(team, &batch, &mut self.workspace, &mut self.answers)?;
        let mut rest = self.answers.as_slice();
        let answers = self.lengths.iter().map(|&tokens| {
            let (values, after) = rest.split_at(network.answer_width(tokens));
            rest = after;
            finite(values)
        });
        Ok(answers.collect())
    }

    fn bytes(&self) -> u64 {
        let vectors = 4 * self.ids.capacity()
            + self.types.capacity()
            + size_of::<usize>() * (self.lengths.capacity() + self.prompt_tokens.capacity())
            + 4 * self.answers.capacity();
        (self.workspace.bytes() + vectors) as u64
    }
}

fn finite(values: &[f32]) -> Result<Arc<[f32]>, RowError> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(values.into()),
        Some(value) => Err(RowError::new(
            codes::NOT_FINITE,
            format!("the model computed {value} for this row; its weights may be damaged"),
        )),
    }
}

fn failed(rows: usize, problem: &str) -> Executed {
    let error = RowError::new(codes::INTERNAL, problem);
    Executed {
        answers: vec![Err(error); rows],
        elapsed: Duration::ZERO,
    }
}
