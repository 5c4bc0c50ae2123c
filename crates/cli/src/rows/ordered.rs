//! Work on many threads, handed back in the order of the input, in bounded memory.
//!
//! ```text
//! next, one thread at a time ─► work, all threads ─► take, in order, on the calling thread
//! ```
//!
//! A piece of input is read only if at most so many before it have not been taken: so neither a slow
//! writer nor one slow piece lets the others pile up. What work writes into is used again, piece after
//! piece.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};

use crate::interrupt::Interrupt;

/// How often Ctrl-C is looked for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Pieces in flight for each thread: one that is worked on, one that waits for its turn to be taken, and one
/// more for pieces that take longer than others.
const PER_THREAD: u64 = 3;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    AtTheEnd,
    ByTheUser,
}

/// What the threads share.
struct Shared<N, O> {
    /// Apart from the state, which taking and stopping need: reading may take long.
    input: Mutex<Input<N>>,
    state: Mutex<State>,
    /// Told when a piece was taken, or all is over.
    room: Condvar,
    /// What was taken, to be written into again.
    pool: Mutex<Vec<O>>,
}

struct Input<N> {
    next: N,
    /// Pieces read, which numbers them.
    read: u64,
}

struct State {
    /// Pieces taken.
    taken: u64,
    ended: bool,
}

impl<N, O> Shared<N, O> {
    /// Waits until piece `at` may be read; false where all is over.
    fn has_room(&self, at: u64, most: u64) -> bool {
        let mut state = lock(&self.state);
        while !state.ended && at >= state.taken + most {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.ended
    }

    fn end(&self) {
        lock(&self.state).ended = true;
        self.room.notify_all();
    }
}

/// Runs `work` on `threads` threads over what `next` reads, until that says false, and gives the results to
/// `take` in order. `next` is told how to ask whether anybody still waits for what it reads: nobody does after a
/// fault, nor where the user wants to stop. Returns what was written into, each with what the last piece left in it: so `work` can
/// also sum up, where order makes no difference.
///
/// # Errors
/// The first, in the order of the input, that `next`, `work` or `take` gives; a panic of theirs is one.
pub(super) fn run<I, O>(
    threads: usize,
    interrupt: &Interrupt,
    next: impl FnMut(&mut I, &dyn Fn() -> bool) -> anyhow::Result<bool> + Send,
    work: impl Fn(&mut I, &mut O) -> anyhow::Result<()> + Sync,
    mut take: impl FnMut(&mut O) -> anyhow::Result<()>,
) -> anyhow::Result<(Stopped, Vec<O>)>
where
    I: Default + Send,
    O: Default + Send,
{
    let threads = threads.max(1);
    let shared = Shared {
        input: Mutex::new(Input { next, read: 0 }),
        state: Mutex::new(State {
            taken: 0,
            ended: false,
        }),
        room: Condvar::new(),
        pool: Mutex::new(Vec::new()),
    };
    let (done, results) = channel::<(u64, anyhow::Result<O>)>();
    let stopped = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, shared, work) = (done.clone(), &shared, &work);
            let is_over = move || interrupt.came() || lock(&shared.state).ended;
            scope.spawn(move || each(shared, threads as u64 * PER_THREAD, &is_over, work, &done));
        }
        drop(done);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        let mut all = || loop {
            match results.recv_timeout(BETWEEN_LOOKS) {
                Ok((at, result)) => drop(waiting.insert(at, result)),
                Err(RecvTimeoutError::Timeout) => {}
                // `next` may have stopped because of it.
                Err(RecvTimeoutError::Disconnected) if interrupt.came() => {
                    return Ok(Stopped::ByTheUser);
                }
                Err(RecvTimeoutError::Disconnected) if waiting.is_empty() => {
                    return Ok(Stopped::AtTheEnd);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("a thread ended without its piece; please report this")
                }
            }
            while let Some(result) = waiting.remove(&due) {
                let mut output: O = result?;
                guarded(|| take(&mut output))?;
                lock(&shared.pool).push(output);
                due += 1;
                lock(&shared.state).taken = due;
                shared.room.notify_all();
            }
            if interrupt.came() {
                return Ok(Stopped::ByTheUser);
            }
        };
        let stopped = all();
        shared.end();
        stopped
    })?;
    let pool = shared.pool.into_inner();
    Ok((stopped, pool.unwrap_or_else(PoisonError::into_inner)))
}

/// One thread's part: piece after piece until there are no more.
fn each<N, I, O>(
    shared: &Shared<N, O>,
    most: u64,
    is_over: &dyn Fn() -> bool,
    work: &impl Fn(&mut I, &mut O) -> anyhow::Result<()>,
    done: &Sender<(u64, anyhow::Result<O>)>,
) where
    N: FnMut(&mut I, &dyn Fn() -> bool) -> anyhow::Result<bool>,
    I: Default,
    O: Default,
{
    let mut input = I::default();
    loop {
        let (at, read) = {
            let mut source = lock(&shared.input);
            if !shared.has_room(source.read, most) {
                return;
            }
            let read = guarded(|| (source.next)(&mut input, is_over));
            if !matches!(read, Ok(true)) {
                shared.end();
            }
            source.read += 1;
            (source.read - 1, read)
        };
        let result = match read {
            Ok(false) => return,
            Err(error) => Err(error),
            Ok(true) => {
                let mut output = lock(&shared.pool).pop().unwrap_or_default();
                guarded(|| work(&mut input, &mut output)).map(|()| output)
            }
        };
        // Nobody listens where another piece failed before.
        if done.send((at, result)).is_err() {
            return;
        }
    }
}

