//! `batchwright load-test`: a server measured as its users would see it.

mod report;

use anyhow::{Context, bail};
use batchwright::Task;
use data::{ColumnChoice, InputSpec, Source};
use load::{
    Action, Ended, Endpoint, Load, LoadSpec, Pacing, Payloads, Stability, SweepReport, SweepTarget,
    Target, Until, Watched,
};
use serde::Serialize;

use crate::args::{GeneralArgs, LoadTestArgs};
use crate::console::{self, Console};
use crate::figures;
use crate::interrupt::Interrupt;
use crate::job::Ending;
use crate::plan;

/// Connections in closed loop, where none were said: enough for a server to make batches of.
const CLOSED: usize = 16;
/// Connections in open loop, where none were said: a queue that long is no longer the generator's.
const OPEN: usize = 1_024;

/// What `--report-json` holds: the figures, and what they were measured with.
#[derive(Serialize)]
struct Document<'a, R> {
    version: &'static str,
    inputs: Vec<String>,
    #[serde(flatten)]
    report: &'a R,
}

/// Measures, prints the tables, and writes what else was asked for.
pub(crate) fn run(
    args: &LoadTestArgs,
    general: &GeneralArgs,
    console: &Console,
) -> anyhow::Result<Ending> {
    let reports = [
        ("--report-json", args.measure.report_json.as_deref()),
        ("--report-svg", args.measure.report_svg.as_deref()),
    ];
    plan::refuse_to_write_over(&reports, &input(args))?;
    let target: Target = args.url.parse()?;
    let spec = spec(args, general)?;
    let endpoint = Endpoint {
        protocol: args.request.protocol,
        action: action(args.request.task)?,
        model: args.request.model.clone(),
    };
    let headers = headers(&args.request.header)?;
    let texts = read(args, console)?;
    let rows = args.request.rows_per_request.get();
    let payloads = Payloads::new(&target, &endpoint, &headers, &texts, rows)?;
    drop(texts);
    let interrupt = Interrupt::listen_saying(
        console,
        "stopping: the report of what was measured follows; Ctrl-C again ends at once",
    )?;
    let load = Load::prepare(target, payloads, spec.timeout)?;
    match args.pace.target_p99_ms {
        Some(ms) => sweep(args, &load, &spec, ms, &interrupt, console),
        None => measure(args, &load, &spec, &interrupt, console),
    }
}

fn measure(
    args: &LoadTestArgs,
    load: &Load,
    spec: &LoadSpec,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Ending> {
    let report = load.run(
        spec,
        |window| console.say(report::window(window)),
        || interrupt.came(),
    )?;
    console::print(&report::text(&report))?;
    keep(args, &report, || load::svg(&report), console)?;
    if report.answered == 0 {
        bail!("no request was answered with success");
    }
    Ok(ending(report.ended == Ended::Interrupted))
}

fn sweep(
    args: &LoadTestArgs,
    load: &Load,
    spec: &LoadSpec,
    target_ms: f64,
    interrupt: &Interrupt,
    console: &Console,
) -> anyhow::Result<Ending> {
    let target = SweepTarget {
        p99: std::time::Duration::try_from_secs_f64(target_ms / 1e3)
            .ok()
            .filter(|time| !time.is_zero())
            .context("--target-p99-ms is a number of milliseconds above 0")?,
        first_per_second: args.pace.rate,
    };
    let watch = |watched: Watched<'_>| match watched {
        Watched::Window(window) => console.say(report::window(window)),
        Watched::ClosedLoop(found) => console.say(report::closed_loop(found)),
        Watched::Trial(trial) => console.say(report::trial(trial)),
    };
    let found: SweepReport = load.sweep(spec, target, watch, || interrupt.came())?;
    console::print(&report::sweep_text(&found))?;
    keep(args, &found, || load::sweep_svg(&found), console)?;
    if found.best.is_none() && !found.interrupted {
        bail!(
            "no rate that was tried has its 99th percentile within {} ms",
            figures::three_digits(target_ms)
        );
    }
    Ok(ending(found.interrupted))
}

fn ending(interrupted: bool) -> Ending {
    match interrupted {
        true => Ending::Interrupted,
        false => Ending::Complete,
    }
}

