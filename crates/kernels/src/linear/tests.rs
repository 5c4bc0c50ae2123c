use super::*;
use crate::activation::tests::{ALL, reference as activated};
use crate::fixtures::noise;
use crate::team::Solo;
use crate::team::tests::Threads;

struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl Case {
    fn new(rows: usize, depth: usize, columns: usize) -> Case {
        Case {
            rows,
            depth,
            columns,
            x: noise(rows * depth, 1),
            weight: noise(columns * depth, 2),
            bias: noise(columns, 3),
            residual: noise(rows * columns, 4),
        }
    }

    /// The definition, in f64, and the sum of magnitudes, to which rounding is proportional.
    fn reference(&self, epilogue: Epilogue<'_>) -> Vec<(f64, f64)> {
        let mut y = Vec::new();
        for row in 0..self.rows {
            for column in 0..self.columns {
                let x = &self.x[row * self.depth..][..self.depth];
                let w = &self.weight[column * self.depth..][..self.depth];
                let mut sum = f64::from(self.bias[column]);
                let mut magnitude = sum.abs();
                for (&x, &w) in x.iter().zip(w) {
                    sum += f64::from(x) * f64::from(w);
                    magnitude += (f64::from(x) * f64::from(w)).abs();
                }
                y.push(match epilogue {
                    Epilogue::Bias => (sum, magnitude),
                    Epilogue::Activate(activation) => (activated(activation, sum), magnitude),
                    Epilogue::Residual(residual) => {
                        let value = f64::from(residual[row * self.columns + column]);
                        (sum + value, magnitude + value.abs())
                    }
                });
            }
        }
        y
    }

    fn pack(&self, isa: Isa) -> Linear {
        Linear::pack(
            isa,
            &self.weight,
            Some(&self.bias),
            self.columns,
            self.depth,
        )
        .unwrap()
    }

    fn run(&self, linear: &Linear, team: &dyn Team, epilogue: Epilogue<'_>) -> Vec<f32> {
        // Not zero: what is there before must not show.
        let mut y = vec![f32::NAN; self.rows * self.columns];
        linear.apply(team, &self.x, epilogue, &mut y).unwrap();
        y
    }
}

fn assert_close(got: &[f32], want: &[(f64, f64)], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&got, &(want, magnitude))) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= 1e-6 * (1.0 + magnitude),
            "{what}: [{i}] is {got}, not {want}"
        );
    }
}

const ROWS: [usize; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 17, 25, 64];

/// A user would lose right answers for some model's width or some number of tokens.
#[test]
fn products_match_the_definition_for_all_awkward_sizes() {
    for isa in Isa::available() {
        for depth in [1, 2, 3, 4, 5, 7, 16, 17, 33] {
            for columns in [1, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48] {
                for rows in ROWS {
                    let case = Case::new(rows, depth, columns);
                    let want = case.reference(Epilogue::Bias);
                    let got = case.run(&case.pack(isa), &Solo, Epilogue::Bias);
                    assert_close(&got, &want, &format!("{isa}: {rows} × {depth} × {columns}"));
                }
            }
        }
    }
}

/// A user would lose right answers where K needs several blocks, or rows do.
#[test]
fn products_match_over_block_boundaries() {
    for isa in Isa::available() {
        for (rows, depth, columns) in [
            (7, 1535, 17),
            (7, 1536, 16),
            (5, 1537, 33),
            (3, 3072, 20),
            (2, 3075, 9),
            (95, 9, 5),
            (96, 9, 17),
            (97, 9, 5),
            (400, 9, 5),
        ] {
            let case = Case::new(rows, depth, columns);
            for epilogue in [Epilogue::Bias, Epilogue::Residual(&case.residual)] {
                let want = case.reference(epilogue);
                let got = case.run(&case.pack(isa), &Solo, epilogue);
                assert_close(&got, &want, &format!("{isa}: {rows} × {depth} × {columns}"));
            }
        }
    }
}

/// A user would lose right answers of the layers that end in an activation or a residual.
#[test]
fn epilogues_match_the_definition() {
    for isa in Isa::available() {
        for (rows, depth, columns) in [(13, 20, 16), (8, 20, 19), (3, 1600, 37)] {
            let case = Case::new(rows, depth, columns);
            let mut epilogues = vec![Epilogue::Bias, Epilogue::Residual(&case.residual)];
            epilogues.extend(ALL.map(Epilogue::Activate));
            for epilogue in epilogues {
                let want = case.reference(epilogue);
                let got = case.run(&case.pack(isa), &Solo, epilogue);
                assert_close(
                    &got,
                    &want,
                    &format!("{isa}: {columns} columns, {epilogue:?}"),
                );
            }
        }
    }
}

