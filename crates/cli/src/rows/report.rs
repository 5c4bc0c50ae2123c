//! `--report`: how often what was done, as bars in the terminal, JSON and SVG.

use std::fmt::Write as _;

use serde::Serialize;
use text::augment::Kind;

use super::edits::{Counts, LENGTHS, PER_ROW};
use super::plan::RowsPlan;
use crate::console::Console;
use crate::figures::{count, percent, three_digits};
use crate::table::{Align, Table};

/// Characters of the longest bar.
const BAR: f64 = 40.0;

/// What `--report-json` holds.
#[derive(Serialize)]
struct Report<'a> {
    /// Copies of this run.
    copies: u64,
    edited: u64,
    edits: u64,
    kinds: Vec<KindCount>,
    /// Copies by their number of edits: none, one, … 16 or more.
    copies_by_edits: &'a [u64],
}

#[derive(Serialize)]
struct KindCount {
    kind: &'static str,
    edits: u64,
    /// By how many characters they touched: 1, 2, … 8 or more.
    by_length: [u64; LENGTHS],
}

/// Tells and writes what was asked for.
pub(super) fn tell(
    plan: &RowsPlan,
    counts: &Counts,
    before: u64,
    console: &Console,
) -> anyhow::Result<()> {
    let reports = &plan.reports;
    if reports.shown {
        console.say(words(counts, before));
    }
    if let Some(path) = &reports.json {
        let report = Report {
            copies: counts.copies,
            edited: counts.edited,
            edits: counts.edits,
            kinds: kinds(counts),
            copies_by_edits: &counts.per_row,
        };
        console.write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(path) = &reports.svg {
        console.write(path, &svg(counts))?;
    }
    Ok(())
}

/// The kinds that were met, in the order in which they are listed.
fn kinds(counts: &Counts) -> Vec<KindCount> {
    let all = Kind::ALL.iter().zip(&counts.by_kind);
    let met = all.filter(|(_, lengths)| lengths.iter().any(|count| *count > 0));
    met.map(|(kind, lengths)| KindCount {
        kind: kind.name(),
        edits: lengths.iter().sum(),
        by_length: *lengths,
    })
    .collect()
}

fn words(counts: &Counts, before: u64) -> String {
    let mut text = format!(
        "{} edits in {} copies, {} an edited one",
        count(counts.edits),
        count(counts.copies),
        three_digits(counts.edits as f64 / counts.edited.max(1) as f64),
    );
    if before > 0 {
        // What an earlier process counted went with it.
        let _ = write!(
            text,
            "; those of the {} rows before are not counted",
            count(before)
        );
    }
    let kinds = kinds(counts);
    let most = kinds.iter().map(|one| one.edits).max().unwrap_or(0);
    let lengths: Vec<String> = (1..=LENGTHS)
        .map(|length| match length {
            LENGTHS => format!("{length}+"),
            _ => length.to_string(),
        })
        .collect();
    let mut columns = vec![("edits by kind", Align::Left), ("edits", Align::Right)];
    columns.extend(lengths.iter().map(|name| (name.as_str(), Align::Right)));
    columns.push(("", Align::Left));
    let mut table = Table::new(&columns);
    for one in &kinds {
        let mut row = vec![one.kind.to_owned(), count(one.edits)];
        row.extend(one.by_length.iter().map(|edits| count(*edits)));
        row.push(bar(one.edits, most));
        table.row(row);
    }
    text.push_str("\ncolumns 1 to 8+: characters that an edit touched\n");
    text.push_str(&table.render());
    let mut table = Table::new(&[
        ("copies by edits", Align::Left),
        ("copies", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    let most = counts.per_row.iter().max().copied().unwrap_or(0);
    let last = counts.per_row.iter().rposition(|copies| *copies > 0);
    for (edits, copies) in counts
        .per_row
        .iter()
        .enumerate()
        .take(last.map_or(0, |at| at + 1))
    {
        table.row([
            match edits {
                edits if edits + 1 == PER_ROW => format!("{edits}+"),
                edits => edits.to_string(),
            },
            count(*copies),
            percent(*copies as f64 / counts.copies.max(1) as f64),
            bar(*copies, most),
        ]);
    }
    text.push_str(&table.render());
    text.trim_end().to_owned()
}

fn bar(number: u64, most: u64) -> String {
    let length = BAR * number as f64 / most.max(1) as f64;
    // Whatever is there at all is seen.
    "█".repeat((length.round() as usize).max(usize::from(number > 0)))
}

/// White ground, dark words, Okabe and Ito's blue and orange: it reads the same in a light or dark viewer
/// and in print.
fn svg(counts: &Counts) -> String {
    const LINE: usize = 22;
    const LEFT: usize = 170;
    const WIDE: f64 = 520.0;
    let kinds = kinds(counts);
    let copies = &counts.per_row;
    let shown = copies
        .iter()
        .rposition(|copies| *copies > 0)
        .map_or(0, |at| at + 1);
    let height = 110 + LINE * (kinds.len() + shown + 2);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"900\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"14\" fill=\"#333\">\n\
         <rect width=\"900\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"24\" y=\"36\" font-size=\"20\">{} edits in {} copies</text>\n",
        count(counts.edits),
        count(counts.copies)
    );
    let mut y = 70;
    let mut part = |head: &str, colour: &str, rows: Vec<(String, u64)>| {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "<text x=\"24\" y=\"{y}\" font-weight=\"bold\">{head}</text>"
        );
        let most = rows
            .iter()
            .map(|(_, number)| *number)
            .max()
            .unwrap_or(0)
            .max(1);
        for (name, number) in rows {
            y += LINE;
            let wide = WIDE * number as f64 / most as f64;
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{}\" width=\"{wide:.1}\" height=\"15\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y}\">{}</text>",
                LEFT - 10,
                y - 13,
                LEFT as f64 + wide + 8.0,
                count(number)
            );
        }
        y += LINE + 14;
    };
    let by_kind = kinds.iter().map(|one| (one.kind.to_owned(), one.edits));
    part("edits by kind", "#0072b2", by_kind.collect());
    let by_edits = copies
        .iter()
        .take(shown)
        .enumerate()
        .map(|(edits, copies)| {
            let name = match edits {
                1 => "1 edit".to_owned(),
                edits if edits + 1 == PER_ROW => format!("{edits} or more"),
                edits => format!("{edits} edits"),
            };
            (name, *copies)
        });
    part(
        "copies by their number of edits",
        "#d55e00",
        by_edits.collect(),
    );
    text.push_str("</svg>\n");
    text
}
