//! Pooling: one row for each text out of its tokens' rows.

use crate::error::{ShapeError, check_length, check_nonzero, check_product};
use crate::isa::Isa;
use crate::simd::{Operation, Simd, dispatch};

const OPERATOR: &str = "pool";

/// How the rows of a text's tokens become one row; the names of sentence-transformers.
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The first token's row.
    Cls,
    /// The mean over the tokens.
    Mean,
    /// The largest value of each column.
    Max,
    /// The sum over the tokens divided by the square root of their number.
    MeanSqrt,
    /// The last token's row.
    Last,
}

/// Rows of texts one after the other, without padding.
#[derive(Copy, Clone, Debug)]
pub struct TextRows<'a> {
    /// `[tokens][width]`.
    pub values: &'a [f32],
    /// Tokens of each text; they add up to all rows.
    pub lengths: &'a [usize],
    /// Values in a row.
    pub width: usize,
}

/// Pools each text's rows into one row of `out`, `[texts][width]`. A text without tokens gives zeroes.
///
/// # Errors
/// Lengths that do not add up to the rows there are, or `out` of another size.
///
/// ```
/// use batchwright_kernels::{Isa, Pooling, TextRows, pool};
/// let rows = TextRows { values: &[1.0, 2.0, 9.0], lengths: &[2, 1], width: 1 };
/// let mut out = [0.0; 2];
/// pool(Isa::detect(), Pooling::Mean, rows, &mut out)?;
/// assert_eq!(out, [1.5, 9.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
pub fn pool(
    isa: Isa,
    pooling: Pooling,
    rows: TextRows<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    check_nonzero(OPERATOR, "the row width", rows.width)?;
    let tokens = total(OPERATOR, rows.lengths)?;
    let size = check_product(OPERATOR, &[tokens, rows.width])?;
    check_length(OPERATOR, "values", size, rows.values.len())?;
    let size = check_product(OPERATOR, &[rows.lengths.len(), rows.width])?;
    check_length(OPERATOR, "out", size, out.len())?;
    dispatch(isa, Pool { pooling, rows, out });
    Ok(())
}

/// The sum of all lengths.
pub(crate) fn total(operator: &'static str, lengths: &[usize]) -> Result<usize, ShapeError> {
    lengths
        .iter()
        .try_fold(0usize, |sum, &length| sum.checked_add(length))
        .ok_or(ShapeError::Overflow { operator })
}

struct Pool<'a> {
    pooling: Pooling,
    rows: TextRows<'a>,
    out: &'a mut [f32],
}

impl Operation for Pool<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.rows.width;
        let mut values = self.rows.values;
        for (&length, out) in self
            .rows
            .lengths
            .iter()
            .zip(self.out.chunks_exact_mut(width))
        {
            let (text, rest) = values.split_at(length * width);
            values = rest;
            if length == 0 {
                out.fill(0.0);
                continue;
            }
            match self.pooling {
                Pooling::Cls => out.copy_from_slice(&text[..width]),
                Pooling::Last => out.copy_from_slice(&text[(length - 1) * width..]),
                Pooling::Mean => columns(s, text, out, Fold::Sum(length as f32)),
                Pooling::MeanSqrt => columns(s, text, out, Fold::Sum((length as f32).sqrt())),
                Pooling::Max => columns(s, text, out, Fold::Max),
            }
        }
    }
}

#[derive(Copy, Clone)]
enum Fold {
    /// The sum, then a division.
    Sum(f32),
    Max,
}

