//! Threads that spin: the whole machine for one short query.
//!
//! A query of ten tokens is some forty products of a few tens of microseconds each. Waking a sleeping
//! thread costs as much as such a product, so the team's threads spin between products, and go to
//! sleep only when no query has come for a while.
//!
//! A part of a job belongs to nobody until somebody claims it. A thread that the system runs late (it
//! sleeps, or others have its core) is not waited for: the caller takes its part. Without that, a server
//! whose connections want the same cores answered one query in a hundred 10 ms late.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernels::Team;

/// How long a thread without work stays awake: longer than there is between two products, or between two
/// queries of somebody who asks the next one as soon as he has the answer. Time and not turns, for a turn
/// takes 4 to 40 ns, by processor.
const AWAKE_TIME: Duration = Duration::from_millis(1);
/// Turns for which a thread has its core to itself before it offers it to others at every turn: more than
/// what lies between two products. Whoever is waited for may need the core.
const SPINS_BEFORE_YIELD: u32 = 10_000;
/// Turns between two looks at the clock.
const SPINS_PER_LOOK: u32 = 64;

type Job = *const (dyn Fn(usize) + Sync);

/// A caller and `size - 1` spinning threads that run the parts of one job together.
pub(crate) struct SpinTeam {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// The number of the job in hand, and of its first part that nobody has claimed: see [`Ticket`].
    ticket: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    /// Parts that have not ended.
    unfinished: AtomicUsize,
    asleep: AtomicUsize,
    /// Set while a job is in hand: the one who sets it may publish.
    busy: AtomicBool,
    panicked: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: `job` is written only by the one caller that has set `busy`, while no part can be claimed, and
// read only by who has claimed a part of it. `busy` is cleared only after all parts have ended.
unsafe impl Sync for Shared {}
// SAFETY: the job pointer refers to a `Sync` closure and is used only while that closure is alive.
unsafe impl Send for Shared {}

/// Which job is in hand, in the upper half, and how many of its parts are not claimed, in the lower.
/// The job's number keeps one who looked at an earlier job from claiming a part of this one by it.
struct Ticket;

impl Ticket {
    const JOB: u64 = 1 << 32;

    fn next(before: u64, unclaimed: usize) -> u64 {
        (before - before % Self::JOB).wrapping_add(Self::JOB) + unclaimed as u64
    }

    fn unclaimed(ticket: u64) -> usize {
        (ticket % Self::JOB) as usize
    }
}

impl SpinTeam {
    /// A team of `size` with the caller; `size - 1` threads are started.
    pub(crate) fn new(size: usize) -> Self {
        let shared = Arc::new(Shared {
            ticket: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            unfinished: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let threads = (1..size)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let name = format!("batchwright-team-{number}");
                // A thread that the system refuses makes the team smaller, nothing else.
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || shared.serve())
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
        let parts = self.size();
        if parts == 1 {
            return job(0);
        }
        let shared = &*self.0.shared;
        if shared.busy.swap(true, Ordering::Acquire) {
            // A job inside a job (or from another thread): its parts run here, one after the other.
            return (0..parts).for_each(job);
        }
        // SAFETY: the lifetime is erased, but `finish` waits until all parts have ended, and none of
        // them unwinds, before this frame (and the closure) ends.
        let erased: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(job) };
        // SAFETY: `busy` was clear, so all parts of the job before are claimed and have ended: nobody
        // reads the cell now, and having set `busy`, this call alone writes.
        unsafe { *shared.job.get() = Some(erased) };
        shared.unfinished.store(parts, Ordering::Relaxed);
        shared.publish(parts);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            self.0
                .threads
                .iter()
                .for_each(|thread| thread.thread().unpark());
        }
        shared.work();
        shared.finish();
        if shared.panicked.swap(false, Ordering::Relaxed) {
            std::panic::resume_unwind(Box::new("a part of a product panicked"));
        }
    }
}

