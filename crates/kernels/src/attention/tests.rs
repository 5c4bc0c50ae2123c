use super::*;
use crate::fixtures::{noise, same_bits};
use crate::isa::Isa;
use crate::team::tests::Threads;
use crate::team::{Solo, Team};

/// The definition, in f64.
fn reference(input: &AttentionInput<'_>) -> Vec<f64> {
    let hidden = input.heads * input.head_dim;
    let at = |token: usize, which: usize, head: usize, i: usize| {
        f64::from(input.qkv[token * 3 * hidden + which * hidden + head * input.head_dim + i])
    };
    let mut out = vec![0.0; input.qkv.len() / 3];
    let mut first = 0;
    for &length in input.lengths {
        for head in 0..input.heads {
            for query in 0..length {
                let score = |key: usize| {
                    let products = (0..input.head_dim)
                        .map(|i| at(first + query, 0, head, i) * at(first + key, 1, head, i));
                    let bias = input
                        .position_bias
                        .map_or(0.0, |PositionBias { table, span }| {
                            let span = span as i64;
                            let distance = (key as i64 - query as i64).clamp(-span, span);
                            f64::from(
                                table[head * (2 * span as usize + 1) + (distance + span) as usize],
                            )
                        });
                    products.sum::<f64>() + bias
                };
                let scores: Vec<f64> = (0..length).map(score).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                for i in 0..input.head_dim {
                    out[(first + query) * hidden + head * input.head_dim + i] = (0..length)
                        .map(|key| powers[key] / sum * at(first + key, 2, head, i))
                        .sum();
                }
            }
        }
        first += length;
    }
    out
}

fn run(isa: Isa, team: &dyn Team, input: AttentionInput<'_>) -> Vec<f32> {
    // Not zero: what is there before must not show, nor what other texts left in the scratch.
    let mut scratch = AttentionScratch {
        parts: vec![AlignedVec::from(&[f32::NAN; 999][..])],
    };
    let mut out = vec![f32::NAN; input.qkv.len() / 3];
    attention(Cpu { isa, team }, input, &mut scratch, &mut out).unwrap();
    out
}

fn assert_close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(error < 3e-6, "{what}: [{i}] is {got}, not {want}");
    }
}

/// A user would lose right answers for some head size or some length of text.
#[test]
fn texts_match_the_definition_for_all_awkward_sizes() {
    let lengths = [1, 0, 2, 5, 6, 7, 15, 16, 17, 31, 32, 33, 12];
    let tokens: usize = lengths.iter().sum();
    for isa in Isa::available() {
        for head_dim in [1, 2, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64] {
            for heads in [1, 3] {
                let qkv = noise(tokens * 3 * heads * head_dim, head_dim as u64);
                let input = AttentionInput {
                    qkv: &qkv,
                    lengths: &lengths,
                    heads,
                    head_dim,
                    position_bias: None,
                };
                let what = format!("{isa}: {heads} heads of {head_dim}");
                assert_close(&run(isa, &Solo, input), &reference(&input), &what);
            }
        }
    }
}

/// A user would lose right answers for long texts, whose queries go through in many blocks.
#[test]
fn long_texts_match_the_definition() {
    for isa in Isa::available() {
        for (length, head_dim) in [(512, 32), (513, 20), (2048, 8)] {
            let qkv = noise(length * 3 * head_dim, 11);
            let lengths = [length];
            let input = AttentionInput {
                qkv: &qkv,
                lengths: &lengths,
                heads: 1,
                head_dim,
                position_bias: None,
            };
            let what = format!("{isa}: {length} tokens");
            assert_close(&run(isa, &Threads(2), input), &reference(&input), &what);
        }
    }
}

/// A user would lose every answer of the models that know distances instead of positions.
#[test]
fn position_biases_match_the_definition() {
    let lengths = [1, 9, 40];
    let (heads, head_dim) = (2, 6);
    let qkv = noise(50 * 3 * heads * head_dim, 1);
    for isa in Isa::available() {
        for span in [0, 1, 3, 39, 128] {
            let table: Vec<f32> = noise(heads * (2 * span + 1), 2)
                .iter()
                .map(|value| 3.0 * value)
                .collect();
            let input = AttentionInput {
                qkv: &qkv,
                lengths: &lengths,
                heads,
                head_dim,
                position_bias: Some(PositionBias {
                    table: &table,
                    span,
                }),
            };
            let what = format!("{isa}: span {span}");
            assert_close(&run(isa, &Solo, input), &reference(&input), &what);
        }
    }
}

