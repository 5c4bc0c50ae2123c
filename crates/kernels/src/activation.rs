//! Activation functions, alone or as the epilogue of a product.

use crate::isa::Isa;
use crate::simd::{Map, Operation, Simd, dispatch, map_in_place};
use crate::vecmath::{
    GAUSSIAN_END, exp, gaussian_tail, polynomial, sigmoid as sigmoid_vector, tanh,
};

/// A function applied to every value.
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x·Φ(x) = x/2·(1 + erf(x/√2)): "gelu" in Hugging Face configurations. Error ≤ 1.2e-6.
    GeluErf,
    /// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))): "gelu_new", "gelu_pytorch_tanh".
    /// (Hendrycks and Gimpel 2016, both forms.) Error ≤ 1.2e-6.
    GeluTanh,
    /// max(0, x).
    Relu,
    /// x·sigmoid(x), also called swish.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// x itself.
    Identity,
}

#[derive(Copy, Clone)]
pub(crate) struct GeluErf;
impl Map for GeluErf {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        // x·Φ(x) = max(x, 0) - |x|·Φ(-|x|): no division, and no digits lost where Φ nears 0.
        let positive = s.max(s.zero(), x);
        let negative = s.sub(s.min(s.zero(), x), positive);
        let negative = s.max(s.splat(GAUSSIAN_END), negative);
        s.fma(negative, gaussian_tail(s, negative), positive)
    }
}

/// [`Activation::GeluErf`] for values that have 7 bits afterwards, at half the cost. Error ≤ 5e-5 over -4..=4, 1.7e-4
/// below, 5e-5 of x above.
#[derive(Copy, Clone)]
pub(crate) struct CoarseGelu;
impl Map for CoarseGelu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        // x·Φ(x), where Φ(x) = 1/2 + c·P(c²) with c the nearest to x in -4..=4.
        let bounded = s.max(s.splat(-COARSE_END), x);
        let c = s.min(s.splat(COARSE_END), bounded);
        let p = polynomial(s, s.mul(c, c), COARSE_NORMAL);
        s.mul(bounded, s.fma(c, p, s.splat(0.5)))
    }
}

const COARSE_END: f32 = 4.0;

/// P of [`CoarseGelu`], the highest power first, fitted by iteratively reweighted least squares so that x·Φ(x) is
/// least wrong.
const COARSE_NORMAL: [f32; 8] = [
    -1.301_295_3e-9,
    1.041_960_9e-7,
    -3.657_134_1e-6,
    7.485_507e-5,
    -1.006_490_6e-3,
    9.505_399e-3,
    -6.588_785e-2,
    0.398_673_4,
];

#[derive(Copy, Clone)]
struct GeluTanh;

impl Map for GeluTanh {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        // As (1 + tanh u)/2 = 1/(1 + exp(-2u)), which loses no digits where tanh nears -1.
        const MINUS_TWO: f32 = -2.0 * 0.797_884_6; // √(2/π)
        let squares = s.mul(x, x);
        let cubic = s.fma(squares, s.splat(0.044_715 * MINUS_TWO), s.splat(MINUS_TWO));
        s.div(x, s.add(s.splat(1.0), exp(s, s.mul(x, cubic))))
    }
}

#[derive(Copy, Clone)]
struct Relu;

impl Map for Relu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.max(s.zero(), x)
    }
}

#[derive(Copy, Clone)]
struct Silu;

impl Map for Silu {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        s.mul(x, sigmoid_vector(s, x))
    }
}

#[derive(Copy, Clone)]
struct Tanh;

impl Map for Tanh {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        tanh(s, x)
    }
}

#[derive(Copy, Clone)]
struct Sigmoid;

impl Map for Sigmoid {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        sigmoid_vector(s, x)
    }
}

/// Work which wants to be compiled once for every activation function.
pub(crate) trait WithMap {
    /// Must be `#[inline(always)]`.
    fn with<M: Map>(&mut self, map: M);
}

impl Activation {
    /// Hands the function over as a type, so that the caller's loop knows it at compile time.
    /// [`Activation::Identity`] hands over nothing.
    #[inline(always)]
    pub(crate) fn with_map<W: WithMap>(self, work: &mut W) {
        match self {
            Activation::GeluErf => work.with(GeluErf),
            Activation::GeluTanh => work.with(GeluTanh),
            Activation::Relu => work.with(Relu),
            Activation::Silu => work.with(Silu),
            Activation::Tanh => work.with(Tanh),
            Activation::Identity => {}
        }
    }
}

struct Everywhere<'a, S> {
    simd: S,
    values: &'a mut [f32],
}

impl<S: Simd> WithMap for Everywhere<'_, S> {
    #[inline(always)]
    fn with<M: Map>(&mut self, map: M) {
        map_in_place(self.simd, self.values, map);
    }
}

struct Activate<'a>(Activation, &'a mut [f32]);

