//! A request on its way through the gate, which is counted, logged and traced once, however it ends: also if its
//! client goes away, when everything that works for it is dropped.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Method, Version};

use crate::app::App;
use crate::gate::Marks;
use crate::routes::ROUTES;
use crate::traces::{Outcome, Spent, Trace};

/// The status of a request whose client went away before its answer, which nobody is told: nginx's number.
pub(crate) const GONE: u16 = 499;

/// A request that has come in; it is over when the last hold on it is dropped.
pub(crate) struct Passing {
    pub(crate) app: Arc<App>,
    /// Its route's place in the table; none for what is no route.
    at: Option<usize>,
    pub(crate) arrived: Instant,
    method: Method,
    version: Version,
    id: HeaderValue,
    logged: Option<Logged>,
    trace: Option<Trace>,
    end: Mutex<End>,
}

/// What only the log has: the path is the client's own words.
struct Logged {
    path: String,
    trace_id: String,
}

/// How it ends, as far as is known.
#[derive(Default)]
struct End {
    /// None until then: whoever drops it has nobody to answer.
    status: Option<u16>,
    /// From the request's head to that of its answer.
    took: Option<Duration>,
    /// Whether there is more to come after the answer's head.
    is_stream: bool,
    spent: Option<Spent>,
}

impl Passing {
    pub(crate) fn begin(
        app: &Arc<App>,
        at: Option<usize>,
        arrived: Instant,
        parts: &Parts,
        marks: &Marks,
    ) -> Self {
        let traces = app.traces.as_ref();
        let trace = traces.and_then(|traces| traces.begin(marks.trace(), marks.state()));
        let logged = tracing::enabled!(tracing::Level::DEBUG).then(|| Logged {
            path: parts.uri.path().to_owned(),
            trace_id: match &trace {
                Some(trace) => trace.id(),
                None => marks.trace_id().to_owned(),
            },
        });
        Self {
            app: Arc::clone(app),
            at,
            arrived,
            method: parts.method.clone(),
            version: parts.version,
            id: marks.id().clone(),
            logged,
            trace,
            end: Mutex::default(),
        }
    }

    /// Answers will come after the head: it is over when they [end](Self::ended).
    pub(crate) fn streams(&self) {
        self.lock().is_stream = true;
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&self, status: u16, spent: Option<Spent>) {
        let mut end = self.lock();
        end.took = Some(self.arrived.elapsed());
        end.spent = spent;
        if !end.is_stream {
            end.status.get_or_insert(status);
        }
    }

    /// The last answer of a stream has been sent, or none will be.
    pub(crate) fn ended(&self, status: u16) {
        self.lock().status.get_or_insert(status);
    }

    /// Its body could not be read. What is not wrong in itself was broken off by the client, who waits for nothing.
    pub(crate) fn broke(&self, error: &(dyn Error + 'static)) {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if let Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) = kind {
                return;
            }
            cause = error.source();
        }
        self.ended(GONE);
    }

    /// Nothing in here can panic half way.
    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let end = std::mem::take(self.end.get_mut().unwrap_or_else(PoisonError::into_inner));
        let status = end.status.unwrap_or(GONE);
        let whole = self.arrived.elapsed();
        let head = end.took.unwrap_or(whole);
        let at = self.at.unwrap_or(ROUTES.len());
        self.app.metrics.count(at, status, head);
        // A stream's time is that of all its answers, but where such times are compared.
        let took = if end.is_stream { whole } else { head };
        if let Some(Logged { path, trace_id }) = &self.logged {
            let (request_id, method) = (self.id.to_str().unwrap_or_default(), &self.method);
            tracing::debug!(
                request_id, trace_id, %method, path, status, micros = took.as_micros() as u64, "request"
            );
        }
        if let (Some(traces), Some(trace)) = (&self.app.traces, self.trace.take()) {
            let outcome = Outcome {
                route: self.at.map(|at| &ROUTES[at]),
                method: self.method.clone(),
                version: self.version,
                request_id: self.id.clone(),
                status,
                arrived: self.arrived,
                took,
                spent: end.spent,
            };
            traces.end(trace, outcome);
        }
    }
}
