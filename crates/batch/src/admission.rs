//! Counting what is in flight, never past a maximum.
//!
//! Any number of threads ask; each gets a [`Permit`] or is told which limit is in the way, and never waits.
//! What a permit stands for is given back when it is dropped, whatever becomes of its holder. The counters
//! never pass their maxima, not for a moment, and come back to 0: `loom` goes through the orders in
//! which threads can meet here, with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p batchwright-batch --lib --target-dir target/loom admission
//! ```

use crate::queue::Full;
use sync::{Arc, AtomicUsize, Ordering};

/// `loom`'s types where it checks, else the standard ones.
mod sync {
    #[cfg(loom)]
    pub(super) use loom::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    #[cfg(not(loom))]
    pub(super) use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
}

/// What requests take while they are in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests.
    pub requests: usize,
    /// Tokens.
    pub tokens: usize,
    /// Bytes.
    pub bytes: usize,
}

/// Counts what is in flight and lets in what fits. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Admission {
    counters: Arc<[Counter; 3]>,
}

/// What was let in; gives it back when dropped.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back"]
pub struct Permit {
    admission: Admission,
    load: Load,
}

#[derive(Debug)]
struct Counter {
    held: AtomicUsize,
    most: AtomicUsize,
}

const LIMITS: [&str; 3] = ["requests", "tokens", "bytes"];

impl Load {
    fn parts(self) -> [usize; 3] {
        [self.requests, self.tokens, self.bytes]
    }

    fn from_parts([requests, tokens, bytes]: [usize; 3]) -> Self {
        Self {
            requests,
            tokens,
            bytes,
        }
    }
}

impl Admission {
    /// Lets in up to `most` at once.
    pub fn new(most: Load) -> Self {
        let counter = |most| Counter {
            held: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
        };
        Self {
            counters: Arc::new(most.parts().map(counter)),
        }
    }

    /// Lets this in if it fits, all of it or nothing.
    ///
    /// # Errors
    /// The first limit in the way.
    pub fn admit(&self, load: Load) -> Result<Permit, Full> {
        let mut permit = Permit {
            admission: self.clone(),
            load: Load::default(),
        };
        permit.grow(load)?;
        Ok(permit)
    }

    /// What is in flight.
    pub fn held(&self) -> Load {
        Load::from_parts([0, 1, 2].map(|at| self.counters[at].held.load(Ordering::Acquire)))
    }

    /// What may be in flight from now on; what is stays.
    pub fn set_most(&self, most: Load) {
        for (counter, most) in self.counters.iter().zip(most.parts()) {
            counter.most.store(most, Ordering::Release);
        }
    }
}

impl Permit {
    /// Lets this in too, all of it or nothing.
    ///
    /// # Errors
    /// The first limit in the way.
    pub fn grow(&mut self, more: Load) -> Result<(), Full> {
        let counters = &self.admission.counters;
        let parts = more.parts();
        for (at, &part) in parts.iter().enumerate() {
            if let Err((held, most)) = counters[at].add(part) {
                for (counter, &part) in counters.iter().zip(&parts[..at]) {
                    counter.subtract(part);
                }
                return Err(Full {
                    limit: LIMITS[at],
                    held,
                    more: part,
                    most,
                });
            }
        }
        let mut load = self.load.parts();
        load.iter_mut()
            .zip(parts)
            .for_each(|(sum, part)| *sum += part);
        self.load = Load::from_parts(load);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counters = self.admission.counters.iter();
        for (counter, part) in counters.zip(self.load.parts()) {
            counter.subtract(part);
        }
    }
}

impl Counter {
    /// Adds, unless that would pass the maximum; then gives what is held and what may be.
    fn add(&self, more: usize) -> Result<(), (usize, usize)> {
        // Nothing always fits, even where the maximum was lowered below what is held.
        if more == 0 {
            return Ok(());
        }
        let most = self.most.load(Ordering::Acquire);
        let mut held = self.held.load(Ordering::Acquire);
        loop {
            let sum = held.checked_add(more).filter(|&sum| sum <= most);
            let Some(sum) = sum else {
                return Err((held, most));
            };
            match self
                .held
                .compare_exchange_weak(held, sum, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(now) => held = now,
            }
        }
    }

