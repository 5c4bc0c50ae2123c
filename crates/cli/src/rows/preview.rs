//! `--preview`: the differences in the first rows, as people see them.

use std::io::{IsTerminal, stdout};

use data::Source;
use text::augment::Edited;

use super::edits::{Counts, Edits, Version};
use super::plan::RowsPlan;
use crate::console::{self, Console, Listener};
use crate::job::Ending;
use crate::plan::tell_of_unnamed_lines;

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
pub(super) fn show(
    plan: &RowsPlan,
    edits: &Edits,
    rows: usize,
    console: &Console,
) -> anyhow::Result<Ending> {
    let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let marks = match stdout().is_terminal() && !wants_none {
        true => COLOURS,
        false => PLAIN,
    };
    let mut spec = plan.input.clone();
    // Few at a time: what is printed of them is in memory, and the first are seen at once.
    spec.chunk_rows = rows.clamp(1, spec.chunk_rows.min(256));
    let mut left = rows;
    let mut scratch = Edited::default();
    let source = Source::open(&spec)?;
    tell_of_unnamed_lines(&spec, &source, console);
    for chunk in source {
        let chunk = chunk?;
        let mut report = String::new();
        for (at, row) in chunk.rows.iter().take(left).enumerate() {
            let row_number = chunk.first_row + at as u64;
            let number = edits.first_row + row_number + 1;
            let (on, off) = marks.faint;
            match row {
                Err(error) => {
                    let error = visible(&error.to_string());
                    report.push_str(&format!("{on}{number:>7}  {error}{off}\n"));
                }
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
        let is_read = console::print_part(&report)? == Listener::There;
        if left == 0 || !is_read {
            break;
        }
    }
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

/// The text with what a terminal would obey shown instead: control characters, and those that turn the direction
/// of what follows (Unicode Annex 9, explicit formatting), which would hide what really stands there.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push_str(&format!("<U+{:04X}>", u32::from(c)));
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row could hide what it says, or what comes behind it, from whoever looks.
    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let cases = [
            ("a\u{202e}b\u{2069}c", "a<U+202E>b<U+2069>c"),
            ("a\x1b[31m\tb", "a\u{fffd}[31m\u{fffd}b"),
            ("שלום\u{200d}é", "שלום\u{200d}é"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }
}
