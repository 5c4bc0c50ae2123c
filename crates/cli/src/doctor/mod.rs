//! `batchwright doctor`: one line for each thing that a run depends on, with the remedy where
//! something is wrong. It opens no connection, and leaves nothing behind but the record of the sums of
//! models that it finds.

mod machine;
mod places;
mod tools;

use serde::Serialize;

use crate::args::{DoctorArgs, GeneralArgs};
use crate::console;

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    name: &'static str,
    state: State,
    /// In words.
    found: String,
    /// What to do, where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Warn,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Looks at everything and prints what it found.
pub(crate) fn run(args: &DoctorArgs, general: &GeneralArgs) -> anyhow::Result<()> {
    let environment = catalogue::Environment::default();
    let mut findings = vec![Finding::ok(
        "version",
        format!(
            "batchwright {} for {}",
            env!("CARGO_PKG_VERSION"),
            machine::system()
        ),
    )];
    findings.extend(machine::findings(general));
    findings.extend(places::findings(&environment, args.cache_dir.as_deref()));
    findings.extend(tools::findings(&environment));
    if args.json {
        return console::print(&format!("{}\n", serde_json::to_string_pretty(&findings)?));
    }
    console::print(&findings.iter().map(line).collect::<String>())
}

fn line(finding: &Finding) -> String {
    let mark = match finding.state {
        State::Ok => "ok",
        State::Warn => "warn",
    };
    let remedy = finding
        .remedy
        .as_ref()
        .map_or_else(String::new, |remedy| format!(": {remedy}"));
    format!(
        "{mark:<4}  {:<15}  {}{remedy}\n",
        finding.name, finding.found
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A warning without its remedy leaves the user where he was.
    #[test]
    fn a_line_has_mark_name_finding_and_remedy() {
        let warn = Finding::warn("memory", "200 MiB free", "close something");
        assert_eq!(
            line(&warn),
            "warn  memory           200 MiB free: close something\n"
        );
        assert_eq!(
            line(&Finding::ok("gpu", "none")),
            "ok    gpu              none\n"
        );
    }
}
