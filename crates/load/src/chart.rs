//! What was measured, as SVG pictures.
//!
//! White ground, dark words and colours that people tell apart who see few of them (Okabe and Ito's),
//! so that they read the same in a light or a dark viewer and in print.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{LoadReport, SweepReport};

const SIZE: (u32, u32) = (900, 760);
const SWEEP_SIZE: (u32, u32) = (900, 560);
const WORDS: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const REFERENCE: RGBColor = RGBColor(0x77, 0x77, 0x77);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const ORANGE: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);

type Failed = Box<dyn std::error::Error>;
/// Its name, its colour and its points.
type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the latency's distribution, and latency and throughput window by window.
///
/// # Errors
/// The drawing library's words.
pub fn svg(report: &LoadReport) -> Result<String, String> {
    drawn(SIZE, |root| {
        let pacing = match report.offered_per_second {
            Some(rate) => format!("open loop, {} requests/s due", figure(rate)),
            None => format!("closed loop, {} connections", report.connections),
        };
        let heading = format!(
            "{} requests/s answered, p99 {} ms",
            figure(report.requests_per_second.mean),
            figure(report.p99_ms()),
        );
        let about = format!(
            "POST {}; {pacing}; {} a request; {} s, {} answered, {} refused, {} failed",
            report.path,
            texts(report.rows_per_request),
            figure(report.seconds),
            report.answered,
            report.refused,
            report.failed,
        );
        let body = headed(root, &heading, &about)?;
        let (upper, lower) = body.split_vertically(330);
        distribution(report, &upper)?;
        let (left, right) = lower.split_horizontally(450);
        latencies_by_window(report, &left)?;
        throughput_by_window(report, &right)
    })
}

/// Draws the latency over the rate, as the trials of a sweep found it.
///
/// # Errors
/// The drawing library's words.
pub fn sweep_svg(report: &SweepReport) -> Result<String, String> {
    drawn(SWEEP_SIZE, |root| {
        let heading = match &report.best {
            Some(best) => format!(
                "p99 within {} ms up to {} requests/s",
                figure(report.target_p99_ms),
                figure(best.offered_per_second.unwrap_or(0.0)),
            ),
            None => format!(
                "no rate has its p99 within {} ms",
                figure(report.target_p99_ms)
            ),
        };
        let about = match &report.best {
            Some(best) => format!(
                "POST {}; {} a request",
                best.path,
                texts(best.rows_per_request)
            ),
            None => "open loop".to_owned(),
        };
        let body = headed(root, &heading, &about)?;
        trials(report, &body)
    })
}

fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failed>,
) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let done = root.fill(&WHITE).map_err(Failed::from);
        let done = done.and_then(|()| draw(&root));
        let done = done.and_then(|()| root.present().map_err(Failed::from));
        done.map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn words(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&WORDS)
}

fn headed<'a>(root: &Area<'a>, heading: &str, about: &str) -> Result<Area<'a>, Failed> {
    let (head, body) = root.split_vertically(60);
    head.draw(&Text::new(heading.to_owned(), (24, 14), words(22)))?;
    head.draw(&Text::new(about.to_owned(), (24, 42), words(14)))?;
    Ok(body)
}

/// Latency by percentile. Each step to the right of one decade is a tenth of the requests above it.
fn distribution(report: &LoadReport, area: &Area<'_>) -> Result<(), Failed> {
    // 99 % lies at 2, 99.9 % at 3.
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-9).log10();
    let points: Vec<(f64, f64)> = report
        .distribution
        .iter()
        .map(|at| (nines(at.percentile), at.ms))
        .collect();
    let lowest = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
    let highest = report
        .distribution
        .iter()
        .map(|at| at.high_ms.unwrap_or(at.ms).max(at.ms))
        .fold(0.0, f64::max);
    if points.is_empty() || highest <= 0.0 {
        area.draw(&Text::new("no request was answered", (24, 24), words(15)))?;
        return Ok(());
    }
    let right = points.iter().map(|p| p.0).fold(2.0, f64::max);
    let (low, high) = (lowest.max(1e-4) / 1.3, highest * 1.3);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(32)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(WORDS)
        .label_style(words(13))
        .axis_desc_style(words(14))
        .x_labels(right as usize + 1)
        .x_desc("percentile of the requests")
        .y_desc("latency, ms (logarithmic)")
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|ms| figure(*ms))
        .draw()?;
    let bounded = report.distribution.iter().filter_map(|at| {
        let (low_ms, high_ms) = (at.low_ms?, at.high_ms?);
        Some((nines(at.percentile), low_ms.max(low), high_ms))
    });
    let bounded: Vec<(f64, f64, f64)> = bounded.collect();
    let outline = bounded.iter().map(|b| (b.0, b.2));
    let outline: Vec<(f64, f64)> = outline
        .chain(bounded.iter().rev().map(|b| (b.0, b.1)))
        .collect();
    if outline.len() > 3 {
        chart
            .draw_series([Polygon::new(outline, BLUE.mix(0.2))])?
            .label("95 % interval")
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 24, y + 5)], BLUE.mix(0.2).filled()));
    }
    chart
        .draw_series(LineSeries::new(points, BLUE.stroke_width(3)))?
        .label("latency")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], BLUE.stroke_width(3)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(words(13))
        .draw()?;
    Ok(())
}

