//! What was measured, as a table and a recommendation.

use std::fmt::Write;

use batchwright::{BenchmarkReport, BudgetResult, Latency, Model};

use crate::args::ByteSize;
use crate::figures::{count, percent, three_digits};
use crate::table::{Align, Table};

/// The whole report.
pub(super) fn text(report: &BenchmarkReport, model: &Model) -> String {
    [
        heading(report, model.task().name()),
        budgets(report),
        queries(report),
        recommendation(report, model.threads()),
    ]
    .join("\n")
}

fn heading(report: &BenchmarkReport, task: &str) -> String {
    let machine = &report.machine;
    let per_row = report.tokens as f64 / report.rows.max(1) as f64;
    format!(
        "{} ({task}) on {} rows, {} tokens, {} a row\n{}, {} threads, {}, level-2 cache {}, peak {} GFLOP/s\n\
         memory at most {}\n",
        report.model,
        count(report.rows as u64),
        count(report.tokens),
        three_digits(per_row),
        machine.processor,
        machine.threads,
        machine.isa,
        ByteSize(machine.l2_bytes as u64),
        three_digits(report.peak_gflops),
        ByteSize(report.memory.peak_resident_bytes),
    )
}

fn budgets(report: &BenchmarkReport) -> String {
    let mut table = Table::new(&[
        ("threads", Align::Right),
        ("batch tokens", Align::Right),
        ("rows/batch", Align::Right),
        ("rows/s", Align::Right),
        ("over one", Align::Right),
        ("tokens/s", Align::Right),
        ("batch ms", Align::Right),
        ("of peak", Align::Right),
        ("padding avoided", Align::Right),
    ]);
    for result in &report.budgets {
        table.row([
            result.threads.to_string(),
            match result.batch_tokens {
                1 => "one text".to_owned(),
                tokens => count(tokens as u64),
            },
            three_digits(result.rows_per_batch),
            three_digits(result.rows_per_second),
            over_one(report, result),
            three_digits(result.tokens_per_second),
            three_digits(result.batch_ms),
            percent(result.share_of_peak),
            percent(result.padding_avoided),
        ]);
    }
    table.render()
}

/// How much faster than one text at a time on as many threads.
fn over_one(report: &BenchmarkReport, result: &BudgetResult) -> String {
    let alone = report
        .budgets
        .iter()
        .find(|one| one.batch_tokens == 1 && one.threads == result.threads);
    alone.map_or_else(String::new, |one| {
        format!("{:.2}x", result.rows_per_second / one.rows_per_second)
    })
}

fn queries(report: &BenchmarkReport) -> String {
    let mut table = Table::new(&[
        ("one query at a time", Align::Left),
        ("queries/s", Align::Right),
        ("p50 ms", Align::Right),
        ("p90 ms", Align::Right),
        ("p99 ms", Align::Right),
    ]);
    let mut row = |name: &str, latency: &Latency| {
        table.row([
            name.to_owned(),
            three_digits(latency.per_second),
            three_digits(latency.p50_ms),
            three_digits(latency.p90_ms),
            three_digits(latency.p99_ms),
        ]);
    };
    row("computed, all threads", &report.single);
    if let Some(cached) = &report.cached {
        row("from the cache", cached);
    }
    table.render()
}

/// The measured budget that is recommended, at the most threads.
pub(super) fn recommended(report: &BenchmarkReport) -> Option<&BudgetResult> {
    let of_budget = report
        .budgets
        .iter()
        .filter(|r| r.batch_tokens == report.recommended_batch_tokens);
    of_budget.max_by_key(|result| result.threads)
}

fn recommendation(report: &BenchmarkReport, threads: usize) -> String {
    let Some(chosen) = recommended(report) else {
        return String::new();
    };
    let same_threads = report
        .budgets
        .iter()
        .filter(|r| r.threads == chosen.threads);
    let best = same_threads.max_by(|a, b| a.rows_per_second.total_cmp(&b.rows_per_second));
    let mut text = format!(
        "Recommended: --batch-tokens {}, {} rows/s on {} threads",
        chosen.batch_tokens,
        three_digits(chosen.rows_per_second),
        chosen.threads,
    );
    match best {
        Some(best) if best.batch_tokens != chosen.batch_tokens => {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ".\nThe best was {} rows/s at {} tokens: within 2 %, which is noise, and smaller batches\n\
                 take less memory and answer sooner.\n",
                three_digits(best.rows_per_second),
                count(best.batch_tokens as u64),
            );
        }
        _ => text.push_str(", the best that was measured.\n"),
    }
    if chosen.threads != threads {
        let _ = writeln!(text, "Not measured with all {threads} threads of this run.");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use batchwright::{Machine, MemoryStats};

    use super::*;

    /// Figures as they were once measured, for the report's and the chart's tests.
    pub(in crate::bench) fn example() -> BenchmarkReport {
        let measured = [
            (1, 1, 192.0),
            (192, 1, 371.0),
            (4_096, 1, 310.0),
            (1, 2, 360.0),
            (192, 2, 731.0),
            (384, 2, 735.0),
            (4_096, 2, 606.0),
        ];
        let result =
            |&(batch_tokens, threads, rows_per_second): &(usize, usize, f64)| BudgetResult {
                batch_tokens,
                threads,
                rows_per_second,
                tokens_per_second: 11.0 * rows_per_second,
                rows_per_batch: batch_tokens as f64 / 11.0,
                batch_ms: 12.0,
                share_of_peak: 0.8,
                padding_avoided: 0.1,
                peak_resident_bytes: 200 << 20,
            };
        BenchmarkReport {
            model: "all-MiniLM-L6-v2".into(),
            machine: Machine {
                processor: "A processor".into(),
                threads: 2,
                isa: "avx2".into(),
                l2_bytes: 512 << 10,
                memory_bytes: 8 << 30,
                system: "linux x86_64".into(),
            },
            rows: 2_000,
            cut_short: false,
            tokens: 22_000,
            peak_gflops: 199.2,
            single: Latency {
                queries: 200,
                per_second: 420.0,
                p50_ms: 2.3,
                p90_ms: 2.9,
                p99_ms: 4.0,
            },
            cached: Some(Latency {
                queries: 200,
                per_second: 52_000.0,
                p50_ms: 0.018,
                p90_ms: 0.02,
                p99_ms: 0.05,
            }),
            budgets: measured.iter().map(result).collect(),
            recommended_batch_tokens: 192,
            memory: MemoryStats::default(),
        }
    }

    /// A user would not learn why the fastest budget is not the one that is recommended.
    #[test]
    fn the_recommendation_says_why() {
        let text = recommendation(&example(), 2);
        assert!(
            text.contains("--batch-tokens 192, 731 rows/s on 2 threads"),
            "{text}"
        );
        assert!(text.contains("735 rows/s at 384 tokens"), "{text}");
    }

    /// The gain of batching over one text at a time is what people come for.
    #[test]
    fn the_table_compares_with_one_text_on_as_many_threads() {
        let table = budgets(&example());
        let line = table
            .lines()
            .find(|line| line.contains(" 192 ") && line.contains("731"));
        assert!(line.is_some_and(|line| line.contains("2.03x")), "{table}");
    }
}
