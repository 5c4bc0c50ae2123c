use super::*;
use crate::activation::Activation;
use crate::activation::tests::{ALL, reference as activated};
use crate::fixtures::{noise, same_bits};
use crate::memory::AlignedVec;
use crate::simd::integer::{Dot, GROUP, IntegerOperation, LANE_BOUND};
use crate::team::Solo;
use crate::team::tests::Threads;
use std::sync::Arc;

const WIDTHS: [Width; 2] = [Width::Int16, Width::Int8];

/// The largest value of an 8-bit row.
struct Levels;

impl IntegerOperation for Levels {
    type Output = i32;

    #[inline(always)]
    fn run<D: Dot>(self, _dot: D) -> i32 {
        D::LEVELS
    }
}

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

    fn part(&self) -> LinearPart<'_> {
        LinearPart {
            weight: &self.weight,
            bias: Some(&self.bias),
            out_features: self.columns,
        }
    }

    fn pack(&self, isa: Isa, width: Width) -> IntegerLinear {
        IntegerLinear::pack(isa, width, &[self.part()], self.depth).unwrap()
    }

    fn run(&self, layer: &IntegerLinear, team: &dyn Team, epilogue: Epilogue<'_>) -> Vec<f32> {
        // Neither is zero: what is there before must not show.
        let mut y = vec![f32::NAN; self.rows * self.columns];
        let mut scratch = QuantizeScratch::default();
        layer
            .apply(team, &self.x, epilogue, &mut scratch, &mut y)
            .unwrap();
        y
    }

    /// The scheme, written plainly: integers summed exactly, then f32 in the kernel's order. Bias and
    /// residual leave no room for other bits.
    fn reference(&self, layer: &IntegerLinear, epilogue: Epilogue<'_>) -> Vec<f32> {
        let parts = layer.parts();
        let levels = dispatch_integer(layer.isa, Levels);
        let integers = integers(layer);
        let mut y = Vec::new();
        for row in 0..self.rows {
            let x = &self.x[row * self.depth..][..self.depth];
            let sums: Vec<f32> = match layer.width() {
                Width::Int8 => sums8(x, parts, levels, &integers),
                Width::Int16 => sums16(x, parts, &integers),
            };
            for (column, sum) in sums.into_iter().enumerate() {
                let value = sum + self.bias[column];
                y.push(match epilogue {
                    Epilogue::Bias => value,
                    Epilogue::Activate(f) => activated(f, f64::from(value)) as f32,
                    Epilogue::Residual(residual) => value + residual[row * self.columns + column],
                });
            }
        }
        y
    }
}

/// The integer weights, `[out][in]`, found from what they are worth.
fn integers(layer: &IntegerLinear) -> Vec<i64> {
    let scales = &layer.parts().scales;
    let rows = layer.dequantized();
    let rows = rows.chunks(layer.in_features()).zip(scales.iter());
    rows.flat_map(|(row, &scale)| {
        let scale = if scale == 0.0 { 1.0 } else { scale };
        row.iter()
            .map(move |&weight| (weight / scale).round() as i64)
    })
    .collect()
}

