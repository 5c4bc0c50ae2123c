//! Exponential, normal distribution, hyperbolic tangent: vectors in, vectors out.
//!
//! The largest errors, found over a dense sweep and held by the tests below:
//!
//! | function | error | over |
//! |---|---|---|
//! | [`exp`] | 2e-7 relative | -87..=88, constant beyond |
//! | [`gaussian_tail`] times x | 9e-7 absolute | [`GAUSSIAN_END`]..=0 |
//! | [`tanh`] | 4e-7 absolute | everywhere |
//!
//! NaN gives NaN. The error of f32 itself near 1 is 0.6e-7.

use crate::simd::Simd;

/// Σ cᵢ·xⁿ⁻ⁱ by Horner's rule, the highest power first.
#[inline(always)]
pub(crate) fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut sum = s.splat(coefficients[0]);
    let mut i = 1;
    while i < N {
        sum = s.fma(sum, x, s.splat(coefficients[i]));
        i += 1;
    }
    sum
}

/// `x`, or the nearer bound; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::V, low: f32, high: f32) -> S::V {
    s.max(s.splat(low), s.min(s.splat(high), x))
}

/// eˣ for -87 ≤ x ≤ 88; beyond, the value at the bound (1.6e-38, 1.7e38).
///
/// Cephes' `expf` (S. Moshier): x = n·ln 2 + r with |r| ≤ ln 2 / 2, then a polynomial of degree 7 in
/// r times 2ⁿ. ln 2 is split in two, so that n·(its high part) is exact.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let x = clamp(s, x, -87.0, 88.0);
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    let p = polynomial(
        s,
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ],
    );
    let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
    s.times_exp2(p, n)
}

/// Where [`gaussian_tail`] has become so small (2e-34) that it is nothing beside any number.
pub(crate) const GAUSSIAN_END: f32 = -11.0;

/// Φ(x) for [`GAUSSIAN_END`] ≤ x ≤ 0, where Φ is the distribution of the standard normal.
///
/// 2 to the power of a polynomial of degree 5, fitted to log₂ Φ by iteratively reweighted least squares
/// so that x·Φ(x), which is what GELU needs, is least wrong (4.4e-7); the power's fraction by a polynomial
/// of degree 4. Both by Estrin's scheme: a processor has registers for about five vectors on their way
/// through GELU, so that the length of the chain is what it costs.
#[inline(always)]
pub(crate) fn gaussian_tail<S: Simd>(s: S, x: S::V) -> S::V {
    let c = |value: f32| s.splat(value);
    let x2 = s.mul(x, x);
    let high = s.fma(c(4.733_093e-4), x, c(7.084_557_4e-3));
    let middle = s.fma(c(5.182_738_4e-2), x, c(-0.459_992_44));
    let low = s.fma(c(1.150_788), x, c(-1.000_037_6));
    let power = s.fma(s.fma(high, x2, middle), x2, low);

    let whole = s.round(power);
    let f = s.sub(power, whole);
    let f2 = s.mul(f, f);
    let high = s.fma(
        c(9.570_092e-3),
        f2,
        s.fma(c(5.591_786_2e-2), f, c(0.240_247_43)),
    );
    let low = s.fma(c(0.693_121_8), f, c(0.999_999_3));
    s.times_exp2(s.fma(high, f2, low), whole)
}

