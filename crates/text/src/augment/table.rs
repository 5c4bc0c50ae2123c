//! Tables of replacements: what stands in the text, and what may come in its place.

mod keyboard;
mod misspellings;

use std::collections::BTreeMap;

pub(crate) use keyboard::{Keys, neighbours};
pub(crate) use misspellings::misspellings;

use super::kind::Kind;

/// For each text its replacements, at least one and none of them the text itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(pub(crate) BTreeMap<String, Vec<String>>);

impl Table {
    /// Adds a replacement, once. Nothing may come for a text without characters or for itself.
    pub(crate) fn add(&mut self, from: &str, to: &str) {
        if from.is_empty() || from == to {
            return;
        }
        let known = self.0.entry(from.to_owned()).or_default();
        if !known.iter().any(|one| one == to) {
            known.push(to.to_owned());
        }
    }

    /// Adds texts of which each may come for each other.
    pub(crate) fn add_group(&mut self, texts: &[String]) {
        for from in texts {
            for to in texts {
                self.add(from, to);
            }
        }
    }
}

/// A table that ships.
pub(crate) struct BuiltIn {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// Those that ship; the first of a kind is what it has if none is named.
pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        kind: Kind::Keyboard,
        name: "qwerty",
        text: include_str!("tables/qwerty.toml"),
    },
    BuiltIn {
        kind: Kind::Keyboard,
        name: "qwertz",
        text: include_str!("tables/qwertz.toml"),
    },
    BuiltIn {
        kind: Kind::Keyboard,
        name: "azerty",
        text: include_str!("tables/azerty.toml"),
    },
    BuiltIn {
        kind: Kind::Optical,
        name: "scans",
        text: include_str!("tables/scans.toml"),
    },
    BuiltIn {
        kind: Kind::Similar,
        name: "lookalikes",
        text: include_str!("tables/lookalikes.toml"),
    },
    BuiltIn {
        kind: Kind::Accent,
        name: "accents",
        text: include_str!("tables/accents.toml"),
    },
    BuiltIn {
        kind: Kind::Errors,
        name: "english",
        text: include_str!("tables/english.txt"),
    },
];

/// Where an operation's table is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One that ships, by its name.
    BuiltIn(&'static str),
    /// The user's own.
    Own(Table),
}

/// The names of the tables that ship for an operation.
pub(crate) fn names(kind: Kind) -> impl Iterator<Item = &'static str> {
    let of_kind = BUILT_IN.iter().filter(move |one| one.kind == kind);
    of_kind.map(|one| one.name)
}
