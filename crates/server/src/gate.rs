//! What every request passes: keys, ids, counting, logging, and the net under its handler.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use axum::{RequestExt, Router};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::app::App;
use crate::aside::aside;
use crate::call::Call;
use crate::coding::Coding;
use crate::grpc::Counted;
use crate::passing::Passing;
use crate::problem::{Code, Problem};
use crate::routes::{Access, Method, Protocol, Query, ROUTES, Route, protocol_of};
use crate::settings::Control;
use crate::traces::{self, Spent};
use crate::unread::in_pieces;
use crate::upload::Upload;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Those of a client that are longer are not passed on.
const LONGEST_ID: usize = 128;

/// The router of the table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (at, route) in ROUTES.iter().enumerate() {
        let handler = move |State(app): State<Arc<App>>, request: Request| async move {
            pass(app, Some(at), request).await
        };
        router = router.route(route.path, on(filter(route.method), handler));
    }
    let astray = |State(app): State<Arc<App>>, request: Request| async move {
        pass(app, None, request).await
    };
    let cors = cors(&app.settings.cors_origins);
    let router = router
        .fallback(astray)
        .method_not_allowed_fallback(astray)
        .with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods(Any)
        // Those that are asked for: a `*` would not cover `Authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any);
    Some(if origins.iter().any(|origin| origin == "*") {
        layer.allow_origin(Any)
    } else {
        let known = origins
            .iter()
            .filter_map(|origin| HeaderValue::from_str(origin).ok());
        layer.allow_origin(known.collect::<Vec<_>>())
    })
}

/// A request from its head to the head of its answer.
async fn pass(app: Arc<App>, at: Option<usize>, mut request: Request) -> Response {
    let arrived = Instant::now();
    let route = at.map(|at| &ROUTES[at]);
    let places = match route {
        Some(route) if route.path.contains('{') => places(&mut request).await,
        _ => Ok(Vec::new()),
    };
    let (parts, body) = request.into_parts();
    let marks = Marks::of(&app, &parts.headers);
    let passing = Arc::new(Passing::begin(&app, at, arrived, &parts, &marks));
    let manner = Manner::of(route, &parts);
    let upload = Upload::new(Arc::clone(&passing), &parts.headers, body);
    let outcome = match (route, places) {
        (None, _) => Err(astray(parts.uri.path(), parts.method.as_str())),
        (Some(_), Err(problem)) => Err(problem),
        (Some(route), Ok(places)) => match admit(&app, route, &parts) {
            Err(problem) => Err(problem),
            Ok(()) => {
                let call = Call {
                    app: Arc::clone(&app),
                    passing: Arc::clone(&passing),
                    parts,
                    upload: Mutex::new(upload),
                    places,
                    arrived,
                };
                guarded(route, call).await
            }
        },
    };
    if let Err(problem) = &outcome
        && problem.code == Code::Internal
    {
        tracing::error!(request_id = marks.text(), problem = %problem, "request failed");
    }
    let mut response = outcome.unwrap_or_else(|problem| problem.respond(manner.protocol));
    marks.put(response.headers_mut());
    let mut response = manner.finish(&app, response);
    let status = match response.extensions().get::<Counted>() {
        Some(Counted(status)) => *status,
        None => response.status().as_u16(),
    };
    passing.answered(status, response.extensions_mut().remove::<Spent>());
    response.map(in_pieces)
}

/// How a request is answered, whatever the answer is.
struct Manner {
    protocol: Protocol,
    version: Version,
    /// What its answer is compressed with.
    coding: Option<Coding>,
    /// What the path is for, if it is for something else.
    allow: Option<HeaderValue>,
}

impl Manner {
    fn of(route: Option<&Route>, parts: &Parts) -> Self {
        let path = parts.uri.path();
        let accepted = parts.headers.get_all(header::ACCEPT_ENCODING);
        let stray = || {
            let methods = HeaderValue::from_str(&methods(path).join(", ")).ok();
            let methods = methods.filter(|methods| !methods.is_empty());
            (protocol_of(path, &parts.headers), methods)
        };
        let (protocol, allow) = route.map_or_else(stray, |route| (route.protocol, None));
        Self {
            protocol,
            version: parts.version,
            coding: Coding::accepted(accepted.iter().map(HeaderValue::as_bytes)),
            allow,
        }
    }

