//! How long until a model has answered for the first time: what a command, a function as a service or a
//! program that has just started waits for.
//!
//! ```text
//! cargo run --release -p batchwright-engine --example first_answer -- MODEL [near|fast]
//! ```
//!
//! Each line is a load of its own in one process, the files in the system's cache; the first line is that of a
//! fresh process.

#![expect(clippy::print_stdout, reason = "an example prints its measurements")]

use std::error::Error;
use std::time::Instant;

use batchwright_engine::{Input, Model, Task};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments
        .next()
        .ok_or("usage: first_answer MODEL [near|fast]")?;
    let precision = arguments.next().map(|name| name.parse()).transpose()?;
    println!("load ms  first answer ms  both ms  second answer ms");
    for _ in 0..5 {
        let started = Instant::now();
        let builder = Model::builder(&name).offline();
        let model = match precision {
            Some(precision) => builder.precision(precision).load()?,
            None => builder.load()?,
        };
        let loaded = started.elapsed();
        let ask = |text: &str| {
            model.predict(match model.task() {
                Task::Rerank => Input::Pair(text.to_owned(), text.to_owned()),
                _ => Input::Text(text.to_owned()),
            })
        };
        ask("turn on the lights in the kitchen, please")?;
        let first = started.elapsed();
        ask("what is the balance of my savings account")?;
        let second = started.elapsed();
        let milliseconds = |time: std::time::Duration| 1e3 * time.as_secs_f64();
        println!(
            "{:7.1}  {:15.1}  {:7.1}  {:16.1}",
            milliseconds(loaded),
            milliseconds(first - loaded),
            milliseconds(first),
            milliseconds(second - first),
        );
    }
    Ok(())
}