/// A user would lose promise 1: a text's bits must not depend on its neighbours or on the team.
#[test]
fn a_texts_bits_depend_on_that_text_alone() {
    let lengths = [7, 1, 33, 16, 5];
    for isa in Isa::available() {
        for head_dim in [5, 32] {
            let (heads, width) = (3, 9 * head_dim);
            let qkv = noise(62 * width, 3);
            let table = noise(heads * 9, 4);
            let position_bias = Some(PositionBias {
                table: &table,
                span: 4,
            });
            let input = AttentionInput {
                qkv: &qkv,
                lengths: &lengths,
                heads,
                head_dim,
                position_bias,
            };
            for parts in 1..=3 {
                let together = run(isa, &Threads(parts), input);
                let mut first = 0;
                for (text, &length) in lengths.iter().enumerate() {
                    let alone = AttentionInput {
                        qkv: &qkv[first * width..(first + length) * width],
                        lengths: &lengths[text..=text],
                        ..input
                    };
                    let got = &together[first * width / 3..(first + length) * width / 3];
                    let same = same_bits(&run(isa, &Solo, alone), got);
                    assert!(same, "{isa}: {length} tokens, {parts} parts");
                    first += length;
                }
            }
        }
    }
}

/// A user would lose a finite answer to large scores, or the sign that a text has none, or the
/// answers of the texts beside it.
#[test]
fn large_scores_stay_finite_and_nan_stays_in_its_text() {
    for isa in Isa::available() {
        let mut qkv = noise(20 * 3 * 4, 6);
        for (i, value) in qkv.iter_mut().enumerate() {
            if i % 12 < 8 {
                *value *= 1e4;
            }
        }
        let lengths = [9, 11];
        let input = AttentionInput {
            qkv: &qkv,
            lengths: &lengths,
            heads: 1,
            head_dim: 4,
            position_bias: None,
        };
        assert!(
            run(isa, &Solo, input)
                .iter()
                .all(|value| value.abs() <= 1.0),
            "{isa}"
        );

        let mut broken = qkv.clone();
        broken[12 * 3 + 5] = f32::NAN; // a key of the first text
        let out = run(
            isa,
            &Solo,
            AttentionInput {
                qkv: &broken,
                ..input
            },
        );
        assert!(out[..36].iter().all(|value| value.is_nan()), "{isa}");
        assert!(out[36..].iter().all(|value| value.is_finite()), "{isa}");
    }
}

/// A user would lose bounded memory: scratch must grow with the length, not with its square, and
/// must be used again.
#[test]
fn scratch_stays_small_and_is_kept() {
    let mut scratch = AttentionScratch::default();
    let qkv = vec![0.0; 4096 * 3 * 8];
    let mut out = vec![0.0; 4096 * 8];
    for lengths in [&[4096usize][..], &[1000, 3096], &[4096]] {
        let input = AttentionInput {
            qkv: &qkv,
            lengths,
            heads: 1,
            head_dim: 8,
            position_bias: None,
        };
        attention(Cpu::solo(), input, &mut scratch, &mut out).unwrap();
    }
    let bytes = scratch.bytes();
    assert!((4096 * 8..4 << 20).contains(&bytes), "{bytes}");
}

/// A user would lose the process, or read another text's memory, where sizes disagree.
#[test]
fn wrong_sizes_are_refused() {
    let good = AttentionInput {
        qkv: &[0.0; 30],
        lengths: &[2, 3],
        heads: 1,
        head_dim: 2,
        position_bias: None,
    };
    let length = |argument, expected, found| ShapeError::Length {
        operator: OPERATOR,
        argument,
        expected,
        found,
    };
    let zero = |argument| ShapeError::Zero {
        operator: OPERATOR,
        argument,
    };
    let bias = Some(PositionBias {
        table: &[0.0; 2],
        span: 1,
    });
    let cases = [
        (AttentionInput { heads: 0, ..good }, zero("heads")),
        (
            AttentionInput {
                head_dim: 0,
                ..good
            },
            zero("head_dim"),
        ),
        (
            AttentionInput {
                lengths: &[2],
                ..good
            },
            length("qkv", 12, 30),
        ),
        (AttentionInput { heads: 2, ..good }, length("qkv", 60, 30)),
        (
            AttentionInput {
                position_bias: bias,
                ..good
            },
            length("position_bias.table", 3, 2),
        ),
        (
            AttentionInput {
                lengths: &[usize::MAX, 1],
                ..good
            },
            ShapeError::Overflow { operator: OPERATOR },
        ),
    ];
    let mut scratch = AttentionScratch::default();
    for (input, want) in cases {
        assert_eq!(
            attention(Cpu::solo(), input, &mut scratch, &mut [0.0; 10]),
            Err(want)
        );
    }
    let short = attention(Cpu::solo(), good, &mut scratch, &mut [0.0; 9]);
    assert_eq!(short, Err(length("out", 10, 9)));
    let none = AttentionInput {
        qkv: &[],
        lengths: &[],
        ..good
    };
    assert_eq!(attention(Cpu::solo(), none, &mut scratch, &mut []), Ok(()));
    let empty = AttentionInput {
        qkv: &[],
        lengths: &[0, 0],
        ..good
    };
    assert_eq!(attention(Cpu::solo(), empty, &mut scratch, &mut []), Ok(()));
}
