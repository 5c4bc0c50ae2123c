//! From the network's output to what a user reads: labels with scores, vectors, entities.

use networks::{ProblemType, ScoreActivation, Task};
use text::entities::{Aggregation, Entity, TaggedText};

use crate::answer::Answer;
use crate::core::Core;

/// The answer to one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// A vector, `[dimensions]`.
    Embedding(Vec<f32>),
    /// Labels, best first, as many as [`Rendering`] lets through.
    Labels(Vec<LabelScore>),
    /// How well a pair matches: 0 to 1, or unbounded with raw scores.
    Score(f32),
    /// Named spans of the text, in its order.
    Entities(Vec<Entity>),
}

impl Prediction {
    /// The vector, if this is one: if the model's task is [`Task::Embed`].
    pub fn into_embedding(self) -> Option<Vec<f32>> {
        match self {
            Self::Embedding(vector) => Some(vector),
            _ => None,
        }
    }

    /// The labels, if these are such: if the model's task is [`Task::Classify`].
    pub fn into_labels(self) -> Option<Vec<LabelScore>> {
        match self {
            Self::Labels(labels) => Some(labels),
            _ => None,
        }
    }

    /// The score, if this is one: if the model's task is [`Task::Rerank`].
    pub fn into_score(self) -> Option<f32> {
        match self {
            Self::Score(score) => Some(score),
            _ => None,
        }
    }

    /// The entities, if these are such: if the model's task is [`Task::Tag`].
    pub fn into_entities(self) -> Option<Vec<Entity>> {
        match self {
            Self::Entities(entities) => Some(entities),
            _ => None,
        }
    }
}

/// A label and its score.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LabelScore {
    /// The label, as in the model's `id2label`.
    pub label: String,
    /// A probability, 0 to 1; a logit with raw scores; the value itself for a regression.
    pub score: f32,
}

/// How answers are rendered. It changes neither what is computed nor what is cached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rendering {
    /// Most labels a row. `None`: 1 where labels exclude each other, else all above the threshold.
    pub top_k: Option<usize>,
    /// Least score of a label or an entity. `None`: a probability of 0.5 (a logit of 0) where several
    /// labels may hold at once, else none.
    pub threshold: Option<f32>,
    /// Probabilities or logits.
    pub scores: Scores,
    /// How tokens become entities.
    pub aggregation: Aggregation,
}

impl Default for Rendering {
    fn default() -> Self {
        Self {
            top_k: None,
            threshold: None,
            scores: Scores::Probabilities,
            aggregation: Aggregation::Simple,
        }
    }
}

/// What scores mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Softmax over labels that exclude each other; the logistic function over ones that do not, and
    /// over the score of a pair.
    Probabilities,
    /// What the network computed.
    Raw,
}

/// The threshold of a model whose labels do not exclude each other.
const MULTI_LABEL_THRESHOLD: f32 = 0.5;

impl Core {
    pub(crate) fn render(&self, answer: &Answer, how: &Rendering) -> Prediction {
        match self.task() {
            Task::Embed => Prediction::Embedding(answer.values.to_vec()),
            Task::Rerank => Prediction::Score(self.pair_score(answer.values[0], how.scores)),
            Task::Classify => Prediction::Labels(self.labels_of(&answer.values, how)),
            Task::Tag => Prediction::Entities(self.entities_of(answer, how)),
        }
    }

    fn pair_score(&self, logit: f32, scores: Scores) -> f32 {
        match scores {
            Scores::Probabilities => match self.directory.score_activation() {
                ScoreActivation::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
                ScoreActivation::Identity => logit,
            },
            Scores::Raw => logit,
        }
    }

    fn labels_of(&self, logits: &[f32], how: &Rendering) -> Vec<LabelScore> {
        let problem = self.problem_type();
        let isa = self.executor.network().isa();
        let mut values = logits.to_vec();
        if how.scores == Scores::Probabilities {
            match problem {
                ProblemType::SingleLabel => {
                    // One row of its own length has the right shape.
                    let _ = kernels::softmax_rows(isa, &mut values, logits.len());
                }
                ProblemType::MultiLabel => kernels::sigmoid(isa, &mut values),
                ProblemType::Regression => {}
            }
        }
        let mut labels: Vec<(usize, f32)> = values.into_iter().enumerate().collect();
        let (top_k, threshold) = match (problem, how.scores) {
            // Every output of a regression is an answer; there is no best one.
            (ProblemType::Regression, _) => (usize::MAX, f32::NEG_INFINITY),
            (ProblemType::SingleLabel, _) => (1, f32::NEG_INFINITY),
            (ProblemType::MultiLabel, Scores::Probabilities) => (usize::MAX, MULTI_LABEL_THRESHOLD),
            // The logit of a probability of one half.
            (ProblemType::MultiLabel, Scores::Raw) => (usize::MAX, 0.0),
        };
        if problem != ProblemType::Regression {
            // Stable: equal scores keep the model's order of labels.
            labels.sort_by(|a, b| b.1.total_cmp(&a.1));
        }
        let threshold = how.threshold.unwrap_or(threshold);
        let kept = labels.into_iter().filter(|&(_, score)| score >= threshold);
        kept.take(how.top_k.unwrap_or(top_k))
            .map(|(index, score)| LabelScore {
                label: self.labels()[index].clone(),
                score,
            })
            .collect()
    }

    fn entities_of(&self, answer: &Answer, how: &Rendering) -> Vec<Entity> {
        // Tagging always keeps the source; without it there is no text to point into.
        let Some(source) = &answer.source else {
            return Vec::new();
        };
        let tagged = TaggedText {
            text: &source.text,
            spans: &source.spans,
            logits: &answer.values,
            labels: self.labels(),
        };
        let mut entities = text::entities::aggregate(tagged, how.aggregation);
        if let Some(threshold) = how.threshold {
            entities.retain(|entity| entity.score >= threshold);
        }
        entities
    }
}
