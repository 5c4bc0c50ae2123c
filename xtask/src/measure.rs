//! `cargo xtask measure`: what the release build does with many rows, as `docs/PERFORMANCE.md` quotes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::models;
use crate::steps::{finish, release_binary};

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure; all three if nothing is named
    what: Vec<What>,
    /// Real texts: a CSV file with a column `text`; by default the repository's own examples
    #[arg(long)]
    texts: Option<PathBuf>,
    /// Rows of the large job of `memory`
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Peak memory of a large job and of one of 50,000 rows
    Memory,
    /// Repeated rows against single queries that are not cached
    Repeats,
    /// Fifty thousand different texts
    Conversations,
}

/// Builds the release binary and measures.
pub(crate) fn measure(root: &Path, options: &Options) -> Result<()> {
    let work = tempfile::tempdir()?;
    let bench = Bench {
        binary: release_binary(root)?,
        model: models::minilm()?,
        work: work.path().to_path_buf(),
    };
    let texts = options
        .texts
        .clone()
        .unwrap_or_else(|| root.join("examples/queries.csv"));
    let wanted = |what| options.what.is_empty() || options.what.contains(&what);
    if wanted(What::Conversations) {
        bench.conversations(&read_texts(&texts)?)?;
    }
    if wanted(What::Repeats) {
        bench.repeats(&read_texts(&texts)?)?;
    }
    if wanted(What::Memory) {
        bench.memory(options.rows)?;
    }
    Ok(())
}

struct Bench {
    binary: PathBuf,
    model: PathBuf,
    work: PathBuf,
}

impl Bench {
    fn conversations(&self, texts: &[String]) -> Result<()> {
        const ROWS: usize = 50_000;
        let rows = (0..ROWS).map(|n| {
            let text = &texts[n % texts.len()];
            // From the second time on a text gets a number, so that no row is computed for another.
            if n < texts.len() {
                text.clone()
            } else {
                format!("{text} {}", n / texts.len())
            }
        });
        let input = self.write("conversations.csv", rows)?;
        let summary = self.embed(&input, &["--cache", "off"])?;
        println!(
            "\nconversations: {ROWS} different texts in {:.1} s: {:.0} rows/s, {:.0} tokens/s, {:.0} rows equal to another",
            number(&summary, "seconds")?,
            number(&summary, "rows_per_second")?,
            number(&summary, "tokens_per_second")?,
            number(&summary, "duplicates")?,
        );
        Ok(())
    }

    fn repeats(&self, texts: &[String]) -> Result<()> {
        const DISTINCT: usize = 1_000;
        const ROWS: usize = 400_000;
        let distinct = |n: usize| match texts.get(n) {
            Some(text) => text.clone(),
            None => format!("{} {n}", texts[n % texts.len()]),
        };
        let rows = (0..ROWS).map(|n| distinct(n * 7_919 % DISTINCT));
        let input = self.write("repeats.csv", rows)?;
        let summary = self.embed(&input, &["--cache", "64MiB"])?;
        let repeated = number(&summary, "rows_per_second")?;

        let report = self.work.join("bench.json");
        let some = self.write("singles.csv", (0..DISTINCT).map(distinct))?;
        self.run(
            "bench",
            &some,
            &[
                "--try-batch-tokens",
                "192",
                "--report-json",
                &report.display().to_string(),
            ],
        )?;
        let report = read_json(&report)?;
        let single = number(&report["single"], "per_second")?;
        println!(
            "\nrepeats: {ROWS} rows of {DISTINCT} texts at {repeated:.0} rows/s; single queries, not cached, at {single:.0} a second: {:.0} times",
            repeated / single
        );
        println!(
            "a cached query: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms",
            number(&report["cached"], "p50_ms")?,
            number(&report["cached"], "p90_ms")?,
            number(&report["cached"], "p99_ms")?,
        );
        Ok(())
    }

    fn memory(&self, large: usize) -> Result<()> {
        const DISTINCT: usize = 30_000;
        let mut peaks = Vec::new();
        let mut table = String::from("\nmemory of `embed` to Parquet, whole process:\n");
        for rows in [50_000, large] {
            // The texts come again after a while, so that a million rows take half a minute: what was
            // computed then comes from the cache, which both jobs fill alike, and all else is the same.
            let texts = (0..rows).map(|n| format!("lights {}", n % DISTINCT));
            let input = self.write("rows.csv", texts)?;
            let summary = self.embed(&input, &[])?;
            let peak = number(&summary["memory"], "peak_resident_bytes")?;
            writeln!(
                table,
                "{rows:>10} rows: peak {:.1} MB, {:.0} s",
                peak / 1e6,
                number(&summary, "seconds")?
            )?;
            peaks.push(peak);
        }
        println!("{table}ratio {:.3}", peaks[1] / peaks[0]);
        ensure!(
            peaks[1] <= 1.15 * peaks[0],
            "memory grows with the number of rows"
        );
        Ok(())
    }

    fn write(&self, name: &str, rows: impl Iterator<Item = String>) -> Result<PathBuf> {
        let path = self.work.join(name);
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "id,text")?;
        for (id, text) in rows.enumerate() {
            writeln!(file, "{id},\"{}\"", text.replace('"', "\"\""))?;
        }
        file.flush()?;
        Ok(path)
    }

    fn embed(&self, input: &Path, flags: &[&str]) -> Result<Value> {
        let output = self.work.join("vectors.parquet");
        if output.exists() {
            std::fs::remove_file(&output)?;
        }
        let summary = self.work.join("summary.json");
        let (output, path) = (output.display().to_string(), summary.display().to_string());
        let flags = [flags, &["--output", &output, "--summary-json", &path]].concat();
        self.run("embed", input, &flags)?;
        read_json(&summary)
    }

    fn run(&self, command: &str, input: &Path, flags: &[&str]) -> Result<()> {
        finish(
            Command::new(&self.binary)
                .arg(command)
                .arg(input)
                .arg("--model")
                .arg(&self.model)
                .args(flags),
        )
    }
}

/// The column `text` of a CSV file.
fn read_texts(path: &Path) -> Result<Vec<String>> {
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("reading {}", path.display()))?;
    let column = reader.headers()?.iter().position(|name| name == "text");
    let column = column.with_context(|| format!("{} has no column `text`", path.display()))?;
    let texts: Vec<String> = reader
        .records()
        .map(|record| Ok(record?.get(column).unwrap_or_default().to_owned()))
        .collect::<Result<_>>()?;
    if texts.is_empty() {
        bail!("{} has no rows", path.display());
    }
    Ok(texts)
}

fn read_json(path: &Path) -> Result<Value> {
    let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(serde_json::from_slice(&content)?)
}

fn number(value: &Value, key: &str) -> Result<f64> {
    value[key]
        .as_f64()
        .with_context(|| format!("no number `{key}` in {value}"))
}
