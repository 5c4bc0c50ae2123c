//! What was measured, in words and tables.

use std::fmt::Write;
use std::time::Duration;

use load::{Ended, LatencySummary, LoadReport, SweepReport, Trial, Window};

use crate::figures::{self, count, percent, three_digits};
use crate::table::{Align, Table};

/// Below this part of the rate, the server did not keep up.
const KEPT_UP: f64 = 0.95;
/// Above this part of its threads' time, the generator may be what limits.
const BUSY: f64 = 0.8;

/// A window, on a line of its own.
pub(super) fn window(window: &Window) -> String {
    let mut line = format!(
        "{:>6} s  {} requests/s, p50 {} ms, p99 {} ms",
        three_digits(window.start_seconds + window.seconds),
        three_digits(window.per_second),
        three_digits(window.p50_ms),
        three_digits(window.p99_ms),
    );
    for (number, word) in [(window.refused, "refused"), (window.failed, "failed")] {
        if number > 0 {
            // Writing to a String cannot fail.
            let _ = write!(line, ", {} {word}", count(number));
        }
    }
    line
}

/// What a sweep begins with.
pub(super) fn closed_loop(report: &LoadReport) -> String {
    format!(
        "closed loop, {} connections: {} requests/s",
        count(report.connections as u64),
        three_digits(report.requests_per_second.mean)
    )
}

/// A trial of a sweep.
pub(super) fn trial(trial: &Trial) -> String {
    format!(
        "rate {}: p99 {} ms, {}",
        three_digits(trial.offered_per_second),
        three_digits(trial.p99_ms),
        if trial.met {
            "within the target"
        } else {
            "misses the target"
        },
    )
}

