//! The words for what a model does: its task, how its scores are meant, how its vectors are scaled.

use std::fmt;
use std::str::FromStr;

/// What a model does with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task {
    /// One vector a text.
    Embed,
    /// One score a label for every text.
    Classify,
    /// One relevance score for every pair of texts.
    Rerank,
    /// One score a label for every token.
    Tag,
}

impl Task {
    /// Every task, in the order in which help texts list them.
    pub const ALL: [Task; 4] = [Task::Embed, Task::Classify, Task::Rerank, Task::Tag];

    /// The task's name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Task::Embed => "embed",
            Task::Classify => "classify",
            Task::Rerank => "rerank",
            Task::Tag => "tag",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = String;

    /// The inverse of [`Task::name`].
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Task::ALL
            .into_iter()
            .find(|task| task.name() == word)
            .ok_or_else(|| {
                format!(
                    "`{word}` is no task; tasks are {}",
                    crate::error::list(Task::ALL)
                )
            })
    }
}

/// How the scores of a classifier are meant (`problem_type` of `config.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemType {
    /// Exactly one label is right: softmax over the logits.
    SingleLabel,
    /// Any number of labels is right: a sigmoid for each logit.
    MultiLabel,
    /// The logits are the answer.
    Regression,
}

/// What turns a pair scorer's raw logit into its score, as the model's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreActivation {
    /// `1 / (1 + exp(-x))`: the default of sentence-transformers' `CrossEncoder` for one label.
    Sigmoid,
    /// The logit itself.
    Identity,
}

/// Whether embeddings are scaled to length one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// Divide by the Euclidean norm; a zero vector stays zero.
    Yes,
    /// Leave the vectors as the model makes them.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose `--task NAME`: every name must be understood again.
    #[test]
    fn names_round_trip() {
        for task in Task::ALL {
            assert_eq!(task.name().parse(), Ok(task));
        }
        assert_eq!(
            "generate".parse::<Task>(),
            Err("`generate` is no task; tasks are embed, classify, rerank and tag".to_owned())
        );
    }
}