fn sums8(x: &[f32], parts: &IntegerParts, levels: i32, integers: &[i64]) -> Vec<f32> {
    let spans: Vec<[f32; 2]> = x
        .chunks(parts.block)
        .map(|x| {
            let low = x.iter().fold(0.0f32, |low, &x| low.min(x));
            let high = x.iter().fold(0.0f32, |high, &x| high.max(x));
            [low, high - low]
        })
        .collect();
    let widest = spans.iter().fold(0.0f32, |most, span| most.max(span[1]));
    let limit = parts.factor_limit as f32;
    let mut scale = widest / (levels as f32 * limit);
    let mut row = Vec::new();
    for (x, [low, width]) in x.chunks(parts.block).zip(spans) {
        let factor = (width * (limit / widest) + 0.5).round_ties_even();
        let factor = factor.clamp(1.0, limit);
        let inverse = 1.0 / (scale * factor);
        let zero = (-low * inverse).round_ties_even().min(levels as f32);
        row.extend(x.iter().map(|x| {
            let level = ((x * inverse).round_ties_even() + zero).clamp(0.0, levels as f32);
            factor as i64 * (level - zero) as i64
        }));
    }
    if widest < 1e-30 {
        (scale, row) = (0.0, vec![0; x.len()]);
    }
    if x.iter().any(|x| !x.is_finite()) || widest.is_infinite() {
        scale = f32::NAN;
    }
    let columns = integers.chunks(x.len()).zip(parts.scales.iter());
    columns
        .map(|(column, &of_column)| {
            let sum: i64 = column.iter().zip(&row).map(|(a, b)| a * b).sum();
            i32::try_from(sum).expect("no overflow") as f32 * (scale * of_column)
        })
        .collect()
}

fn sums16(x: &[f32], parts: &IntegerParts, integers: &[i64]) -> Vec<f32> {
    let columns = integers.chunks(x.len()).zip(parts.scales.iter());
    let blocks = |column: &[i64]| -> f32 {
        let blocks = x.chunks(parts.block).zip(column.chunks(parts.block));
        let blocks = blocks.map(|(x, weights)| {
            let largest = x.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let poisoned = x.iter().any(|x| !x.is_finite());
            if poisoned || largest < 1e-30 {
                return if poisoned { f32::NAN } else { 0.0 };
            }
            let scale = largest / 8191.0;
            let level = |x: &f32| (x * (8191.0 / largest)).round_ties_even() as i64;
            let sum: i64 = x.iter().zip(weights).map(|(x, w)| level(x) * w).sum();
            i32::try_from(sum).expect("no overflow") as f32 * scale
        });
        blocks.reduce(|a, b| a + b).unwrap()
    };
    columns
        .map(|(column, &scale)| blocks(column) * scale)
        .collect()
}

fn assert_same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got == want || (got.is_nan() && want.is_nan());
        assert!(same, "{what}: [{i}] is {got}, not {want}");
    }
}

const ROWS: [usize; 8] = [0, 1, 2, 3, 4, 7, 9, 17];

/// A user would lose right answers for some model's width or some number of tokens.
#[test]
fn products_are_the_integers_own_for_all_awkward_sizes() {
    for (isa, width) in pairs() {
        for depth in [1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 64, 65, 127, 200] {
            for columns in [1, 15, 16, 17, 32, 33, 70] {
                for rows in ROWS {
                    let case = Case::new(rows, depth, columns);
                    let layer = case.pack(isa, width);
                    let want = case.reference(&layer, Epilogue::Bias);
                    let got = case.run(&layer, &Solo, Epilogue::Bias);
                    let what = format!("{isa}, {width:?}: {rows} × {depth} × {columns}");
                    assert_same(&got, &want, &what);
                }
            }
        }
    }
}

fn pairs() -> impl Iterator<Item = (Isa, Width)> {
    let isas = Isa::available().into_iter();
    isas.flat_map(|isa| WIDTHS.map(|width| (isa, width)))
}

/// A user would lose right answers where K needs several segments, or rows several blocks.
#[test]
fn products_are_the_integers_own_over_block_boundaries() {
    for (isa, width) in pairs() {
        for (rows, depth, columns) in [
            (7, 383, 17),
            (7, 384, 32),
            (5, 385, 33),
            (9, 511, 20),
            (9, 513, 20),
            (3, 1536, 40),
            (2, 3075, 9),
            (95, 9, 5),
            (97, 600, 17),
            (200, 9, 33),
        ] {
            let case = Case::new(rows, depth, columns);
            let layer = case.pack(isa, width);
            for epilogue in [Epilogue::Bias, Epilogue::Residual(&case.residual)] {
                let want = case.reference(&layer, epilogue);
                let got = case.run(&layer, &Solo, epilogue);
                let what = format!("{isa}, {width:?}: {rows} × {depth} × {columns}");
                assert_same(&got, &want, &what);
            }
        }
    }
}