    fn subtract(&self, part: usize) {
        if part > 0 {
            self.held.fetch_sub(part, Ordering::AcqRel);
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;

    fn load(requests: usize, tokens: usize) -> Load {
        Load {
            requests,
            tokens,
            bytes: 0,
        }
    }

    /// Three threads and room for two: whatever the order, never more than two, and none stays counted.
    #[test]
    fn admission_never_passes_its_maximum_and_never_leaks() {
        // All orders of three threads are too many; those with three preemptions find what there is.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let admission = Admission::new(load(2, 0));
            let ask = |admission: Admission| {
                move || {
                    let permit = admission.admit(load(1, 0));
                    let held = admission.counters[0].held.load(Ordering::Relaxed);
                    assert!(held <= 2 && held >= usize::from(permit.is_ok()), "{held}");
                    permit.is_ok()
                }
            };
            let threads = [0, 1].map(|_| loom::thread::spawn(ask(admission.clone())));
            let here = ask(admission.clone())();
            let granted = threads.map(|thread| thread.join().unwrap());
            let granted = granted.into_iter().filter(|&granted| granted).count();
            assert!(granted + usize::from(here) >= 2, "there was room for two");
            assert_eq!(admission.held(), Load::default());
        });
    }

    /// Two threads and room for one, in every order.
    #[test]
    fn one_of_two_is_let_in() {
        loom::model(|| {
            let admission = Admission::new(load(1, 0));
            let other = admission.clone();
            let ask = |admission: &Admission| {
                let permit = admission.admit(load(1, 0));
                let held = admission.counters[0].held.load(Ordering::Relaxed);
                assert!(held <= 1 && held >= usize::from(permit.is_ok()), "{held}");
                permit.is_ok()
            };
            let thread = loom::thread::spawn(move || ask(&other));
            let here = ask(&admission);
            assert!(thread.join().unwrap() | here);
            assert_eq!(admission.held(), Load::default());
        });
    }

    /// What fails at its second limit must not stay counted at its first.
    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        loom::model(|| {
            let admission = Admission::new(load(2, 3));
            let other = admission.clone();
            let thread = loom::thread::spawn(move || drop(other.admit(load(1, 2))));
            // Refused or granted, depending on the order.
            if let Ok(mut permit) = admission.admit(load(1, 1)) {
                let _ = permit.grow(load(0, 2));
                assert!(admission.counters[1].held.load(Ordering::Relaxed) <= 3);
            }
            thread.join().unwrap();
            assert_eq!(admission.held(), Load::default());
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn load(requests: usize, tokens: usize, bytes: usize) -> Load {
        Load {
            requests,
            tokens,
            bytes,
        }
    }

    /// A limit without name, or of which a refused request keeps a part, shuts the door for ever.
    #[test]
    fn it_lets_in_what_fits_and_names_what_does_not() {
        let admission = Admission::new(load(2, 10, 100));
        let mut first = admission.admit(load(1, 4, 50)).unwrap();
        for (asked, limit, held, most) in [
            (load(2, 0, 0), "requests", 1, 2),
            (load(1, 7, 0), "tokens", 4, 10),
            (load(1, 6, 51), "bytes", 50, 100),
            (load(0, usize::MAX, 0), "tokens", 4, 10),
        ] {
            let full = admission.admit(asked).unwrap_err();
            assert_eq!((full.limit, full.held, full.most), (limit, held, most));
            assert_eq!(admission.held(), load(1, 4, 50));
        }
        first.grow(load(0, 6, 0)).unwrap();
        assert_eq!(first.grow(load(0, 1, 0)).unwrap_err().limit, "tokens");
        assert_eq!(admission.held(), load(1, 10, 50));
        // Lower limits let what is in flight be, and nothing more in.
        admission.set_most(load(1, 5, 10));
        assert_eq!(
            admission.admit(load(1, 0, 0)).unwrap_err().limit,
            "requests"
        );
        first.grow(load(0, 0, 0)).unwrap();
        drop(first);
        assert_eq!(admission.held(), Load::default());
        drop(admission.admit(load(1, 5, 10)).unwrap());
    }

    /// A counter that leaks closes a server within days; one that overshoots does not bound memory.
    #[test]
    fn hammered_by_threads_it_stays_exact() {
        let admission = Admission::new(load(5, 60, usize::MAX));
        let (granted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (admission, granted, refused) = (&admission, &granted, &refused);
                scope.spawn(move || {
                    for n in 0..5_000 {
                        let asked = load(1, 1 + (n * 7 + thread) % 30, n);
                        let permit = admission.admit(asked).and_then(|mut permit| {
                            permit.grow(load(0, n % 5, 0))?;
                            Ok(permit)
                        });
                        let held = admission.held();
                        assert!(held.requests <= 5 && held.tokens <= 60, "{held:?}");
                        let counter = if permit.is_ok() { granted } else { refused };
                        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if n % 3 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        assert_eq!(admission.held(), Load::default());
        assert_eq!(granted.into_inner() + refused.into_inner(), 40_000);
    }
}