    fn finish(self, app: &App, mut response: Response) -> Response {
        if let Some(methods) = self.allow {
            response.headers_mut().insert(header::ALLOW, methods);
        }
        // gRPC packs its messages itself.
        if self.protocol != Protocol::Grpc {
            response = packed(app, self.coding, response);
        }
        if app.is_stopping() && self.version <= Version::HTTP_11 {
            // Whoever keeps the connection would send the next request into the void.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// A panic in a handler costs its request, not the connection and all others on it.
async fn guarded(route: &Route, call: Call) -> Result<Response, Problem> {
    let handling = AssertUnwindSafe((route.handler)(call)).catch_unwind();
    match after_others(handling).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::new(
            Code::Internal,
            "the handler panicked; please report this, with the request",
        )),
    }
}

/// Lets those come first that were woken with it, if it has had to wait.
///
/// The answers of a batch come together. Sent as soon as it is written, each would wake its client, and the next
/// request that comes of it this thread; written one after the other and then sent so, they wake both once. On two
/// cores that compute at the same time, the threads of HTTP and of a client there took a quarter less.
async fn after_others<T>(handling: impl Future<Output = T>) -> T {
    let mut handling = pin!(handling);
    let mut has_waited = false;
    let outcome = poll_fn(|context| {
        let polled = handling.as_mut().poll(context);
        has_waited |= polled.is_pending();
        polled
    });
    let outcome = outcome.await;
    if has_waited {
        tokio::task::yield_now().await;
    }
    outcome
}

async fn places(request: &mut Request) -> Result<Vec<(String, String)>, Problem> {
    let params = request.extract_parts::<RawPathParams>().await;
    let params = params.map_err(|error| Problem::bad_request(format!("the path: {error}")))?;
    Ok(params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// What a path is for.
fn methods(path: &str) -> Vec<&'static str> {
    let routes = ROUTES.iter().filter(|route| matches(route.path, path));
    routes.map(|route| route.method.name()).collect()
}

/// On no route, or on one with another method.
fn astray(path: &str, method: &str) -> Problem {
    let methods = methods(path);
    if methods.is_empty() {
        Problem::new(
            Code::NotFound,
            format!("there is no {path}; /docs has what there is"),
        )
    } else {
        let known = methods.join(" and ");
        Problem::new(
            Code::MethodNotAllowed,
            format!("{path} is for {known}, not {method}"),
        )
    }
}

fn matches(route: &str, path: &str) -> bool {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    loop {
        match (route.next(), path.next()) {
            (None, None) => return true,
            (Some(place), Some(word)) if place.starts_with('{') && !word.is_empty() => {}
            (Some(word), Some(other)) if word == other => {}
            _ => return false,
        }
    }
}

/// Whether the request may go in.
fn admit(app: &App, route: &Route, parts: &Parts) -> Result<(), Problem> {
    if parts.version == Version::HTTP_11 && parts.headers.get_all(header::HOST).iter().count() != 1
    {
        // RFC 9112, 3.2: what stands behind a proxy might be meant for somebody else.
        return Err(Problem::bad_request(
            "a request of HTTP/1.1 needs one header `Host`, and one alone",
        ));
    }
    open(app, route, parts)?;
    match parts.uri.query() {
        Some(query) if route.query == Query::Refused && !query.is_empty() => {
            Err(Problem::bad_request(format!(
                "{} reads nothing from its query; put `{query}` into the body, as JSON",
                route.path
            )))
        }
        _ => Ok(()),
    }
}

/// Whether the keys open the route.
fn open(app: &App, route: &Route, parts: &Parts) -> Result<(), Problem> {
    let (settings, headers) = (&app.settings, &parts.headers);
    let keys = match route.access {
        Access::Open => return Ok(()),
        Access::Use => &settings.api_keys,
        Access::Control if settings.control == Control::Off => {
            return Err(Problem::new(
                Code::SwitchedOff,
                format!(
                    "{} is switched off; start the server without --no-control",
                    route.path
                ),
            ));
        }
        Access::Control if settings.admin_keys.is_empty() => &settings.api_keys,
        Access::Control => &settings.admin_keys,
    };
    if keys.is_empty() {
        return match route.access {
            Access::Control if is_cross_site(app, parts) => Err(Problem::new(
                Code::CrossSite,
                "this comes from a web page of another origin, which may not change the server; allow it with \
                 --cors-origins, or start the server with --admin-keys",
            )),
            _ => Ok(()),
        };
    }
    let given = key(headers);
    let opens = |key: &String| given.is_some_and(|given| equal(key.as_bytes(), given.as_bytes()));
    // An administrator may do what others may.
    let admin = || route.access == Access::Use && settings.admin_keys.iter().any(opens);
    if keys.iter().any(opens) || admin() {
        return Ok(());
    }
    let message = match given {
        None => "a key is needed; send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
        Some(_) => "the key does not open this route",
    };
    Err(Problem::new(Code::Unauthorized, message))
}

/// Whether a browser says that a page of another origin asks. A page can send a POST anywhere without asking
/// first; what no browser sends says nothing of where it comes from, and needs no page.
fn is_cross_site(app: &App, parts: &Parts) -> bool {
    let header = |name: &str| parts.headers.get(name)?.to_str().ok();
    let origin = header("origin");
    let known = &app.settings.cors_origins;
    if known
        .iter()
        .any(|known| known == "*" || origin == Some(known))
    {
        return false;
    }
    match (header("sec-fetch-site"), origin) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => {
            let host = parts.uri.authority().map(|authority| authority.as_str());
            let host = host.or_else(|| header("host"));
            let place = origin.split_once("://").map(|(_, place)| place);
            place.is_none() || place != host
        }
    }
}

/// The answer, compressed where that is wanted and worth it.
fn packed(app: &App, accepted: Option<Coding>, mut response: Response) -> Response {
    let from = app.settings.compress_from as u64;
    let size = response.body().size_hint().exact().unwrap_or(0);
    if from == 0 || size < from || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    // Of what is not packed too: others might be given it, or not.
    let vary = HeaderValue::from_static("accept-encoding");
    response.headers_mut().append(header::VARY, vary);
    let Some(coding) = accepted else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    let whole = match whole(body) {
        Ok(whole) => whole,
        Err(body) => return Response::from_parts(head, body),
    };
    match aside(|| coding.pack(&whole)) {
        Ok(packed) => {
            let name = HeaderValue::from_static(coding.name());
            head.headers.insert(header::CONTENT_ENCODING, name);
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be compressed");
            Response::from_parts(head, Body::from(whole))
        }
    }
}

/// All bytes of a body, if they are there in one piece; the body as it was, if they are not.
fn whole(mut body: Body) -> Result<Bytes, Body> {
    let size = body.size_hint().exact();
    let is_whole = |data: &Bytes| Some(data.len() as u64) == size;
    match body.frame().now_or_never().flatten() {
        None => Err(body),
        Some(Ok(first)) if first.data_ref().is_some_and(is_whole) && body.is_end_stream() => {
            first.into_data().map_err(|_| body)
        }
        Some(first) => {
            let all = stream::iter([first]).chain(BodyStream::new(body));
            Err(Body::new(StreamBody::new(all)))
        }
    }
}

fn key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

/// In a time that does not tell how much of a key was right.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

/// What a request is known by here and elsewhere.
pub(crate) struct Marks {
    id: HeaderValue,
    trace: Option<HeaderValue>,
    state: Option<HeaderValue>,
}

impl Marks {
    fn of(app: &App, headers: &HeaderMap) -> Self {
        let given = headers.get(&REQUEST_ID).filter(|id| {
            let plain = id.to_str().is_ok_and(|id| !id.is_empty());
            plain && id.len() <= LONGEST_ID
        });
        let trace = headers
            .get(&TRACEPARENT)
            .filter(|value| traces::caller(value.as_bytes()).is_some())
            .cloned();
        Self {
            id: match given {
                Some(id) => id.clone(),
                None => app.request_id(),
            },
            state: trace
                .as_ref()
                .and_then(|_| headers.get(&TRACESTATE).cloned()),
            trace,
        }
    }

