//! One HTTP request on its way through a handler: its headers, its body, and what they ask for.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Query;
use bytes::{Bytes, BytesMut};
use engine::{Input, Priority};
use hyper::HeaderMap;
use hyper::http::request::Parts;
use memchr::{memchr, memchr2};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::passing::Passing;
use crate::permits::Held;
use crate::plain;
use crate::problem::{Code, Problem};
use crate::upload::Upload;

/// Milliseconds from now after which nobody needs the answer.
pub(crate) const DEADLINE: &str = "x-request-deadline-ms";
/// `high`, `normal` or `low`.
pub(crate) const PRIORITY: &str = "x-request-priority";

/// What a text takes beside its bytes: as it is read, and as it is handed to the model.
const TEXT: usize = 2 * size_of::<Input>();

/// A request that has passed the gate.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) passing: Arc<Passing>,
    pub(crate) parts: Parts,
    /// Behind a lock because a body may not be looked at from two threads; nobody ever waits for it.
    pub(crate) upload: Mutex<Upload>,
    /// What stands in the path's places, in their order.
    pub(crate) places: Vec<(String, String)>,
    pub(crate) arrived: Instant,
}

/// A body in memory; what it takes is counted until it is dropped.
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    _held: Held,
}

impl Call {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// What stands in the path at `{name}`.
    pub(crate) fn place(&self, name: &str) -> Option<&str> {
        let found = self.places.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The query, read as `T`.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        Query::try_from_uri(&self.parts.uri)
            .map(|Query(query)| query)
            .map_err(|error| Problem::bad_request(plain::query(&words(&error))))
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers().get(name) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| {
            Problem::bad_request(format!("the header {name} has characters beyond ASCII"))
        })?;
        Ok(Some(text))
    }

    /// A header as a number.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.header(name)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Problem::bad_request(format!("the header {name} is `{text}`; write a number"))
        })
    }

    /// When the headers say that nobody needs the answer any more.
    pub(crate) fn deadline(&self) -> Result<Option<Instant>, Problem> {
        let within = self.number::<u64>(DEADLINE)?;
        Ok(within.and_then(|ms| self.in_ms(ms)))
    }

    /// So many milliseconds after the request's arrival. Beyond what a clock can count is never.
    pub(crate) fn in_ms(&self, ms: u64) -> Option<Instant> {
        self.arrived.checked_add(Duration::from_millis(ms))
    }

    pub(crate) fn priority(&self) -> Result<Priority, Problem> {
        match self.header(PRIORITY)? {
            None | Some("normal") => Ok(Priority::Normal),
            Some("high") => Ok(Priority::High),
            Some("low") => Ok(Priority::Low),
            Some(other) => Err(Problem::bad_request(format!(
                "the header {PRIORITY} is `{other}`; write high, normal or low"
            ))),
        }
    }

    /// Reads the body, as far as the limits allow.
    pub(crate) async fn payload(&mut self) -> Result<Payload, Problem> {
        let within = self.app.settings.read_timeout;
        let declared = self
            .headers()
            .get(hyper::header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let upload = self
            .upload
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let reading = read(&self.app, declared, upload);
        match tokio::time::timeout(within, reading).await {
            Ok(payload) => payload,
            Err(_) => {
                // Nobody waits for the rest either: the connection ends with the answer.
                upload.give_up();
                Err(Problem::new(
                    Code::SlowRequest,
                    format!("the body did not arrive within {} s", within.as_secs_f64()),
                ))
            }
        }
    }
}

async fn read(
    app: &Arc<App>,
    declared: Option<usize>,
    upload: &mut Upload,
) -> Result<Payload, Problem> {
    let most = app.settings.max_body_bytes;
    let too_large = |size| Problem::too_large("max_body_bytes", size, most, "the body's bytes");
    if let Some(size) = declared.filter(|&size| size > most) {
        return Err(too_large(size));
    }
    let mut held = app.body_bytes.hold(0)?;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(data) = upload.next().await? {
        if held.size() + data.len() > most {
            return Err(too_large(held.size() + data.len()));
        }
        held.grow(data.len())?;
        // One piece, as nearly all bodies are, is not copied.
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(before) => {
                rest.reserve(declared.unwrap_or(0).max(before.len() + data.len()));
                rest.extend_from_slice(&before);
                rest.extend_from_slice(&data);
            }
        }
    }
    let bytes = first.unwrap_or_else(|| rest.freeze());
    held.expect(texts(&bytes).saturating_mul(TEXT))?;
    Ok(Payload { bytes, _held: held })
}

/// How many texts stand in JSON, names included: the shortest take many times their bytes when they are read.
fn texts(mut json: &[u8]) -> usize {
    let mut count = 0;
    while let Some(begin) = memchr(b'"', json) {
        count += 1;
        json = &json[begin + 1..];
        while let Some(at) = memchr2(b'"', b'\\', json) {
            let is_end = json[at] == b'"';
            let next = if is_end { at + 1 } else { at + 2 };
            json = json.get(next..).unwrap_or_default();
            if is_end {
                break;
            }
        }
    }
    count
}

impl Payload {
    /// The body, read as a JSON object.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A list would be taken for an object's values in the order of their declaration, and for everything
        // else the message would be about one of this program's types.
        let kind = match self.bytes.trim_ascii_start().first() {
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b'-' | b'0'..=b'9') => "a number",
            Some(b'n') => "null",
            Some(b't' | b'f') => "true or false",
            _ => return from_json(&self.bytes),
        };
        Err(Problem::bad_request(format!(
            "the body is {kind}; send an object such as {{\"texts\": [\"a text\"]}}"
        )))
    }
}

/// Reads JSON and says what is wrong with it, and where.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Err(Problem::bad_request("the body is empty; send JSON"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::bad_request(plain::json::<T>(bytes, &error)))
}

/// An error with what is behind it.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory would be taken for texts that nobody has counted, or a text's own quotes be counted.
    #[test]
    fn texts_of_json_are_counted() {
        for (json, count) in [
            (r#"{"texts": ["", "", "a"]}"#, 4),
            (r#"["say \"yes\", \\", "a"]"#, 2),
            (r#"["\\"]"#, 1),
            (r#"["a"#, 1),
            (r#"["\"#, 1),
            ("[1, 2]", 0),
            ("", 0),
        ] {
            assert_eq!(texts(json.as_bytes()), count, "{json}");
        }
    }
}
