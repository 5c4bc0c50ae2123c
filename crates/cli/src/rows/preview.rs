//! `--preview`: the differences in the first rows, as people see them.

use std::io::{IsTerminal, stdout};

use data::Source;
use text::augment::Edited;

use super::edits::{Counts, Edits, Version};
use super::plan::RowsPlan;
use crate::console;
use crate::job::Ending;

/// How parts that went and that came are marked.
#[derive(Clone, Copy, Debug)]
struct Marks {
    gone: (&'static str, &'static str),
    come: (&'static str, &'static str),
    faint: (&'static str, &'static str),
}

/// Red and struck out, green, faint.
const COLOURS: Marks = Marks {
    gone: ("\x1b[31;9m", "\x1b[0m"),
    come: ("\x1b[32m", "\x1b[0m"),
    faint: ("\x1b[2m", "\x1b[0m"),
};

/// As `wdiff` has it.
const PLAIN: Marks = Marks {
    gone: ("[-", "-]"),
    come: ("{+", "+}"),
    faint: ("", ""),
};

/// Prints the first `rows` rows and what becomes of them.
pub(super) fn show(plan: &RowsPlan, edits: &Edits, rows: usize) -> anyhow::Result<Ending> {
    let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let marks = match stdout().is_terminal() && !wants_none {
        true => COLOURS,
        false => PLAIN,
    };
    let mut spec = plan.input.clone();
    spec.chunk_rows = rows.clamp(1, spec.chunk_rows);
    let (mut report, mut left) = (String::new(), rows);
    let mut scratch = Edited::default();
    for chunk in Source::open(&spec)? {
        let chunk = chunk?;
        for (at, row) in chunk.rows.iter().take(left).enumerate() {
            let row_number = chunk.first_row + at as u64;
            let number = edits.first_row + row_number + 1;
            let (on, off) = marks.faint;
            match row {
                Err(error) => report.push_str(&format!("{on}{number:>7}  {error}{off}\n")),
                Ok(row) => {
                    report.push_str(&format!("{on}{number:>7}{off}  {}\n", visible(&row.text)));
                    let counts = &mut Counts::default();
                    edits.versions(row_number, &row.text, &mut scratch, counts, |version| {
                        report.push_str(&lines(&version, &row.text, marks));
                    });
                }
            }
        }
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            break;
        }
    }
    console::print(&report)?;
    Ok(Ending::Complete)
}

/// The lines of one version; none for the row as it was.
fn lines(version: &Version<'_>, text: &str, marks: Marks) -> String {
    let Some(edited) = version.edited else {
        return String::new();
    };
    let (on, off) = marks.faint;
    let mut lines = String::new();
    if let Some(shuffled) = edited.shuffled() {
        let copy = version.copy;
        lines.push_str(&format!("{on}{copy:>5} ~{off}  {}\n", visible(shuffled)));
    }
    if edited.edits().is_empty() {
        if edited.shuffled().is_none() {
            lines.push_str(&format!("{on}{:>5}    as it was{off}\n", version.copy));
        }
        return lines;
    }
    let before = edited.shuffled().unwrap_or(text);
    let kinds: Vec<&str> = edited.edits().iter().map(|edit| edit.kind.name()).collect();
    lines.push_str(&format!(
        "{on}{:>5}{off}    {}  {on}{}{off}\n",
        version.copy,
        marked(before, edited, marks),
        kinds.join(", ")
    ));
    lines
}

/// The new text, with what went and what came marked.
fn marked(before: &str, edited: &Edited, marks: Marks) -> String {
    let mut line = String::new();
    let mut at = 0;
    for edit in edited.edits() {
        let part = |text: &str, range: std::ops::Range<usize>| {
            visible(text.get(range).unwrap_or_default())
        };
        line.push_str(&part(before, at..edit.before.start));
        for (marks, words) in [
            (marks.gone, part(before, edit.before.clone())),
            (marks.come, part(edited.text(), edit.after.clone())),
        ] {
            if !words.is_empty() {
                line.push_str(&format!("{}{words}{}", marks.0, marks.1));
            }
        }
        at = edit.before.end;
    }
    line.push_str(&visible(before.get(at..).unwrap_or_default()));
    line
}

/// The text without characters that a terminal would obey.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
