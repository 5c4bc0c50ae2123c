//! What `config.json` declares the model to be for: its head, labels, problem type, and what turns
//! a pair's logit into a score.

use serde_json::Value;

use super::json::{JsonFile, brief};
use crate::error::{ModelError, list};
use crate::families::Family;
use crate::task::{ProblemType, ScoreActivation, Task};

/// More labels than any classifier has; a larger number is a damaged file.
const MOST_LABELS: usize = 1_048_576;

/// The head that the weights have, by the class in `architectures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// No head that is used here: the bare encoder.
    None,
    Sequence,
    Token,
}

/// Endings of class names and the head that each stands for. The heads of masked language models
/// and of pre-training are not used: as sentence-transformers does, the encoder under them is.
const ENDINGS: [(&str, Head); 6] = [
    ("Model", Head::None),
    ("ForMaskedLM", Head::None),
    ("ForPreTraining", Head::None),
    ("ForNextSentencePrediction", Head::None),
    ("ForSequenceClassification", Head::Sequence),
    ("ForTokenClassification", Head::Token),
];

impl Head {
    /// The head of the first class in `architectures`; a configuration without classes describes
    /// the bare encoder.
    pub(crate) fn read(config: &JsonFile, family: Family) -> Result<Head, ModelError> {
        let name = match config.get("architectures") {
            None => return Ok(Head::None),
            Some(Value::Array(names)) if names.is_empty() => return Ok(Head::None),
            Some(Value::Array(names)) => names.first().and_then(Value::as_str),
            Some(_) => None,
        };
        let Some(name) = name else {
            return Err(config.invalid("architectures", "a list of class names"));
        };
        let class = family.layout().class;
        let head = name.strip_prefix(class).and_then(|ending| {
            ENDINGS
                .iter()
                .find_map(|(known, head)| (*known == ending).then_some(*head))
        });
        head.ok_or_else(|| ModelError::UnsupportedArchitecture {
            path: config.path().to_owned(),
            found: name.to_owned(),
            supported: list(ENDINGS.map(|(ending, _)| format!("`{class}{ending}`"))),
        })
    }
}

/// What a model with a head declares about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declared {
    pub(crate) task: Task,
    /// One name a logit; empty for a model that embeds.
    pub(crate) labels: Vec<String>,
    pub(crate) problem_type: ProblemType,
    pub(crate) score: ScoreActivation,
}

impl Declared {
    pub(crate) fn embedding() -> Declared {
        Declared {
            task: Task::Embed,
            labels: Vec::new(),
            problem_type: ProblemType::SingleLabel,
            score: ScoreActivation::Identity,
        }
    }

    /// `cross` is `config_sentence_transformers.json` where that file says `CrossEncoder`.
    pub(crate) fn read(
        config: &JsonFile,
        head: Head,
        cross: Option<&JsonFile>,
    ) -> Result<Declared, ModelError> {
        if head == Head::None {
            return Ok(Declared::embedding());
        }
        let labels = labels(config)?;
        let declared = problem_type(config)?;
        let score = score_activation(config, cross)?;
        let task = match (head, labels.len()) {
            (Head::Token, _) => Task::Tag,
            // One logit scores a pair, unless the model says that it is a regression over a text
            // and nothing says that it was made as a cross-encoder.
            (_, 1) if declared != Some(ProblemType::Regression) => Task::Rerank,
            (_, 1) if score.is_some() || cross.is_some() => Task::Rerank,
            _ => Task::Classify,
        };
        // One logit by itself is turned into a score by a sigmoid, both by sentence-transformers'
        // `CrossEncoder` and by transformers' classification pipeline.
        let (default_score, default_type) = match labels.len() {
            1 => (ScoreActivation::Sigmoid, ProblemType::MultiLabel),
            _ => (ScoreActivation::Identity, ProblemType::SingleLabel),
        };
        Ok(Declared {
            task,
            labels,
            problem_type: declared.unwrap_or(default_type),
            score: score.unwrap_or(default_score),
        })
    }
}

