//! How alike two models answer: one as it was trained, and the same quantised.

use std::collections::HashMap;

use networks::{ProblemType, ScoreActivation, Task};
use serde::Serialize;
use text::Input;

use crate::answer::Answer;
use crate::error::{Error, RowError};
use crate::model::Model;
use crate::pipeline::Window;

/// How many rows of the same query each is compared with: more would take time by the square.
const NEIGHBOURS: usize = 64;

/// How alike two models answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Rows that both have answered.
    pub rows: usize,
    /// Rows that one of them could not answer; they count for nothing else.
    pub failed: usize,
    /// How alike the answers are.
    #[serde(flatten)]
    pub likeness: Likeness,
}

/// How alike answers are, in the terms of the task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Likeness {
    /// Cosines between the two vectors of each row.
    Vectors {
        /// Their mean.
        mean: f64,
        /// A hundredth of the rows has less.
        low: f64,
        /// The least.
        least: f64,
    },
    /// Labels: of texts, of tokens, or of the two answers yes and no that each of several labels has.
    Labels {
        /// The share of equal ones.
        same: f64,
        /// The largest difference of two probabilities.
        difference: f64,
        /// How often each is right, where the right labels are known.
        accuracy: Option<Accuracy>,
    },
    /// Scores of pairs.
    Scores {
        /// The share of passages of the same query that both put in the same order. Where no query has two
        /// passages, of all pairs.
        order: f64,
        /// The mean difference of two scores.
        mean_difference: f64,
        /// The largest difference of two scores.
        difference: f64,
    },
    /// The numbers of a regression.
    Numbers {
        /// Their correlation (Pearson's).
        correlation: f64,
        /// The largest difference of two numbers.
        difference: f64,
    },
}

/// The share of rows with the right label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Of the model as it was trained.
    pub exact: f64,
    /// Of the quantised one.
    pub quantized: f64,
    /// Rows whose right label is none of the model's; both are wrong there.
    pub unknown: usize,
}

impl Agreement {
    /// One number, 1 for equal answers: the mean cosine, the share of equal labels or of equal order, or the
    /// correlation.
    pub fn value(&self) -> f64 {
        match self.likeness {
            Likeness::Vectors { mean, .. } => mean,
            Likeness::Labels { same, .. } => same,
            Likeness::Scores { order, .. } => order,
            Likeness::Numbers { correlation, .. } => correlation,
        }
    }
}

/// Runs two models over the same rows and compares their answers. Memory grows by a few bytes a row.
#[derive(Debug)]
pub struct Comparison {
    exact: Model,
    quantized: Model,
    rows: usize,
    failed: usize,
    gathered: Gathered,
}

/// What is known of all rows so far, in the terms of the task.
#[derive(Debug)]
enum Gathered {
    Cosines(Vec<f64>),
    Labels(LabelCounts),
    /// By the first text of the pair.
    Scores(HashMap<String, Vec<[f32; 2]>>),
    Numbers(Vec<[f32; 2]>),
}

#[derive(Debug, Default)]
struct LabelCounts {
    compared: usize,
    same: usize,
    difference: f64,
    labelled: usize,
    right: [usize; 2],
    unknown: usize,
}

impl Comparison {
    /// Compares a model as it was trained with a quantised one.
    ///
    /// # Errors
    /// If they do not run the same task with the same labels.
    pub fn new(exact: &Model, quantized: &Model) -> Result<Comparison, Error> {
        let (task, labels) = (exact.task(), exact.directory().labels());
        if quantized.task() != task || quantized.directory().labels() != labels {
            return Err(Error::WrongTask {
                model: quantized.name().to_owned(),
                model_task: quantized.task(),
                asked: task,
            });
        }
        let gathered = match task {
            Task::Embed => Gathered::Cosines(Vec::new()),
            Task::Tag => Gathered::Labels(LabelCounts::default()),
            Task::Rerank => Gathered::Scores(HashMap::new()),
            Task::Classify => match exact.directory().problem_type() {
                ProblemType::Regression => Gathered::Numbers(Vec::new()),
                _ => Gathered::Labels(LabelCounts::default()),
            },
        };
        Ok(Comparison {
            exact: exact.clone(),
            quantized: quantized.clone(),
            rows: 0,
            failed: 0,
            gathered,
        })
    }

