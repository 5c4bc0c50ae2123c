use super::*;

/// Every lane operation against plain f32, on values that include NaN and infinities.
struct Lanes;

impl Operation for Lanes {
    type Output = Vec<String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<String> {
        let mut wrong = lanes(s);
        wrong.extend(lanes(Twice(s)));
        wrong
    }
}

#[inline(always)]
fn lanes<S: Simd>(s: S) -> Vec<String> {
    const ODD: [f32; 12] = [
        0.0,
        -0.0,
        1.5,
        -2.5,
        3.5,
        0.49999997,
        1e-30,
        -7e10,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        100.25,
    ];
    let mut wrong = Vec::new();
    let mut a = [0.0f32; MAX_PANEL];
    let mut b = [0.0f32; MAX_PANEL];
    let mut c = [0.0f32; MAX_PANEL];
    for shift in 0..ODD.len() {
        for i in 0..MAX_PANEL {
            a[i] = ODD[i % ODD.len()];
            b[i] = ODD[(i + shift) % ODD.len()];
            c[i] = ODD[(i * 5 + shift) % ODD.len()];
        }
        // SAFETY: every array is longer than a vector.
        let (va, vb, vc) = unsafe { (s.load(a.as_ptr()), s.load(b.as_ptr()), s.load(c.as_ptr())) };
        let mut check = |name: &str, got: S::V, want: &dyn Fn(usize) -> [f32; 2]| {
            let mut lanes = [0.0f32; MAX_PANEL];
            // SAFETY: the array is longer than a vector.
            unsafe { s.store(lanes.as_mut_ptr(), got) };
            for (i, &lane) in lanes.iter().enumerate().take(S::LANES) {
                let right = want(i)
                    .iter()
                    .any(|w| w.to_bits() == lane.to_bits() || (w.is_nan() && lane.is_nan()));
                if !right {
                    wrong.push(format!("{name} lane {i}: {lane}, not {:?}", want(i)));
                }
            }
        };
        check("add", s.add(va, vb), &|i| [a[i] + b[i]; 2]);
        check("sub", s.sub(va, vb), &|i| [a[i] - b[i]; 2]);
        check("mul", s.mul(va, vb), &|i| [a[i] * b[i]; 2]);
        check("div", s.div(va, vb), &|i| [a[i] / b[i]; 2]);
        // One rounding or two: both are right.
        check("fma", s.fma(va, vb, vc), &|i| {
            [a[i].mul_add(b[i], c[i]), a[i] * b[i] + c[i]]
        });
        check("min", s.min(va, vb), &|i| {
            [if a[i] < b[i] { a[i] } else { b[i] }; 2]
        });
        check("max", s.max(va, vb), &|i| {
            [if a[i] > b[i] { a[i] } else { b[i] }; 2]
        });
        check("splat", s.splat(-2.5), &|_| [-2.5; 2]);
        check("zero", s.zero(), &|_| [0.0; 2]);
        for count in 0..=S::LANES {
            // SAFETY: `count` is at most the lanes of a vector.
            let some = unsafe { s.load_some(a.as_ptr(), count) };
            check("load_some", some, &|i| {
                [if i < count { a[i] } else { 0.0 }; 2]
            });
            let mut lanes = b;
            // SAFETY: as above.
            unsafe { s.store_some(lanes.as_mut_ptr(), count, va) };
            // SAFETY: the array is longer than a vector.
            let stored = unsafe { s.load(lanes.as_ptr()) };
            check("store_some", stored, &|i| {
                [if i < count { a[i] } else { b[i] }; 2]
            });
        }
    }
    let whole: Vec<f32> = (0..MAX_PANEL).map(|i| -126.0 + 8.0 * i as f32).collect();
    // SAFETY: as long as the longest vector.
    let powers = unsafe { s.times_exp2(s.splat(1.0), s.load(whole.as_ptr())) };
    let halves: Vec<f32> = (0..MAX_PANEL).map(|i| i as f32 * 0.5 - 4.0).collect();
    // SAFETY: as long as the longest vector.
    let halves_v = unsafe { s.load(halves.as_ptr()) };
    let (mut p, mut r) = ([0.0f32; MAX_PANEL], [0.0f32; MAX_PANEL]);
    // SAFETY: as long as the longest vector.
    unsafe {
        s.store(p.as_mut_ptr(), powers);
        s.store(r.as_mut_ptr(), s.round(halves_v));
    }
    for i in 0..S::LANES {
        if p[i] != whole[i].exp2() || r[i] != halves[i].round_ties_even() {
            wrong.push(format!(
                "2^{} = {}, round {} = {}",
                whole[i], p[i], halves[i], r[i]
            ));
        }
    }
    let (sum, largest) = (s.sum(halves_v), s.largest(halves_v));
    let wanted: f32 = halves[..S::LANES].iter().sum();
    if sum != wanted || largest != halves[S::LANES - 1] {
        wrong.push(format!(
            "sum {sum}, largest {largest} of {:?}",
            &halves[..S::LANES]
        ));
    }
    wrong
}

struct Transpose;

impl Operation for Transpose {
    type Output = Vec<String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<String> {
        let (stride, to_stride) = (S::LANES + 3, S::LANES + 5);
        let mut wrong = Vec::new();
        for rows in 1..=S::LANES {
            let from: Vec<f32> = (0..rows * stride).map(|i| i as f32 + 1.0).collect();
            let mut to = vec![0.0; S::LANES * to_stride];
            // SAFETY: `from` holds `rows` rows, `to` holds `LANES`.
            unsafe { s.transpose((from.as_ptr(), stride), rows, (to.as_mut_ptr(), to_stride)) };
            for (at, &value) in to.iter().enumerate() {
                let (j, i) = (at / to_stride, at % to_stride);
                let inside = i < S::LANES;
                let want = if inside {
                    from[i.min(rows - 1) * stride + j]
                } else {
                    0.0
                };
                if value != want {
                    wrong.push(format!("{rows} rows: [{j}][{i}] is {value}, not {want}"));
                }
            }
        }
        wrong
    }
}

/// A user would lose attention: keys are turned by this.
#[test]
fn blocks_are_transposed_with_the_last_row_repeated() {
    for isa in Isa::available() {
        assert_eq!(dispatch(isa, Transpose), Vec::<String>::new(), "{isa}");
    }
}

/// A user would lose every answer: all operators are made of these.
#[test]
fn vectors_compute_what_floats_compute() {
    for isa in Isa::available() {
        assert_eq!(dispatch(isa, Lanes), Vec::<String>::new(), "{isa}");
    }
}
