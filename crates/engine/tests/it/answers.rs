//! What users get is what PyTorch, transformers and sentence-transformers would give them.

use batchwright_engine::{
    Aggregation, Error, Isa, Model, Normalize, Pooling, Prediction, Rendering, Scores, Task,
    Truncate, codes,
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
            match model.with_rendering(every).predict(input(case)).unwrap() {
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
        let model = model.with_rendering(Rendering {
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
            .with_rendering(rendering)
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
        match result.unwrap_err() {
            Error::Option { name: found, .. } => assert_eq!(found, name),
            other => panic!("{name}: {other}"),
        }
    }
    // Sizes are looked at before gigabytes of weights are read.
    let damaged = golden.copy();
    std::fs::write(damaged.path().join("model.safetensors"), "").unwrap();
    let result = Model::builder(damaged.path().to_str().unwrap())
        .window(0)
        .load();
    assert!(
        matches!(result, Err(Error::Option { name: "window", .. })),
        "{result:?}"
    );
    assert!(builder().dimensions(100_000).load().is_err());
}

/// Labels that may hold at once, and regressions, would lose labels or gain wrong ones by default.
#[test]
fn defaults_follow_the_kind_of_labels() {
    let render = |name: &str, rendering: Rendering| {
        let golden = Golden::load(name);
        let case = &golden.cases[0];
        let model = builder(&golden).load().unwrap().with_rendering(rendering);
        let labels = model.classify([input(case)]).unwrap().remove(0);
        let mut scores = case.scores.clone();
        scores.sort_by(|a, b| b.total_cmp(a));
        (labels, scores, golden)
    };
    let raw = Rendering {
        scores: Scores::Raw,
        ..Rendering::default()
    };
    // Several labels may hold: all that are likelier than not, in either way of showing it.
    let (labels, scores, _) = render("roberta-classify", Rendering::default());
    let likely = scores.iter().filter(|&&score| score >= 0.5).count();
    assert!(likely > 0 && likely < scores.len(), "{scores:?}");
    assert_eq!(labels.len(), likely);
    assert_eq!(render("roberta-classify", raw).0.len(), likely);
    // A regression: every output, in the model's order, as it is.
    let (values, _, golden) = render("distilbert-classify", Rendering::default());
    let names: Vec<_> = values.iter().map(|value| value.label.as_str()).collect();
    assert_eq!(names, golden.labels);
    let expected = golden.answer(&golden.cases[0]);
    for (found, expected) in values.iter().zip(&expected) {
        assert!(
            Tolerance::GOLDEN.admits(found.score, *expected),
            "{values:?}"
        );
    }
    assert_eq!(render("distilbert-classify", raw).0, values);
}

/// A profile measured with one instruction set would be used with another.
#[test]
fn the_machine_is_the_one_in_use() {
    let model = builder(&Golden::load("bert-embed"))
        .isa(Isa::Scalar)
        .load()
        .unwrap();
    assert_eq!(model.machine().isa, Isa::Scalar.name());
}

/// A job that is refused because an option changed would name them all.
#[test]
fn fingerprints_name_each_option_by_itself() {
    let golden = Golden::load("bert-embed");
    let plain = builder(&golden).load().unwrap().fingerprints();
    for (name, other) in [
        ("pooling", builder(&golden).pooling(Pooling::Cls)),
        ("normalize", builder(&golden).normalize(Normalize::No)),
        ("dimensions", builder(&golden).dimensions(8)),
        ("truncate", builder(&golden).truncate(Truncate::Left)),
        ("max tokens", builder(&golden).max_tokens(9)),
        ("prompt", builder(&golden).prompt("query: ")),
        ("instruction set", builder(&golden).isa(Isa::Scalar)),
    ] {
        let other = other.load().unwrap().fingerprints();
        let differ: Vec<_> = plain.iter().zip(&other).filter(|(a, b)| a != b).collect();
        assert_eq!(differ.len(), 1, "{name}: {differ:?}");
        assert_eq!((differ[0].0.0, differ[0].1.0), (name, name));
    }
    // What says nothing to a task does not make another job of it.
    let golden = Golden::load("bert-classify");
    assert_eq!(
        builder(&golden).load().unwrap().fingerprints(),
        builder(&golden)
            .dimensions(8)
            .load()
            .unwrap()
            .fingerprints()
    );
}

/// A tagger that reads lower case would give entities that are not written so in the text.
#[test]
fn entities_are_cut_from_the_text_as_it_was_given() {
    let golden = Golden::load("bert-tag");
    let copy = golden.copy();
    std::fs::write(
        copy.path().join("sentence_bert_config.json"),
        r#"{"do_lower_case": true}"#,
    )
    .unwrap();
    let model = Model::builder(copy.path().to_str().unwrap())
        .load()
        .unwrap()
        .with_rendering(Rendering {
            aggregation: Aggregation::None,
            ..Rendering::default()
        });
    // `İ` is two characters in lower case.
    let text = "İİİ Anna Keller in Berlin, Zürich and LONDON";
    let entities = model.tag([text]).unwrap().remove(0);
    assert!(!entities.is_empty());
    for entity in &entities {
        let written: String = text
            .chars()
            .skip(entity.start)
            .take(entity.end - entity.start)
            .collect();
        assert_eq!(entity.text, written);
    }
    let last = entities.iter().map(|entity| entity.end).max();
    assert!(last <= Some(text.chars().count()), "{entities:?}");
    assert!(
        entities
            .iter()
            .any(|entity| entity.text.contains(char::is_uppercase)),
        "{entities:?}"
    );
}
