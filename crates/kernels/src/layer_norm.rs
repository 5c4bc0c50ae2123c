//! Layer normalisation.

use crate::error::{ShapeError, check_length, check_rows};
use crate::simd::{MAX_PANEL, Operation, Simd, dispatch};
use crate::team::{Cpu, Shared, run_parts, share};

const OPERATOR: &str = "layer_norm";

/// What a layer normalisation has learnt.
#[derive(Copy, Clone, Debug)]
pub struct LayerNorm<'a> {
    /// Scale of each column; its length is the width of a row.
    pub gamma: &'a [f32],
    /// Offset of each column.
    pub beta: &'a [f32],
    /// Added to the variance, so that a constant row can be divided.
    pub epsilon: f32,
}

/// Normalises each row of `x`, `[rows][width]`, in place: γ·(x - mean)/√(variance + ε) + β
/// (Ba, Kiros and Hinton 2016, equation 4).
///
/// Mean and variance take a pass each: the one-pass variance (the mean of x² less the squared mean)
/// loses all digits where the mean is large, as it is in the outlier columns of real models.
///
/// # Errors
/// `x` does not hold whole rows, or γ and β differ in length.
///
/// ```
/// use batchwright_kernels::{Cpu, LayerNorm, layer_norm};
/// let mut x = [1.0, 3.0];
/// let norm = LayerNorm { gamma: &[1.0, 2.0], beta: &[0.5, 0.0], epsilon: 0.0 };
/// layer_norm(Cpu::solo(), &mut x, norm)?;
/// assert_eq!(x, [-0.5, 2.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
pub fn layer_norm(cpu: Cpu<'_>, x: &mut [f32], norm: LayerNorm<'_>) -> Result<(), ShapeError> {
    let width = norm.gamma.len();
    check_length(OPERATOR, "beta", width, norm.beta.len())?;
    let rows = check_rows(OPERATOR, "x", width, x.len())?;
    let x = Shared::new(x);
    run_parts(cpu.team, |part, parts| {
        let rows = share(rows, part, parts);
        // SAFETY: parts have disjoint shares of the rows.
        let x = unsafe { x.slice(rows.start * width..rows.end * width) };
        dispatch(cpu.isa, Normalize { x, norm });
    });
    Ok(())
}

struct Normalize<'a> {
    x: &'a mut [f32],
    norm: LayerNorm<'a>,
}

impl Operation for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact_mut(self.norm.gamma.len()) {
            let mean = sum(s, row, 0.0, Power::One) / row.len() as f32;
            let variance = sum(s, row, mean, Power::Two) / row.len() as f32;
            let scale = 1.0 / (variance + self.norm.epsilon).sqrt();
            scale_row(s, row, (mean, scale), self.norm);
        }
    }
}

/// Which power of the differences is summed.
#[derive(Copy, Clone)]
enum Power {
    One,
    Two,
}

