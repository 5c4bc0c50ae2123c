//! What a model has predicted: how often each label, and how surely.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use engine::{Model, Prediction};

/// Upper bounds of the confidences that are counted.
pub(crate) const CONFIDENCES: [f32; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Counts of labels and of confidences.
#[derive(Debug)]
pub(crate) struct Tally {
    labels: BTreeMap<String, AtomicU64>,
    confidences: [AtomicU64; CONFIDENCES.len()],
    /// In millionths.
    sum: AtomicU64,
}

impl Tally {
    pub(crate) fn new(model: &Model) -> Self {
        let labels = model.directory().labels().iter().flat_map(|label| {
            // Entities carry their tags without `B-` and `I-`, unless tokens are not aggregated.
            let bare = label
                .strip_prefix("B-")
                .or_else(|| label.strip_prefix("I-"));
            [Some(label.as_str()), bare].into_iter().flatten()
        });
        Self {
            labels: labels
                .map(|label| (label.to_owned(), AtomicU64::new(0)))
                .collect(),
            confidences: Default::default(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts the best label and its score, or each entity's.
    pub(crate) fn count(&self, prediction: &Prediction) {
        match prediction {
            Prediction::Embedding(_) => {}
            Prediction::Score(score) => self.confidence(*score),
            Prediction::Labels(labels) => {
                if let Some(best) = labels.first() {
                    self.label(&best.label, best.score);
                }
            }
            Prediction::Entities(entities) => {
                for entity in entities {
                    self.label(&entity.label, entity.score);
                }
            }
        }
    }

    fn label(&self, label: &str, score: f32) {
        if let Some(count) = self.labels.get(label) {
            count.fetch_add(1, Relaxed);
        }
        self.confidence(score);
    }

    /// Raw scores are no confidences: what lies outside 0 to 1 is left out.
    fn confidence(&self, score: f32) {
        if (0.0..=1.0).contains(&score) {
            let bucket = CONFIDENCES.partition_point(|&bound| bound < score);
            self.confidences[bucket.min(CONFIDENCES.len() - 1)].fetch_add(1, Relaxed);
            self.sum.fetch_add((score * 1e6) as u64, Relaxed);
        }
    }

    /// Labels that were predicted, and how often.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self
            .labels
            .iter()
            .map(|(label, count)| (label.as_str(), count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many were up to each of [`CONFIDENCES`] and above the one before.
    pub(crate) fn confidences(&self) -> [u64; CONFIDENCES.len()] {
        std::array::from_fn(|at| self.confidences[at].load(Relaxed))
    }

    pub(crate) fn sum(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / 1e6
    }
}
