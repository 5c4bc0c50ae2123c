//! gRPC over the same connections, gate and limits as everything else: messages in, messages out, and problems
//! as statuses.
//!
//! Framing and compression are tonic's. Routing, keys, ids, counting and limits are those of the table of
//! routes: a method is a route like any other.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Version};
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::codec::{
    CompressionEncoding, DecodeBuf, Decoder, EncodeBody, SingleMessageCompressionOverride,
    Streaming,
};
use tonic::{Code as GrpcCode, Status};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, StatusExt};

use crate::call::Call;
use crate::passing::Passing;
use crate::permits::Held;
use crate::problem::{Code, Problem};

/// What the codes of errors are stable within.
const DOMAIN: &str = "batchwright";
const CONTENT_TYPE: &str = "application/grpc";
const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
/// What a field of a message takes in memory at most, beside its bytes: a tensor, or a text and the copy that is
/// handed to the model.
const FIELD: usize = 128;
/// For clients that try again by themselves: so many milliseconds later.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Messages stand in headers, of which clients take some kilobytes; and may repeat the client's own words.
const LONGEST_MESSAGE: usize = 1_024;

/// Whether a request is gRPC's, whatever its path.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    // Not `grpc-web` or `grpc+json`, which are framed or written otherwise.
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|&byte| byte == b';').next());
    kind.is_some_and(|kind| {
        let kind = kind.trim_ascii();
        let kind = kind.strip_suffix(b"+proto").unwrap_or(kind);
        kind.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
    })
}

/// The status that a response is counted by: gRPC's own responses are all 200.
#[derive(Clone, Copy)]
pub(crate) struct Counted(pub(crate) u16);

/// A message that is received.
pub(crate) trait Asked: Message + Default + 'static {
    /// Those of its fields that may stand in it many times.
    const REPEATED: &'static [Repeated] = &[];
}

/// A field that may stand in a message many times.
pub(crate) struct Repeated {
    pub(crate) tag: u32,
    pub(crate) name: &'static str,
    /// How often it may.
    pub(crate) most: usize,
    /// Those within it, if it is a message whose fields are looked at.
    pub(crate) within: Option<&'static [Repeated]>,
}

/// A message and what it takes of the bytes in memory, until it is dropped.
pub(crate) struct Received<T> {
    pub(crate) message: T,
    pub(crate) held: Held,
}

/// The messages of a request as they come.
pub(crate) struct Messages<T> {
    messages: Streaming<T>,
    intake: Arc<Mutex<Intake>>,
    most: usize,
}

/// What has come of a body and is in no message yet.
struct Intake {
    held: Held,
    /// What was wrong with it, if it was not gRPC that was.
    problem: Option<Problem>,
}

/// A body whose bytes are counted as they come.
struct CountedBody {
    passing: Arc<Passing>,
    body: Body,
    intake: Arc<Mutex<Intake>>,
}

/// Makes messages, and counts what they will take before they are made.
struct CountedDecoder<T> {
    decoder: ProstDecoder<T>,
    intake: Arc<Mutex<Intake>>,
}

/// The one message of a request.
pub(crate) async fn message<T: Asked>(call: &mut Call) -> Result<Received<T>, Problem> {
    let within = call.app.settings.read_timeout;
    let mut messages = messages(call)?;
    let reading = async {
        let Some(only) = messages.next().await? else {
            return Err(Problem::bad_request("the request has no message"));
        };
        match messages.next().await? {
            None => Ok(only),
            Some(_) => Err(Problem::bad_request(
                "the request has several messages, and this method takes one",
            )),
        }
    };
    match tokio::time::timeout(within, reading).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(
            Code::SlowRequest,
            format!(
                "the message did not arrive within {} s",
                within.as_secs_f64()
            ),
        )),
    }
}

