//! The layers below the typed flags: the environment, then a configuration file, then defaults.
//!
//! Clap knows the order *typed, environment, default*. A variable is attached to every flag, and a
//! file's value becomes that flag's default, as which `--help` shows it; so neither needs a second list
//! of flags.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

const PREFIX: &str = "BATCHWRIGHT_";

/// Attaches `BATCHWRIGHT_<FLAG>` to every flag of every command.
pub(super) fn with_environment(command: Command) -> Command {
    let command = command.mut_args(attach);
    command.mut_subcommands(with_environment)
}

fn attach(arg: Arg) -> Arg {
    if arg.get_long().is_none() || is_opposite(&arg) {
        return arg;
    }
    let name = variable(arg.get_id().as_str());
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    // `BATCHWRIGHT_QUIET=1` is what people write.
    let arg = if is_flag {
        arg.value_parser(BoolishValueParser::new())
    } else {
        arg
    };
    // An empty variable is how a script says "not set".
    match std::env::var_os(&name) {
        Some(value) if !value.is_empty() => arg.env(name).hide_env(true),
        _ => arg,
    }
}

/// What can be written as `normalize = false`: one setting has one key and one variable, or clap
/// would find a typed flag at odds with the other's variable.
fn is_opposite(arg: &Arg) -> bool {
    arg.get_id() == "no_normalize"
}

/// The variable that gave the value which clap refused, if one did.
pub(super) fn variable_behind(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // `--threads <N>`, as usage shows it.
    let flag = flag.split([' ', '=', '[']).next()?;
    let is_typed = |word: &OsString| {
        let word = word.to_string_lossy();
        word == flag || word.starts_with(&format!("{flag}="))
    };
    let name = variable(&flag.strip_prefix("--")?.replace('-', "_"));
    let set = std::env::var_os(&name).is_some_and(|value| !value.is_empty());
    (set && !words.iter().any(is_typed)).then_some(name)
}

fn variable(id: &str) -> String {
    format!("{PREFIX}{}", id.to_ascii_uppercase())
}

/// Variables that look like ours and name no flag, each with the nearest that does.
pub(super) fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    /// Directories and switches that other crates read.
    const OTHERS: [&str; 1] = ["HOME"];
    let known = known_flags(&super::command());
    let unknown = names.filter_map(|name| {
        let rest = name.strip_prefix(PREFIX)?;
        let id = rest.to_ascii_lowercase();
        if known.iter().any(|arg| arg.get_id() == id.as_str()) || OTHERS.contains(&rest) {
            return None;
        }
        let nearest = variable(&nearest(&id, &known));
        Some((name, nearest))
    });
    unknown.collect()
}

/// The file that `--config FILE` or the environment names. Found before the words are parsed, for the
/// file decides about defaults.
pub(super) fn config_path(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word == "--config" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word
            .to_str()
            .and_then(|word| word.strip_prefix("--config="))
        {
            return Some(path.into());
        }
    }
    std::env::var_os(variable("config"))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// Makes the values of a file the defaults of the flags they name.
pub(super) fn with_file(command: Command, path: &Path) -> anyhow::Result<Command> {
    let place = || format!("configuration file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    with_text(command, &text).with_context(place)
}

fn with_text(mut command: Command, text: &str) -> anyhow::Result<Command> {
    let table: toml::Table = text.parse()?;
    let known = known_flags(&command);
    for (key, value) in &table {
        if key == "config" {
            bail!("`config` cannot be set here: a file names no other file");
        }
        // `[[model]]`: several models with options of their own, which `serve` reads itself.
        if key == "model" && is_tables(value) {
            continue;
        }
        let Some(flag) = known.iter().find(|arg| arg.get_id() == key) else {
            bail!(
                "there is no setting `{key}`; did you mean `{}`?",
                nearest(key, &known)
            );
        };
        let values = words(value).with_context(|| {
            format!(
                "`{key}` is {}; write one value, or a list",
                value.type_str()
            )
        })?;
        check(flag, key, &values)?;
        command = with_default(command, key, &values);
    }
    Ok(command)
}

/// Sets a flag's default wherever the flag is.
fn with_default(command: Command, id: &str, values: &[String]) -> Command {
    let command = command.mut_args(|arg| {
        if arg.get_id() == id {
            arg.default_values(values.to_vec())
        } else {
            arg
        }
    });
    command.mut_subcommands(|sub| with_default(sub, id, values))
}

/// Clap takes a default to be right: one that is not would be a panic, so it is tried first.
fn check(arg: &Arg, id: &str, values: &[String]) -> anyhow::Result<()> {
    let joined = values.join(",");
    let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
    if is_flag && !["true", "false"].contains(&joined.as_str()) {
        bail!("`{id}` is {joined}; it is a switch: write true or false");
    }
    if is_flag {
        return Ok(());
    }
    if values.len() != 1 && arg.get_value_delimiter().is_none() {
        bail!("`{id}` takes one value, not {}", values.len());
    }
    let word = format!("--{}={joined}", arg.get_long().unwrap_or(id));
    let alone = Command::new("file")
        .no_binary_name(true)
        .arg(arg.clone().required(false));
    alone
        .try_get_matches_from([word])
        .map(drop)
        .map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            anyhow::anyhow!("{}", first.trim_start_matches("error: "))
        })
}