/// The whole report.
pub(super) fn text(report: &LoadReport) -> String {
    let mut parts = vec![heading(report), throughput(report)];
    if report.latency.count > 0 {
        parts.push(latencies(report));
    }
    parts.push(mishaps(report));
    parts.push(generator(report));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn heading(report: &LoadReport) -> String {
    let pacing = match report.offered_per_second {
        Some(rate) => format!(
            "open loop, {} requests/s due, at most {} connections",
            three_digits(rate),
            count(report.connections as u64)
        ),
        None => format!(
            "closed loop, {} connections",
            count(report.connections as u64)
        ),
    };
    let texts = match report.rows_per_request {
        1 => "1 text".to_owned(),
        rows => format!("{} texts", count(rows as u64)),
    };
    let ended = match report.ended {
        Ended::Stable => format!(
            "stable: the last {} windows of {} agree within 10 %, and the figures are theirs",
            report.windows.len() - report.first_window,
            report.windows.len(),
        ),
        Ended::Limit if report.stability_asked => {
            "NOT stable: no three windows in succession agreed within 10 %".to_owned()
        }
        Ended::Limit => "the whole time".to_owned(),
        Ended::Hopeless => "ended early: three windows missed the target".to_owned(),
        Ended::Interrupted => "interrupted: the figures are of the time until then".to_owned(),
    };
    format!(
        "{} POST {}, {texts} a request, {} different ones\n{pacing}\n{} measured after a warm-up of {}; {ended}\n",
        report.url,
        report.path,
        count(report.different_requests as u64),
        figures::duration(Duration::from_secs_f64(report.seconds)),
        figures::duration(Duration::from_secs_f64(report.warm_up_seconds)),
    )
}

fn throughput(report: &LoadReport) -> String {
    let mut table = Table::new(&[
        ("requests/s", Align::Right),
        ("95 % interval", Align::Right),
        ("rows/s", Align::Right),
        ("answered", Align::Right),
        ("refused", Align::Right),
        ("failed", Align::Right),
        ("MB sent", Align::Right),
        ("MB received", Align::Right),
    ]);
    let rate = report.requests_per_second;
    table.row([
        three_digits(rate.mean),
        between(rate.low, rate.high),
        three_digits(report.rows_per_second),
        count(report.answered),
        count(report.refused),
        count(report.failed),
        three_digits(report.bytes_sent as f64 / 1e6),
        three_digits(report.bytes_received as f64 / 1e6),
    ]);
    let mut text = table.render();
    let offered = report.offered_per_second;
    if let Some(due) = offered.filter(|due| rate.mean < KEPT_UP * due) {
        let _ = writeln!(
            text,
            "The server did not keep up: {} requests/s were due and {} were answered.",
            three_digits(due),
            three_digits(rate.mean)
        );
    }
    text
}

fn between(low: Option<f64>, high: Option<f64>) -> String {
    let bound = |bound: Option<f64>| bound.map_or_else(|| "?".to_owned(), three_digits);
    match (low, high) {
        (None, None) => String::new(),
        (low, high) => format!("{} to {}", bound(low), bound(high)),
    }
}

fn latencies(report: &LoadReport) -> String {
    let mut columns = vec![("latency", &report.latency)];
    if let Some(by_length) = &report.latency_by_length {
        columns.push(("short texts", &by_length.short));
        columns.push(("long texts", &by_length.long));
    }
    if let Some(refusals) = &report.refusal_latency {
        columns.push(("refusals", refusals));
    }
    let mut heads = vec![("", Align::Left)];
    for (name, _) in &columns {
        heads.extend([(*name, Align::Right), ("95 % interval", Align::Right)]);
    }
    let mut table = Table::new(&heads);
    let mut row = |name: String, of: &dyn Fn(&LatencySummary) -> [String; 2]| {
        let cells = columns.iter().flat_map(|(_, summary)| of(summary));
        table.row(std::iter::once(name).chain(cells));
    };
    for percentile in &report.latency.percentiles {
        let number = percentile.percentile;
        row(format!("p{number}"), &|summary| {
            summary
                .percentile(number)
                .map_or_else(Default::default, |found| {
                    let shown = format!("{} ms", three_digits(found.ms));
                    [shown, between(found.low_ms, found.high_ms)]
                })
        });
    }
    row("highest".to_owned(), &|summary| {
        [
            format!("{} ms", three_digits(summary.highest_ms)),
            String::new(),
        ]
    });
    row("mean".to_owned(), &|summary| {
        [
            format!("{} ms", three_digits(summary.mean_ms)),
            String::new(),
        ]
    });
    row("requests".to_owned(), &|summary| {
        [count(summary.count), String::new()]
    });
    table.render()
}

/// Answers that were no success, by status and cause.
fn mishaps(report: &LoadReport) -> String {
    let statuses = report
        .statuses
        .iter()
        .filter(|(status, _)| !(200..300).contains(*status));
    let mut table = Table::new(&[
        ("not answered with success", Align::Left),
        ("requests", Align::Right),
    ]);
    let mut rows = 0;
    let named = statuses.map(|(status, number)| (format!("status {status}"), *number));
    let causes = report
        .failures
        .iter()
        .map(|(why, number)| ((*why).to_owned(), *number));
    for (name, number) in named.chain(causes) {
        table.row([name, count(number)]);
        rows += 1;
    }
    for (name, number) in [
        ("  of these underway at the end", report.unanswered),
        (
            "  of these never sent, for want of a connection",
            report.unsent,
        ),
    ] {
        if number > 0 {
            table.row([name.to_owned(), count(number)]);
        }
    }
    match rows {
        0 => String::new(),
        _ => table.render(),
    }
}

fn generator(report: &LoadReport) -> String {
    let mut text = String::new();
    let generator = report.generator;
    if let (Some(seconds), Some(cores)) = (generator.processor_seconds, generator.cores) {
        let _ = write!(
            text,
            "The generator took {} s of processor time, {} of a core",
            three_digits(seconds),
            percent(cores)
        );
        if let Some(us) = generator.us_per_request {
            let _ = write!(text, ", {} µs a request", three_digits(us));
        }
        text.push_str(".\n");
        if cores > BUSY * report.threads as f64 {
            text.push_str("It was busy, and may be what limits: give it more --threads.\n");
        }
    }
    if generator.stood_still_seconds > 0.0 {
        let _ = writeln!(
            text,
            "It stood still for {} s, stopped or without a processor: the latencies of that time are not \
             the server's.",
            three_digits(generator.stood_still_seconds)
        );
    }
    if let Some(late) = report
        .lateness
        .as_ref()
        .and_then(|late| late.percentile(99.0))
    {
        let _ = writeln!(
            text,
            "99 % of the requests were begun within {} ms of when they were due.",
            three_digits(late.ms)
        );
    }
    text
}

/// What a sweep found.
pub(super) fn sweep_text(found: &SweepReport) -> String {
    let mut table = Table::new(&[
        ("requests/s due", Align::Right),
        ("answered/s", Align::Right),
        ("p50 ms", Align::Right),
        ("p99 ms", Align::Right),
        ("refused or failed", Align::Right),
        ("target", Align::Left),
    ]);
    let mut trials = found.trials.clone();
    trials.sort_by(|a, b| a.offered_per_second.total_cmp(&b.offered_per_second));
    for trial in &trials {
        table.row([
            three_digits(trial.offered_per_second),
            three_digits(trial.per_second),
            three_digits(trial.p50_ms),
            three_digits(trial.p99_ms),
            percent(trial.failed),
            if trial.met { "met" } else { "missed" }.to_owned(),
        ]);
    }
    let mut text = table.render();
    if let Some(best) = &found.best {
        let _ = write!(
            text,
            "\nHighest rate with a p99 within {} ms: {} requests/s\n\n{}",
            three_digits(found.target_p99_ms),
            three_digits(best.offered_per_second.unwrap_or(0.0)),
            self::text(best),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use load::{Latencies, MeanInterval};

    use super::*;

    fn report() -> LoadReport {
        let mut latencies = Latencies::default();
        for ms in 1..=1_000 {
            latencies.record(Duration::from_millis(ms));
        }
        LoadReport {
            url: "http://localhost:8003".into(),
            path: "/embed".into(),
            offered_per_second: Some(500.0),
            connections: 64,
            threads: 1,
            rows_per_request: 1,
            seconds: 15.0,
            ended: Ended::Stable,
            first_window: 1,
            windows: vec![Window::default(); 4],
            requests_per_second: MeanInterval {
                mean: 310.0,
                low: Some(300.0),
                high: Some(320.0),
            },
            answered: 4_650,
            refused: 12,
            statuses: [(200, 4_650), (429, 12)].into(),
            latency: latencies.summary(&[0.5, 0.999]),
            ..LoadReport::default()
        }
    }

    /// A user would take the rate that was asked for as the one that was served.
    #[test]
    fn the_report_says_what_was_not_kept_up_with() {
        let text = text(&report());
        for words in [
            "open loop, 500 requests/s due",
            "the last 3 windows of 4 agree",
            "310",
            "300 to 320",
            "The server did not keep up: 500 requests/s were due and 310 were answered",
            "p99.9",
            "status 429",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
        assert!(!text.contains("status 200"), "{text}");
    }

    /// The bound that nobody knows would read like one that is known.
    #[test]
    fn a_bound_without_samples_is_a_question_mark() {
        assert_eq!(between(Some(1.5), None), "1.50 to ?");
        assert_eq!(between(None, None), "");
        let line = latencies(&report());
        assert!(
            line.lines()
                .any(|line| line.starts_with("p99.9") && line.ends_with("to ?")),
            "{line}"
        );
    }

    /// A server that answered nothing would end the test in a crash.
    #[test]
    fn nothing_answered_is_a_report_too() {
        let nothing = LoadReport {
            failures: [("timed out", 3)].into(),
            failed: 3,
            unsent: 2,
            generator: load::Generator {
                stood_still_seconds: 51.0,
                processor_seconds: Some(1.0),
                cores: Some(0.1),
                ..load::Generator::default()
            },
            ..LoadReport::default()
        };
        let text = text(&nothing);
        assert!(text.contains("It stood still for 51.0 s"), "{text}");
        assert!(text.contains("never sent"), "{text}");
        assert!(sweep_text(&SweepReport::default()).contains("p99 ms"));
    }
}