/// The messages of a request, of any number.
pub(crate) fn messages<T: Asked>(call: &mut Call) -> Result<Messages<T>, Problem> {
    if !is_grpc(call.headers()) || call.parts.version < Version::HTTP_2 {
        return Err(Problem::bad_request(
            "this is a method of gRPC: ask for it with a client of gRPC, over HTTP/2",
        ));
    }
    let encoding = match call.header(ENCODING)? {
        None | Some("identity") => None,
        Some("gzip") => Some(CompressionEncoding::Gzip),
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "the messages are compressed with {other}; gzip and identity are known here"
            )));
        }
    };
    let most = call.app.settings.max_body_bytes;
    let intake = Arc::new(Mutex::new(Intake {
        held: call.app.body_bytes.hold(0)?,
        problem: None,
    }));
    let upload = call.upload.get_mut();
    let upload = upload.unwrap_or_else(PoisonError::into_inner);
    let body = CountedBody {
        passing: Arc::clone(&call.passing),
        body: upload.take_body(),
        intake: Arc::clone(&intake),
    };
    let decoder = CountedDecoder {
        decoder: ProstDecoder::<T>::default(),
        intake: Arc::clone(&intake),
    };
    Ok(Messages {
        messages: Streaming::new_request(decoder, body, encoding, Some(most)),
        intake,
        most,
    })
}

impl<T: Asked> Messages<T> {
    /// The next message, or none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Received<T>>, Problem> {
        let message = self.messages.message().await;
        let mut intake = lock(&self.intake);
        match message {
            Ok(None) => Ok(None),
            Ok(Some(message)) => {
                let held = intake.held.split();
                Ok(Some(Received { message, held }))
            }
            Err(status) => Err(intake
                .problem
                .take()
                .unwrap_or_else(|| unread(&status, self.most))),
        }
    }
}

/// What is wrong with a message that tonic could not read.
fn unread(status: &Status, most: usize) -> Problem {
    let too_large = |size| Problem::too_large("max_body_bytes", size, most, "the message's bytes");
    match status.code() {
        GrpcCode::OutOfRange => {
            // Its size stands in the words alone.
            let size = status
                .message()
                .split(' ')
                .find_map(|word| word.parse().ok());
            too_large(size.unwrap_or(most.saturating_add(1)))
        }
        // It came compressed, and is unpacked no further.
        GrpcCode::ResourceExhausted => too_large(most.saturating_add(1)),
        _ => Problem::bad_request(format!("the message: {}", status.message())),
    }
}

fn lock(intake: &Mutex<Intake>) -> MutexGuard<'_, Intake> {
    intake.lock().unwrap_or_else(PoisonError::into_inner)
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => {
                self.passing.broke(&error);
                return Poll::Ready(Some(Err(Status::unknown(error.to_string()))));
            }
            Some(Ok(frame)) => frame,
        };
        let Some(data) = frame.data_ref() else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let mut intake = lock(&self.intake);
        // tonic asks for no more than the message whose size it has checked.
        Poll::Ready(Some(match intake.held.grow(data.len()) {
            Ok(()) => Ok(frame),
            Err(problem) => Err(intake.refuse(problem)),
        }))
    }
}

impl Intake {
    /// Keeps the problem, for which tonic has no place.
    fn refuse(&mut self, problem: Problem) -> Status {
        let status = Status::resource_exhausted(problem.message.clone());
        self.problem = Some(problem);
        status
    }
}

impl<T: Asked> Decoder for CountedDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, packed: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        {
            let mut intake = lock(&self.intake);
            let counted = fields(packed.chunk(), T::REPEATED).and_then(|fields| {
                let size = packed.remaining() + fields.saturating_mul(FIELD);
                let more = size.saturating_sub(intake.held.size());
                intake.held.expect(more)
            });
            counted.map_err(|problem| intake.refuse(problem))?;
        }
        self.decoder.decode(packed)
    }
}