/// How the measurement is to go, refusing what contradicts itself.
fn spec(args: &LoadTestArgs, general: &GeneralArgs) -> anyhow::Result<LoadSpec> {
    let (pace, measure) = (&args.pace, &args.measure);
    let open = pace.rate.is_some() || pace.target_p99_ms.is_some();
    let most = if open { OPEN } else { CLOSED };
    let window = measure.window_seconds.min(measure.duration_seconds);
    if window.is_zero() {
        bail!("--window-seconds and --duration-seconds must be above 0");
    }
    // Whole windows alone: a shorter one has another spread.
    let windows = measure.duration_seconds.as_secs_f64() / window.as_secs_f64();
    let windows = (windows + 1e-9).floor().max(1.0) as usize;
    let stability = Stability::default();
    if !measure.whole && windows < stability.windows {
        bail!(
            "a measurement of {windows} windows cannot show that {} agree; make --duration-seconds \
             longer, --window-seconds shorter, or say --whole",
            stability.windows
        );
    }
    Ok(LoadSpec {
        pacing: match pace.rate {
            Some(per_second) => Pacing::Open { per_second },
            None => Pacing::Closed,
        },
        connections: pace.connections.map_or(most, usize::from),
        threads: general.threads.unwrap_or(1).max(1),
        warm_up: measure.warm_up_seconds,
        window,
        windows,
        until: match measure.whole {
            true => Until::TheEnd,
            false => Until::Stable(stability),
        },
        give_up_p99: None,
        timeout: std::time::Duration::from_millis(pace.request_timeout_ms.get() as u64),
        split_chars: measure.split_chars,
        seed: pace.seed,
    })
}

fn action(task: Option<Task>) -> anyhow::Result<Action> {
    Ok(match task {
        None | Some(Task::Embed) => Action::Embed,
        Some(Task::Classify) => Action::Classify,
        Some(Task::Tag) => Action::Tag,
        Some(task) => bail!("--task {task} asks about pairs of texts, which load-test cannot send"),
    })
}

fn headers(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let split = |header: &String| {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("--header {header}: write NAME: VALUE"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    given.iter().map(split).collect()
}

fn input(args: &LoadTestArgs) -> InputSpec {
    InputSpec {
        paths: args.texts.inputs.clone(),
        format: args.texts.input_format,
        columns: ColumnChoice {
            text: args.texts.text_column.clone(),
            ..ColumnChoice::default()
        },
        chunk_rows: args.texts.rows.get().min(4_096),
        ..InputSpec::default()
    }
}

/// The first texts of the input. Bad rows cannot be sent and are passed over.
fn read(args: &LoadTestArgs, console: &Console) -> anyhow::Result<Vec<String>> {
    let wanted = args.texts.rows.get();
    let mut texts = Vec::new();
    let mut bad = 0_u64;
    for chunk in Source::open(&input(args))? {
        for row in chunk?.rows {
            match row {
                Ok(row) if texts.len() < wanted => texts.push(row.text),
                Ok(_) => {}
                Err(_) => bad += 1,
            }
        }
        if texts.len() == wanted {
            break;
        }
    }
    if bad > 0 {
        console.say(format_args!(
            "{} could not be read and are left out",
            figures::rows(bad)
        ));
    }
    if texts.is_empty() {
        let names: Vec<_> = args
            .texts
            .inputs
            .iter()
            .map(|path| path.to_string_lossy())
            .collect();
        bail!("{}: no text to ask about", names.join(" "));
    }
    Ok(texts)
}

/// Writes the files that were asked for.
fn keep<R: Serialize>(
    args: &LoadTestArgs,
    report: &R,
    svg: impl FnOnce() -> Result<String, String>,
    console: &Console,
) -> anyhow::Result<()> {
    if let Some(path) = &args.measure.report_json {
        let document = Document {
            version: env!("CARGO_PKG_VERSION"),
            inputs: args
                .texts
                .inputs
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            report,
        };
        console.write(path, &(serde_json::to_string_pretty(&document)? + "\n"))?;
    }
    if let Some(path) = &args.measure.report_svg {
        let svg =
            svg().map_err(|error| anyhow::anyhow!("the chart could not be drawn: {error}"))?;
        console.write(path, &svg)?;
    }
    Ok(())
}
