//! Counting what is held at once, up to a limit: any number of threads, never above it, nothing leaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::problem::{Code, Limit, Problem};

/// A number of bytes of which only so many may be held at once.
#[derive(Debug)]
pub(crate) struct Permits {
    name: &'static str,
    most: usize,
    held: AtomicUsize,
}

/// A part of them; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    permits: Arc<Permits>,
    size: usize,
}

impl Permits {
    pub(crate) fn new(name: &'static str, most: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            most,
            held: AtomicUsize::new(0),
        })
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    pub(crate) fn hold(self: &Arc<Self>, size: usize) -> Result<Held, Problem> {
        let mut held = Held {
            permits: Arc::clone(self),
            size: 0,
        };
        held.grow(size)?;
        Ok(held)
    }
}

impl Held {
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Everything that is held, as one of its own; nothing stays here.
    pub(crate) fn split(&mut self) -> Held {
        Held {
            permits: Arc::clone(&self.permits),
            size: std::mem::take(&mut self.size),
        }
    }

    /// Takes what is going to be made of it too, if that could ever be held together.
    pub(crate) fn expect(&mut self, more: usize) -> Result<(), Problem> {
        let Permits { name, most, .. } = *self.permits;
        let size = self.size.saturating_add(more);
        match size > most {
            true => Err(Problem::too_large(
                name,
                size,
                most,
                "the bytes that the body's texts take",
            )),
            false => self.grow(more),
        }
    }

    /// Takes so much more, or leaves everything as it is.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), Problem> {
        let Permits { name, most, held } = &*self.permits;
        let fits = |held: usize| held.checked_add(more).filter(|sum| sum <= most);
        match held.fetch_update(Relaxed, Relaxed, fits) {
            Ok(_) => {
                self.size += more;
                Ok(())
            }
            Err(held) => {
                let value = held.saturating_add(more) as u64;
                let message = format!(
                    "too many requests at once: their bodies would take {value} bytes of {name} = {most}; \
                     try again shortly"
                );
                let limit = Limit {
                    name,
                    value,
                    most: *most as u64,
                };
                Err(Problem {
                    limit: Some(limit),
                    ..Problem::new(Code::Overloaded, message).after(Duration::from_secs(1))
                })
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.permits.held.fetch_sub(self.size, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under load the server's memory would grow past the limit, or requests be refused for ever.
    #[test]
    fn any_number_of_threads_stays_within_the_limit_and_gives_everything_back() {
        let permits = Permits::new("max_body_bytes_in_flight", 100);
        std::thread::scope(|scope| {
            for thread in 0..8_usize {
                let permits = &permits;
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let held = permits.hold((thread * 7 + round) % 60);
                        assert!(permits.held() <= 100);
                        if let Ok(mut held) = held {
                            let _ = held.grow(round % 50);
                            assert!(permits.held() <= 100);
                        }
                    }
                });
            }
        });
        assert_eq!(permits.held(), 0);
        let mut some = permits.hold(60).unwrap();
        // It would never fit; and it does not fit now.
        assert_eq!(some.expect(41).unwrap_err().code, Code::TooLarge);
        let other = permits.hold(20).unwrap();
        assert_eq!(some.expect(40).unwrap_err().code, Code::Overloaded);
        some.expect(20).unwrap();
        assert_eq!((some.size(), permits.held()), (80, 100));
        drop((some, other));
        let mut all = permits.hold(100).unwrap();
        let part = all.split();
        drop(all);
        assert_eq!((permits.held(), part.size()), (100, 100));
        drop(part);
        assert_eq!(permits.held(), 0);
        let error = permits.hold(101).unwrap_err();
        assert_eq!(
            error.limit.map(|limit| (limit.value, limit.most)),
            Some((101, 100))
        );
    }
}
