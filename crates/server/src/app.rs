//! What all requests share.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use engine::Health;
use hyper::header::HeaderValue;
use tokio::sync::{Notify, watch};

use crate::gpus::Gpus;
use crate::metrics::HttpMetrics;
use crate::models::{Models, Pick, State};
use crate::permits::Permits;
use crate::settings::ServerSettings;
use crate::traces::Traces;

/// How often it is looked at how the server stands, while somebody watches that.
const LOOK: Duration = Duration::from_secs(1);

/// The server's state.
pub(crate) struct App {
    pub(crate) settings: ServerSettings,
    pub(crate) models: Models,
    pub(crate) metrics: HttpMetrics,
    pub(crate) gpus: Gpus,
    /// Only if traces are wanted.
    pub(crate) traces: Option<Traces>,
    /// Bytes of bodies in memory.
    pub(crate) body_bytes: Arc<Permits>,
    pub(crate) streams: Tracked,
    pub(crate) connections: Tracked,
    pub(crate) started: Instant,
    pub(crate) openapi: Bytes,
    /// Whether every model of the start is loaded: between two of them the server is not ready.
    begun: AtomicBool,
    stopping: AtomicBool,
    standing: watch::Sender<Standing>,
    /// Whether a task looks how the server stands.
    is_looked_at: Mutex<bool>,
    /// Held by whoever measures a model: one at a time.
    pub(crate) benchmark: Mutex<()>,
    /// What tells this process's request ids from another's.
    salt: [u8; 16],
    ids: AtomicU64,
}

/// How it stands with the server, for those who watch it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) is_stopping: bool,
    is_ready: bool,
    /// Names of models, and whether they answer.
    models: Vec<(String, bool)>,
}

impl Standing {
    /// Whether a model answers, or the server as a whole; none for a model that is not known.
    pub(crate) fn serves(&self, model: Option<&str>) -> Option<bool> {
        let serves = match model {
            None => self.is_ready,
            Some(name) => self.models.iter().find(|(known, _)| known == name)?.1,
        };
        Some(serves && !self.is_stopping)
    }
}

/// A number of things that are going on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracked(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    number: AtomicU64,
    /// Told when there are none left.
    none: Notify,
}

/// One of them, until it is dropped.
pub(crate) struct Running(Arc<Count>);