/// A user would lose right answers with another block than the usual.
#[test]
fn every_block_gives_the_integers_own_products() {
    for isa in Isa::available() {
        for block in [16, 32, 48, 64, 128, 240, 256] {
            let case = Case::new(5, 700, 33);
            let layer =
                IntegerLinear::pack_blocks(isa, Width::Int8, block, &[case.part()], 700).unwrap();
            let want = case.reference(&layer, Epilogue::Bias);
            let got = case.run(&layer, &Solo, Epilogue::Bias);
            assert_same(&got, &want, &format!("{isa}: block {block}"));
        }
    }
}

/// A user would lose right answers of the layers that end in an activation or a residual.
#[test]
fn epilogues_match_the_definition() {
    for (isa, width) in pairs() {
        for (rows, depth, columns) in [(13, 20, 32), (8, 20, 19), (3, 800, 37)] {
            let case = Case::new(rows, depth, columns);
            let layer = case.pack(isa, width);
            for activation in ALL {
                let want = case.reference(&layer, Epilogue::Activate(activation));
                let got = case.run(&layer, &Solo, Epilogue::Activate(activation));
                let tolerance = match (width, activation) {
                    (Width::Int8, Activation::GeluErf) => 1.8e-4,
                    _ => 2e-6,
                };
                for (got, want) in got.iter().zip(want) {
                    let close = (got - want).abs() <= tolerance * (1.0 + want.abs());
                    assert!(close, "{isa}, {width:?}: {activation:?} {got}, not {want}");
                }
            }
        }
    }
}

/// A user would lose all answers to sums that overflow, where rows and weights are at their limits.
#[test]
fn extremes_neither_saturate_nor_overflow() {
    let signs: [&dyn Fn(usize) -> f32; 5] = [
        &|_| 1.0,
        &|_| -1.0,
        &|k| if k % 2 == 0 { 1.0 } else { -1.0 },
        &|k| if k % 4 < 2 { 1.0 } else { -1.0 },
        &|k| if k % 32 < 16 { 1.0 } else { -0.001 },
    ];
    for (isa, width) in pairs() {
        for depth in [16, 64, 385, 1536, 4096] {
            let rows: Vec<f32> = signs
                .iter()
                .flat_map(|sign| (0..depth).map(move |k| 3.0 * sign(k)))
                .collect();
            let mut case = Case::new(signs.len(), depth, 2 * signs.len());
            case.x = rows.clone();
            case.weight = [rows.clone(), rows.iter().map(|x| -x).collect()].concat();
            let layer = case.pack(isa, width);
            let want = case.reference(&layer, Epilogue::Bias);
            let got = case.run(&layer, &Solo, Epilogue::Bias);
            assert_same(&got, &want, &format!("{isa}, {width:?}: {depth}"));
            if width == Width::Int8 {
                assert!(layer.parts().reduced > 0, "full lanes exceed their bound");
            }
        }
    }
}

