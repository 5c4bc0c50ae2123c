//! Rows a second over the token budget, as an SVG picture.
//!
//! White ground, dark words and colours that people tell apart who see few of them (Okabe and Ito's),
//! so that it reads the same in a light or a dark viewer and in print.

use anyhow::anyhow;
use batchwright::{BenchmarkReport, BudgetResult};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report;
use crate::figures::{count, three_digits};

const SIZE: (u32, u32) = (900, 560);
const WORDS: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const REFERENCE: RGBColor = RGBColor(0x77, 0x77, 0x77);
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
];

/// Draws the chart.
pub(super) fn svg(report: &BenchmarkReport) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(report, SVGBackend::with_string(&mut text, SIZE))
        .map_err(|error| anyhow!("the chart could not be drawn: {error}"))?;
    Ok(text)
}

fn draw(
    report: &BenchmarkReport,
    backend: SVGBackend<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let words = |size: u32| ("sans-serif", size).into_font().color(&WORDS);
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(64);
    head.draw(&Text::new(
        format!("{}: rows a second by batch", report.model),
        (24, 16),
        words(22),
    ))?;
    head.draw(&Text::new(subtitle(report), (24, 44), words(14)))?;

    let mut ticks: Vec<f64> = report
        .budgets
        .iter()
        .map(|result| result.batch_tokens as f64)
        .collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    let (first, last) = (
        ticks.first().copied().unwrap_or(1.0),
        ticks.last().copied().unwrap_or(1.0),
    );
    let most = report
        .budgets
        .iter()
        .map(|r| r.rows_per_second)
        .fold(0.0, f64::max);
    // Room above the lines for the words about the cache, which is far beyond the scale.
    let top = 1.25 * most.max(report.single.per_second).max(1.0);
    // A margin of a quarter of an octave, so that points do not lie on the axes.
    let budgets = (first / 1.2..last * 1.2)
        .log_scale()
        .with_key_points(apart(&ticks));
    let mut chart = ChartBuilder::on(&body)
        .margin(16)
        .margin_right(32)
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(budgets, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(WORDS)
        .label_style(words(14))
        .axis_desc_style(words(15))
        .x_desc("tokens computed together by one thread (logarithmic; 1 is one text at a time)")
        .y_desc("rows a second")
        .x_label_formatter(&|tokens| format!("{tokens:.0}"))
        .y_label_formatter(&|rows| tick(*rows))
        .draw()?;

    let mut threads: Vec<usize> = report.budgets.iter().map(|result| result.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    for (&threads, colour) in threads.iter().zip(COLOURS.iter().cycle()) {
        let of_threads = report
            .budgets
            .iter()
            .filter(|result| result.threads == threads);
        let points: Vec<(f64, f64)> = of_threads.map(point).collect();
        let word = if threads == 1 { "thread" } else { "threads" };
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(3),
            ))?
            .label(format!("{threads} {word}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
        chart.draw_series(points.iter().map(|&at| Circle::new(at, 4, colour.filled())))?;
    }

    let single = report.single.per_second;
    let across = [(first / 1.2, single), (last * 1.2, single)];
    chart
        .draw_series(DashedLineSeries::new(
            across,
            6,
            5,
            REFERENCE.stroke_width(2),
        ))?
        .label(format!(
            "one query, then the next: {}",
            three_digits(single)
        ))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 10, y)], REFERENCE.stroke_width(2)));
    if let Some(cached) = report.cached.map(|latency| latency.per_second) {
        if cached < top {
            let across = [(first / 1.2, cached), (last * 1.2, cached)];
            chart.draw_series(DashedLineSeries::new(
                across,
                2,
                4,
                REFERENCE.stroke_width(2),
            ))?;
        }
        let beyond = if cached < top {
            "dotted"
        } else {
            "beyond this scale"
        };
        chart
            .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?
            .label(format!(
                "the same from the cache: {} ({beyond})",
                three_digits(cached)
            ));
    }

    if let Some(best) = report::recommended(report) {
        let (x, y) = point(best);
        chart.draw_series([Circle::new((x, y), 10, WORDS.stroke_width(2))])?;
        let budget = match best.batch_tokens {
            1 => "one text".to_owned(),
            tokens => format!("{tokens} tokens"),
        };
        let label = format!("recommended: {budget}, {}", three_digits(y));
        // Words at an end of the chart grow towards its middle.
        let place = (x / first).ln() / (last / first).ln().max(f64::MIN_POSITIVE);
        let (anchor, shift) = match place {
            p if p < 0.25 => (HPos::Left, -4),
            p if p > 0.75 => (HPos::Right, 4),
            _ => (HPos::Center, 0),
        };
        let style = words(14).pos(Pos::new(anchor, VPos::Bottom));
        let at = EmptyElement::at((x, y)) + Text::new(label, (shift, -16), style);
        chart.draw_series([at])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font(words(14))
        .margin(10)
        .draw()?;
    root.present()?;
    Ok(())
}

fn subtitle(report: &BenchmarkReport) -> String {
    let per_row = report.tokens as f64 / report.rows.max(1) as f64;
    format!(
        "{} rows of {} tokens on average; {}, {}",
        report.rows,
        three_digits(per_row),
        report.machine.processor,
        report.machine.isa,
    )
}

fn point(result: &BudgetResult) -> (f64, f64) {
    (result.batch_tokens as f64, result.rows_per_second)
}

/// `1,250`, `50`, `2.5`.
fn tick(rows: f64) -> String {
    if rows >= 10.0 || rows == rows.round() {
        count(rows.round() as u64)
    } else {
        format!("{rows:.1}")
    }
}

/// Ticks at least a third of an octave apart, for labels that do not run into one another.
fn apart(ticks: &[f64]) -> Vec<f64> {
    let mut kept: Vec<f64> = Vec::new();
    for &tick in ticks {
        if kept.last().is_none_or(|last| tick / last > 1.25) {
            kept.push(tick);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chart without its curves, its reference or its scale tells nothing.
    #[test]
    fn the_chart_has_a_line_for_each_number_of_threads() {
        let svg = svg(&report::tests::example()).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for words in [
            "1 thread",
            "2 threads",
            "one query, then the next: 420",
            "52,000",
            "192 tokens",
            "4096",
        ] {
            assert!(svg.contains(words), "no {words:?}");
        }
    }

    /// Labels would be printed over one another, and none be legible.
    #[test]
    fn close_ticks_are_thinned() {
        assert_eq!(
            apart(&[1.0, 48.0, 192.0, 204.0, 384.0]),
            [1.0, 48.0, 192.0, 384.0]
        );
    }
}
