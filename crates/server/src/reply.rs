//! Answers as bytes.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use serde::Serialize;
use serde_json::Serializer;

use crate::decimal::Decimals;

/// Headers of most answers.
const HEADERS: usize = 10;

/// JSON in one buffer; floats as the shortest text that reads back to the same bits.
pub(crate) fn to_json(value: &impl Serialize) -> Bytes {
    to_json_sized(value, 512)
}

/// The same, into a buffer that will not have to grow.
pub(crate) fn to_json_sized(value: &impl Serialize, bytes: usize) -> Bytes {
    let mut buffer = Vec::with_capacity(bytes);
    // Writing into memory fails for maps whose keys are no strings alone; there are none here.
    let mut serializer = Serializer::with_formatter(&mut buffer, Decimals);
    if let Err(error) = value.serialize(&mut serializer) {
        tracing::error!(%error, "an answer could not be written as JSON");
        buffer.clear();
    }
    buffer.into()
}

/// A 200 with this JSON.
pub(crate) fn json(body: Bytes) -> Response {
    of(body, HeaderValue::from_static("application/json"))
}

/// A 200 with a body of this type.
pub(crate) fn of(body: impl Into<Body>, kind: HeaderValue) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    // The gate and what it cost to answer add theirs, for which the map would grow twice.
    headers.reserve(HEADERS);
    headers.insert(header::CONTENT_TYPE, kind);
    response
}