fn latencies_by_window(report: &LoadReport, area: &Area<'_>) -> Result<(), Failed> {
    let p50: Vec<(f64, f64)> = report
        .windows
        .iter()
        .map(|w| (w.start_seconds, w.p50_ms))
        .collect();
    let p99: Vec<(f64, f64)> = report
        .windows
        .iter()
        .map(|w| (w.start_seconds, w.p99_ms))
        .collect();
    over_time(
        report,
        area,
        "latency, ms",
        &[("p50", BLUE, p50), ("p99", ORANGE, p99)],
    )
}

fn throughput_by_window(report: &LoadReport, area: &Area<'_>) -> Result<(), Failed> {
    let by_second = |count: u64, seconds: f64| {
        if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        }
    };
    let windows = report.windows.iter();
    let answered = windows
        .clone()
        .map(|w| (w.start_seconds, w.per_second))
        .collect();
    let others: Vec<(f64, f64)> = windows
        .map(|w| (w.start_seconds, by_second(w.refused + w.failed, w.seconds)))
        .collect();
    let mut lines = vec![("answered", GREEN, answered)];
    if others.iter().any(|other| other.1 > 0.0) {
        lines.push(("refused or failed", ORANGE, others));
    }
    over_time(report, area, "requests a second", &lines)
}

/// Lines over the windows; those of the figures' time lie on white, others on grey.
fn over_time(
    report: &LoadReport,
    area: &Area<'_>,
    name: &str,
    lines: &[Line<'_>],
) -> Result<(), Failed> {
    let end = report
        .windows
        .last()
        .map_or(1.0, |last| last.start_seconds + last.seconds);
    let top = lines
        .iter()
        .flat_map(|line| &line.2)
        .map(|p| p.1)
        .fold(0.0, f64::max);
    let top = if top > 0.0 { 1.3 * top } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(WORDS)
        .label_style(words(13))
        .axis_desc_style(words(14))
        .x_labels(6)
        .x_desc("seconds after the warm-up")
        .y_desc(name)
        .x_label_formatter(&|seconds| figure(*seconds))
        .y_label_formatter(&|value| figure(*value))
        .draw()?;
    if let Some(first) = report.windows.get(report.first_window)
        && first.start_seconds > 0.0
    {
        let before = [(0.0, 0.0), (first.start_seconds, top)];
        chart.draw_series([Rectangle::new(before, REFERENCE.mix(0.15).filled())])?;
    }
    for (label, colour, points) in lines {
        let colour = *colour;
        // A window's value holds from its beginning to the next one's.
        let mut steps: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len());
        for (at, &(start, value)) in points.iter().enumerate() {
            let until = points.get(at + 1).map_or(end, |next| next.0);
            steps.extend([(start, value), (until, value)]);
        }
        chart
            .draw_series(LineSeries::new(steps, colour.stroke_width(3)))?
            .label(*label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(words(13))
        .draw()?;
    Ok(())
}

fn trials(report: &SweepReport, area: &Area<'_>) -> Result<(), Failed> {
    let mut trials = report.trials.clone();
    trials.sort_by(|a, b| a.offered_per_second.total_cmp(&b.offered_per_second));
    let seen = trials.iter().filter(|trial| trial.p50_ms > 0.0);
    let lowest = seen
        .map(|trial| trial.p50_ms)
        .fold(report.target_p99_ms, f64::min);
    let highest = trials
        .iter()
        .map(|trial| trial.p99_ms)
        .fold(report.target_p99_ms, f64::max);
    let right = trials
        .iter()
        .map(|trial| trial.offered_per_second)
        .fold(1.0, f64::max);
    let (low, high) = (lowest.max(1e-4) / 1.5, highest * 1.5);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(32)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..1.08 * right, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(WORDS)
        .label_style(words(14))
        .axis_desc_style(words(15))
        .x_desc("requests a second that were due")
        .y_desc("latency, ms (logarithmic)")
        .x_label_formatter(&|rate| figure(*rate))
        .y_label_formatter(&|ms| figure(*ms))
        .draw()?;
    let across = [
        (0.0, report.target_p99_ms),
        (1.08 * right, report.target_p99_ms),
    ];
    chart
        .draw_series(DashedLineSeries::new(
            across,
            6,
            5,
            REFERENCE.stroke_width(2),
        ))?
        .label(format!("target: {} ms", figure(report.target_p99_ms)))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 10, y)], REFERENCE.stroke_width(2)));
    for (label, colour, value) in [
        (
            "p50",
            BLUE,
            (|trial| trial.p50_ms) as fn(&crate::Trial) -> f64,
        ),
        ("p99", ORANGE, |trial| trial.p99_ms),
    ] {
        let shown = trials.iter().filter(|trial| trial.p50_ms > 0.0);
        let points: Vec<(f64, f64)> = shown
            .map(|trial| (trial.offered_per_second, value(trial)))
            .collect();
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(3),
            ))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
        chart.draw_series(points.iter().map(|&at| Circle::new(at, 4, colour.filled())))?;
    }
    if let Some(best) = &report.best {
        let at = (
            best.offered_per_second.unwrap_or(0.0),
            best.p99_ms().max(low),
        );
        chart.draw_series([Circle::new(at, 10, WORDS.stroke_width(2))])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(words(14))
        .margin(10)
        .draw()?;
    Ok(())
}