/// Whether a value was written as `[[key]]`.
fn is_tables(value: &toml::Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(toml::Value::is_table))
}

/// A value as it would be typed; `None` for what no flag takes.
fn words(value: &toml::Value) -> Option<Vec<String>> {
    let one = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    };
    match value {
        toml::Value::Array(values) => values.iter().map(one).collect(),
        value => one(value).map(|word| vec![word]),
    }
}

/// All flags of all commands, each once.
pub(super) fn known_flags(command: &Command) -> Vec<Arg> {
    let mut flags: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some())
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()) && !is_opposite(arg))
        .cloned()
        .collect();
    flags.extend(command.get_subcommands().flat_map(known_flags));
    flags.sort_by(|a, b| a.get_id().cmp(b.get_id()));
    flags.dedup_by(|a, b| a.get_id() == b.get_id());
    flags
}

/// The id of the flag that is the fewest edits away.
fn nearest(id: &str, known: &[Arg]) -> String {
    let wanted = id.replace('-', "_");
    let ids = known.iter().map(|arg| arg.get_id().as_str());
    ids.min_by_key(|id| edits(&wanted, id))
        .unwrap_or_default()
        .to_owned()
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Command as Sub, CommandLine};

    fn parsed(file: &str, words: &[&str]) -> anyhow::Result<CommandLine> {
        let command = with_text(CommandLine::command(), file)?;
        let words = ["batchwright"].iter().chain(words);
        let matches = command.try_get_matches_from(words)?;
        Ok(CommandLine::from_arg_matches(&matches)?)
    }

    /// A typed flag would lose against the file, or the file against nothing.
    #[test]
    fn a_typed_flag_wins_over_the_file() {
        let file = "batch_tokens = 200\nthreads = 2\nkeep = [\"a\", \"b\"]\nquiet = true\n\
                    cache = \"1MiB\"\nthreshold = 0.5\n";
        let line = parsed(file, &["embed", "in.csv", "--batch-tokens", "7"]).unwrap();
        assert_eq!((line.general.threads, line.general.quiet), (Some(2), true));
        let Sub::Embed(job) = line.command else {
            panic!("another command")
        };
        assert_eq!(job.speed.batch_tokens.map(usize::from), Some(7));
        assert_eq!(job.output.keep, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(job.cache.cache.0, 1 << 20);
        assert_eq!(job.answer.threshold, Some(0.5));
    }

    /// A misspelt setting would be ignored, and a night's run done with the wrong model.
    #[test]
    fn mistakes_in_the_file_are_errors_that_name_the_remedy() {
        for (file, expected) in [
            (
                "batch_token = 1",
                "there is no setting `batch_token`; did you mean `batch_tokens`?",
            ),
            ("text-column = \"a\"", "did you mean `text_column`?"),
            ("config = \"b.toml\"", "`config` cannot be set here"),
            ("no_normalize = true", "did you mean `normalize`?"),
            ("threads = \"many\"", "invalid value 'many' for '--threads"),
            (
                "quiet = 1",
                "`quiet` is 1; it is a switch: write true or false",
            ),
            ("threads = [1, 2]", "`threads` takes one value, not 2"),
            ("[embed]\nthreads = 1", "there is no setting `embed`"),
            (
                "keep = {a = 1}",
                "`keep` is table; write one value, or a list",
            ),
            (
                "truncate = \"middle\"",
                "invalid value 'middle' for '--truncate",
            ),
            ("threads = ", "TOML parse error at line 1"),
        ] {
            let error = format!("{:#}", parsed(file, &["embed", "in.csv"]).unwrap_err());
            assert!(error.contains(expected), "{file}: {error}");
        }
    }

    /// Words after `--` are inputs, even one called `--config`.
    #[test]
    fn the_file_is_found_before_parsing() {
        let find = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            config_path(&words)
        };
        assert_eq!(
            find(&["b", "embed", "--config", "x.toml"]),
            Some("x.toml".into())
        );
        assert_eq!(
            find(&["b", "--config=x.toml", "embed"]),
            Some("x.toml".into())
        );
        assert_eq!(find(&["b", "embed", "--", "--config", "x.toml"]), None);
    }

    /// A misspelt variable would be ignored in silence.
    #[test]
    fn misspelt_variables_are_found() {
        let names = [
            "BATCHWRIGHT_THREAD",
            "BATCHWRIGHT_THREADS",
            "BATCHWRIGHT_HOME",
            "PATH",
        ];
        let unknown = unknown_variables(names.iter().map(|name| (*name).to_owned()));
        let expected = (
            "BATCHWRIGHT_THREAD".to_owned(),
            "BATCHWRIGHT_THREADS".to_owned(),
        );
        assert_eq!(unknown, [expected]);
    }

    /// The nearest setting would not be the one that was meant.
    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
