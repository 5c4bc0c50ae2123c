//! What makes a job the same job again: everything that decides about the bytes of its output.
//!
//! Batch sizes, threads and caches are not here, for they change nothing; `--on-error` is not, so that
//! a job that stopped at a bad row can go on past it.

use std::collections::BTreeMap;

use batchwright::{Model, Scores, Task};
use data::{INPUT_FINGERPRINT, Source, short_hash};

use crate::plan::JobPlan;

/// Names and values, as they are shown when one differs.
pub(super) fn of(
    plan: &JobPlan,
    model: &Model,
    source: &Source,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut facts: BTreeMap<String, String> = model
        .fingerprints()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), shortened(value)))
        .collect();
    let mut put = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
    // Standard input has none: such a job cannot be continued.
    if let Some(input) = source.fingerprint()? {
        put(INPUT_FINGERPRINT, shortened(input));
    }
    put("input format", source.format().to_string());
    let (text, pair) = source.text_columns();
    put("text column", text.to_owned());
    put("pair column", pair.unwrap_or("none").to_owned());
    let how = &plan.rendering;
    let number = |value: Option<String>| value.unwrap_or_else(|| "by the model".to_owned());
    match model.task() {
        Task::Classify => {
            put("top k", number(how.top_k.map(|k| k.to_string())));
            put("threshold", number(how.threshold.map(|t| t.to_string())));
            put("scores", scores(how.scores));
        }
        Task::Rerank => put("scores", scores(how.scores)),
        Task::Tag => {
            put("threshold", number(how.threshold.map(|t| t.to_string())));
            put(
                "aggregation",
                format!("{:?}", how.aggregation).to_lowercase(),
            );
        }
        _ => {}
    }
    Ok(facts)
}

fn scores(scores: Scores) -> String {
    match scores {
        Scores::Probabilities => "probabilities".to_owned(),
        Scores::Raw => "raw".to_owned(),
    }
}

/// A hash cut to a length that can be read in a message; anything else as it is.
fn shortened(value: String) -> String {
    match value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => short_hash(&value).to_owned(),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prompt that is cut would make two different jobs look the same.
    #[test]
    fn only_hashes_are_shortened() {
        assert_eq!(shortened("ab".repeat(32)), "ab".repeat(16));
        let prompt = "Represent this sentence for searching relevant passages: ".to_owned();
        assert_eq!(shortened(prompt.clone()), prompt);
    }
}
