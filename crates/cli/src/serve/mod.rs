//! `batchwright serve`: what was asked, turned into models and a server.

mod file;
mod otlp;
mod plan;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::bail;
use server::Stopped;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::args::{GeneralArgs, LogFormat, LogLevel, ServeArgs, Typed};
use crate::console::Console;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) fn run(
    args: &ServeArgs,
    general: &GeneralArgs,
    typed: &Typed,
    console: &Console,
) -> anyhow::Result<()> {
    let models = plan::models(args, general, typed)?;
    let settings = plan::settings(args, general, typed)?;
    log(args, general);
    let scheme = if args.listen.tls_key.is_some() {
        "https"
    } else {
        "http"
    };
    let socket = args.listen.unix_socket.as_deref();
    let ended = server::serve(settings, models, |addresses| {
        console.say(announcement(scheme, addresses, socket));
    })?;
    match ended {
        Stopped::Clean => Ok(()),
        Stopped::Hurried => {
            bail!("stopped by a second signal, before every accepted request was answered")
        }
        Stopped::Late => bail!(
            "stopped before every accepted request was answered; give them more time with --stop-timeout-s"
        ),
    }
}

fn announcement(scheme: &str, addresses: &[SocketAddr], socket: Option<&Path>) -> String {
    let mut places: Vec<String> = addresses
        .iter()
        .map(|address| format!("{scheme}://{address}"))
        .collect();
    places.extend(socket.map(|path| path.display().to_string()));
    format!("listening on {}", places.join(" and "))
}

/// Lines go to standard error. Whoever embeds this has no other logger: this is the whole program.
fn log(args: &ServeArgs, general: &GeneralArgs) {
    let level = match args.operation.log_level {
        _ if general.quiet => LevelFilter::ERROR,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // The crates that speak HTTP/2 and TLS have a line for every frame: nobody asked for those.
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("batchwright", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match args.operation.log_format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(ours))
        .init();
}
