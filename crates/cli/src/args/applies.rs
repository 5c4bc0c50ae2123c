//! Which flags mean something for which task: one table, from which help and errors derive.

use std::collections::BTreeMap;

use anyhow::bail;
use batchwright::Task;
use clap::ArgMatches;
use clap::parser::ValueSource;

/// Flags that mean something for some tasks only, by their ids.
const FOR_TASKS: &[(&str, &[Task])] = &[
    ("pooling", &[Task::Embed]),
    ("normalize", &[Task::Embed]),
    ("no_normalize", &[Task::Embed]),
    ("dimensions", &[Task::Embed]),
    ("vector_type", &[Task::Embed]),
    ("top_k", &[Task::Classify]),
    ("threshold", &[Task::Classify, Task::Tag]),
    ("raw_scores", &[Task::Classify, Task::Rerank]),
    ("aggregation", &[Task::Tag]),
    ("pair_column", &[Task::Classify, Task::Rerank]),
];

/// Hides from each task's help the flags that say nothing to it. They are still parsed, so that the
/// error can say which task they are for.
pub(super) fn tailor(command: clap::Command) -> clap::Command {
    Task::ALL.into_iter().fold(command, |command, task| {
        command.mut_subcommand(task.name(), |sub| {
            let foreign = FOR_TASKS.iter().filter(|(_, tasks)| !tasks.contains(&task));
            foreign.fold(sub, |sub, (id, _)| sub.mut_arg(id, |arg| arg.hide(true)))
        })
    })
}

/// The flags that stood on the command line itself, and where, counted from the left. One that comes from the environment or a file is
/// meant for whatever command can use it; one that was typed is meant now.
#[derive(Debug, Default)]
pub(crate) struct Typed(BTreeMap<String, usize>);

impl Typed {
    /// Collects them from all levels of subcommands.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let mut typed = BTreeMap::new();
        let mut level = Some(matches);
        while let Some(matches) = level {
            let ids = matches.ids().map(clap::Id::as_str).filter(|id| {
                // Groups have ids too, but no source of their own that could be asked for.
                matches.try_contains_id(id).is_ok()
                    && matches.value_source(id) == Some(ValueSource::CommandLine)
            });
            typed.extend(ids.map(|id| {
                let last = matches.indices_of(id).and_then(Iterator::last);
                (id.to_owned(), last.unwrap_or_default())
            }));
            level = matches.subcommand().map(|(_, matches)| matches);
        }
        Typed(typed)
    }

    /// Whether the flag with this id stood on the command line.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Where the flag with this id stood last; one that did not stands before all that did.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.0.get(id).copied()
    }

    /// Refuses a typed flag that would do nothing.
    pub(crate) fn check(&self, task: Task) -> anyhow::Result<()> {
        for (id, tasks) in FOR_TASKS {
            if self.has(id) && !tasks.contains(&task) {
                let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
                bail!(
                    "--{} means something to {} alone, and this model is to {task}; leave it out",
                    id.replace('_', "-"),
                    names.join(" and ")
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt id in the table would leave a flag that silently does nothing.
    #[test]
    fn the_table_names_flags_that_exist() {
        let command = crate::args::command();
        let embed = command.find_subcommand("embed").unwrap();
        for (id, tasks) in FOR_TASKS {
            assert!(embed.get_arguments().any(|arg| arg.get_id() == id), "{id}");
            assert!(!tasks.is_empty(), "{id}");
        }
    }

    /// `batchwright rerank --help` would offer flags that it then refuses.
    #[test]
    fn help_shows_what_a_task_takes() {
        let hidden = |command: &str, id: &str| {
            let all = crate::args::command();
            let sub = all.find_subcommand(command).unwrap();
            sub.get_arguments()
                .find(|arg| arg.get_id() == id)
                .unwrap()
                .is_hide_set()
        };
        for (command, id, expected) in [
            ("embed", "pooling", false),
            ("embed", "aggregation", true),
            ("tag", "aggregation", false),
            ("tag", "pair_column", true),
            ("rerank", "raw_scores", false),
            ("predict", "aggregation", false),
        ] {
            assert_eq!(hidden(command, id), expected, "{command} {id}");
        }
    }
}