/// Σ (x - center) or its square, in four chains.
#[inline(always)]
fn sum<S: Simd>(s: S, row: &[f32], center: f32, power: Power) -> f32 {
    let start = row.as_ptr();
    let centers = s.splat(center);
    let mut sums = [s.zero(); 4];
    let mut at = 0;
    // SAFETY: each access stays within `row`, or within `copy` for the partial vector.
    unsafe {
        while at + 4 * S::LANES <= row.len() {
            for (j, sum) in sums.iter_mut().enumerate() {
                let difference = s.sub(s.load(start.add(at + j * S::LANES)), centers);
                *sum = add_power(s, *sum, difference, power);
            }
            at += 4 * S::LANES;
        }
        while at + S::LANES <= row.len() {
            let difference = s.sub(s.load(start.add(at)), centers);
            sums[0] = add_power(s, sums[0], difference, power);
            at += S::LANES;
        }
        let rest = row.len() - at;
        if rest > 0 {
            // Missing lanes are zero in both, so their difference adds nothing.
            let copy = [center; MAX_PANEL];
            let centers = s.load_some(copy.as_ptr(), rest);
            let difference = s.sub(s.load_some(start.add(at), rest), centers);
            sums[1] = add_power(s, sums[1], difference, power);
        }
    }
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

#[inline(always)]
fn add_power<S: Simd>(s: S, sum: S::V, difference: S::V, power: Power) -> S::V {
    match power {
        Power::One => s.add(sum, difference),
        Power::Two => s.fma(difference, difference, sum),
    }
}

/// γ·((x - mean)·scale) + β. Subtracting first keeps the digits that `x·scale - mean·scale` loses.
#[inline(always)]
fn scale_row<S: Simd>(s: S, row: &mut [f32], (mean, scale): (f32, f32), norm: LayerNorm<'_>) {
    let (means, scales) = (s.splat(mean), s.splat(scale));
    let start = row.as_mut_ptr();
    let (gamma, beta) = (norm.gamma.as_ptr(), norm.beta.as_ptr());
    let mut at = 0;
    // SAFETY: γ and β are as long as the row, and `at` or `at + rest` is at most that.
    unsafe {
        while at + S::LANES <= row.len() {
            let x = s.mul(s.sub(s.load(start.add(at)), means), scales);
            s.store(
                start.add(at),
                s.fma(x, s.load(gamma.add(at)), s.load(beta.add(at))),
            );
            at += S::LANES;
        }
        let rest = row.len() - at;
        if rest > 0 {
            let x = s.mul(s.sub(s.load_some(start.add(at), rest), means), scales);
            let gamma = s.load_some(gamma.add(at), rest);
            let value = s.fma(x, gamma, s.load_some(beta.add(at), rest));
            s.store_some(start.add(at), rest, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{noise, same_bits};
    use crate::isa::Isa;
    use crate::team::Solo;
    use crate::team::tests::Threads;

    fn reference(row: &[f32], norm: LayerNorm<'_>) -> Vec<f64> {
        let count = row.len() as f64;
        let mean = row.iter().copied().map(f64::from).sum::<f64>() / count;
        let variance = row
            .iter()
            .map(|&x| (f64::from(x) - mean).powi(2))
            .sum::<f64>()
            / count;
        let scale = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
        let columns = row.iter().zip(norm.gamma).zip(norm.beta);
        columns
            .map(|((&x, &g), &b)| (f64::from(x) - mean) * scale * f64::from(g) + f64::from(b))
            .collect()
    }

    const WIDTHS: [usize; 16] = [1, 2, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 384, 769];

    /// A user would lose right answers, most of all where a column's values are all large.
    #[test]
    fn rows_match_the_definition() {
        for isa in Isa::available() {
            for width in WIDTHS {
                for offset in [0.0, 300.0] {
                    let (gamma, beta) = (noise(width, 1), noise(width, 2));
                    let norm = LayerNorm {
                        gamma: &gamma,
                        beta: &beta,
                        epsilon: 1e-5,
                    };
                    let x: Vec<f32> = noise(3 * width, 3).iter().map(|x| x + offset).collect();
                    let mut y = x.clone();
                    layer_norm(Cpu { isa, team: &Solo }, &mut y, norm).unwrap();
                    for (x, y) in x.chunks(width).zip(y.chunks(width)) {
                        for (want, &got) in reference(x, norm).into_iter().zip(y) {
                            let error = (f64::from(got) - want).abs();
                            // The mean itself has an error of half a unit of `offset` in f32.
                            let allowed = 2e-6 + f64::from(offset) * 4e-7;
                            assert!(error < allowed, "{isa}: {width} + {offset}: {got} {want}");
                        }
                    }
                }
            }
        }
    }

    /// A user would lose promise 1.
    #[test]
    fn a_rows_bits_depend_on_that_row_alone() {
        for isa in Isa::available() {
            for width in [1, 17, 384] {
                let (gamma, beta, x) = (noise(width, 1), noise(width, 2), noise(7 * width, 3));
                let norm = LayerNorm {
                    gamma: &gamma,
                    beta: &beta,
                    epsilon: 1e-12,
                };
                for parts in 1..=3 {
                    let mut together = x.clone();
                    layer_norm(
                        Cpu {
                            isa,
                            team: &Threads(parts),
                        },
                        &mut together,
                        norm,
                    )
                    .unwrap();
                    for (row, got) in together.chunks(width).enumerate() {
                        let mut alone = x[row * width..][..width].to_vec();
                        layer_norm(Cpu { isa, team: &Solo }, &mut alone, norm).unwrap();
                        assert!(same_bits(&alone, got), "{isa}: {width} wide, row {row}");
                    }
                }
            }
        }
    }

    /// A user would lose the process where a model's sizes disagree.
    #[test]
    fn wrong_sizes_are_refused_and_no_rows_are_fine() {
        let norm = |gamma, beta| LayerNorm {
            gamma,
            beta,
            epsilon: 1e-5,
        };
        let run = |x: &mut [f32], norm| layer_norm(Cpu::solo(), x, norm);
        assert_eq!(run(&mut [], norm(&[1.0], &[1.0])), Ok(()));
        let zero = ShapeError::Zero {
            operator: OPERATOR,
            argument: "the row width",
        };
        assert_eq!(run(&mut [], norm(&[], &[])), Err(zero));
        let length = ShapeError::Length {
            operator: OPERATOR,
            argument: "beta",
            expected: 1,
            found: 2,
        };
        assert_eq!(run(&mut [0.0], norm(&[1.0], &[1.0, 1.0])), Err(length));
        let ragged = ShapeError::Ragged {
            operator: OPERATOR,
            argument: "x",
            width: 2,
            found: 3,
        };
        assert_eq!(run(&mut [0.0; 3], norm(&[1.0; 2], &[1.0; 2])), Err(ragged));
    }
}
