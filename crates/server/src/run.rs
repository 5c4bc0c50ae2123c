//! A server as a whole program: threads, signals, the end.

use std::future::Future;
use std::net::SocketAddr;

use crate::models::ModelSpec;
use crate::server::{Server, ServerError, Stopped};
use crate::settings::ServerSettings;

/// Serves until Ctrl-C or SIGTERM; then finishes what was accepted. A second signal does not wait for it.
/// `listening` is told the addresses as soon as connections are taken on; models are loaded after that.
///
/// # Errors
/// If the server cannot listen, or a model cannot be loaded.
pub fn serve(
    settings: ServerSettings,
    models: Vec<ModelSpec>,
    listening: impl FnOnce(&[SocketAddr]),
) -> Result<Stopped, ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.http_threads.max(1))
        .thread_name("batchwright-http")
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let first = signal()?;
        let server = Server::bind(settings, models).await?;
        listening(&server.addresses());
        let (told, tell) = tokio::sync::oneshot::channel();
        let running = server.run(async {
            first.await;
            let _ = told.send(());
        });
        let hurried = async {
            // Listened for only now: the signal that stops the server is not the one that hurries it.
            match (tell.await, signal()) {
                (Ok(()), Ok(second)) => second.await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = running => ended,
            () = hurried => Ok(Stopped::Hurried),
        }
    });
    // A model that is still being loaded is nobody's any more.
    runtime.shutdown_background();
    ended
}

/// The next Ctrl-C or SIGTERM after the future is first waited for.
#[cfg(unix)]
fn signal() -> Result<impl Future<Output = ()>, ServerError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signal() -> Result<impl Future<Output = ()>, ServerError> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