/// A user would lose exactness without a sign: a lane whose sum leaves 16 bits saturates or wraps.
#[test]
fn lanes_are_bounded_by_the_least_change() {
    let isa = Isa::detect();
    let mut weights = vec![127i8; 3 * 40];
    weights[40..80].fill(-128);
    weights[80..].copy_from_slice(
        &noise(40, 5)
            .iter()
            .map(|x| (x * 90.0) as i8)
            .collect::<Vec<_>>(),
    );
    let layer = IntegerLinear::pack_int8(isa, 64, &weights, &[1.0, 0.5, 2.0], None, 40).unwrap();
    let kept = integers(&layer);
    for (column, (kept, asked)) in kept.chunks(40).zip(weights.chunks(40)).enumerate() {
        for (kept, asked) in kept.chunks(GROUP).zip(asked.chunks(GROUP)) {
            for lane in [0, 2] {
                for sign in [1, -1] {
                    let sum = |values: &dyn Fn(usize) -> i64| -> i64 {
                        let places = (0..kept.len()).filter(|k| k % 4 / 2 * 2 == lane);
                        places.map(|k| (sign * values(k)).max(0)).sum()
                    };
                    let asked = sum(&|k| i64::from(asked[k].max(-127)));
                    let bound = i64::from(LANE_BOUND);
                    assert_eq!(sum(&|k| kept[k]), asked.min(bound), "column {column}");
                }
            }
        }
    }
    // The first two columns: of 8 weights a lane, all lost something; the third holds small ones.
    assert_eq!(layer.parts().reduced, 80);
}

/// A user would lose promise 1: a row's bits must not depend on its neighbours, on the number of
/// rows, or on the team.
#[test]
fn a_rows_bits_depend_on_that_row_alone() {
    for (isa, width) in pairs() {
        for (depth, columns) in [(33, 48), (800, 37), (17, 5)] {
            let most = Case::new(100, depth, columns);
            let layer = most.pack(isa, width);
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
                let mut scratch = QuantizeScratch::default();
                let mut want = vec![0.0; 100 * columns];
                layer
                    .apply(&Solo, &most.x, all(100, 0), &mut scratch, &mut want)
                    .unwrap();
                for (first, rows) in [1, 2, 3, 4, 5, 9, 30, 60, 99, 100]
                    .into_iter()
                    .flat_map(|rows| [(0, rows), (100 - rows, rows)])
                {
                    for parts in 1..=3 {
                        let x = &most.x[first * depth..(first + rows) * depth];
                        let mut y = vec![0.0; rows * columns];
                        let epilogue = all(rows, first);
                        layer
                            .apply(&Threads(parts), x, epilogue, &mut scratch, &mut y)
                            .unwrap();
                        assert!(
                            same_bits(&y, &want[first * columns..][..rows * columns]),
                            "{isa}, {width:?}: rows {first}+{rows}, {columns} columns, {parts} parts"
                        );
                    }
                }
            }
        }
    }
}

/// A user would lose the sameness of answers on machines whose rows have as many levels.
#[test]
fn instruction_sets_agree_bit_for_bit() {
    for width in WIDTHS {
        let case = Case::new(13, 900, 70);
        let want = case.run(&case.pack(Isa::Scalar, width), &Solo, Epilogue::Bias);
        for isa in Isa::available() {
            let levels = |isa| dispatch_integer(isa, Levels);
            if width == Width::Int16 || levels(isa) == levels(Isa::Scalar) {
                let got = case.run(&case.pack(isa, width), &Solo, Epilogue::Bias);
                assert!(same_bits(&got, &want), "{isa}, {width:?}");
            }
        }
    }
}

/// A user would lose the sign that the model gave no number, or a row's answer to its neighbour's.
#[test]
fn rows_without_numbers_give_none_and_spoil_no_other() {
    for (isa, width) in pairs() {
        for depth in [5, 64, 500] {
            let sound = Case::new(9, depth, 33);
            let layer = sound.pack(isa, width);
            let want = sound.run(&layer, &Solo, Epilogue::Bias);
            for (row, place, value) in [
                (0, 0, f32::NAN),
                (4, depth - 1, f32::INFINITY),
                (8, depth / 2, f32::NEG_INFINITY),
            ] {
                let mut case = Case::new(9, depth, 33);
                case.x[row * depth + place] = value;
                let got = case.run(&layer, &Solo, Epilogue::Bias);
                for (i, (got, want)) in got.chunks(33).zip(want.chunks(33)).enumerate() {
                    let right = if i == row {
                        got.iter().all(|value| value.is_nan())
                    } else {
                        same_bits(got, want)
                    };
                    assert!(right, "{isa}, {width:?}: {value} in row {row}, seen in {i}");
                }
            }
        }
    }
}

