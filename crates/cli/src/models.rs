//! `batchwright models`: the catalogue, and what of it is on this machine.

use batchwright::NoProgress;
use catalogue::{Entry, Network, ResolveOptions};
use serde_json::json;

use crate::args::ModelsArgs;
use crate::console;
use crate::table::{Align, Table};

/// Prints the catalogue.
pub(crate) fn run(args: &ModelsArgs) -> anyhow::Result<()> {
    if args.json {
        let entries: Vec<_> = catalogue::entries().iter().map(described).collect();
        return console::print(&format!("{}\n", serde_json::to_string_pretty(&entries)?));
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("TASK", Align::Left),
        ("FAMILY", Align::Left),
        ("SIZE", Align::Right),
        ("LICENCE", Align::Left),
        ("HERE", Align::Left),
    ]);
    for entry in catalogue::entries() {
        table.row([
            entry.name.to_owned(),
            entry.purpose.name().to_owned(),
            entry.family.to_owned(),
            format!("{} MB", entry.megabytes),
            entry.licence.to_owned(),
            if is_here(entry) { "yes" } else { "no" }.to_owned(),
        ]);
    }
    let note = "\nA model that is not here is fetched when it is first used. Besides these, -m takes any \
                hub id\n(owner/name) and any directory in Hugging Face layout.\n";
    console::print(&(table.render() + note))
}

fn described(entry: &Entry) -> serde_json::Value {
    json!({
        "name": entry.name,
        "task": entry.purpose.name(),
        "family": entry.family,
        "megabytes": entry.megabytes,
        "licence": entry.licence,
        "here": is_here(entry),
    })
}

/// Whether the model lies on this machine, whole.
pub(crate) fn is_here(entry: &Entry) -> bool {
    let offline = ResolveOptions {
        network: Network::Offline,
        ..ResolveOptions::default()
    };
    catalogue::resolve(entry.name, &offline, &NoProgress).is_ok()
}

/// The catalogue's names for a task, for messages.
pub(crate) fn names_for(task: &str) -> Vec<&'static str> {
    let entries = catalogue::entries().iter();
    entries
        .filter(|entry| entry.purpose.name() == task)
        .map(|entry| entry.name)
        .collect()
}
