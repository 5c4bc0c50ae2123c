//! What users get is what PyTorch, transformers and sentence-transformers would give them.

use batchwright_engine::{
    Aggregation, Error, Model, Prediction, Rendering, Scores, Task, Truncate, codes,
};
use testing::golden::{Case, Golden, Side, all};
use testing::{CaseTable, Tolerance};

use crate::{builder, input, load};

fn model_for(golden: &Golden, case: &Case) -> Model {
    let mut builder = builder(golden).threads(1).truncate(match case.truncate {
        Side::Right => Truncate::Right,
        Side::Left => Truncate::Left,
    });
    if case.max_tokens != golden.max_tokens {
        builder = builder.max_tokens(case.max_tokens);
    }
    if let Some(name) = &case.prompt_name {
        builder = builder.prompt_name(name);
    }
    if let Some(dimensions) = case.dimensions {
        builder = builder.dimensions(dimensions);
    }
    builder.load().unwrap()
}

/// A user who moves from Python would get other vectors, labels or scores.
#[test]
fn every_golden_case_is_answered_as_in_python() {
    let mut table = CaseTable::new("answers equal Python's");
    for golden in all() {
        for case in &golden.cases {
            let name = format!("{} / {}", golden.name, case.name);
            let model = model_for(&golden, case);
            let every = Rendering {
                top_k: Some(99),
                threshold: Some(-9.0),
                ..Rendering::default()
            };
            match model.rendering(every).predict(input(case)).unwrap() {
                Prediction::Embedding(vector) => {
                    let mut expected = golden.answer(case);
                    if case.dimensions.is_some() {
                        // sentence-transformers cuts after normalising; here a vector that the model
                        // normalises has length 1 whatever its dimensions.
                        let scale = length(&vector) / length(&expected);
                        expected.iter_mut().for_each(|value| *value *= scale);
                    }
                    table.close(name, &vector, &expected, Tolerance::GOLDEN);
                }
                Prediction::Score(score) => {
                    table.close(name, &[score], &case.scores, Tolerance::GOLDEN);
                }
                Prediction::Labels(labels) => {
                    let scores: Vec<f32> = golden
                        .labels
                        .iter()
                        .map(|label| labels.iter().find(|l| &l.label == label).unwrap().score)
                        .collect();
                    table.close(name, &scores, &case.scores, Tolerance::GOLDEN);
                }
                Prediction::Entities(_) => entities(&mut table, &name, &model, case),
            }
        }
    }
    table.finish();
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

fn entities(table: &mut CaseTable, name: &str, model: &Model, case: &Case) {
    let Some(strategies) = &case.entities else {
        return;
    };
    for (aggregation, expected) in [
        (Aggregation::None, &strategies.none),
        (Aggregation::Simple, &strategies.simple),
        (Aggregation::First, &strategies.first),
        (Aggregation::Max, &strategies.max),
    ] {
        let model = model.rendering(Rendering {
            aggregation,
            ..Rendering::default()
        });
        let found = model.tag([input(case)]).unwrap().remove(0);
        let spans: Vec<_> = found
            .iter()
            .map(|e| (e.label.as_str(), e.start, e.end))
            .collect();
        let wanted: Vec<_> = expected.iter().map(|e| (e.0.as_str(), e.2, e.3)).collect();
        table.equal(format!("{name} {aggregation:?} spans"), &spans, &wanted);
        let scores: Vec<f32> = found.iter().map(|entity| entity.score).collect();
        let wanted: Vec<f32> = expected.iter().map(|entity| entity.1).collect();
        let within = Tolerance {
            absolute: 2e-5,
            relative: 0.0,
        };
        table.close(
            format!("{name} {aggregation:?} scores"),
            &scores,
            &wanted,
            within,
        );
        for entity in &found {
            let chars: String = case.text.chars().collect::<Vec<_>>()[entity.start..entity.end]
                .iter()
                .collect();
            table.equal(format!("{name} text"), &entity.text, &chars);
        }
    }
}

/// A user who asks for two labels, or those above a threshold, would get others.
#[test]
fn rendering_chooses_labels() {
    let golden = Golden::load("bert-classify");
    let case = &golden.cases[0];
    let model = builder(&golden).load().unwrap();
    let labels = |rendering| {
        model
            .rendering(rendering)
            .classify([input(case)])
            .unwrap()
            .remove(0)
    };
    let all = labels(Rendering {
        top_k: Some(99),
        ..Rendering::default()
    });
    assert_eq!(all.len(), golden.labels.len());
    assert!(all.is_sorted_by(|a, b| a.score >= b.score));
    assert!((all.iter().map(|label| label.score).sum::<f32>() - 1.0).abs() < 1e-5);
    assert_eq!(labels(Rendering::default()), all[..1]);
    assert_eq!(
        labels(Rendering {
            top_k: Some(2),
            ..Rendering::default()
        }),
        all[..2]
    );
    let above = Rendering {
        top_k: Some(99),
        threshold: Some(all[1].score),
        ..Rendering::default()
    };
    assert_eq!(labels(above), all[..2]);
    let raw = Rendering {
        top_k: Some(99),
        scores: Scores::Raw,
        ..Rendering::default()
    };
    let mut logits = golden.answer(case);
    logits.sort_by(|a, b| b.total_cmp(a));
    let raw: Vec<f32> = labels(raw).iter().map(|label| label.score).collect();
    assert!(
        raw.iter().zip(&logits).all(|(a, b)| (a - b).abs() < 1e-5),
        "{raw:?} {logits:?}"
    );
}

/// A call for another task must say what the model does, not answer with something else.
#[test]
fn the_wrong_task_is_refused_by_name() {
    let model = load("bert-classify");
    assert_eq!(model.task(), Task::Classify);
    let error = model.embed(["a"]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::WrongTask {
                asked: Task::Embed,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("does classify, not embed"),
        "{error}"
    );
    let error = load("bert-rerank").predict("a single text").unwrap_err();
    assert!(
        matches!(&error, Error::Row { error, .. } if error.code == codes::WRONG_INPUT),
        "{error}"
    );
}

/// Any encoder can embed; a user need not find another model for it.
#[test]
fn a_classifier_embeds_if_asked_to() {
    let golden = Golden::load("bert-classify");
    let model = builder(&golden).task(Task::Embed).load().unwrap();
    let vectors = model
        .embed(["turn on the lights", "what is my balance"])
        .unwrap();
    assert_eq!(vectors[0].len(), model.outputs());
    assert_ne!(vectors[0], vectors[1]);
}

/// Bad options must name the option, the limit and the remedy, before anything is computed.
#[test]
fn options_out_of_range_are_refused() {
    let golden = Golden::load("bert-embed");
    let builder = || builder(&golden);
    for (name, result) in [
        ("batch_tokens", builder().batch_tokens(0).load()),
        ("batch_size", builder().batch_size(0).load()),
        ("window", builder().window(0).load()),
        ("threads", builder().threads(0).load()),
        ("threads", builder().threads(1_000_000).load()),
        ("max_tokens", builder().max_tokens(0).load()),
        ("max_tokens", builder().max_tokens(100_000).load()),
        (
            "prompt_name",
            builder().prompt_name("no such prompt").load(),
        ),
    ] {
        match result.err().unwrap() {
            Error::Option { name: found, .. } => assert_eq!(found, name),
            other => panic!("{name}: {other}"),
        }
    }
    assert!(builder().dimensions(100_000).load().is_err());
}
