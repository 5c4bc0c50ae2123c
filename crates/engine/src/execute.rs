//! Running batches on the network: who may compute, with which buffers, alone or as a team.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use kernels::{Solo, Team};
use networks::{Network, OperatorProfile, TokenBatch, Workspace};

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
    /// All threads of the model together, if nobody else computes now; else the calling thread. Who
    /// wants to compute meanwhile waits, and then has as many threads.
    Team,
}

/// Something else to do between two layers of a batch, on the thread that computes it.
pub(crate) trait Interlude: Sync {
    /// Does it, if there is something; says how long that took.
    fn play(&self) -> Duration;
}

/// Nothing else to do.
pub(crate) struct NoInterlude;

impl Interlude for NoInterlude {
    fn play(&self) -> Duration {
        Duration::ZERO
    }
}

/// A team that does something else between the layers.
struct Interrupted<'a> {
    team: &'a dyn Team,
    interlude: &'a dyn Interlude,
    /// Nanoseconds that it took.
    away: &'a AtomicU64,
}

impl<'a> Interrupted<'a> {
    fn new(team: &'a dyn Team, interlude: &'a dyn Interlude, away: &'a AtomicU64) -> Self {
        Self {
            team,
            interlude,
            away,
        }
    }
}

impl Team for Interrupted<'_> {
    fn size(&self) -> usize {
        self.team.size()
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        self.team.run(job);
    }

    fn between_layers(&self) {
        let away = self.interlude.play();
        self.away.fetch_add(away.as_nanos() as u64, Relaxed);
    }
}

/// An answer or an error for each row of a batch.
type RowAnswers = Vec<Result<Arc<[f32]>, RowError>>;

/// What came of a batch: an answer or an error for each row, in the batch's order.
#[derive(Default)]
pub(crate) struct Executed {
    pub(crate) answers: RowAnswers,
    pub(crate) time: BatchTime,
}

/// How long a batch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchTime {
    /// From its start to its end, without batches that ran in the middle of it.
    pub(crate) wall: Duration,
    /// Summed over the threads that worked on it: what it would have taken one.
    pub(crate) busy: Duration,
}

impl Executed {
    /// The same without the time that its threads were away.
    fn without(mut self, away: Duration, threads: u32) -> Self {
        self.time.wall = self.time.wall.saturating_sub(away);
        self.time.busy = self.time.busy.saturating_sub(away * threads);
        self
    }
}

impl BatchTime {
    /// What a row of `tokens` of the batch's `total` tokens cost one thread.
    pub(crate) fn share(self, tokens: usize, total: usize) -> Duration {
        self.busy.mul_f64(tokens as f64 / total.max(1) as f64)
    }
}

/// A network and the threads that may compute with it.
pub(crate) struct Executor {
    network: Network,
    threads: usize,
    /// Tokens at the start of each row that pooling leaves out; 0 for almost every model.
    prompt_tokens: usize,
    /// Each slot is the right to compute on one thread, and the buffers to do so. Whoever computes
    /// holds one for each thread it computes on, whatever the stream or call: so the machine is never
    /// oversubscribed. Nobody who holds one waits for another.
    free: (Sender<Slot>, Receiver<Slot>),
    /// Buffers of batches that run in the middle of others, on threads whose slots those hold.
    guests: Mutex<Vec<Slot>>,
    team: OnceLock<Mutex<SpinTeam>>,
    workspace_bytes: AtomicU64,
    panics: AtomicU64,
}

#[derive(Default)]
struct Slot {
    workspace: Workspace,
    ids: Vec<u32>,
    types: Vec<u8>,
    lengths: Vec<usize>,
    prompt_tokens: Vec<usize>,
    answers: Vec<f32>,
    profile: OperatorProfile,
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
            guests: Mutex::default(),
            team: OnceLock::new(),
            workspace_bytes: AtomicU64::new(0),
            panics: AtomicU64::new(0),
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

