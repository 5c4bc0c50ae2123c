//! What can be wrong with a request, as one list of stable codes, and how each protocol says it.

use std::time::Duration;

use axum::response::Response;
use engine::{RowError, RowLimit};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use crate::grpc;
use crate::reply;
use crate::routes::Protocol;

/// When to try again where nothing tells how long it will take.
const LATER: Duration = Duration::from_secs(1);

/// Why a request was not answered. Its words are stable: clients may decide by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The body, a header or a query cannot be read as what the route takes.
    BadRequest,
    /// An option has a value that cannot be honoured, or means nothing to this model.
    BadOption,
    /// The model does another task than the route's.
    WrongTask,
    /// A text cannot be tokenised, or a pair was given where a text belongs, or the reverse.
    BadText,
    /// No key, or not one that opens this route.
    Unauthorized,
    /// The route is switched off.
    SwitchedOff,
    /// There is no such route.
    NotFound,
    /// There is no model of that name, or it has no such version.
    UnknownModel,
    /// The route exists, for other methods.
    MethodNotAllowed,
    /// The client took too long to send its request.
    SlowRequest,
    /// The model is being loaded or unloaded already.
    Busy,
    /// The model cannot be loaded; the one that was there before still answers.
    LoadFailed,
    /// More than one request may ever hold.
    TooLarge,
    /// More than is allowed at once: try again.
    Overloaded,
    /// A fault of this program, or of the model.
    Internal,
    /// The model is known and not loaded, or the server is stopping.
    Unavailable,
    /// The request's deadline passed while it was read or waited for a thread: there is more to do than can be done.
    Deadline,
    /// The request's deadline had passed when it came.
    Expired,
    /// A web page of another origin asked for what changes the server.
    CrossSite,
    /// The body is compressed in a way that is not read here.
    UnknownCoding,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 20] = [
        Code::BadRequest,
        Code::BadOption,
        Code::WrongTask,
        Code::BadText,
        Code::Unauthorized,
        Code::SwitchedOff,
        Code::NotFound,
        Code::UnknownModel,
        Code::MethodNotAllowed,
        Code::SlowRequest,
        Code::Busy,
        Code::LoadFailed,
        Code::TooLarge,
        Code::Overloaded,
        Code::Internal,
        Code::Unavailable,
        Code::Deadline,
        Code::Expired,
        Code::CrossSite,
        Code::UnknownCoding,
    ];

    /// The code as it stands in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Code::BadRequest => "bad_request",
            Code::BadOption => "bad_option",
            Code::WrongTask => "wrong_task",
            Code::BadText => "bad_text",
            Code::Unauthorized => "unauthorized",
            Code::SwitchedOff => "switched_off",
            Code::NotFound => "not_found",
            Code::UnknownModel => "unknown_model",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::SlowRequest => "slow_request",
            Code::Busy => "busy",
            Code::LoadFailed => "load_failed",
            Code::TooLarge => "too_large",
            Code::Overloaded => "overloaded",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::Deadline => "deadline",
            Code::Expired => "expired",
            Code::CrossSite => "cross_site",
            Code::UnknownCoding => "unknown_coding",
        }
    }

    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Code::BadRequest | Code::BadOption | Code::WrongTask => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::SwitchedOff | Code::CrossSite => StatusCode::FORBIDDEN,
            Code::NotFound | Code::UnknownModel => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::SlowRequest => StatusCode::REQUEST_TIMEOUT,
            Code::Busy => StatusCode::CONFLICT,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::BadText | Code::LoadFailed => StatusCode::UNPROCESSABLE_ENTITY,
            Code::UnknownCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::Overloaded | Code::Deadline => StatusCode::TOO_MANY_REQUESTS,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Expired => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The code of a request whose row failed with this code of the engine's.
    fn of_row(code: &str) -> Code {
        match code {
            engine::codes::TOO_LONG => Code::TooLarge,
            engine::codes::TOKENIZE | engine::codes::WRONG_INPUT => Code::BadText,
            engine::codes::DEADLINE => Code::Deadline,
            engine::codes::EXPIRED => Code::Expired,
            _ => Code::Internal,
        }
    }
}