/// The labels by index: `id2label`, else `label2id` turned round, else `LABEL_0` … as transformers
/// names them.
fn labels(config: &JsonFile) -> Result<Vec<String>, ModelError> {
    let numbered: Vec<(Option<usize>, String)> = if let Some(map) = config.object("id2label")? {
        map.iter()
            .map(|(id, label)| (id.parse().ok(), label_text(label)))
            .collect()
    } else if let Some(map) = config.object("label2id")? {
        map.iter()
            .map(|(label, id)| {
                (
                    id.as_u64().and_then(|id| usize::try_from(id).ok()),
                    label.clone(),
                )
            })
            .collect()
    } else {
        let count = config.whole("num_labels", &(1..=MOST_LABELS))?.unwrap_or(2);
        return Ok((0..count).map(|id| format!("LABEL_{id}")).collect());
    };
    let key = if config.get("id2label").is_some() {
        "id2label"
    } else {
        "label2id"
    };
    let mut labels: Vec<Option<String>> = vec![None; numbered.len()];
    for (id, label) in numbered {
        match id.and_then(|id| labels.get_mut(id)) {
            Some(place) => *place = Some(label),
            None => return Err(config.invalid(key, "the ids 0, 1, 2 … without a gap")),
        }
    }
    let labels: Option<Vec<String>> = labels.into_iter().collect();
    labels
        .filter(|labels| !labels.is_empty())
        .ok_or_else(|| config.invalid(key, "the ids 0, 1, 2 … without a gap"))
}

/// Labels are strings; some files have bare numbers.
fn label_text(label: &Value) -> String {
    label.as_str().map_or_else(|| brief(label), str::to_owned)
}

fn problem_type(config: &JsonFile) -> Result<Option<ProblemType>, ModelError> {
    match config.text("problem_type")? {
        None => Ok(None),
        Some("single_label_classification") => Ok(Some(ProblemType::SingleLabel)),
        Some("multi_label_classification") => Ok(Some(ProblemType::MultiLabel)),
        Some("regression") => Ok(Some(ProblemType::Regression)),
        Some(_) => Err(config.unsupported(
            "problem_type",
            "supported are single_label_classification, multi_label_classification and regression",
        )),
    }
}