    /// Batches and rows whose computing has panicked so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// What the operators have cost since the last call, in batches that are done, as the time of one
    /// thread.
    pub(crate) fn take_profile(&self) -> OperatorProfile {
        let mut total = OperatorProfile::default();
        let mut slots: Vec<Slot> = self.free.1.try_iter().collect();
        for slot in &mut slots {
            total.merge(&std::mem::take(&mut slot.profile));
        }
        self.give_back(slots);
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in guests.iter_mut() {
            total.merge(&std::mem::take(&mut slot.profile));
        }
        total
    }

    /// Runs one batch; waits while all threads of the model compute for others.
    ///
    /// Never fails as a whole: if the network refuses the batch or panics, its rows are run one by
    /// one, and only those that still fail carry an error.
    pub(crate) fn run(&self, rows: &[&TokenRow], workers: Workers) -> Executed {
        self.run_with(rows, workers, &NoInterlude)
    }

    /// The same, with something else to do between the layers.
    pub(crate) fn run_with(
        &self,
        rows: &[&TokenRow],
        workers: Workers,
        interlude: &dyn Interlude,
    ) -> Executed {
        by_rows(rows, |rows, first| {
            let workers = if first { workers } else { Workers::One };
            self.attempt(rows, workers, interlude)
        })
    }

    /// Runs one batch in the middle of another, for which the calling thread holds a slot.
    pub(crate) fn run_as_guest(&self, rows: &[&TokenRow]) -> Executed {
        by_rows(rows, |rows, _| {
            let guests = || self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            let mut slot = guests().pop().unwrap_or_default();
            let outcome = self.measured(&mut slot, 1, |slot| slot.run(self, &Solo, rows));
            guests().push(slot);
            outcome
        })
    }

    /// Runs one batch, which fails as a whole. Buffers that may be half written are thrown away.
    fn attempt(
        &self,
        rows: &[&TokenRow],
        workers: Workers,
        interlude: &dyn Interlude,
    ) -> Result<Executed, RowError> {
        let Ok(mut slot) = self.free.1.recv() else {
            return Err(internal("the model's threads are gone".into()));
        };
        let others = match workers {
            Workers::One => Vec::new(),
            Workers::Team => self.other_slots(),
        };
        let away = AtomicU64::new(0);
        let threads = 1 + others.len() as u32;
        let outcome = self.measured(&mut slot, threads, |slot| {
            if others.is_empty() {
                slot.run(self, &Interrupted::new(&Solo, interlude, &away), rows)
            } else {
                let mut team = self.team();
                let team = team.lead();
                slot.run(self, &Interrupted::new(&team, interlude, &away), rows)
            }
        });
        self.give_back(others.into_iter().chain([slot]));
        let away = Duration::from_nanos(away.into_inner());
        outcome.map(|executed| executed.without(away, threads))
    }

    /// Runs a batch in a slot's buffers on a number of threads.
    fn measured(
        &self,
        slot: &mut Slot,
        threads: u32,
        run: impl FnOnce(&mut Slot) -> Result<RowAnswers, networks::RunError>,
    ) -> Result<Executed, RowError> {
        let before = slot.bytes();
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(slot)));
        let wall = start.elapsed();
        let profile = slot.workspace.take_profile().on_threads(threads);
        slot.profile.merge(&profile);
        let outcome = match outcome {
            Ok(Ok(answers)) => Ok(Executed {
                answers,
                time: BatchTime {
                    wall,
                    busy: wall * threads,
                },
            }),
            Ok(Err(error)) => Err(internal(error.to_string())),
            Err(_) => {
                *slot = Slot::default();
                self.panics.fetch_add(1, Relaxed);
                Err(internal(
                    "computing this row panicked; please report this".into(),
                ))
            }
        };
        // Slots differ by what they grew or lost in this call.
        self.workspace_bytes
            .fetch_add(slot.bytes().wrapping_sub(before), Relaxed);
        outcome
    }

    /// The slots of all other threads, or none: some of them would not make a team.
    fn other_slots(&self) -> Vec<Slot> {
        let mut others: Vec<Slot> = self.free.1.try_iter().collect();
        if others.len() + 1 < self.threads {
            self.give_back(others.drain(..));
        }
        others
    }

    fn give_back(&self, slots: impl IntoIterator<Item = Slot>) {
        for slot in slots {
            // The channel has room for all there are, and both ends live in `self`.
            let _ = self.free.0.send(slot);
        }
    }

    /// The team, for whoever has every slot: so this does not wait.
    fn team(&self) -> MutexGuard<'_, SpinTeam> {
        let team = self
            .team
            .get_or_init(|| Mutex::new(SpinTeam::new(self.threads)));
        // A panic inside a team's job is caught in its threads; the team itself is whole.
        team.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a batch as a whole; if that fails, its rows one by one, so that only those which still fail carry