fn texts(rows: usize) -> String {
    match rows {
        1 => "1 text".to_owned(),
        rows => format!("{rows} texts"),
    }
}

/// 2 as `99`, 3 as `99.9`.
fn percentile(nines: f64) -> String {
    let value = 100.0 * (1.0 - 10_f64.powf(-nines));
    let digits = (nines.round() - 2.0).max(0.0) as usize;
    format!("{value:.digits$}")
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value {
        v if v >= 99.95 || v == 0.0 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.9995 => format!("{v:.2}"),
        v if v >= 0.0095 => format!("{v:.3}"),
        v => format!("{v:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Latencies, Trial, Window};

    fn report() -> LoadReport {
        let mut latencies = Latencies::default();
        for ms in 1..2_000 {
            latencies.record(Duration::from_micros(900 + ms * ms / 40));
        }
        let windows = [
            (0.0, 480.0, 30.0),
            (5.0, 500.0, 12.0),
            (10.0, 498.0, 12.5),
            (15.0, 503.0, 12.1),
        ];
        LoadReport {
            path: "/embed".into(),
            pacing: "open",
            offered_per_second: Some(500.0),
            rows_per_request: 1,
            seconds: 15.0,
            first_window: 1,
            answered: 7_500,
            latency: latencies.summary(&[0.5, 0.99]),
            distribution: latencies.summary(&[0.1, 0.5, 0.9, 0.99, 0.999]).percentiles,
            windows: windows
                .iter()
                .map(|&(start_seconds, per_second, p99_ms)| Window {
                    start_seconds,
                    seconds: 5.0,
                    per_second,
                    p50_ms: 2.0,
                    p99_ms,
                    ..Window::default()
                })
                .collect(),
            ..LoadReport::default()
        }
    }

    /// A chart without its curves or its scales tells nothing.
    #[test]
    fn the_chart_shows_distribution_and_windows() {
        let svg = svg(&report()).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for words in [
            "POST /embed",
            "99.9",
            "95 % interval",
            "p50",
            "p99",
            "answered",
            "after the warm-up",
        ] {
            assert!(svg.contains(words), "no {words:?}");
        }
    }

    /// A server that answered nothing would end the test in a crash, and the report be lost.
    #[test]
    fn a_test_without_an_answer_has_a_chart() {
        assert!(
            svg(&LoadReport::default())
                .unwrap()
                .contains("no request was answered")
        );
        let nothing = SweepReport {
            target_p99_ms: 10.0,
            ..SweepReport::default()
        };
        assert!(sweep_svg(&nothing).unwrap().contains("no rate has"));
    }

    /// The found rate would not be seen among the trials.
    #[test]
    fn the_sweep_s_chart_has_its_target_and_its_trials() {
        let trial = |offered_per_second: f64, p99_ms: f64| Trial {
            offered_per_second,
            per_second: offered_per_second,
            p50_ms: p99_ms / 3.0,
            p99_ms,
            failed: 0.0,
            met: p99_ms <= 20.0,
        };
        let sweep = SweepReport {
            target_p99_ms: 20.0,
            trials: vec![trial(350.0, 6.0), trial(700.0, 90.0), trial(500.0, 12.0)],
            best: Some(Box::new(report())),
            ..SweepReport::default()
        };
        let svg = sweep_svg(&sweep).unwrap();
        for words in ["target: 20.0 ms", "up to 500 requests/s", "p99"] {
            assert!(svg.contains(words), "no {words:?}");
        }
    }
}