/// A user would lose promise 1: a row's bits must not depend on its neighbours, on the number of
/// rows, or on the team.
#[test]
fn a_rows_bits_depend_on_that_row_alone() {
    for isa in Isa::available() {
        for (depth, columns) in [(33, 48), (1537, 37), (17, 5)] {
            let most = Case::new(64, depth, columns);
            let linear = most.pack(isa);
            for epilogue in [
                Epilogue::Bias,
                Epilogue::Activate(Activation::GeluErf),
                Epilogue::Residual(&[]),
            ] {
                let all = |rows: usize, first: usize| match epilogue {
                    Epilogue::Residual(_) => Epilogue::Residual(
                        &most.residual[first * columns..(first + rows) * columns],
                    ),
                    other => other,
                };
                let mut want = vec![0.0; 64 * columns];
                linear.apply(&Solo, &most.x, all(64, 0), &mut want).unwrap();
                for (first, rows) in ROWS
                    .into_iter()
                    .flat_map(|rows| [(0, rows), (64 - rows, rows)])
                {
                    for parts in 1..=3 {
                        let x = &most.x[first * depth..(first + rows) * depth];
                        let mut y = vec![0.0; rows * columns];
                        linear
                            .apply(&Threads(parts), x, all(rows, first), &mut y)
                            .unwrap();
                        let same = y
                            .iter()
                            .zip(&want[first * columns..])
                            .all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(
                            same,
                            "{isa}: rows {first}+{rows}, {columns} columns, {parts} parts"
                        );
                    }
                }
            }
        }
    }
}

/// A user would lose attention: query, key and value must come out side by side.
#[test]
fn stacked_layers_equal_the_layers_alone() {
    for isa in Isa::available() {
        let (depth, rows) = (19, 7);
        let sizes = [5, 12, 20];
        let x = noise(rows * depth, 9);
        let weights = sizes.map(|size| noise(size * depth, size as u64));
        let bias = noise(12, 5);
        let part = |i: usize| LinearPart {
            weight: &weights[i],
            bias: (i == 1).then_some(&bias[..]),
            out_features: sizes[i],
        };
        let together = Linear::pack_many(isa, &[part(0), part(1), part(2)], depth).unwrap();
        assert_eq!(
            (together.in_features(), together.out_features()),
            (depth, 37)
        );
        assert!(together.bytes() >= 4 * 37 * depth);
        let mut y = vec![0.0; rows * 37];
        together.apply(&Solo, &x, Epilogue::Bias, &mut y).unwrap();
        let mut first = 0;
        for (i, size) in sizes.into_iter().enumerate() {
            let part = part(i);
            let alone = Linear::pack(isa, part.weight, part.bias, size, depth).unwrap();
            let mut want = vec![0.0; rows * size];
            alone.apply(&Solo, &x, Epilogue::Bias, &mut want).unwrap();
            for row in 0..rows {
                let got = &y[row * 37 + first..][..size];
                assert_eq!(
                    got,
                    &want[row * size..][..size],
                    "{isa}: part {i} row {row}"
                );
            }
            first += size;
        }
    }
}

/// A user would lose the process, or memory that is not ours, where a model's sizes disagree.
#[test]
fn wrong_sizes_are_refused() {
    let isa = Isa::detect();
    let zero = |argument| ShapeError::Zero {
        operator: OPERATOR,
        argument,
    };
    let length = |argument, expected, found| ShapeError::Length {
        operator: OPERATOR,
        argument,
        expected,
        found,
    };
    let pack = |weight: &[f32], bias: Option<&[f32]>, columns, depth| {
        Linear::pack(isa, weight, bias, columns, depth)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(pack(&[], None, 2, 0), zero("in_features"));
    assert_eq!(pack(&[], None, 0, 2), zero("out_features"));
    assert_eq!(pack(&[0.0; 5], None, 2, 3), length("weight", 6, 5));
    assert_eq!(pack(&[0.0; 6], Some(&[0.0]), 2, 3), length("bias", 2, 1));
    let overflow = ShapeError::Overflow { operator: OPERATOR };
    assert_eq!(pack(&[], None, usize::MAX, 2), overflow);

    let linear = Linear::pack(isa, &[0.0; 6], None, 2, 3).unwrap();
    let apply = |x: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]| {
        linear.apply(&Solo, x, epilogue, y).unwrap_err()
    };
    let ragged = ShapeError::Ragged {
        operator: OPERATOR,
        argument: "x",
        width: 3,
        found: 4,
    };
    assert_eq!(apply(&[0.0; 4], Epilogue::Bias, &mut [0.0; 2]), ragged);
    assert_eq!(
        apply(&[0.0; 6], Epilogue::Bias, &mut [0.0; 2]),
        length("y", 4, 2)
    );
    let short = Epilogue::Residual(&[0.0; 3]);
    assert_eq!(
        apply(&[0.0; 6], short, &mut [0.0; 4]),
        length("residual", 4, 3)
    );
}
