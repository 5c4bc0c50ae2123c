//! How long a row takes to be edited, by recipe and by operation, on one core.
//!
//! ```text
//! cargo run --release -p batchwright-text --example augment_bench [-- texts.txt [recipe.toml]]
//! ```
//!
//! The file holds a text a line, and with a recipe that alone is measured. Without a file the rows are like `01:ccinterview-02:ccinterview-…`, 55
//! characters of ASCII, and the same with letters beyond it. Every figure is the least of several rounds:
//! what else the machine does only ever adds.

#![expect(clippy::print_stdout, reason = "a benchmark prints tables")]

use std::hint::black_box;
use std::time::Instant;

use batchwright_text::augment::{AugmentError, Augmenter, Edited, Kind, Place, Recipe};

const EVERY: &str = include_str!("../../../benches/recipes/every.toml");
const ROUNDS: usize = 15;
const ROWS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let texts: Vec<(&str, Vec<String>)> = match arguments.next() {
        Some(path) => vec![("the file", lines(&std::fs::read_to_string(path)?))],
        None => vec![
            ("ASCII", interviews("ccinterview")),
            ("letters beyond", interviews("ccintérviéw")),
        ],
    };
    if let (Some(path), Some((_, texts))) = (arguments.next(), texts.first()) {
        println!("| recipe | ns/row | edits/row |\n|---|---|---|");
        return Ok(row(&path, &Recipe::read(path.as_ref())?, texts)?);
    }
    for (name, texts) in &texts {
        let bytes: usize = texts.iter().map(String::len).sum();
        println!(
            "{name}: {} rows of {:.1} bytes\n",
            texts.len(),
            bytes as f64 / texts.len() as f64
        );
        println!("| recipe | ns/row | edits/row |\n|---|---|---|");
        let every = Recipe::parse(EVERY)?;
        for name in Recipe::names() {
            row(name, &Recipe::named(name)?, texts)?;
        }
        row("every", &every, texts)?;
        row("nothing", &Recipe::default(), texts)?;
        println!();
        println!("| operation alone, as in `every` | ns/row | edits/row |\n|---|---|---|");
        for kind in Kind::ALL {
            let alone = Recipe::default()
                .separated_by("-")
                .with(*kind, every.p(*kind))?;
            row(kind.name(), &alone, texts)?;
        }
        println!();
    }
    Ok(())
}

fn row(name: &str, recipe: &Recipe, texts: &[String]) -> Result<(), AugmentError> {
    let augmenter = Augmenter::new(recipe, 7)?;
    let mut edited = Edited::default();
    let mut edits = 0;
    let mut least = f64::INFINITY;
    for epoch in 0..ROUNDS as u64 {
        let start = Instant::now();
        for (row, text) in texts.iter().enumerate() {
            let place = Place {
                epoch,
                row: row as u64,
                copy: 0,
            };
            augmenter.edit(place, black_box(text), &mut edited);
            edits += black_box(&edited).total();
        }
        least = least.min(start.elapsed().as_secs_f64());
    }
    let rows = texts.len() as f64;
    println!(
        "| {name} | {:.0} | {:.2} |",
        1e9 * least / rows,
        edits as f64 / rows / ROUNDS as f64
    );
    Ok(())
}

fn interviews(word: &str) -> Vec<String> {
    let rows = 0..ROWS;
    rows.map(|row| {
        let at = |part: usize| format!("{:02}:{word}", (row + part) % 100);
        [at(1), at(2), at(3), at(4)].join("-")
    })
    .collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
