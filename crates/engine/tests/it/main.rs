//! The engine on tiny real models: the golden files of the five families.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod answers;
mod cache;
mod cache_redis;
mod faults;
mod invariance;
mod service;
mod stream;

use batchwright_engine::{Input, Model, ModelBuilder, ProfileUse};
use testing::golden::{Case, Golden};

/// A builder for a golden model, free of what this machine may have saved.
fn builder(golden: &Golden) -> ModelBuilder {
    Model::builder(golden.directory.to_str().unwrap())
        .offline()
        .profile(ProfileUse::Ignored)
}

fn load(name: &str) -> Model {
    builder(&Golden::load(name)).threads(2).load().unwrap()
}

fn input(case: &Case) -> Input {
    match &case.pair {
        Some(pair) => Input::Pair(case.text.clone(), pair.clone()),
        None => Input::Text(case.text.clone()),
    }
}

/// `count` texts of many lengths, of words that the tiny vocabularies split in different ways; every
/// seventh stands twice.
fn texts(count: usize) -> Vec<String> {
    let words = [
        "balance", "turn", "on", "the", "lights", "Zürich", "what", "is", "my", "?",
    ];
    let text = |n: usize| {
        let length = 1 + (n * 7919) % 23;
        let chosen: Vec<&str> = (0..length)
            .map(|w| words[(n * 31 + w * w) % words.len()])
            .collect();
        format!("{} {n}", chosen.join(" "))
    };
    (0..count)
        .map(|n| text(if n % 7 == 6 { n - 3 } else { n }))
        .collect()
}

/// The bits of an embedding.
fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}