impl Operation for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        self.0.with_map(&mut Everywhere {
            simd,
            values: self.1,
        });
    }
}

/// Replaces every value by its activation.
///
/// ```
/// use batchwright_kernels::{Activation, Isa, activate};
/// let mut values = [-1.0, 0.0, 2.0];
/// activate(Isa::detect(), Activation::Relu, &mut values);
/// assert_eq!(values, [0.0, 0.0, 2.0]);
/// ```
pub fn activate(isa: Isa, activation: Activation, values: &mut [f32]) {
    dispatch(isa, Activate(activation, values));
}

struct SigmoidAll<'a>(&'a mut [f32]);

impl Operation for SigmoidAll<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        map_in_place(simd, self.0, Sigmoid);
    }
}

/// Replaces every value x by 1/(1 + e⁻ˣ): logits to the probabilities of independent labels.
pub fn sigmoid(isa: Isa, values: &mut [f32]) {
    dispatch(isa, SigmoidAll(values));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::vecmath::tests::erf_f64;

    pub(crate) const ALL: [Activation; 6] = [
        Activation::GeluErf,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Identity,
    ];

    /// The definitions, in f64.
    pub(crate) fn reference(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::GeluErf => 0.5 * x * (1.0 + erf_f64(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Identity => x,
        }
    }

    /// A user would lose agreement with the model's authors.
    #[test]
    fn activations_match_their_definitions() {
        let xs: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 * 5e-4).collect();
        for isa in Isa::available() {
            for activation in ALL {
                let mut ys = xs.clone();
                activate(isa, activation, &mut ys);
                for (&x, &y) in xs.iter().zip(&ys) {
                    let want = reference(activation, f64::from(x));
                    let error = (f64::from(y) - want).abs();
                    let allowed = 1.2e-6_f64.max(3e-7 * want.abs());
                    assert!(
                        error <= allowed,
                        "{isa}: {activation:?}({x}) = {y}, not {want}: off by {error:e}"
                    );
                }
            }
        }
    }

    struct Coarse<'a>(&'a mut [f32]);
    impl Operation for Coarse<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            map_in_place(simd, self.0, CoarseGelu);
        }
    }

    /// 7-bit values would carry a second error beside that of their bits.
    #[test]
    fn coarse_gelu_is_finer_than_seven_bits() {
        let xs: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 * 5e-4).collect();
        for isa in Isa::available() {
            let mut ys = xs.clone();
            dispatch(isa, Coarse(&mut ys));
            for (&x, &y) in xs.iter().zip(&ys) {
                let want = reference(Activation::GeluErf, f64::from(x));
                let allowed = match x {
                    ..-4.0 => 1.7e-4,
                    ..=4.0 => 5e-5,
                    _ => 5e-5 * want,
                };
                let error = (f64::from(y) - want).abs();
                assert!(error <= allowed, "{isa}: gelu({x}) = {y}, not {want}");
            }
            let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            dispatch(isa, Coarse(&mut values));
            assert!(values[0].is_nan() && values[1] == f32::INFINITY && values[2].abs() < 2e-4);
        }
    }

    /// A user would lose the same answer for the same row: a value's bits must not depend on
    /// whether it falls into a whole or a partial vector.
    #[test]
    fn a_values_bits_do_not_depend_on_its_place() {
        let xs: Vec<f32> = (0..67).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
        for isa in Isa::available() {
            for activation in ALL {
                for length in [0, 1, 5, 6, 7, 15, 16, 17, 31, 33, 67] {
                    let mut together = xs[..length].to_vec();
                    activate(isa, activation, &mut together);
                    for (i, &value) in together.iter().enumerate() {
                        let mut alone = [xs[i]];
                        activate(isa, activation, &mut alone);
                        assert_eq!(
                            alone[0].to_bits(),
                            value.to_bits(),
                            "{isa}: {activation:?} of {} at {i} of {length}",
                            xs[i]
                        );
                    }
                }
            }
        }
    }

    /// A user would lose the sign that the model gave no number.
    #[test]
    fn nan_stays_nan() {
        for isa in Isa::available() {
            for activation in ALL {
                let mut values = [f32::NAN; 19];
                activate(isa, activation, &mut values);
                assert!(
                    values.iter().all(|value| value.is_nan()),
                    "{isa}: {activation:?}"
                );
            }
        }
    }

    /// A user would lose calibrated scores of multi-label answers.
    #[test]
    fn sigmoid_of_logits() {
        for isa in Isa::available() {
            let mut values: Vec<f32> = vec![-200.0, -2.0, 0.0, 2.0, 200.0];
            sigmoid(isa, &mut values);
            let want = [0.0, 0.119_202_92, 0.5, 0.880_797_1, 1.0];
            for (got, want) in values.iter().zip(want) {
                assert!((got - want).abs() < 2e-7, "{isa}: {got} {want}");
            }
        }
    }
}