/// Folds `text`, `[tokens][width]`, to one row.
#[inline(always)]
fn columns<S: Simd>(s: S, text: &[f32], out: &mut [f32], fold: Fold) {
    let width = out.len();
    for (chunk, out) in out.chunks_mut(S::LANES).enumerate() {
        let (first, lanes) = (chunk * S::LANES, out.len());
        // SAFETY: a chunk holds at most one vector.
        let mut value = unsafe { s.load_some(text[first..].as_ptr(), lanes) };
        for row in text.chunks_exact(width).skip(1) {
            // SAFETY: as above.
            let next = unsafe { s.load_some(row[first..].as_ptr(), lanes) };
            value = match fold {
                Fold::Sum(_) => s.add(value, next),
                // `max` drops a NaN in its first argument: asked both ways round, no way loses it.
                Fold::Max => {
                    let half = s.splat(0.5);
                    s.fma(half, s.max(value, next), s.mul(half, s.max(next, value)))
                }
            };
        }
        if let Fold::Sum(divisor) = fold {
            value = s.div(value, s.splat(divisor));
        }
        // SAFETY: as above.
        unsafe { s.store_some(out.as_mut_ptr(), lanes, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{noise, same_bits};

    const ALL: [Pooling; 5] = [
        Pooling::Cls,
        Pooling::Mean,
        Pooling::Max,
        Pooling::MeanSqrt,
        Pooling::Last,
    ];

    fn reference(pooling: Pooling, text: &[f32], width: usize) -> Vec<f64> {
        let length = text.len() / width;
        let column = |column: usize| {
            let values = text
                .iter()
                .skip(column)
                .step_by(width)
                .copied()
                .map(f64::from);
            match pooling {
                _ if length == 0 => 0.0,
                Pooling::Cls => f64::from(text[column]),
                Pooling::Last => f64::from(text[(length - 1) * width + column]),
                Pooling::Mean => values.sum::<f64>() / length as f64,
                Pooling::MeanSqrt => values.sum::<f64>() / (length as f64).sqrt(),
                Pooling::Max => values.fold(f64::NEG_INFINITY, f64::max),
            }
        };
        (0..width).map(column).collect()
    }

    /// A user would get a finite embedding of a text that the model failed on.
    #[test]
    fn a_nan_in_any_row_stays() {
        for isa in Isa::available() {
            for pooling in [Pooling::Mean, Pooling::Max, Pooling::MeanSqrt] {
                for broken in 0..3 {
                    let mut values = noise(3 * 9, 7);
                    values[broken * 9 + 4] = f32::NAN;
                    let text = TextRows {
                        values: &values,
                        lengths: &[3],
                        width: 9,
                    };
                    let mut out = [0.0; 9];
                    pool(isa, pooling, text, &mut out).unwrap();
                    let nans = out.map(f32::is_nan);
                    let want = std::array::from_fn(|column| column == 4);
                    assert_eq!(nans, want, "{isa}: {pooling:?}, row {broken}");
                }
            }
        }
    }

    /// A user would lose right embeddings, or promise 1.
    #[test]
    fn texts_match_the_definition_alone_and_together() {
        let lengths = [3, 1, 0, 17, 512, 2];
        for isa in Isa::available() {
            for width in [1, 5, 6, 7, 8, 15, 16, 17, 31, 33, 100] {
                let values = noise(lengths.iter().sum::<usize>() * width, 5);
                for pooling in ALL {
                    let mut out = vec![f32::NAN; lengths.len() * width];
                    let rows = TextRows {
                        values: &values,
                        lengths: &lengths,
                        width,
                    };
                    pool(isa, pooling, rows, &mut out).unwrap();
                    let mut first = 0;
                    for (&length, got) in lengths.iter().zip(out.chunks(width)) {
                        let text = &values[first * width..(first + length) * width];
                        first += length;
                        for (want, &got) in reference(pooling, text, width).iter().zip(got) {
                            let error = (f64::from(got) - want).abs();
                            assert!(error < 1e-5, "{isa}: {pooling:?} {width}: {got} {want}");
                        }
                        let mut alone = vec![f32::NAN; width];
                        let rows = TextRows {
                            values: text,
                            lengths: &[length],
                            width,
                        };
                        pool(isa, pooling, rows, &mut alone).unwrap();
                        assert!(same_bits(&alone, got), "{isa}: {pooling:?} {width}");
                    }
                }
            }
        }
    }

    /// A user would lose the process where sizes disagree.
    #[test]
    fn wrong_sizes_are_refused() {
        let run = |lengths: &[usize], width, values: &[f32], out: &mut [f32]| {
            pool(
                Isa::detect(),
                Pooling::Mean,
                TextRows {
                    values,
                    lengths,
                    width,
                },
                out,
            )
        };
        assert_eq!(run(&[], 3, &[], &mut []), Ok(()));
        assert!(matches!(
            run(&[], 0, &[], &mut []),
            Err(ShapeError::Zero { .. })
        ));
        assert!(matches!(
            run(&[2], 3, &[0.0; 5], &mut [0.0; 3]),
            Err(ShapeError::Length {
                argument: "values",
                expected: 6,
                found: 5,
                ..
            })
        ));
        assert!(matches!(
            run(&[2], 3, &[0.0; 6], &mut [0.0; 6]),
            Err(ShapeError::Length {
                argument: "out",
                expected: 3,
                found: 6,
                ..
            })
        ));
        assert!(matches!(
            run(&[usize::MAX, 2], 3, &[], &mut [0.0; 6]),
            Err(ShapeError::Overflow { .. })
        ));
    }
}