/// an error. `attempt` is told whether it is the first.
fn by_rows(
    rows: &[&TokenRow],
    attempt: impl Fn(&[&TokenRow], bool) -> Result<Executed, RowError>,
) -> Executed {
    let failed = |error, rows| Executed {
        answers: vec![Err(error); rows],
        time: BatchTime::default(),
    };
    match attempt(rows, true) {
        Ok(executed) => executed,
        Err(error) if rows.len() == 1 => failed(error, 1),
        Err(_) => {
            let mut all = Executed::default();
            for row in rows {
                let one = attempt(&[row], false).unwrap_or_else(|error| failed(error, 1));
                all.answers.extend(one.answers);
                all.time.wall += one.time.wall;
                all.time.busy += one.time.busy;
            }
            all
        }
    }
}

fn internal(problem: String) -> RowError {
    RowError::new(codes::INTERNAL, problem)
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

#[cfg(test)]
mod tests {
    use networks::{LoadOptions, ModelDirectory};
    use testing::golden::Golden;

    use super::*;

    fn executor(threads: usize) -> Executor {
        let golden = Golden::load("bert-embed");
        let directory = ModelDirectory::open(&golden.directory).unwrap();
        let network = Network::load(&directory, &LoadOptions::default()).unwrap();
        Executor::new(network, threads, 0)
    }

    fn row() -> TokenRow {
        TokenRow {
            ids: vec![2, 42, 164, 3],
            types: Vec::new(),
        }
    }

    /// Two queries at once would each start as many threads as there are cores, and spin against each
    /// other.
    #[test]
    fn a_team_has_all_slots_or_is_none() {
        let executor = executor(3);
        let together = executor.run(&[&row()], Workers::Team);
        assert_eq!(together.time.busy, 3 * together.time.wall);
        assert_eq!(executor.free.1.len(), 3);

        let taken = executor.free.1.recv().unwrap();
        let alone = executor.run(&[&row()], Workers::Team);
        assert_eq!(alone.time.busy, alone.time.wall);
        assert_eq!(alone.answers, together.answers);
        assert_eq!(executor.free.1.len(), 2);
        executor.give_back([taken]);

        // However many ask at once: everybody is answered, and every slot comes back.
        std::thread::scope(|scope| {
            for n in 0..6 {
                let (executor, expected) = (&executor, &together.answers);
                let workers = [Workers::Team, Workers::One][n % 2];
                scope.spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(&executor.run(&[&row()], workers).answers, expected);
                    }
                });
            }
        });
        assert_eq!(executor.free.1.len(), 3);
    }

    /// One row that the network cannot take would cost its neighbours their answers.
    #[test]
    fn a_bad_row_fails_alone() {
        let executor = executor(2);
        let (good, mut unknown, empty) = (row(), row(), TokenRow::default());
        unknown.ids[1] = u32::MAX;
        for workers in [Workers::One, Workers::Team] {
            let answers = executor
                .run(&[&good, &unknown, &empty, &good], workers)
                .answers;
            assert_eq!(answers[0], executor.run(&[&good], workers).answers[0]);
            assert_eq!(answers[0], answers[3]);
            for (at, words) in [(1, "vocabulary"), (2, "no tokens")] {
                let error = answers[at].as_ref().unwrap_err();
                assert!(error.code == codes::INTERNAL && error.message.contains(words));
            }
        }
    }
}
