//! How fast the machine multiplies and adds at best: what all other speeds are a share of.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::isa::Isa;
use crate::simd::{Operation, Simd, dispatch};

/// How long each thread multiplies: long enough for a processor to reach its sustained clock.
const MEASURED: Duration = Duration::from_millis(60);

/// The f32 multiply-adds per second of `threads` threads, in GFLOP/s (two operations each), measured.
///
/// Independent chains of multiply-adds in registers, nothing from memory. Starts `threads`
/// threads of its own and takes about 70 ms. Only as many threads as there are cores make sense.
#[must_use]
pub fn peak_gflops(isa: Isa, threads: usize) -> f64 {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1))
            .map(|_| scope.spawn(move || one_thread(isa)))
            .collect();
        // A measuring thread cannot panic; one that did would count as standing still.
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or(0.0))
            .sum()
    })
}

fn one_thread(isa: Isa) -> f64 {
    let start = Instant::now();
    let mut best = 0.0f64;
    while start.elapsed() < MEASURED {
        let begin = Instant::now();
        let operations = dispatch(
            isa,
            Chains {
                steps: black_box(200_000),
            },
        );
        best = best.max(operations as f64 / begin.elapsed().as_secs_f64() / 1e9);
    }
    best
}

struct Chains {
    steps: usize,
}

impl Operation for Chains {
    /// How many additions and multiplications were done.
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        // As many chains as the micro-kernel has, so that they stay in registers.
        if S::TILE_ROWS < 6 {
            chains::<S, 8>(s, self.steps)
        } else {
            chains::<S, 12>(s, self.steps)
        }
    }
}

#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, steps: usize) -> usize {
    let (factor, offset) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
    let mut chains = [s.splat(black_box(1.0)); N];
    for _ in 0..steps {
        for chain in &mut chains {
            *chain = s.fma(*chain, factor, offset);
        }
    }
    let mut sum = s.zero();
    for chain in chains {
        sum = s.add(sum, chain);
    }
    black_box(s.sum(sum));
    2 * steps * N * S::LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose the measure of all measures: a peak that is no number, or absurd.
    #[test]
    fn peaks_are_plausible() {
        for isa in Isa::available() {
            let peak = peak_gflops(isa, 1);
            assert!(
                peak.is_finite() && (1e-3..1e4).contains(&peak),
                "{isa}: {peak}"
            );
        }
    }
}