    /// Runs both models over some rows. `labels` are the right ones where they are known: one a row, or none
    /// at all; only classifiers whose labels exclude each other take notice of them.
    pub fn add(&mut self, rows: Vec<Input>, labels: &[String]) {
        let exact = answers(&self.exact, rows.clone());
        let quantized = answers(&self.quantized, rows.clone());
        for (row, (input, pair)) in rows
            .iter()
            .zip(exact.into_iter().zip(quantized))
            .enumerate()
        {
            match pair {
                (Ok(exact), Ok(quantized)) => {
                    self.rows += 1;
                    let label = labels.get(row).map(String::as_str);
                    self.compare(input, label, &exact.values, &quantized.values);
                }
                _ => self.failed += 1,
            }
        }
    }

    fn compare(&mut self, input: &Input, right: Option<&str>, exact: &[f32], quantized: &[f32]) {
        let directory = self.exact.directory();
        match &mut self.gathered {
            Gathered::Cosines(cosines) => cosines.push(cosine(exact, quantized)),
            Gathered::Numbers(numbers) => {
                let both = exact.iter().zip(quantized);
                numbers.extend(both.map(|(&exact, &quantized)| [exact, quantized]));
            }
            Gathered::Scores(scores) => {
                let query = match input {
                    Input::Text(text) | Input::Pair(text, _) => text.clone(),
                };
                let score = |logits: &[f32]| {
                    let logit = logits.first().copied().unwrap_or(f32::NAN);
                    match directory.score_activation() {
                        ScoreActivation::Sigmoid => sigmoid(logit) as f32,
                        ScoreActivation::Identity => logit,
                    }
                };
                let both = [score(exact), score(quantized)];
                scores.entry(query).or_default().push(both);
            }
            Gathered::Labels(counts) => {
                let width = directory.labels().len().max(1);
                if directory.problem_type() == ProblemType::MultiLabel
                    && self.exact.task() == Task::Classify
                {
                    for (&exact, &quantized) in exact.iter().zip(quantized) {
                        counts.compared += 1;
                        counts.same += usize::from((exact >= 0.0) == (quantized >= 0.0));
                        counts.differ(sigmoid(exact), sigmoid(quantized));
                    }
                    return;
                }
                for (exact, quantized) in exact.chunks(width).zip(quantized.chunks(width)) {
                    let best = [largest(exact), largest(quantized)];
                    counts.compared += 1;
                    counts.same += usize::from(best[0] == best[1]);
                    for (exact, quantized) in softmax(exact).zip(softmax(quantized)) {
                        counts.differ(exact, quantized);
                    }
                    if let Some(right) = right {
                        let right = directory.labels().iter().position(|it| it == right);
                        counts.labelled += 1;
                        counts.unknown += usize::from(right.is_none());
                        for (count, best) in counts.right.iter_mut().zip(best) {
                            *count += usize::from(Some(best) == right);
                        }
                    }
                }
            }
        }
    }

    /// What was found. Without rows, answers count as equal.
    pub fn finish(self) -> Agreement {
        let likeness = match self.gathered {
            Gathered::Cosines(cosines) => vectors(cosines),
            Gathered::Labels(counts) => Likeness::Labels {
                same: share(counts.same, counts.compared),
                difference: counts.difference,
                accuracy: (counts.labelled > 0).then(|| Accuracy {
                    exact: share(counts.right[0], counts.labelled),
                    quantized: share(counts.right[1], counts.labelled),
                    unknown: counts.unknown,
                }),
            },
            Gathered::Scores(by_query) => scores(by_query.into_values().collect()),
            Gathered::Numbers(numbers) => Likeness::Numbers {
                correlation: correlation(&numbers),
                difference: largest_difference(&numbers),
            },
        };
        Agreement {
            rows: self.rows,
            failed: self.failed,
            likeness,
        }
    }
}

impl LabelCounts {
    fn differ(&mut self, exact: f64, quantized: f64) {
        self.difference = self.difference.max((exact - quantized).abs());
    }
}

fn answers(model: &Model, rows: Vec<Input>) -> Vec<Result<Answer, RowError>> {
    let window = Window {
        rows: rows.into_iter().map(Ok).collect(),
        payload: (),
    };
    let windows = model.run_windows(std::iter::once(window));
    windows.flat_map(|window| window.answers).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    // Two vectors of nothing are alike.
    if lengths == 0.0 && a == b {
        1.0
    } else {
        dot(a, b) / lengths
    }
}