/// How many fields a message has, those within its repeated ones included.
fn fields(mut packed: &[u8], known: &[Repeated]) -> Result<usize, Problem> {
    let unread = |error| Problem::bad_request(format!("the message: {error}"));
    let mut seen = vec![0; known.len()];
    let mut count: usize = 0;
    while !packed.is_empty() {
        let (tag, kind) = decode_key(&mut packed).map_err(unread)?;
        count += 1;
        let at = known.iter().position(|field| field.tag == tag);
        let mut inner = None;
        if let Some(at) = at {
            let Repeated { name, most, .. } = known[at];
            seen[at] += 1;
            if seen[at] > most {
                return Err(Problem::bad_request(format!(
                    "the message has more than {most} `{name}`"
                )));
            }
            inner = known[at].within;
        }
        let whole = packed;
        skip_field(kind, tag, &mut packed, DecodeContext::default()).map_err(unread)?;
        if let (Some(inner), WireType::LengthDelimited) = (inner, kind) {
            let mut value = &whole[..whole.len() - packed.len()];
            decode_varint(&mut value).map_err(unread)?;
            count += fields(value, inner)?;
        }
    }
    Ok(count)
}

/// A response of one message.
pub(crate) fn reply<T: Message + 'static>(headers: &HeaderMap, message: T) -> Response {
    replies(headers, stream::iter([Ok(message)]))
}

