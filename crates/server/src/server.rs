//! Listening, serving connections, and stopping without losing a request.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::connection::Line;
use crate::gate;
use crate::models::{ModelSpec, Models};
use crate::settings::ServerSettings;
use crate::tls;
use crate::traces::Traces;
use crate::unread::Streams;

/// How long connections without a request are kept once the server is to stop: clients that have one
/// open learn with their next answer that it closes, instead of sending into a closed one.
const LINGER: Duration = Duration::from_millis(500);
/// How long no connection is taken on after the system has refused one, as it does without free files.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// How the system finds out that a peer is gone, of which neither pings nor a timeout of ours would tell: after a minute
/// of silence it asks four times.
const PROBES: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// After so long without a frame a peer of HTTP/2 is asked whether it is there, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why a server could not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address could not be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another with --host and --port, or --unix-socket"
    )]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key could not be used.
    #[error("{}: {problem}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings contradict themselves.
    #[error("{0}")]
    Settings(String),
    /// A model that was named could not be loaded at the start.
    #[error("{0}")]
    Model(String),
    /// The system refuses threads or signals.
    #[error("the system refuses to run the server: {0}")]
    System(#[from] io::Error),
}

/// The routes of a server without its listening, for programs that have their own: every model is loaded first.
/// What stops such a server, and its TLS, are the program's. On a runtime of one thread long texts and large answers hold
/// up all other requests.
///
/// # Errors
/// If a setting cannot be honoured or a model not be loaded.
pub async fn router(
    settings: ServerSettings,
    models: Vec<ModelSpec>,
) -> Result<Router, ServerError> {
    settings.check_bodies().map_err(ServerError::Settings)?;
    let app = app(settings, models)?;
    load_all(&app).await?;
    Ok(gate::router(app))
}

/// What all requests share. Nothing is loaded yet.
fn app(settings: ServerSettings, models: Vec<ModelSpec>) -> Result<Arc<App>, ServerError> {
    let models = Models::new(settings.threads, models).map_err(ServerError::Settings)?;
    let traces = settings.otlp.as_ref().map(Traces::start).transpose();
    let traces = traces.map_err(ServerError::Settings)?;
    Ok(Arc::new(App::new(settings, models, traces)))
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every request that had been accepted was answered.
    Clean,
    /// Some were not, within [`stop_timeout`](ServerSettings::stop_timeout).
    Late,
    /// A second signal ended it before they were.
    Hurried,
}

/// A server that listens, and does not answer before it [runs](Self::run).
pub struct Server {
    app: Arc<App>,
    doors: Vec<Door>,
    tls: Option<TlsAcceptor>,
}

enum Door {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, PathBuf),
}

/// What accepted connections need.
#[derive(Clone)]
struct Desk {
    app: Arc<App>,
    router: Router,
    builder: auto::Builder<Streams>,
    tls: Option<TlsAcceptor>,
}

impl Server {
    /// Listens on every address.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a setting cannot be honoured.
    pub async fn bind(
        settings: ServerSettings,
        models: Vec<ModelSpec>,
    ) -> Result<Self, ServerError> {
        settings.check().map_err(ServerError::Settings)?;
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let app = app(settings, models)?;
        let mut doors = Vec::new();
        for &address in &app.settings.addresses {
            let door = TcpListener::bind(address).await;
            let door = door.map_err(|source| ServerError::Listen {
                address: address.to_string(),
                source,
            })?;
            doors.push(Door::Tcp(door));
        }
        for path in &app.settings.sockets {
            doors.push(unix_door(path).await?);
        }
        Ok(Self { app, doors, tls })
    }

    /// The addresses that it listens on, with the ports that the system chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = self.doors.iter().filter_map(|door| match door {
            Door::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Door::Unix(..) => None,
        });
        tcp.collect()
    }

    /// Loads the models and answers until `stop` comes; then finishes what was accepted.
    ///
    /// # Errors
    /// If a model cannot be loaded.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Stopped, ServerError> {
        let Self { app, doors, tls } = self;
        app.models.served_on(Handle::current());
        let desk = Desk {
            router: gate::router(Arc::clone(&app)),
            builder: builder(&app.settings),
            app: Arc::clone(&app),
            tls,
        };
        let graceful = Arc::new(GracefulShutdown::new());
        let (closing, closed) = watch::channel(());
        let mut accepting = Vec::new();
        for door in doors {
            let task = accept(door, desk.clone(), Arc::clone(&graceful), closed.clone());
            accepting.push(tokio::spawn(task));
        }
        drop(closed);
        let loading = load_all(&app);
        tokio::pin!(stop, loading);
        let failed = tokio::select! {
            () = &mut stop => None,
            loaded = &mut loading => match loaded {
                Ok(()) => {
                    stop.await;
                    None
                }
                Err(error) => Some(error),
            },
        };
        let until = Instant::now() + app.settings.stop_timeout;
        tracing::info!(connections = app.connections.count(), "stopping");
        app.stop();
        drop(closing);
        for task in accepting {
            let _ = task.await;
        }
        let linger = LINGER.min(app.settings.stop_timeout);
        let _ = tokio::time::timeout(linger, app.connections.ended()).await;
        let clean = finish(&app, graceful, until).await;
        match failed {
            Some(error) => Err(error),
            None => Ok(clean),
        }
    }
}

