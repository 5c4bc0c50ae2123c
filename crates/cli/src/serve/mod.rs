//! `batchwright serve`: what was asked, turned into models and a server.

mod file;
mod plan;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::bail;
use server::Stopped;
use tracing::level_filters::LevelFilter;

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
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr);
    match args.operation.log_format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