/// A panic would leave the others waiting for the piece.
fn guarded<T>(action: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|_| Err(anyhow!("a thread panicked; please report this")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const PIECES: u64 = 500;

    fn count() -> impl FnMut(&mut u64, &dyn Fn() -> bool) -> anyhow::Result<bool> + Send {
        let mut next = 0;
        move |piece, _| {
            *piece = next;
            next += 1;
            Ok(*piece < PIECES)
        }
    }

    /// Rows would stand in another order with other numbers of threads, or all of them wait in memory.
    #[test]
    fn results_come_in_order_and_few_wait() {
        for threads in [1, 2, 7] {
            let interrupt = Interrupt::never();
            let (read, taken) = (AtomicU64::new(0), AtomicU64::new(0));
            let mut seen = Vec::new();
            let work = |piece: &mut u64, out: &mut u64| {
                let ahead = read.fetch_add(1, Ordering::SeqCst) - taken.load(Ordering::SeqCst);
                assert!(ahead <= threads as u64 * PER_THREAD);
                // Some take longer than others.
                (0..(*piece % 7) * 1_000).for_each(|n| {
                    std::hint::black_box(n);
                });
                *out = *piece;
                Ok(())
            };
            let take = |out: &mut u64| {
                seen.push(*out);
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let (stopped, _) = run(threads, &interrupt, count(), work, take).unwrap();
            assert_eq!(stopped, Stopped::AtTheEnd);
            assert_eq!(seen, (0..PIECES).collect::<Vec<_>>());
        }
    }

    /// What is made would wait for a slow pipe to bring more, and Ctrl-C with it.
    #[test]
    fn pieces_are_taken_while_the_next_is_read() {
        let interrupt = Interrupt::never();
        let (taken, told) = channel();
        let told = Mutex::new(told);
        let mut count = count();
        let next = move |piece: &mut u64, is_over: &dyn Fn() -> bool| {
            let more = count(piece, is_over)?;
            if *piece == 2 {
                let told = lock(&told);
                let both = (0..2).all(|_| told.recv_timeout(Duration::from_secs(20)).is_ok());
                anyhow::ensure!(both, "nothing was taken");
            }
            Ok(more)
        };
        let take = |_: &mut u64| Ok(taken.send(())?);
        let run = run(1, &interrupt, next, |_, _| Ok(()), take);
        assert_eq!(run.unwrap().0, Stopped::AtTheEnd);
    }

    /// A full disk would be told when a slow pipe brings more, or never.
    #[test]
    fn a_fault_ends_the_wait_for_the_next() {
        let interrupt = Interrupt::never();
        let told = AtomicU64::new(0);
        let (begun, begins) = channel();
        let mut count = count();
        let next = |piece: &mut u64, is_over: &dyn Fn() -> bool| {
            let more = count(piece, is_over)?;
            if *piece == 2 {
                begun.send(())?;
            }
            let given_up = std::time::Instant::now() + Duration::from_secs(20);
            while *piece == 2 && !is_over() {
                assert!(std::time::Instant::now() < given_up, "it was not told");
                std::thread::sleep(Duration::from_millis(1));
            }
            told.fetch_add(u64::from(*piece == 2), Ordering::SeqCst);
            Ok(more && *piece != 2)
        };
        let take = |piece: &mut u64| match *piece {
            1 => {
                begins.recv_timeout(Duration::from_secs(20))?;
                bail!("full")
            }
            _ => Ok(()),
        };
        let work = |piece: &mut u64, out: &mut u64| {
            *out = *piece;
            Ok(())
        };
        let error = run(1, &interrupt, next, work, take).unwrap_err();
        assert_eq!(error.to_string(), "full");
        assert_eq!(told.into_inner(), 1);
    }

    /// A fault would leave the program waiting for ever, or rows be written that come after it.
    #[test]
    fn faults_end_the_run_behind_what_came_before() {
        let interrupt = Interrupt::never();
        for (bad, words) in [(40, "piece 40"), (41, "panicked")] {
            let mut seen = 0;
            let work = |piece: &mut u64, _: &mut u64| match *piece {
                at if at < bad => Ok(()),
                41 => panic!("a bug"),
                at => Err(anyhow!("piece {at}")),
            };
            let result = run(3, &interrupt, count(), work, |_| {
                seen += 1;
                Ok(())
            });
            assert!(result.unwrap_err().to_string().contains(words));
            assert_eq!(seen, bad);
        }
        let full = run(
            3,
            &interrupt,
            count(),
            |_: &mut u64, _: &mut u64| Ok(()),
            |_| bail!("full"),
        );
        assert_eq!(full.unwrap_err().to_string(), "full");
        let broken = run(
            3,
            &interrupt,
            count(),
            |_: &mut u64, _: &mut u64| Ok(()),
            |_| panic!("a bug"),
        );
        assert!(broken.unwrap_err().to_string().contains("panicked"));
    }
}