/// Loads every model, one after the other; those that are ready answer meanwhile.
async fn load_all(app: &Arc<App>) -> Result<(), ServerError> {
    for slot in app.models.slots() {
        let (app, slot) = (Arc::clone(app), Arc::clone(slot));
        let loading = tokio::task::spawn_blocking(move || app.models.load(&slot).map(drop));
        match loading.await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => return Err(ServerError::Model(problem.message)),
            Err(error) => return Err(ServerError::Model(error.to_string())),
        }
    }
    app.begin();
    tracing::info!("ready");
    Ok(())
}

fn builder(settings: &ServerSettings) -> auto::Builder<Streams> {
    let read_timeout = settings.read_timeout;
    let mut builder = auto::Builder::new(Streams {
        idle: settings.idle_timeout,
    });
    // A client that never sends its head would keep a connection for ever.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        // A peer that is gone without a word would keep its connection for ever.
        .keep_alive_interval(Some(read_timeout.min(KEEP_ALIVE)))
        .keep_alive_timeout(read_timeout.min(KEEP_ALIVE))
        .max_concurrent_streams(1_024);
    builder
}

/// Takes connections on until it is told to stop, and then those that wait already.
async fn accept(
    door: Door,
    desk: Desk,
    graceful: Arc<GracefulShutdown>,
    mut closed: watch::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            // The sender is dropped to stop; nothing is ever sent.
            _ = closed.changed() => break,
            () = door.next(&desk, &graceful) => {}
        }
    }
    door.close(&desk, &graceful);
}

impl Door {
    async fn next(&self, desk: &Desk, graceful: &GracefulShutdown) {
        let refused = match self {
            Door::Tcp(listener) => match listener.accept().await {
                Ok((stream, _)) => return desk.welcome(stream, graceful),
                Err(error) => error,
            },
            #[cfg(unix)]
            Door::Unix(listener, _) => match listener.accept().await {
                Ok((stream, _)) => return desk.seat(stream, graceful.watcher()),
                Err(error) => error,
            },
        };
        tracing::warn!(error = %refused, "a connection could not be accepted");
        tokio::time::sleep(REFUSED_PAUSE).await;
    }

    /// Takes on those that wait in the system's queue, and listens no more. The system is asked itself: the runtime may
    /// not have heard of the last ones yet, and they would be reset.
    fn close(self, desk: &Desk, graceful: &GracefulShutdown) {
        match self {
            Door::Tcp(listener) => {
                let Some(listener) = taken_over(listener.into_std()) else {
                    return;
                };
                while let Some((stream, _)) = waiting(|| listener.accept()) {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
                    {
                        desk.welcome(stream, graceful);
                    }
                }
            }
            #[cfg(unix)]
            Door::Unix(listener, path) => {
                // Whoever connects now finds nobody rather than a socket without a server.
                let _ = std::fs::remove_file(path);
                let Some(listener) = taken_over(listener.into_std()) else {
                    return;
                };
                while let Some((stream, _)) = waiting(|| listener.accept()) {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = tokio::net::UnixStream::from_std(stream)
                    {
                        desk.seat(stream, graceful.watcher());
                    }
                }
            }
        }
    }
}

/// A listener that the runtime has given back.
fn taken_over<L>(listener: io::Result<L>) -> Option<L> {
    let warn = |error: &io::Error| {
        tracing::warn!(%error, "connections that still wait in the system's queue will be reset");
    };
    listener.inspect_err(warn).ok()
}

/// The next connection in the queue of a listener that does not block.
fn waiting<T>(mut accept: impl FnMut() -> io::Result<T>) -> Option<T> {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};

    loop {
        match accept() {
            Ok(connection) => return Some(connection),
            Err(error) if matches!(error.kind(), Interrupted | ConnectionAborted) => {}
            Err(error) => {
                if error.kind() != WouldBlock {
                    tracing::warn!(%error, "connections that wait could not be accepted");
                }
                return None;
            }
        }
    }
}