impl Shared {
    fn publish(&self, parts: usize) {
        let before = self.ticket.load(Ordering::Relaxed);
        let ticket = Ticket::next(before, parts);
        self.ticket.store(ticket, Ordering::SeqCst);
    }

    /// Runs parts of the job in hand until all are claimed.
    fn work(&self) {
        while let Some(part) = self.claim() {
            // SAFETY: a claimed part has not ended, and until it has, the leader keeps the job in its
            // place and the closure alive.
            let job = unsafe { (*self.job.get()).map(|job| &*job) };
            if let Some(job) = job
                && catch_unwind(AssertUnwindSafe(|| job(part))).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// A part of the job in hand that is the caller's to run, if one is left.
    fn claim(&self) -> Option<usize> {
        // Acquire: whoever claims a part sees the job that was put there before it was published.
        let claimed = self
            .ticket
            .fetch_update(Ordering::Relaxed, Ordering::Acquire, |ticket| {
                (Ticket::unclaimed(ticket) > 0).then(|| ticket - 1)
            });
        claimed.ok().map(|ticket| Ticket::unclaimed(ticket) - 1)
    }

    /// Waits until all parts have ended, which somebody runs now.
    fn finish(&self) {
        let mut spins = 0;
        while self.unfinished.load(Ordering::Acquire) != 0 {
            spin(&mut spins);
        }
        self.busy.store(false, Ordering::Release);
    }

    fn serve(&self) {
        while self.wait() {
            self.work();
        }
    }

    /// Waits until there is a part to claim; `false` when the team ends.
    fn wait(&self) -> bool {
        let mut spins = 0;
        let mut idle_since = None;
        let is_called = || {
            let ticket = self.ticket.load(Ordering::SeqCst);
            Ticket::unclaimed(ticket) > 0 || self.stop.load(Ordering::SeqCst)
        };
        loop {
            if is_called() {
                return !self.stop.load(Ordering::SeqCst);
            }
            spin(&mut spins);
            if !spins.is_multiple_of(SPINS_PER_LOOK)
                || idle_since.get_or_insert_with(Instant::now).elapsed() < AWAKE_TIME
            {
                continue;
            }
            // Say so first, look again, then sleep: a leader that published in between either sees
            // this thread asleep and wakes it, or its job is seen here.
            self.asleep.fetch_add(1, Ordering::SeqCst);
            if !is_called() {
                std::thread::park();
            }
            self.asleep.fetch_sub(1, Ordering::SeqCst);
            (spins, idle_since) = (0, None);
        }
    }
}

fn spin(spins: &mut u32) {
    *spins = spins.saturating_add(1);
    if *spins < SPINS_BEFORE_YIELD {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
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

    /// Sleeping threads that miss a job would leave every query to its caller alone.
    #[test]
    fn threads_that_went_to_sleep_wake_up() {
        let mut team = SpinTeam::new(3);
        for _ in 0..3 {
            while team.shared.asleep.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            // Nobody goes on before three threads have a part each.
            let (here, start) = (AtomicU32::new(0), Instant::now());
            team.lead().run(&|_| {
                here.fetch_add(1, Ordering::SeqCst);
                while here.load(Ordering::SeqCst) < 3 {
                    assert!(start.elapsed() < Duration::from_secs(60), "one sleeps on");
                    std::thread::yield_now();
                }
            });
        }
    }

    /// A thread whose core is taken by a connection would hold up the query for as long.
    #[test]
    fn a_thread_that_does_not_come_is_not_waited_for() {
        let mut team = SpinTeam::new(1);
        let shared = Arc::clone(&team.shared);
        team.threads.push(std::thread::spawn(move || {
            while !shared.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
        }));
        let leader = team.lead();
        assert_eq!(leader.size(), 2);
        for _ in 0..3 {
            let parts = AtomicU32::new(0);
            leader.run(&|part| {
                parts.fetch_add(1 << (8 * part), Ordering::Relaxed);
            });
            assert_eq!(parts.into_inner(), 0x01_01);
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
