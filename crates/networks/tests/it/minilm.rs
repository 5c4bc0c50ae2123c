//! The real all-MiniLM-L6-v2. `cargo xtask test` fetches it and names its directory in
//! `BATCHWRIGHT_TEST_MINILM`; without that variable these tests say so and check nothing.

#![expect(
    clippy::print_stderr,
    reason = "a test that checks nothing must say so"
)]

use std::path::PathBuf;

use batchwright_networks::{
    Family, Isa, LoadOptions, ModelDirectory, Network, Precision, Task, TokenBatch, Workspace,
};
use kernels::Solo;
use testing::CaseTable;
use text::{Encode, Input, Limits, Tokenizer};

use crate::team::Threads;

const VARIABLE: &str = "BATCHWRIGHT_TEST_MINILM";

fn directory() -> Option<ModelDirectory> {
    let Some(path) = std::env::var_os(VARIABLE) else {
        eprintln!("skipped: {VARIABLE} is not set; run `cargo xtask test`");
        return None;
    };
    Some(ModelDirectory::open(&PathBuf::from(path)).unwrap())
}

/// The model that most people start with would be cut at the wrong length.
#[test]
fn the_directory_is_understood() {
    let Some(directory) = directory() else { return };
    assert_eq!(
        (directory.family(), directory.task()),
        (Family::Bert, Task::Embed)
    );
    let config = directory.config();
    assert_eq!((config.hidden, config.layers, config.heads), (384, 6, 12));
    // sentence_bert_config.json says 256; tokenizer.json would cut at 128.
    assert_eq!(directory.max_tokens(), 256);
    let network = Network::load(&directory, &LoadOptions::default()).unwrap();
    assert_eq!(network.flops_per_token(), 21_233_664);
    assert_eq!(network.answer_width(9), 384);
}

/// The vectors would not be those that the field knows the model by.
#[test]
fn vectors_are_those_of_sentence_transformers() {
    let Some(directory) = directory() else { return };
    let limits = Limits {
        max_tokens: directory.max_tokens(),
    };
    let tokenizer = Tokenizer::from_file(directory.tokenizer_path(), limits).unwrap();
    let (queries, expected) = testing::golden::minilm_64();
    let encoded: Vec<Vec<u32>> = queries
        .iter()
        .map(|query| {
            let input = Input::from(query.as_str());
            tokenizer.encode(&input, &Encode::default()).unwrap().ids
        })
        .collect();
    let ids = encoded.concat();
    let lengths: Vec<usize> = encoded.iter().map(Vec::len).collect();
    let mut table = CaseTable::new("cosine with sentence-transformers, by precision");
    // What each precision is allowed to cost.
    let precisions = [
        (Precision::Exact, 0.99999),
        (Precision::Near, 0.9999),
        (Precision::Fast, 0.98),
    ];
    for (isa, (precision, least)) in Isa::available()
        .into_iter()
        .flat_map(|isa| precisions.map(|precision| (isa, precision)))
    {
        let options = LoadOptions {
            isa,
            precision: Some(precision),
            ..LoadOptions::default()
        };
        let network = Network::load(&directory, &options).unwrap();
        let batch = TokenBatch {
            ids: &ids,
            lengths: &lengths,
            ..TokenBatch::default()
        };
        let mut vectors = Vec::new();
        network
            .run(&Solo, &batch, &mut Workspace::default(), &mut vectors)
            .unwrap();
        table.equal("count", &vectors.len(), &(expected.len() * 384));
        for ((got, want), query) in vectors.chunks(384).zip(&expected).zip(&queries) {
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum()
            };
            let cosine = dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
            let near = (cosine >= least).then_some(());
            table.check(
                format!("{} {precision} {query}", isa.name()),
                near.ok_or(cosine.to_string()),
            );
        }
    }
    table.finish();
}

/// The promise at real size: 192 tokens of different lengths, in blocks, with teams.
#[test]
fn answers_have_the_same_bits_alone_together_and_in_teams() {
    let Some(directory) = directory() else { return };
    for precision in Precision::ALL {
        same_bits(&directory, precision);
    }
}

fn same_bits(directory: &ModelDirectory, precision: Precision) {
    let options = LoadOptions {
        precision: Some(precision),
        ..LoadOptions::default()
    };
    let network = Network::load(directory, &options).unwrap();
    let lengths = [3, 17, 1, 256, 11, 40, 5, 64, 2, 23];
    let ids: Vec<u32> = (0..lengths.iter().sum::<usize>())
        .map(|at| (at * 7919 % 30_522) as u32)
        .collect();
    let mut ws = Workspace::default();
    let mut together = Vec::new();
    let batch = TokenBatch {
        ids: &ids,
        lengths: &lengths,
        ..TokenBatch::default()
    };
    network.run(&Solo, &batch, &mut ws, &mut together).unwrap();
    for row in together.chunks(384) {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    for threads in [2, 3] {
        let mut found = Vec::new();
        network
            .run(&Threads(threads), &batch, &mut ws, &mut found)
            .unwrap();
        assert!(found == together, "{threads} threads");
    }
    let mut alone = Vec::new();
    let mut start = 0;
    for &length in &lengths {
        let batch = TokenBatch {
            ids: &ids[start..start + length],
            lengths: &[length],
            ..TokenBatch::default()
        };
        network
            .run(&Threads(2), &batch, &mut ws, &mut alone)
            .unwrap();
        start += length;
    }
    assert!(alone == together, "alone");
}