/// A user would lose plain cases: rows of zeroes, of one value, of the smallest and largest numbers.
#[test]
fn odd_rows_keep_their_values() {
    for (isa, width) in pairs() {
        let depth = 100;
        for value in [0.0, 1.0, -1.0, 1e-38, 1e-29, -1e29, 1e-20] {
            let mut case = Case::new(1, depth, 3);
            case.x = vec![value; depth];
            case.bias = vec![0.0; 3];
            let layer = case.pack(isa, width);
            let got = case.run(&layer, &Solo, Epilogue::Bias);
            let weights = layer.dequantized();
            for (column, &got) in got.iter().enumerate() {
                let sum: f64 = weights[column * depth..][..depth]
                    .iter()
                    .map(|&weight| f64::from(weight))
                    .sum();
                let want = if value == 1e-38 {
                    0.0
                } else {
                    sum * f64::from(value)
                };
                let error = (f64::from(got) - want).abs();
                assert!(
                    error <= 1e-5 * want.abs(),
                    "{isa}, {width:?}: {value}: {got}, not {want}"
                );
            }
        }
        let mut case = Case::new(1, 64, 2);
        case.weight[..64].fill(0.0);
        case.weight[64] = f32::NAN;
        let got = case.run(&case.pack(isa, width), &Solo, Epilogue::Bias);
        assert_eq!(got[0], case.bias[0], "{isa}, {width:?}");
        assert!(got[1].is_nan(), "{isa}, {width:?}");
    }
}

/// A user would lose accuracy: the error must be that of rounding, no more.
#[test]
fn products_are_near_those_of_f32() {
    for (isa, width) in pairs() {
        // Rows with an outlier, as transformers have them: it may cost its own block its digits.
        let (rows, depth, columns) = (6, 512, 40);
        let mut case = Case::new(rows, depth, columns);
        for row in 0..rows {
            case.x[row * depth + 70] = 20.0;
        }
        // And weights nearly normal: sums of four.
        let four = noise(4 * columns * depth, 6);
        case.weight = four.chunks(4).map(|four| four.iter().sum()).collect();
        let got = case.run(&case.pack(isa, width), &Solo, Epilogue::Bias);
        let mut error = 0.0;
        let mut magnitude = 0.0;
        for row in 0..rows {
            for column in 0..columns {
                let x = &case.x[row * depth..][..depth];
                let w = &case.weight[column * depth..][..depth];
                let products = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let want: f64 = products.sum::<f64>() + f64::from(case.bias[column]);
                error += (f64::from(got[row * columns + column]) - want).powi(2);
                magnitude += want.powi(2);
            }
        }
        let relative = (error / magnitude).sqrt();
        let allowed = match width {
            Width::Int16 => 1e-3,
            // One scale for the row would give 4.5e-2.
            Width::Int8 => 2.5e-2,
        };
        assert!(relative < allowed, "{isa}, {width:?}: {relative:e}");
    }
}

/// A user would lose a quantised model's file: what is written must come back, from any memory.
#[test]
fn parts_come_back() {
    for (isa, width) in pairs() {
        let case = Case::new(5, 130, 37);
        let layer = case.pack(isa, width);
        let want = case.run(&layer, &Solo, Epilogue::Bias);
        let mut parts = layer.parts().clone();
        // One byte off: vectors of a map may lie anywhere.
        let mut map = vec![7u8];
        map.extend_from_slice(&parts.weights);
        let range = 1..map.len();
        parts.weights = PackedBytes::shared(Arc::new(map), range).unwrap();
        let again = IntegerLinear::from_parts(isa, parts.clone()).unwrap();
        let got = case.run(&again, &Solo, Epilogue::Bias);
        assert!(same_bits(&got, &want), "{isa}, {width:?}");
        assert_eq!(again.dequantized(), layer.dequantized());
        assert_eq!(again.bytes(), layer.bytes());
        assert_eq!((again.in_features(), again.out_features()), (130, 37));

        parts.scales = AlignedVec::new_zeroed(3);
        let error = IntegerLinear::from_parts(isa, parts).unwrap_err();
        assert!(error.to_string().contains("scales"), "{error}");
        assert!(PackedBytes::shared(Arc::new([0u8; 4]), 2..5).is_err());
    }
}