/// The activation that the model's configuration names, in any of the three places in which
/// sentence-transformers has kept it; `None` where it names none.
fn score_activation(
    config: &JsonFile,
    cross: Option<&JsonFile>,
) -> Result<Option<ScoreActivation>, ModelError> {
    let nested = "sentence_transformers";
    let of_nested = match config
        .object(nested)?
        .and_then(|map| map.get("activation_fn"))
    {
        Some(Value::String(name)) => Some((config, nested, name.as_str())),
        _ => None,
    };
    let legacy = "sbert_ce_default_activation_function";
    let found = match (of_nested, config.text(legacy)?, cross) {
        (Some(found), _, _) => Some(found),
        (None, Some(name), _) => Some((config, legacy, name)),
        (None, None, Some(cross)) => cross
            .text("activation_fn")?
            .map(|name| (cross, "activation_fn", name)),
        (None, None, None) => None,
    };
    let Some((file, key, name)) = found else {
        return Ok(None);
    };
    match name
        .starts_with("torch.")
        .then(|| name.rsplit('.').next())
        .flatten()
    {
        Some("Sigmoid") => Ok(Some(ScoreActivation::Sigmoid)),
        Some("Identity") => Ok(Some(ScoreActivation::Identity)),
        _ => Err(file.unsupported(key, "supported are torch.nn's Sigmoid and Identity")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(content: &str) -> JsonFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, content).unwrap();
        JsonFile::read(&path, "x", "y").unwrap()
    }

    fn read(content: &str) -> Result<Declared, ModelError> {
        let config = json(content);
        let head = Head::read(&config, Family::Bert)?;
        Declared::read(&config, head, None)
    }

    /// `predict` would run another task than the one that the model declares.
    #[test]
    fn the_task_follows_from_class_and_labels() {
        let seq = "BertForSequenceClassification";
        let cases = [
            ("{}".to_owned(), Task::Embed),
            (
                r#"{"architectures": ["BertModel"]}"#.to_owned(),
                Task::Embed,
            ),
            (
                r#"{"architectures": ["BertForMaskedLM"]}"#.to_owned(),
                Task::Embed,
            ),
            (
                r#"{"architectures": ["BertForTokenClassification"]}"#.to_owned(),
                Task::Tag,
            ),
            (format!(r#"{{"architectures": ["{seq}"]}}"#), Task::Classify),
            (
                format!(r#"{{"architectures": ["{seq}"], "num_labels": 1}}"#),
                Task::Rerank,
            ),
            (
                format!(r#"{{"architectures": ["{seq}"], "id2label": {{"0": "x"}}}}"#),
                Task::Rerank,
            ),
            (
                format!(
                    r#"{{"architectures": ["{seq}"], "num_labels": 1,
                        "problem_type": "regression"}}"#
                ),
                Task::Classify,
            ),
        ];
        for (content, task) in cases {
            assert_eq!(read(&content).unwrap().task, task, "{content}");
        }
    }

    /// A classifier's scores would be softmax where sigmoid is meant: 1.0 for any single label.
    #[test]
    fn the_problem_type_follows_the_declaration_then_the_labels() {
        let cases = [
            (r#""num_labels": 3"#, ProblemType::SingleLabel),
            (r#""num_labels": 1"#, ProblemType::MultiLabel),
            (
                r#""problem_type": "multi_label_classification""#,
                ProblemType::MultiLabel,
            ),
            (
                r#""num_labels": 1, "problem_type": "single_label_classification""#,
                ProblemType::SingleLabel,
            ),
            (r#""problem_type": "regression""#, ProblemType::Regression),
        ];
        let class = r#""architectures": ["BertForSequenceClassification"]"#;
        for (more, wanted) in cases {
            let found = read(&format!("{{{class}, {more}}}")).unwrap();
            assert_eq!(found.problem_type, wanted, "{more}");
        }
        let odd = read(&format!(r#"{{{class}, "problem_type": "ranking"}}"#));
        assert!(matches!(odd, Err(ModelError::UnsupportedSetting { .. })));
    }

    /// A model of another kind would be run as one of these, with random answers.
    #[test]
    fn other_classes_are_refused_by_name() {
        for name in [
            "BertForQuestionAnswering",
            "JinaBertModel",
            "BertLMHeadModel",
            "T5Model",
        ] {
            let error = read(&format!(r#"{{"architectures": ["{name}"]}}"#)).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&format!("`{name}`"))
                    && message.contains("`BertForTokenClassification`"),
                "{message}"
            );
        }
        assert!(read(r#"{"architectures": "BertModel"}"#).is_err());
        assert!(read(r#"{"architectures": [3]}"#).is_err());
    }

    /// A user would read a score under another label's name.
    #[test]
    fn labels_stand_at_their_ids() {
        let with = |labels: &str| {
            read(&format!(
                r#"{{"architectures": ["BertForSequenceClassification"], {labels}}}"#
            ))
            .map(|declared| declared.labels)
        };
        assert_eq!(
            with(r#""id2label": {"1": "b", "0": "a"}"#).unwrap(),
            ["a", "b"]
        );
        assert_eq!(with(r#""label2id": {"b": 1, "a": 0}"#).unwrap(), ["a", "b"]);
        assert_eq!(
            with(r#""id2label": {"0": 1, "1": "b"}"#).unwrap(),
            ["1", "b"]
        );
        assert_eq!(
            with(r#""num_labels": 3"#).unwrap(),
            ["LABEL_0", "LABEL_1", "LABEL_2"]
        );
        for wrong in [
            r#""id2label": {"0": "a", "2": "b"}"#,
            r#""id2label": {"0": "a", "x": "b"}"#,
            r#""id2label": {}"#,
            r#""id2label": ["a"]"#,
            r#""label2id": {"a": 0, "b": 0}"#,
            r#""num_labels": 0"#,
        ] {
            assert!(
                matches!(with(wrong), Err(ModelError::InvalidSetting { .. })),
                "{wrong}"
            );
        }
    }

    /// A reranker's scores would be squashed twice, or not at all.
    #[test]
    fn a_cross_encoders_activation_is_found_where_each_release_put_it() {
        let base = r#""architectures": ["BertForSequenceClassification"], "num_labels": 1"#;
        let identity = r#""torch.nn.modules.linear.Identity""#;
        let cases = [
            (String::new(), ScoreActivation::Sigmoid),
            (
                format!(r#", "sbert_ce_default_activation_function": {identity}"#),
                ScoreActivation::Identity,
            ),
            (
                format!(r#", "sentence_transformers": {{"activation_fn": {identity}}}"#),
                ScoreActivation::Identity,
            ),
        ];
        for (more, wanted) in cases {
            assert_eq!(
                read(&format!("{{{base}{more}}}")).unwrap().score,
                wanted,
                "{more}"
            );
        }
        let config = json(&format!("{{{base}}}"));
        let cross = json(&format!(r#"{{"activation_fn": {identity}}}"#));
        let declared = Declared::read(&config, Head::Sequence, Some(&cross)).unwrap();
        assert_eq!(declared.score, ScoreActivation::Identity);
        let odd = r#", "sbert_ce_default_activation_function": "my.Activation""#;
        assert!(matches!(
            read(&format!("{{{base}{odd}}}")),
            Err(ModelError::UnsupportedSetting { .. })
        ));
    }
}