/// A limit that was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Limit {
    /// Its name, as of the flag that sets it.
    pub name: &'static str,
    /// What the request would have needed.
    pub value: u64,
    /// The most there may be.
    pub most: u64,
}

impl From<RowLimit> for Limit {
    fn from(RowLimit { name, value, most }: RowLimit) -> Self {
        Self { name, value, most }
    }
}

/// A request that is not answered, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// For people: what, where, the limit, the remedy.
    pub message: String,
    /// The limit that was met, if one was.
    pub limit: Option<Limit>,
    /// Which of the request's texts it was, counted from 0.
    pub row: Option<usize>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The shape of the answer, if not that of the route.
    pub(crate) protocol: Option<Protocol>,
    /// What Text Embeddings Inference calls it, if not what the code is called there.
    pub(crate) tei_type: Option<&'static str>,
}

/// The shape of this server's own errors.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorAnswer<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// Stable, for programs.
    code: &'a str,
    /// What, where, the limit and the remedy, for people.
    message: &'a str,
    /// The limit that was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a Limit>,
    /// Which of the texts it was, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<usize>,
}

impl Problem {
    /// A problem with a code and words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            limit: None,
            row: None,
            retry_after: None,
            protocol: None,
            tei_type: None,
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, message)
    }

    /// More than one request may hold.
    pub(crate) fn too_large(name: &'static str, value: usize, most: usize, what: &str) -> Self {
        let message = format!(
            "{what}: {value} exceed {name} = {most}; send less at once, or start the server with --{} {value}",
            name.replace('_', "-")
        );
        let limit = Limit {
            name,
            value: value as u64,
            most: most as u64,
        };
        Self {
            limit: Some(limit),
            ..Self::new(Code::TooLarge, message)
        }
    }

    /// Of a request that one failed row spoils.
    pub(crate) fn of_row(row: usize, error: &RowError) -> Self {
        let code = Code::of_row(error.code);
        Self {
            row: Some(row),
            limit: error.limit.map(Limit::from),
            retry_after: (code == Code::Deadline).then_some(LATER),
            ..Self::new(
                code,
                format!("text {row}: {}: {}", error.code, error.message),
            )
        }
    }

    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(crate) fn said_as(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// The answer, in the shape of `route`'s protocol unless the problem knows better.
    pub(crate) fn respond(&self, route: Protocol) -> Response {
        let body = match self.protocol.unwrap_or(route) {
            Protocol::Grpc => return grpc::refuse(self),
            Protocol::Own => reply::to_json(&ErrorAnswer {
                error: ErrorBody {
                    code: self.code.name(),
                    message: &self.message,
                    limit: self.limit.as_ref(),
                    row: self.row,
                },
            }),
            Protocol::OpenAi => reply::to_json(&serde_json::json!({"error": {
                "message": self.message,
                "type": self.openai_type(),
                "param": null,
                "code": self.code.name(),
            }})),
            Protocol::OpenInference => {
                reply::to_json(&serde_json::json!({"error": format!("{self}")}))
            }
            Protocol::TextEmbeddings => reply::to_json(&serde_json::json!({
                "error": self.message,
                "error_type": self.tei_type(),
            })),
        };
        let mut response = reply::json(body);
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            // Whole seconds, at least one: HTTP knows no fractions.
            let seconds = wait.as_millis().div_ceil(1_000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn openai_type(&self) -> &'static str {
        match self.code.status().as_u16() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn tei_type(&self) -> &'static str {
        if let Some(name) = self.tei_type {
            return name;
        }
        match self.code {
            Code::Overloaded | Code::Deadline => "Overloaded",
            Code::BadText => "Tokenizer",
            Code::Unavailable | Code::Expired => "Unhealthy",
            Code::Internal => "Backend",
            _ => "Validation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two causes with one code could not be told apart by a client.
    #[test]
    fn codes_are_distinct() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    /// A client would hammer a server that asked it to wait for half a second.
    #[test]
    fn retry_after_is_at_least_a_second() {
        let problem = Problem::new(Code::Overloaded, "full").after(Duration::from_millis(5));
        let response = problem.respond(Protocol::Own);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