fn vectors(mut cosines: Vec<f64>) -> Likeness {
    cosines.sort_by(f64::total_cmp);
    let at = |index: usize| cosines.get(index).copied().unwrap_or(1.0);
    Likeness::Vectors {
        mean: match cosines.len() {
            0 => 1.0,
            count => cosines.iter().sum::<f64>() / count as f64,
        },
        low: at(cosines.len().saturating_sub(1) / 100),
        least: at(0),
    }
}

fn scores(mut queries: Vec<Vec<[f32; 2]>>) -> Likeness {
    if queries.iter().all(|passages| passages.len() < 2) {
        queries = vec![queries.concat()];
    }
    let (mut compared, mut same) = (0, 0);
    for passages in &queries {
        for (index, one) in passages.iter().enumerate() {
            for other in passages.iter().skip(index + 1).take(NEIGHBOURS) {
                let order = |model: usize| one[model].total_cmp(&other[model]);
                compared += 1;
                same += usize::from(order(0) == order(1));
            }
        }
    }
    let all = queries.concat();
    let differences = all.iter().map(|both| f64::from((both[0] - both[1]).abs()));
    Likeness::Scores {
        order: share(same, compared),
        mean_difference: differences.sum::<f64>() / all.len().max(1) as f64,
        difference: largest_difference(&all),
    }
}

fn largest_difference(pairs: &[[f32; 2]]) -> f64 {
    let differences = pairs
        .iter()
        .map(|both| f64::from((both[0] - both[1]).abs()));
    differences.fold(0.0, f64::max)
}

fn correlation(pairs: &[[f32; 2]]) -> f64 {
    let count = pairs.len().max(1) as f64;
    let mean = |model: usize| pairs.iter().map(|both| f64::from(both[model])).sum::<f64>() / count;
    let means = [mean(0), mean(1)];
    let moment = |a: usize, b: usize| -> f64 {
        let off = |both: &[f32; 2], model: usize| f64::from(both[model]) - means[model];
        pairs.iter().map(|both| off(both, a) * off(both, b)).sum()
    };
    let spread = (moment(0, 0) * moment(1, 1)).sqrt();
    // Numbers that do not vary have no correlation; they are alike or they are not.
    if spread > 0.0 {
        moment(0, 1) / spread
    } else {
        f64::from(u8::from(pairs.iter().all(|both| both[0] == both[1])))
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

fn softmax(logits: &[f32]) -> impl Iterator<Item = f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let power = move |logit: &f32| f64::from(logit - most).exp();
    let sum: f64 = logits.iter().map(power).sum();
    logits.iter().map(move |logit| power(logit) / sum)
}

/// Where the first of the largest values is.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model would be kept, or refused, for a figure that says something else.
    #[test]
    fn figures_are_what_they_are_called() {
        assert!((cosine(&[1.0, 0.0], &[1.0, 1.0]) - 0.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(cosine(&[0.0], &[0.0]), 1.0);
        assert!(cosine(&[0.0], &[1.0]).is_nan());

        let cosines = (0..200).rev().map(|n| f64::from(n) / 200.0).collect();
        let Likeness::Vectors { mean, low, least } = vectors(cosines) else {
            panic!("vectors")
        };
        assert!((mean - 0.4975).abs() < 1e-12);
        assert_eq!((low, least), (0.005, 0.0));

        // One query with three passages of which two change places; the other query's do not count.
        let queries = vec![vec![[0.9, 0.9], [0.5, 0.2], [0.4, 0.3]], vec![[0.1, 0.95]]];
        let Likeness::Scores {
            order, difference, ..
        } = scores(queries)
        else {
            panic!("scores")
        };
        assert!((order - 2.0 / 3.0).abs() < 1e-12);
        assert!((difference - 0.85).abs() < 1e-6);
        // Without two passages of a query, all are compared.
        let alone = vec![vec![[0.1, 0.2]], vec![[0.3, 0.1]]];
        assert!(matches!(scores(alone), Likeness::Scores { order, .. } if order == 0.0));

        assert!((correlation(&[[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]) + 1.0).abs() < 1e-12);
        assert_eq!(correlation(&[[1.0, 1.0]]), 1.0);
        assert_eq!(correlation(&[[1.0, 2.0]]), 0.0);
        assert_eq!((largest(&[1.0, 3.0, 3.0]), share(0, 0)), (1, 1.0));
    }
}
