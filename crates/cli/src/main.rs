//! The `batchwright` command line: what was typed ([`args`]), what it means ([`plan`]), and the
//! commands. Everything that computes lies in the crates below.

mod args;
mod bench;
mod cache;
mod completions;
mod console;
mod doctor;
mod download;
mod figures;
mod interrupt;
mod job;
mod load_test;
mod models;
mod plan;
mod quantize;
mod rows;
mod serve;
mod stopping;
mod table;

use std::process::ExitCode;

use batchwright::Task;

use args::{Command, CommandLine, JobArgs, ParseError, Typed};
use console::Console;
use job::Ending;
use plan::JobPlan;

fn main() -> ExitCode {
    let (line, typed) = match args::parse(std::env::args_os().collect()) {
        Ok(parsed) => parsed,
        Err(ParseError::Usage { error, variable }) => return usage(&error, variable.as_deref()),
        Err(ParseError::Config(error)) => return fail(&Console::quiet(), &error),
    };
    hush_guarded_panics();
    let console = if line.general.quiet {
        Console::quiet()
    } else {
        Console::talking()
    };
    for (name, nearest) in args::unknown_variables() {
        console.say(format_args!(
            "warning: {name} is no setting; did you mean {nearest}?"
        ));
    }
    match run(line, typed, &console) {
        Ok(Ending::Complete | Ending::NobodyListens) => ExitCode::SUCCESS,
        Ok(Ending::SomeRowsFailed) => ExitCode::from(2),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => fail(&console, &error),
    }
}

fn run(line: CommandLine, typed: Typed, console: &Console) -> anyhow::Result<Ending> {
    let general = line.general;
    let job = |task: Option<Task>, args: JobArgs, typed: Typed| {
        job::run(JobPlan::new(task, args, &general, typed)?, console)
    };
    match line.command {
        Command::Predict(args) => return job(args.task.task, args.job, typed),
        Command::Embed(args) => return job(Some(Task::Embed), args, typed),
        Command::Classify(args) => return job(Some(Task::Classify), args, typed),
        Command::Rerank(args) => return job(Some(Task::Rerank), args, typed),
        Command::Tag(args) => return job(Some(Task::Tag), args, typed),
        Command::Tokenize(args) => return rows::tokenize(*args, &general, console),
        Command::Augment(args) => return rows::augment(*args, &general, console),
        Command::Bench(args) => bench::run(&args, &general, &typed, console)?,
        Command::Serve(args) => serve::run(&args, &general, &typed, console)?,
        Command::Quantize(args) => quantize::run(&args, &general, console)?,
        Command::LoadTest(args) => return load_test::run(&args, &general, console),
        Command::Doctor(args) => doctor::run(&args, &general)?,
        Command::Models(args) => models::run(&args)?,
        Command::Cache(args) => cache::run(&args, console)?,
        Command::Completions(args) => completions::run(&args)?,
    }
    Ok(Ending::Complete)
}

/// A reader that panics over a damaged file ends in a clear error; the panic's own words before it
/// would look like a crash.
fn hush_guarded_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !data::is_guarded() {
            others(panic);
        }
    }));
}

/// Clap prints help, version and mistakes itself. Its exit code for a mistake is 2, which here says
/// that some rows carry an error.
fn usage(error: &clap::Error, variable: Option<&str>) -> ExitCode {
    // If standard output or error is closed there is nobody to tell.
    let _ = error.print();
    if let Some(name) = variable {
        Console::quiet().complain(format_args!("  the value is that of the variable {name}"));
    }
    match error.use_stderr() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// The error's words, with the library's options named as they are typed here.
fn in_flags(error: &anyhow::Error) -> String {
    let words = error.to_string();
    if let Some(load::LoadError::Option { .. }) = error.downcast_ref() {
        let words = args::with_flags(&words);
        return words.trim_start_matches("option ").to_owned();
    }
    match error.downcast_ref() {
        Some(batchwright::Error::Option { .. } | batchwright::Error::CacheDirectory { .. }) => {
            let words = args::with_flags(&words);
            words.trim_start_matches("option ").to_owned()
        }
        _ => words,
    }
}

fn fail(console: &Console, error: &anyhow::Error) -> ExitCode {
    let mut words = format!("error: {}", in_flags(error));
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many errors repeat their cause in their own words.
        if !words.contains(&cause) {
            words.push_str(&format!("\n  because: {cause}"));
        }
    }
    console.complain(words);
    ExitCode::FAILURE
}
