//! Which load, on which server.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use batchwright::Task;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use data::Format;
use load::Protocol;

pub(crate) const EXAMPLES: &str = "\
Examples:
  batchwright load-test http://localhost:8003 queries.csv
  batchwright load-test http://localhost:8003 queries.csv --rate 500 --report-svg load.svg
  batchwright load-test http://localhost:8003 queries.csv --target-p99-ms 20    the highest rate for it
  batchwright load-test http://localhost:8080 queries.csv --protocol tei --connections 64
  batchwright load-test http://localhost:8000 queries.csv --protocol oip -m minilm --rate 200
  batchwright load-test unix:/run/batchwright.sock queries.csv --rate 3000 --whole --duration-seconds 120

Without --rate, each connection asks again as soon as it is answered: the most that so many connections get.
With --rate, requests are due at random times whatever the server does, and latency counts from then: what
users see. Exit code 1 where nothing was answered, or no rate meets --target-p99-ms.";

#[derive(Args, Debug)]
pub(crate) struct LoadTestArgs {
    /// The server: http://HOST:PORT, with a path if it is not the protocol's own, or unix:PATH
    #[arg(value_name = "URL", help_heading = None)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) texts: TextArgs,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) measure: MeasureLoadArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Input")]
pub(crate) struct TextArgs {
    /// Texts to ask about: files, quoted globs, or - for standard input, in the formats of every command
    #[arg(value_name = "INPUT", required = true, help_heading = None)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Column that holds the text; by default `text`, else the only column of text
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Format of the input where its name does not tell
    #[arg(long, value_name = "FORMAT", value_parser = super::format(&Format::READABLE))]
    pub(crate) input_format: Option<Format>,
    /// Rows to ask about: the first of the input, again and again
    #[arg(long, value_name = "N", default_value = "10000", value_parser = super::count)]
    pub(crate) rows: NonZeroUsize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// How the server is asked: own, openai, oip (Open Inference Protocol) or tei (Text Embeddings
    /// Inference)
    #[arg(long, value_name = "NAME", default_value = "own", value_parser = protocol())]
    pub(crate) protocol: Protocol,
    /// What is asked about the texts; by default embed
    #[arg(long, value_name = "TASK", value_parser = super::task())]
    pub(crate) task: Option<Task>,
    /// The model's name on the server, where it has several or the protocol needs one
    #[arg(long, short, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Texts in each request
    #[arg(long, value_name = "N", default_value = "1", value_parser = super::count)]
    pub(crate) rows_per_request: NonZeroUsize,
    /// Header of every request, such as 'Authorization: Bearer KEY'; may be given several times
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct PaceArgs {
    /// Requests a second, at random times (open loop)
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Look for the highest rate whose 99th percentile is within this; --rate is then the first to be tried
    #[arg(long, value_name = "MS")]
    pub(crate) target_p99_ms: Option<f64>,
    /// Connections: by default 16 in closed loop, and at most 1024 with a rate
    #[arg(long, value_name = "N", value_parser = super::count)]
    pub(crate) connections: Option<NonZeroUsize>,
    /// After which a request counts as failed
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = super::count)]
    pub(crate) request_timeout_ms: NonZeroUsize,
    /// Of the random times: the same seed gives the same
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Measuring")]
pub(crate) struct MeasureLoadArgs {
    /// Time that is not counted, at first
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub(crate) warm_up_seconds: Duration,
    /// Length of a window
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub(crate) window_seconds: Duration,
    /// How long is measured at most: it ends before where three windows agree within 10 %
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    pub(crate) duration_seconds: Duration,
    /// Measure the whole duration, even if windows agree before
    #[arg(long)]
    pub(crate) whole: bool,
    /// Show the latencies of texts of up to so many characters apart from those of longer ones
    #[arg(long, value_name = "N")]
    pub(crate) split_chars: Option<usize>,
    /// Write every figure to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report_json: Option<PathBuf>,
    /// Draw the latencies' distribution and the windows, or a sweep's trials, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) report_svg: Option<PathBuf>,
}

fn protocol() -> impl TypedValueParser<Value = Protocol> {
    PossibleValuesParser::new(Protocol::ALL.map(Protocol::name))
        .try_map(|name| name.parse::<Protocol>())
}

/// Takes a time in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| (0.0..=1e6).contains(number))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write seconds, such as 5 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A duration misread would be a test of another length, or a crash.
    #[test]
    fn seconds_are_numbers_from_0_on() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for text in ["-1", "NaN", "inf", "1s", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