impl Desk {
    /// A connection by TCP.
    fn welcome(&self, stream: tokio::net::TcpStream, graceful: &GracefulShutdown) {
        // Answers are written whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        // A peer that is gone without a word would keep its connection for ever.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&PROBES);
        match self.tls.clone() {
            Some(tls) => self.greet(tls, stream, graceful.watcher()),
            None => self.seat(stream, graceful.watcher()),
        }
    }

    /// Speaks TLS first.
    fn greet(&self, tls: TlsAcceptor, stream: tokio::net::TcpStream, watcher: Watcher) {
        let (desk, running) = (self.clone(), self.app.connections.track());
        let within = self.app.settings.read_timeout;
        tokio::spawn(async move {
            let begun = Instant::now();
            match tokio::time::timeout(within, tls.accept(stream)).await {
                Ok(Ok(stream)) => desk.serve(stream, watcher).await,
                Ok(Err(error)) => gate::unserved(&error, begun.elapsed()),
                Err(_) => gate::unserved(&"TLS was not agreed upon in time", begun.elapsed()),
            }
            drop(running);
        });
    }

    fn seat<S>(&self, stream: S, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (desk, running) = (self.clone(), self.app.connections.track());
        tokio::spawn(async move {
            desk.serve(stream, watcher).await;
            drop(running);
        });
    }

    async fn serve<S>(&self, stream: S, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let begun = Instant::now();
        let service = TowerToHyperService::new(self.router.clone());
        let line = Line::new(stream, self.app.settings.idle_timeout);
        let other = line.other();
        let connection = self.builder.serve_connection(TokioIo::new(line), service);
        let serving = watcher.watch(connection.into_owned());
        tokio::pin!(serving);
        // hyper waits for ever for what tells HTTP/2 from 1.1.
        let first = tokio::select! {
            biased;
            ended = &mut serving => Some(ended),
            () = tokio::time::sleep(self.app.settings.read_timeout) => None,
        };
        let ended = match first {
            Some(ended) => ended,
            None if other.has_begun() => serving.await,
            None => {
                gate::unserved(&"no request came", begun.elapsed());
                return other.tell_too_slow().await;
            }
        };
        let Err(error) = ended else { return };
        // Mostly clients that went away.
        gate::unserved(&error, begun.elapsed());
        let hyper = error.downcast_ref::<hyper::Error>();
        if hyper.is_some_and(hyper::Error::is_timeout) {
            other.tell_too_slow().await;
        }
    }
}

/// Waits for the connections and then for the models, but no longer than that.
async fn finish(app: &Arc<App>, graceful: Arc<GracefulShutdown>, until: Instant) -> Stopped {
    // The doors are closed, and nobody else had it.
    let mut clean = match Arc::into_inner(graceful) {
        Some(graceful) => tokio::time::timeout_at(until.into(), graceful.shutdown())
            .await
            .is_ok(),
        None => false,
    };
    clean &= tokio::time::timeout_at(until.into(), app.streams.ended())
        .await
        .is_ok();
    let services: Vec<_> = app
        .models
        .loaded()
        .map(|loaded| loaded.service.clone())
        .collect();
    let draining = tokio::task::spawn_blocking(move || {
        services.iter().for_each(engine::Service::close);
        let left = || until.saturating_duration_since(Instant::now());
        services.iter().all(|service| service.drained(left()))
    });
    clean &= draining.await.unwrap_or(false);
    if app.traces.is_some() {
        let app = Arc::clone(app);
        let last = move || app.traces.as_ref().map(Traces::finish);
        let _ = tokio::task::spawn_blocking(last).await;
    }
    tracing::info!(clean, "stopped");
    if clean { Stopped::Clean } else { Stopped::Late }
}

#[cfg(unix)]
async fn unix_door(path: &Path) -> Result<Door, ServerError> {
    let failed = |source| ServerError::Listen {
        address: path.display().to_string(),
        source,
    };
    use std::os::unix::fs::FileTypeExt;
    // A socket that a killed server left behind is in nobody's way but ours. A file that is no socket refuses
    // connections as well, and is somebody's.
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let is_left_behind = match tokio::net::UnixStream::connect(path).await {
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(_) => false,
    };
    if is_socket && is_left_behind {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    Ok(Door::Unix(listener, path.to_owned()))
}

#[cfg(not(unix))]
async fn unix_door(path: &Path) -> Result<Door, ServerError> {
    Err(ServerError::Listen {
        address: path.display().to_string(),
        source: io::Error::other("this system has no Unix sockets"),
    })
}
