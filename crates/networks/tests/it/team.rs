//! Teams for the tests.

use kernels::Team;

/// So many threads, started for every job: slow, but really parallel.
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