    pub(crate) fn id(&self) -> &HeaderValue {
        &self.id
    }

    fn text(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// `traceparent`, if it is well-formed.
    pub(crate) fn trace(&self) -> Option<&HeaderValue> {
        self.trace.as_ref()
    }

    pub(crate) fn state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    pub(crate) fn trace_id(&self) -> &str {
        let trace = self.trace.as_ref().and_then(|trace| trace.to_str().ok());
        trace.and_then(|trace| trace.get(3..35)).unwrap_or_default()
    }

    fn put(&self, headers: &mut HeaderMap) {
        headers.insert(&REQUEST_ID, self.id.clone());
        for (name, value) in [(&TRACEPARENT, &self.trace), (&TRACESTATE, &self.state)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// For the log line of a connection that broke before there was a request.
pub(crate) fn unserved(why: &dyn std::fmt::Display, after: Duration) {
    tracing::debug!(%why, millis = after.as_millis() as u64, "connection ended");
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Frame, SizeHint};

    use super::*;

    /// A body that says its size, and comes in pieces.
    struct Pieces(Vec<&'static [u8]>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(next.map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }

    /// A client would be given the beginning of its answer as the whole of it.
    #[test]
    fn an_answer_in_pieces_keeps_them_all() {
        assert_eq!(whole(Body::from("one")).unwrap(), "one");
        assert_eq!(whole(Body::new(Pieces(vec![b"one"]))).unwrap(), "one");
        for pieces in [&[b"one" as &[u8], b"two"][..], &[b"", b"onetwo"]] {
            let body = whole(Body::new(Pieces(pieces.to_vec()))).unwrap_err();
            let all = body.collect().now_or_never().unwrap().unwrap();
            assert_eq!(all.to_bytes(), "onetwo");
        }
    }

    /// A wrong method would look like a wrong address.
    #[test]
    fn paths_find_their_routes() {
        assert!(matches("/models/{name}/load", "/models/a/load"));
        assert!(!matches("/models/{name}/load", "/models//load"));
        assert!(!matches("/models/{name}", "/models/a/load"));
        assert_eq!(astray("/embed", "GET").code, Code::MethodNotAllowed);
        assert_eq!(astray("/embeds", "POST").code, Code::NotFound);
    }
}
