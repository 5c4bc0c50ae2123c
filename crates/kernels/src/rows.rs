//! What is done with finished rows: softmax over labels, L2 normalisation of embeddings.

use crate::error::{ShapeError, check_rows};
use crate::isa::Isa;
use crate::simd::{MAX_PANEL, Operation, Simd, dispatch};
use crate::vecmath::exp;

/// Replaces each row of `x`, `[rows][width]`, by its softmax: eˣ / Σ eˣ, computed from the differences
/// to the row's largest value, so that nothing overflows. A row with a NaN becomes NaN.
///
/// # Errors
/// `x` does not hold whole rows.
pub fn softmax_rows(isa: Isa, x: &mut [f32], width: usize) -> Result<(), ShapeError> {
    check_rows("softmax_rows", "x", width, x.len())?;
    dispatch(isa, Softmax { x, width });
    Ok(())
}

struct Softmax<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Operation for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact_mut(self.width) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            // Lanes that do not exist: so far below the largest that they add nothing.
            for chunk in row.chunks_mut(S::LANES) {
                let mut lanes = [f32::NEG_INFINITY; MAX_PANEL];
                lanes[..chunk.len()].copy_from_slice(chunk);
                // SAFETY: `lanes` is longer than a vector.
                unsafe {
                    let powers = exp(s, s.sub(s.load(lanes.as_ptr()), s.splat(largest)));
                    sum += s.sum(powers);
                    s.store(lanes.as_mut_ptr(), powers);
                }
                chunk.copy_from_slice(&lanes[..chunk.len()]);
            }
            for value in row {
                *value /= sum;
            }
        }
    }
}

/// Divides each row of `x`, `[rows][width]`, by its Euclidean length; a zero row stays zero.
///
/// As `torch.nn.functional.normalize`, lengths below 1e-12 count as 1e-12.
///
/// # Errors
/// `x` does not hold whole rows.
///
/// ```
/// use batchwright_kernels::{Isa, normalize_rows};
/// let mut x = [3.0, 4.0, 0.0, 0.0];
/// normalize_rows(Isa::detect(), &mut x, 2)?;
/// assert_eq!(x, [0.6, 0.8, 0.0, 0.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
pub fn normalize_rows(isa: Isa, x: &mut [f32], width: usize) -> Result<(), ShapeError> {
    check_rows("normalize_rows", "x", width, x.len())?;
    dispatch(isa, Normalize { x, width });
    Ok(())
}

struct Normalize<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Operation for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.x.chunks_exact_mut(self.width) {
            let mut squares = s.zero();
            for chunk in row.chunks(S::LANES) {
                // SAFETY: a chunk holds at most one vector.
                let values = unsafe { s.load_some(chunk.as_ptr(), chunk.len()) };
                squares = s.fma(values, values, squares);
            }
            let length = s.sum(squares).sqrt();
            // Not `max`, which would hide a NaN.
            let length = if length < 1e-12 { 1e-12 } else { length };
            for value in row {
                *value /= length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{noise, same_bits};

    const WIDTHS: [usize; 14] = [1, 2, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 150, 384];

    fn softmax(row: &[f32]) -> Vec<f64> {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers = row
            .iter()
            .map(|&x| (f64::from(x) - f64::from(largest)).exp());
        let sum: f64 = powers.clone().sum();
        powers.map(|power| power / sum).collect()
    }

    fn normalized(row: &[f32]) -> Vec<f64> {
        let length = row
            .iter()
            .map(|&x| f64::from(x).powi(2))
            .sum::<f64>()
            .sqrt();
        row.iter().map(|&x| f64::from(x) / length).collect()
    }

    type Run = fn(Isa, &mut [f32], usize) -> Result<(), ShapeError>;
    type Reference = fn(&[f32]) -> Vec<f64>;
    const OPERATORS: [(&str, Run, Reference); 2] = [
        ("softmax", softmax_rows, softmax),
        ("normalize", normalize_rows, normalized),
    ];

    /// A user would lose right scores, or embeddings of length one.
    #[test]
    fn rows_match_their_definitions_alone_and_together() {
        for isa in Isa::available() {
            for (name, run, reference) in OPERATORS {
                for width in WIDTHS {
                    let x: Vec<f32> = noise(3 * width, 7).iter().map(|x| x * 20.0).collect();
                    let mut y = x.clone();
                    run(isa, &mut y, width).unwrap();
                    for (x, y) in x.chunks(width).zip(y.chunks(width)) {
                        for (want, &got) in reference(x).into_iter().zip(y) {
                            let error = (f64::from(got) - want).abs();
                            assert!(error < 4e-7, "{isa}: {name}, {width} wide: {got} {want}");
                        }
                        let mut alone = x.to_vec();
                        run(isa, &mut alone, width).unwrap();
                        assert!(
                            same_bits(&alone, y),
                            "{isa}: {name}, {width} wide: promise 1"
                        );
                    }
                }
            }
        }
    }

    /// A user would lose a finite answer for large logits, or the sign that there is none.
    #[test]
    fn extremes() {
        for isa in Isa::available() {
            let mut x = [1e30, -1e30, 1e30, 1e4, 1e4 - 1.0, 0.0, f32::NAN, 0.0, 1.0];
            softmax_rows(isa, &mut x, 3).unwrap();
            assert!(x[0] == 0.5 && x[1] < 1e-37 && x[2] == 0.5, "{isa}: {x:?}");
            assert!(
                (x[3] - 0.731_058_6).abs() < 1e-6 && x[5] < 1e-37,
                "{isa}: {x:?}"
            );
            assert!(x[6..].iter().all(|x| x.is_nan()), "{isa}: {x:?}");

            let mut x = [0.0, 0.0, f32::NAN, 1.0, 1e-20, 0.0];
            normalize_rows(isa, &mut x, 2).unwrap();
            assert_eq!(x[..2], [0.0, 0.0], "{isa}");
            assert!(x[2..4].iter().all(|x| x.is_nan()), "{isa}: {x:?}");
            assert!(x[4..].iter().all(|x| x.is_finite()), "{isa}: {x:?}");
        }
    }

    /// A user would lose the process where sizes disagree.
    #[test]
    fn wrong_sizes_are_refused_and_no_rows_are_fine() {
        for (_, run, _) in OPERATORS {
            assert_eq!(run(Isa::detect(), &mut [], 4), Ok(()));
            assert!(matches!(
                run(Isa::detect(), &mut [0.0; 5], 4),
                Err(ShapeError::Ragged {
                    width: 4,
                    found: 5,
                    ..
                })
            ));
            assert!(matches!(
                run(Isa::detect(), &mut [], 0),
                Err(ShapeError::Zero { .. })
            ));
        }
    }
}
