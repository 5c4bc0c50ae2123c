//! What was typed: flags, as low-level as they come. What they mean together is [`crate::plan`]'s.
//!
//! Each flag is documented once, here. Its environment variable and its key in a configuration file
//! derive from its name, so that there is no second list to keep: see [`layers`].

mod answer;
mod applies;
mod augment;
mod bench;
mod cache;
mod examples;
mod input;
mod layers;
mod load_test;
mod model;
mod output;
mod quantize;
mod rows;
mod serve;
mod size;
mod speed;
mod tokenize;

use std::ffi::OsString;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use batchwright::{Isa, Task};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use data::Format;

pub(crate) use answer::{AnswerArgs, VectorType};
pub(crate) use applies::Typed;
pub(crate) use augment::{AugmentArgs, EditArgs};
pub(crate) use bench::BenchArgs;
pub(crate) use cache::{CacheAction, CacheArgs, CacheCommand};
pub(crate) use input::InputArgs;
pub(crate) use load_test::LoadTestArgs;
pub(crate) use model::{
    ModelArgs, OnLongName, PoolingName, PrecisionName, ReadingArgs, TaskArgs, TruncateName,
};
pub(crate) use output::{OnError, OutputArgs};
pub(crate) use quantize::{CheckArgs, QuantizeArgs};
pub(crate) use rows::{IdType, RowsInputArgs, RowsOutputArgs, TokenArgs};
pub(crate) use serve::{LimitArgs, LogFormat, LogLevel, OperationArgs, ServeArgs};
pub(crate) use size::ByteSize;
pub(crate) use speed::SpeedArgs;
pub(crate) use tokenize::TokenizeArgs;

/// Runs transformer text encoders over files: as fast as the processor allows, losing nothing.
#[derive(Debug, Parser)]
#[command(
    name = "batchwright",
    version,
    arg_required_else_help = true,
    after_help = EXAMPLES
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) general: GeneralArgs,
}

const EXAMPLES: &str = "\
Examples:
  batchwright embed queries.csv -o vectors.parquet
  batchwright classify -m ./my-classifier 'logs/*.jsonl.gz' -o labels.csv
  cat questions.txt | batchwright embed - > vectors.jsonl
  batchwright doctor

Data goes to standard output, words and progress to standard error.
Exit codes: 0 all rows answered; 2 some rows carry an error; 1 the job could not run;
130 interrupted, and the same command continues.
Every flag can also be set as BATCHWRIGHT_<FLAG> in the environment, such as
BATCHWRIGHT_BATCH_TOKENS=200, or in a TOML file given with --config.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the task that the model was made for
    #[command(after_help = examples::PREDICT)]
    Predict(PredictArgs),
    /// Turn texts into vectors
    #[command(after_help = examples::EMBED)]
    Embed(JobArgs),
    /// Label texts, or pairs of texts
    #[command(after_help = examples::CLASSIFY)]
    Classify(JobArgs),
    /// Score how well pairs of texts match
    #[command(after_help = examples::RERANK)]
    Rerank(JobArgs),
    /// Find named spans in texts
    #[command(after_help = examples::TAG)]
    Tag(JobArgs),
    /// Turn texts into token ids: characters, or any model's tokens
    #[command(after_help = tokenize::EXAMPLES)]
    Tokenize(Box<TokenizeArgs>),
    /// Misspell and shuffle texts by a recipe, as training data: seeded, with labels that follow
    #[command(after_help = augment::EXAMPLES)]
    Augment(Box<AugmentArgs>),
    /// Measure a model on your own texts: which batches, how many threads, what a cache gives
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<BenchArgs>),
    /// Answer over HTTP: own routes, OpenAI's, the Open Inference Protocol's, Text Embeddings Inference's
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Write a model as packed integers: it loads at once, computes faster, and the loss is measured
    #[command(after_help = quantize::EXAMPLES)]
    Quantize(Box<QuantizeArgs>),
    /// Measure a server under load, this one's or another's: latency, throughput, the highest rate
    #[command(after_help = load_test::EXAMPLES)]
    LoadTest(Box<LoadTestArgs>),
    /// Check the machine, the directories and what models need
    Doctor(DoctorArgs),
    /// List the models that have a short name
    Models(ModelsArgs),
    /// Look at, or empty, a cache directory
    Cache(CacheCommand),
    /// Print a script that completes commands and flags in your shell
    Completions(CompletionsArgs),
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "General")]
pub(crate) struct GeneralArgs {
    /// Threads that compute; by default all that this process may use
    #[arg(long, value_name = "N", global = true)]
    pub(crate) threads: Option<usize>,
    /// Never touch the network: the model must be here already
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Read flags from a TOML file (`batch_tokens = 200`); the environment and typed flags win
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Instruction set to compute with: scalar, neon, avx2 or avx512; by default the best there is
    #[arg(long, value_name = "NAME", global = true, hide = true)]
    pub(crate) isa: Option<Isa>,
}