/// tanh x, never beyond ±1: the rational function of degrees 13/6 of Eigen, on |x| ≤ 7.9, where
/// tanh rounds to ±1.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let x = clamp(s, x, -7.905_311, 7.905_311);
    let t = s.mul(x, x);
    let p = polynomial(
        s,
        t,
        [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297_2e-8,
            1.485_722_4e-5,
            6.372_619_4e-4,
            4.893_524_6e-3,
        ],
    );
    let q = polynomial(
        s,
        t,
        [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3],
    );
    clamp(s, s.div(s.mul(p, x), q), -1.0, 1.0)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::simd::{Map, Operation, dispatch, map_in_place};

    /// erf in f64: the Taylor series near zero, a continued fraction of erfc beyond.
    pub(crate) fn erf_f64(x: f64) -> f64 {
        let magnitude = x.abs();
        let value = if magnitude < 2.5 {
            let (mut term, mut sum) = (magnitude, magnitude);
            for n in 1..100 {
                let n = f64::from(n);
                term *= -magnitude * magnitude / n;
                sum += term / (2.0 * n + 1.0);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let mut tail = magnitude;
            for n in (1..80).rev() {
                tail = magnitude + f64::from(n) / 2.0 / tail;
            }
            1.0 - (-magnitude * magnitude).exp() / tail / std::f64::consts::PI.sqrt()
        };
        value.copysign(x)
    }

    #[derive(Copy, Clone)]
    pub(crate) enum Function {
        Exp,
        /// x·Φ(x) for x below zero.
        GaussianTail,
        Tanh,
        Sigmoid,
    }

    impl Map for Function {
        #[inline(always)]
        fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
            match self {
                Function::Exp => exp(s, x),
                Function::GaussianTail => {
                    let x = clamp(s, x, GAUSSIAN_END, 0.0);
                    s.mul(x, gaussian_tail(s, x))
                }
                Function::Tanh => tanh(s, x),
                Function::Sigmoid => sigmoid(s, x),
            }
        }
    }

    struct Apply<'a>(Function, &'a mut [f32]);

    impl Operation for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            map_in_place(s, self.1, self.0);
        }
    }

    fn apply(isa: Isa, function: Function, values: &[f32]) -> Vec<f32> {
        let mut values = values.to_vec();
        dispatch(isa, Apply(function, &mut values));
        values
    }

    /// A user would lose agreement with the model's authors, by more than f32 explains.
    #[test]
    fn errors_stay_below_what_the_table_says() {
        type Reference = fn(f64) -> f64;
        let cases: [(&str, Function, Reference, f64, f64, f64); 4] = [
            ("exp", Function::Exp, f64::exp, 87.0, 0.0, 2e-7),
            (
                "x·Φ(x)",
                Function::GaussianTail,
                |x| {
                    x.min(0.0) * 0.5 * (1.0 + erf_f64(x.min(0.0) * std::f64::consts::FRAC_1_SQRT_2))
                },
                12.0,
                9e-7,
                0.0,
            ),
            ("tanh", Function::Tanh, f64::tanh, 12.0, 4e-7, 0.0),
            (
                "sigmoid",
                Function::Sigmoid,
                |x| 1.0 / (1.0 + (-x).exp()),
                30.0,
                2e-7,
                2e-7,
            ),
        ];
        for isa in Isa::available() {
            for (name, function, reference, range, absolute, relative) in cases {
                let steps = 400_001;
                let xs: Vec<f32> = (0..steps)
                    .map(|i| (f64::from(i) / f64::from(steps - 1) * 2.0 - 1.0) * range)
                    .map(|x| x as f32)
                    .collect();
                let ys = apply(isa, function, &xs);
                for (&x, &y) in xs.iter().zip(&ys) {
                    let want = reference(f64::from(x));
                    let error = (f64::from(y) - want).abs();
                    assert!(
                        error <= absolute + relative * want.abs(),
                        "{isa}: {name}({x}) = {y}, not {want}: off by {error:e}"
                    );
                }
            }
        }
    }

    /// A user would lose the sign that a model is broken, or get one from a mere overflow.
    #[test]
    fn extremes_saturate_and_nan_stays() {
        let cases: [(Function, f32, [f32; 2]); 10] = [
            (Function::Exp, f32::NEG_INFINITY, [0.0, 2e-38]),
            (Function::Exp, -1e9, [0.0, 2e-38]),
            (Function::Exp, f32::INFINITY, [1e38, f32::INFINITY]),
            (Function::Exp, 0.0, [1.0, 1.0]),
            (Function::GaussianTail, f32::NEG_INFINITY, [-1e-30, 0.0]),
            (Function::GaussianTail, f32::INFINITY, [-0.0, 0.0]),
            (Function::Tanh, 1e30, [1.0 - 4e-7, 1.0]),
            (Function::Tanh, f32::NEG_INFINITY, [-1.0, -1.0 + 4e-7]),
            (Function::Sigmoid, f32::INFINITY, [1.0, 1.0]),
            (Function::Sigmoid, -1e5, [0.0, 1e-37]),
        ];
        for isa in Isa::available() {
            for (function, x, [least, most]) in cases {
                // Eleven values reach both whole and partial vectors.
                for y in apply(isa, function, &[x; 11]) {
                    assert!((least..=most).contains(&y), "{isa}: f({x}) = {y}");
                }
                let ys = apply(isa, function, &[f32::NAN; 11]);
                assert!(ys.iter().all(|y| y.is_nan()), "{isa}");
            }
        }
    }
}