/// A user would lose attention: query, key and value must come out side by side.
#[test]
fn stacked_layers_equal_the_layers_alone() {
    for (isa, width) in pairs() {
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
        let run = |parts: &[LinearPart<'_>], columns: usize| {
            let layer = IntegerLinear::pack(isa, width, parts, depth).unwrap();
            let mut y = vec![0.0; rows * columns];
            let mut scratch = QuantizeScratch::default();
            layer
                .apply(&Solo, &x, Epilogue::Bias, &mut scratch, &mut y)
                .unwrap();
            y
        };
        let y = run(&[part(0), part(1), part(2)], 37);
        let mut first = 0;
        for (i, size) in sizes.into_iter().enumerate() {
            let want = run(&[part(i)], size);
            for row in 0..rows {
                let (got, want) = (&y[row * 37 + first..][..size], &want[row * size..][..size]);
                if width == Width::Int16 {
                    assert_eq!(got, want, "{isa}: part {i} row {row}");
                } else {
                    // Factors depend on the heaviest column of all.
                    let near = got.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.2);
                    assert!(near, "{isa}: part {i} row {row}");
                }
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
    for width in WIDTHS {
        let pack = |weight: &[f32], bias: Option<&[f32]>, out_features, depth| {
            let part = LinearPart {
                weight,
                bias,
                out_features,
            };
            IntegerLinear::pack(isa, width, &[part], depth)
                .map(|_| ())
                .unwrap_err()
        };
        assert_eq!(pack(&[], None, 2, 0), zero("in_features"));
        assert_eq!(pack(&[], None, 0, 2), zero("out_features"));
        assert_eq!(pack(&[0.0; 5], None, 2, 3), length("weight", 6, 5));
        assert_eq!(pack(&[0.0; 6], Some(&[0.0]), 2, 3), length("bias", 2, 1));
        let overflow = ShapeError::Overflow { operator: OPERATOR };
        assert_eq!(pack(&[], None, usize::MAX, 2), overflow);

        let part = LinearPart {
            weight: &[0.0; 6],
            bias: None,
            out_features: 2,
        };
        let layer = IntegerLinear::pack(isa, width, &[part], 3).unwrap();
        let apply = |x: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]| {
            let mut scratch = QuantizeScratch::default();
            layer
                .apply(&Solo, x, epilogue, &mut scratch, y)
                .unwrap_err()
        };
        let ragged = ShapeError::Ragged {
            operator: OPERATOR,
            argument: "x",
            width: 3,
            found: 4,
        };
        assert_eq!(apply(&[0.0; 4], Epilogue::Bias, &mut [0.0; 2]), ragged);
        let wrong = apply(&[0.0; 6], Epilogue::Bias, &mut [0.0; 2]);
        assert_eq!(wrong, length("y", 4, 2));
        let short = Epilogue::Residual(&[0.0; 3]);
        let wrong = apply(&[0.0; 6], short, &mut [0.0; 4]);
        assert_eq!(wrong, length("residual", 4, 3));
    }
    for block in [0, 8, 17, 272] {
        let case = Case::new(1, 20, 2);
        assert!(
            IntegerLinear::pack_blocks(isa, Width::Int8, block, &[case.part()], 20).is_err(),
            "{block}"
        );
    }
    assert_eq!(
        IntegerLinear::pack_int8(isa, 64, &[1; 5], &[1.0; 2], None, 3).map(|_| ()),
        Err(length("weight", 6, 5))
    );
}