#[derive(Args, Debug)]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
}

/// What every command takes that reads rows and writes answers.
#[derive(Args, Debug)]
pub(crate) struct JobArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// The cache directory to look at as well
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Print JSON instead of lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ModelsArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete in
    pub(crate) shell: clap_complete::Shell,
}

/// Takes a number of at least 1.
fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "write a whole number of at least 1".to_owned())
}

/// Takes the number of a row, from 1.
fn row_number(text: &str) -> Result<NonZeroU64, String> {
    text.parse()
        .map_err(|_| "rows are numbered from 1: write a whole number of at least 1".to_owned())
}

/// Takes one of `formats` by its name or an extension; help and completion list the names.
fn format(formats: &[Format]) -> impl TypedValueParser<Value = Format> {
    let values = formats
        .iter()
        .map(|format| PossibleValue::new(format.name()).aliases(format.extensions()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Format>())
}

/// Takes a task by its name.
fn task() -> impl TypedValueParser<Value = Task> {
    PossibleValuesParser::new(Task::ALL.map(Task::name)).try_map(|name| {
        Task::ALL
            .into_iter()
            .find(|task| task.name() == name)
            .ok_or(name)
    })
}

/// The whole command line as clap knows it, with environment variables.
pub(crate) fn command() -> clap::Command {
    applies::tailor(layers::with_environment(CommandLine::command()))
}

/// Reads the command line, the environment and the configuration file.
pub(crate) fn parse(words: Vec<OsString>) -> Result<(CommandLine, Typed), ParseError> {
    let command = command();
    let command = match layers::config_path(&words) {
        Some(path) => layers::with_file(command, &path).map_err(ParseError::Config)?,
        None => command,
    };
    let matches = command
        .try_get_matches_from(&words)
        .map_err(|error| ParseError::Usage {
            variable: layers::variable_behind(&error, &words),
            error,
        })?;
    let typed = Typed::of(&matches);
    let command_line =
        CommandLine::from_arg_matches(&matches).map_err(|error| ParseError::Usage {
            error,
            variable: None,
        })?;
    Ok((command_line, typed))
}

/// `words` with every `option_name` in backticks that is a flag written as `--option-name`.
pub(crate) fn with_flags(words: &str) -> String {
    let flags = layers::known_flags(&command());
    let parts: Vec<String> = words
        .split('`')
        .enumerate()
        .map(
            |(at, part)| match flags.iter().find(|flag| flag.get_id() == part) {
                Some(flag) if at % 2 == 1 => format!("--{}", flag.get_long().unwrap_or(part)),
                _ => part.to_owned(),
            },
        )
        .collect();
    parts.join("`")
}

/// Variables in the environment that look like a flag and are none, each with the nearest flag's.
pub(crate) fn unknown_variables() -> Vec<(String, String)> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    layers::unknown_variables(names)
}

/// Why the words could not be understood.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// Clap's, which prints itself; also how `--help` ends.
    Usage {
        error: clap::Error,
        /// The variable whose value was refused, if it was none of the words.
        variable: Option<String>,
    },
    /// The configuration file's.
    Config(anyhow::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clap checks its own tables only in debug builds: a slip would be a panic for the user.
    #[test]
    fn the_tables_are_consistent() {
        command().debug_assert();
    }

    /// One configuration file serves all commands: a key that is a path to one of them and a switch to
    /// another would stop one of the two.
    #[test]
    fn flags_of_one_name_take_one_kind_of_value() {
        let mut kinds = std::collections::BTreeMap::new();
        for sub in command().get_subcommands() {
            for arg in sub.get_arguments() {
                let action = format!("{:?}", arg.get_action());
                let kind = (action, arg.get_value_parser().type_id());
                let first = kinds
                    .entry(arg.get_id().to_string())
                    .or_insert_with(|| kind.clone());
                assert_eq!(*first, kind, "{} {}", sub.get_name(), arg.get_id());
            }
        }
    }

    /// A flag without words cannot be found in `--help`.
    #[test]
    fn every_flag_is_documented() {
        let mut seen = 0;
        for sub in command().get_subcommands() {
            for arg in sub.get_arguments() {
                assert!(
                    arg.get_help().is_some(),
                    "{} {}",
                    sub.get_name(),
                    arg.get_id()
                );
                seen += 1;
            }
        }
        assert!(seen > 50, "{seen}");
    }
}
