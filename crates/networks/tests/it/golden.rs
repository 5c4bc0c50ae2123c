//! Tiny random models of every family against what transformers and sentence-transformers answer.

use batchwright_networks::{
    Isa, LoadOptions, ModelDirectory, Network, Normalize, ProblemType, ScoreActivation, Task,
    TokenBatch, Workspace,
};
use kernels::Solo;
use testing::golden::{Case, Golden, all, unit};
use testing::{CaseTable, Tolerance};

/// A case as a batch of one; `lengths` is that of its ids.
fn batch<'a>(case: &'a Case, lengths: &'a [usize; 1]) -> TokenBatch<'a> {
    TokenBatch {
        ids: &case.ids,
        types: &case.types,
        lengths,
        ..TokenBatch::default()
    }
}

fn load(model: &Golden, options: LoadOptions) -> Network {
    let directory = ModelDirectory::open(&model.directory).unwrap();
    Network::load(&directory, &options).unwrap()
}

/// A wrong layer would give wrong answers that look right in tests of the last one alone.
#[test]
fn hidden_states_are_those_of_transformers() {
    let mut table = CaseTable::new("every layer computes what transformers computes");
    for isa in Isa::available() {
        for model in all() {
            let network = load(
                &model,
                LoadOptions {
                    isa,
                    ..LoadOptions::default()
                },
            );
            let mut ws = Workspace::default();
            for case in &model.cases {
                let expected = model.hidden(case);
                if expected.is_empty() {
                    continue;
                }
                let lengths = [case.ids.len()];
                let batch = batch(case, &lengths);
                let states = network.hidden_states(&Solo, &batch, &mut ws).unwrap();
                let name = format!("{} {} / {}", isa.name(), model.name, case.name);
                table.equal(format!("{name} / count"), &states.len(), &expected.len());
                for (layer, (got, want)) in states.iter().zip(&expected).enumerate() {
                    table.close(
                        format!("{name} / state {layer}"),
                        got,
                        want,
                        Tolerance::GOLDEN,
                    );
                }
            }
        }
    }
    table.finish();
}

/// A user who moves from Python would get other vectors, labels or scores.
#[test]
fn answers_are_those_of_transformers() {
    let mut table = CaseTable::new("embeddings and logits are those of the reference");
    for isa in Isa::available() {
        for model in all() {
            for case in &model.cases {
                let options = LoadOptions {
                    isa,
                    dimensions: case.dimensions,
                    ..LoadOptions::default()
                };
                let network = load(&model, options);
                let lengths = [case.ids.len()];
                let batch = batch(case, &lengths);
                let mut answers = vec![7.0];
                network
                    .run(&Solo, &batch, &mut Workspace::default(), &mut answers)
                    .unwrap();
                let name = format!("{} {} / {}", isa.name(), model.name, case.name);
                table.equal(
                    format!("{name} / width"),
                    &(answers.len() - 1),
                    &network.answer_width(case.ids.len()),
                );
                table.equal(format!("{name} / what was there stays"), &answers[0], &7.0);
                // sentence-transformers cuts a vector of length one and leaves it shorter; here what
                // is normalised has length one whatever is cut.
                let directory = ModelDirectory::open(&model.directory).unwrap();
                let want = match (case.dimensions, directory.normalizes()) {
                    (Some(_), Normalize::Yes) => unit(&model.answer(case)),
                    _ => model.answer(case),
                };
                table.close(&name, &answers[1..], &want, Tolerance::GOLDEN);
                if model.task == "tag" || model.task == "classify" {
                    let best = |logits: &[f32]| -> Vec<usize> {
                        logits.chunks(model.labels.len()).map(largest).collect()
                    };
                    table.equal(
                        format!("{name} / labels"),
                        &best(&answers[1..]),
                        &best(&want),
                    );
                }
            }
        }
    }
    table.finish();
}

fn largest(row: &[f32]) -> usize {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

/// `predict` would run another task than the model was made for, or cut texts at another length.
#[test]
fn directories_declare_what_their_makers_meant() {
    let mut table = CaseTable::new("`predict` runs the model's own task with its own limits");
    for model in all() {
        let directory = ModelDirectory::open(&model.directory).unwrap();
        table.equal(&model.name, directory.task().name(), model.task.as_str());
        table.equal(
            &model.name,
            directory.family().model_type(),
            model.family.as_str(),
        );
        table.equal(&model.name, &directory.max_tokens(), &model.max_tokens);
        table.equal(&model.name, &directory.config().layers, &model.layers);
        let labels: &[String] = directory.labels();
        table.equal(&model.name, labels, &model.labels);
        for case in &model.cases {
            if let Some(name) = &case.prompt_name {
                let found = directory.prompts().get(name);
                table.equal(&model.name, &found, &Some(case.prompt.as_str()));
            }
        }
    }
    let named = |name: &str| ModelDirectory::open(&testing::golden::root().join(name)).unwrap();
    table.equal(
        "multi label",
        &named("roberta-classify").problem_type(),
        &ProblemType::MultiLabel,
    );
    table.equal(
        "regression",
        &named("distilbert-classify").problem_type(),
        &ProblemType::Regression,
    );
    table.equal(
        "identity",
        &named("bert-rerank").score_activation(),
        &ScoreActivation::Identity,
    );
    table.equal(
        "sigmoid",
        &named("xlm-roberta-rerank").score_activation(),
        &ScoreActivation::Sigmoid,
    );
    table.equal("task", &named("xlm-roberta-rerank").task(), &Task::Rerank);
    table.finish();
}