/// A response of messages as they come; a problem is the last.
pub(crate) fn replies<T: Message + 'static>(
    headers: &HeaderMap,
    messages: impl Stream<Item = Result<T, Problem>> + Send + 'static,
) -> Response {
    use futures_util::StreamExt;

    let messages = messages.map(|message| message.map_err(|problem| status(&problem)));
    let encoding = accepts_gzip(headers).then_some(CompressionEncoding::Gzip);
    let body = EncodeBody::new_server(
        ProstEncoder::<T>::default(),
        messages,
        encoding,
        SingleMessageCompressionOverride::default(),
        None,
    );
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip,identity"));
    if encoding.is_some() {
        headers.insert(ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether the answer is to be compressed: where the request was. Clients say that they could read gzip whether
/// or not they want it, and vectors hardly shrink.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let is = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|word| word.trim() == "gzip"))
    };
    is(ENCODING) && is(ACCEPT_ENCODING)
}

/// A response of a problem alone.
pub(crate) fn refuse(problem: &Problem) -> Response {
    let mut response: Response = status(problem).into_http();
    response
        .extensions_mut()
        .insert(Counted(problem.code.status().as_u16()));
    response
}

/// A problem as gRPC says it: its stable code stands before the message and, with the limit, in `ErrorInfo`; when
/// to come again in `RetryInfo`.
fn status(problem: &Problem) -> Status {
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(limit) = &problem.limit {
        fact("limit", limit.name.to_owned());
        fact("value", limit.value.to_string());
        fact("most", limit.most.to_string());
    }
    if let Some(row) = problem.row {
        fact("row", row.to_string());
    }
    let mut details = ErrorDetails::with_error_info(
        problem.code.name(),
        DOMAIN,
        facts
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>(),
    );
    if let Some(wait) = problem.retry_after {
        details.set_retry_info(Some(wait));
    }
    let mut message = problem.to_string();
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
    let mut status = Status::with_error_details(code(problem.code), message, details);
    if let Some(wait) = problem.retry_after {
        let ms = wait.as_millis().clamp(1, i32::MAX as u128) as i32;
        status.metadata_mut().insert(PUSHBACK, ms.into());
    }
    status
}

fn code(code: Code) -> GrpcCode {
    match code {
        Code::BadRequest | Code::BadOption | Code::WrongTask | Code::BadText => {
            GrpcCode::InvalidArgument
        }
        Code::Unauthorized => GrpcCode::Unauthenticated,
        Code::SwitchedOff | Code::CrossSite => GrpcCode::PermissionDenied,
        Code::NotFound | Code::MethodNotAllowed | Code::UnknownCoding => GrpcCode::Unimplemented,
        Code::UnknownModel => GrpcCode::NotFound,
        // The client gave the time, and knows itself that it is over.
        Code::SlowRequest | Code::Deadline | Code::Expired => GrpcCode::DeadlineExceeded,
        Code::Busy => GrpcCode::Aborted,
        Code::LoadFailed => GrpcCode::FailedPrecondition,
        Code::TooLarge | Code::Overloaded => GrpcCode::ResourceExhausted,
        Code::Internal => GrpcCode::Internal,
        Code::Unavailable => GrpcCode::Unavailable,
    }
}

/// When the caller stops waiting, by the header `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn deadline(call: &Call) -> Result<Option<Instant>, Problem> {
    let Some(text) = call.header("grpc-timeout")? else {
        return Ok(None);
    };
    let time = timeout(text).ok_or_else(|| {
        Problem::bad_request(format!(
            "the header grpc-timeout is `{text}`; write up to eight digits and one of H, M, S, m, u, n"
        ))
    })?;
    Ok(call.arrived.checked_add(time))
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Limit;
    use crate::wire::grpc::InferRequest;

    /// Messages of another framing would be read as these, or a client be turned away for naming its format.
    #[test]
    fn a_content_type_is_known_from_its_like() {
        for (kind, wanted) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("Application/GRPC+proto ; a=b", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/grpc+json", false),
            ("application/grpc+protobuf", false),
            ("application/json", false),
        ] {
            let kind = HeaderValue::from_static(kind);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.clone())]);
            assert_eq!(is_grpc(&headers), wanted, "{kind:?}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    /// Two bytes would take a hundred, and nobody have counted them.
    #[test]
    fn fields_are_counted_before_they_are_read() {
        let count = |packed: &[u8]| fields(packed, InferRequest::REPEATED);
        // A name; an input with a name and two empty texts.
        assert_eq!(count(b"\x0a\x01m").unwrap(), 1);
        assert_eq!(count(b"\x2a\x09\x0a\x01t\x2a\x04\x42\0\x42\0").unwrap(), 5);
        // Raw texts are no message.
        assert_eq!(count(b"\x3a\x02\xff\xff").unwrap(), 1);
        for tag in [b"\x2a\0", b"\x32\0", b"\x3a\0"] {
            assert_eq!(count(&tag.repeat(8)).unwrap(), 8);
            assert_eq!(count(&tag.repeat(9)).unwrap_err().code, Code::BadRequest);
        }
        for broken in [
            &b"\x2a\x09\x0a"[..],
            b"\x2a",
            b"\xff",
            b"\x2a\x02\x2a\x09",
            b"\0\0",
        ] {
            assert_eq!(count(broken).unwrap_err().code, Code::BadRequest);
        }
    }

    /// A client's deadline would be read as another, or none.
    #[test]
    fn timeouts_are_read() {
        for (text, wanted) in [
            ("100m", Some(Duration::from_millis(100))),
            ("1H", Some(Duration::from_secs(3_600))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("2u", Some(Duration::from_micros(2))),
            ("123456789S", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("1ß", None),
            ("", None),
        ] {
            assert_eq!(timeout(text), wanted, "{text}");
        }
    }

    /// A client would hammer a full server, or not know which limit it met.
    #[test]
    fn a_full_server_says_which_limit_and_when_to_come_again() {
        let problem = Problem {
            limit: Some(Limit {
                name: "max_queue",
                value: 9,
                most: 8,
            }),
            ..Problem::new(Code::Overloaded, "full").after(Duration::from_millis(1_500))
        };
        let status = status(&problem);
        assert_eq!(status.code(), GrpcCode::ResourceExhausted);
        assert_eq!(status.message(), "overloaded: full");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), &*info.metadata["limit"]),
            ("overloaded", "max_queue")
        );
        assert_eq!(
            details.retry_info().unwrap().retry_delay,
            Some(Duration::from_millis(1_500))
        );
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "1500");
        let response = refuse(&problem);
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["grpc-status"]
            ),
            (200, &HeaderValue::from(8))
        );
        assert_eq!(response.extensions().get::<Counted>().unwrap().0, 429);
    }
}
