//! Threads that share one operator: who they are, and how its work is cut.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::isa::Isa;

/// Threads that work on one operator together.
///
/// The crate never starts a thread; whoever owns threads implements this. Results have the same
/// bits for every team size.
pub trait Team: Sync {
    /// How many parts an operator is cut into; at least 1.
    fn size(&self) -> usize;

    /// Calls `job(part)` exactly once for every part in `0..size()` and returns when all are done.
    ///
    /// Parts may run at the same time or one after the other: they never wait for each other.
    fn run(&self, job: &(dyn Fn(usize) + Sync));

    /// A network calls this between two layers, when no operator runs: whoever owns the threads may
    /// use the calling one for something that cannot wait for the rest of the layers.
    fn between_layers(&self) {}
}

/// A team of one: the calling thread.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Solo;

impl Team for Solo {
    fn size(&self) -> usize {
        1
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        job(0);
    }
}

/// Where an operator runs: with which instructions, on which threads.
#[derive(Copy, Clone)]
pub struct Cpu<'team> {
    /// The instruction set; [`Isa::Scalar`] is taken instead where the machine lacks it.
    pub isa: Isa,
    /// The threads.
    pub team: &'team dyn Team,
}

impl Cpu<'static> {
    /// One thread with the machine's best instructions.
    #[must_use]
    pub fn solo() -> Cpu<'static> {
        Cpu {
            isa: Isa::detect(),
            team: &Solo,
        }
    }
}

impl std::fmt::Debug for Cpu<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cpu")
            .field("isa", &self.isa)
            .field("team", &self.team.size())
            .finish()
    }
}

/// Runs `job(part, parts)` on a team.
///
/// Each call from the team draws a ticket, so that no part ever runs twice: parts write through
/// [`Shared`] pointers, and memory safety must not hang on how somebody implements [`Team`].
pub(crate) fn run_parts(team: &dyn Team, job: impl Fn(usize, usize) + Sync) {
    let parts = team.size().max(1);
    let tickets = AtomicUsize::new(0);
    team.run(&|_| {
        let part = tickets.fetch_add(1, Ordering::Relaxed);
        if part < parts {
            job(part, parts);
        }
    });
}

/// The share of `0..count` that belongs to `part` of `parts`: contiguous, disjoint, all covered,
/// sizes differing by at most one.
pub(crate) fn share(count: usize, part: usize, parts: usize) -> Range<usize> {
    let (whole, rest) = (count / parts, count % parts);
    let start = part * whole + part.min(rest);
    start..start + whole + usize::from(part < rest)
}

/// A mutable slice of which the parts of a team write disjoint pieces.
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    _slice: PhantomData<&'a mut [T]>,
}

// SAFETY: `Shared` stands for a `&mut [T]` handed out in disjoint pieces (the contract of `slice`
// and `pointer`), and such pieces may be sent to other threads when `T` may.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            _slice: PhantomData,
        }
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No other live reference, and no other thread, touches an element of `range`.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller promises that the pieces are disjoint"
    )]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.length,
            "piece outside its slice"
        );
        // SAFETY: in bounds by the line above; unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// The start of the slice, for kernels which write strided pieces.
    pub(crate) fn pointer(&self) -> *mut T {
        self.start
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A team of so many scoped threads: slow, but really parallel.
    pub(crate) struct Threads(pub(crate) usize);

    impl Team for Threads {
        fn size(&self) -> usize {
            self.0
        }

        fn run(&self, job: &(dyn Fn(usize) + Sync)) {
            std::thread::scope(|scope| {
                for part in 0..self.0 {
                    scope.spawn(move || job(part));
                }
            });
        }
    }

    /// Calls every part three times.
    struct Stutter;

    impl Team for Stutter {
        fn size(&self) -> usize {
            2
        }

        fn run(&self, job: &(dyn Fn(usize) + Sync)) {
            for _ in 0..3 {
                Threads(2).run(job);
            }
        }
    }

    /// A user would lose memory safety to a faulty thread pool: two threads writing one row.
    #[test]
    fn a_part_runs_once_however_often_it_is_called() {
        for (team, parts) in [(&Stutter as &dyn Team, 2), (&Solo, 1), (&Threads(3), 3)] {
            let runs: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
            run_parts(team, |part, of| {
                assert_eq!(of, parts);
                runs[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    /// A user would lose rows: those that no part, or two parts, work on.
    #[test]
    fn shares_cover_everything_once() {
        for count in [0, 1, 2, 5, 16, 17, 100] {
            for parts in 1..8 {
                let pieces: Vec<_> = (0..parts).map(|part| share(count, part, parts)).collect();
                let joined: Vec<usize> = pieces.iter().cloned().flatten().collect();
                assert_eq!(joined, (0..count).collect::<Vec<_>>(), "{count} in {parts}");
                let sizes = pieces.iter().map(ExactSizeIterator::len);
                let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
                assert!(most - least <= 1, "{count} in {parts}");
            }
        }
    }
}
