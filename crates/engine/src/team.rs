//! Threads that spin: the whole machine for one short query.
//!
//! A query of ten tokens is some forty products of a few tens of microseconds each. Waking a sleeping
//! thread costs as much as such a product, so the team's threads spin between products, and go to
//! sleep only when no query has come for a while.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernels::Team;

/// How long a thread without work spins before it goes to sleep: longer than the caller needs between
/// two products or two queries in a row. Time and not turns, for a turn takes 4 to 40 ns, by processor.
const SPIN_TIME: Duration = Duration::from_micros(200);
/// Turns between two looks at the clock.
const SPINS_PER_LOOK: u32 = 256;
/// Turns before a spinning thread offers its core to others: if there are fewer cores than threads,
/// whoever is waited for may need this one.
const SPINS_BEFORE_YIELD: u32 = 20_000;

type Job = *const (dyn Fn(usize) + Sync);

/// A caller and `size - 1` spinning threads that run the parts of one job together.
pub(crate) struct SpinTeam {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Number of jobs published; a thread that sees it rise runs its part.
    published: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Threads that have not finished the job in hand.
    running: AtomicUsize,
    asleep: AtomicUsize,
    /// Set while a job is in hand: the one who sets it may publish.
    busy: AtomicBool,
    panicked: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: `job` is written only by the one caller that has set `busy`, before `published` rises, and
// read by the threads after they see that. `busy` is cleared only after `running` is 0 again.
unsafe impl Sync for Shared {}
// SAFETY: the job pointer refers to a `Sync` closure and is used only while that closure is alive.
unsafe impl Send for Shared {}

impl SpinTeam {
    /// A team of `size` with the caller; `size - 1` threads are started.
    pub(crate) fn new(size: usize) -> Self {
        let shared = Arc::new(Shared {
            published: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            running: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let threads = (1..size)
            .map_while(|part| {
                let shared = Arc::clone(&shared);
                let name = format!("batchwright-team-{part}");
                // A thread that the system refuses makes the team smaller, nothing else.
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || shared.serve(part))
                    .ok()
            })
            .collect();
        Self { shared, threads }
    }

    /// The team for the time of one call, which has it alone.
    pub(crate) fn lead(&mut self) -> Leader<'_> {
        Leader(self)
    }
}

/// Use of a team for one call.
pub(crate) struct Leader<'a>(&'a mut SpinTeam);

impl Team for Leader<'_> {
    fn size(&self) -> usize {
        self.0.threads.len() + 1
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let helpers = self.0.threads.len();
        if helpers == 0 {
            return job(0);
        }
        let shared = &*self.0.shared;
        if shared.busy.swap(true, Ordering::Acquire) {
            // A job inside a job (or from another thread): its parts run here, one after the other.
            return (0..=helpers).for_each(job);
        }
        // SAFETY: the lifetime is erased, but `Finish` waits, even when `job(0)` panics, until every
        // thread has finished with the pointer, before this frame (and the closure) ends.
        let erased: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job) };
        // SAFETY: `busy` was clear, so no job is in hand and no thread reads the cell now; having set
        // it, this call alone writes.
        unsafe { *shared.job.get() = Some(erased) };
        shared.running.store(helpers, Ordering::Relaxed);
        // A job whose part 0 panicked as well was left before anybody looked at this.
        shared.panicked.store(false, Ordering::Relaxed);
        shared.published.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            self.0
                .threads
                .iter()
                .for_each(|thread| thread.thread().unpark());
        }
        let finish = Finish(shared);
        job(0);
        drop(finish);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a part of a product panicked"));
        }
    }
}

/// Waits for the threads when dropped.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let mut spins = 0;
        while self.0.running.load(Ordering::Acquire) != 0 {
            spin(&mut spins);
        }
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Shared {
    fn serve(&self, part: usize) {
        let mut done = 0;
        while let Some(published) = self.next(done) {
            done = published;
            // SAFETY: `published` rose with the job in place, and the leader keeps job and closure
            // alive until `running`, lowered below, is 0.
            let job = unsafe { (*self.job.get()).map(|job| &*job) };
            if let Some(job) = job
                && catch_unwind(AssertUnwindSafe(|| job(part))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.running.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a job after number `done`; `None` when the team ends.
    fn next(&self, done: u64) -> Option<u64> {
        let mut spins = 0;
        let mut idle_since = None;
        loop {
            let published = self.published.load(Ordering::SeqCst);
            if published != done {
                return Some(published);
            }
            if self.stop.load(Ordering::SeqCst) {
                return None;
            }
            spin(&mut spins);
            if !spins.is_multiple_of(SPINS_PER_LOOK)
                || idle_since.get_or_insert_with(Instant::now).elapsed() < SPIN_TIME
            {
                continue;
            }
            // Say so first, look again, then sleep: a leader that published in between either sees
            // this thread asleep and wakes it, or its job is seen here.
            self.asleep.fetch_add(1, Ordering::SeqCst);
            if self.published.load(Ordering::SeqCst) == done && !self.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.asleep.fetch_sub(1, Ordering::SeqCst);
            idle_since = None;
        }
    }
}

fn spin(spins: &mut u32) {
    *spins = spins.wrapping_add(1);
    if spins.is_multiple_of(SPINS_BEFORE_YIELD) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

impl Drop for SpinTeam {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A thread never panics: its job's panics are caught.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// A part run twice, or not at all, is a wrong vector for a single query.
    #[test]
    fn every_part_runs_once_per_job() {
        for size in [1, 2, 3, 5] {
            let mut team = SpinTeam::new(size);
            let leader = team.lead();
            assert_eq!(leader.size(), size);
            for _ in 0..200 {
                let counts: Vec<AtomicU32> = (0..size).map(|_| AtomicU32::new(0)).collect();
                leader.run(&|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    /// A product that starts another inside a part would wait for itself.
    #[test]
    fn a_job_inside_a_job_runs_all_its_parts() {
        let mut team = SpinTeam::new(2);
        let leader = team.lead();
        let parts = AtomicU32::new(0);
        leader.run(&|_| {
            leader.run(&|_| {
                parts.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(parts.into_inner(), 4);
    }

    /// Sleeping threads that miss a job would hang the next query for ever.
    #[test]
    fn threads_that_went_to_sleep_wake_up() {
        let mut team = SpinTeam::new(3);
        for _ in 0..3 {
            while team.shared.asleep.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            let parts = AtomicU32::new(0);
            team.lead().run(&|part| {
                parts.fetch_add(1 << (8 * part), Ordering::Relaxed);
            });
            assert_eq!(parts.into_inner(), 0x01_01_01);
        }
    }

    /// A bug in one product must not take the team, or the process, with it.
    #[test]
    fn a_panic_in_any_part_reaches_the_caller_and_the_team_goes_on() {
        for bad in [&[0][..], &[1], &[0, 1]] {
            let mut team = SpinTeam::new(2);
            let leader = team.lead();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                leader.run(&|part| assert!(!bad.contains(&part), "on purpose"));
            }));
            assert!(caught.is_err());
            let parts = AtomicU32::new(0);
            leader.run(&|_| {
                parts.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(parts.into_inner(), 2);
        }
    }
}
