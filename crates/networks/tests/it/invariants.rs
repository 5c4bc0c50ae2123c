//! The promise: a text's answer has the same bits alone, in any batch, and with any team.

use batchwright_networks::{
    Isa, LoadOptions, ModelDirectory, Network, Precision, TokenBatch, Workspace,
};
use kernels::{Solo, Team};
use testing::CaseTable;
use testing::golden::{Golden, all};

use crate::team::Threads;

/// The bits of each text's answer, all texts in one batch.
fn run(network: &Network, team: &dyn Team, texts: &[(Vec<u32>, Vec<u8>)]) -> Vec<Vec<u32>> {
    let ids: Vec<u32> = texts.iter().flat_map(|(ids, _)| ids.clone()).collect();
    let types: Vec<u8> = texts.iter().flat_map(|(_, types)| types.clone()).collect();
    let lengths: Vec<usize> = texts.iter().map(|(ids, _)| ids.len()).collect();
    let batch = TokenBatch {
        ids: &ids,
        types: &types,
        lengths: &lengths,
        ..TokenBatch::default()
    };
    let mut answers = Vec::new();
    network
        .run(team, &batch, &mut Workspace::default(), &mut answers)
        .unwrap();
    let mut rest = answers.as_slice();
    lengths
        .iter()
        .map(|&length| {
            let (one, more) = rest.split_at(network.answer_width(length));
            rest = more;
            one.iter().map(|value| value.to_bits()).collect()
        })
        .collect()
}

/// The golden texts, types written out.
fn texts(model: &Golden) -> Vec<(Vec<u32>, Vec<u8>)> {
    let typed = |case: &testing::golden::Case| {
        let mut types = case.types.clone();
        types.resize(case.ids.len(), 0);
        (case.ids.clone(), types)
    };
    model.cases.iter().map(typed).collect()
}

/// A user who repeats a job with another batch size would get other vectors.
#[test]
fn a_text_has_the_same_bits_in_any_batch_and_team() {
    let mut table = CaseTable::new("a row's answer does not depend on its neighbours or threads");
    let precisions = || Precision::ALL.into_iter();
    for (isa, precision) in Isa::available()
        .into_iter()
        .flat_map(|isa| precisions().map(move |precision| (isa, precision)))
    {
        for model in all() {
            let directory = ModelDirectory::open(&model.directory).unwrap();
            let options = LoadOptions {
                isa,
                precision: Some(precision),
                ..LoadOptions::default()
            };
            let network = Network::load(&directory, &options).unwrap();
            let texts = texts(&model);
            let alone: Vec<Vec<u32>> = texts
                .iter()
                .flat_map(|text| run(&network, &Solo, std::slice::from_ref(text)))
                .collect();
            let name = format!("{} {precision} {}", isa.name(), model.name);
            table.equal(
                format!("{name} / together"),
                &run(&network, &Solo, &texts),
                &alone,
            );
            let reversed: Vec<_> = texts.iter().rev().cloned().collect();
            let mut back = run(&network, &Solo, &reversed);
            back.reverse();
            table.equal(format!("{name} / reversed"), &back, &alone);
            for threads in [2, 3] {
                let found = run(&network, &Threads(threads), &texts);
                table.equal(format!("{name} / {threads} threads"), &found, &alone);
                let found = run(&network, &Threads(threads), &texts[..1]);
                table.equal(
                    format!("{name} / {threads} threads, one text"),
                    &found[..],
                    &alone[..1],
                );
            }
        }
    }
    table.finish();
}

/// A worker that has seen a long batch would answer a short one from the long one's remains.
#[test]
fn a_used_workspace_answers_as_a_fresh_one() {
    let mut table = CaseTable::new("workspaces carry nothing from batch to batch");
    let mut ws = Workspace::default();
    // One workspace through all models and cases, long and short, wide and narrow, twice: what the first
    // round needed is enough for the second.
    let models = all();
    let mut grown = 0;
    for (round, model) in [0, 1]
        .into_iter()
        .flat_map(|n| models.iter().map(move |m| (n, m)))
    {
        let directory = ModelDirectory::open(&model.directory).unwrap();
        let network = Network::load(&directory, &LoadOptions::default()).unwrap();
        for case in &model.cases {
            let lengths = [case.ids.len()];
            let batch = TokenBatch {
                ids: &case.ids,
                types: &case.types,
                lengths: &lengths,
                ..TokenBatch::default()
            };
            let (mut used, mut fresh) = (Vec::new(), Vec::new());
            network.run(&Solo, &batch, &mut ws, &mut used).unwrap();
            network
                .run(&Solo, &batch, &mut Workspace::default(), &mut fresh)
                .unwrap();
            let name = format!("{} / {} / round {round}", model.name, case.name);
            table.equal(&name, &used, &fresh);
            if round == 0 {
                grown = ws.bytes();
            } else {
                table.equal(format!("{name} / size"), &ws.bytes(), &grown);
            }
        }
    }
    table.finish();
}

/// A window whose rows all came from the cache would panic, or answer with what was there before.
#[test]
fn an_empty_batch_has_no_answers() {
    let model = Golden::load("bert-embed");
    let directory = ModelDirectory::open(&model.directory).unwrap();
    let network = Network::load(&directory, &LoadOptions::default()).unwrap();
    assert_eq!(run(&network, &Solo, &[]), Vec::<Vec<u32>>::new());
}
