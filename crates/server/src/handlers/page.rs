//! Pages for people, and the document that describes the routes.

use axum::response::Response;
use hyper::header::{self, HeaderValue};

use crate::call::Call;
use crate::problem::Problem;
use crate::reply;

/// A page that fetches nothing but from this server.
fn html(page: &'static str) -> Response {
    let mut response = reply::of(page, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

pub(crate) async fn dashboard(_: Call) -> Result<Response, Problem> {
    Ok(html(include_str!("../pages/dashboard.html")))
}

pub(crate) async fn docs(_: Call) -> Result<Response, Problem> {
    Ok(html(include_str!("../pages/docs.html")))
}

pub(crate) async fn openapi(call: Call) -> Result<Response, Problem> {
    Ok(reply::json(call.app.openapi.clone()))
}
