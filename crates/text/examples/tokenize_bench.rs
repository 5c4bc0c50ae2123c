//! How fast texts are tokenised, beside the `tokenizers` crate, on one core.
//!
//! ```text
//! cargo run --release -p batchwright-text --example tokenize_bench -- tokenizer.json texts.txt
//! ```
//!
//! The file holds a text a line. Every figure is the median of several runs which alternate with
//! those of the crate, because machines drift. Both give ids with special tokens and without
//! padding, cut at 512 tokens; before anything is measured, all ids are compared.

#![expect(clippy::print_stdout, reason = "a benchmark prints tables")]

use std::hint::black_box;
use std::time::Instant;

use batchwright_text::{Encode, Input, Limits, Offsets, Tokenizer};
use tokenizers::TruncationParams;

/// Rounds over which the median is taken.
const ROUNDS: usize = 9;
/// A round repeats the file until this many seconds have passed.
const SECONDS: f64 = 0.5;
const MAX_TOKENS: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [model, texts] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("usage: tokenize_bench TOKENIZER.JSON TEXTS".into());
    };
    let texts: Vec<String> = std::fs::read_to_string(texts)?
        .lines()
        .map(str::to_owned)
        .collect();
    let inputs: Vec<Input> = texts.iter().map(Input::from).collect();

    let start = Instant::now();
    let limits = Limits {
        max_tokens: MAX_TOKENS,
    };
    let ours = Tokenizer::from_file(model, limits)?;
    let ours_loaded = start.elapsed();
    let start = Instant::now();
    let theirs = library(model)?;
    println!(
        "loaded in {:.1} ms; the crate alone in {:.1} ms",
        1e3 * ours_loaded.as_secs_f64(),
        1e3 * start.elapsed().as_secs_f64()
    );

    let plain = Encode::default();
    let spans = Encode {
        offsets: Offsets::Keep,
        ..Encode::default()
    };
    let mut tokens = 0;
    for (text, input) in texts.iter().zip(&inputs) {
        let ids = ours.encode(input, &plain)?.ids;
        if ids
            != theirs
                .encode_fast(text.as_str(), true)
                .map_err(boxed)?
                .get_ids()
        {
            return Err(format!("other ids for {text:?}").into());
        }
        tokens += ids.len();
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    println!(
        "{} texts, {:.1} tokens and {:.1} bytes each on average; all ids equal\n",
        texts.len(),
        tokens as f64 / texts.len() as f64,
        bytes as f64 / texts.len() as f64
    );

    println!("| | ours, texts/s | tokens/s | the crate, texts/s | tokens/s | ratio |");
    println!("|---|---|---|---|---|---|");
    let row = |name: &str, how: &Encode, call: &dyn Fn(&str)| {
        let (mut our_seconds, mut their_seconds) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_seconds.push(seconds(|| {
                for input in &inputs {
                    black_box(ours.encode(black_box(input), how).ok());
                }
            }));
            their_seconds.push(seconds(|| texts.iter().for_each(|text| call(text))));
        }
        let (our_seconds, their_seconds) = (median(our_seconds), median(their_seconds));
        let speeds = |seconds| (texts.len() as f64 / seconds, tokens as f64 / seconds);
        let (a, b) = (speeds(our_seconds), speeds(their_seconds));
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} |",
            a.0,
            a.1,
            b.0,
            b.1,
            their_seconds / our_seconds
        );
    };
    row("ids", &plain, &|text| {
        black_box(theirs.encode_fast(black_box(text), true).ok());
    });
    row("ids and places", &spans, &|text| {
        black_box(theirs.encode_char_offsets(black_box(text), true).ok());
    });
    Ok(())
}

/// The crate's tokenizer with the settings that ours has.
fn library(model: &str) -> Result<tokenizers::Tokenizer, Box<dyn std::error::Error>> {
    let mut tokenizer = tokenizers::Tokenizer::from_file(model).map_err(boxed)?;
    let truncation = TruncationParams {
        max_length: MAX_TOKENS,
        ..TruncationParams::default()
    };
    tokenizer
        .with_padding(None)
        .with_truncation(Some(truncation))
        .map_err(boxed)?;
    Ok(tokenizer)
}

/// The crate's errors may cross threads, which `?` cannot know.
fn boxed(error: tokenizers::Error) -> Box<dyn std::error::Error> {
    error
}

/// Seconds of one call, over enough calls to be measured.
fn seconds(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed().as_secs_f64() < SECONDS {
        work();
        calls += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