impl Tracked {
    pub(crate) fn track(&self) -> Running {
        self.0.number.fetch_add(1, SeqCst);
        Running(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.number.load(SeqCst)
    }

    /// Until there are none.
    pub(crate) async fn ended(&self) {
        loop {
            let none = self.0.none.notified();
            tokio::pin!(none);
            // Whoever ends after this tells it.
            none.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.number.fetch_sub(1, SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl App {
    pub(crate) fn new(settings: ServerSettings, models: Models, traces: Option<Traces>) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first = models.slots().first().map(|slot| &slot.spec);
        let (name, version) =
            first.map_or(("", ""), |spec| (spec.name.as_str(), spec.version.as_str()));
        let openapi = crate::openapi::document(name, version);
        Self {
            body_bytes: Permits::new(
                "max_body_bytes_in_flight",
                settings.max_body_bytes_in_flight,
            ),
            openapi,
            gpus: Gpus::start(settings.nvml.clone()),
            settings,
            models,
            metrics: HttpMetrics::default(),
            traces,
            streams: Tracked::default(),
            connections: Tracked::default(),
            started: Instant::now(),
            begun: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            standing: watch::Sender::default(),
            is_looked_at: Mutex::new(false),
            benchmark: Mutex::new(()),
            salt: hex((now.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)),
            ids: AtomicU64::new(0),
        }
    }

    /// Every model of the start is loaded.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Relaxed);
    }

    /// Whether every model of the start is loaded.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.look();
    }

    /// How the server stands, now and whenever that changes: of loads and illness within a second.
    pub(crate) fn watch(self: &Arc<Self>) -> watch::Receiver<Standing> {
        let watcher = self.standing.subscribe();
        self.look();
        let mut is_looked_at = self
            .is_looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_looked_at, true) {
            tokio::spawn(look_on(Arc::downgrade(self)));
        }
        watcher
    }

    /// Until the server is told to stop.
    pub(crate) async fn stopped(&self) {
        let mut watcher = self.standing.subscribe();
        if !self.is_stopping() {
            // The sender is this server's, which is here.
            let _ = watcher.wait_for(|standing| standing.is_stopping).await;
        }
    }

    /// Tells those who watch, if anything has changed.
    fn look(&self) {
        let slots = self.models.slots().iter();
        let models = slots.map(|slot| {
            let name = slot.spec.name.clone();
            let found = self.models.find(Pick {
                name: Some(&name),
                ..Pick::default()
            });
            let is_well = found.is_ok_and(|loaded| loaded.service.health().is_well());
            (name, is_well)
        });
        let mut now = Standing {
            is_ready: self.unready().is_empty(),
            models: models.collect(),
            is_stopping: false,
        };
        self.standing.send_if_modified(|before| {
            // Here, so that nobody's older look takes it back.
            now.is_stopping = self.is_stopping();
            let is_other = *before != now;
            *before = now;
            is_other
        });
    }

    /// Whether nobody watches any more: then nobody looks either.
    fn is_unwatched(&self) -> bool {
        let mut is_looked_at = self
            .is_looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *is_looked_at = self.standing.receiver_count() > 0;
        !*is_looked_at
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// An id for a request that has none.
    pub(crate) fn request_id(&self) -> HeaderValue {
        let number = self.ids.fetch_add(1, Relaxed);
        let digits = hex(number);
        let zeros = (number.leading_zeros() / 4).min(15) as usize;
        let id = [&self.salt[..], b"-", &digits[zeros..]].concat();
        HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("none"))
    }

    /// What hangs, if something does: a restart is the remedy.
    pub(crate) fn wedged(&self) -> Vec<String> {
        let sick = self.models.loaded().filter_map(|loaded| {
            let health = loaded.service.health();
            let why = match health {
                Health::Well => return None,
                Health::Wedged { batch } => {
                    format!(
                        "a batch has been computing for {:.0} s",
                        batch.as_secs_f64()
                    )
                }
                Health::Stalled { waiting } => {
                    format!(
                        "a text has waited {:.0} s for a thread",
                        waiting.as_secs_f64()
                    )
                }
                Health::NoWorkers => "no thread computes any more".to_owned(),
            };
            Some(format!("{}@{}: {why}", loaded.name, loaded.version))
        });
        sick.collect()
    }

    /// Why requests should go elsewhere; empty if they need not.
    pub(crate) fn unready(&self) -> Vec<String> {
        let mut why = self.wedged();
        if self.is_stopping() {
            why.push("the server is stopping".to_owned());
        }
        if !self.has_begun() {
            why.push("the models of the start are being loaded".to_owned());
        }
        // A model that was unloaded on purpose is missed by nobody, unless it was the last.
        let mut any = false;
        for slot in self.models.slots() {
            any |= slot.current().is_some();
            if slot.current().is_none() && slot.state() == State::Loading {
                why.push(format!(
                    "{}@{} is being loaded",
                    slot.spec.name, slot.spec.version
                ));
            }
        }
        if !any && why.is_empty() {
            why.push("no model is loaded".to_owned());
        }
        why
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Hexadecimal digits. A formatter costs several times as much, and every request that has no id gets one.
fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15])
}

/// Looks how the server stands, for all who watch it.
async fn look_on(app: Weak<App>) {
    loop {
        tokio::time::sleep(LOOK).await;
        match app.upgrade() {
            Some(app) if !app.is_unwatched() => app.look(),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests would have one id in the logs.
    #[test]
    fn ids_are_hexadecimal() {
        for number in [0, 1, 15, 16, 0xabc, u64::MAX] {
            let digits = hex(number);
            assert_eq!(digits, *format!("{number:016x}").as_bytes());
        }
    }
}
